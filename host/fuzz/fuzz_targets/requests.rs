//! What a client may send: streams of frames, hellos and requests. What is read writes itself back and is read again.

#![no_main]

use bytes::{Bytes, BytesMut};
use libfuzzer_sys::fuzz_target;
use ostrakon_wire::bounds::FRAME_BYTES_MAX;
use ostrakon_wire::{ClientHello, Request, frame};

fuzz_target!(|data: &[u8]| {
    let mut stream = BytesMut::from(data);
    while let Ok(Some(frame)) = frame::split(&mut stream, FRAME_BYTES_MAX) {
        check(&frame);
    }
    check(&Bytes::copy_from_slice(data));
});

fn check(frame: &Bytes) {
    let _ = ClientHello::read(frame);
    if let Ok(request) = Request::read(frame) {
        let mut out = Vec::new();
        request.write(&mut out);
        assert!(Request::read(&Bytes::from(out)).is_ok(), "what was read cannot be read again");
    }
}
