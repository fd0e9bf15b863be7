//! Values of every sort that travels.

use bytes::Bytes;
use ostrakon_wire::answer::{
    Committed, Escalation, Escalations, Event, Events, History, Info, KeptVersion, Object, Page, PageItem, Placed,
    PolicyReport, Retention, RetentionRule, Settlement, ShardMap as MapAnswer, ShardRange, StepMade, Stored, Ticket,
    Transacted, Uploaded,
};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    Action, ActionId, ActionKind, Answer, AskTicket, ChangePolicy, ClientHello, Code, Condition, ConditionalWrite,
    Decided, FailedCondition, Generation, Generations, Keep, List, ListEscalations, LogId, MapEpoch, Must, ObjectId,
    OnConflict, Operation, Past, Payload, Perform, PolicyChange, PolicyKind, Position, ReadHistory, ReadPast,
    ReadPolicies, Reply, Request, Revision, ServerHello, SetRetention, SettleEscalation, SettleHow, ShardId, ShardKey,
    Slot, Stage, Step, Target, TimestampMs, TraceParent, Transact, UploadComponent, Version, Watch, Winner, WireError,
    bounds,
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
    let rest = (1..=bounds::PAGE_ITEMS_MAX, token, any::<bool>(), of(position()));
    (id_text(bounds::CLIENT_BYTES_MAX), within, rest)
        .prop_map(|(client, within, (limit, token, with_payloads, at))| {
            let (data_type, prefix) = within.map_or((None, None), |(data_type, prefix)| (Some(data_type), prefix));
            List { client, data_type, prefix, limit, token, with_payloads, at }
        })
        .boxed()
}

pub(crate) fn position() -> impl Strategy<Value = Position> {
    (number(), number(), any::<u32>()).prop_map(|(log, revision, index)| Position {
        log: LogId::new(log),
        revision: Revision::new(revision),
        index,
    })
}

pub(crate) fn watch() -> BoxedStrategy<Watch> {
    let flags = (of(position()), any::<bool>(), any::<bool>(), bounds::BOOKMARK_MS_MIN..=bounds::BOOKMARK_MS_MAX);
    (list(), flags)
        .prop_map(|(list, (from, with_payloads, with_previous, bookmark_ms))| {
            let List { client, data_type, prefix, .. } = list;
            Watch { client, data_type, prefix, from, with_payloads, with_previous, bookmark_ms }
        })
        .boxed()
}

fn condition() -> impl Strategy<Value = Condition> {
    let pointer = prop_oneof![Just(String::new()), "/[a-z~/]{0,9}"];
    let must = prop_oneof![
        number().prop_map(|version| Must::BeAt(Version::new(version))),
        (pointer, structured_value(3)).prop_map(|(pointer, value)| Must::Hold { pointer, value }),
    ];
    (object_id(), must).prop_map(|(object, must)| Condition { object, must })
}

pub(crate) fn transact() -> BoxedStrategy<Transact> {
    let built_in =
        action().prop_filter("custom actions have no place here", |action| action.kind() != ActionKind::Custom);
    let steps = vec((target(), built_in), 1..4).prop_map(|steps| {
        let mut steps: Vec<_> = steps.into_iter().map(|(target, action)| Step { target, action }).collect();
        steps.sort_by(|a, b| a.target.object.cmp(&b.target.object));
        steps.dedup_by(|a, b| a.target.object == b.target.object);
        steps
    });
    let choice = prop_oneof![Just(OnConflict::Reject), Just(OnConflict::Reconcile)];
    (vec(condition(), 0..4), steps, action_id(), choice)
        .prop_map(|(conditions, actions, action_id, on_conflict)| Transact {
            conditions,
            actions,
            action_id,
            on_conflict,
        })
        .boxed()
}

fn keep() -> impl Strategy<Value = Keep> {
    (1..=bounds::HISTORY_VERSIONS_MAX, bounds::RETENTION_AGE_MS_MIN..=bounds::RETENTION_AGE_MS_MAX)
        .prop_map(|(versions, age_ms)| Keep { versions, age_ms })
}

fn set_retention() -> impl Strategy<Value = SetRetention> {
    prop_oneof![
        (of(id_text(bounds::TYPE_BYTES_MAX)), keep())
            .prop_map(|(data_type, keep)| SetRetention { data_type, rule: Some(keep) }),
        id_text(bounds::TYPE_BYTES_MAX).prop_map(|name| SetRetention { data_type: Some(name), rule: None }),
    ]
}

fn read_history() -> impl Strategy<Value = ReadHistory> {
    let token = of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    (target(), 1..=bounds::PAGE_ITEMS_MAX, token, any::<bool>())
        .prop_map(|(target, limit, token, with_payloads)| ReadHistory { target, limit, token, with_payloads })
}

fn read_past() -> impl Strategy<Value = ReadPast> {
    let past = prop_oneof![
        number().prop_map(|version| Past::Version(Version::new(version))),
        position().prop_map(Past::Position),
    ];
    (target(), past).prop_map(|(target, past)| ReadPast { target, past })
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

fn slot() -> impl Strategy<Value = Slot> {
    let kind = prop_oneof![Just(PolicyKind::ShardKey), Just(PolicyKind::Prediction), Just(PolicyKind::Reconciliation)];
    (kind, of(id_text(bounds::CLIENT_BYTES_MAX)), of(id_text(bounds::TYPE_BYTES_MAX)))
        .prop_map(|(kind, client, data_type)| Slot { kind, client, data_type })
}

fn upload() -> impl Strategy<Value = UploadComponent> {
    (any::<[u8; 32]>(), number(), number(), vec(any::<u8>(), 0..40))
        .prop_map(|(digest, size, offset, part)| UploadComponent { digest, size, offset, part: part.into() })
}

fn change_policy() -> impl Strategy<Value = ChangePolicy> {
    let share = 1..=bounds::SHARE_PPM_MAX;
    let stage = prop_oneof![Just(Stage::Serve), share.clone().prop_map(Stage::Shadow), share.prop_map(Stage::Canary),];
    let push = (of(any::<[u8; 32]>()), of(".{0,20}"), stage, of(any::<u32>()))
        .prop_map(|(digest, settings, stage, slow_us)| PolicyChange::Push { digest, settings, stage, slow_us });
    let change = prop_oneof![
        push,
        number().prop_map(|number| PolicyChange::Activate(Generation::new(number))),
        Just(PolicyChange::RollBack),
        Just(PolicyChange::Remove),
    ];
    (slot(), change).prop_map(|(slot, change)| ChangePolicy { slot, change })
}

fn read_policies() -> impl Strategy<Value = ReadPolicies> {
    prop_oneof![
        Just(ReadPolicies::List),
        slot().prop_map(ReadPolicies::Show),
        (of(slot()), 1..=bounds::POLICY_EVENTS_MAX).prop_map(|(slot, limit)| ReadPolicies::History { slot, limit }),
        slot().prop_map(ReadPolicies::Diff),
    ]
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
        super::shards::ask_map().prop_map(Operation::ShardMap),
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
        transact().prop_map(Operation::Transact),
        read_history().prop_map(Operation::ReadHistory),
        read_past().prop_map(Operation::ReadPast),
        Just(Operation::Retention),
        set_retention().prop_map(Operation::SetRetention),
        watch().prop_map(Operation::Watch),
        upload().prop_map(Operation::UploadComponent),
        change_policy().prop_map(Operation::ChangePolicy),
        read_policies().prop_map(Operation::ReadPolicies),
        super::shards::change().prop_map(Operation::ChangeShards),
        super::shards::read().prop_map(Operation::ReadShards),
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
    let info = (structured_map(2), decided()).boxed();
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
        1 => transacted(),
        1 => history(),
        1 => events(),
        1 => (vec((of(id_text(bounds::TYPE_BYTES_MAX)), keep()), 0..4), decided()).prop_map(|(rules, decided)| {
            let rules = rules.into_iter().map(|(data_type, keep)| RetentionRule { data_type, keep });
            Reply::Retention(Retention { rules: rules.collect(), decided })
        }),
        1 => reconciled,
        1 => ticket,
        1 => escalations,
        1 => escalation().prop_map(|escalation| Reply::Escalation(Box::new(escalation))),
        4 => single_object_reply(),
        1 => page.prop_map(|(items, token, decided)| Reply::Page(Page { items, token, decided })),
        1 => map.prop_map(|(shards, decided)| Reply::ShardMap(MapAnswer { shards, decided })),
        1 => info.clone().prop_map(|(facts, decided)| Reply::Info(Info { facts, decided })),
        1 => info.prop_map(|(facts, decided)| Reply::Policies(PolicyReport { facts, decided })),
        1 => (number(), decided()).prop_map(|(received, decided)| Reply::Uploaded(Uploaded { received, decided })),
    ]
    .boxed()
}

fn kind() -> impl Strategy<Value = ActionKind> {
    (1..=5_u64).prop_map(|number| ActionKind::from_number(number).unwrap())
}

fn transacted() -> impl Strategy<Value = Reply> {
    let made =
        (place(), of(payload())).prop_map(|((version, _, shard_key), reply)| StepMade { version, shard_key, reply });
    (number(), vec(made, 0..5), any::<bool>(), any::<u32>(), decided()).prop_map(
        |(revision, made, repeated, tries, decided)| {
            Reply::Transacted(Transacted { revision: Revision::new(revision), made, repeated, tries, decided })
        },
    )
}

fn history() -> impl Strategy<Value = Reply> {
    let facts = (number(), number(), of(kind()), any::<bool>(), action_id(), of(".{1,9}"), of(payload()));
    let item = (place(), position(), facts).prop_map(|((version, revision, _), position, facts)| {
        let (timestamp, committed, kind, deleted, action_id, by, payload) = facts;
        let (timestamp, committed) = (TimestampMs::new(timestamp), TimestampMs::new(committed));
        KeptVersion { version, revision, position, timestamp, committed, kind, deleted, action_id, by, payload }
    });
    let token = of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    (vec(item, 0..4), token, decided())
        .prop_map(|(items, token, decided)| Reply::History(History { items, token, decided }))
}

fn events() -> impl Strategy<Value = Reply> {
    let facts = (number(), kind(), action_id(), of(".{1,9}"), any::<[bool; 3]>(), of(payload()), of(payload()));
    let event = (object_id(), place(), facts).prop_map(|(object, (version, revision, _), facts)| {
        let (timestamp, kind, action_id, by, [deleted, escalated, omitted], payload, previous) = facts;
        Event {
            object,
            version,
            revision,
            timestamp: TimestampMs::new(timestamp),
            kind,
            action_id,
            by,
            deleted,
            escalated,
            payload,
            previous,
            omitted,
        }
    });
    (vec(event, 0..4), any::<bool>(), decided())
        .prop_map(|(items, more, decided)| Reply::Events(Events { items, more, decided }))
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
        (vec(failed(), 0..3), of(any::<u32>())),
        of(decided()),
    );
    (proptest::sample::select(Code::ALL), ".{0,30}", extras)
        .prop_map(
            |(code, message, (retry_after_ms, stored, winner, shard_key, escalation, (failed, step), decided))| {
                WireError {
                    code,
                    message,
                    retry_after_ms,
                    stored,
                    winner,
                    shard_key,
                    escalation,
                    failed,
                    step,
                    decided,
                }
            },
        )
        .boxed()
}

fn failed() -> impl Strategy<Value = FailedCondition> {
    (any::<u32>(), number(), of(payload()), any::<bool>()).prop_map(|(index, version, payload, omitted)| {
        FailedCondition { index, version: Version::new(version), payload, omitted }
    })
}

pub(crate) fn answer() -> BoxedStrategy<Answer> {
    let outcome = prop_oneof![2 => reply().prop_map(Ok), 1 => wire_error().prop_map(Err)];
    (number(), outcome).prop_map(|(id, outcome)| Answer { id, outcome }).boxed()
}

pub(crate) fn client_hello() -> impl Strategy<Value = ClientHello> {
    (number(), ".{0,20}").prop_map(|(protocol, agent)| ClientHello { protocol, agent })
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
