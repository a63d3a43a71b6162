//! The good client over HTTP: as the other one, with a connection for each request, and a second try where one was closed before it
//! was served.

use crate::Error;
use crate::good::Latency;
use musher::clock::monotonic;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const WORK: &str = "good/web";
/// How often a request is sent until it is answered, and how long it is waited after the first time; each time longer by as much.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(2);

pub(crate) struct GoodWeb {
    address: String,
    token: &'static str,
    round: u64,
}

impl GoodWeb {
    pub(crate) fn new(address: String, token: &'static str) -> GoodWeb {
        GoodWeb { address, token, round: 0 }
    }

    /// Works for so long.
    pub(crate) async fn work(&mut self, span: Duration) -> Result<Latency, Error> {
        let (end, mut took) = (monotonic() + span, Vec::new());
        while monotonic() < end {
            self.round += 1;
            self.work_one(&mut took).await?;
        }
        Ok(Latency::of(took))
    }

    /// Submits a job, claims it, and completes it.
    async fn work_one(&self, took: &mut Vec<Duration>) -> Result<(), Error> {
        let mut begun = monotonic();
        let mut lap = || {
            let now = monotonic();
            took.push(now - begun);
            begun = now;
        };
        let submitted = self.ask("POST /api/v1/jobs", json!({ "queue": WORK, "body": "work" })).await?;
        lap();
        let claimed = self.ask("POST /api/v1/claim", json!({ "queues": [WORK], "wait_ms": 1_000 })).await?;
        lap();
        // One whose answer was lost may still be there, and its lease ends by itself.
        let lease = claimed["jobs"][0]["lease"].as_str().ok_or(format!("no job: {claimed}"))?.to_owned();
        let items = json!({ "items": [{ "lease": lease, "outcome": "done" }] });
        let settled = self.ask("POST /api/v1/settle", items).await?;
        lap();
        match submitted["jobs"][0]["new"] == true && settled["results"][0]["ok"] == true {
            true => Ok(()),
            false => Err(format!("{submitted}, {claimed}, {settled}").into()),
        }
    }

    async fn ask(&self, what: &str, body: Value) -> Result<Value, Error> {
        let body = body.to_string();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let mut last = String::new();
        for tries in 1..=TRIES {
            match self.send(&request).await {
                Ok(answer) => {
                    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
                    if !head.starts_with("HTTP/1.1 2") {
                        return Err(format!("{what}: {answer}").into());
                    }
                    return Ok(serde_json::from_str(body)?);
                }
                Err(error) => last = error.to_string(),
            }
            // As clients do, lest they make a crowd larger.
            tokio::time::sleep(PAUSE * tries).await;
        }
        Err(format!("{what}: not answered after {TRIES} tries: {last}").into())
    }

    async fn send(&self, request: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.is_empty() {
            return Err(std::io::ErrorKind::ConnectionReset.into());
        }
        Ok(answer)
    }
}
