//! Connections that are passed on over real servers.

use super::tunnel::{self, Call, Wire};
use crate::access::Caller;
use crate::nats::Servers;
use futures_util::StreamExt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

const NAME: &str = "jobs";
const LIFE: &str = "one-1";
const DEADLINE: Duration = Duration::from_secs(20);

/// An owner, and a node that passes on to it.
struct Pair {
    _servers: Servers,
    client: async_nats::Client,
    owner: watch::Sender<Option<String>>,
    arrivals: mpsc::Receiver<(UnixStream, Wire, Caller)>,
    places: Arc<Semaphore>,
}

fn with(test: impl AsyncFnOnce(Pair)) {
    let Some(servers) = Servers::start(1) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connect = || async_nats::ConnectOptions::new().retry_on_initial_connect().connect(servers.urls());
        let (client, of_owner) = (connect().await.unwrap(), connect().await.unwrap());
        let calls = of_owner.subscribe(tunnel::calls_subject(NAME, LIFE)).await.unwrap();
        of_owner.flush().await.unwrap();
        let (arrived, arrivals) = mpsc::channel(1);
        tokio::spawn(tunnel::take(of_owner, calls, arrived));
        let (owner, places) = (watch::Sender::new(None), Arc::new(Semaphore::new(1)));
        let pair = Pair { _servers: servers, client, owner, arrivals, places };
        timeout(DEADLINE, test(pair)).await.expect("it does not take long");
    });
    // Whatever a test has left on a thread must not keep it.
    runtime.shutdown_background();
}

impl Pair {
    /// Somebody comes to the node. What they have of the connection blocks.
    fn come(&self) -> UnixStream {
        let (theirs, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let place = self.places.clone().try_acquire_owned().unwrap();
        let caller = Caller { uid: 7, groups: vec![8, 9] };
        let call = Call { stream: ours.into(), wire: Wire::Beanstalk, caller, place };
        tokio::spawn(tunnel::pass_on(self.client.clone(), NAME.to_owned(), call, self.owner.subscribe()));
        theirs
    }

    /// They arrive at the owner.
    async fn arrive(&mut self) -> UnixStream {
        let (stream, wire, caller) = self.arrivals.recv().await.unwrap();
        assert_eq!((wire, caller), (Wire::Beanstalk, Caller { uid: 7, groups: vec![8, 9] }));
        stream.set_nonblocking(false).unwrap();
        stream
    }
}

/// Many bytes, of which none is like its neighbours.
fn bytes(len: usize) -> Vec<u8> {
    (0..len as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u8).collect()
}

fn read_all(mut stream: UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// More than a window in both directions at once, by sides that say all before they read, or never pause.
#[test]
fn what_both_sides_say_arrives_whole_and_so_do_their_ends() {
    with(async |mut pair| {
        let mut ours = pair.come();
        // They wait until there is an owner.
        assert!(pair.arrivals.try_recv().is_err());
        pair.owner.send_replace(Some(LIFE.to_owned()));
        let mut theirs = pair.arrive().await;
        let echo = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; 10_000];
            loop {
                match theirs.read(&mut buffer).unwrap() {
                    0 => break,
                    len => theirs.write_all(&buffer[..len]).unwrap(),
                }
            }
            // The other side has said all, and still listens.
            theirs.write_all(b"all").unwrap();
        });
        let mut writer = ours.try_clone().unwrap();
        let writing = tokio::task::spawn_blocking(move || {
            writer.write_all(&bytes(3_000_000)).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let got = tokio::task::spawn_blocking(move || {
            // A small answer comes without anything behind it.
            let mut first = [0];
            ours.read_exact(&mut first).unwrap();
            [first.to_vec(), read_all(ours)].concat()
        });
        let got = got.await.unwrap();
        writing.await.unwrap();
        echo.await.unwrap();
        assert!(got == [bytes(3_000_000), b"all".to_vec()].concat(), "{} bytes", got.len());
        while pair.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn a_connection_ends_with_its_owner() {
    with(async |mut pair| {
        pair.owner.send_replace(Some(LIFE.to_owned()));
        // It hangs up in the middle.
        let ours = pair.come();
        drop(pair.arrive().await);
        assert!(tokio::task::spawn_blocking(|| read_all(ours)).await.unwrap().is_empty());
        while pair.places.available_permits() == 0 {
            tokio::task::yield_now().await;
        }
        // Another one has taken over, and the former one says nothing.
        let mut ours = pair.come();
        let mut theirs = pair.arrive().await;
        let (ours, _theirs) = tokio::task::spawn_blocking(move || {
            theirs.write_all(b"!").unwrap();
            ours.read_exact(&mut [0]).unwrap();
            (ours, theirs)
        })
        .await
        .unwrap();
        pair.owner.send_replace(None);
        assert!(tokio::task::spawn_blocking(|| read_all(ours)).await.unwrap().is_empty());
    });
}

/// Whoever has called has sent five bytes, and they have not arrived; nothing comes behind them.
#[test]
fn a_connection_whose_last_words_are_lost_ends() {
    with(async |mut pair| {
        let inbox = pair.client.new_inbox();
        let mut answers = pair.client.subscribe(inbox.clone()).await.unwrap();
        let open = "{\"wire\":\"beanstalk\",\"uid\":7,\"groups\":[8,9]}";
        let calls = tunnel::calls_subject(NAME, LIFE);
        let theirs = loop {
            // The owner may not hear yet.
            pair.client.publish_with_reply(calls.clone(), inbox.clone(), open.into()).await.unwrap();
            if let Ok(theirs) = timeout(Duration::from_millis(500), pair.arrive()).await {
                break theirs;
            }
        };
        let to = loop {
            // The servers say so of each call that nobody heard.
            match answers.next().await.unwrap() {
                unheard if unheard.payload.is_empty() => {}
                opened => break String::from_utf8(opened.payload[9..].to_vec()).unwrap(),
            }
        };
        let present = [&[3][..], &5u64.to_le_bytes()].concat();
        let mut ended = tokio::task::spawn_blocking(|| read_all(theirs));
        // The caller goes on to be there.
        while timeout(Duration::from_millis(500), &mut ended).await.is_err() {
            pair.client.publish(to.clone(), present.clone().into()).await.unwrap();
        }
    });
}

/// Strangers may write to the subjects.
#[test]
fn what_is_no_call_and_no_message_does_no_harm() {
    with(async |mut pair| {
        pair.owner.send_replace(Some(LIFE.to_owned()));
        for bad in ["", "{}", "[1]", "{\"wire\":\"native\",\"uid\":-1,\"groups\":[]}"] {
            let subject = tunnel::calls_subject(NAME, LIFE);
            pair.client.publish_with_reply(subject, "nobody", bad.into()).await.unwrap();
        }
        let mut ours = pair.come();
        let mut theirs = pair.arrive().await;
        tokio::task::spawn_blocking(move || {
            ours.write_all(b"hello").unwrap();
            let mut heard = [0; 5];
            theirs.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"hello");
        })
        .await
        .unwrap();
    });
}
