//! What requests are answered: versions, keys, conflicts, and what this host does not do.

use ostrakon_client::{
    Action, ActionId, AskTicket, Client, Code, ConditionalWrite, Expect, ListEscalations, ObjectId, OnConflict,
    Operation, Perform, Reply, Revision, SettleEscalation, SettleHow, ShardKey, Target, TimestampMs, TraceParent,
    Version, WireError,
};
use ostrakon_wire::Payload;
use ostrakon_wire::bounds::TICKET_WAIT_MS_MAX;
use serde_json::json;

use crate::harness::{Raw, Stream, as_json, object, read, shared, structured, target, version};

fn payload(n: u64) -> Payload {
    structured(&json!({ "n": n }))
}

fn write(object: &ObjectId, new_version: u64) -> Operation {
    Operation::ConditionalWrite(ConditionalWrite {
        target: target(object),
        new_version: version(new_version),
        payload: payload(new_version.min(9)),
        action_id: None,
    })
}

fn perform(object: &ObjectId, action: Action, on_conflict: OnConflict) -> Perform {
    Perform { target: target(object), action, known: None, action_id: None, on_conflict }
}

async fn refused(stream: &mut Stream, operation: Operation, code: Code) -> WireError {
    let error = stream.ask(operation).await.unwrap_err();
    assert_eq!(error.code, code, "{}", error.message);
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_of_the_wrong_version_goes_ahead() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("answers", "versions");
    refused(&mut stream, write(&object, 0), Code::InvalidVersion).await;
    let gap = refused(&mut stream, write(&object, 2), Code::VersionGap).await;
    assert_eq!(gap.stored, Some(version(0)));
    for next in 1..=3 {
        match stream.ask(write(&object, next)).await.unwrap() {
            Reply::Committed(done) => assert_eq!(done.version, version(next)),
            other => panic!("{other:?}"),
        }
    }
    let gap = refused(&mut stream, write(&object, 5), Code::VersionGap).await;
    assert_eq!(gap.stored, Some(version(3)));
    for late in 1..=3 {
        let conflict = refused(&mut stream, write(&object, late), Code::Conflict).await;
        let winner = conflict.winner.unwrap();
        assert_eq!(winner.version, version(3));
        assert_eq!(as_json(&winner.payload.unwrap()), json!({ "n": 3 }));
        assert!(conflict.decided.unwrap().shard.is_some());
    }
    refused(&mut stream, write(&object, 0), Code::InvalidVersion).await;
    refused(&mut stream, write(&object, u64::MAX), Code::VersionGap).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_object_counts_from_the_beginning_again() {
    let host = shared();
    let client = host.client().await;
    let object = object("answers", "deleted");
    client.put(&object, payload(1), Expect::Absent).await.unwrap();
    let deleted = client.delete(&object, Expect::Version(version(1))).await.unwrap();
    assert_eq!(deleted.version, version(2));
    let gone = client.read(&object).await.unwrap_err();
    let ostrakon_client::Error::Refused(gone) = gone else { panic!("{gone}") };
    assert_eq!((gone.code, gone.stored), (Code::NotFound, Some(version(2))));
    let again = client.delete(&object, Expect::Any).await.unwrap_err();
    assert_eq!(again.code(), Some(Code::NotFound));
    let lost = client.write(&object, version(1), payload(9)).await.unwrap_err();
    let winner = lost.winner().unwrap();
    assert_eq!((winner.version, &winner.payload), (version(2), &None));
    let back = client.put(&object, payload(3), Expect::Absent).await.unwrap();
    assert_eq!(back.version, version(3));
    let taken = client.put(&object, payload(4), Expect::Absent).await.unwrap_err();
    assert_eq!((taken.code(), taken.winner().unwrap().version), (Some(Code::Conflict), version(3)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_shard_key_goes_unnoticed() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("answers", "keyed");
    let keyed = |key: u64| Target { object: object.clone(), shard_key: Some(ShardKey::new(key)) };
    let put = |key: u64| {
        Operation::Perform(Perform {
            target: keyed(key),
            ..perform(&object, Action::Put(payload(1)), OnConflict::Reject)
        })
    };
    match stream.ask(put(0x1234)).await.unwrap() {
        Reply::Committed(done) => {
            assert_eq!(done.shard_key.get(), 0x1234, "a new object is recorded under the key it comes with");
            assert_eq!(done.decided.generations.shard_key, None, "no policy was asked");
        }
        other => panic!("{other:?}"),
    }
    for operation in [
        put(0x4321),
        Operation::Read(keyed(0x4321)),
        Operation::ReadVersion(keyed(0x4321)),
        Operation::GetShardKey(keyed(0x4321)),
    ] {
        let wrong = refused(&mut stream, operation, Code::WrongShardKey).await;
        assert_eq!(wrong.shard_key, Some(ShardKey::new(0x1234)));
        assert!(wrong.decided.unwrap().epoch.get() > 0);
    }
    stream.ask(put(0x1234)).await.unwrap();
    match stream.ask(Operation::Read(keyed(0x1234))).await.unwrap() {
        Reply::Object(read) => assert_eq!((read.version, read.shard_key.get()), (version(2), 0x1234)),
        other => panic!("{other:?}"),
    }
    match stream.ask(Operation::GetShardKey(target(&object))).await.unwrap() {
        Reply::ShardKey(placed) => assert_eq!((placed.shard_key.get(), placed.recorded), (0x1234, true)),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_names_a_shard_that_the_map_does_not_have_there() {
    let host = shared();
    let client = host.client().await;
    let map = client.shard_map().await.unwrap();
    assert!(map.shards.len() >= 16);
    assert_eq!(map.shards[0].start.get(), 0);
    assert_eq!(map.shards.last().unwrap().end.get(), u64::MAX);
    for pair in map.shards.windows(2) {
        assert_eq!(pair[0].end.get() + 1, pair[1].start.get(), "a hole or an overlap");
    }
    for n in 0..20 {
        let object = ObjectId::new(&format!("answers-{n}"), "thing", "shard").unwrap();
        let done = client.put(&object, payload(n), Expect::Any).await.unwrap();
        let range = map.shards.iter().find(|range| range.start <= done.shard_key && done.shard_key <= range.end);
        assert_eq!(done.decided.shard, Some(range.unwrap().shard));
        assert_eq!(done.decided.epoch, map.decided.epoch);
        assert_eq!(done.decided.position.revision, done.revision);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reconciliation_cannot_do_is_answered_as_if_it_were_done() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let object = object("answers", "reconciled");
    let detached = perform(&object, Action::Put(payload(1)), OnConflict::Detach);
    refused(&mut stream, Operation::Perform(detached), Code::Malformed).await;
    let custom = Action::Custom { kind: "attach".into(), body: payload(1) };
    let custom = Operation::Perform(perform(&object, custom, OnConflict::Reject));
    refused(&mut stream, custom, Code::Rejected).await;
    let ask = |wait_ms| {
        let action_id = ActionId::from_bits(5);
        Operation::AskTicket(AskTicket { client: "answers".into(), action_id, wait_ms })
    };
    refused(&mut stream, ask(1), Code::UnknownTicket).await;
    refused(&mut stream, ask(TICKET_WAIT_MS_MAX + 1), Code::Malformed).await;
    let token = Some(bytes::Bytes::from_static(b"mine"));
    let list = ListEscalations { client: None, limit: 5, token };
    refused(&mut stream, Operation::ListEscalations(list), Code::InvalidToken).await;
    refused(&mut stream, Operation::ReadEscalation(Revision::new(3)), Code::UnknownEscalation).await;
    let settle = |how, payload, reason: &str| {
        let (escalation, by) = (Revision::new(3), "ann".to_owned());
        Operation::SettleEscalation(SettleEscalation { escalation, how, payload, by, reason: reason.into() })
    };
    refused(&mut stream, settle(SettleHow::Discard, None, "why"), Code::UnknownEscalation).await;
    refused(&mut stream, settle(SettleHow::Discard, None, ""), Code::Malformed).await;
    refused(&mut stream, settle(SettleHow::Retry, Some(payload(1)), "why"), Code::Malformed).await;
    refused(&mut stream, settle(SettleHow::Resolve, None, "why"), Code::Malformed).await;
    refused(&mut stream, read(&object), Code::NotFound).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_and_the_trace_of_a_request_are_dropped() {
    let host = shared();
    let client = host.client().await;
    let object = object("answers", "timed");
    let parent: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
    let timed = client.with_trace_parent(parent).with_timestamp(TimestampMs::new(1_000_000_000_123));
    timed.put(&object, payload(1), Expect::Absent).await.unwrap();
    let read = client.read(&object).await.unwrap();
    assert_eq!(read.timestamp.get(), 1_000_000_000_123);
    client.put(&object, payload(2), Expect::Any).await.unwrap();
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64;
    let read = client.read(&object).await.unwrap();
    assert!(now.abs_diff(read.timestamp.get()) < 60_000, "the host's clock counts: {read:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_id_has_two_effects() {
    let host = shared();
    let client = host.client().await;
    let object = object("answers", "once");
    client.put(&object, payload(0), Expect::Absent).await.unwrap();
    let add = Perform {
        action_id: Some(Client::new_action_id()),
        ..perform(&object, Action::Add(structured(&json!({ "/n": 5 }))), OnConflict::Reject)
    };
    let (first, second) = tokio::join!(client.perform(add.clone()), client.perform(add.clone()));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.version, second.version), (version(2), version(2)));
    assert_eq!(u8::from(first.repeated) + u8::from(second.repeated), 1);
    // The version that it is made for is no part of what an action means.
    let known = Perform { known: Some(version(1)), ..add.clone() };
    assert!(client.perform(known).await.unwrap().repeated);
    let stands = client.read(&object).await.unwrap();
    assert_eq!((as_json(&stands.payload), stands.action_id), (json!({ "n": 5 }), add.action_id));
    for other in [
        Perform { target: target(&ObjectId::new("answers", "thing", "another").unwrap()), ..add.clone() },
        Perform { action: Action::Delete, ..add.clone() },
    ] {
        let error = client.perform(other).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::ActionIdReused));
    }
    let ahead = Perform { action_id: Some(ActionId::from_bits(u128::MAX >> 1)), ..add };
    assert_eq!(client.perform(ahead).await.unwrap_err().code(), Some(Code::ActionIdAhead));
}

#[tokio::test(flavor = "multi_thread")]
async fn actions_on_what_they_do_not_fit_change_something() {
    let host = shared();
    let client = host.client().await;
    let bytes = object("answers", "bytes");
    client.put(&bytes, Payload::bytes("plain").unwrap(), Expect::Absent).await.unwrap();
    let map = object("answers", "map");
    let filled = structured(&json!({ "n": i64::MAX, "text": "x", "deep": { "a": 1 } }));
    client.put(&map, filled.clone(), Expect::Absent).await.unwrap();
    let check = async |object: &ObjectId, action: Action, code: Code| {
        let error = client.act(object, action, Expect::Any).await.unwrap_err();
        assert_eq!(error.code(), Some(code), "{error}");
        assert_eq!(client.read_version(object).await.unwrap().version, Version::new(1));
    };
    let add = |value| Action::Add(structured(&value));
    check(&bytes, Action::Merge(filled.clone()), Code::NotStructured).await;
    check(&bytes, add(json!({ "/n": 1 })), Code::NotStructured).await;
    check(&map, add(json!({ "/n": 1 })), Code::NumberOverflow).await;
    check(&map, add(json!({ "/text": 1 })), Code::InvalidPointer).await;
    check(&map, add(json!({ "n": 1 })), Code::InvalidPointer).await;
    check(&map, add(json!({ "/text/x": 1 })), Code::InvalidPointer).await;
    check(&map, add(json!({ "/none/x": 1 })), Code::InvalidPointer).await;
    check(&map, add(json!({ "/deep/a": "1" })), Code::InvalidPayload).await;
    let merged = client.merge(&map, structured(&json!({ "text": null, "deep": { "b": 2 } })), Expect::Any);
    assert_eq!(merged.await.unwrap().version, version(2));
    let stands = client.read(&map).await.unwrap();
    assert_eq!(as_json(&stands.payload), json!({ "n": i64::MAX, "deep": { "a": 1, "b": 2 } }));
}
