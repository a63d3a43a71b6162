//! A conversation with a beanstalkd: commands, and what is answered. Every wait for the other side has an end, no answer
//! takes more memory than it may, and nothing that it says is believed before it is looked at. It does not know what
//! becomes of jobs here.

use crate::cli::exit::{Failure, UNREACHABLE};
use crate::cli::output::safe;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

/// How long the other side may take to let us in, and then to say or take another byte.
const CONNECT: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// The longest line of an answer: a word and two numbers, or a word and the name of a tube.
const LINE_MAX: usize = 1024;
/// The longest list or table: some 100,000 tubes with the longest names.
const TEXT_MAX: u64 = 32 << 20;
/// How many commands are sent before their answers are read. They and their answers fit what the system keeps of a
/// stream, so neither side waits for the other to read.
const AHEAD: usize = 256;
/// The longest name of a tube.
const TUBE_MAX: usize = 200;

/// Where one is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Whether that is the name of a tube: what goes into a command must not end it.
pub(super) fn is_tube(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-+/;.$_()".contains(&byte);
    (1..=TUBE_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(allowed)
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// One line.
    Line(String),
    /// A list or a table.
    Text(String),
    Job(Found),
}

/// A job as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) id: u64,
    pub(super) len: u64,
    /// `None` if it is longer than one may be here; it was not kept.
    pub(super) body: Option<Bytes>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Stream for T {}

/// A connection.
pub(super) struct Wire {
    stream: BufReader<Box<dyn Stream>>,
    address: Address,
    /// The longest body that is kept.
    body_max: u64,
    /// How long it may be silent.
    patience: Duration,
}

impl Wire {
    pub(super) async fn connect(address: &Address, body_max: usize) -> Result<Wire, Failure> {
        let dial = async {
            Ok::<Box<dyn Stream>, io::Error>(match address {
                Address::Tcp(host, port) => {
                    let stream = TcpStream::connect((host.as_str(), *port)).await?;
                    // Commands are short, and each write of ours is a whole request.
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
            })
        };
        let late = || io::Error::new(io::ErrorKind::TimedOut, "no answer within 10 s");
        let stream = timeout(CONNECT, dial).await.unwrap_or_else(|_| Err(late())).map_err(|error| {
            let message = format!("no beanstalkd can be reached at {address}: {error}");
            Failure { code: UNREACHABLE, message }
        })?;
        Ok(Wire {
            stream: BufReader::new(stream),
            address: address.clone(),
            body_max: body_max as u64,
            patience: PATIENCE,
        })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    /// Sends commands, and returns the answer to each.
    pub(super) async fn ask_all(&mut self, commands: &[String]) -> Result<Vec<Reply>, Failure> {
        let mut replies = Vec::with_capacity(commands.len());
        for some in commands.chunks(AHEAD) {
            let text: String = some.iter().map(|command| format!("{command}\r\n")).collect();
            let sent = timeout(self.patience, self.stream.get_mut().write_all(text.as_bytes())).await;
            sent.map_err(|_| self.silent())?.map_err(|error| self.cut(&error))?;
            for _ in some {
                replies.push(self.reply().await?);
            }
        }
        Ok(replies)
    }

    pub(super) async fn ask(&mut self, command: String) -> Result<Reply, Failure> {
        let reply = self.ask_all(&[command]).await?.pop();
        reply.ok_or_else(|| Failure::failed("there is an answer to each command"))
    }

    /// Asks for a list or a table; `None` if there is no such thing.
    pub(super) async fn text(&mut self, command: String) -> Result<Option<String>, Failure> {
        match self.ask(command.clone()).await? {
            Reply::Text(text) => Ok(Some(text)),
            Reply::Line(line) if line == "NOT_FOUND" => Ok(None),
            other => Err(self.odd(&command, &other)),
        }
    }

    /// It answered what nobody answers who speaks this protocol.
    pub(super) fn odd(&self, command: &str, reply: &Reply) -> Failure {
        let said = match reply {
            Reply::Line(line) => format!("said `{}`", safe(line)),
            Reply::Text(_) => "sent a text".into(),
            Reply::Job(found) => format!("sent job {}", found.id),
        };
        Failure::failed(format!(
            "what answers at {} is no beanstalkd: it {said} to `{command}`",
            self.address
        ))
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        let line = self.line().await?;
        let mut words = line.split(' ');
        let numbers = |words: std::str::Split<'_, char>| -> Option<Vec<u64>> {
            words.map(|word| word.parse().ok()).collect()
        };
        match (words.next(), numbers(words).as_deref()) {
            (Some("OK"), Some([len])) => {
                let (kept, whole) = self.block(*len, TEXT_MAX).await?;
                match whole {
                    true => Ok(Reply::Text(String::from_utf8_lossy(&kept).into_owned())),
                    false => Err(self.wrong(&format!("sent a text of {len} bytes"))),
                }
            }
            (Some("RESERVED" | "FOUND"), Some([id, len])) => {
                let (body, whole) = self.block(*len, self.body_max).await?;
                Ok(Reply::Job(Found { id: *id, len: *len, body: whole.then(|| body.into()) }))
            }
            _ => Ok(Reply::Line(line)),
        }
    }

    /// A line, without its end.
    async fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        loop {
            let there = self.fill().await?;
            let end = there.iter().position(|byte| *byte == b'\n');
            let taken = end.map_or(there.len(), |end| end + 1);
            line.extend_from_slice(&there[..taken.min(LINE_MAX + 1)]);
            self.stream.consume(taken);
            if line.len() > LINE_MAX {
                return Err(self.wrong("sent a line without an end"));
            }
            if end.is_some() {
                let text = line.strip_suffix(b"\r\n").ok_or_else(|| self.wrong("ends a line without CR"))?;
                return Ok(String::from_utf8_lossy(text).into_owned());
            }
        }
    }

    /// So many bytes and the end of their line. Of a longer one than may be kept nothing is; says whether it is whole.
    async fn block(&mut self, len: u64, max: u64) -> Result<(Vec<u8>, bool), Failure> {
        let keeps = len <= max;
        // No more than may be, whatever the other side says.
        let room = if keeps { len as usize } else { 0 };
        let (mut kept, mut left) = (Vec::with_capacity(room), len);
        while left > 0 {
            let there = self.fill().await?;
            let taken = usize::try_from(left).unwrap_or(usize::MAX).min(there.len());
            if keeps {
                kept.extend_from_slice(&there[..taken]);
            }
            self.stream.consume(taken);
            left -= taken as u64;
        }
        for end in *b"\r\n" {
            if self.fill().await?.first() != Some(&end) {
                return Err(self.wrong("sent more bytes than it had said"));
            }
            self.stream.consume(1);
        }
        Ok((kept, keeps))
    }

    /// What has come and is not consumed; at least a byte.
    async fn fill(&mut self) -> Result<&[u8], Failure> {
        // Asked twice: what the first look borrows cannot be returned beside the errors.
        let came = match timeout(self.patience, self.stream.fill_buf()).await {
            Ok(came) => came.map(|there| !there.is_empty()),
            Err(_) => return Err(self.silent()),
        };
        match came {
            Ok(true) => Ok(self.stream.buffer()),
            Ok(false) => Err(self.cut(&"it closed the connection")),
            Err(error) => Err(self.cut(&error)),
        }
    }

    fn cut(&self, why: &dyn fmt::Display) -> Failure {
        Failure::failed(format!("beanstalkd at {} did not answer to the end: {why}", self.address))
    }

    fn silent(&self) -> Failure {
        let seconds = self.patience.as_secs();
        Failure::failed(format!("beanstalkd at {} has said nothing for {seconds} s", self.address))
    }

    fn wrong(&self, what: &str) -> Failure {
        Failure::failed(format!("what answers at {} is no beanstalkd: it {what}", self.address))
    }
}

/// A row of a table, such as `pri: 1024`; some versions put quotes around texts.
pub(super) fn field<'a>(table: &'a str, name: &str) -> Option<&'a str> {
    let value = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    table.lines().find_map(value).map(unquoted)
}

pub(super) fn number(table: &str, name: &str) -> Option<u64> {
    field(table, name)?.parse().ok()
}

/// What a list has.
pub(super) fn items(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.strip_prefix("- ")).map(unquoted)
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection to somebody who says this, whatever is asked; and that somebody.
    async fn says(text: &[u8]) -> (Wire, tokio::io::DuplexStream) {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        theirs.write_all(text).await.unwrap();
        let address = Address::Tcp("there".into(), 11300);
        let patience = Duration::from_millis(50);
        (Wire { stream: BufReader::new(Box::new(ours)), address, body_max: 10, patience }, theirs)
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn answers_are_read_one_after_the_other_with_their_bytes() {
        block_on(async {
            let text = b"OK 10\r\n---\n- a\n- \r\nRESERVED 7 4\r\n\r\n\0\xff\r\nTIMED_OUT\r\n\
                         FOUND 18446744073709551615 11\r\n01234567890\r\nDELETED\r\n";
            let (mut wire, _there) = says(text).await;
            let commands = vec![String::new(); 5];
            let replies = wire.ask_all(&commands).await.unwrap();
            let body = Some(Bytes::from_static(b"\r\n\0\xff"));
            assert_eq!(
                replies,
                [
                    Reply::Text("---\n- a\n- ".into()),
                    Reply::Job(Found { id: 7, len: 4, body }),
                    Reply::Line("TIMED_OUT".into()),
                    Reply::Job(Found { id: u64::MAX, len: 11, body: None }),
                    Reply::Line("DELETED".into()),
                ]
            );
        });
    }

    #[test]
    fn what_no_beanstalkd_says_is_refused() {
        let long = [b'x'; LINE_MAX * 2];
        for (text, why) in [
            (&b"HTTP/1.1 400 Bad Request\n\n"[..], "without CR"),
            (&long, "a line without an end"),
            (b"FOUND 1 3\r\nabcde\r\n", "more bytes than it had said"),
            (b"OK 99999999999\r\n", "did not answer to the end"),
            (b"", "did not answer to the end: it closed the connection"),
        ] {
            block_on(async {
                let (mut wire, there) = says(text).await;
                drop(there);
                let failure = wire.reply().await.unwrap_err();
                assert!(failure.message.contains(why), "{}", failure.message);
            });
        }
    }

    #[test]
    fn nobody_is_waited_for_without_end() {
        block_on(async {
            let (mut wire, _there) = says(b"FOUND 1 3\r\nab").await;
            let failure = wire.ask("peek 1".into()).await.unwrap_err();
            assert!(failure.message.contains("has said nothing for"), "{}", failure.message);
        });
    }

    #[test]
    fn tables_and_lists() {
        let table = "---\nid: 7\nstate: ready\npri: 1024\nversion: \"1.13\"\nid-of-other: 9\n";
        assert_eq!((number(table, "id"), number(table, "pri")), (Some(7), Some(1024)));
        assert_eq!((field(table, "state"), field(table, "version")), (Some("ready"), Some("1.13")));
        assert_eq!((field(table, "stat"), number(table, "state")), (None, None));
        assert_eq!(items("---\n- default\n- \"a\"\n- -b\n").collect::<Vec<_>>(), ["default", "a", "-b"]);
    }

    #[test]
    fn names_that_would_be_two_commands_are_none() {
        for good in ["default", "a+b/c;d.$_()-", &"x".repeat(200)] {
            assert!(is_tube(good), "{good}");
        }
        for bad in ["", "-a", "a b", "a\r\ndelete 1", "ä", &"x".repeat(201)] {
            assert!(!is_tube(bad), "{bad}");
        }
    }
}
