//! Whether all nodes have the same state. Somebody asks; the owner names a commit and holds back the next one until the others are ready
//! for it; then each node says what its state comes to right after that commit.
//!
//! What comes back goes to whoever has asked: first what the owner has begun, then what each node has found.

use super::beat::Beat;
use super::shared::{Shared, lock};
use super::{AskError, stream, subject};
use crate::clock::monotonic;
use crate::config::Cluster;
use crate::store::{CommitNo, Digest, Epoch};
use async_nats::{Client, StatusCode, Subscriber};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// How long the owner waits for the others: meanwhile nothing is committed.
const READY: Duration = Duration::from_millis(500);
/// How long a node may take to say what it has found: it may be behind, and have millions of jobs.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the owner may take to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// What a node has found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) node: String,
    /// When: in this ownership, after this commit.
    epoch: u64,
    at: u64,
    /// How many jobs it has.
    pub(crate) jobs: u64,
    /// What its state comes to.
    pub(crate) digest: String,
}

/// What comes back.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Begun(Begun),
    Found(Finding),
}

/// What the owner says.
#[derive(Debug, Serialize, Deserialize)]
struct Begun {
    /// The owner, and its ownership.
    from: String,
    epoch: u64,
    /// After which commit the state is looked at.
    at: u64,
    /// By which nodes beside the owner.
    others: Vec<String>,
    /// Which others stand by, and were not ready in time.
    late: Vec<String>,
}

impl Begun {
    /// Whether this was found after the commit that is looked at.
    fn is_of(&self, finding: &Finding) -> bool {
        (finding.epoch, finding.at) == (self.epoch, self.at)
    }

    /// Whether all that were ready have said what they have found, and the owner.
    fn is_whole(&self, findings: &[Finding]) -> bool {
        let mut found = findings.iter().filter(|finding| self.is_of(finding));
        let has_found = |node: &String| findings.iter().any(|it| self.is_of(it) && it.node == *node);
        self.others.iter().all(has_found) && found.any(|finding| finding.node == self.from)
    }
}

/// What the owner tells the others.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    epoch: u64,
    at: u64,
    /// Where findings go to.
    to: String,
}

/// All that was found.
#[derive(Debug, Serialize)]
pub(crate) struct Verified {
    /// After this commit.
    pub(crate) commit: u64,
    pub(crate) findings: Vec<Finding>,
    /// Nodes of which nothing is known: they were late, or away.
    pub(crate) missing: Vec<String>,
}

impl Verified {
    /// Whether all that was found is the same. `None` if there was nothing to be compared.
    pub(crate) fn is_same(&self) -> Option<bool> {
        let (first, others) = self.findings.split_first().filter(|(_, others)| !others.is_empty())?;
        Some(others.iter().all(|other| (other.jobs, &other.digest) == (first.jobs, &first.digest)))
    }
}

/// Asks the nodes.
pub(crate) async fn verify(cluster: &Cluster) -> Result<Verified, AskError> {
    let client = stream(cluster).connect().await?;
    let inbox = client.new_inbox();
    let mut said = client.subscribe(inbox.clone()).await.map_err(|_| AskError::NoAnswer)?;
    let asked = client.publish_with_reply(subject(&cluster.subject(), "verify"), inbox, "".into()).await;
    asked.map_err(|_| AskError::NoAnswer)?;
    let (mut begun, mut findings) = (None::<Begun>, Vec::new());
    let mut deadline = Instant::now() + BEGIN;
    // What others have found may come before what the owner has begun.
    while !begun.as_ref().is_some_and(|begun| begun.is_whole(&findings)) {
        let Ok(Some(message)) = timeout_at(deadline, said.next()).await else { break };
        // The servers say so when nobody listens.
        if message.status == Some(StatusCode::NO_RESPONDERS) {
            return Err(AskError::NoOwner);
        }
        match serde_json::from_slice(&message.payload) {
            // One that was the owner, and does not know that it is over, leads as well.
            Ok(Said::Begun(said)) if begun.as_ref().is_none_or(|known| known.epoch < said.epoch) => {
                (begun, deadline) = (Some(said), Instant::now() + PATIENCE);
            }
            Ok(Said::Begun(_)) => {}
            Ok(Said::Found(finding)) => findings.push(finding),
            // Others may write there.
            Err(_) => {}
        }
    }
    let begun = begun.ok_or(AskError::NoAnswer)?;
    findings.retain(|finding| begun.is_of(finding));
    let all = begun.late.iter().chain(&begun.others).chain(&cluster.nodes);
    let has_said = |node: &String| findings.iter().any(|finding| finding.node == *node);
    let missing: BTreeSet<String> = all.filter(|node| !has_said(node)).cloned().collect();
    let missing = missing.into_iter().collect();
    findings.sort_by_key(|finding| cluster.nodes.iter().position(|node| *node == finding.node));
    Ok(Verified { commit: begun.at, findings, missing })
}

/// What the owner's loop has to do with it: it says after which commit it rests, waits, and says what its state comes to.
#[derive(Debug)]
pub(crate) struct Rest {
    at: oneshot::Sender<CommitNo>,
    go: std::sync::mpsc::Receiver<()>,
    found: oneshot::Sender<Digest>,
}

impl Rest {
    /// All commits up to this one are appended and no other is, as long as this takes.
    pub(crate) fn with(self, at: CommitNo, digest: impl FnOnce() -> Digest) {
        if self.at.send(at).is_ok() && self.go.recv_timeout(2 * READY).is_ok() {
            let _ = self.found.send(digest());
        }
    }
}

/// Hears who asks, at the owner.
pub(super) async fn listen(client: &Client, name: &str) -> Option<Subscriber> {
    client.subscribe(subject(name, "verify")).await.ok()
}

/// At the owner: does what is asked, one after the other.
pub(super) async fn lead(
    client: Client,
    name: String,
    mut asked: Subscriber,
    shared: Arc<Shared>,
    rests: mpsc::Sender<Rest>,
) {
    while let Some(message) = asked.next().await {
        let Some(to) = message.reply else { continue };
        // What could not be done is not answered.
        let _ = lead_one(&client, &name, to.as_str(), &shared, &rests).await;
    }
}

async fn lead_one(
    client: &Client,
    name: &str,
    to: &str,
    shared: &Shared,
    rests: &mpsc::Sender<Rest>,
) -> Option<()> {
    let ((say_at, at), (let_go, go)) = (oneshot::channel(), std::sync::mpsc::channel());
    let (tell, found) = oneshot::channel();
    let expected = lock(&shared.peers).standbys(monotonic());
    rests.send(Rest { at: say_at, go, found: tell }).await.ok()?;
    let CommitNo(at) = at.await.ok()?;
    let Beat { node: from, epoch, .. } = lock(&shared.beat).clone();
    // From here on the loop waits.
    let (inbox, mut ready) = (client.new_inbox(), Vec::new());
    let mut answers = client.subscribe(inbox.clone()).await.ok()?;
    let call = json(&Call { epoch, at, to: to.to_owned() });
    client.publish_with_reply(subject(name, "verify-at"), inbox, call.into()).await.ok()?;
    let gather = async {
        while ready.len() < expected.len()
            && let Some(answer) = answers.next().await
        {
            let node = String::from_utf8_lossy(&answer.payload).into_owned();
            if expected.contains(&node) && !ready.contains(&node) {
                ready.push(node);
            }
        }
    };
    let _ = timeout(READY, gather).await;
    let_go.send(()).ok()?;
    let late = expected.into_iter().filter(|node| !ready.contains(node)).collect();
    say(client, to, &Said::Begun(Begun { from: from.clone(), epoch, at, others: ready, late })).await;
    let digest = found.await.ok()?;
    say_found(client, to, from, (epoch, at), digest).await;
    Some(())
}

/// At the others: the commits after which they are to look.
pub(super) struct Calls {
    client: Client,
    node: String,
    calls: Subscriber,
    waiting: Vec<Call>,
}

impl Calls {
    pub(super) async fn listen(client: &Client, name: &str, node: &str) -> Option<Calls> {
        let calls = client.subscribe(subject(name, "verify-at")).await.ok()?;
        Some(Calls { client: client.clone(), node: node.to_owned(), calls, waiting: Vec::new() })
    }

    /// The next call comes. `at`: the ownership and the newest commit that this node has. It is ready only if it has not passed those of
    /// the call.
    pub(super) async fn hear(&mut self, at: (Epoch, CommitNo)) {
        let Some(message) = self.calls.next().await else { return std::future::pending().await };
        let Ok(call) = serde_json::from_slice::<Call>(&message.payload) else { return };
        if let Some(reply) = message.reply
            && at <= call.place()
        {
            self.waiting.push(call);
            let _ = self.client.publish(reply, self.node.clone().into()).await;
        }
    }

    /// It has this commit now, and no later one. If calls wait for that: where to say what the state comes to.
    pub(super) fn reached(&mut self, at: (Epoch, CommitNo)) -> Vec<oneshot::Sender<Digest>> {
        let reached = self.waiting.extract_if(.., |call| call.place() <= at);
        let of_this = reached.filter(|call| call.place() == at).collect::<Vec<_>>();
        of_this.into_iter().map(|call| self.answer(call)).collect()
    }

    fn answer(&self, Call { epoch, at, to }: Call) -> oneshot::Sender<Digest> {
        let (say, found) = oneshot::channel();
        let (client, node) = (self.client.clone(), self.node.clone());
        tokio::spawn(async move {
            if let Ok(digest) = found.await {
                say_found(&client, &to, node, (epoch, at), digest).await;
            }
        });
        say
    }
}

impl Call {
    fn place(&self) -> (Epoch, CommitNo) {
        (Epoch(self.epoch), CommitNo(self.at))
    }
}

async fn say_found(client: &Client, to: &str, node: String, (epoch, at): (u64, u64), digest: Digest) {
    let finding = Finding { node, epoch, at, jobs: digest.jobs, digest: digest.to_string() };
    say(client, to, &Said::Found(finding)).await;
}

async fn say(client: &Client, to: &str, what: &Said) {
    // Who has asked may have gone.
    let _ = client.publish(to.to_owned(), json(what).into()).await;
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(node: &str, at: (u64, u64), jobs: u64, digest: &str) -> Finding {
        Finding { node: node.to_owned(), epoch: at.0, at: at.1, jobs, digest: digest.to_owned() }
    }

    #[test]
    fn findings_are_compared_if_there_are_several() {
        let same = |findings| Verified { commit: 1, findings, missing: Vec::new() }.is_same();
        let of = |jobs, digest| found("", (1, 1), jobs, digest);
        assert_eq!(same(vec![]), None);
        assert_eq!(same(vec![of(1, "a")]), None);
        assert_eq!(same(vec![of(1, "a"), of(1, "a")]), Some(true));
        assert_eq!(same(vec![of(1, "a"), of(1, "a"), of(1, "b")]), Some(false));
        assert_eq!(same(vec![of(1, "a"), of(2, "a")]), Some(false));
    }

    #[test]
    fn only_what_was_found_after_the_same_commit_of_the_same_ownership_counts() {
        let others = vec!["b".to_owned()];
        let begun = Begun { from: "a".to_owned(), epoch: 3, at: 7, others, late: vec!["c".to_owned()] };
        let mut findings = vec![found("a", (3, 7), 1, "x"), found("c", (3, 7), 1, "x")];
        assert!(!begun.is_whole(&findings));
        findings.push(found("b", (2, 7), 1, "y"));
        findings.push(found("b", (3, 6), 1, "y"));
        assert!(!begun.is_whole(&findings));
        findings.push(found("b", (3, 7), 1, "x"));
        assert!(begun.is_whole(&findings));
        assert_eq!(findings.iter().filter(|finding| begun.is_of(finding)).count(), 3);
    }
}
