//! No attack: ten dashboards that are open, and a Prometheus that scrapes each second. They ask as often as the overview of the
//! dashboard does while jobs run, and read all that comes.

use crate::attacks::{Target, many};
use crate::web::head;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

/// The name of it.
pub(crate) const NAME: &str = "dashboards";
const DASHBOARDS: usize = 10;

/// Starts them.
pub(crate) fn watch(target: &Rc<Target>) {
    many(DASHBOARDS, target, |target| follow(target, "GET /api/v1/events"));
    many(DASHBOARDS, target, |target| each(target, "GET /api/v1/status", Duration::from_millis(700)));
    many(DASHBOARDS, target, |target| {
        each(target, "GET /api/v1/queues/hostile%2Flarge/settings", Duration::from_secs(5))
    });
    many(DASHBOARDS, target, |target| {
        each(target, "GET /api/v1/stats?since_ms=900000", Duration::from_secs(10))
    });
    many(1, target, |target| each(target, "GET /metrics", Duration::from_secs(1)));
}

/// Reads what goes on without end.
async fn follow(target: Rc<Target>, what: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect(&target.web).await?;
    stream.write_all(head(&target, what, "").as_bytes()).await?;
    let mut read = vec![0; 64 << 10];
    while stream.read(&mut read).await? > 0 {}
    Ok(())
}

/// Asks again and again.
async fn each(target: Rc<Target>, what: &str, every: Duration) -> io::Result<()> {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut stream = TcpStream::connect(&target.web).await?;
        stream.write_all(head(&target, what, "Connection: close\r\n").as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{what}: {}", String::from_utf8_lossy(&answer));
    }
}
