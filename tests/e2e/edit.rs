//! Another body for a job: what is acknowledged is there after a crash, and its neighbours keep theirs.

use crate::helper::{Daemon, Home, block_on, until};
use bytes::Bytes;
use musher::client::Client;
use musher::protocol::Verdict;

async fn body(daemon: &Daemon, id: u64) -> Bytes {
    daemon.client.body(id).await.unwrap()
}

#[test]
fn a_body_comes_from_a_file_an_editor_or_standard_input() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["one", "two", "three"]).await;
        std::fs::write(home.path("new"), "from a file").unwrap();
        let file = home.path("new");
        assert!(home.musher(&["edit", "1", "--file", file.to_str().unwrap()]).status.success());
        let edited = home.command().args(["edit", "2"]).env("EDITOR", "sed -i s/t/T/").output().unwrap();
        assert!(edited.status.success(), "{edited:?}");
        let same = home.command().args(["edit", "3"]).env("EDITOR", "true").output().unwrap();
        assert!(String::from_utf8_lossy(&same.stderr).contains("nothing was changed"), "{same:?}");
        let failed = home.command().args(["edit", "3"]).env("EDITOR", "false").output().unwrap();
        assert_eq!(failed.status.code(), Some(1));
        let bodies = [body(&daemon, 1).await, body(&daemon, 2).await, body(&daemon, 3).await];
        assert_eq!(bodies, ["from a file", "Two", "three"]);
        // One that runs keeps its body; a dead one is mended and run again.
        let job = daemon.claim("q", false, 0).await.unwrap();
        assert_eq!(job.body, "from a file");
        let refused = home.musher(&["edit", "1", "--file", file.to_str().unwrap()]);
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(
            refused.status.code() == Some(1) && said.contains("cannot edit job 1: it is leased"),
            "{said}"
        );
        assert!(daemon.settle(job.lease, Verdict::FailDead { error: "typo".into(), exit: None }).await);
        std::fs::write(home.path("new"), "mended").unwrap();
        assert!(home.musher(&["edit", "1", "--file", file.to_str().unwrap()]).status.success());
        assert!(home.musher(&["retry", "1"]).status.success());
        assert_eq!(daemon.claim("q", true, 0).await.unwrap().body, "mended");
        assert_eq!(home.musher(&["edit", "99", "--file", "/dev/null"]).status.code(), Some(1));
        daemon.kill().await;
    });
}

/// Small ones, ones that fill rows, and ones in pieces, so that rows of neighbours are cut anew each time.
fn text(id: u64, nth: u64) -> Bytes {
    let len = [20, 3_000, 150_000][((id + nth) % 3) as usize];
    let text = format!("{id}.{nth} ");
    text.bytes().cycle().take(len).collect::<Vec<u8>>().into()
}

#[test]
fn what_was_acknowledged_is_there_after_each_crash_and_neighbours_keep_theirs() {
    const JOBS: u64 = 200;
    block_on(async {
        let home = Home::new("");
        let mut daemon = home.serve().await;
        let first: Vec<String> =
            (1..=JOBS).map(|id| String::from_utf8(text(id, 0).to_vec()).unwrap()).collect();
        daemon.submit("q", &first.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let mut acked = vec![0; JOBS as usize + 1];
        let mut maybe = acked.clone();
        for life in 1..=6u64 {
            // Some lives end soon after a change, some in or after a checkpoint.
            let client = Client::connect(home.socket()).await.unwrap();
            let commits = daemon.status().await.commit;
            for nth in 0..30 {
                let id = 1 + (life * 37 + nth * 11) % JOBS;
                let next = maybe[id as usize] + 1;
                maybe[id as usize] = next;
                client.replace_body(id, text(id, next)).await.unwrap();
                acked[id as usize] = next;
                if life % 2 == 0 && nth == 15 {
                    // A checkpoint begins each 20 ms.
                    until("others are committed", async || {
                        daemon.submit("other", &["x"]).await;
                        (daemon.status().await.commit > commits + 40).then_some(())
                    })
                    .await;
                }
            }
            // One that may be cut off.
            let id = 1 + life;
            let next = maybe[id as usize] + 1;
            maybe[id as usize] = next;
            let cut = tokio::spawn(async move { client.replace_body(id, text(id, next)).await });
            tokio::task::yield_now().await;
            daemon.kill().await;
            if cut.await.unwrap().is_ok() {
                acked[id as usize] = next;
            }
            daemon = home.serve().await;
            for id in 1..=JOBS {
                let (found, at) = (body(&daemon, id).await, id as usize);
                let known = (acked[at]..=maybe[at]).find(|nth| found == text(id, *nth));
                assert!(known.is_some(), "job {id} has {:?}… in life {life}", &found[..found.len().min(20)]);
                (acked[at], maybe[at]) = (known.unwrap(), known.unwrap());
            }
        }
        daemon.stop().await;
        let daemon = home.serve().await;
        for id in 1..=JOBS {
            assert_eq!(body(&daemon, id).await, text(id, acked[id as usize]), "job {id}");
        }
        daemon.stop().await;
        let verified = home.musher(&["verify", "--data", home.path("data").to_str().unwrap()]);
        assert!(verified.status.success(), "{verified:?}");
    });
}
