//! What a host may send to a client library.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use ostrakon_wire::{Answer, ServerHello};

fuzz_target!(|data: &[u8]| {
    let frame = Bytes::copy_from_slice(data);
    let _ = ServerHello::read(&frame);
    if let Ok(answer) = Answer::read(&frame) {
        let mut out = Vec::new();
        answer.write(&mut out);
        assert!(Answer::read(&Bytes::from(out)).is_ok(), "what was read cannot be read again");
    }
});
