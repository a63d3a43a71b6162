//! What is not a job where queues are divided among shards: schedules fire in the shard of their queue, once each time, whoever owns it;
//! topics and groups are of one namespace.

use super::said;
use super::shards::{owners, sharded};
use crate::helper::{Daemon, Home, block_on, until};
use musher::client::Client;
use musher::protocol::admin::{AdminRequest, JobView, QueueView};
use serde_json::Value;
use std::path::Path;

const SCHEDULES: &str = "[schedules.configured]\nqueue = \"c0\"\nevery = \"1s\"\nbody = \"tick\"\n";

/// How many jobs a queue has been given, if the node that is asked can say.
async fn submitted(socket: &Path, queue: &str) -> Option<u64> {
    let client = Client::connect(socket).await.ok()?;
    let queues: Vec<QueueView> = client.ask(AdminRequest::Queues {}).await.ok()?;
    queues.into_iter().find(|view| view.queue == queue).map(|view| view.ready)
}

async fn until_more_than(socket: &Path, queue: &str, count: u64) -> u64 {
    until(&format!("{queue} has more than {count} jobs"), async || {
        submitted(socket, queue).await.filter(|ready| *ready > count)
    })
    .await
}

#[test]
fn schedules_fire_in_the_shard_of_their_queue_whoever_owns_it() {
    let Some(cluster) = sharded(3, 3, SCHEDULES) else { return };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let sockets: Vec<_> = cluster.homes.iter().map(Home::socket).collect();
        let before = owners(&sockets[0]).await;
        let (is_done, why) =
            said(&cluster.homes[1], &["schedule", "add", "c1/added", "c1", "tock", "--every", "1s"]);
        assert!(is_done, "{why}");
        for queue in ["c0", "c1"] {
            until_more_than(&sockets[2], queue, 2).await;
        }
        // Both are listed by any node, each once, and one is shown by its name.
        let (_, list) = said(&cluster.homes[2], &["schedule", "list", "--json"]);
        let list: Vec<Value> = list.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<&str> = list.iter().map(|schedule| schedule["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["c1/added", "configured"]);
        // The node that owns the shard of c1 is gone, and with it whatever else it owned.
        let gone = before[2].strip_prefix('n').unwrap().parse::<usize>().unwrap();
        daemons[gone].take().map(Daemon::kill).unwrap().await;
        let other = (gone + 1) % 3;
        for queue in ["c0", "c1"] {
            let had = until_more_than(&sockets[other], queue, 0).await;
            until_more_than(&sockets[other], queue, had + 1).await;
        }
        for (schedule, queue) in [("c1/added", "c1"), ("configured", "c0")] {
            let paused = said(&cluster.homes[other], &["schedule", "pause", schedule]);
            assert!(paused.0, "{}", paused.1);
            let (_, shown) = said(&cluster.homes[other], &["schedule", "show", schedule, "--json"]);
            let shown: Value = serde_json::from_str(&shown).unwrap();
            // No time has been lost between its job and the note of it, and none has had two.
            assert_eq!(shown["fired"].as_u64(), submitted(&sockets[other], queue).await, "{shown}");
        }
        drop(daemons);
    });
}

#[test]
fn topics_and_groups_are_of_one_namespace() {
    let Some(cluster) = sharded(1, 2, "") else { return };
    block_on(async {
        let daemons = cluster.serve_all().await;
        let sockets: Vec<_> = cluster.homes.iter().map(Home::socket).collect();
        owners(&sockets[0]).await;
        let home = &cluster.homes[1];
        let (is_done, why) = said(home, &["topic", "bind", "c0/*", "c0/mails", "c0/audit"]);
        assert!(is_done, "{why}");
        let (is_done, why) = said(home, &["topic", "bind", "c1.created", "c1/mails", "c0/audit"]);
        assert!(!is_done && why.contains("namespace"), "{why}");
        let (is_done, why) = said(home, &["submit", "--topic", "c0/created", "hello"]);
        assert!(is_done, "{why}");
        for queue in ["c0/mails", "c0/audit"] {
            assert_eq!(submitted(&sockets[0], queue).await, Some(1), "{queue}");
        }
        // What a job waits for is in its shard.
        let (is_done, first) = said(home, &["submit", "c1", "first"]);
        assert!(is_done, "{first}");
        let (is_done, second) = said(home, &["submit", "c1", "--after", first.trim(), "second"]);
        assert!(is_done, "{second}");
        let show = AdminRequest::Show { id: second.trim().parse().unwrap() };
        let job: JobView = Client::connect(&sockets[0]).await.unwrap().ask(show).await.unwrap();
        assert_eq!(job.state, "waiting");
        let (is_done, why) = said(home, &["submit", "c0", "--after", first.trim(), "elsewhere"]);
        assert!(!is_done && why.contains("shard"), "{why}");
        drop(daemons);
    });
}
