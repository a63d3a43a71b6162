//! The attacks. Each knows the protocol as bytes and holds to none of its manners; it goes on until its time is
//! over, whatever the daemon says or does to its connections.

use crate::daemon::BODY;
use crate::{watchers, web};
use musher::clock::monotonic;
use musher::protocol::admin::{AdminRequest, ListQuery};
use musher::protocol::{
    Claim, HEADER, JobOptions, LeaseRef, Request, Settle, SubmitGroup, TAGS_MAX, Verdict,
};
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::sleep;

/// All attacks on the socket, in the order in which they are tried.
pub(crate) const NAMES: [&str; 12] = [
    // None, to see how much the figures change by themselves.
    "nothing",
    "half-frames",
    "giant-lengths",
    "crowd",
    "deaf",
    "slow",
    "claims",
    "churn",
    "garbage",
    "flood",
    "lists",
    "groups",
];
/// The longest frame that the daemon takes.
const FRAME: u32 = 32 << 20;

/// Where, and until when.
pub(crate) struct Target {
    socket: PathBuf,
    /// Where HTTP is served, and a token for it.
    pub(crate) web: String,
    pub(crate) token: String,
    /// A job with a large body.
    pub(crate) large: u64,
    end: Duration,
}

impl Target {
    async fn until_the_end(&self) {
        sleep(self.end.saturating_sub(monotonic())).await;
    }

    async fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect(&self.socket).await
    }

    /// A connection that has greeted and read the answer.
    async fn greeted(&self) -> io::Result<UnixStream> {
        let mut stream = self.connect().await?;
        stream.write_all(&frame(&Request::hello("hostile"))).await?;
        let len = stream.read_u32_le().await?;
        stream.read_exact(&mut vec![0; len as usize]).await?;
        Ok(stream)
    }
}

/// Attacks as the arguments say: name, socket, address of HTTP, token, milliseconds.
pub(crate) fn run(args: &[String]) -> ! {
    let [name, socket, web, token, millis] = args else {
        panic!("attack NAME SOCKET ADDRESS TOKEN MILLISECONDS")
    };
    let span = Duration::from_millis(millis.parse().expect("a number of milliseconds"));
    let (web, token) = (web.clone(), token.clone());
    let mut target = Target { socket: socket.into(), web, token, large: 0, end: monotonic() + span };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let is_web = web::NAMES.contains(&name.as_str());
        let large = if is_web || name == watchers::NAME {
            web::large_job(&target).await
        } else {
            large_job(&target).await
        };
        target.large = large.expect("a job can be submitted");
        let target = Rc::new(target);
        attack(name, &target).await;
        target.until_the_end().await;
    });
    #[allow(
        clippy::disallowed_methods,
        reason = "an attacker leaves as it is, with all its connections open"
    )]
    std::process::exit(0)
}

/// Starts the connections of an attack.
async fn attack(name: &str, target: &Rc<Target>) {
    match name {
        "nothing" => {}
        "half-frames" => many(500, target, half_frame),
        "giant-lengths" => many(20, target, giant_length),
        "crowd" => many(5_000, target, idle),
        "deaf" => many(200, target, deaf),
        "slow" => many(1_000, target, one_byte_a_second),
        "claims" => many(4, target, claims),
        "churn" => many(4, target, churn),
        "garbage" => many(20, target, garbage),
        "flood" => pours(8, target, small_requests()),
        "lists" => pours(8, target, lists()),
        "groups" => pours(4, target, groups()),
        watchers::NAME => watchers::watch(target),
        _ => assert!(web::attack(name, target), "no attack {name}"),
    }
}

/// The same on many connections; each begins anew when the daemon has closed it.
pub(crate) fn many<F: Future<Output = io::Result<()>> + 'static>(
    count: usize,
    target: &Rc<Target>,
    one: impl Fn(Rc<Target>) -> F + Clone + 'static,
) {
    for _ in 0..count {
        let (target, one) = (target.clone(), one.clone());
        tokio::task::spawn_local(async move {
            loop {
                if one(target.clone()).await.is_err() {
                    // Refused, or the socket's queue is full.
                    sleep(Duration::from_millis(5)).await;
                }
            }
        });
    }
}

/// Bytes that look like nothing, the same each time.
pub(crate) fn junk(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn frame(request: &Request) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(7, &mut bytes);
    bytes
}

fn frames(requests: &[Request]) -> Vec<u8> {
    requests.iter().flat_map(frame).collect()
}

fn submit(queue: &str, bodies: Vec<bytes::Bytes>) -> Request {
    let options = JobOptions { queue: queue.into(), ..JobOptions::default() };
    Request::Submit(vec![SubmitGroup { options, bodies }])
}

/// Reads until the daemon closes the connection.
async fn until_closed(mut stream: UnixStream) -> io::Result<()> {
    let mut read = vec![0; 64 << 10];
    while stream.read(&mut read).await? > 0 {}
    Ok(())
}

/// Announces the longest frame, sends a part of it, and leaves it at that.
async fn half_frame(target: Rc<Target>) -> io::Result<()> {
    let mut stream = target.greeted().await?;
    stream.write_all(&FRAME.to_le_bytes()).await?;
    stream.write_all(&vec![0; 4 << 20]).await?;
    until_closed(stream).await
}

/// Announces more than is allowed; or as much as is allowed, and sends nothing of it.
async fn giant_length(target: Rc<Target>) -> io::Result<()> {
    let mut stream = target.greeted().await?;
    stream.write_all(&u32::MAX.to_le_bytes()).await?;
    until_closed(stream).await?;
    let mut stream = target.greeted().await?;
    stream.write_all(&FRAME.to_le_bytes()).await?;
    until_closed(stream).await
}

/// Is there.
async fn idle(target: Rc<Target>) -> io::Result<()> {
    until_closed(target.greeted().await?).await
}

/// Submits a job with a large body; its id.
async fn large_job(target: &Target) -> io::Result<u64> {
    let mut stream = target.greeted().await?;
    stream.write_all(&frame(&submit("hostile/large", vec![vec![1; BODY].into()]))).await?;
    let mut answer = [0; HEADER + 16];
    stream.read_exact(&mut answer).await?;
    Ok(u64::from_le_bytes(std::array::from_fn(|nth| answer[HEADER + nth])))
}

/// Asks for a large body as often as it can, and reads nothing.
async fn deaf(target: Rc<Target>) -> io::Result<()> {
    let mut stream = target.greeted().await?;
    let ask = frames(&vec![Request::Body { id: target.large }; 1_000]);
    loop {
        stream.write_all(&ask).await?;
    }
}

/// Greets, or asks, or listens, one byte a second.
async fn one_byte_a_second(target: Rc<Target>) -> io::Result<()> {
    let mut stream = target.greeted().await?;
    stream.write_all(&frame(&Request::Admin(AdminRequest::Status {}))).await?;
    let slow = frame(&submit("hostile/slow", vec![vec![0; 20 << 10].into()]));
    for byte in slow {
        stream.write_all(&[byte]).await?;
        let mut one = [0];
        stream.read_exact(&mut one).await?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// Waits for work in a thousand queues, as often as it can, and vanishes.
async fn claims(target: Rc<Target>) -> io::Result<()> {
    let stream = target.greeted().await?;
    let queues: Vec<String> = (0..1_000).map(|nth| format!("hostile/claims/{nth}")).collect();
    let claim = |queues: &[String]| {
        let wish =
            Claim { queues: queues.to_vec(), max: 1, wait_ms: u64::MAX, bound: true, ..Claim::default() };
        frame(&Request::Claim(wish))
    };
    let mut asks: Vec<u8> = queues.iter().flat_map(|queue| claim(std::slice::from_ref(queue))).collect();
    asks.extend(claim(&queues).repeat(20));
    let (mut read, mut write) = stream.into_split();
    let listen = tokio::task::spawn_local(async move {
        let mut answers = vec![0; 64 << 10];
        while matches!(read.read(&mut answers).await, Ok(1..)) {}
    });
    for _ in 0..20 {
        write.write_all(&asks).await?;
    }
    listen.abort();
    Ok(())
}

/// Comes and goes: at once, after half a greeting, after a whole one.
async fn churn(target: Rc<Target>) -> io::Result<()> {
    drop(target.connect().await?);
    target.connect().await?.write_all(b"\x14\0\0\0\x01\0").await?;
    drop(target.greeted().await?);
    // Others of this program want to go on as well.
    tokio::task::yield_now().await;
    Ok(())
}

/// Sends bytes without sense: instead of a greeting, and after one.
async fn garbage(target: Rc<Target>) -> io::Result<()> {
    let junk = junk(64 << 10);
    for start in [0, 1, 2, 3] {
        let mut stream = target.connect().await?;
        stream.write_all(&junk[start..]).await?;
    }
    let mut stream = target.greeted().await?;
    for (nth, bytes) in junk.chunks(60).enumerate() {
        let (len, kind) = ((bytes.len() + 5) as u32, (nth % 48) as u8);
        stream.write_all(&[&len.to_le_bytes()[..], &[kind, 1, 2, 3, 4], bytes].concat()).await?;
    }
    drop(stream);
    Ok(())
}

fn pours(count: usize, target: &Rc<Target>, bytes: Vec<u8>) {
    let bytes: Rc<[u8]> = bytes.into();
    many(count, target, move |target| pour(target, bytes.clone()));
}

/// Sends the same as fast as the daemon takes it, and reads the answers.
async fn pour(target: Rc<Target>, bytes: Rc<[u8]>) -> io::Result<()> {
    let (mut read, mut write) = target.greeted().await?.into_split();
    let listen = tokio::task::spawn_local(async move {
        let mut answers = vec![0; 64 << 10];
        while matches!(read.read(&mut answers).await, Ok(1..)) {}
    });
    while write.write_all(&bytes).await.is_ok() {}
    listen.abort();
    Ok(())
}

/// Submits until the queue is full, and settles of leases that nobody has.
fn small_requests() -> Vec<u8> {
    let lease = LeaseRef { id: 1, attempt: 77 };
    let settle = Request::Settle(vec![Settle { lease, verdict: Verdict::Complete }]);
    frames(&[submit("flood", vec!["x".into()]), settle]).repeat(500)
}

/// Lists that look at everything and find nothing.
fn lists() -> Vec<u8> {
    let state = Some("dead".into());
    frame(&Request::Admin(AdminRequest::List(ListQuery { state, limit: 1_000, ..ListQuery::default() })))
        .repeat(100)
}

/// What takes the most memory to read: as many jobs as a request may have, each with as many tags as it may have and
/// nothing in them. Their queue does not take that many.
fn groups() -> Vec<u8> {
    let tags = vec![(String::new(), String::new()); usize::from(TAGS_MAX)];
    let options = JobOptions { queue: "flood".into(), tags, ..JobOptions::default() };
    let group = SubmitGroup { options, bodies: vec!["x".into()] };
    frame(&Request::Submit(vec![group; 100_000]))
}
