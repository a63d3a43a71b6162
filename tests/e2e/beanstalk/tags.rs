//! What clients of tuber say besides: keys of jobs, and several jobs in one command.

use super::client::{Conn, value};
use super::{home, served};
use crate::helper::{block_on, until};

/// Submits a body with what is said of it behind the numbers; returns the reply.
fn put(conn: &mut Conn, priority: u32, tags: &str, body: &str) -> String {
    conn.send(format!("put {priority} 0 60 {} {tags}\r\n{body}\r\n", body.len()));
    conn.reply()
}

#[test]
fn a_key_that_is_held_is_answered_with_its_job() {
    block_on(async {
        let (home, socket) = home("");
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        conn.ask("use reports");
        assert_eq!(put(&mut conn, 9, "idp:july:300", "one"), "INSERTED 1");
        assert_eq!(put(&mut conn, 9, "idp:july:300", "two"), "INSERTED 1 READY");
        assert_eq!(put(&mut conn, 3, "idp:july", "two"), "INSERTED 1 READY 3", "it is more urgent now");
        assert_eq!(put(&mut conn, 9, "idp:august", "other"), "INSERTED 2");
        assert_eq!(value(&conn.ask("stats-job 1"), "pri"), "3");
        let shown = daemon.show(1).await.unwrap();
        assert_eq!(shown.unique.as_deref(), Some("july"), "others read it as well");
        conn.ask("watch reports");
        assert_eq!(conn.ask("reserve"), "RESERVED 1 3\none");
        assert_eq!(put(&mut conn, 3, "idp:july", "two"), "INSERTED 1 RESERVED");
        assert_eq!(conn.ask("release 1 3 100"), "RELEASED");
        assert_eq!(put(&mut conn, 3, "idp:july", "two"), "INSERTED 1 DELAYED");
        assert_eq!(conn.ask("kick 1"), "KICKED 1");
        assert_eq!(conn.ask("reserve"), "RESERVED 1 3\none");
        assert_eq!(conn.ask("delete 1"), "DELETED");
        daemon.kill().await;
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        conn.ask("use reports");
        assert_eq!(
            put(&mut conn, 3, "idp:july", "two"),
            "INSERTED 1 DELETED",
            "for five minutes, whatever happens"
        );
        assert_eq!(put(&mut conn, 3, "idp:june:300", "three"), "INSERTED 3");
        assert_eq!(put(&mut conn, 3, "idp:may", "four"), "INSERTED 4");
        conn.ask("watch reports");
        for id in [3, 4] {
            assert!(conn.ask(&format!("reserve-job {id}")).starts_with("RESERVED"));
            assert_eq!(conn.ask(&format!("bury {id} 3")), "BURIED");
        }
        assert_eq!(
            put(&mut conn, 3, "idp:june:300", "three"),
            "INSERTED 3 BURIED",
            "it is held for its time"
        );
        assert_eq!(put(&mut conn, 3, "idp:may", "four"), "INSERTED 5", "to be buried is an end");
        conn.ask("use elsewhere");
        assert_eq!(put(&mut conn, 3, "idp:july", "two"), "INSERTED 6", "a key is one of its tube");
        conn.ask("delete 6");
        assert_eq!(
            put(&mut conn, 3, "idp:july", "two"),
            "INSERTED 7",
            "it was held for no time after its end"
        );
        daemon.stop().await;
    });
}

#[test]
fn as_many_jobs_of_a_key_are_reserved_as_its_queue_allows() {
    block_on(async {
        let (home, socket) = home("[queues.serial]\nper_key = 1\n[queues.pairs]\nper_key = 2\n");
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        // The body is no command, whatever becomes of its job.
        assert_eq!(put(&mut conn, 0, "con:user-7", "quit\r\nquit"), "BAD_FORMAT", "nothing would limit them");
        home.until_logged("musher queue set default per_key=1").await;
        conn.ask("use pairs");
        assert_eq!(put(&mut conn, 0, "con:user-7", "quit"), "BAD_FORMAT", "two at a time is too many");
        assert_eq!(put(&mut conn, 0, "con:user-7:2", "a"), "INSERTED 1");
        conn.ask("use serial");
        for (id, key) in [(2, "user-7"), (3, "user-7:5"), (4, "user-8")] {
            assert_eq!(put(&mut conn, 0, &format!("con:{key}"), key), format!("INSERTED {id}"));
        }
        conn.ask("watch serial");
        assert_eq!(conn.ask("reserve"), "RESERVED 2 6\nuser-7");
        assert_eq!(conn.ask("reserve"), "RESERVED 4 6\nuser-8");
        assert_eq!(conn.ask("reserve-with-timeout 0"), "TIMED_OUT");
        assert_eq!(conn.ask("delete 2"), "DELETED");
        assert_eq!(conn.ask("reserve"), "RESERVED 3 8\nuser-7:5");
        drop(conn);
        daemon.stop().await;
    });
}

#[test]
fn several_jobs_are_reserved_and_deleted_at_once() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        assert_eq!(conn.ask("reserve-batch 5"), "RESERVED_BATCH 0", "it does not wait");
        assert_eq!(conn.ask("reserve-batch 5 1"), "RESERVED_BATCH 0", "or as long as it says");
        for (priority, body) in [(2, "c"), (0, "a"), (1, "b"), (3, "d")] {
            conn.put(&format!("{priority} 0 60"), body);
        }
        assert_eq!(conn.ask("reserve-batch 3"), "RESERVED_BATCH 3");
        for wanted in ["RESERVED 2 1\na", "RESERVED 3 1\nb", "RESERVED 1 1\nc"] {
            assert_eq!(conn.reply(), wanted);
        }
        let mut other = Conn::new(&socket);
        assert_eq!(other.ask("delete-batch 1 2"), "DELETED_BATCH 0 2", "somebody else has them");
        assert_eq!(
            conn.ask("delete-batch 1 2 3 4 99"),
            "DELETED_BATCH 4 1",
            "one was ready, one is not there"
        );
        assert_eq!(value(&conn.ask("stats-tube default"), "cmd-delete"), "4");
        other.send("reserve-batch 1000 60\r\n");
        until("it waits", async || (value(&conn.ask("stats"), "current-waiting") == "1").then_some(())).await;
        conn.put("0 0 3", "short");
        assert_eq!(other.reply(), "RESERVED_BATCH 1");
        assert_eq!(other.reply(), "RESERVED 5 5\nshort");
        assert_eq!(other.ask("reserve-batch 2"), "RESERVED_BATCH 0");
        assert_eq!(other.ask("reserve-batch 2 60"), "DEADLINE_SOON", "its job has few seconds");
        drop(other);
        daemon.stop().await;
    });
}

#[test]
fn a_batch_ends_with_its_connection_and_takes_no_more_than_fits() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        let large = "x".repeat(1 << 20);
        // Those before them are small: how many fit cannot be reckoned by them.
        for _ in 0..60 {
            conn.put("0 0 60", "");
        }
        for _ in 0..40 {
            conn.put("0 0 60", &large);
        }
        let reply = conn.ask("reserve-batch 100");
        let count: usize = reply.strip_prefix("RESERVED_BATCH ").unwrap().parse().unwrap();
        assert!((61..80).contains(&count), "60 and {} megabytes in one answer", count - 60);
        for _ in 0..count {
            assert!(conn.reply().starts_with("RESERVED "));
        }
        drop(conn);
        let mut conn = Conn::new(&socket);
        until("they are ready again", async || {
            (value(&conn.ask("stats-tube default"), "current-jobs-ready") == "100").then_some(())
        })
        .await;
        daemon.stop().await;
    });
}

#[test]
fn tags_that_mean_something_else_here_are_refused() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        for tags in ["grp:import", "aft:import", "idp:k grp:g", "idp:", "con:k:0", "idp:k:x"] {
            assert_eq!(put(&mut conn, 0, tags, "quit"), "BAD_FORMAT", "{tags}");
        }
        for line in ["reserve-mode weighted", "flush-tube default", "drain", "stats-group g"] {
            let reply = conn.ask(line);
            assert!(["BAD_FORMAT", "UNKNOWN_COMMAND"].contains(&reply.as_str()), "{line}: {reply}");
        }
        assert_eq!(value(&conn.ask("stats"), "total-jobs"), "0");
        daemon.stop().await;
    });
}
