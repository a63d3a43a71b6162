//! The attacks on the HTTP front. Some have a token, as a client that has gone wrong would; the others are anybody who can connect.

use crate::attacks::{Target, junk, many};
use crate::daemon::BODY;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;

/// Their names.
pub(crate) const NAMES: [&str; 12] = [
    "web-heads",
    "web-bodies",
    "web-crowd",
    "web-half-open",
    "web-garbage",
    "web-huge-heads",
    "web-pipeline",
    "web-smuggling",
    "web-deaf",
    "web-streams",
    "web-waits",
    "web-json",
];

/// Starts the connections of an attack, if it is one of these.
pub(crate) fn attack(name: &str, target: &Rc<Target>) -> bool {
    match name {
        "web-heads" => many(1_000, target, slow_head),
        "web-bodies" => many(200, target, slow_body),
        "web-crowd" => many(2_000, target, crowd),
        "web-half-open" => many(8, target, half_open),
        "web-garbage" => many(20, target, garbage),
        "web-huge-heads" => many(50, target, huge_head),
        "web-pipeline" => many(8, target, pipeline),
        "web-smuggling" => many(8, target, smuggling),
        "web-deaf" => many(100, target, deaf),
        "web-streams" => many(100, target, deaf_stream),
        "web-waits" => many(100, target, wait_and_go),
        "web-json" => many(4, target, deep_json),
        _ => return false,
    }
    true
}

async fn connect(target: &Target) -> io::Result<TcpStream> {
    TcpStream::connect(&target.web).await
}

/// The head of a request with a token.
pub(crate) fn head(target: &Target, what: &str, more: &str) -> String {
    format!("{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{more}\r\n", target.token)
}

/// Submits a job with a large body; its id. Only whose it is may read it.
pub(crate) async fn large_job(target: &Target) -> io::Result<u64> {
    let job = format!(r#"{{"queue":"hostile/large","body":"{}"}}"#, "x".repeat(BODY));
    let more = format!("Content-Length: {}\r\nConnection: close\r\n", job.len());
    let mut stream = connect(target).await?;
    stream.write_all(format!("{}{job}", head(target, "POST /api/v1/jobs", &more)).as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let id = answer.split("\"id\":").nth(1).and_then(|rest| rest.split(',').next()?.parse().ok());
    id.ok_or_else(|| io::Error::other(answer))
}

async fn until_closed(stream: &mut TcpStream) -> io::Result<()> {
    let mut read = vec![0; 64 << 10];
    while stream.read(&mut read).await? > 0 {}
    Ok(())
}

/// A head that comes one byte a second.
async fn slow_head(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    for byte in head(&target, "GET /api/v1/status", "").into_bytes() {
        stream.write_all(&[byte]).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A long body of which a part comes, and then a byte a second.
async fn slow_body(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    let head = head(&target, "POST /api/v1/jobs", "Content-Length: 33000000\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&vec![b' '; 4 << 20]).await?;
    loop {
        stream.write_all(b" ").await?;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Is there, and says nothing.
async fn crowd(target: Rc<Target>) -> io::Result<()> {
    until_closed(&mut connect(&target).await?).await
}

/// Goes away in the middle of a request, and before its answer.
async fn half_open(target: Rc<Target>) -> io::Result<()> {
    drop(connect(&target).await?);
    connect(&target).await?.write_all(b"POST /api/v1/jobs HTTP/1.1\r\nHo").await?;
    let mut stream = connect(&target).await?;
    let claim = br#"{"queues":["hostile/none"],"wait_ms":300000}"#;
    let head = head(&target, "POST /api/v1/claim", &format!("Content-Length: {}\r\n", claim.len()));
    stream.write_all(&[head.as_bytes(), claim].concat()).await?;
    // No more comes from here, and yet it listens.
    stream.shutdown().await?;
    tokio::task::yield_now().await;
    Ok(())
}

async fn garbage(target: Rc<Target>) -> io::Result<()> {
    let junk = junk(64 << 10);
    for start in 0..4 {
        let mut stream = connect(&target).await?;
        let _ = stream.write_all(&junk[start..]).await;
    }
    let mut stream = connect(&target).await?;
    let head = head(&target, "POST /api/v1/settle", "Content-Length: 65536\r\n");
    stream.write_all(&[head.as_bytes(), &junk].concat()).await?;
    until_closed(&mut stream).await
}

/// Heads without end: one long line, and many short ones.
async fn huge_head(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    stream.write_all(b"GET /").await?;
    while stream.write_all(&[b'a'; 8 << 10]).await.is_ok() {}
    let mut stream = connect(&target).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n").await?;
    while stream.write_all(&b"X: y\r\n".repeat(1_000)).await.is_ok() {}
    Ok(())
}

/// Many requests at once, of which no answer is read.
async fn pipeline(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    let ask = head(&target, "GET /api/v1/status", "").repeat(200);
    loop {
        stream.write_all(ask.as_bytes()).await?;
    }
}

/// Requests whose length can be read in two ways, each with another one inside.
async fn smuggling(target: Rc<Target>) -> io::Result<()> {
    let inside = head(&target, "POST /api/v1/queues/hostile/purge", "Content-Length: 0\r\n");
    for lengths in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: identity, chunked\r\nTransfer-Encoding: x\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Transfer-Encoding:\x0bchunked\r\n",
    ] {
        let mut stream = connect(&target).await?;
        let outside = head(&target, "POST /api/v1/jobs", lengths);
        stream.write_all(format!("{outside}0\r\n\r\n{inside}").as_bytes()).await?;
        stream.shutdown().await?;
        let _ = until_closed(&mut stream).await;
    }
    Ok(())
}

/// Asks for the longest answers, and reads none.
async fn deaf(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    let ask = head(&target, &format!("GET /api/v1/jobs/{}/body", target.large), "").repeat(50);
    stream.write_all(ask.as_bytes()).await?;
    sleep(Duration::from_secs(1)).await;
    stream.write_all(ask.as_bytes()).await?;
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// Follows what becomes of all jobs, and reads nothing of it.
async fn deaf_stream(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    stream.write_all(head(&target, "GET /api/v1/events", "").as_bytes()).await?;
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    if &status != b"HTTP/1.1 200" {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    sleep(Duration::from_secs(30)).await;
    Ok(())
}

/// Waits for much, and goes away.
async fn wait_and_go(target: Rc<Target>) -> io::Result<()> {
    let mut stream = connect(&target).await?;
    let wait = format!(r#"{{"ids":[{}]}}"#, vec![target.large.to_string(); 500].join(","));
    let head = head(&target, "POST /api/v1/jobs/wait", &format!("Content-Length: {}\r\n", wait.len()));
    stream.write_all(format!("{head}{wait}").as_bytes()).await?;
    sleep(Duration::from_millis(5)).await;
    Ok(())
}

/// JSON that takes much to read: deep, and with many small things in it.
async fn deep_json(target: Rc<Target>) -> io::Result<()> {
    for (what, body) in [
        ("PATCH /api/v1/queues/hostile/settings", format!(r#"{{"rate":{}"#, "[".repeat(4 << 20))),
        ("PATCH /api/v1/queues/hostile/settings", format!(r#"{{"rate":[{}1]}}"#, "1,".repeat(3 << 20))),
        ("POST /api/v1/jobs", format!("[{}0]", "0,".repeat(8 << 20))),
        (
            "POST /api/v1/settle",
            format!(r#"{{"items":[{}"#, r#"{"lease":"1@1","outcome":"done"},"#.repeat(100_000)),
        ),
    ] {
        let mut stream = connect(&target).await?;
        let more = format!("Content-Length: {}\r\nConnection: close\r\n", body.len());
        stream.write_all(head(&target, what, &more).as_bytes()).await?;
        // It may be refused before all of it is there.
        let _ = stream.write_all(body.as_bytes()).await;
        let _ = until_closed(&mut stream).await;
    }
    Ok(())
}
