//! Holds the code to `host/docs/PROTOCOL.md`: the test vectors, the numbers and the bounds that stand there.
//!
//! A vector is a fenced block that opens with "```hex NAME": hexadecimal digits, each line up to a `#`.

#![allow(clippy::unwrap_used)]

mod later;
mod policies;
mod shards;

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use ostrakon_wire::answer::{
    Committed, Escalation, Escalations, Info, Object, Page, PageItem, Placed, Settlement, ShardMap as MapAnswer,
    ShardRange, Stored, Ticket,
};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    Action, ActionId, ActionKind, Answer, AskTicket, ClientHello, Code, ConditionalWrite, Decided, Generation,
    Generations, List, ListEscalations, LogId, MapEpoch, ObjectId, OnConflict, Operation, Payload, Perform, Position,
    Reply, Request, Revision, ServerHello, SettleEscalation, SettleHow, ShardId, ShardKey, Target, TimestampMs,
    Version, Winner, WireError, bounds, frame,
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md");
const FIELDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/field.rs");

fn document() -> String {
    std::fs::read_to_string(DOCUMENT).expect("host/docs/PROTOCOL.md is there")
}

/// What a vector stands for.
#[derive(Debug, PartialEq)]
enum Frame {
    ClientHello(ClientHello),
    ServerHello(ServerHello),
    Request(Request),
    Answer(Answer),
}

impl Frame {
    fn encode(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        frame::append(&mut wire, |out| match self {
            Self::ClientHello(hello) => hello.write(out),
            Self::ServerHello(hello) => hello.write(out),
            Self::Request(request) => request.write(out),
            Self::Answer(answer) => answer.write(out),
        });
        wire
    }

    /// Decodes bytes as a frame of the same sort.
    fn decode_like(&self, wire: &[u8]) -> Self {
        let mut buffer = BytesMut::from(wire);
        let content = frame::split(&mut buffer, bounds::FRAME_BYTES_MAX).unwrap();
        let content = content.expect("a vector is a whole frame");
        assert!(buffer.is_empty(), "a vector is one frame");
        match self {
            Self::ClientHello(_) => Self::ClientHello(ClientHello::read(&content).unwrap()),
            Self::ServerHello(_) => Self::ServerHello(ServerHello::read(&content).unwrap()),
            Self::Request(_) => Self::Request(Request::read(&content).unwrap()),
            Self::Answer(_) => Self::Answer(Answer::read(&content).unwrap()),
        }
    }
}

const KEY: ShardKey = ShardKey::new(0x8000_0000_0000_002a);
const ACTION_ID: ActionId = ActionId::from_bits(0x0190_163d_8694_739b_aea5_966c_26f8_ad91);
const MADE: TimestampMs = TimestampMs::new(1_718_390_359_700);

fn volume(name: &str) -> ObjectId {
    ObjectId::new("acme", "volume", name).unwrap()
}

fn target() -> Target {
    Target { object: volume("vol-1"), shard_key: None }
}

fn structured(pairs: &[(&str, Value)]) -> Payload {
    let map: Map = pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Payload::from_value(&Value::Map(map)).unwrap()
}

fn size(size: i64) -> Payload {
    structured(&[("size", Value::Integer(size))])
}

fn decided(shard: Option<u32>, revision: u64, generations: Generations) -> Decided {
    Decided {
        shard: shard.map(ShardId::new),
        epoch: MapEpoch::new(1),
        position: Position { log: LogId::new(0x0123_4567_89ab_cdef), revision: Revision::new(revision), index: 0 },
        generations,
    }
}

fn here() -> Decided {
    decided(Some(8), 17, Generations::default())
}

fn request(id: u64, operation: Operation) -> Frame {
    Frame::Request(Request { id, trace_parent: None, timestamp: None, operation })
}

fn perform(action: Action) -> Perform {
    Perform { target: target(), action, known: None, action_id: None, on_conflict: OnConflict::Reject }
}

fn list() -> List {
    List {
        client: "acme".into(),
        data_type: Some("volume".into()),
        prefix: Some("vol-".into()),
        limit: 2,
        token: None,
        with_payloads: true,
        at: None,
    }
}

fn token() -> Bytes {
    Bytes::from_static(b"\x01acme\0volume\0vol-2")
}

fn hellos() -> Vec<(&'static str, Frame)> {
    vec![
        ("hello/client", Frame::ClientHello(ClientHello::new("example/1.0"))),
        (
            "hello/host",
            Frame::ServerHello(ServerHello {
                protocol: 1,
                agent: "ostrakon/0.1.0".into(),
                log: LogId::new(0x0123_4567_89ab_cdef),
                frame_bytes_max: bounds::FRAME_BYTES_MAX as u64,
                in_flight_max: bounds::IN_FLIGHT_PER_STREAM_MAX as u64,
            }),
        ),
    ]
}

fn requests() -> Vec<(&'static str, Frame)> {
    let conditional_write = ConditionalWrite {
        target: Target { shard_key: Some(KEY), ..target() },
        new_version: Version::new(4),
        payload: size(10),
        action_id: Some(ACTION_ID),
    };
    let put =
        Perform { known: Some(Version::ABSENT), ..perform(Action::Put(Payload::bytes(&b"\x00\x01\x02"[..]).unwrap())) };
    let merge = Perform {
        known: Some(Version::new(3)),
        action_id: Some(ACTION_ID),
        ..perform(Action::Merge(structured(&[("size", Value::Integer(20)), ("state", Value::Null)])))
    };
    let custom = Action::Custom { kind: "resize".into(), body: size(30) };
    vec![
        (
            "request/get-shard-key",
            Frame::Request(Request {
                id: 1,
                trace_parent: None,
                timestamp: Some(MADE),
                operation: Operation::GetShardKey(target()),
            }),
        ),
        ("request/read-version", request(2, Operation::ReadVersion(target()))),
        (
            "request/read",
            Frame::Request(Request {
                id: 3,
                trace_parent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap()),
                timestamp: None,
                operation: Operation::Read(target()),
            }),
        ),
        ("request/list", request(4, Operation::List(list()))),
        ("request/list-next-page", request(5, Operation::List(List { token: Some(token()), ..list() }))),
        ("request/perform-conditional-write", request(6, Operation::ConditionalWrite(conditional_write))),
        ("request/put", request(7, Operation::Perform(put))),
        ("request/merge", request(8, Operation::Perform(merge))),
        (
            "request/add",
            request(9, Operation::Perform(perform(Action::Add(structured(&[("/size", Value::Integer(-5))]))))),
        ),
        ("request/delete", request(10, Operation::Perform(perform(Action::Delete)))),
        (
            "request/custom",
            request(11, Operation::Perform(Perform { on_conflict: OnConflict::Detach, ..perform(custom) })),
        ),
        (
            "request/reconcile-control-plane-action",
            request(
                12,
                Operation::Reconcile(Perform { on_conflict: OnConflict::Reconcile, ..perform(Action::Put(size(40))) }),
            ),
        ),
        ("request/shard-map", request(13, Operation::ShardMap(ostrakon_wire::AskMap::default()))),
        ("request/info", request(14, Operation::Info)),
        (
            "request/ask-ticket",
            request(
                15,
                Operation::AskTicket(AskTicket { client: "acme".into(), action_id: ACTION_ID, wait_ms: 5_000 }),
            ),
        ),
        (
            "request/list-escalations",
            request(
                16,
                Operation::ListEscalations(ListEscalations { client: Some("acme".into()), limit: 2, token: None }),
            ),
        ),
        ("request/read-escalation", request(17, Operation::ReadEscalation(Revision::new(19)))),
        (
            "request/settle-escalation",
            request(
                18,
                Operation::SettleEscalation(SettleEscalation {
                    escalation: Revision::new(19),
                    how: SettleHow::Resolve,
                    payload: Some(size(25)),
                    by: "ann".into(),
                    reason: "agreed".into(),
                }),
            ),
        ),
    ]
}

fn answer(id: u64, reply: Reply) -> Frame {
    Frame::Answer(Answer { id, outcome: Ok(reply) })
}

fn page_item(name: &str, version: u64, payload: Option<Payload>) -> PageItem {
    PageItem {
        object: volume(name),
        version: Version::new(version),
        revision: Revision::new(16),
        shard_key: KEY,
        shard: ShardId::new(8),
        payload,
    }
}

fn range(shard: u32, start: u64, end: u64) -> ShardRange {
    ShardRange { shard: ShardId::new(shard), start: ShardKey::new(start), end: ShardKey::new(end), owner: 0 }
}

fn read_answers() -> Vec<(&'static str, Frame)> {
    let placed = Placed {
        shard_key: KEY,
        recorded: false,
        decided: decided(Some(8), 17, Generations { shard_key: Some(Generation::FIRST), ..Generations::default() }),
    };
    let stored = Stored { version: Version::new(3), revision: Revision::new(16), shard_key: KEY, decided: here() };
    let object = Object {
        version: Version::new(3),
        revision: Revision::new(16),
        timestamp: MADE,
        shard_key: KEY,
        action_id: Some(ACTION_ID),
        payload: size(10),
        decided: here(),
    };
    let bytes = Payload::bytes(&b"\x00\x01\x02"[..]).unwrap();
    let page = Page {
        items: vec![page_item("vol-1", 3, Some(size(10))), page_item("vol-2", 1, Some(bytes))],
        token: Some(token()),
        decided: decided(None, 17, Generations::default()),
    };
    let map = MapAnswer {
        shards: vec![range(0, 0, (1 << 63) - 1), range(1, 1 << 63, u64::MAX)],
        decided: decided(None, 17, Generations::default()),
    };
    let info = Info {
        facts: Map::from([
            ("release".into(), Value::Text("0.1.0".into())),
            ("shards".into(), Value::Integer(16)),
            ("writable".into(), Value::Bool(true)),
        ]),
        decided: decided(None, 17, Generations::default()),
    };
    vec![
        ("answer/shard-key", answer(1, Reply::ShardKey(placed))),
        ("answer/version", answer(2, Reply::Version(stored))),
        ("answer/object", answer(3, Reply::Object(object))),
        ("answer/page", answer(4, Reply::Page(page))),
        ("answer/shard-map", answer(13, Reply::ShardMap(map))),
        ("answer/info", answer(14, Reply::Info(info))),
    ]
}

fn write_answers() -> Vec<(&'static str, Frame)> {
    let committed = Committed {
        version: Version::new(4),
        revision: Revision::new(18),
        shard_key: KEY,
        repeated: false,
        reply: None,
        tries: 0,
        decided: decided(Some(8), 18, Generations { prediction: Some(Generation::new(2)), ..Generations::default() }),
    };
    let repeated =
        Committed { repeated: true, decided: decided(Some(8), 18, Generations::default()), ..committed.clone() };
    let generations = Generations { reconciliation: Some(Generation::FIRST), ..Generations::default() };
    let reconciled =
        Committed { reply: Some(size(1)), tries: 1, decided: decided(Some(8), 18, generations), ..committed.clone() };
    vec![
        ("answer/committed", answer(6, Reply::Committed(committed))),
        ("answer/committed-repeated", answer(6, Reply::Committed(repeated))),
        ("answer/committed-reconciled", answer(11, Reply::Committed(reconciled))),
    ]
}

fn escalation() -> Escalation {
    Escalation {
        number: Revision::new(19),
        opened: MADE,
        object: volume("vol-1"),
        kind: ActionKind::Merge,
        custom_kind: None,
        body: Some(size(20)),
        known: Some(Version::new(3)),
        action_id: Some(ACTION_ID),
        base: Some(size(10)),
        latest: Version::new(4),
        latest_payload: Some(size(15)),
        tries: 1,
        words: "the same fields were changed".into(),
        settled: None,
        omitted: false,
        decided: decided(None, 20, Generations::default()),
    }
}

fn case_answers() -> Vec<(&'static str, Frame)> {
    let here = || decided(None, 20, Generations::default());
    let settled = Settlement {
        how: SettleHow::Resolve,
        by: "ann".into(),
        reason: "agreed".into(),
        at: MADE,
        version: Some(Version::new(5)),
    };
    let brief = Escalation { body: None, base: None, latest_payload: None, omitted: true, ..escalation() };
    let page = Escalations { items: vec![brief], token: None, decided: here() };
    let settled = Escalation { settled: Some(settled), ..escalation() };
    vec![
        ("answer/ticket", answer(11, Reply::Ticket(Ticket { action_id: ACTION_ID, decided: here() }))),
        ("answer/escalations", answer(16, Reply::Escalations(page))),
        ("answer/escalation", answer(17, Reply::Escalation(Box::new(escalation())))),
        ("answer/escalation-settled", answer(18, Reply::Escalation(Box::new(settled)))),
    ]
}

fn error(id: u64, error: WireError) -> Frame {
    Frame::Answer(Answer { id, outcome: Err(error) })
}

fn errors() -> Vec<(&'static str, Frame)> {
    let winner = |version, payload| Some(Winner { version: Version::new(version), payload });
    let conflict = WireError {
        winner: winner(5, Some(size(15))),
        decided: Some(here()),
        ..WireError::new(Code::Conflict, "the object is at version 5")
    };
    let deleted = WireError {
        winner: winner(6, None),
        decided: Some(here()),
        ..WireError::new(Code::Conflict, "the object was deleted at version 6")
    };
    let gap = WireError {
        stored: Some(Version::new(2)),
        decided: Some(here()),
        ..WireError::new(Code::VersionGap, "the stored version is 2")
    };
    let not_found = WireError {
        stored: Some(Version::ABSENT),
        decided: Some(decided(None, 17, Generations::default())),
        ..WireError::new(Code::NotFound, "no such live object")
    };
    let wrong_key = WireError {
        shard_key: Some(KEY),
        decided: Some(here()),
        ..WireError::new(Code::WrongShardKey, "recorded under another key")
    };
    let overloaded = WireError { retry_after_ms: Some(20), ..WireError::new(Code::Overloaded, "too much is waiting") };
    let escalated = WireError {
        escalation: Some(Revision::new(19)),
        decided: Some(here()),
        ..WireError::new(Code::Escalated, "the same fields were changed")
    };
    let old = WireError::new(Code::UnsupportedProtocol, "protocol 2 is not spoken here");
    vec![
        ("error/unsupported-protocol", error(0, old)),
        ("error/not-found", error(2, not_found)),
        ("error/conflict", error(6, conflict)),
        ("error/conflict-deleted", error(7, deleted)),
        ("error/version-gap", error(6, gap)),
        ("error/wrong-shard-key", error(6, wrong_key)),
        ("error/overloaded", error(8, overloaded)),
        ("error/escalated", error(11, escalated)),
        ("error/malformed", error(9, WireError::new(Code::Malformed, "unknown key 23"))),
    ]
}

fn frames() -> Vec<(&'static str, Frame)> {
    let first = [hellos(), requests(), read_answers(), write_answers(), case_answers(), errors()];
    let later = [later::requests(), later::answers(), later::errors()];
    let policies = [policies::requests(), policies::answers(), policies::errors()];
    let shards = [shards::requests(), shards::answers(), shards::errors()];
    first.into_iter().chain(later).chain(policies).chain(shards).flatten().collect()
}

/// The vectors of the document, by name.
fn vectors(document: &str) -> BTreeMap<String, Vec<u8>> {
    let mut vectors = BTreeMap::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_prefix("```hex ") else {
            continue;
        };
        let block = lines.by_ref().take_while(|line| *line != "```");
        let digits: String = block
            .flat_map(|line| line.split('#').next().unwrap_or_default().chars())
            .filter(|c| !c.is_whitespace())
            .collect();
        let before = vectors.insert(name.to_owned(), unhex(name, &digits));
        assert!(before.is_none(), "the vector {name} stands in the document twice");
    }
    vectors
}

fn unhex(name: &str, digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2), "{name}: half a byte");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap_or_else(|_| panic!("{name}: not hexadecimal")))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The rows of the table under a heading, cell by cell, code marks taken off; without its head.
fn table(document: &str, heading: &str) -> Vec<Vec<String>> {
    let section =
        document.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let rows: Vec<Vec<String>> = section
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "no table under {heading:?}");
    rows
}

#[test]
fn every_vector_encodes_to_its_bytes_and_decodes_to_its_value() {
    let vectors = vectors(&document());
    let missing = frames().into_iter().filter(|(name, _)| !vectors.contains_key(*name));
    let missing: Vec<_> = missing.map(|(name, frame)| format!("{name} {}", hex(&frame.encode()))).collect();
    assert!(missing.is_empty(), "vectors that are not in the document:\n{}", missing.join("\n"));
    for (name, frame) in frames() {
        let wire = &vectors[name];
        assert_eq!(hex(&frame.encode()), hex(wire), "{name}: the code encodes other bytes");
        assert_eq!(frame.decode_like(wire), frame, "{name}: the bytes decode to another value");
    }
}

#[test]
fn the_document_has_no_vector_that_the_code_is_not_held_to() {
    let known: BTreeSet<_> = frames().into_iter().map(|(name, _)| name.to_owned()).collect();
    let documented: BTreeSet<_> = vectors(&document()).into_keys().collect();
    assert_eq!(documented, known);
}

#[test]
fn the_table_of_errors_is_the_list_of_codes() {
    let documented: Vec<_> = table(&document(), "## Errors")
        .into_iter()
        .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
        .collect();
    let codes: Vec<_> = Code::ALL
        .iter()
        .map(|code| {
            let retryable = if code.retryable() { "yes" } else { "no" };
            (code.number().to_string(), code.name().to_owned(), retryable.to_owned())
        })
        .collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_table_of_requests_is_what_the_code_takes() {
    let taken = (0..=255_u8).filter(|number| {
        // Request 1, with an empty body.
        let frame = Bytes::from(vec![0xa3, 0x00, 0x01, 0x01, 0x18, *number, 0x02, 0xa0]);
        !matches!(Request::read(&frame), Err((_, error)) if error.code == Code::UnknownRequest)
    });
    let taken: Vec<_> = taken.map(|number| number.to_string()).collect();
    let documented: Vec<_> = table(&document(), "## Requests").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, taken);
    let operations: BTreeMap<_, _> =
        table(&document(), "## Requests").into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
    for (name, frame) in [requests(), later::requests(), policies::requests(), shards::requests()].into_iter().flatten()
    {
        let Frame::Request(request) = frame else { continue };
        let operation = &operations[&request.operation.number().to_string()];
        let action = match &request.operation {
            Operation::Perform(perform) => format!("request/{}", perform.action.kind().name()),
            _ => format!("request/{operation}"),
        };
        assert!(name.starts_with(&action), "{name} is documented as {operation}");
    }
}

#[test]
fn the_table_of_fields_has_every_number_in_order() {
    let source = std::fs::read_to_string(FIELDS).unwrap();
    let mut defined: Vec<u64> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub(crate) const ")?.split_once(": u64 = "))
        .map(|(_, number)| number.trim_end_matches(';').parse().unwrap())
        .collect();
    defined.sort_unstable();
    let documented: Vec<u64> = table(&document(), "## Fields").into_iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(documented, defined);
}

#[test]
fn the_table_of_bounds_says_what_the_code_holds() {
    let bounds: [(&str, u64); 55] = [
        ("client id", bounds::CLIENT_BYTES_MAX as u64),
        ("data type", bounds::TYPE_BYTES_MAX as u64),
        ("name, name prefix", bounds::NAME_BYTES_MAX as u64),
        ("version of an object", bounds::VERSION_MAX),
        ("payload, patch, body of an action", bounds::PAYLOAD_BYTES_MAX as u64),
        ("levels of a structured payload", bounds::PAYLOAD_DEPTH_MAX as u64),
        ("values of a structured payload, nested ones counted", bounds::PAYLOAD_VALUES_MAX as u64),
        ("levels of a frame", bounds::FRAME_DEPTH_MAX as u64),
        ("frame", bounds::FRAME_BYTES_MAX as u64),
        ("client hello", bounds::HELLO_BYTES_MAX as u64),
        ("agent, error message", bounds::TEXT_BYTES_MAX as u64),
        ("custom kind", bounds::CUSTOM_KIND_BYTES_MAX as u64),
        ("objects on a page", bounds::PAGE_ITEMS_MAX as u64),
        ("objects on a page, by default", bounds::PAGE_ITEMS_DEFAULT as u64),
        ("page token", bounds::TOKEN_BYTES_MAX as u64),
        ("open streams of a connection", bounds::STREAMS_PER_CONNECTION_MAX.into()),
        ("requests in work, of a stream", bounds::IN_FLIGHT_PER_STREAM_MAX as u64),
        ("requests in work, of a connection", bounds::IN_FLIGHT_PER_CONNECTION_MAX as u64),
        ("the same, in their frames", bounds::IN_FLIGHT_BYTES_PER_CONNECTION_MAX as u64),
        ("requests that wait, of a connection", bounds::WAITING_PER_CONNECTION_MAX as u64),
        ("wait of the first that waits on a stream", bounds::WAIT_MAX_MS),
        ("receive window of a stream", bounds::STREAM_WINDOW_BYTES.into()),
        ("receive window of a connection", bounds::CONNECTION_WINDOW_BYTES.into()),
        ("send window of a connection", bounds::SEND_WINDOW_BYTES),
        ("connections of a host", bounds::CONNECTIONS_MAX as u64),
        ("those of them that have not said hello", bounds::UNGREETED_CONNECTIONS_MAX as u64),
        ("deadline of the hello", bounds::HELLO_DEADLINE_MS),
        ("deadline of a begun frame", bounds::FRAME_DEADLINE_MS),
        ("deadline of unread answers", bounds::WRITE_DEADLINE_MS),
        ("least that a client takes of them", bounds::ANSWER_BYTES_PER_S_MIN),
        ("idle timeout", bounds::IDLE_TIMEOUT_MS),
        ("lead of an action id over the host's clock", bounds::ACTION_ID_AHEAD_MS),
        ("reply of a reconciliation policy", bounds::REPLY_BYTES_MAX as u64),
        ("actions that wait for reconciliation, of a host", bounds::RECONCILING_MAX as u64),
        ("those of them that wait for one object", bounds::RECONCILING_PER_OBJECT_MAX as u64),
        ("tickets that are not done, of a host", bounds::TICKETS_MAX as u64),
        ("wait for the end of a ticket's action", bounds::TICKET_WAIT_MS_MAX.into()),
        ("conditions of a transaction", bounds::TRANSACTION_CONDITIONS_MAX as u64),
        ("actions of a transaction", bounds::TRANSACTION_ACTIONS_MAX as u64),
        ("what a transaction stores, all together", bounds::TRANSACTION_BYTES_MAX as u64),
        ("pointer of a condition", bounds::POINTER_BYTES_MAX as u64),
        ("transactions that are judged again, of a host", bounds::TRANSACTIONS_HOLDING_MAX as u64),
        ("watches of a host", bounds::WATCHES_MAX as u64),
        ("data types with a retention of their own", bounds::RETENTION_RULES_MAX as u64),
        ("part of a component", bounds::COMPONENT_PART_BYTES_MAX as u64),
        ("settings of a policy", bounds::POLICY_SETTINGS_BYTES_MAX as u64),
        ("share of decisions or clients", bounds::SHARE_PPM_MAX.into()),
        ("events of policies", bounds::POLICY_EVENTS_MAX as u64),
        ("events of policies, by default", bounds::POLICY_EVENTS_DEFAULT as u64),
        ("requests about policies in work, of a host", bounds::POLICY_REQUESTS_MAX as u64),
        ("wait for a later shard map", bounds::MAP_WAIT_MS_MAX.into()),
        ("what the planner is to go by", bounds::SHARD_LIMITS_BYTES_MAX as u64),
        ("migrations at a time, of a host", bounds::MIGRATIONS_RUNNING_MAX as u64),
        ("migrations or decisions told", bounds::SHARD_EVENTS_MAX as u64),
        ("migrations or decisions told, by default", bounds::SHARD_EVENTS_DEFAULT as u64),
    ];
    let documented: Vec<_> =
        table(&document(), "## Bounds").into_iter().map(|row| (row[0].clone(), row[1].replace(',', ""))).collect();
    let held: Vec<_> = bounds.iter().map(|(name, bound)| ((*name).to_owned(), bound.to_string())).collect();
    assert_eq!(documented, held);
}
