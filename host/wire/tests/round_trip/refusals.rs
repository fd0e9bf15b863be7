//! What is refused, by what it is and with which code.

use bytes::Bytes;
use ostrakon_wire::{
    Answer, ClientHello, Code, Generation, LogId, Operation, PolicyChange, ReadPolicies, Request, ServerHello,
    ShardKey, Version, WireError, bounds, cbor,
};

use crate::mutations::LYING_HEADS;
use crate::written;

/// A request frame, put together by hand.
pub(crate) struct Draft {
    frame: Vec<(u64, Vec<u8>)>,
    body: Vec<(u64, Vec<u8>)>,
}

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    written(write).to_vec()
}

pub(crate) fn uint(number: u64) -> Vec<u8> {
    encoded(|out| cbor::uint(out, number))
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    encoded(|out| cbor::text(out, text))
}

fn payload_of(format: u64, content: &[u8]) -> Vec<u8> {
    encoded(|out| {
        cbor::array(out, 2);
        cbor::uint(out, format);
        cbor::bytes(out, content);
    })
}

fn pairs(pairs: &[(u64, Vec<u8>)]) -> Vec<u8> {
    encoded(|out| {
        cbor::map(out, pairs.len());
        for (key, value) in pairs {
            cbor::uint(out, *key);
            out.extend_from_slice(value);
        }
    })
}

const ID: u64 = 7;

impl Draft {
    /// A request with an object for its target.
    fn of(operation: u64) -> Self {
        Self {
            frame: vec![(0, uint(ID)), (1, uint(operation))],
            body: vec![(6, text("acme")), (7, text("volume")), (8, text("vol-1"))],
        }
    }

    /// The same with a body of its own.
    pub(crate) fn with_body(operation: u64, body: &[(u64, Vec<u8>)]) -> Self {
        Self { body: body.to_vec(), ..Self::of(operation) }
    }

    /// Sets a field of the body, in its place.
    pub(crate) fn set(mut self, key: u64, value: Vec<u8>) -> Self {
        self.body.retain(|(other, _)| *other != key);
        self.body.push((key, value));
        self.body.sort_by_key(|(key, _)| *key);
        self
    }

    pub(crate) fn without(mut self, key: u64) -> Self {
        self.body.retain(|(other, _)| *other != key);
        self
    }

    /// Appends a field to the frame.
    fn framed(mut self, key: u64, value: Vec<u8>) -> Self {
        self.frame.push((key, value));
        self
    }

    pub(crate) fn bytes(mut self) -> Bytes {
        let body = pairs(&self.body);
        if self.frame.iter().all(|(key, _)| *key != 2) {
            self.frame.insert(2, (2, body));
        }
        pairs(&self.frame).into()
    }

    fn put(format: u64, content: &[u8]) -> Self {
        Self::of(6).set(13, payload_of(format, content)).set(15, uint(1))
    }
}

#[track_caller]
pub(crate) fn refused(what: &str, frame: impl Into<Bytes>, code: Code) {
    let (id, error) = Request::read(&frame.into()).expect_err(what);
    assert_eq!((id, error.code), (Some(ID), code), "{what}: {error}");
}

#[track_caller]
fn without_id(what: &str, frame: impl Into<Bytes>) {
    let (id, error) = Request::read(&frame.into()).expect_err(what);
    assert_eq!((id, error.code), (None, Code::Malformed), "{what}: {error}");
}

#[track_caller]
pub(crate) fn taken(what: &str, frame: impl Into<Bytes>) -> Request {
    Request::read(&frame.into()).unwrap_or_else(|(_, error)| panic!("{what}: {error}"))
}

#[test]
fn the_drafts_are_sound() {
    for operation in 1..=3 {
        taken("a target", Draft::of(operation).bytes());
    }
    taken("a put", Draft::put(0, b"x").bytes());
    taken("a request without fields", Draft::with_body(8, &[]).bytes());
}

#[test]
fn a_frame_without_a_readable_id_says_so() {
    without_id("an empty map", vec![0xa0]);
    without_id("not a map", vec![0x80]);
    without_id("an indefinite map", vec![0xbf, 0x00, 0x07, 0xff]);
    without_id("an id that is text", vec![0xa1, 0x00, 0x61, b'7']);
    without_id("a negative id", vec![0xa1, 0x00, 0x26]);
    without_id("an id that is a float", vec![0xa1, 0x00, 0xf9, 0x47, 0x00]);
    without_id("an id that is cut off", vec![0xa1, 0x00, 0x18]);
    without_id("the id is not the first pair", vec![0xa2, 0x01, 0x08, 0x00, 0x07]);
    without_id("nothing", vec![]);
}

#[test]
fn a_frame_that_is_no_request_is_malformed_under_its_id() {
    let sound = Draft::of(3).bytes();
    let mut trailing = sound.to_vec();
    trailing.push(0x00);
    refused("trailing bytes", trailing, Code::Malformed);
    refused("cut off", sound.slice(..sound.len() - 1), Code::Malformed);
    let more_pairs_than_bytes = [&[0xbb, 0, 0, 0, 1, 0, 0, 0, 0, 0x00][..], &uint(ID)].concat();
    refused("a map of more pairs than bytes", more_pairs_than_bytes, Code::Malformed);
    refused("no operation", pairs(&[(0, uint(ID)), (2, vec![0xa0])]), Code::Malformed);
    refused("no body", pairs(&[(0, uint(ID)), (1, uint(9))]), Code::Malformed);
    refused("a body of null", Draft::of(9).framed(2, vec![0xf6]).bytes(), Code::Malformed);
    refused("the id twice", pairs(&[(0, uint(ID)), (0, uint(ID))]), Code::Malformed);
    let descending = pairs(&[(0, uint(ID)), (2, vec![0xa0]), (1, uint(9))]);
    refused("keys out of order", descending, Code::Malformed);
    refused("an unknown frame key", Draft::of(3).framed(46, uint(0)).bytes(), Code::Malformed);
    refused("an error in a request", Draft::of(3).framed(3, vec![0xa0]).bytes(), Code::Malformed);
    refused("a timestamp of null", Draft::of(3).framed(5, vec![0xf6]).bytes(), Code::Malformed);
    refused("a negative timestamp", Draft::of(3).framed(5, vec![0x20]).bytes(), Code::Malformed);
    for parent in [
        "",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-",
    ] {
        refused(parent, Draft::of(3).framed(4, text(parent)).bytes(), Code::Malformed);
    }
}

#[test]
fn a_body_that_is_not_its_requests_is_malformed() {
    refused("an unknown key", Draft::of(3).set(58, uint(0)).bytes(), Code::Malformed);
    refused("a key beyond 64", Draft::of(3).set(1 << 40, uint(0)).bytes(), Code::Malformed);
    refused("a field of another request", Draft::of(3).set(19, uint(1)).bytes(), Code::Malformed);
    refused("a field of an answer", Draft::of(3).set(10, uint(1)).bytes(), Code::Malformed);
    refused("fields where there are none", Draft::of(9).bytes(), Code::Malformed);
    for key in [6, 7, 8] {
        refused("a part of the id is missing", Draft::of(1).without(key).bytes(), Code::Malformed);
    }
    let twice = [(6, text("acme")), (6, text("acme"))];
    refused("a key twice", Draft::with_body(4, &twice).bytes(), Code::Malformed);
    refused("a negative key", Draft::of(9).framed(2, vec![0xa1, 0x20, 0x00]).bytes(), Code::Malformed);
    refused("a text of bytes", Draft::of(3).set(6, vec![0x41, b'a']).bytes(), Code::Malformed);
    refused("a text of no UTF-8", Draft::of(3).set(6, vec![0x61, 0xff]).bytes(), Code::Malformed);
    let indefinite = vec![0x7f, 0x61, b'a', 0xff];
    refused("an indefinite text", Draft::of(3).set(6, indefinite).bytes(), Code::Malformed);
    refused("a tagged text", Draft::of(3).set(6, vec![0xc0, 0x61, b'a']).bytes(), Code::Malformed);
    refused("a shard key of null", Draft::of(3).set(9, vec![0xf6]).bytes(), Code::Malformed);
}

#[test]
fn what_does_not_exist_is_unknown_whatever_it_carries() {
    for operation in [0, 25, 255, u64::MAX] {
        refused("a request", Draft::with_body(operation, &[]).bytes(), Code::UnknownRequest);
        let newer = Draft::of(operation).set(99, text("newer"));
        refused("a request with a newer field", newer.bytes(), Code::UnknownRequest);
    }
    for kind in [0, 6, 1 << 40] {
        refused("a kind", Draft::put(0, b"").set(15, uint(kind)).bytes(), Code::UnknownRequest);
        let newer = Draft::put(0, b"").set(15, uint(kind)).set(58, uint(1));
        refused("a kind with a newer field", newer.bytes(), Code::UnknownRequest);
    }
}

#[test]
fn ids_are_held_to_their_rules() {
    for (key, bytes_max) in [(6, bounds::CLIENT_BYTES_MAX), (7, bounds::TYPE_BYTES_MAX), (8, bounds::NAME_BYTES_MAX)] {
        let with = |part: &str| Draft::of(3).set(key, text(part)).bytes();
        taken("of the greatest length", with(&"x".repeat(bytes_max)));
        taken("beyond ASCII", with("größe \u{85}"));
        refused("empty", with(""), Code::InvalidId);
        refused("too long", with(&"x".repeat(bytes_max + 1)), Code::InvalidId);
        refused("too long in bytes", with(&"ü".repeat(bytes_max / 2 + 1)), Code::InvalidId);
        for control in ["a\0b", "a\nb", "\u{1f}", "\u{7f}"] {
            refused("a control character", with(control), Code::InvalidId);
        }
    }
}

#[test]
fn payloads_are_held_to_their_rules() {
    let largest = vec![0; bounds::PAYLOAD_BYTES_MAX];
    let too_large = vec![0; bounds::PAYLOAD_BYTES_MAX + 1];
    taken("the largest payload", Draft::put(0, &largest).bytes());
    refused("a payload too large", Draft::put(0, &too_large).bytes(), Code::PayloadTooLarge);
    refused("the same, structured", Draft::put(1, &too_large).bytes(), Code::PayloadTooLarge);
    refused("an unknown format", Draft::put(2, b"").bytes(), Code::Malformed);
    let with = |payload: &[u8]| Draft::put(0, b"").set(13, payload.to_vec()).bytes();
    refused("an array of one", with(&[0x81, 0x00]), Code::Malformed);
    refused("an array of three", with(&[0x83, 0x00, 0x40, 0x40]), Code::Malformed);
    refused("a text for content", with(&[0x82, 0x00, 0x60]), Code::Malformed);
    refused("bytes alone", with(&[0x40]), Code::Malformed);
    refused("an indefinite array", with(&[0x9f, 0x00, 0x40, 0xff]), Code::Malformed);
    for (what, content) in [
        ("empty content", &[][..]),
        ("not a map", &[0x01]),
        ("trailing bytes", &[0xa0, 0x00]),
        ("cut off", &[0xa1, 0x61, b'a']),
        ("a key that is no text", &[0xa1, 0x01, 0x01]),
        ("a key twice", &[0xa2, 0x61, b'a', 0x01, 0x61, b'a', 0x02]),
        ("an indefinite map", &[0xbf, 0xff]),
        ("an indefinite text", &[0xa1, 0x61, b'a', 0x7f, 0xff]),
        ("an integer above the range", &[0xa1, 0x61, b'a', 0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("an integer below the range", &[0xa1, 0x61, b'a', 0x3b, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ("an infinite float", &[0xa1, 0x61, b'a', 0xfa, 0x7f, 0x80, 0, 0]),
        ("no number", &[0xa1, 0x61, b'a', 0xfb, 0x7f, 0xf8, 0, 0, 0, 0, 0, 0]),
        ("a half float", &[0xa1, 0x61, b'a', 0xf9, 0x3c, 0x00]),
        ("a tag", &[0xa1, 0x61, b'a', 0xc1, 0x00]),
        ("undefined", &[0xa1, 0x61, b'a', 0xf7]),
        ("a simple value", &[0xa1, 0x61, b'a', 0xe0]),
        ("a text of no UTF-8", &[0xa1, 0x61, b'a', 0x61, 0xff]),
    ] {
        refused(what, Draft::put(1, content).bytes(), Code::InvalidPayload);
    }
    let unsorted = [0xa2, 0x61, b'b', 0x18, 0x01, 0x61, b'a', 0xfa, 0x3f, 0x80, 0, 0];
    taken("unsorted keys, long integers, 32-bit floats", Draft::put(1, &unsorted).bytes());
}

#[test]
fn nesting_is_bounded_in_payloads_and_in_frames() {
    let nested = |levels: usize| [&[0xa1, 0x61, b'a'].repeat(levels - 1)[..], &[0xa0]].concat();
    taken("64 levels", Draft::put(1, &nested(bounds::PAYLOAD_DEPTH_MAX)).bytes());
    let deeper = nested(bounds::PAYLOAD_DEPTH_MAX + 1);
    refused("65 levels", Draft::put(1, &deeper).bytes(), Code::InvalidPayload);
    refused("300,000 levels", Draft::put(1, &nested(300_000)).bytes(), Code::InvalidPayload);
    for head in [0x81, 0xa1, 0xc1, 0x9f] {
        let deep = vec![head; 500_000];
        refused("a deep body", Draft::of(9).framed(2, deep.clone()).bytes(), Code::Malformed);
        refused("a deep unknown field", Draft::of(3).set(58, deep).bytes(), Code::Malformed);
    }
    let arrays = |levels: usize| [vec![0x81; levels - 1], vec![0x80]].concat();
    let answer = |levels| pairs(&[(0, uint(ID)), (3, pairs(&[(34, uint(1))])), (46, arrays(levels))]);
    assert!(Answer::read(&answer(bounds::FRAME_DEPTH_MAX).into()).is_ok());
    let error = Answer::read(&answer(bounds::FRAME_DEPTH_MAX + 1).into()).unwrap_err();
    assert_eq!(error.code, Code::Malformed);
}

#[test]
fn a_length_that_lies_is_refused_before_anything_is_allocated_for_it() {
    for head in LYING_HEADS {
        without_id("a frame", head.to_vec());
        refused("a body", Draft::of(9).framed(2, head.to_vec()).bytes(), Code::Malformed);
        refused("a client id", Draft::of(3).set(6, head.to_vec()).bytes(), Code::Malformed);
        refused("a payload", Draft::put(0, b"").set(13, head.to_vec()).bytes(), Code::Malformed);
        refused("a payload's content", Draft::put(1, &head).bytes(), Code::InvalidPayload);
        let inside = [&[0xa1, 0x61, b'a'][..], &head].concat();
        refused("inside a payload", Draft::put(1, &inside).bytes(), Code::InvalidPayload);
    }
}

#[test]
fn writes_are_held_to_their_fields() {
    let write = || Draft::of(5).set(11, uint(1)).set(13, payload_of(0, b"x"));
    taken("a conditional write", write().bytes());
    // The host answers invalid-version, once it knows which object.
    let zero = taken("new version 0", write().set(11, uint(0)).bytes());
    assert!(matches!(&zero.operation, Operation::ConditionalWrite(write) if write.new_version == Version::ABSENT));
    refused("no new version", write().without(11).bytes(), Code::Malformed);
    refused("a negative new version", write().set(11, vec![0x20]).bytes(), Code::Malformed);
    refused("no payload", write().without(13).bytes(), Code::Malformed);
    refused("a known version", write().set(12, uint(1)).bytes(), Code::Malformed);
    refused("an action id of 15 bytes", write().set(14, vec![0x4f; 16]).bytes(), Code::Malformed);
    refused("an action id of 17 bytes", write().set(14, vec![0x51; 18]).bytes(), Code::Malformed);
    taken("an action id of 16 bytes", write().set(14, vec![0x50; 17]).bytes());
}

#[test]
fn actions_are_held_to_the_fields_of_their_kind() {
    let action = |kind: u64| Draft::of(6).set(15, uint(kind));
    let map = payload_of(1, &[0xa0]);
    for operation in [6, 7] {
        refused("no kind", Draft::of(operation).bytes(), Code::Malformed);
    }
    for kind in [1, 2, 3] {
        refused("no payload", action(kind).bytes(), Code::Malformed);
        taken("a structured payload", action(kind).set(13, map.clone()).bytes());
        let named = action(kind).set(13, map.clone()).set(16, text("x"));
        refused("a custom kind", named.bytes(), Code::Malformed);
    }
    for kind in [2, 3] {
        refused("bytes", action(kind).set(13, payload_of(0, &[0xa0])).bytes(), Code::InvalidPayload);
    }
    taken("a delete", action(4).bytes());
    refused("a delete with a payload", action(4).set(13, map.clone()).bytes(), Code::Malformed);
    let custom = |kind: &str| action(5).set(13, map.clone()).set(16, text(kind)).bytes();
    taken("a custom kind of 128 bytes", custom(&"k".repeat(bounds::CUSTOM_KIND_BYTES_MAX)));
    refused("a custom kind of 129", custom(&"k".repeat(bounds::CUSTOM_KIND_BYTES_MAX + 1)), Code::Malformed);
    refused("an empty custom kind", custom(""), Code::Malformed);
    refused("no custom kind", action(5).set(13, map.clone()).bytes(), Code::Malformed);
    for choice in [1, 2, 3] {
        taken("a choice", action(4).set(17, uint(choice)).bytes());
    }
    for choice in [0, 4] {
        refused("no such choice", action(4).set(17, uint(choice)).bytes(), Code::Malformed);
    }
}

#[test]
fn lists_are_held_to_their_fields() {
    let list = || Draft::with_body(4, &[(6, text("acme"))]);
    let request = taken("a client", list().bytes());
    assert!(matches!(&request.operation, Operation::List(list) if list.limit == bounds::PAGE_ITEMS_DEFAULT));
    refused("no client", Draft::with_body(4, &[]).bytes(), Code::Malformed);
    refused("a prefix without a type", list().set(18, text("a")).bytes(), Code::Malformed);
    let typed = || list().set(7, text("volume"));
    taken("an empty prefix", typed().set(18, text("")).bytes());
    refused("a control character", typed().set(18, text("a\0")).bytes(), Code::InvalidId);
    refused("a long prefix", typed().set(18, text(&"x".repeat(1025))).bytes(), Code::InvalidId);
    refused("an empty type", list().set(7, text("")).bytes(), Code::InvalidId);
    for limit in [1, bounds::PAGE_ITEMS_MAX as u64] {
        taken("a limit", list().set(19, uint(limit)).bytes());
    }
    for limit in [0, bounds::PAGE_ITEMS_MAX as u64 + 1, u64::MAX] {
        refused("a limit out of bounds", list().set(19, uint(limit)).bytes(), Code::Malformed);
    }
    let token = |bytes: usize| list().set(20, encoded(|out| cbor::bytes(out, &vec![1; bytes]))).bytes();
    taken("the longest token", token(bounds::TOKEN_BYTES_MAX));
    refused("a token too long", token(bounds::TOKEN_BYTES_MAX + 1), Code::InvalidToken);
    refused("a number for a truth value", list().set(21, uint(1)).bytes(), Code::Malformed);
    taken("false", list().set(21, vec![0xf4]).bytes());
}

#[test]
fn an_integer_is_taken_in_every_width() {
    let widths: [&[u8]; 5] =
        [&[0x07], &[0x18, 0x07], &[0x19, 0, 0x07], &[0x1a, 0, 0, 0, 0x07], &[0x1b, 0, 0, 0, 0, 0, 0, 0, 0x07]];
    for wide in widths {
        let request = taken("a shard key", Draft::of(3).set(9, wide.to_vec()).bytes());
        assert!(matches!(&request.operation, Operation::Read(target) if target.shard_key == Some(ShardKey::new(7))));
        let error = pairs(&[(34, uint(19)), (38, wide.to_vec())]);
        let answer = Answer::read(&pairs(&[(0, wide.to_vec()), (3, error)]).into()).unwrap();
        assert_eq!((answer.id, answer.outcome.unwrap_err().retry_after_ms), (7, Some(7)));
    }
    let beyond = pairs(&[(34, uint(19)), (38, uint(1 << 32))]);
    let error = Answer::read(&pairs(&[(0, uint(ID)), (3, beyond)]).into()).unwrap_err();
    assert_eq!(error.code, Code::Malformed);
}

#[test]
fn a_policy_kind_that_a_newer_host_names_is_passed_over() {
    let position = encoded(|out| cbor::bytes(out, &[0; 20]));
    let generations = pairs(&[(1, uint(3)), (4, uint(9))]);
    let decided = pairs(&[(28, uint(1)), (29, position), (30, generations)]);
    let body = pairs(&[(9, uint(5)), (23, vec![0xf5]), (24, decided)]);
    let answer = Answer::read(&pairs(&[(0, uint(ID)), (1, uint(1)), (2, body)]).into()).unwrap();
    let reply = answer.outcome.unwrap();
    assert_eq!(reply.decided().generations.shard_key, Some(Generation::new(3)));
}

#[test]
fn an_error_message_is_cut_at_a_character_inside_the_bound() {
    let error = WireError::new(Code::Malformed, "ü".repeat(bounds::TEXT_BYTES_MAX));
    let answer = Answer { id: ID, outcome: Err(error) };
    let read = Answer::read(&written(|out| answer.write(out))).unwrap();
    assert_eq!(read.outcome.unwrap_err().message, "ü".repeat(bounds::TEXT_BYTES_MAX / 2));
}

#[test]
fn hellos_are_held_to_their_fields() {
    let read = |fields: &[(u64, Vec<u8>)]| ClientHello::read(&pairs(fields)).map_err(|error| error.code);
    assert!(read(&[(40, uint(1))]).is_ok(), "the agent is optional");
    assert!(read(&[(40, uint(9)), (46, vec![0x80])]).is_ok(), "unknown keys are passed over");
    assert_eq!(read(&[(41, text("x"))]), Err(Code::Malformed), "no protocol");
    let agent = |bytes| read(&[(40, uint(1)), (41, text(&"x".repeat(bytes)))]);
    assert!(agent(bounds::TEXT_BYTES_MAX).is_ok());
    assert_eq!(agent(bounds::TEXT_BYTES_MAX + 1), Err(Code::Malformed));
    assert_eq!(
        ClientHello::read(&[0xa1, 0x18, 0x28, 0x01, 0x00]).map_err(|error| error.code),
        Err(Code::Malformed),
        "trailing bytes"
    );
    let refusal = Answer { id: 0, outcome: Err(WireError::new(Code::UnsupportedProtocol, "")) };
    assert_eq!(Answer::read(&written(|out| refusal.write(out))), Ok(refusal));
    let hello =
        ServerHello { protocol: 1, agent: String::new(), log: LogId::default(), frame_bytes_max: 1, in_flight_max: 1 };
    assert!(Answer::read(&written(|out| hello.write(out))).is_err(), "a hello is told from an answer");
}

fn array(items: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::new();
    ostrakon_wire::cbor::array(&mut all, items.len());
    items.iter().for_each(|item| all.extend_from_slice(item));
    all
}

/// An object, and fields beside it.
fn named(name: &str, fields: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let object = [(6, text("c")), (7, text("t")), (8, text(name))];
    pairs(&[&object[..], fields].concat())
}

#[test]
fn transactions_are_held_to_their_fields() {
    let delete = |name: &str| named(name, &[(15, uint(4))]);
    let of = |fields: &[(u64, Vec<u8>)]| Draft::with_body(14, fields).bytes();
    let with_condition =
        |fields: &[(u64, Vec<u8>)]| of(&[(58, array(&[named("n", fields)])), (59, array(&[delete("n")]))]);
    taken("one action", of(&[(59, array(&[delete("n")]))]));
    taken("a condition on a version", with_condition(&[(12, uint(0))]));
    taken("a condition on a value", with_condition(&[(60, text("")), (61, vec![0x41, 0xf6])]));
    refused("no actions", of(&[]), Code::Malformed);
    refused("an empty array of them", of(&[(59, array(&[]))]), Code::Malformed);
    refused("two on one object", of(&[(59, array(&[delete("n"), delete("n")]))]), Code::Malformed);
    let many: Vec<_> = (0..=bounds::TRANSACTION_ACTIONS_MAX).map(|n| delete(&n.to_string())).collect();
    refused("too many", of(&[(59, array(&many))]), Code::Malformed);
    refused("an action without an object", of(&[(59, array(&[pairs(&[(15, uint(4))])]))]), Code::Malformed);
    refused(
        "an action that is conditional by itself",
        of(&[(59, array(&[named("n", &[(12, uint(1)), (15, uint(4))])]))]),
        Code::Malformed,
    );
    refused("an unknown kind", of(&[(59, array(&[named("n", &[(15, uint(9))])]))]), Code::UnknownRequest);
    let custom = named("n", &[(13, payload_of(0, b"")), (15, uint(5)), (16, text("k"))]);
    refused("a custom action", of(&[(59, array(&[custom]))]), Code::Unsupported);
    refused("a condition without a demand", with_condition(&[]), Code::Malformed);
    refused("one with two", with_condition(&[(12, uint(1)), (60, text("")), (61, vec![0x41, 0xf6])]), Code::Malformed);
    refused("a pointer without a value", with_condition(&[(60, text("/a"))]), Code::Malformed);
    refused("a value without a pointer", with_condition(&[(61, vec![0x41, 0xf6])]), Code::Malformed);
    refused("a value that is none", with_condition(&[(60, text("/a")), (61, vec![0x41, 0xff])]), Code::InvalidPayload);
    refused(
        "a value and more",
        with_condition(&[(60, text("/a")), (61, vec![0x42, 0xf6, 0xf6])]),
        Code::InvalidPayload,
    );
    refused("a pointer to nowhere", with_condition(&[(60, text("a")), (61, vec![0x41, 0xf6])]), Code::InvalidPointer);
    refused("an unknown demand", with_condition(&[(12, uint(1)), (99, uint(1))]), Code::Malformed);
    refused("a choice to detach", of(&[(17, uint(3)), (59, array(&[delete("n")]))]), Code::Malformed);
    for head in LYING_HEADS {
        refused("conditions that lie", of(&[(58, head.to_vec())]), Code::Malformed);
        refused("actions that lie", of(&[(59, head.to_vec())]), Code::Malformed);
    }
}

#[test]
fn looks_back_and_ahead_are_held_to_their_fields() {
    let place = || [vec![0x54], vec![1; 20]].concat();
    let object = || vec![(6, text("c")), (7, text("t")), (8, text("n"))];
    let of = |operation, more: &[(u64, Vec<u8>)]| Draft::with_body(operation, &[&object()[..], more].concat()).bytes();
    taken("history", of(15, &[]));
    refused("a page of none", of(15, &[(19, uint(0))]), Code::Malformed);
    refused("a history at a place", of(15, &[(29, place())]), Code::Malformed);
    taken("a version", of(16, &[(10, uint(3))]));
    taken("a place", of(16, &[(29, place())]));
    refused("neither", of(16, &[]), Code::Malformed);
    refused("both", of(16, &[(10, uint(3)), (29, place())]), Code::Malformed);
    refused("a place of 19 bytes", of(16, &[(29, [vec![0x53], vec![1; 19]].concat())]), Code::Malformed);
    let set = |fields: &[(u64, Vec<u8>)]| Draft::with_body(18, fields).bytes();
    taken("a rule", set(&[(64, uint(1)), (65, uint(1_000))]));
    taken("no rule of its own", set(&[(7, text("t"))]));
    refused("no rule for anything", set(&[]), Code::Malformed);
    refused("half a rule", set(&[(64, uint(1))]), Code::Malformed);
    refused("no versions", set(&[(64, uint(0)), (65, uint(1_000))]), Code::Malformed);
    refused("too many", set(&[(64, uint(1_000_001)), (65, uint(1_000))]), Code::Malformed);
    refused("no time", set(&[(64, uint(1)), (65, uint(999))]), Code::Malformed);
    refused("an empty type", set(&[(7, text("")), (64, uint(1)), (65, uint(1_000))]), Code::InvalidId);
    let watch = |fields: &[(u64, Vec<u8>)]| Draft::with_body(19, fields).bytes();
    taken("a watch", watch(&[(6, text("c"))]));
    refused("of nobody", watch(&[]), Code::Malformed);
    refused("of a prefix without a type", watch(&[(6, text("c")), (18, text("n"))]), Code::Malformed);
    refused("bookmarks too often", watch(&[(6, text("c")), (70, uint(99))]), Code::Malformed);
    refused("too seldom", watch(&[(6, text("c")), (70, uint(60_001))]), Code::Malformed);
    refused("fields where there are none", Draft::with_body(17, &[(6, text("c"))]).bytes(), Code::Malformed);
}

fn byte_string(bytes: &[u8]) -> Vec<u8> {
    encoded(|out| cbor::bytes(out, bytes))
}

#[test]
fn parts_of_components_are_held_to_their_fields() {
    let fields = [(72, byte_string(&[7; 32])), (73, uint(8)), (74, uint(4)), (75, byte_string(b"part"))];
    let upload = || Draft::with_body(20, &fields);
    taken("a part", upload().bytes());
    taken("an empty part", upload().set(75, byte_string(b"")).bytes());
    for key in 72..=75 {
        refused("a field is missing", upload().without(key).bytes(), Code::Malformed);
    }
    for bytes in [0, 31, 33] {
        refused("no SHA-256", upload().set(72, byte_string(&vec![7; bytes])).bytes(), Code::Malformed);
    }
    let part = |bytes: usize| upload().set(75, byte_string(&vec![0; bytes])).bytes();
    taken("the largest part", part(bounds::COMPONENT_PART_BYTES_MAX));
    refused("a part too large", part(bounds::COMPONENT_PART_BYTES_MAX + 1), Code::Malformed);
    refused("a part of text", upload().set(75, text("part")).bytes(), Code::Malformed);
    refused("a negative offset", upload().set(74, vec![0x20]).bytes(), Code::Malformed);
    for (key, value) in [(6, text("acme")), (76, uint(8)), (77, uint(1)), (79, text("{}")), (99, uint(0))] {
        refused("a field of something else", upload().set(key, value).bytes(), Code::Malformed);
    }
    for head in LYING_HEADS {
        refused("a digest that lies", upload().set(72, head.to_vec()).bytes(), Code::Malformed);
        refused("a part that lies", upload().set(75, head.to_vec()).bytes(), Code::Malformed);
    }
}

/// A request about a slot of one's own: a change of it where the operation is 21, a look at it where it is 22.
fn of_slot(operation: u64, number: u64) -> Draft {
    let number_key = if operation == 21 { 78 } else { 83 };
    Draft::with_body(operation, &[(6, text("acme")), (7, text("volume")), (77, uint(1))]).set(number_key, uint(number))
}

#[test]
fn slots_are_held_to_their_rules() {
    let (changes, looks) = ([5, 6].map(|number| (21, number)), [2, 3, 4].map(|number| (22, number)));
    for (operation, number) in changes.into_iter().chain(looks) {
        let slot = || of_slot(operation, number);
        taken("a client and a type", slot().bytes());
        taken("a client", slot().without(7).bytes());
        taken("a type", slot().without(6).bytes());
        taken("a default", slot().without(6).without(7).bytes());
        refused("no kind", slot().without(77).bytes(), Code::Malformed);
        for kind in [1, 2, 3] {
            taken("a kind", slot().set(77, uint(kind)).bytes());
        }
        for kind in [0, 4, 1 << 40] {
            refused("no such kind", slot().set(77, uint(kind)).bytes(), Code::Malformed);
        }
        for (key, bytes_max) in [(6, bounds::CLIENT_BYTES_MAX), (7, bounds::TYPE_BYTES_MAX)] {
            taken("of the greatest length", slot().set(key, text(&"x".repeat(bytes_max))).bytes());
            for part in ["", "a\nb", &"x".repeat(bytes_max + 1)] {
                refused("an ill-formed id", slot().set(key, text(part)).bytes(), Code::InvalidId);
            }
        }
        refused("an object", slot().set(8, text("vol-1")).bytes(), Code::Malformed);
        refused("an unknown field", slot().set(99, uint(0)).bytes(), Code::Malformed);
    }
}

#[test]
fn changes_of_slots_are_held_to_the_fields_of_their_number() {
    let change = |number| of_slot(21, number);
    let own = |key| match key {
        72 => byte_string(&[7; 32]),
        79 => text("{}"),
        _ => uint(9),
    };
    let all = [72, 79, 80, 81, 82];
    // Those that a change must have, and those that it may have beside them.
    let fields: [(u64, &[u64], &[u64]); 6] = [
        (1, &[], &[72, 79, 81]),
        (2, &[80], &[72, 79, 81]),
        (3, &[80], &[72, 79, 81]),
        (4, &[82], &[]),
        (5, &[], &[]),
        (6, &[], &[]),
    ];
    for (number, required, optional) in fields {
        let least = || required.iter().fold(change(number), |draft, key| draft.set(*key, own(*key)));
        taken("what it must have", least().bytes());
        let most = optional.iter().fold(least(), |draft, key| draft.set(*key, own(*key)));
        taken("what it may have", most.bytes());
        for key in required {
            refused("a field is missing", least().without(*key).bytes(), Code::Malformed);
        }
        for key in all.into_iter().filter(|key| !required.contains(key) && !optional.contains(key)) {
            refused("a field of another change", least().set(key, own(key)).bytes(), Code::Malformed);
        }
        for key in [13, 19, 73, 75, 83] {
            refused("a field of another request", least().set(key, uint(1)).bytes(), Code::Malformed);
        }
        refused("no number", least().without(78).bytes(), Code::Malformed);
    }
    for number in [0, 7, 1 << 40] {
        refused("no such change", change(number).bytes(), Code::Malformed);
    }
    let alone = taken("the least of all", Draft::with_body(21, &[(77, uint(3)), (78, uint(1))]).bytes());
    let Operation::ChangePolicy(alone) = alone.operation else { panic!("it is a change") };
    assert!(alone.slot.is_default());
    assert!(matches!(alone.change, PolicyChange::Push { digest: None, settings: None, slow_us: None, .. }));
}

#[test]
fn what_is_pushed_is_held_to_its_bounds() {
    for number in [2, 3] {
        let share = |ppm| of_slot(21, number).set(80, uint(ppm)).bytes();
        taken("the least share", share(1));
        taken("the whole", share(bounds::SHARE_PPM_MAX.into()));
        for ppm in [0, u64::from(bounds::SHARE_PPM_MAX) + 1, 1 << 32] {
            refused("a share out of bounds", share(ppm), Code::Malformed);
        }
    }
    let with = |key, value: Vec<u8>| of_slot(21, 1).set(key, value).bytes();
    taken("the longest settings", with(79, text(&" ".repeat(bounds::POLICY_SETTINGS_BYTES_MAX))));
    let too_long = text(&" ".repeat(bounds::POLICY_SETTINGS_BYTES_MAX + 1));
    refused("settings too long", with(79, too_long), Code::Malformed);
    refused("settings of bytes", with(79, byte_string(b"{}")), Code::Malformed);
    refused("a digest of 31 bytes", with(72, byte_string(&[7; 31])), Code::Malformed);
    taken("the slowest of all", with(81, uint(u32::MAX.into())));
    refused("slower than that", with(81, uint(1 << 32)), Code::Malformed);
}

#[test]
fn looks_at_policies_are_held_to_their_fields() {
    let look = |number| Draft::with_body(22, &[(83, uint(number))]);
    refused("no number", Draft::with_body(22, &[]).bytes(), Code::Malformed);
    for number in [0, 5, 1 << 40] {
        refused("no such look", look(number).bytes(), Code::Malformed);
    }
    taken("a list", look(1).bytes());
    for (key, value) in [(6, text("acme")), (7, text("volume")), (19, uint(1)), (77, uint(1))] {
        refused("a list of something", look(1).set(key, value).bytes(), Code::Malformed);
    }
    for number in [2, 4] {
        refused("no slot", look(number).bytes(), Code::Malformed);
        refused("a limit", of_slot(22, number).set(19, uint(1)).bytes(), Code::Malformed);
    }
    let all = taken("a history of everything", look(3).bytes()).operation;
    let limit = bounds::POLICY_EVENTS_DEFAULT;
    assert_eq!(all, Operation::ReadPolicies(ReadPolicies::History { slot: None, limit }));
    for (key, value) in [(6, text("acme")), (7, text("volume"))] {
        refused("half a slot", look(3).set(key, value).bytes(), Code::Malformed);
    }
    for limit in [1, bounds::POLICY_EVENTS_MAX as u64] {
        taken("a limit", look(3).set(19, uint(limit)).bytes());
    }
    for limit in [0, bounds::POLICY_EVENTS_MAX as u64 + 1, u64::MAX] {
        refused("a limit out of bounds", look(3).set(19, uint(limit)).bytes(), Code::Malformed);
    }
    for number in [1, 2, 3, 4] {
        refused("a change", of_slot(22, number).set(78, uint(1)).bytes(), Code::Malformed);
    }
}
