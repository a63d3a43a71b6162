//! Frames as they come and go, and the greeting.

use super::RouterLimits;
use crate::protocol::{
    ErrorCode, Fault, FrameError, HEADER, Header, OWN_NAME, Request, Response, Version, Versions, frame_len,
};
use crate::stream::Stream;
use bytes::{Bytes, BytesMut};
use std::io;
use tokio::sync::mpsc;

/// What is read at a time, in bytes.
const READ: usize = 64 << 10;

/// Writes a frame, and with it what has come meanwhile.
pub(super) async fn write_together(
    stream: &Stream,
    first: Bytes,
    frames: &mut mpsc::Receiver<Bytes>,
) -> io::Result<()> {
    let Ok(second) = frames.try_recv() else { return stream.write_all(&first).await };
    let mut together = BytesMut::from(&first[..]);
    together.extend_from_slice(&second);
    while let (true, Ok(next)) = (together.len() < READ, frames.try_recv()) {
        together.extend_from_slice(&next);
    }
    stream.write_all(&together).await
}

/// A frame as it came.
pub(super) struct Frame {
    pub(super) header: Header,
    /// All of it.
    bytes: BytesMut,
}

impl Frame {
    /// The same under another number.
    pub(super) fn renumbered(mut self, number: u32) -> Bytes {
        self.bytes[HEADER - 4..HEADER].copy_from_slice(&number.to_le_bytes());
        self.bytes.freeze()
    }

    pub(super) fn unchanged(self) -> Bytes {
        self.bytes.freeze()
    }

    pub(super) fn payload(self) -> Bytes {
        self.bytes.freeze().slice(HEADER..)
    }
}

/// The next one; `None` at the end.
///
/// # Errors
/// Its length cannot be.
pub(super) async fn next_frame(
    stream: &Stream,
    buffer: &mut BytesMut,
    most: usize,
) -> Result<Option<Frame>, FrameError> {
    loop {
        if let Some(whole) = frame_len(buffer) {
            let len = whole - (HEADER - 5);
            if len < 5 {
                return Err(FrameError::TooShort(len));
            }
            if len > most {
                return Err(FrameError::TooLong { len, max: most });
            }
            if buffer.len() >= whole {
                let bytes = buffer.split_to(whole);
                let number = [bytes[5], bytes[6], bytes[7], bytes[8]];
                let header = Header { kind: bytes[4], request: u32::from_le_bytes(number) };
                return Ok(Some(Frame { header, bytes }));
            }
        }
        buffer.reserve(READ);
        if !matches!(stream.read(buffer).await, Ok(1..)) {
            return Ok(None);
        }
    }
}

/// The client's greeting, and the answer. `None` if it is none, or none that this program understands.
pub(super) async fn greet(limits: &RouterLimits, stream: &Stream, buffer: &mut BytesMut) -> Option<Version> {
    let frame = next_frame(stream, buffer, limits.frame).await.ok()??;
    let header = frame.header;
    let asked = Version::NEWEST.decode_request(header.kind, frame.payload(), limits.batch);
    let agreed = match asked {
        Ok(Request::Hello { versions, .. }) => Versions::agreed(versions),
        Ok(_) => Err(Fault {
            code: ErrorCode::Malformed,
            message: "the first request must be the greeting".to_owned(),
        }),
        Err(fault) => Err(fault),
    };
    let mut out = Vec::new();
    match agreed {
        Ok(version) => {
            let welcome = Response::Welcome {
                version: version.number(),
                frame_max: limits.frame as u32,
                body_max: limits.body as u32,
                batch_max: limits.batch as u32,
                name: OWN_NAME.to_owned(),
            };
            version.encode_response(&welcome, header.request, &mut out);
            stream.write_all(&out).await.ok()?;
            Some(version)
        }
        Err(fault) => {
            Response::Error(fault).encode(header.request, &mut out);
            let _ = stream.write_all(&out).await;
            None
        }
    }
}
