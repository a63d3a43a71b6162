//! Who gets in: tokens, hosts and origins, and what is said at the start of a configuration that cannot be served.

use super::site::{OTHER, OTHER_USER, OWN, Site};
use crate::helper::{Home, block_on, until};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

#[test]
fn who_has_no_token_or_comes_from_elsewhere_gets_nowhere() {
    block_on(async {
        let site = Site::new("").await;
        let (host, token) =
            (format!("Host: {}\r\n", site.address), format!("Authorization: Bearer {OWN}\r\n"));
        let wrong = format!("Authorization: Bearer {}x\r\n", &OWN[..OWN.len() - 1]);
        for (lines, status) in [
            (format!("{host}{token}"), 200),
            (format!("Host: localhost\r\n{token}"), 200),
            (host.clone(), 401),
            (format!("{host}{wrong}"), 401),
            (format!("{host}Authorization: Basic {OWN}\r\n"), 401),
            (format!("Host: evil.example\r\n{token}"), 421),
            (format!("{host}{token}Origin: http://{}\r\n", site.address), 200),
            (format!("{host}{token}Origin: http://evil.example\r\n"), 403),
        ] {
            let reply = site.send("GET /api/v1/status", &lines, b"").await;
            assert_eq!(reply.status, status, "{lines}");
            assert!(reply.head.contains("x-content-type-options: nosniff"), "{}", reply.head);
        }
        // An address that is not there tells those without a token no more than one that is.
        assert_eq!(site.send("GET /api/v1/nothing", &host, b"").await.status, 404);
        assert_eq!(site.ask("DELETE /status", &Value::Null).await.code(), "method_not_allowed");

        // A token has the rights of its user.
        let id =
            site.json("POST /jobs", json!({ "queue": "q", "body": "secret" })).await["jobs"][0]["id"].clone();
        assert_eq!(site.ask_as(OTHER, &format!("GET /jobs/{id}/body"), b"").await.status, 404);
        assert_eq!(site.ask_as(OTHER, "POST /queues/q/pause", b"").await.code(), "forbidden");
        let own = site.ask_as(OTHER, "POST /jobs", br#"{"queue": "q", "body": "mine"}"#).await;
        assert_eq!(own.status, 201);
        assert_eq!(site.json("GET /jobs/2", Value::Null).await["owner"], OTHER_USER);

        // They are read again at a reload; wrong ones change nothing.
        let tokens = site.home.path("tokens");
        let before = std::fs::read_to_string(&tokens).unwrap();
        std::fs::write(&tokens, "0 short\n").unwrap();
        site.daemon.signal(rustix::process::Signal::HUP);
        site.home.until_logged("HTTP goes on with the tokens").await;
        assert_eq!(site.ask("GET /status", &Value::Null).await.status, 200);
        std::fs::write(&tokens, before.lines().last().unwrap()).unwrap();
        site.daemon.signal(rustix::process::Signal::HUP);
        until("the token is gone", async || {
            (site.ask("GET /status", &Value::Null).await.status == 401).then_some(())
        })
        .await;
        site.daemon.stop().await;
    });
}

#[test]
fn what_cannot_be_served_is_told_at_the_start() {
    block_on(async {
        let home = Home::new("");
        let tokens = home.path("tokens");
        std::fs::write(&tokens, format!("0 {OWN}\n")).unwrap();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let start = |mode| {
            std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(mode)).unwrap();
            home.configure(&format!(
                "[daemon]\nhttp = \"{}\"\nhttp_tokens = {tokens:?}\n",
                taken.local_addr().unwrap()
            ));
            let mut command: Command = home.serve_command();
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(!output.status.success());
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        let said = start(0o644);
        assert!(said.contains("daemon.http_tokens: ") && said.contains("read by everybody"), "{said}");
        let said = start(0o600);
        assert!(said.contains("cannot serve HTTP at 127.0.0.1:") && said.contains("in use"), "{said}");
    });
}
