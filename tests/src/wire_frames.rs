//! Frames and streams: how requests may arrive, in which order answers may go, and what ends a stream.

use std::collections::BTreeSet;

use ostrakon_client::{Action, Code, Expect, OnConflict, Operation, Perform, Reply};
use ostrakon_wire::bounds::{FRAME_BYTES_MAX, STREAMS_PER_CONNECTION_MAX};
use ostrakon_wire::{Answer, frame};
use serde_json::json;

use crate::harness::{
    Ended, Folder, Raw, Stream, as_json, object, read, serves, shared, structured, target, version, works,
};

const REQUEST_MALFORMED: u64 = Code::Malformed.number() as u64;
const FRAME_TOO_LARGE: u64 = Code::FrameTooLarge.number() as u64;

/// Sends a frame that says which request it is, but not well; the stream must go on.
pub(crate) async fn answered(stream: &mut Stream, body: &[u8], id: u64, code: Code) {
    stream.frame(|out| out.extend_from_slice(body)).await;
    let answer = stream.answer().await;
    assert_eq!(answer.id, id);
    assert_eq!(answer.outcome.unwrap_err().code, code, "{body:02x?}");
    works(stream).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_malformed_request_that_has_a_number_ends_its_stream() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    // {0: 77, 1: 3, 2: {6: "c"}}: no type, no name.
    answered(&mut stream, &[0xa3, 0, 0x18, 77, 1, 3, 2, 0xa1, 6, 0x61, b'c'], 77, Code::Malformed).await;
    // {0: 78}
    answered(&mut stream, &[0xa1, 0, 0x18, 78], 78, Code::Malformed).await;
    // {0: 79, 1: "read"}
    answered(&mut stream, &[0xa2, 0, 0x18, 79, 1, 0x64, b'r', b'e', b'a', b'd'], 79, Code::Malformed).await;
    // {0: 80, 1: 9, 2: {}, 99: 1}: a key with no meaning.
    answered(&mut stream, &[0xa4, 0, 0x18, 80, 1, 9, 2, 0xa0, 0x18, 99, 1], 80, Code::Malformed).await;
    // {0: 81, 1: 9, 2: {6: "c"}}: a field that this request has not.
    answered(&mut stream, &[0xa3, 0, 0x18, 81, 1, 9, 2, 0xa1, 6, 0x61, b'c'], 81, Code::Malformed).await;
    // {0: 82, 1: 9, 2: {}, 4: "00-x"}: a trace parent that is none.
    answered(&mut stream, &[0xa4, 0, 0x18, 82, 1, 9, 2, 0xa0, 4, 0x64, b'0', b'0', b'-', b'x'], 82, Code::Malformed)
        .await;
    // {0: 83, 1: 99, 2: {}}
    answered(&mut stream, &[0xa3, 0, 0x18, 83, 1, 0x18, 99, 2, 0xa0], 83, Code::UnknownRequest).await;
    // {0: 84, 1: 2, 2: {6: "c", 7: "", 8: "n"}}
    let empty_type = [0xa3, 0, 0x18, 84, 1, 2, 2, 0xa3, 6, 0x61, b'c', 7, 0x60, 8, 0x61, b'n'];
    answered(&mut stream, &empty_type, 84, Code::InvalidId).await;
}

/// Sends bytes that no answer can be given to: that stream ends with this code, the others go on.
pub(crate) async fn resets(bytes: &[u8], code: u64) {
    let host = shared();
    let (raw, mut first) = Raw::greet(&host).await;
    let mut bad = raw.open().await;
    bad.write(bytes).await;
    assert_eq!(bad.answer_or_end().await.unwrap_err(), Ended::Reset(code), "{bytes:02x?}");
    works(&mut first).await;
    works(&mut raw.open().await).await;
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_a_number_ends_more_than_its_stream() {
    resets(&[0, 0, 0, 1, 0xff], REQUEST_MALFORMED).await;
    // {1: 9, 2: {}}
    resets(&[0, 0, 0, 5, 0xa2, 1, 9, 2, 0xa0], REQUEST_MALFORMED).await;
    // {0: "x"}
    resets(&[0, 0, 0, 4, 0xa1, 0, 0x61, b'x'], REQUEST_MALFORMED).await;
    // A map of indefinite length.
    resets(&[0, 0, 0, 4, 0xbf, 0, 1, 0xff], REQUEST_MALFORMED).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_over_the_bound_is_waited_for() {
    resets(&[0xff, 0xff, 0xff, 0xff], FRAME_TOO_LARGE).await;
    resets(&(FRAME_BYTES_MAX as u32 + 1).to_be_bytes(), FRAME_TOO_LARGE).await;
    resets(&[0, 0, 0, 0], FRAME_TOO_LARGE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_inside_a_frame_is_answered() {
    let host = shared();
    let (raw, mut first) = Raw::greet(&host).await;
    let mut bad = raw.open().await;
    bad.write(&[0, 0, 0, 9, 0xa3]).await;
    bad.send.finish().unwrap();
    assert_eq!(bad.answer_or_end().await.unwrap_err(), Ended::Reset(REQUEST_MALFORMED));
    works(&mut first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_comes_a_byte_at_a_time_is_not_understood() {
    let host = shared();
    let (raw, mut other) = Raw::greet(&host).await;
    let mut stream = raw.open().await;
    let object = object("frames", "slow");
    let write = Operation::Perform(Perform {
        target: target(&object),
        action: Action::Put(structured(&json!({ "n": 1 }))),
        known: None,
        action_id: None,
        on_conflict: OnConflict::Reject,
    });
    for operation in [write, read(&object)] {
        let (id, bytes) = stream.request(operation);
        for byte in bytes {
            stream.write(&[byte]).await;
            // An answer on another stream shows that the byte has been sent.
            works(&mut other).await;
        }
        let answer = stream.answer().await;
        assert_eq!(answer.id, id);
        match answer.outcome.unwrap() {
            Reply::Committed(made) => assert_eq!(made.version, version(1)),
            Reply::Object(found) => {
                assert_eq!((found.version, as_json(&found.payload)), (version(1), json!({ "n": 1 })))
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_that_come_together_are_not_all_answered() {
    // More than a stream may have in work; the rest waits. On a host of its own, since what may wait is shared out.
    const REQUESTS: u64 = 1_000;
    let folder = Folder::new();
    let host = folder.serve();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let all: Vec<u8> =
        (0..REQUESTS).flat_map(|n| stream.request(read(&object("frames", format!("none-{n}")))).1).collect();
    stream.write(&all).await;
    let mut answered = BTreeSet::new();
    for _ in 0..REQUESTS {
        let Answer { id, outcome } = stream.answer().await;
        assert_eq!(outcome.unwrap_err().code, Code::NotFound);
        assert!(answered.insert(id), "{id} was answered twice");
    }
    assert_eq!((answered.first(), answered.last()), (Some(&1), Some(&REQUESTS)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quick_answer_waits_for_a_slow_one_on_its_stream() {
    const PAIRS: u64 = 50;
    let host = shared();
    let client = host.client().await;
    let known = object("frames", "in-memory");
    let payload = structured(&json!({ "n": 1 }));
    client.put(&known, payload.clone(), Expect::Any).await.unwrap();
    let (_raw, mut stream) = Raw::greet(&host).await;
    stream.ask(read(&known)).await.unwrap();
    let (mut all, mut reads, mut writes) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for n in 0..PAIRS {
        let write = Operation::Perform(Perform {
            target: target(&object("frames", format!("durable-{n}"))),
            action: Action::Put(payload.clone()),
            known: None,
            action_id: None,
            on_conflict: OnConflict::Reject,
        });
        for (operation, ids) in [(write, &mut writes), (read(&known), &mut reads)] {
            let (id, bytes) = stream.request(operation);
            all.extend(bytes);
            ids.insert(id);
        }
    }
    stream.write(&all).await;
    let mut order = Vec::new();
    for _ in 0..2 * PAIRS {
        let Answer { id, outcome } = stream.answer().await;
        match outcome.unwrap() {
            Reply::Object(_) => assert!(reads.remove(&id)),
            Reply::Committed(_) => assert!(writes.remove(&id)),
            other => panic!("{other:?}"),
        }
        order.push(id);
    }
    assert!(reads.is_empty() && writes.is_empty());
    assert!(!order.is_sorted(), "reads of what is in memory waited for writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_for_every_request_runs_out_of_streams() {
    let host = shared();
    let (raw, _first) = Raw::greet(&host).await;
    for _ in 0..STREAMS_PER_CONNECTION_MAX + 50 {
        let mut stream = raw.open().await;
        let (id, bytes) = stream.request(Operation::ShardMap(ostrakon_wire::AskMap::default()));
        stream.write(&bytes).await;
        stream.send.finish().unwrap();
        let answer = stream.answer().await;
        assert_eq!(answer.id, id);
        answer.outcome.unwrap();
        assert_eq!(stream.answer_or_end().await.unwrap_err(), Ended::Finished);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_a_time_get_each_others_answers() {
    let host = shared();
    let (raw, _first) = Raw::greet(&host).await;
    let mut streams = Vec::new();
    for n in 0..100_u64 {
        let mut stream = raw.open().await;
        let bytes = (0..n).map(|_| stream.request(Operation::Info).0).last();
        let (id, request) = stream.request(read(&object("frames", "nobody")));
        assert_eq!(id, bytes.unwrap_or(0) + 1);
        stream.write(&request).await;
        streams.push((stream, id));
    }
    for (mut stream, id) in streams {
        assert_eq!(stream.answer().await.id, id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_payload_does_not_come_back() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("frames", "large");
    let put = |bytes: usize| {
        let payload = ostrakon_wire::Payload::from_checked(ostrakon_wire::PayloadFormat::Bytes, vec![7; bytes].into());
        Operation::Perform(Perform {
            target: target(&object),
            action: Action::Put(payload),
            known: None,
            action_id: None,
            on_conflict: OnConflict::Reject,
        })
    };
    let bytes_max = ostrakon_wire::bounds::PAYLOAD_BYTES_MAX;
    stream.ask(put(bytes_max)).await.unwrap();
    let error = stream.ask(put(bytes_max + 1)).await.unwrap_err();
    assert_eq!(error.code, Code::PayloadTooLarge);
    match stream.ask(read(&object)).await.unwrap() {
        Reply::Object(read) => assert_eq!(read.payload.as_bytes().len(), bytes_max),
        other => panic!("{other:?}"),
    }
    assert!(frame::PREFIX_BYTES + bytes_max < FRAME_BYTES_MAX);
}
