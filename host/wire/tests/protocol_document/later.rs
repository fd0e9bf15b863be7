//! What transactions, history and the feed put into frames.

use bytes::Bytes;
use ostrakon_wire::answer::{Event, Events, History, KeptVersion, Retention, RetentionRule, StepMade, Transacted};
use ostrakon_wire::value::Value;
use ostrakon_wire::{
    Action, ActionKind, Code, Condition, Decided, FailedCondition, Generations, Keep, List, Must, OnConflict,
    Operation, Past, Position, ReadHistory, ReadPast, Reply, Revision, SetRetention, Step, Target, Transact, Version,
    Watch, WireError, bounds,
};

use crate::{ACTION_ID, Frame, KEY, MADE, answer, decided, error, here, list, request, size, target, volume};

pub(crate) fn requests() -> Vec<(&'static str, Frame)> {
    let transact = Transact {
        conditions: vec![
            Condition { object: volume("vol-1"), must: Must::BeAt(Version::new(3)) },
            Condition {
                object: volume("vol-2"),
                must: Must::Hold { pointer: "/state".into(), value: Value::Text("free".into()) },
            },
        ],
        actions: vec![
            Step { target: target(), action: Action::Put(size(10)) },
            Step { target: Target { object: volume("vol-2"), shard_key: None }, action: Action::Delete },
        ],
        action_id: Some(ACTION_ID),
        on_conflict: OnConflict::Reconcile,
    };
    let history = ReadHistory { target: target(), limit: 2, token: None, with_payloads: true };
    let past = |past| Operation::ReadPast(ReadPast { target: target(), past });
    let rule = Some(Keep { versions: 100, age_ms: 3_600_000 });
    let watch = Watch {
        data_type: Some("volume".into()),
        prefix: Some("vol-".into()),
        from: Some(place(17)),
        with_previous: true,
        bookmark_ms: 1_000,
        ..Watch::of_client("acme")
    };
    vec![
        ("request/list-at", request(19, Operation::List(List { at: Some(place(17)), ..list() }))),
        ("request/transact", request(20, Operation::Transact(transact))),
        ("request/read-history", request(21, Operation::ReadHistory(history))),
        ("request/read-past", request(22, past(Past::Version(Version::new(2))))),
        ("request/read-past-place", request(23, past(Past::Position(place(16))))),
        ("request/retention", request(24, Operation::Retention)),
        (
            "request/set-retention",
            request(25, Operation::SetRetention(SetRetention { data_type: Some("volume".into()), rule })),
        ),
        ("request/watch", request(26, Operation::Watch(watch))),
    ]
}

fn place(revision: u64) -> Position {
    decided(None, revision, Generations::default()).position
}

pub(crate) fn answers() -> Vec<(&'static str, Frame)> {
    let at = |revision| decided(None, revision, Generations::default());
    let made = |version| StepMade { version: Version::new(version), shard_key: KEY, reply: None };
    let transacted = Transacted {
        revision: Revision::new(18),
        made: vec![made(4), made(2)],
        repeated: false,
        tries: 0,
        decided: at(18),
    };
    let version = |version: u64, revision, deleted, payload| KeptVersion {
        version: Version::new(version),
        revision: Revision::new(revision),
        position: place(revision),
        timestamp: MADE,
        committed: MADE,
        kind: Some(if deleted { ActionKind::Delete } else { ActionKind::Put }),
        deleted,
        action_id: Some(ACTION_ID),
        by: Some("ann".into()),
        payload,
    };
    let history = History {
        items: vec![version(4, 18, true, None), version(3, 16, false, Some(size(10)))],
        token: Some(Bytes::from_static(b"\x03\0\0\0\0\0\0\0\x03")),
        decided: here(),
    };
    let rule = |data_type: Option<&str>, versions, age_ms| RetentionRule {
        data_type: data_type.map(Into::into),
        keep: Keep { versions, age_ms },
    };
    let rules = vec![rule(None, 16, bounds::RETENTION_AGE_MS_DEFAULT), rule(Some("volume"), 100, 3_600_000)];
    let event = |name, version, deleted, payload| Event {
        object: volume(name),
        version: Version::new(version),
        revision: Revision::new(18),
        timestamp: MADE,
        kind: if deleted { ActionKind::Delete } else { ActionKind::Put },
        action_id: Some(ACTION_ID),
        by: Some("ann".into()),
        deleted,
        escalated: false,
        payload,
        previous: None,
        omitted: false,
    };
    let first = Event { previous: Some(size(15)), ..event("vol-1", 4, false, Some(size(10))) };
    let second = Event { omitted: true, ..event("vol-2", 2, true, None) };
    let inside = Decided { position: Position { index: 1, ..place(17) }, ..at(17) };
    let events = |items, more, decided| Reply::Events(Events { items, more, decided });
    vec![
        ("answer/transacted", answer(20, Reply::Transacted(transacted))),
        ("answer/history", answer(21, Reply::History(history))),
        ("answer/retention", answer(24, Reply::Retention(Retention { rules, decided: at(18) }))),
        ("answer/events-bookmark", answer(26, events(Vec::new(), false, at(17)))),
        ("answer/events-more", answer(26, events(vec![first], true, inside))),
        ("answer/events", answer(26, events(vec![second], false, at(18)))),
    ]
}

pub(crate) fn errors() -> Vec<(&'static str, Frame)> {
    let failed = FailedCondition { index: 1, version: Version::new(2), payload: Some(size(15)), omitted: false };
    let conflict = WireError {
        failed: vec![failed],
        decided: Some(decided(None, 18, Generations::default())),
        ..WireError::new(Code::Conflict, "condition 1 does not hold")
    };
    let refused = WireError {
        stored: Some(Version::ABSENT),
        step: Some(1),
        decided: Some(decided(None, 18, Generations::default())),
        ..WireError::new(Code::NotFound, "no such live object")
    };
    let expired = WireError {
        decided: Some(decided(None, 18, Generations::default())),
        ..WireError::new(Code::PositionExpired, "list, and watch from there")
    };
    vec![
        ("error/conflict-of-a-transaction", error(20, conflict)),
        ("error/action-of-a-transaction", error(20, refused)),
        ("error/position-expired", error(26, expired)),
    ]
}
