//! What anybody may ask for: health, and the pages of the dashboard.

use super::site::Site;
use crate::helper::{block_on, until};
use serde_json::{Value, json};

#[test]
fn health_is_for_everybody_and_says_whether_jobs_are_taken() {
    block_on(async {
        let site = Site::new("").await;
        let look = async |path: &str| {
            let reply = site.send(&format!("GET {path}"), "Host: localhost\r\n", b"").await;
            (reply.status, reply.json())
        };
        assert_eq!(look("/healthz").await, (200, json!({ "ok": true })));
        assert_eq!(look("/readyz").await, (200, json!({ "ok": true })));
        site.json("PUT /drain", Value::Null).await;
        until("it is not ready", async || {
            let (status, said) = look("/readyz").await;
            (status == 503 && said["why"] == "the daemon is draining").then_some(())
        })
        .await;
        assert_eq!(look("/healthz").await.0, 200);
        site.json("DELETE /drain", Value::Null).await;
        until("it is ready again", async || (look("/readyz").await.0 == 200).then_some(())).await;
        site.daemon.stop().await;
    });
}

#[test]
fn the_dashboard_is_served_without_a_token_and_bound_to_its_place() {
    block_on(async {
        let site = Site::new("").await;
        for (path, kind) in [
            ("/", "text/html"),
            ("/dashboard.js", "text/javascript"),
            ("/dashboard.css", "text/css"),
            ("/icon.svg", "image/svg+xml"),
        ] {
            let page = site.send(&format!("GET {path}"), "Host: localhost\r\n", b"").await;
            assert_eq!((page.status, page.body.is_empty()), (200, false), "{path}");
            for line in [
                &*format!("content-type: {kind}"),
                "content-security-policy: default-src 'none'; script-src 'self'",
                "frame-ancestors 'none'",
                "x-content-type-options: nosniff",
                "referrer-policy: no-referrer",
                "cache-control: no-cache",
            ] {
                assert!(page.head.contains(line), "{path}: {line}: {}", page.head);
            }
            // A browser that has it asks whether it is another by now.
            let tag = page.head.split("etag: ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
            let lines = format!("Host: localhost\r\nIf-None-Match: {tag}\r\n");
            let again = site.send(&format!("GET {path}"), &lines, b"").await;
            assert_eq!((again.status, again.body.is_empty()), (304, true), "{path}");
            assert!(again.head.contains(tag), "{path}: {}", again.head);
        }
        // Not by another name, and nothing else than pages.
        assert_eq!(site.send("GET /", "Host: evil.example\r\n", b"").await.status, 421);
        assert_eq!(site.send("GET /mod.rs", "Host: localhost\r\n", b"").await.status, 404);
        assert_eq!(site.send("POST /", "Host: localhost\r\n", b"").await.status, 405);
        let answer = site.send("GET /healthz", "Host: localhost\r\n", b"").await;
        assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
        site.daemon.stop().await;
    });
}
