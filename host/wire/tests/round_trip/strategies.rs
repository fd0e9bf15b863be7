//! Values of every sort that travels.

use bytes::Bytes;
use ostrakon_wire::answer::{
    Committed, Escalation, Escalations, Info, Object, Page, PageItem, Placed, Settlement, ShardMap as MapAnswer,
    ShardRange, Stored, Ticket,
};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    Action, ActionId, Answer, AskTicket, Code, ConditionalWrite, Decided, Generation, Generations, List,
    ListEscalations, LogId, MapEpoch, ObjectId, OnConflict, Operation, Payload, Perform, Position, Reply, Request,
    Revision, ServerHello, SettleEscalation, SettleHow, ShardId, ShardKey, Target, TimestampMs, TraceParent, Version,
    Winner, WireError, bounds,
};
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;

pub(crate) fn id_text(bytes_max: usize) -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9/:._ -]{1,16}",
        1 => "[\u{80}-\u{10ffff}]{1,4}",
        1 => Just("x".repeat(bytes_max)),
    ]
}

pub(crate) fn object_id() -> BoxedStrategy<ObjectId> {
    let parts = (id_text(bounds::CLIENT_BYTES_MAX), id_text(bounds::TYPE_BYTES_MAX), id_text(bounds::NAME_BYTES_MAX));
    parts.prop_map(|(client, data_type, name)| ObjectId::new(&client, &data_type, &name).unwrap()).boxed()
}

/// Numbers of every width.
pub(crate) fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..30_u64, any::<u8>().prop_map(u64::from), any::<u32>().prop_map(u64::from), any::<u64>()]
}

pub(crate) fn structured_value(depth: u32) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        (-30..30_i64).prop_map(Value::Integer),
        any::<f64>().prop_filter_map("finite", |float| float.is_finite().then_some(Value::Float(float))),
        ".{0,12}".prop_map(Value::Text),
        vec(any::<u8>(), 0..12).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(depth, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            btree_map(".{0,6}", inner, 0..5).prop_map(Value::Map),
        ]
    })
}

pub(crate) fn structured_map(depth: u32) -> impl Strategy<Value = Map> {
    btree_map(".{0,6}", structured_value(depth), 0..5)
}

pub(crate) fn structured() -> BoxedStrategy<Payload> {
    structured_map(6).prop_map(|map| Payload::from_value(&Value::Map(map)).unwrap()).boxed()
}

pub(crate) fn payload() -> BoxedStrategy<Payload> {
    let bytes = vec(any::<u8>(), 0..40).prop_map(|bytes| Payload::bytes(bytes).unwrap());
    prop_oneof![bytes, structured()].boxed()
}

pub(crate) fn action_id() -> impl Strategy<Value = Option<ActionId>> {
    of(any::<u128>().prop_map(ActionId::from_bits))
}

pub(crate) fn target() -> impl Strategy<Value = Target> {
    (object_id(), of(number().prop_map(ShardKey::new))).prop_map(|(object, shard_key)| Target { object, shard_key })
}

pub(crate) fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        payload().prop_map(Action::Put),
        structured().prop_map(Action::Merge),
        structured().prop_map(Action::Add),
        Just(Action::Delete),
        (id_text(bounds::CUSTOM_KIND_BYTES_MAX), payload()).prop_map(|(kind, body)| Action::Custom { kind, body }),
    ]
    .boxed()
}

pub(crate) fn perform() -> BoxedStrategy<Perform> {
    let choice = prop_oneof![Just(OnConflict::Reject), Just(OnConflict::Reconcile), Just(OnConflict::Detach)];
    let known = of(number().prop_map(Version::new));
    (target(), action(), known, action_id(), choice)
        .prop_map(|(target, action, known, action_id, on_conflict)| Perform {
            target,
            action,
            known,
            action_id,
            on_conflict,
        })
        .boxed()
}

pub(crate) fn list() -> BoxedStrategy<List> {
    let prefix = prop_oneof![Just(String::new()), id_text(bounds::NAME_BYTES_MAX)];
    let within = of((id_text(bounds::TYPE_BYTES_MAX), of(prefix)));
    let token = of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    let rest = (1..=bounds::PAGE_ITEMS_MAX, token, any::<bool>());
    (id_text(bounds::CLIENT_BYTES_MAX), within, rest)
        .prop_map(|(client, within, (limit, token, with_payloads))| {
            let (data_type, prefix) = within.map_or((None, None), |(data_type, prefix)| (Some(data_type), prefix));
            List { client, data_type, prefix, limit, token, with_payloads }
        })
        .boxed()
}

fn settle() -> impl Strategy<Value = SettleEscalation> {
    let how = prop_oneof![
        Just((SettleHow::Retry, None)),
        Just((SettleHow::Discard, None)),
        payload().prop_map(|payload| (SettleHow::Resolve, Some(payload))),
    ];
    (number(), how, ".{1,9}", ".{1,9}").prop_map(|(number, (how, payload), by, reason)| SettleEscalation {
        escalation: Revision::new(number),
        how,
        payload,
        by,
        reason,
    })
}

pub(crate) fn operation() -> BoxedStrategy<Operation> {
    let write = (target(), number().prop_map(Version::new), payload(), action_id());
    let write = write.prop_map(|(target, new_version, payload, action_id)| ConditionalWrite {
        target,
        new_version,
        payload,
        action_id,
    });
    prop_oneof![
        target().prop_map(Operation::GetShardKey),
        target().prop_map(Operation::ReadVersion),
        target().prop_map(Operation::Read),
        list().prop_map(Operation::List),
        write.prop_map(Operation::ConditionalWrite),
        perform().prop_map(Operation::Perform),
        perform().prop_map(Operation::Reconcile),
        Just(Operation::ShardMap),
        Just(Operation::Info),
        (id_text(bounds::CLIENT_BYTES_MAX), any::<u128>(), 0..=bounds::TICKET_WAIT_MS_MAX).prop_map(
            |(client, id, wait_ms)| {
                Operation::AskTicket(AskTicket { client, action_id: ActionId::from_bits(id), wait_ms })
            }
        ),
        (of(id_text(bounds::CLIENT_BYTES_MAX)), 1..=bounds::PAGE_ITEMS_MAX, of(vec(any::<u8>(), 0..40)))
            .prop_map(|(client, limit, token)| (client, limit, token.map(Bytes::from)))
            .prop_map(|(client, limit, token)| Operation::ListEscalations(ListEscalations { client, limit, token })),
        number().prop_map(|number| Operation::ReadEscalation(Revision::new(number))),
        settle().prop_map(Operation::SettleEscalation),
    ]
    .boxed()
}

pub(crate) fn request() -> BoxedStrategy<Request> {
    let trace_parent = (1..=u128::MAX, 1..=u64::MAX, any::<u8>());
    let trace_parent = trace_parent.prop_map(|(trace, span, flags)| TraceParent { trace, span, flags });
    let frame = (number(), of(trace_parent), of(number().prop_map(TimestampMs::new)));
    (frame, operation())
        .prop_map(|((id, trace_parent, timestamp), operation)| Request { id, trace_parent, timestamp, operation })
        .boxed()
}

pub(crate) fn decided() -> BoxedStrategy<Decided> {
    let generation = || of(number().prop_map(Generation::new));
    let generations = (generation(), generation(), generation());
    let position = (number(), number(), any::<u32>());
    (of(any::<u32>()), 1..=u64::MAX, position, generations)
        .prop_map(|(shard, epoch, position, generations)| Decided {
            shard: shard.map(ShardId::new),
            epoch: MapEpoch::new(epoch),
            position: Position { log: LogId::new(position.0), revision: Revision::new(position.1), index: position.2 },
            generations: Generations {
                shard_key: generations.0,
                prediction: generations.1,
                reconciliation: generations.2,
            },
        })
        .boxed()
}

/// Version, revision and shard key of an object.
pub(crate) fn place() -> impl Strategy<Value = (Version, Revision, ShardKey)> {
    (number(), number(), number())
        .prop_map(|(version, revision, key)| (Version::new(version), Revision::new(revision), ShardKey::new(key)))
}

pub(crate) fn page_item() -> BoxedStrategy<PageItem> {
    (object_id(), place(), any::<u32>(), of(payload()))
        .prop_map(|(object, (version, revision, shard_key), shard, payload)| PageItem {
            object,
            version,
            revision,
            shard_key,
            shard: ShardId::new(shard),
            payload,
        })
        .boxed()
}

pub(crate) fn single_object_reply() -> BoxedStrategy<Reply> {
    let whole = (place(), number(), action_id(), payload(), decided());
    let object = whole.prop_map(|((version, revision, shard_key), timestamp, action_id, payload, decided)| Object {
        version,
        revision,
        timestamp: TimestampMs::new(timestamp),
        shard_key,
        action_id,
        payload,
        decided,
    });
    let flagged = || (place(), any::<bool>(), decided());
    prop_oneof![
        flagged().prop_map(|((_, _, shard_key), recorded, decided)| Reply::ShardKey(Placed {
            shard_key,
            recorded,
            decided
        })),
        (place(), decided()).prop_map(|((version, revision, shard_key), decided)| Reply::Version(Stored {
            version,
            revision,
            shard_key,
            decided
        })),
        object.prop_map(Reply::Object),
        flagged().prop_map(|((version, revision, shard_key), repeated, decided)| Reply::Committed(Committed {
            version,
            revision,
            shard_key,
            repeated,
            reply: None,
            tries: 0,
            decided
        })),
    ]
    .boxed()
}

pub(crate) fn reply() -> BoxedStrategy<Reply> {
    let token = of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    let page = (vec(page_item(), 0..4), token, decided());
    let range = (any::<u32>(), number(), number(), any::<u32>()).prop_map(|(shard, start, end, owner)| ShardRange {
        shard: ShardId::new(shard),
        start: ShardKey::new(start),
        end: ShardKey::new(end),
        owner,
    });
    let map = (vec(range, 0..5), decided());
    // A frame nests less deeply than a payload.
    let info = (structured_map(2), decided());
    let reconciled = (place(), of(payload()), any::<u32>(), decided());
    let reconciled = reconciled.prop_map(|((version, revision, shard_key), reply, tries, decided)| {
        Reply::Committed(Committed { version, revision, shard_key, repeated: false, reply, tries, decided })
    });
    let ticket = (any::<u128>(), decided())
        .prop_map(|(id, decided)| Reply::Ticket(Ticket { action_id: ActionId::from_bits(id), decided }));
    let token_of_escalations = of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    let escalations = (vec(escalation(), 0..3), token_of_escalations, decided()).prop_map(|(items, token, decided)| {
        // What stands on a page was read where the page was.
        let items = items.into_iter().map(|item| Escalation { decided, ..item }).collect();
        Reply::Escalations(Escalations { items, token, decided })
    });
    prop_oneof![
        1 => reconciled,
        1 => ticket,
        1 => escalations,
        1 => escalation().prop_map(|escalation| Reply::Escalation(Box::new(escalation))),
        4 => single_object_reply(),
        1 => page.prop_map(|(items, token, decided)| Reply::Page(Page { items, token, decided })),
        1 => map.prop_map(|(shards, decided)| Reply::ShardMap(MapAnswer { shards, decided })),
        1 => info.prop_map(|(facts, decided)| Reply::Info(Info { facts, decided })),
    ]
    .boxed()
}

fn settlement() -> impl Strategy<Value = Option<Settlement>> {
    let how = proptest::sample::select(vec![SettleHow::Retry, SettleHow::Resolve, SettleHow::Discard]);
    of((how, ".{1,9}", ".{1,9}", number(), of(number())).prop_map(|(how, by, reason, at, version)| Settlement {
        how,
        by,
        reason,
        at: TimestampMs::new(at),
        version: version.map(Version::new),
    }))
}

pub(crate) fn escalation() -> BoxedStrategy<Escalation> {
    let facts = (number(), number(), number(), any::<u32>(), ".{0,20}", any::<bool>());
    let payloads = (of(payload()), of(payload()));
    (object_id(), action(), of(number()), action_id(), facts, payloads, settlement(), decided())
        .prop_map(|(object, action, known, action_id, facts, (base, latest_payload), settled, decided)| {
            let (number, opened, latest, tries, words, omitted) = facts;
            Escalation {
                number: Revision::new(number),
                opened: TimestampMs::new(opened),
                object,
                kind: action.kind(),
                custom_kind: match &action {
                    Action::Custom { kind, .. } => Some(kind.clone()),
                    _ => None,
                },
                body: action.payload().cloned(),
                known: known.map(Version::new),
                action_id,
                base,
                latest: Version::new(latest),
                latest_payload,
                tries,
                words,
                settled,
                omitted,
                decided,
            }
        })
        .boxed()
}

pub(crate) fn wire_error() -> BoxedStrategy<WireError> {
    let winner =
        (number(), of(payload())).prop_map(|(version, payload)| Winner { version: Version::new(version), payload });
    let extras = (
        of(any::<u32>()),
        of(number().prop_map(Version::new)),
        of(winner),
        of(number().prop_map(ShardKey::new)),
        of(number().prop_map(Revision::new)),
        of(decided()),
    );
    (proptest::sample::select(Code::ALL), ".{0,30}", extras)
        .prop_map(|(code, message, (retry_after_ms, stored, winner, shard_key, escalation, decided))| WireError {
            code,
            message,
            retry_after_ms,
            stored,
            winner,
            shard_key,
            escalation,
            decided,
        })
        .boxed()
}

pub(crate) fn answer() -> BoxedStrategy<Answer> {
    let outcome = prop_oneof![2 => reply().prop_map(Ok), 1 => wire_error().prop_map(Err)];
    (number(), outcome).prop_map(|(id, outcome)| Answer { id, outcome }).boxed()
}

pub(crate) fn server_hello() -> impl Strategy<Value = ServerHello> {
    (number(), ".{0,20}", number(), number(), number()).prop_map(
        |(protocol, agent, log, frame_bytes_max, in_flight_max)| ServerHello {
            protocol,
            agent,
            log: LogId::new(log),
            frame_bytes_max,
            in_flight_max,
        },
    )
}
