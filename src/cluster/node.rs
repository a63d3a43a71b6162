//! The thread of a node that speaks to the servers. It connects, reads the stream, hands over what it reads, takes over when
//! it is its turn, and then carries what the owner appends; beside that it gives and hears signs of life, passes connections on, and
//! trims the stream.

use super::beat::Role;
use super::leader::keep_near;
use super::peers::BEAT;
use super::records::Records;
use super::shared::{OwnSight, Shared, give_signs, listen, lock};
use super::trim::trim;
use super::tunnel::{self, Call, Wire};
use super::verify::{Calls, Rest};
use super::{handover, servers, stream, subject, verify};
use crate::access::Caller;
use crate::clock::monotonic;
use crate::config::Cluster;
use crate::store::{
    Carrier, CommitNo, Connection, Digest, Epoch, JetStreamLink, Lost, Meaning, NodeLife, Position, Progress,
    ReadError, Rules, StreamCommit, StreamError, StreamState,
};
use crate::telemetry::events;
use async_nats::Client;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

/// How often a node looks whether it is its turn.
const TICK: Duration = Duration::from_millis(25);
/// How long to wait before the servers are tried again, and how often that is said.
const CONNECT_PAUSE: Duration = Duration::from_millis(500);
const CONNECT_SAY: u32 = 20;
/// Commits that were read and not taken in yet.
const READ_AHEAD: usize = 32;
/// An owner to whom the stream says nothing for so long gives up: longer than an election takes, and shorter than the next owner waits
/// for its workers (`daemon.resume_within`).
const UNANSWERED: Duration = Duration::from_secs(20);

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NodeError {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// This one has other jobs than the stream begins with.
    #[error(
        "another node has begun the stream, and this one's directory has jobs of its own: `musher cluster leave` makes it that of a \
         daemon which is alone again"
    )]
    OtherFounder,
}

/// What the thread hands over, in this order.
#[derive(Debug)]
pub(crate) enum Followed {
    /// The stream is there: when it was made, what is in it, and who has begun it, with how many commits.
    Connected { created: u64, state: StreamState, founder: Option<(NodeLife, CommitNo)> },
    /// The next commit.
    Commit(StreamCommit),
    /// What the state comes to now is to be said.
    Verify(oneshot::Sender<Digest>),
    /// All commits are handed over that were there in the beginning.
    UpToDate,
    /// This node is the owner, behind the commits that it was given.
    Own { link: JetStreamLink, progress: Arc<Progress>, epoch: Epoch },
    /// Nothing more comes.
    Failed(NodeError),
}

/// From where a node reads the stream.
#[derive(Debug)]
pub(crate) struct Begin {
    pub(crate) position: Position,
    /// Who it must be that begins the stream, if it was not begun yet and this node has jobs.
    pub(crate) founder: Option<NodeLife>,
    /// What its home has of the stream, as it grows.
    pub(crate) home: Arc<AtomicU64>,
}

/// A node. Dropped, it says that it is gone, and ends.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) followed: mpsc::Receiver<Followed>,
    /// Connections for the owner. To whom they are given waits there until there is one.
    pub(crate) calls: mpsc::UnboundedSender<Call>,
    /// To which node this one, the owner, is to give the queue.
    pub(crate) heirs: Option<mpsc::Receiver<String>>,
    /// What this one, the owner, is to do when it is asked whether all nodes have the same state.
    pub(crate) rests: Option<mpsc::Receiver<Rest>>,
    /// Connections from other nodes, once this one is the owner.
    pub(crate) arrivals: Option<mpsc::Receiver<(UnixStream, Wire, Caller)>>,
    begin: Option<oneshot::Sender<Begin>>,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Node {
    /// Starts the thread, which connects, and makes the stream if it may.
    ///
    /// # Errors
    /// The system has no thread for it.
    pub(crate) fn start(cluster: &Cluster, makes_stream: bool) -> io::Result<Node> {
        let (say, followed) = mpsc::channel(READ_AHEAD);
        let (calls, to_pass_on) = mpsc::unbounded_channel();
        let (arrived, arrivals) = mpsc::channel(1);
        let ((grant, heirs), (rest, rests)) = (mpsc::channel(1), mpsc::channel(1));
        let (begin, begins) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let (cluster, shared) = (cluster.clone(), Arc::new(Shared::new(cluster)));
        let of_thread = shared.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let run = move || {
            runtime.block_on(async {
                let shared = of_thread;
                let member = Member { cluster, makes_stream, shared: shared.clone(), say, grant, rest };
                tokio::select! {
                    () = member.run(begins, to_pass_on, arrived) => {}
                    // The node was dropped.
                    _ = ended => {}
                }
                shared.say_last_words().await;
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("cluster".into()).spawn(run)?;
        Ok(Node {
            followed,
            calls,
            heirs: Some(heirs),
            rests: Some(rests),
            arrivals: Some(arrivals),
            begin: Some(begin),
            end: Some(end),
            thread: Some(thread),
            shared,
        })
    }

    /// From now on this is what is seen of the cluster.
    pub(crate) fn shows(&self, sight: &OwnSight) {
        sight.set(self.shared.clone());
    }

    /// Says from where on it is to read.
    pub(crate) fn begin(&mut self, begin: Begin) {
        if let Some(say) = self.begin.take() {
            // If it has ended, that is among what it hands over.
            let _ = say.send(begin);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed.
            let _ = thread.join();
        }
    }
}

/// What the thread does.
struct Member {
    cluster: Cluster,
    makes_stream: bool,
    shared: Arc<Shared>,
    say: mpsc::Sender<Followed>,
    grant: mpsc::Sender<String>,
    rest: mpsc::Sender<Rest>,
}

impl Member {
    async fn run(
        self,
        begins: oneshot::Receiver<Begin>,
        calls: mpsc::UnboundedReceiver<Call>,
        arrived: mpsc::Sender<(UnixStream, Wire, Caller)>,
    ) {
        if let Err(error) = self.try_to_run(begins, calls, arrived).await {
            let _ = self.say.send(Followed::Failed(error)).await;
        }
        // What it was given to carry is carried to the end; the node then drops this.
        std::future::pending::<()>().await;
    }

    async fn try_to_run(
        &self,
        begins: oneshot::Receiver<Begin>,
        calls: mpsc::UnboundedReceiver<Call>,
        arrived: mpsc::Sender<(UnixStream, Wire, Caller)>,
    ) -> Result<(), NodeError> {
        let (connection, signs) = self.connect().await?;
        let client = signs.client().clone();
        *lock(&self.shared.client) = Some((client.clone(), subject(&self.cluster.subject(), "alive")));
        tokio::spawn(listen(client.clone(), subject(&self.cluster.subject(), "alive"), self.shared.clone()));
        tokio::spawn(give_signs(self.shared.clone()));
        let shared = self.shared.clone();
        let hear = move |found| shared.hear_of_stream(found);
        tokio::spawn(servers::stay_where_the_stream_is(connection.clone(), hear));
        tokio::spawn(servers::stay_where_the_stream_is(signs.clone(), |_| ()));
        tokio::spawn(pass_on(client.clone(), self.cluster.subject(), self.shared.clone(), calls));
        let state = self.look(&connection).await?;
        let founder = connection.founder(&state).await;
        self.hand_over(Followed::Connected { created: connection.created(), state, founder }).await;
        let Ok(begin) = begins.await else { return Ok(()) };
        *lock(&self.shared.home) = Some(begin.home.clone());
        lock(&self.shared.beat).commit = begin.position.number.0;
        tokio::spawn(trim(connection.clone(), self.shared.clone(), self.cluster.keep));
        tokio::spawn(keep_near(connection.clone(), self.shared.clone()));
        let carrier = self.follow(&connection, &signs, &begin).await?;
        self.own(&client, carrier, arrived).await;
        Ok(())
    }

    /// If nobody takes it any more the node is being dropped.
    async fn hand_over(&self, followed: Followed) {
        let _ = self.say.send(followed).await;
    }

    /// Connects, however long that takes. Twice: signs of life are not to stand behind what the log sends.
    async fn connect(&self) -> Result<(Connection, Connection), NodeError> {
        let config = stream(&self.cluster);
        for tries in 0.. {
            let connected = async {
                let connection = match self.makes_stream {
                    true => Connection::open(&config).await?,
                    false => Connection::find(&config).await?,
                };
                Ok((connection, Connection::find(&config).await?))
            };
            match connected.await {
                Ok(connected) => return Ok(connected),
                Err(error @ (StreamError::Unreachable { .. } | StreamError::Unusable { .. })) => {
                    if tries % CONNECT_SAY == 0 {
                        events::servers_do_not_answer(&error.to_string());
                    }
                    sleep(CONNECT_PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        unreachable!("it is tried for ever")
    }

    /// Reads the stream, until this node has taken over. It does that by the connection on which it hears signs of life: one that hears
    /// none because its server is cut off from the others is not to take over, and by that server it cannot.
    async fn follow(
        &self,
        connection: &Connection,
        signs: &Connection,
        begin: &Begin,
    ) -> Result<Carrier, NodeError> {
        let Begin { position, founder, .. } = begin;
        // What was confirmed while somebody else was copied belongs to the beginning, too.
        let up_to = self.look(connection).await?.last;
        let mut rules = Rules::from(*position);
        let (mut is_up_to_date, mut has_begun) = (false, position.epoch > Epoch(0));
        let mut records = Records::read(connection, position.seq);
        let mut calls = Calls::listen(signs.client(), &self.cluster.subject(), &self.cluster.node).await;
        loop {
            if !is_up_to_date && rules.position().seq >= up_to {
                is_up_to_date = true;
                self.hand_over(Followed::UpToDate).await;
                self.shared.become_role(Role::Standby).await;
            }
            tokio::select! {
                biased;
                record = records.next() => {
                    let (seq, message) = record?;
                    let meaning = rules.read(seq, &message)?;
                    if let Meaning::Takeover(life) = &meaning
                        && !std::mem::replace(&mut has_begun, true)
                        && founder.is_some_and(|own| own != *life)
                    {
                        return Err(NodeError::OtherFounder);
                    }
                    self.take_in(&rules, meaning).await;
                    self.verify_if_reached(&mut calls, &rules).await;
                }
                () = hear(&mut calls, &rules), if is_up_to_date => {
                    self.verify_if_reached(&mut calls, &rules).await;
                }
                () = sleep(TICK), if is_up_to_date => {
                    // The answer may have taken long, and the owner may have been heard meanwhile.
                    if self.is_my_turn() && self.has_read_all(connection, &rules).await? && self.is_my_turn() {
                        let life = founder.filter(|_| !has_begun).unwrap_or_else(any_life);
                        match Carrier::take_over(signs.clone(), rules.clone(), life).await {
                            Ok(carrier) => return Ok(carrier.by(connection.clone())),
                            Err(Lost::Unreadable(error)) => return Err(error.into()),
                            // Somebody else was faster, or the owner lives after all, or nobody answers.
                            Err(_) => lock(&self.shared.peers).note_record(monotonic()),
                        }
                    }
                }
            }
        }
    }

    fn is_my_turn(&self) -> bool {
        lock(&self.shared.peers).is_my_turn(monotonic())
    }

    /// What the stream has more comes before a takeover. Where no server says what it has, that has to wait.
    async fn has_read_all(&self, connection: &Connection, rules: &Rules) -> Result<bool, NodeError> {
        let read = rules.position().seq;
        match connection.look().await {
            Ok(StreamState { last, .. }) if last < read => Err(ReadError::Short { last, read }.into()),
            Ok(StreamState { last, .. }) => Ok(last == read),
            Err(error @ StreamError::MadeAnew { .. }) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    /// Has it said what the state comes to, if this is the commit for that.
    async fn verify_if_reached(&self, calls: &mut Option<Calls>, rules: &Rules) {
        let reached = calls.as_mut().map(|calls| calls.reached(place(rules)));
        for say in reached.into_iter().flatten() {
            self.hand_over(Followed::Verify(say)).await;
        }
    }

    /// What the stream has, once a server says it.
    async fn look(&self, connection: &Connection) -> Result<StreamState, NodeError> {
        loop {
            match connection.look().await {
                Ok(state) => {
                    self.shared.hear_of_stream(Ok(state.clone()));
                    return Ok(state);
                }
                Err(error @ StreamError::MadeAnew { .. }) => return Err(error.into()),
                Err(_) => sleep(CONNECT_PAUSE).await,
            }
        }
    }

    async fn take_in(&self, rules: &Rules, meaning: Meaning) {
        match meaning {
            Meaning::Commit(number, payload) => {
                lock(&self.shared.peers).note_record(monotonic());
                lock(&self.shared.beat).commit = number.0;
                let position = rules.resumable();
                self.hand_over(Followed::Commit(StreamCommit { number, payload, position })).await;
            }
            Meaning::Takeover(_) => {
                let Position { epoch: Epoch(epoch), .. } = rules.position();
                lock(&self.shared.peers).note_takeover(epoch, monotonic());
                self.shared.look_for_owner();
            }
            Meaning::Part | Meaning::Void => {}
        }
    }

    /// Carries what the owner appends, until it appends nothing more or is the owner no more.
    async fn own(
        &self,
        client: &Client,
        carrier: Carrier,
        arrived: mpsc::Sender<(UnixStream, Wire, Caller)>,
    ) {
        let epoch = carrier.epoch();
        let (link, progress, carrying) = JetStreamLink::new(carrier);
        lock(&self.shared.peers).note_takeover(epoch.0, monotonic());
        lock(&self.shared.beat).epoch = epoch.0;
        // Whoever is told of this owner is to be heard.
        if let Ok(calls) =
            client.subscribe(tunnel::calls_subject(&self.cluster.subject(), &self.shared.life())).await
        {
            tokio::spawn(tunnel::take(client.clone(), calls, arrived));
        }
        if let Some(wishes) = handover::listen(client, &self.cluster.subject()).await {
            tokio::spawn(handover::grant(client.clone(), wishes, self.shared.clone(), self.grant.clone()));
        }
        if let Some(asked) = verify::listen(client, &self.cluster.subject()).await {
            let (name, shared) = (self.cluster.subject(), self.shared.clone());
            tokio::spawn(verify::lead(client.clone(), name, asked, shared, self.rest.clone()));
        }
        self.shared.become_role(Role::Owner).await;
        self.shared.look_for_owner();
        self.hand_over(Followed::Own { link, progress: progress.clone(), epoch }).await;
        *lock(&self.shared.progress) = Some(progress.clone());
        tokio::select! {
            () = carrying => {}
            () = self.watch(&progress) => {}
        }
        self.shared.become_role(Role::Gone).await;
    }

    /// Notes how far the owner is, and ends its ownership if it is cut off.
    async fn watch(&self, progress: &Progress) {
        loop {
            sleep(BEAT).await;
            let CommitNo(commit) = progress.confirmed();
            lock(&self.shared.beat).commit = commit;
            // It may hear itself by a server that is cut off as well.
            let is_cut_off = lock(&self.shared.peers).is_cut_off(monotonic());
            if is_cut_off || progress.unanswered_for() > UNANSWERED {
                progress.lose(&Lost::CutOff);
                return;
            }
        }
    }
}

fn place(rules: &Rules) -> (Epoch, CommitNo) {
    let Position { epoch, number, .. } = rules.position();
    (epoch, number)
}

/// Hears the next call to look at the state, if this node hears calls.
async fn hear(calls: &mut Option<Calls>, rules: &Rules) {
    match calls {
        Some(calls) => calls.hear(place(rules)).await,
        None => std::future::pending().await,
    }
}

/// One that no node has had before.
fn any_life() -> NodeLife {
    let half = |n: u8| u128::from(RandomState::new().hash_one(n));
    NodeLife(half(0) << 64 | half(1))
}

/// Passes connections on, as they come.
async fn pass_on(
    client: Client,
    name: String,
    shared: Arc<Shared>,
    mut calls: mpsc::UnboundedReceiver<Call>,
) {
    while let Some(call) = calls.recv().await {
        let owner = shared.owner.subscribe();
        tokio::spawn(tunnel::pass_on(client.clone(), name.clone(), call, owner));
    }
}
