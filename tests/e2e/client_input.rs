//! What comes into verbs from elsewhere: lines of JSON, files that never end, odd line ends, values that make no sense.

use crate::helper::{Home, block_on};
use musher::client::ClientError;
use musher::protocol::{ErrorCode, JobOptions, SubmitGroup};
use std::io::Write;
use std::process::{Output, Stdio};

/// Runs a verb with this on its standard input.
pub(crate) fn feed(home: &Home, args: &[&str], input: &[u8]) -> Output {
    let mut command = home.command();
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that has heard enough does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn lines_of_json_are_counted_by_queue_and_errors_name_one_line_and_the_field() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let lines = b"\xef\xbb\xbf{\"body\": \"a\", \"tags\": {\"a\": \"b\"}}\r\n\r\n\
            {\"body\": \"b\", \"queue\": \"other\"}\n{\"body_base64\": \"/wA=\", \"tags\": [\"c=d\"]}\n";
        let output = feed(&home, &["submit", "mails", "--jsonl"], lines);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(said(&output).contains("3 jobs submitted: 2 to mails, 1 to other"), "{output:?}");
        assert_eq!(daemon.show(1).await.unwrap().tags, [("a".to_owned(), "b".to_owned())]);
        assert_eq!(&daemon.client.body(3).await.unwrap()[..], [0xff, 0]);

        let lines = b"{\"body\": \"a\"}\n{\"body\": \"b\", \"tags\": 5}\n{\"body\": \"c\"}\n";
        let output = feed(&home, &["submit", "mails", "--jsonl", "--json"], lines);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(said(&output).contains("line 2: tags: invalid type: integer `5`"), "{output:?}");
        assert!(!said(&output).contains("line 1"), "{output:?}");
        assert!(said(&output).contains("1 job was taken, ids 4 to 4; go on with line 2"), "{output:?}");
        let account = "{\"submitted\":1,\"queues\":{\"mails\":1},\"first\":4,\"last\":4,\"next_line\":2}\n";
        assert_eq!(printed(&output), account);
    });
}

#[test]
fn claimed_bodies_are_text_or_base64_and_one_line_each() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let bodies: [&[u8]; 4] = [b"plain", b"two\nlines", b"\"quoted\"", &[0xff, 0]];
        for body in bodies {
            assert_eq!(feed(&home, &["submit", "q", "-"], body).status.code(), Some(0));
        }
        let output = home.musher(&["claim", "q", "-n", "3"]);
        assert_eq!(printed(&output), "1@1\tplain\n2@1\t\"two\\nlines\"\n3@1\t\"\\\"quoted\\\"\"\n");
        let output = home.musher(&["claim", "q", "--json"]);
        assert!(printed(&output).contains("\"body_base64\":\"/wA=\""), "{output:?}");
        daemon.stop().await;
    });
}

#[test]
fn what_never_ends_is_read_no_further_than_a_body_may_be_long() {
    block_on(async {
        let home = Home::new("body = \"64KiB\"\n");
        let daemon = home.serve().await;
        for args in [
            &["submit", "q", "--file", "/dev/zero"][..],
            &["submit", "q", "--file", "/dev/zero", "--wait"],
            &["submit", "q", "--lines"],
            &["submit", "q", "--jsonl"],
            &["submit", "q", "-"],
        ] {
            let zero = std::fs::File::open("/dev/zero").unwrap();
            let output = home.command().args(args).stdin(zero).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
            let words = ["longer than a body may be: 64KiB", "line 1: it has more than"];
            assert!(words.iter().any(|words| said(&output).contains(words)), "{args:?}: {output:?}");
        }
        for (path, words) in [("/nowhere", "No such file"), ("/", "Is a directory")] {
            let output = home.musher(&["submit", "q", "--file", path]);
            assert_eq!(output.status.code(), Some(2));
            assert!(said(&output).contains(&format!("{path}: {words}")), "{output:?}");
        }
        let long = format!("{{\"body\": \"{}\"}}\n", "\\u0000".repeat(60 << 10));
        assert_eq!(feed(&home, &["submit", "q", "--jsonl"], long.as_bytes()).status.code(), Some(0));
        assert_eq!(daemon.client.body(1).await.unwrap().len(), 60 << 10);
        assert_eq!(daemon.status().await.next_id, 2, "nothing else was taken");
    });
}

#[test]
fn odd_line_ends_are_told_and_kept() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let output = feed(&home, &["submit", "q", "--lines"], b"\xef\xbb\xbfone\r\n\0two\n\nlast");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(said(&output).contains("byte order mark") && said(&output).contains("CR LF"), "{output:?}");
        for (id, body) in [(1, &b"\xef\xbb\xbfone\r"[..]), (2, b"\0two"), (3, b""), (4, b"last")] {
            assert_eq!(&daemon.client.body(id).await.unwrap()[..], body);
        }
        let output = feed(&home, &["submit", "q", "--lines"], b"");
        assert!(said(&output).contains("no job submitted: standard input was empty"), "{output:?}");
    });
}

#[test]
fn values_that_make_no_sense_are_refused_with_the_reason_or_meant() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let data = home.path("other").display().to_string();
        for (args, words) in [
            (&["submit", "q", "x", "--ttl", "0"][..], "it would be over before the job could begin"),
            (&["submit", "q", "x", "--delay", "365250d"], "longer than a hundred years"),
            (&["submit", "q", "x", "--attempts", "0"], "0 is not in 1.."),
            (&["claim", "q", "--lease", "0s"], "a lease of no time is over at once"),
            (&["extend", "1@1", "--lease", "0"], "a lease of no time is over at once"),
            (&["work", "q", "--lease", "0s", "--", "true"], "a lease of no time is over at once"),
            (&["work", "q", "-j", "0", "--", "true"], "0 is not in 1.."),
            (&["claim", "q", "-n", "0"], "0 is not in 1.."),
            (&["serve", "--data", &data, "--workers", "99999999"], "99999999 is not in 0..=10000"),
        ] {
            let output = home.musher(args);
            assert_eq!(output.status.code(), Some(2), "{args:?}: {output:?}");
            assert!(said(&output).contains(words), "{args:?}: {output:?}");
        }
        assert_eq!(daemon.status().await.next_id, 1);
        let output = home.musher(&["submit", "q", "x", "--at", "2001-02-03T04:05:06Z", "--timeout", "0"]);
        assert_eq!((output.status.code(), printed(&output).as_str()), (Some(0), "1\n"), "{output:?}");
        assert!(said(&output).contains("is past, so the job runs at once"), "{output:?}");
        let job = daemon.show(1).await.unwrap();
        assert_eq!((job.state.as_str(), job.timeout_ms), ("ready", None));
        let output = home.musher(&["submit", "q", "x", "--json"]);
        assert_eq!(printed(&output), "{\"id\":2,\"new\":true}\n");
    });
}

#[test]
fn other_clients_are_told_of_such_values_too() {
    block_on(async {
        let home = Home::new("");
        let daemon = home.serve().await;
        let plain = JobOptions { queue: "q".into(), ..JobOptions::default() };
        for options in [
            JobOptions { ttl_ms: Some(0), ..plain.clone() },
            JobOptions { attempts: Some(0), ..plain.clone() },
        ] {
            let refused = daemon.client.submit(vec![SubmitGroup { options, bodies: vec!["x".into()] }]).await;
            assert!(matches!(refused, Err(ClientError::Refused(fault)) if fault.code == ErrorCode::Invalid));
        }
    });
}
