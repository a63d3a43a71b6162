//! Requests in every version: what is read can be written, and then reads the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musher::protocol::{Version, split_frame};

const BATCH: usize = 1_000;

fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    for version in [Version::One, Version::Two] {
        let Ok(request) = version.decode_request(*kind, Bytes::copy_from_slice(payload), BATCH) else { continue };
        let mut bytes = Vec::new();
        version.encode_request(&request, 7, &mut bytes);
        let (header, payload) =
            split_frame(&mut BytesMut::from(&bytes[..]), bytes.len()).expect("a good length").expect("a whole frame");
        assert_eq!((header.kind, header.request), (*kind, 7));
        assert_eq!(version.decode_request(header.kind, payload, BATCH), Ok(request));
    }
});
