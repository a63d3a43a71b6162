//! Requests: what is read can be written, and then reads the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musher::protocol::{Request, split_frame};

const BATCH: usize = 1_000;

fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    let Ok(request) = Request::decode(*kind, Bytes::copy_from_slice(payload), BATCH) else { return };
    let mut bytes = Vec::new();
    request.encode(7, &mut bytes);
    let (header, payload) =
        split_frame(&mut BytesMut::from(&bytes[..]), bytes.len()).expect("a good length").expect("a whole frame");
    assert_eq!((header.kind, header.request), (*kind, 7));
    assert_eq!(Request::decode(header.kind, payload, BATCH), Ok(request));
});
