//! The decoder of frames: the same frames come out however the bytes are cut.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musher::protocol::{FrameError, Header, split_frame};

const MAX: usize = 512;

type Frames = (Vec<(Header, Bytes)>, Option<FrameError>);

fn read(data: &[u8], piece: usize) -> Frames {
    let (mut buffer, mut frames) = (BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match split_frame(&mut buffer, MAX) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

fuzz_target!(|data: (u8, &[u8])| {
    let (piece, data) = (usize::from(data.0) + 1, data.1);
    assert_eq!(read(data, piece), read(data, data.len().max(1)));
});
