//! What the tasks of a node's thread share: what it is, whom it has heard, and who the owner is. It gives and hears the signs of life.

use super::beat::{Beat, Role};
use super::peers::{BEAT, Peers};
use super::sight::{sight, stream_view};
use crate::clock::monotonic;
use crate::config::Cluster;
use crate::store::{Progress, StreamState};
use crate::telemetry::events;
use crate::views::{ClusterView, StreamView};
use async_nats::Client;
use futures_util::StreamExt;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What the tasks of the thread share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) peers: Mutex<Peers>,
    pub(super) beat: Mutex<Beat>,
    pub(super) home: Mutex<Option<Arc<AtomicU64>>>,
    /// What the servers have last said of the stream.
    pub(super) stream: Mutex<StreamView>,
    /// How far the stream is, if this is the owner.
    pub(super) progress: Mutex<Option<Arc<Progress>>>,
    /// Which life is the owner's, for those who want to be connected to it.
    pub(super) owner: watch::Sender<Option<String>>,
    pub(super) client: Mutex<Option<(Client, String)>>,
    warned_of_double: Once,
    /// Which shard of how many this is, if there are several.
    of: Option<(u32, u32)>,
}

/// How the cluster looks from this process, whichever life of the node it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnSight(Arc<Mutex<Option<Arc<Shared>>>>);

impl OwnSight {
    pub(super) fn set(&self, shared: Arc<Shared>) {
        *lock(&self.0) = Some(shared);
    }

    /// Now; nothing of it before there is a node.
    pub(crate) fn see(&self) -> ClusterView {
        lock(&self.0).as_ref().map_or_else(ClusterView::default, |shared| shared.sight())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(cluster: &Cluster) -> Shared {
        let life = format!("{}-{:016x}", cluster.node, RandomState::new().hash_one(std::process::id()));
        let beat = Beat {
            node: cluster.node.clone(),
            life: life.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: 0,
            role: Role::Starting,
            commit: 0,
            home: 0,
            heir: None,
        };
        let peers = Peers::new((&cluster.node, &life), &cluster.nodes, cluster.lease, monotonic());
        Shared {
            peers: Mutex::new(peers),
            beat: Mutex::new(beat),
            home: Mutex::default(),
            stream: Mutex::new(StreamView { name: cluster.stream_name(), ..StreamView::default() }),
            progress: Mutex::default(),
            owner: watch::Sender::new(None),
            client: Mutex::default(),
            warned_of_double: Once::new(),
            of: cluster.shard.map(|shard| (shard as u32, cluster.shards as u32)),
        }
    }

    /// How the cluster looks from here.
    pub(super) fn sight(&self) -> ClusterView {
        let own = lock(&self.beat).clone();
        let heard = lock(&self.peers).heard(&own, monotonic());
        let progress = lock(&self.progress).clone().filter(|_| own.role == Role::Owner);
        ClusterView {
            shard: self.of.map(|(shard, _)| shard),
            shards: self.of.map(|(_, shards)| shards),
            node: Some(own.node),
            unanswered_ms: progress.map(|progress| progress.unanswered_for().as_millis() as u64),
            ..sight(heard, lock(&self.stream).clone())
        }
    }

    /// What the servers have said of the stream.
    pub(super) fn hear_of_stream(&self, found: Result<StreamState, String>) {
        let mut known = lock(&self.stream);
        *known = stream_view(&known.name, found);
    }

    pub(super) fn life(&self) -> String {
        lock(&self.beat).life.clone()
    }

    /// What is said of this node from now on, and at once.
    pub(super) async fn become_role(&self, role: Role) {
        lock(&self.beat).role = role;
        self.give_sign().await;
    }

    /// A sign of life.
    async fn give_sign(&self) {
        let beat = {
            let mut beat = lock(&self.beat);
            beat.note_epoch(lock(&self.peers).epoch());
            beat.home = lock(&self.home).as_ref().map_or(0, |home| home.load(Ordering::Relaxed));
            beat.encode()
        };
        let client = lock(&self.client).clone();
        if let Some((client, subject)) = client {
            // What does not arrive is followed by others. Where no server is there for long, the client's queue is full.
            let _ = timeout(BEAT, client.publish(subject, beat.into())).await;
        }
    }

    /// Others need not wait for it.
    pub(super) async fn say_last_words(&self) {
        self.become_role(Role::Gone).await;
        let client = lock(&self.client).clone();
        if let Some((client, _)) = client {
            let _ = timeout(LAST_WORDS, client.flush()).await;
        }
    }

    /// Somebody was heard.
    fn hear(&self, beat: Beat) {
        let node = beat.node.clone();
        let is_double = lock(&self.peers).hear(beat, monotonic());
        if is_double {
            self.warned_of_double.call_once(|| events::node_is_double(&node));
        }
        self.look_for_owner();
    }

    /// Notes who the owner is, for those who wait for it.
    pub(super) fn look_for_owner(&self) {
        let own = lock(&self.beat);
        let life = match own.role {
            Role::Owner => Some(own.life.clone()),
            _ => lock(&self.peers).owner().map(|owner| owner.life.clone()),
        };
        drop(own);
        self.owner.send_if_modified(|known| {
            let is_new = *known != life;
            *known = life;
            is_new
        });
    }
}

/// Hears signs of life.
pub(super) async fn listen(client: Client, subject: String, shared: Arc<Shared>) {
    loop {
        if let Ok(mut beats) = client.subscribe(subject.clone()).await {
            while let Some(message) = beats.next().await {
                if let Some(beat) = Beat::decode(&message.payload) {
                    shared.hear(beat);
                }
            }
        }
        sleep(BEAT).await;
    }
}

/// Gives signs of life.
pub(super) async fn give_signs(shared: Arc<Shared>) {
    loop {
        shared.give_sign().await;
        sleep(BEAT).await;
    }
}
