//! Responses: what is read can be written, and then reads the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musher::protocol::{Response, split_frame};

fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    let Ok(response) = Response::decode(*kind, Bytes::copy_from_slice(payload)) else { return };
    let mut bytes = Vec::new();
    response.encode(7, &mut bytes);
    let (header, payload) =
        split_frame(&mut BytesMut::from(&bytes[..]), bytes.len()).expect("a good length").expect("a whole frame");
    assert_eq!(Response::decode(header.kind, payload), Ok(response));
});
