//! The daemon as a program: what it refuses, and how it says so.

use crate::helper::{Home, block_on};

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let mut second = home.serve_command();
        let output = second.arg("--socket").arg(home.path("other")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("in use"), "{said}");
        daemon.stop().await;
    });
}

#[test]
fn errors_of_the_configuration_name_key_and_line() {
    let home = Home::new("[queues.mails]\nleese = \"60s\"\n");
    let output = home.serve_command().output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("musher.toml:8") && said.contains("leese") && said.contains("lease"), "{said}");
}

#[test]
fn without_a_daemon_every_verb_says_how_to_start_one() {
    let home = Home::new("");
    let output = home.musher(&["submit", "mails", "hello"]);
    assert_eq!(output.status.code(), Some(69));
    assert!(String::from_utf8_lossy(&output.stderr).contains("musher serve"));
}

#[test]
fn garbage_on_the_socket_ends_its_connection_and_nothing_else() {
    use std::io::{Read, Write};
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0xff; 64],
            &[1, 0, 0, 0, 9],
            &[9, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4],
        ] {
            let mut stream = std::os::unix::net::UnixStream::connect(home.socket()).unwrap();
            stream.set_read_timeout(Some(crate::helper::DEADLINE)).unwrap();
            stream.write_all(garbage).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            assert_eq!(answer.get(4), Some(&0xf0), "it is told what is wrong: {answer:?}");
        }
        assert_eq!(daemon.submit("q", &["x"]).await, 1);
    });
}

#[test]
fn a_reload_applies_a_changed_configuration_and_refuses_a_bad_one() {
    use rustix::process::Signal;
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        daemon.submit("q", &["x"]).await;
        home.configure("[queues.q]\nattempts = 9\n");
        daemon.signal(Signal::HUP);
        crate::helper::until("the new setting counts", async || {
            (daemon.show(1).await?.attempts == 9).then_some(())
        })
        .await;
        home.configure("[queues.q]\nattempts = 0\n");
        daemon.signal(Signal::HUP);
        crate::helper::until("it is refused", async || home.log().contains("not reloaded").then_some(()))
            .await;
        assert_eq!(daemon.show(1).await.unwrap().attempts, 9);
    });
}

#[test]
fn the_dialogue_of_the_protocols_document_is_what_happens() {
    use std::io::{Read, Write};
    let document = include_str!("../../docs/protocol.md");
    let bytes = |line: &str| -> Vec<u8> {
        line.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    };
    block_on(async {
        let home = Home::new("");
        let _daemon = home.serve().await;
        let mut stream = std::os::unix::net::UnixStream::connect(home.socket()).unwrap();
        stream.set_read_timeout(Some(crate::helper::DEADLINE)).unwrap();
        let mut lines = 0;
        for line in document.lines() {
            if let Some(sent) = line.strip_prefix("C: ") {
                stream.write_all(&bytes(sent)).unwrap();
            } else if let Some(said) = line.strip_prefix("S: ") {
                let mut length = [0; 4];
                stream.read_exact(&mut length).unwrap();
                let mut frame = vec![0; u32::from_le_bytes(length) as usize];
                stream.read_exact(&mut frame).unwrap();
                if said != "welcome …" {
                    assert_eq!([&length[..], &frame].concat(), bytes(said));
                }
                lines += 1;
            }
        }
        assert_eq!(lines, 3);
    });
}

/// Tags were once limited by their bytes only: thousands of empty ones made a row that no page of the database
/// holds, and the daemon could not start any more.
#[test]
fn a_job_of_thousands_of_empty_tags_is_refused_and_does_no_harm() {
    use musher::protocol::{JobOptions, SubmitGroup};
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        for tags in [vec![(String::new(), String::new()); 60_000], vec![("t".to_owned(), String::new()); 512]]
        {
            let options = JobOptions { queue: "q".into(), tags, ..JobOptions::default() };
            let bodies = vec!["x".into(); 64];
            let refused = daemon.client.submit(vec![SubmitGroup { options, bodies }]).await.unwrap_err();
            assert!(refused.to_string().contains("tags"), "{refused}");
        }
        assert_eq!(daemon.submit("q", &["x"]).await, 1);
        daemon.stop().await;
        assert_eq!(home.serve().await.state(1).await, "ready");
    });
}

#[test]
fn a_connection_over_the_limit_is_told_so_and_the_others_go_on() {
    block_on(async {
        // The pool is not counted; the daemon's first client is.
        let home = Home::new("connections = 2\n[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let second = musher::client::Client::connect(home.socket()).await;
        let limit = crate::helper::until("the limit is met", async || {
            let more = musher::client::Client::connect(home.socket()).await;
            more.err().map(|error| error.to_string()).filter(|error| error.contains("limits.connections"))
        });
        assert!(limit.await.contains("try again"));
        home.until_logged("limits.connections").await;
        assert_eq!(daemon.submit("q", &["x"]).await, 1);
        drop(second);
    });
}

#[test]
fn a_disk_that_is_nearly_full_refuses_submits_and_lets_jobs_end() {
    use musher::protocol::Verdict;
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let id = daemon.submit("q", &["x"]).await;
        daemon.stop().await;
        let config = std::fs::read_to_string(home.path("musher.toml")).unwrap();
        let nothing_is_enough = config.replace("disk_reserve = \"0B\"", "disk_reserve = \"1000000GiB\"");
        std::fs::write(home.path("musher.toml"), nothing_is_enough).unwrap();
        let daemon = home.serve().await;
        let refused = home.musher(&["submit", "q", "y"]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(75), "{said}");
        assert!(said.contains("limits.disk_reserve"), "{said}");
        let job = daemon.claim("q", true, 0).await.unwrap();
        assert!(daemon.settle(job.lease, Verdict::Complete).await);
        assert_eq!(daemon.state(id).await, "gone");
        home.until_logged("nearly full").await;
    });
}

/// Ten thousand lines make a batch. Whoever follows a log with `--lines` once waited for that many.
#[test]
fn lines_are_submitted_as_they_come() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;
    block_on(async {
        let home = Home::new("[queues.commands]\nworkers = 0\n");
        let daemon = home.serve().await;
        let mut submit = home
            .command()
            .args(["submit", "q", "--lines", "--ids"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = submit.stdin.take().unwrap();
        let mut ids = BufReader::new(submit.stdout.take().unwrap()).lines();
        for (line, id) in [("first\n", "1"), ("\n", "2")] {
            lines.write_all(line.as_bytes()).unwrap();
            assert_eq!(ids.next().unwrap().unwrap(), id);
        }
        lines.write_all(b"th").unwrap();
        lines.write_all(b"ird\nthe last has no end").unwrap();
        drop(lines);
        let output = submit.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(ids.map(Result::unwrap).collect::<Vec<_>>(), ["3", "4"]);
        for body in ["first", "", "third", "the last has no end"] {
            assert_eq!(daemon.claim("q", true, 0).await.unwrap().body, body);
        }
    });
}

/// What is sent ahead may be taken where what came before it was not, and whoever goes on by hand must know.
#[test]
fn what_was_taken_of_many_lines_is_said_exactly() {
    block_on(async {
        let home = Home::new("batch = 10\n[queues.q]\nbacklog = 25\nworkers = 0\n");
        let _daemon = home.serve().await;
        let lines: String = (1..=45).map(|n| format!("{n}\n")).collect();
        std::fs::write(home.path("lines"), lines).unwrap();
        let mut submit = home.command();
        submit.args(["submit", "q", "--lines"]).stdin(std::fs::File::open(home.path("lines")).unwrap());
        let output = submit.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(75), "{said}");
        let expected =
            "25 jobs were taken, ids 1 to 25; go on with line 21, but 5 of those taken come after it";
        assert!(said.contains(expected), "{said}");
    });
}
