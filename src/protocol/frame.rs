//! Frames: `length: u32, kind: u8, request: u32, payload`, little-endian. The length counts what follows it. The client
//! chooses the request number; every answer repeats the number of its request, and 0 is for messages that the server
//! sends on its own.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of a frame before its payload: length, kind and request number.
pub const HEADER: usize = 9;
const LENGTH: usize = 4;

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the payload is.
    pub kind: u8,
    /// Which request it belongs to.
    pub request: u32,
}

/// A length that no frame may have. The stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its own header.
    #[error("a frame of {0} bytes: a frame has at least {least}", least = HEADER - LENGTH)]
    TooShort(usize),
    /// Longer than the limit.
    #[error(
        "a frame of {len} bytes: at most {max} are allowed (limits.frame); send the jobs in smaller batches"
    )]
    TooLong {
        /// Its length.
        len: usize,
        /// The limit.
        max: usize,
    },
}

/// How many bytes the frame at the front of `buffer` takes in all, as its length says.
pub fn frame_len(buffer: &[u8]) -> Option<usize> {
    let length = buffer.first_chunk::<LENGTH>()?;
    Some(LENGTH + u32::from_le_bytes(*length) as usize)
}

/// Takes the next whole frame off the front of `buffer`; `None` if it has not come in full. Nothing is set aside
/// for a frame before its bytes are there.
///
/// # Errors
/// [`FrameError`] for an impossible length.
pub fn split_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<(Header, Bytes)>, FrameError> {
    let split = split_whole_frame(buffer, max)?;
    Ok(split.map(|(header, frame)| (header, frame.freeze().split_off(HEADER))))
}

/// The same, with all of the frame.
///
/// # Errors
/// [`FrameError`] for an impossible length.
pub fn split_whole_frame(
    buffer: &mut BytesMut,
    max: usize,
) -> Result<Option<(Header, BytesMut)>, FrameError> {
    let Some(length) = buffer.first_chunk::<LENGTH>() else { return Ok(None) };
    let len = u32::from_le_bytes(*length) as usize;
    if len < HEADER - LENGTH {
        return Err(FrameError::TooShort(len));
    }
    if len > max {
        return Err(FrameError::TooLong { len, max });
    }
    if buffer.len() < LENGTH + len {
        return Ok(None);
    }
    let frame = buffer.split_to(LENGTH + len);
    let mut head = &frame[LENGTH..];
    let header = Header { kind: head.get_u8(), request: head.get_u32_le() };
    Ok(Some((header, frame)))
}

/// The frame at the front of `buffer`, if it has come in full and is no longer than `max`.
pub fn peek_frame(buffer: &[u8], max: usize) -> Option<(Header, &[u8])> {
    let len = frame_len(buffer)?;
    let mut frame = buffer.get(LENGTH..len).filter(|frame| frame.len() <= max)?;
    let header = Header { kind: frame.try_get_u8().ok()?, request: frame.try_get_u32_le().ok()? };
    Some((header, frame))
}

/// Begins a frame at the end of `out`; returns where, for [`finish_frame`].
pub fn start_frame(out: &mut Vec<u8>, kind: u8, request: u32) -> usize {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    out.put_u32_le(request);
    start
}

/// Begins a frame whose payload, of `len` bytes, follows by itself.
pub fn put_head(out: &mut Vec<u8>, kind: u8, request: u32, len: usize) {
    let len = u32::try_from(HEADER - LENGTH + len).expect("limits.frame keeps frames far below 4 GiB");
    out.put_u32_le(len);
    out.put_u8(kind);
    out.put_u32_le(request);
}

/// Ends the frame that began at `start`: writes its length.
pub fn finish_frame(out: &mut [u8], start: usize) {
    let len = u32::try_from(out.len() - start - LENGTH).expect("limits.frame keeps frames far below 4 GiB");
    out[start..start + LENGTH].copy_from_slice(&len.to_le_bytes());
}
