//! Moving in from a beanstalkd: everything arrives once, whatever dies, and what cannot come is where it was.

use super::server::{Ours, Producer, Real};
use super::{jobs, said};
use crate::helper::{Daemon, Home, block_on, skipped, until};
use musher::clock::wall;
use std::collections::HashSet;
use std::io::Write;
use std::net::{Shutdown, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// An import from this socket.
fn import(home: &Home, socket: &Path, more: &[&str]) -> Command {
    let mut command = home.command();
    command.args(["import", "--from", &format!("beanstalkd+unix://{}", socket.display())]).args(more);
    command
}

fn imported(home: &Home, socket: &Path, more: &[&str]) -> Output {
    import(home, socket, more).output().unwrap()
}

/// Either of them gets jobs of all kinds, and all come with what they have.
async fn everything_arrives(home: &Home, daemon: &Daemon, socket: &std::path::PathBuf) {
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n\r\nFOUND 1 2\r\n").collect();
    let mut producer = Producer::of(socket);
    producer.put("mails", (5, 0, 60), &bytes);
    producer.put("mails", (u32::MAX, 0, 7), b"");
    producer.put("mails", (0, 3600, 1), b"later");
    producer.put("mails", (1024, 7200, 4_000_000), b"much later");
    producer.put("odd", (1, 0, 60), b"paused");
    assert_eq!(producer.says("pause-tube odd 3600"), "PAUSED");
    producer.put("broken", (9, 0, 60), b"poison");
    producer.bury("broken", 8);
    producer.put("busy", (9, 0, 600), b"in work");
    producer.reserve("busy");

    let dry = imported(home, socket, &["--dry-run"]);
    let text = String::from_utf8(dry.stdout).unwrap();
    let row = |tube: &str| {
        let line = text.lines().find(|line| line.starts_with(tube)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((&*row("mails"), &*row("odd")), ("2 2 0 0", "1 0 0 0 paused"));
    assert_eq!((&*row("broken"), &*row("busy")), ("0 0 1 0", "0 0 0 1"));
    assert!(jobs(&daemon.client).await.is_empty(), "nothing has come");
    assert_eq!(producer.counts("mails"), [2, 2, 0, 0]);

    let output = imported(home, socket, &["--tube", "mails", "--tube", "odd", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(output.stdout, b"{\"submitted\":5}\n");
    assert!(said(&output).contains("tube odd is paused there"), "{output:?}");
    let output = imported(home, socket, &[]);
    let line = "; left there: 1 reserved by others, 1 buried (--buried moves them)\n";
    assert!(output.status.success() && said(&output).ends_with(line), "{output:?}");
    let output = imported(home, socket, &["--buried"]);
    assert!(said(&output).contains("1 job moved here"), "{output:?}");
    assert_eq!(producer.counts("mails").iter().sum::<u64>(), 0);
    assert_eq!(producer.counts("broken").iter().sum::<u64>(), 0);
    assert_eq!(producer.counts("busy"), [0, 0, 0, 1]);

    let mut came = Vec::new();
    for job in jobs(&daemon.client).await {
        let delay = job.due_at.map(|at| at.saturating_sub(wall().0).div_ceil(60_000));
        let body = daemon.client.body(job.id).await.unwrap();
        came.push((job.queue, job.priority, delay, job.timeout_ms, body.to_vec()));
    }
    came.sort_by_key(|job| (job.0.clone(), job.3));
    let job = |queue: &str, priority, delay, timeout: u64, body: &[u8]| {
        (queue.to_owned(), priority, delay, Some(timeout * 1000), body.to_vec())
    };
    assert_eq!(
        came,
        [
            job("broken", 8, None, 60, b"poison"),
            job("mails", 0, Some(60), 1, b"later"),
            job("mails", u32::MAX, None, 7, b""),
            job("mails", 5, None, 60, &bytes),
            job("mails", 1024, Some(120), 4_000_000, b"much later"),
            job("odd", 1, None, 60, b"paused"),
        ]
    );
}

#[test]
fn everything_arrives_once_as_it_was() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        everything_arrives(&home, &daemon, &socket).await;
        daemon.stop().await;
    });
}

#[test]
fn everything_arrives_from_the_real_one() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        let Some(_real) = Real::start(&socket).await else { return skipped("there is no beanstalkd here") };
        everything_arrives(&home, &daemon, &socket).await;
        daemon.stop().await;
    });
}

/// The import is killed again and again, then the daemon; in the end everything is there, once.
async fn nothing_is_lost_or_doubled(home: &Home, mut daemon: Daemon, socket: &std::path::PathBuf, many: u64) {
    let mut producer = Producer::of(socket);
    for n in 0..many {
        let delay = if n % 10 == 0 { 86_400 } else { 0 };
        producer.put("bulk", (n as u32 % 7, delay, 600), format!("{n}").as_bytes());
    }
    for round in 1..=6 {
        let mut child = import(home, socket, &[]).stderr(Stdio::null()).spawn().unwrap();
        let so_far = round * many / 8;
        let here = async || {
            let queue = daemon.try_queue("bulk").await?;
            (queue.ready + queue.scheduled >= so_far || child.try_wait().unwrap().is_some()).then_some(())
        };
        until("some have come", here).await;
        if round % 2 == 1 {
            child.kill().unwrap();
            child.wait().unwrap();
            continue;
        }
        daemon.kill().await;
        let status = child.wait().unwrap();
        assert!(status.success() || status.code() == Some(69), "{status}");
        daemon = home.serve().await;
    }
    let output = imported(home, socket, &[]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(producer.counts("bulk"), [0; 4]);
    let queue = daemon.queue("bulk").await;
    assert_eq!(
        (queue.ready, queue.scheduled),
        (many - many / 10, many / 10),
        "the delayed ones are so still"
    );
    let exported = home.musher(&["export"]).stdout;
    let body = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["body"].to_string();
    let bodies: HashSet<String> = String::from_utf8(exported).unwrap().lines().map(body).collect();
    assert_eq!(bodies.len() as u64, many, "each is there");
    daemon.stop().await;
}

#[test]
fn nothing_is_lost_or_doubled_whatever_is_killed() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        nothing_is_lost_or_doubled(&home, daemon, &socket, 1_000).await;
    });
}

#[test]
fn nothing_of_the_real_one_is_lost_or_doubled_whatever_is_killed() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        let Some(_real) = Real::start(&socket).await else { return skipped("there is no beanstalkd here") };
        nothing_is_lost_or_doubled(&home, daemon, &socket, 5_000).await;
    });
}

/// The worst moment: all of a batch is here, and nothing of it is deleted there.
#[test]
fn what_is_here_and_not_yet_deleted_there_is_not_submitted_again() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        let ours = Ours::start(&socket);
        let mut producer = Producer::of(&socket);
        for n in 0..10 {
            producer.put("q", (1, 0, 60), format!("{n}").as_bytes());
        }
        producer.put("q", (1, 100, 60), b"delayed");
        for (ready, scheduled) in [(0, 1), (10, 1)] {
            ours.hang_up_at(if ready == 0 { "delete 11" } else { "delete 1" });
            let output = imported(&home, &socket, &[]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(said(&output).contains("the same command goes on"), "{output:?}");
            until("they are here", async || {
                let queue = daemon.queue("q").await;
                ((queue.ready, queue.scheduled) == (ready, scheduled)).then_some(())
            })
            .await;
        }
        let output = imported(&home, &socket, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert_eq!((daemon.queue("q").await.ready, daemon.queue("q").await.scheduled), (10, 1));
        assert_eq!(producer.counts("q"), [0; 4]);
        daemon.stop().await;
    });
}

/// A worker there has taken a job that is here by then: that is said. One of before version 1.12 cannot be asked for what
/// is behind a job that cannot come.
#[test]
fn what_is_not_as_it_should_be_there_is_said() {
    block_on(async {
        let home = Home::new("body = \"1KiB\"\n");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        let ours = Ours::start(&socket);
        let mut producer = Producer::of(&socket);
        producer.put("q", (1, 0, 60), b"taken");
        ours.answer_wrongly("delete 1", "NOT_FOUND");
        // It is ready still, and comes again: once, as its key says.
        let output = imported(&home, &socket, &[]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(said(&output).contains("1 job was taken by a worker there meanwhile"), "{output:?}");
        assert_eq!(daemon.queue("q").await.ready, 1);

        let long = producer.put("old", (1, 50, 60), &[b'x'; 1025]);
        producer.put("old", (1, 60, 60), b"behind it");
        producer.put("old", (1, 0, 60), b"ready");
        ours.answer_wrongly(&format!("reserve-job {long}"), "UNKNOWN_COMMAND");
        let output = imported(&home, &socket, &["--tube", "old"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = said(&output);
        assert!(text.contains("too old to show the delayed jobs behind it"), "{text}");
        assert_eq!((producer.counts("old"), daemon.queue("old").await.ready), ([0, 2, 0, 0], 1));
        daemon.stop().await;
    });
}

/// What is here is deleted there, also if the next is refused for a while: a second try has the less to do.
#[test]
fn a_limit_that_is_reached_is_named_and_the_rest_stays() {
    block_on(async {
        let home = Home::new("idempotency_keys = 5\n");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        let mut producer = Producer::of(&socket);
        for n in 0..8 {
            producer.put("q", (1, 0, 60), format!("{n}").as_bytes());
        }
        let output = imported(&home, &socket, &[]);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        assert!(said(&output).contains("limits.idempotency_keys = 5"), "{output:?}");
        assert!(said(&output).contains("5 jobs were moved"), "{output:?}");
        let ready_again = async || (producer.counts("q") == [3, 0, 0, 0]).then_some(());
        until("the rest is ready there", ready_again).await;
        assert_eq!(daemon.queue("q").await.ready, 5);
        daemon.stop().await;
    });
}

#[test]
fn a_host_and_a_port_lead_there_too() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        Producer::of(&socket).put("q", (1, 0, 60), b"by TCP");
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let between = std::thread::spawn(move || {
            let (tcp, unix) = (listener.accept().unwrap().0, UnixStream::connect(socket).unwrap());
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::io::copy(&mut &tcp, &mut &unix).unwrap();
                    unix.shutdown(Shutdown::Both).unwrap();
                });
                std::io::copy(&mut &unix, &mut &tcp).unwrap();
            });
        });
        let output = home.musher(&["import", "--from", &format!("beanstalkd://localhost:{port}/")]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            said(&output).contains(&format!("1 job moved here from beanstalkd at localhost:{port}")),
            "{output:?}"
        );
        between.join().unwrap();
        assert_eq!(daemon.client.body(1).await.unwrap(), "by TCP");
        daemon.stop().await;
    });
}

async fn what_is_too_long_stays(home: &Home, daemon: &Daemon, socket: &std::path::PathBuf) {
    let (mut producer, long) = (Producer::of(socket), vec![b'x'; 1025]);
    let other = producer.put("dead", (3, 0, 1), &long);
    producer.bury("dead", 3);
    producer.put("paused", (0, 0, 1), &long);
    producer.put("paused", (1, 0, 60), b"short");
    assert_eq!(producer.says("pause-tube paused 3600"), "PAUSED");
    for n in 0..3 {
        producer.put("q", (n, 0, 1), &long);
        producer.put("q", (n, 50_000 + n, 1), &long);
        producer.put("q", (n, 0, 60), b"short");
        producer.put("q", (n, 50_000 + n, 60), b"short");
    }
    let output = imported(home, socket, &["--buried"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = said(&output);
    assert!(
        text.contains(&format!("job {other} of tube dead is left there: its body has 1025 bytes")),
        "{text}"
    );
    assert!(text.contains("7 jobs moved here") && text.contains("8 refused here"), "{text}");
    assert_eq!((daemon.queue("q").await.ready, daemon.queue("q").await.scheduled), (3, 3));
    assert_eq!((producer.counts("q"), producer.counts("dead")), ([3, 3, 0, 0], [0, 0, 1, 0]));
    assert_eq!((producer.counts("paused"), daemon.queue("paused").await.ready), ([1, 0, 0, 0], 1));
}

#[test]
fn a_job_that_is_too_long_is_named_and_stays_as_it_was() {
    block_on(async {
        let home = Home::new("body = \"1KiB\"\n");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        what_is_too_long_stays(&home, &daemon, &socket).await;
        daemon.stop().await;
        let home = Home::new("body = \"1KiB\"\n");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        let Some(_real) = Real::start(&socket).await else { return skipped("there is no beanstalkd here") };
        what_is_too_long_stays(&home, &daemon, &socket).await;
        daemon.stop().await;
    });
}

#[test]
fn a_daemon_that_takes_nothing_now_leaves_all_there() {
    block_on(async {
        let home = Home::new("");
        let (daemon, socket) = (home.serve().await, home.path("beanstalkd"));
        Ours::start(&socket);
        let mut producer = Producer::of(&socket);
        producer.put("q", (1, 0, 60), b"ready");
        producer.put("q", (1, 100, 60), b"delayed");
        assert!(home.musher(&["drain"]).status.success());
        let output = imported(&home, &socket, &[]);
        assert_eq!(output.status.code(), Some(75), "{output:?}");
        let ready_again = async || (producer.counts("q") == [1, 1, 0, 0]).then_some(());
        until("all is there as it was", ready_again).await;
        daemon.stop().await;
    });
}

#[test]
fn who_is_no_beanstalkd_is_told_apart() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let none = imported(&home, &home.path("nobody"), &[]);
        assert_eq!(none.status.code(), Some(69), "{none:?}");
        assert!(said(&none).contains("no beanstalkd can be reached at"), "{none:?}");
        for (nth, (answer, why)) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                "is no beanstalkd: it said `HTTP/1.1 400 Bad Request`",
            ),
            (b"OK 100\r\n---\n", "did not answer to the end"),
            (b"", "did not answer to the end"),
        ]
        .into_iter()
        .enumerate()
        {
            let socket = home.path(&format!("other{nth}"));
            let listener = UnixListener::bind(&socket).unwrap();
            let other = std::thread::spawn(move || {
                let (stream, _) = listener.accept().unwrap();
                (&stream).write_all(answer).unwrap();
                stream.shutdown(std::net::Shutdown::Write).unwrap();
                std::io::copy(&mut &stream, &mut std::io::sink()).unwrap();
            });
            let output = imported(&home, &socket, &[]);
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            assert!(said(&output).contains(why), "{output:?}");
            other.join().unwrap();
        }
        let socket = home.path("beanstalkd");
        Ours::start(&socket);
        let output = imported(&home, &socket, &["--tube", "none\r\nquit"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        for wrong in [&["import", "--from", "redis://h"][..], &["import", "--from", "pueue", "--tube", "a"]] {
            assert_eq!(home.musher(wrong).status.code(), Some(2), "{wrong:?}");
        }
        daemon.stop().await;
    });
}
