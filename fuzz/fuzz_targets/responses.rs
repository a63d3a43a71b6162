//! Responses in every version: what is read can be written, and then reads the same.
#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use musher::protocol::{Version, split_frame};

fuzz_target!(|data: &[u8]| {
    let Some((kind, payload)) = data.split_first() else { return };
    for version in [Version::One, Version::Two] {
        let Ok(response) = version.decode_response(*kind, Bytes::copy_from_slice(payload)) else { continue };
        let mut bytes = Vec::new();
        version.encode_response(&response, 7, &mut bytes);
        let (header, payload) =
            split_frame(&mut BytesMut::from(&bytes[..]), bytes.len()).expect("a good length").expect("a whole frame");
        assert_eq!(version.decode_response(header.kind, payload), Ok(response));
    }
});
