//! Tags lie beside the bodies on the disk: lists, `show` and workers have them, wherever they are at the moment.

use crate::helper::{Daemon, Home, block_on};
use musher::client::Receipts;
use musher::protocol::admin::AdminRequest;
use musher::protocol::{JobOptions, SubmitGroup, Verdict};
use musher::views::{JobsView, ListQuery};

/// Every third job has tags, each its own.
fn tags_of(id: u64) -> Vec<(String, String)> {
    let shard = (id % 7).to_string();
    if id.is_multiple_of(3) {
        vec![("id".into(), id.to_string()), ("shard".into(), shard)]
    } else {
        Vec::new()
    }
}

async fn submit(daemon: &Daemon, ids: std::ops::Range<u64>) {
    let group = |id: u64| {
        let options = JobOptions { queue: "q".into(), tags: tags_of(id), ..JobOptions::default() };
        SubmitGroup { options, bodies: vec![format!("body {id}").into()] }
    };
    let receipts = daemon.client.submit(ids.clone().map(group).collect()).await.unwrap();
    assert_eq!(receipts, Receipts::New { first: ids.start, count: ids.end - ids.start });
}

/// All pages of a list.
async fn list(daemon: &Daemon, tags: &[(&str, &str)], newest: bool, limit: u32) -> Vec<u64> {
    let tags: Vec<_> = tags.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let mut query = ListQuery { tags, newest, limit, ..ListQuery::default() };
    let mut ids = Vec::new();
    loop {
        let page: JobsView = daemon.client.ask(AdminRequest::List(query.clone())).await.unwrap();
        assert!(page.jobs.len() <= limit as usize);
        for job in page.jobs {
            assert_eq!(job.tags, tags_of(job.id), "job {}", job.id);
            ids.push(job.id);
        }
        match page.next {
            Some(next) if newest => query.before = Some(next),
            Some(next) => query.after = next,
            None => return ids,
        }
    }
}

async fn check(daemon: &Daemon, ids: std::ops::Range<u64>) {
    let wanted = |fits: fn(&u64) -> bool| -> Vec<u64> { ids.clone().filter(fits).collect() };
    assert_eq!(list(daemon, &[], false, 500).await, wanted(|_| true));
    let of_shard = wanted(|id| id % 3 == 0 && id % 7 == 4);
    assert_eq!(list(daemon, &[("shard", "4")], false, 10).await, of_shard);
    assert_eq!(
        list(daemon, &[("shard", "4")], true, 7).await,
        of_shard.into_iter().rev().collect::<Vec<_>>()
    );
    assert_eq!(list(daemon, &[("id", "600"), ("shard", "5")], false, 9).await, [600]);
    assert!(list(daemon, &[("id", "600"), ("shard", "6")], false, 9).await.is_empty());
    for id in [599, 600] {
        assert_eq!(daemon.show(id).await.unwrap().tags, tags_of(id));
    }
}

#[test]
fn tags_are_found_in_the_log_at_home_and_after_a_crash() {
    block_on(async {
        let home = Home::new("");
        // No checkpoint but that of a stop.
        let slow = "[storage]\nlog_file = \"256KiB\"\ncheckpoint = \"10m\"\nballast = \"0B\"\n";
        std::fs::write(home.path("musher.toml"), format!("{slow}[limits]\ndisk_reserve = \"0B\"\n")).unwrap();
        let daemon = home.serve().await;
        submit(&daemon, 1..701).await;
        submit(&daemon, 701..1001).await;
        check(&daemon, 1..1001).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        check(&daemon, 1..1001).await;
        // A stop brings them home.
        daemon.stop().await;
        let daemon = home.serve().await;
        submit(&daemon, 1001..1101).await;
        check(&daemon, 1..1101).await;
        for id in 1..=12 {
            let job = daemon.claim("q", false, 0).await.unwrap();
            assert_eq!(
                (job.lease.id, &job.tags, &job.body[..]),
                (id, &tags_of(id), format!("body {id}").as_bytes())
            );
            assert!(daemon.settle(job.lease, Verdict::Complete).await);
        }
        check(&daemon, 13..1101).await;
        daemon.kill().await;
        let daemon = home.serve().await;
        check(&daemon, 13..1101).await;
        daemon.stop().await;
    });
}

/// Submits that ask for the same, tags and all, and come one behind the other, are decided as one.
#[test]
fn submits_in_a_row_keep_their_tags() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let tags = vec![("of".to_owned(), "all".to_owned())];
        let options = JobOptions { queue: "q".into(), tags: tags.clone(), ..JobOptions::default() };
        let submit = async || {
            let group = SubmitGroup { options: options.clone(), bodies: vec!["x".into()] };
            daemon.client.submit(vec![group]).await.unwrap()
        };
        submit().await;
        let (second, third, fourth, fifth) = tokio::join!(submit(), submit(), submit(), submit());
        assert_eq!([second, third, fourth, fifth].map(|receipts| receipts.len()), [1; 4]);
        for id in 1..=5 {
            assert_eq!(daemon.show(id).await.unwrap().tags, tags);
        }
        let claimed = daemon.claim("q", false, 0).await.unwrap();
        assert_eq!(claimed.tags, tags);
        daemon.stop().await;
    });
}
