//! Requests that can be told apart and are wrong inside: each is answered with its code, and the stream goes on.

use ostrakon_client::{Action, Code, Expect, ObjectId, Operation, Payload};
use ostrakon_wire::bounds::{
    CLIENT_BYTES_MAX, FRAME_DEPTH_MAX, NAME_BYTES_MAX, PAYLOAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, TYPE_BYTES_MAX,
};
use ostrakon_wire::cbor::{self, FieldWriter};
use ostrakon_wire::{ActionKind, PayloadFormat, frame};
use serde_json::json;

use crate::harness::{Raw, Stream, act, as_json, object, shared, structured, version, works};
use crate::wire_frames::{answered, resets};

/// Deep enough to end a thread that goes down level by level, and still inside a frame.
const ABYSS: usize = 300_000;

/// A request with this body.
fn request(id: u64, operation: u64, body: impl FnOnce(&mut FieldWriter<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut fields = FieldWriter::new(&mut out);
    cbor::uint(fields.field(0), id);
    cbor::uint(fields.field(1), operation);
    body(&mut FieldWriter::new(fields.field(2)));
    out
}

/// A read of an object by the CBOR of its three parts.
fn read_of(id: u64, parts: [&[u8]; 3]) -> Vec<u8> {
    request(id, 3, |body| {
        for (key, part) in (6..).zip(parts) {
            body.field(key).extend_from_slice(part);
        }
    })
}

/// A put of a structured payload, or of what claims to be one.
fn put_of(id: u64, name: &str, content: &[u8]) -> Vec<u8> {
    request(id, 6, |body| {
        for (key, part) in (6..).zip(["faults", "thing", name]) {
            cbor::text(body.field(key), part);
        }
        let payload = body.field(13);
        cbor::array(payload, 2);
        cbor::uint(payload, PayloadFormat::Structured as u64);
        cbor::bytes(payload, content);
        cbor::uint(body.field(15), ActionKind::Put as u64);
    })
}

fn text(content: &str) -> Vec<u8> {
    let mut out = Vec::new();
    cbor::text(&mut out, content);
    out
}

/// `{"": [[[...]]]}`, so many levels in all.
fn nested(levels: usize) -> Vec<u8> {
    [&[0xa1, 0x60][..], &vec![0x81; levels - 2], &[0x80]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_cut_off_anywhere_ends_more_than_itself() {
    let host = shared();
    let (raw, mut stream) = Raw::greet(&host).await;
    let whole = put_of(7, "cut", &[0xa0]);
    // {0: 7: three bytes, and the request can be told.
    for cut in 3..whole.len() {
        answered(&mut stream, &whole[..cut], 7, Code::Malformed).await;
    }
    for cut in 1..3 {
        let mut bytes = Vec::new();
        frame::append(&mut bytes, |out| out.extend_from_slice(&whole[..cut]));
        resets(&bytes, Code::Malformed.number().into()).await;
    }
    stream.frame(|out| out.extend_from_slice(&whole)).await;
    stream.answer().await.outcome.unwrap();
    works(&mut raw.open().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_behind_a_request_are_passed_over() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let whole = put_of(8, "trailing", &[0xa0]);
    for more in [&[0][..], &[0xff], &[0xf6], &whole] {
        answered(&mut stream, &[&whole, more].concat(), 8, Code::Malformed).await;
    }
    answered(&mut stream, &put_of(9, "trailing", &[0xa0, 0]), 9, Code::InvalidPayload).await;
    let read = stream.ask(crate::harness::read(&object("faults", "trailing"))).await;
    assert_eq!(read.unwrap_err().code, Code::NotFound, "a refused request has done something");
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_nesting_overruns_a_stack() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    stream.frame(|out| out.extend(put_of(1, "deep", &nested(PAYLOAD_DEPTH_MAX)))).await;
    stream.answer().await.outcome.unwrap();
    for levels in [PAYLOAD_DEPTH_MAX + 1, ABYSS] {
        answered(&mut stream, &put_of(2, "deep", &nested(levels)), 2, Code::InvalidPayload).await;
        // Maps in maps, cut off at the bottom.
        let maps = [0xa1, 0x60].repeat(levels);
        answered(&mut stream, &put_of(3, "deep", &maps), 3, Code::InvalidPayload).await;
    }
    for levels in [FRAME_DEPTH_MAX, FRAME_DEPTH_MAX + 1, ABYSS] {
        // As the value of a field that there is not, and in the place of one that there is.
        let unknown = request(4, 9, |body| body.field(63).extend([vec![0x81; levels], vec![0]].concat()));
        answered(&mut stream, &unknown, 4, Code::Malformed).await;
        let deep = [vec![0x81; levels], vec![0]].concat();
        answered(&mut stream, &read_of(5, [&deep, &text("thing"), &text("deep")]), 5, Code::Malformed).await;
        let top = [&[0xa3, 0, 6, 1, 9, 2][..], &deep].concat();
        answered(&mut stream, &top, 6, Code::Malformed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_equal_keys_counts() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    // {0: 1, 0: 2, ...}: the first is the one that can be told.
    answered(&mut stream, &[0xa4, 0, 1, 0, 2, 1, 9, 2, 0xa0], 1, Code::Malformed).await;
    answered(&mut stream, &[0xa4, 0, 2, 1, 9, 1, 9, 2, 0xa0], 2, Code::Malformed).await;
    answered(&mut stream, &[0xa4, 0, 3, 1, 9, 2, 0xa0, 2, 0xa0], 3, Code::Malformed).await;
    answered(&mut stream, &[0xa3, 0, 4, 2, 0xa0, 1, 9], 4, Code::Malformed).await;
    // {6: "c", 6: "d", 7: "t", 8: "n"}
    let twice = [0xa3, 0, 5, 1, 3, 2, 0xa4, 6, 0x61, b'c', 6, 0x61, b'd', 7, 0x61, b't', 8, 0x61, b'n'];
    answered(&mut stream, &twice, 5, Code::Malformed).await;
    // {"a": 1, "b": 2, "a": 3}, and one level down.
    let payload = [0xa3, 0x61, b'a', 1, 0x61, b'b', 2, 0x61, b'a', 3];
    answered(&mut stream, &put_of(6, "twice", &payload), 6, Code::InvalidPayload).await;
    let inside = [0xa1, 0x61, b'm', 0xa2, 0x61, b'a', 1, 0x61, b'a', 3];
    answered(&mut stream, &put_of(7, "twice", &inside), 7, Code::InvalidPayload).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_none_names_something() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let good = [text("faults"), text("thing"), text("nobody")];
    for (part, bytes_max) in [CLIENT_BYTES_MAX, TYPE_BYTES_MAX, NAME_BYTES_MAX].into_iter().enumerate() {
        let with = |bad: &[u8]| {
            let mut parts = good.each_ref().map(Vec::as_slice);
            parts[part] = bad;
            read_of(1, parts)
        };
        let long = |bytes: usize| text(&"x".repeat(bytes));
        answered(&mut stream, &with(&long(bytes_max)), 1, Code::NotFound).await;
        answered(&mut stream, &with(&long(bytes_max + 1)), 1, Code::InvalidId).await;
        answered(&mut stream, &with(&long(1 << 20)), 1, Code::InvalidId).await;
        answered(&mut stream, &with(&text("")), 1, Code::InvalidId).await;
        for control in ["\0", "a\u{1f}", "\u{7f}b", "a\nb"] {
            answered(&mut stream, &with(&text(control)), 1, Code::InvalidId).await;
        }
        // A byte that begins nothing, a text cut inside a character, an overlong form, half of a pair.
        for bad in [&[0x61, 0xff][..], &[0x61, 0xc3], &[0x62, 0xc0, 0x80], &[0x63, 0xed, 0xa0, 0x80]] {
            answered(&mut stream, &with(bad), 1, Code::Malformed).await;
        }
        // Bytes where a text must be.
        answered(&mut stream, &with(&[0x41, b'x']), 1, Code::Malformed).await;
    }
}

/// Holds that an action is refused and leaves the object at version 1.
async fn leaves(stream: &mut Stream, object: &ObjectId, action: Action, code: Code) {
    let error = stream.ask(act(object, action)).await.unwrap_err();
    assert_eq!(error.code, code, "{}", error.message);
    match stream.ask(Operation::ReadVersion(crate::harness::target(object))).await.unwrap() {
        ostrakon_client::Reply::Version(stands) => assert_eq!(stands.version, version(1)),
        other => panic!("{other:?}"),
    }
    works(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_action_makes_outgrows_a_payload() {
    let host = shared();
    let client = host.client().await;
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("faults", "growing");
    let empty = structured(&json!({ "n": 0, "pad": "x".repeat(1 << 16) })).as_bytes().len() - (1 << 16);
    let pad = "x".repeat(PAYLOAD_BYTES_MAX - empty);
    let full = structured(&json!({ "n": 0, "pad": pad }));
    assert_eq!(full.as_bytes().len(), PAYLOAD_BYTES_MAX);
    client.put(&object, full, Expect::Absent).await.unwrap();
    let wide = || structured(&json!({ "/n": 1_u64 << 40 }));
    leaves(&mut stream, &object, Action::Merge(structured(&json!({ "m": 1 }))), Code::PayloadTooLarge).await;
    leaves(&mut stream, &object, Action::Add(wide()), Code::PayloadTooLarge).await;
    let many: serde_json::Map<_, _> = (0..3_000).map(|n| (format!("{n:0300}"), json!(n))).collect();
    leaves(&mut stream, &object, Action::Merge(structured(&many.into())), Code::PayloadTooLarge).await;
    // What still fits is done.
    stream.ask(act(&object, Action::Add(structured(&json!({ "/n": 23 }))))).await.unwrap();
    stream.ask(act(&object, Action::Merge(structured(&json!({ "pad": null }))))).await.unwrap();
    stream.ask(act(&object, Action::Add(wide()))).await.unwrap();
    let stands = client.read(&object).await.unwrap();
    assert_eq!((stands.version, as_json(&stands.payload)), (version(4), json!({ "n": (1_u64 << 40) + 23 })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_that_is_not_finite_is_stored() {
    let host = shared();
    let client = host.client().await;
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("faults", "floats");
    client.put(&object, structured(&json!({ "x": f64::MAX, "y": f64::MIN })), Expect::Absent).await.unwrap();
    let add = |patch| Action::Add(structured(&patch));
    leaves(&mut stream, &object, add(json!({ "/x": f64::MAX })), Code::NumberOverflow).await;
    leaves(&mut stream, &object, add(json!({ "/y": f64::MIN, "/x": 1 })), Code::NumberOverflow).await;
    let infinite = |bits: u64| [&[0xa1, 0x62, b'/', b'x', 0xfb][..], &bits.to_be_bytes()].concat();
    for bits in [f64::INFINITY.to_bits(), f64::NEG_INFINITY.to_bits(), f64::NAN.to_bits()] {
        let patch = Payload::from_checked(PayloadFormat::Structured, infinite(bits).into());
        leaves(&mut stream, &object, Action::Add(patch.clone()), Code::InvalidPayload).await;
        leaves(&mut stream, &object, Action::Put(patch), Code::InvalidPayload).await;
    }
}
