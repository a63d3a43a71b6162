//! beanstalkd's protocol, from its first byte to the jobs behind it: what each command says, what other clients see of it, and what a crash
//! leaves.

mod client;
mod differ;
mod tags;

use crate::helper::{Daemon, Home, block_on, until};
use client::{Conn, value};
use musher::protocol::Verdict;
use rustix::process::Signal;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

/// The real server, to compare with.
const BEANSTALKD: &str = "/usr/bin/beanstalkd";

/// A home whose daemon speaks the protocol on a socket of its own.
fn home(more: &str) -> (Home, PathBuf) {
    let home = Home::new("");
    let socket = home.path("beanstalk.sock");
    home.configure(&format!("{more}\n[daemon]\nbeanstalk = {:?}\n", socket.display().to_string()));
    (home, socket)
}

/// A daemon with its home, and that socket.
async fn served(more: &str) -> (Daemon, PathBuf) {
    let (home, socket) = home(more);
    (home.serve_owned().await, socket)
}

#[test]
fn a_job_goes_through_its_life() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        assert_eq!(conn.ask("use mails"), "USING mails");
        let id = conn.put("7 0 60", "hello");
        assert_eq!(conn.ask("peek-ready"), format!("FOUND {id} 5\nhello"));
        assert_eq!(conn.ask("reserve-with-timeout 0"), "TIMED_OUT", "it watches another tube");
        assert_eq!(conn.ask("watch mails"), "WATCHING 2");
        assert_eq!(conn.ask("ignore default"), "WATCHING 1");
        assert_eq!(conn.ask("ignore mails"), "NOT_IGNORED");
        assert_eq!(conn.ask("reserve"), format!("RESERVED {id} 5\nhello"));
        assert_eq!(value(&conn.ask(&format!("stats-job {id}")), "state"), "reserved");
        assert_eq!(conn.ask(&format!("touch {id}")), "TOUCHED");
        let mut other = Conn::new(&socket);
        for line in ["touch", "delete"].map(|verb| format!("{verb} {id}")) {
            assert_eq!(other.ask(&line), "NOT_FOUND", "somebody else has it");
        }
        assert_eq!(conn.ask(&format!("release {id} 8 100")), "RELEASED");
        assert_eq!(conn.ask("peek-delayed"), format!("FOUND {id} 5\nhello"));
        assert_eq!(conn.ask("kick 5"), "KICKED 1");
        assert_eq!(conn.ask("reserve"), format!("RESERVED {id} 5\nhello"));
        assert_eq!(conn.ask(&format!("bury {id} 9")), "BURIED");
        assert_eq!(conn.ask("peek-buried"), format!("FOUND {id} 5\nhello"));
        assert_eq!(daemon.state(id).await, "dead", "and so it is to others");
        assert_eq!(conn.ask(&format!("kick-job {id}")), "KICKED");
        let stats = conn.ask(&format!("stats-job {id}"));
        for (key, wanted) in [
            ("pri", "9"),
            ("ttr", "60"),
            ("reserves", "2"),
            ("releases", "1"),
            ("buries", "1"),
            ("kicks", "2"),
        ] {
            assert_eq!(value(&stats, key), wanted, "{stats}");
        }
        assert_eq!(conn.ask(&format!("delete {id}")), "DELETED");
        assert_eq!(conn.ask(&format!("peek {id}")), "NOT_FOUND");
        assert_eq!(conn.ask(&format!("delete {id}")), "NOT_FOUND");
        daemon.stop().await;
    });
}

#[test]
fn the_first_job_of_all_watched_tubes_comes_first() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        let mut put = |tube: &str, priority: u32| {
            conn.ask(&format!("use {tube}"));
            conn.put(&format!("{priority} 0 60"), tube)
        };
        let jobs = [put("a", 5), put("b", 5), put("b", 1), put("a", 9), put("c", 0)];
        conn.ask("watch a");
        conn.ask("watch b");
        for wanted in [jobs[2], jobs[0], jobs[1], jobs[3]] {
            assert!(conn.ask("reserve-with-timeout 0").starts_with(&format!("RESERVED {wanted} ")));
        }
        assert_eq!(conn.ask("reserve-with-timeout 0"), "TIMED_OUT", "nobody watches c");
        drop(conn);
        daemon.stop().await;
    });
}

#[test]
fn a_claim_waits_and_a_close_gives_back() {
    block_on(async {
        let (daemon, socket) = served("[queues.default]\ncrashes = 1\n").await;
        let (mut one, mut other) = (Conn::new(&socket), Conn::new(&socket));
        one.send("reserve\r\n");
        until("it waits", async || (value(&other.ask("stats"), "current-waiting") == "1").then_some(()))
            .await;
        let id = other.put("0 0 60", "work");
        assert_eq!(one.reply(), format!("RESERVED {id} 4\nwork"));
        other.send("reserve\r\n");
        drop(one);
        // At once and without blame, though a single crash of a worker would be too many.
        assert_eq!(other.reply(), format!("RESERVED {id} 4\nwork"));
        drop(other);
        daemon.stop().await;
    });
}

#[test]
fn what_was_asked_for_is_answered_though_the_client_has_said_all() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        conn.send("put 0 0 60 3\r\nabc\r\nreserve\r\nput 0 0 60 0\r\n\r\nquit\r\nstats\r\n");
        assert_eq!(conn.reply(), "INSERTED 1");
        assert_eq!(conn.reply(), "RESERVED 1 3\nabc");
        assert_eq!(conn.reply(), "INSERTED 2");
        assert_eq!(conn.try_reply(), None, "it has quit");
        let mut conn = Conn::new(&socket);
        conn.send("ignore default\r\nwatch none\r\nignore default\r\nreserve\r\nlist-tube-used\r\n");
        conn.finish();
        let replies: Vec<_> = std::iter::from_fn(|| conn.try_reply()).collect();
        assert_eq!(replies, ["NOT_IGNORED", "WATCHING 2", "WATCHING 1", "TIMED_OUT", "USING default"]);
        daemon.stop().await;
    });
}

#[test]
fn a_time_to_run_that_is_over_frees_the_job_and_is_told_before() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut conn = Conn::new(&socket);
        let id = conn.put("0 0 1", "short");
        assert!(conn.ask("reserve").starts_with("RESERVED"));
        // A second is all that it has, and that is soon.
        assert_eq!(conn.ask("reserve"), "DEADLINE_SOON");
        assert_eq!(conn.ask("reserve-with-timeout 9"), "DEADLINE_SOON");
        let mut other = Conn::new(&socket);
        assert_eq!(other.ask("reserve"), format!("RESERVED {id} 5\nshort"), "when it is over");
        assert_eq!(conn.ask(&format!("touch {id}")), "NOT_FOUND");
        let stats = other.ask(&format!("stats-job {id}"));
        assert_eq!((&*value(&stats, "timeouts"), &*value(&stats, "reserves")), ("1", "2"));
        assert_eq!(value(&other.ask("stats"), "job-timeouts"), "1");
        drop(other);
        daemon.stop().await;
    });
}

#[test]
fn jobs_are_those_of_all_clients() {
    block_on(async {
        let (daemon, socket) = served("[queues.mails]\ntimeout = \"90s\"\nkeep = { done = \"1h\" }\n").await;
        let mut conn = Conn::new(&socket);
        conn.ask("use mails");
        let theirs = conn.put("3 0 120", "from there");
        let claimed = daemon.claim("mails", true, 0).await.unwrap();
        assert_eq!((claimed.lease.id, &claimed.body[..]), (theirs, &b"from there"[..]));
        assert_eq!(value(&conn.ask(&format!("stats-job {theirs}")), "state"), "reserved");
        assert_eq!(conn.ask(&format!("delete {theirs}")), "NOT_FOUND");
        assert!(daemon.settle(claimed.lease, Verdict::Complete).await);
        let ours = daemon.submit("mails", &["from here"]).await;
        conn.ask("watch mails");
        assert_eq!(conn.ask("reserve"), format!("RESERVED {ours} 9\nfrom here"));
        assert_eq!(value(&conn.ask(&format!("stats-job {ours}")), "ttr"), "90", "as long as it may run");
        assert_eq!(daemon.state(ours).await, "leased");
        assert_eq!(conn.ask(&format!("delete {ours}")), "DELETED");
        assert_eq!(daemon.state(ours).await, "done", "it is kept as other jobs are");
        daemon.stop().await;
    });
}

#[test]
fn a_tube_is_paused_for_a_time_and_a_crash_does_not_end_that() {
    block_on(async {
        let (home, socket) = home("");
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        assert_eq!(conn.ask("pause-tube nowhere 5"), "NOT_FOUND");
        conn.put("0 0 60", "job");
        assert_eq!(conn.ask("pause-tube default 1000"), "PAUSED");
        assert_eq!(conn.ask("reserve-with-timeout 0"), "TIMED_OUT");
        assert_eq!(value(&conn.ask("stats-tube default"), "pause"), "1000");
        assert!(daemon.queue("default").await.paused);
        daemon.kill().await;
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        assert_eq!(conn.ask("reserve-with-timeout 0"), "TIMED_OUT", "it is paused still");
        assert_eq!(conn.ask("pause-tube default 0"), "PAUSED");
        assert!(conn.ask("reserve-with-timeout 0").starts_with("RESERVED"));
        let id = conn.put("0 0 60", "later");
        assert_eq!(conn.ask("pause-tube default 1"), "PAUSED");
        assert!(conn.ask("reserve").starts_with(&format!("RESERVED {id}")), "once the second is over");
        assert!(!daemon.queue("default").await.paused);
        drop(conn);
        daemon.stop().await;
    });
}

#[test]
fn what_was_counted_of_a_job_outlives_crashes() {
    block_on(async {
        let (home, socket) = home("");
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        let (id, held) = (conn.put("5 0 60", "counted"), conn.put("6 0 60", "held"));
        let verbs = ["release # 5 0", "bury # 5"];
        for verb in verbs {
            assert!(conn.ask("reserve").starts_with(&format!("RESERVED {id} ")));
            conn.ask(&verb.replace('#', &id.to_string()));
        }
        conn.ask("kick 1");
        assert!(conn.ask(&format!("reserve-job {held}")).starts_with("RESERVED"));
        let before = conn.ask(&format!("stats-job {id}"));
        drop(conn);
        daemon.kill().await;
        // Once from the log, and once from the database.
        for _ in 0..2 {
            let daemon = home.serve().await;
            let mut conn = Conn::new(&socket);
            let after = conn.ask(&format!("stats-job {id}"));
            for key in ["reserves", "releases", "buries", "kicks", "timeouts", "pri", "ttr", "state"] {
                assert_eq!(value(&after, key), value(&before, key), "{key}");
            }
            let held = conn.ask(&format!("stats-job {held}"));
            assert_eq!(
                (&*value(&held, "state"), &*value(&held, "reserves")),
                ("ready", "1"),
                "nobody has it any more"
            );
            daemon.stop().await;
        }
    });
}

#[test]
fn limits_and_rights_are_told_as_far_as_there_are_words() {
    block_on(async {
        let more = "body = \"100B\"\n[queues.small]\nbacklog = 1\n";
        let (home, socket) = home(more);
        let daemon = home.serve().await;
        let mut conn = Conn::new(&socket);
        conn.send(format!("put 0 0 1 101\r\n{}\r\n", "x".repeat(101)));
        assert_eq!(conn.reply(), "JOB_TOO_BIG");
        assert_eq!(value(&conn.ask("stats"), "max-job-size"), "100");
        conn.ask("use small");
        conn.put("0 0 1", "fits");
        conn.send("put 0 0 1 1\r\nx\r\n");
        assert_eq!(conn.reply(), "OUT_OF_MEMORY");
        home.musher(&["drain"]);
        conn.send("put 0 0 1 1\r\nx\r\n");
        assert_eq!(conn.reply(), "DRAINING");
        daemon.stop().await;
    });
}

#[test]
fn whoever_comes_by_tcp_is_the_configured_user() {
    block_on(async {
        let home = Home::new("");
        // Not one that runs the tests.
        let stranger = 61_235;
        home.configure(&format!(
            "[daemon]\nbeanstalk = \"127.0.0.1:0\"\nbeanstalk_user = \"{stranger}\"\n\
             [[access]]\nusers = [{stranger}]\nqueues = [\"mails\"]\nmay = [\"submit\"]\n"
        ));
        let daemon = home.serve().await;
        home.until_logged("speaking beanstalkd's protocol at").await;
        let log = home.log();
        let place = log.split("protocol at ").nth(1).unwrap().split(',').next().unwrap().to_owned();
        let mut stream = std::net::TcpStream::connect(&place).unwrap();
        stream.set_read_timeout(Some(crate::helper::DEADLINE)).unwrap();
        let mut ask = |text: &str| {
            stream.write_all(text.as_bytes()).unwrap();
            let mut reply = vec![0; 1 << 10];
            let len = stream.read(&mut reply).unwrap();
            String::from_utf8_lossy(&reply[..len]).into_owned()
        };
        assert_eq!(ask("use mails\r\n"), "USING mails\r\n");
        assert_eq!(ask("put 0 0 1 1\r\nx\r\n"), "INSERTED 1\r\n");
        assert_eq!(daemon.show(1).await.unwrap().owner, stranger);
        assert_eq!(ask("watch mails\r\n"), "WATCHING 2\r\n");
        assert_eq!(ask("reserve-with-timeout 0\r\n"), "INTERNAL_ERROR\r\n", "it may not");
        home.until_logged("may not work on").await;
        assert_eq!(ask("delete 1\r\n"), "DELETED\r\n", "its own it may");
        let secret = daemon.submit("other", &["secret"]).await;
        assert_eq!(ask(&format!("peek {secret}\r\n")), "NOT_FOUND\r\n");
        assert_eq!(ask(&format!("stats-job {secret}\r\n")), "NOT_FOUND\r\n");
        assert_eq!(ask("stats-tube other\r\n"), "NOT_FOUND\r\n");
        assert!(!ask("list-tubes\r\n").contains("other"));
        daemon.stop().await;
    });
}

#[test]
fn a_client_that_waits_learns_nothing_of_a_stop_but_its_end() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let [mut waits, mut waits_for_many, mut holds] = [(); 3].map(|()| Conn::new(&socket));
        let id = holds.put("0 0 60", "held");
        assert!(holds.ask("reserve").starts_with("RESERVED"));
        waits.send("reserve\r\n");
        waits_for_many.send("reserve-batch 9 60\r\n");
        until("they wait", async || (value(&holds.ask("stats"), "current-waiting") == "2").then_some(()))
            .await;
        daemon.signal(Signal::TERM);
        until("it stops", async || (value(&holds.ask("stats"), "draining") == "true").then_some(())).await;
        assert!(waits.is_silent_for(Duration::from_millis(50)));
        assert!(waits_for_many.is_silent_for(Duration::from_millis(50)));
        assert_eq!(holds.ask(&format!("delete {id}")), "DELETED", "who has a job can end it");
        assert_eq!((waits.try_reply(), waits_for_many.try_reply()), (None, None));
        assert!(daemon.ended().await.success());
    });
}

#[test]
fn garbage_ends_nothing() {
    block_on(async {
        let (daemon, socket) = served("").await;
        let mut random = fastrand::Rng::with_seed(7);
        for _ in 0..100 {
            let mut conn = Conn::new(&socket);
            let mut bytes: Vec<u8> = (0..random.usize(..4_000)).map(|_| random.u8(..)).collect();
            bytes.extend_from_slice(b"\r\nput 0 0 1 99\r\n");
            conn.send(&bytes);
            conn.finish();
            while conn.try_reply().is_some() {}
        }
        let mut conn = Conn::new(&socket);
        conn.put("0 0 1", "still there");
        daemon.stop().await;
    });
}

#[test]
fn nothing_that_was_acknowledged_is_lost_or_done_twice_whatever_is_killed() {
    block_on(async {
        let (home, socket) = home("");
        let (mut put, mut deleted, mut next) = (HashSet::new(), HashSet::new(), 0u64);
        for round in 0..6u64 {
            let daemon = home.serve().await;
            let (mut producer, mut worker) = (Conn::new(&socket), Conn::new(&socket));
            for _ in 0..40 + 7 * round {
                producer.send(format!("put 0 0 60 8\r\n{next:08}\r\n"));
                assert!(producer.reply().starts_with("INSERTED"));
                put.insert(next);
                next += 1;
                if !next.is_multiple_of(3) {
                    let reply = worker.ask("reserve");
                    let (line, body) = reply.split_once('\n').unwrap();
                    let id = line.split(' ').nth(1).unwrap();
                    if next.is_multiple_of(2) {
                        assert_eq!(worker.ask(&format!("delete {id}")), "DELETED");
                        assert!(deleted.insert(body.parse::<u64>().unwrap()), "{body} was done twice");
                    }
                }
            }
            // Some that nobody has heard of yet.
            producer.send(format!("put 0 0 60 8\r\n{:08}\r\n", 90_000_000 + round));
            daemon.kill().await;
        }
        let daemon = home.serve().await;
        let mut worker = Conn::new(&socket);
        let mut left = HashSet::new();
        while let Some((_, body)) = worker.ask("reserve-with-timeout 0").split_once('\n') {
            assert!(left.insert(body.parse::<u64>().unwrap()), "{body} is there twice");
        }
        let wanted: HashSet<u64> = put.difference(&deleted).copied().collect();
        left.retain(|body| *body < 90_000_000);
        assert_eq!(left, wanted);
        drop(worker);
        daemon.stop().await;
    });
}
