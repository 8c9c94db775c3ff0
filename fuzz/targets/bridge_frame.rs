//! Any bytes as frames of the bridge protocol: a container may send what it likes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oriel_hcs::bridge::Frame;

fuzz_target!(|data: &[u8]| {
    let mut input = data;
    while let Ok(Some(frame)) = Frame::read_from(&mut input) {
        let bytes = frame.encode();
        let again = Frame::read_from(&mut &bytes[..]).expect("what was written can be read");
        assert_eq!(again, Some(frame));
    }
    let _ = Frame::decode(data);
});
