//! Queues that are bound to topics by command: durable, beside those of the configuration, whatever dies.

use crate::helper::{Daemon, Home, block_on};
use musher::client::ClientError;
use musher::protocol::admin::{AdminRequest, TopicView};
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup};
use std::fs;

const CONFIG: &str = "[topics]\n'order.*' = ['audit', 'mails']\n";
const KILLS: usize = 12;

/// Submits a job to a topic; the queues that have got it.
async fn queues_of(daemon: &Daemon, topic: &str) -> Vec<String> {
    let options = JobOptions { queue: topic.into(), to_topic: true, ..JobOptions::default() };
    let receipts = daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await;
    let mut queues = Vec::new();
    for receipt in receipts.unwrap().iter() {
        queues.push(daemon.show(receipt.id).await.unwrap().queue);
    }
    queues
}

async fn listed(daemon: &Daemon) -> Vec<(String, String, String)> {
    let row = |topic: TopicView| (topic.from, topic.topic, topic.queues.join(" "));
    daemon.client.topics().await.unwrap().into_iter().map(row).collect()
}

/// A SIGKILL follows each answer at once, with the log or with checkpoints that are still under way.
#[test]
fn what_is_bound_is_there_after_a_kill_a_reload_and_a_restore() {
    block_on(async {
        let home = Home::new(CONFIG);
        let mut daemon = home.serve().await;
        let mut wanted = vec!["audit".to_owned(), "mails".to_owned()];
        for nth in 0..KILLS {
            let queue = format!("q{nth}");
            if nth % 4 == 3 {
                let gone = wanted.remove(2);
                daemon.client.unbind_topic("order.created", [gone]).await.unwrap();
            }
            daemon.client.bind_topic("order.created", [queue.as_str(), "mails"]).await.unwrap();
            if nth > 0 {
                wanted.push(queue);
            } else {
                // It is bound by both, and gets one job.
                wanted.insert(2, queue);
            }
            daemon.kill().await;
            daemon = home.serve().await;
            assert_eq!(queues_of(&daemon, "order.created").await, wanted, "after kill {nth}");
        }
        assert_eq!(queues_of(&daemon, "order.paid").await, ["audit", "mails"]);
        home.configure("[topics]\n'order.*' = ['other']\n");
        daemon.reload(&home).await;
        wanted.splice(..2, ["other".to_owned()]);
        let after = queues_of(&daemon, "order.created").await;
        assert!(wanted.iter().all(|queue| after.contains(queue)) && after.contains(&"mails".to_owned()));

        let file = home.path("one.backup");
        assert!(home.musher(&["backup", file.to_str().unwrap()]).status.success());
        daemon.client.unbind_topic("order.created", [""; 0]).await.unwrap();
        assert_eq!(queues_of(&daemon, "order.created").await, ["other"]);
        daemon.stop().await;
        fs::rename(home.path("data"), home.path("former")).unwrap();
        let data = home.path("data");
        let restore = ["restore", file.to_str().unwrap(), "--data", data.to_str().unwrap()];
        assert!(home.musher(&restore).status.success());
        let daemon = home.serve().await;
        assert_eq!(queues_of(&daemon, "order.created").await, after);
        daemon.stop().await;
        assert!(home.musher(&["verify", "--data", data.to_str().unwrap()]).status.success());
    });
}

fn text(home: &Home, args: &[&str]) -> (i32, String, String) {
    let output = home.musher(args);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn who_has_bound_a_queue_is_listed_and_what_cannot_be_is_refused() {
    block_on(async {
        let home = Home::new(CONFIG);
        let daemon = home.serve().await;
        let (code, _, told) = text(&home, &["topic", "bind", "order.*", "books", "mails"]);
        assert_eq!((code, &*told), (0, "topic order.*: books, mails are bound to it\n"));
        assert_eq!(text(&home, &["topic", "bind", "order.*", "mails"]).0, 0, "it is bound already");
        let last = daemon.status().await.commit;
        assert_eq!(text(&home, &["topic", "bind", "order.*", "mails", "books"]).0, 0);
        assert_eq!(daemon.status().await.commit, last, "that is no event");
        let by = |from: &str, queues: &str| (from.to_owned(), "order.*".to_owned(), queues.to_owned());
        let both = [by("configuration", "audit mails"), by("command", "books mails")];
        assert_eq!(listed(&daemon).await, both);
        let (_, table, _) = text(&home, &["topic", "list"]);
        let table: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(table[0], ["TOPIC", "QUEUES", "FROM"]);
        assert_eq!(table[2], ["order.*", "books,", "mails", "command"]);
        let (_, json, _) = text(&home, &["topic", "list", "--json"]);
        let first = "{\"topic\":\"order.*\",\"queues\":[\"audit\",\"mails\"],\"from\":\"configuration\"}";
        assert_eq!(json.lines().next(), Some(first));
        let (_, json, _) = text(&home, &["topic", "bind", "t", "q", "--json"]);
        assert_eq!(json, "{\"ok\":true,\"queues\":[\"q\"],\"topic\":\"t\"}\n");

        let refused = |code: i32, args: &[&str], words: &str| {
            let said = text(&home, &[&["topic"], args].concat());
            assert!(said.0 == code && said.2.contains(words), "{args:?}: {said:?}");
        };
        refused(
            1,
            &["unbind", "order.*", "audit"],
            "but in the daemon's configuration ([topics]): change it there",
        );
        refused(
            1,
            &["unbind", "order.*", "other"],
            "queue `other` is not bound to topic `order.*` by command",
        );
        refused(1, &["unbind", "order.created"], "no queue is bound to topic `order.created` by command");
        refused(2, &["bind", "two words", "q"], "`two words` is not a pattern of topics");
        refused(2, &["bind", "t", "two words"], "`two words` is not a queue name");
        let many: Vec<String> = (0..101).map(|nth| format!("q{nth}")).collect();
        let many: Vec<&str> = ["bind", "many"].into_iter().chain(many.iter().map(String::as_str)).collect();
        refused(75, &many, "100 queues are bound to topic `many` by command, the most that may be");
        let none = AdminRequest::TopicBind { topic: "t".into(), queues: Vec::new() };
        let refusal = daemon.client.done(none).await.unwrap_err();
        assert!(matches!(refusal, ClientError::Refused(fault) if fault.code == ErrorCode::Invalid));

        // While draining, as other changes.
        assert_eq!(text(&home, &["drain"]).0, 0);
        assert_eq!(text(&home, &["topic", "unbind", "t"]).0, 0);
        assert_eq!(text(&home, &["undrain"]).0, 0);
        let (code, _, told) = text(&home, &["topic", "unbind", "order.*", "books"]);
        assert_eq!((code, &*told), (0, "topic order.*: books is not bound to it by command any more\n"));
        assert_eq!(listed(&daemon).await[1], by("command", "mails"));
        assert_eq!(text(&home, &["topic", "unbind", "order.*"]).0, 0);
        assert_eq!(listed(&daemon).await.len(), 1);
        daemon.stop().await;
    });
}

/// As many as may be, and a submit that would be too many jobs.
#[test]
fn a_submit_to_very_many_queues_is_bounded() {
    block_on(async {
        let home = Home::new("batch = 150\n");
        let daemon = home.serve().await;
        for topic in ["a.*", "*.b"] {
            let queues = (0..100).map(|nth| format!("q{nth}-{}", topic.len() + usize::from(topic == "*.b")));
            daemon.client.bind_topic(topic, queues).await.unwrap();
        }
        assert_eq!(queues_of(&daemon, "a.c").await.len(), 100);
        let options = JobOptions { queue: "a.b".into(), to_topic: true, ..JobOptions::default() };
        let to_all = vec![SubmitGroup { options, bodies: vec!["x".into()] }];
        let refused = daemon.client.submit(to_all).await.unwrap_err().to_string();
        assert!(refused.contains("200 jobs in one request: at most 150 (limits.batch)"), "{refused}");
        daemon.stop().await;
    });
}
