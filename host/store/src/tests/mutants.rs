//! What stands on disk, changed at random from seeds: bits flipped, pieces cut off, put in and doubled.

use ostrakon_core::Moving;
use ostrakon_wire::answer::Settlement;
use ostrakon_wire::{
    Action, ActionId, ObjectId, OnConflict, Payload, Perform, Revision, SettleHow, ShardId, ShardKey, Target,
    TimestampMs, Version,
};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::damage::killed;
use crate::record::case::{Escalation, Ticket};
use crate::record::migration::{Course, Migration, RUNNING_PREFIX, key_of};
use crate::record::{locator, log, meta, row};
use crate::survey::fuzzed;
use crate::{Store, acknowledged};

#[derive(Debug, Clone)]
enum Mutation {
    Flip(Index, u8),
    Set(Index, u8),
    Cut(Index),
    Insert(Index, u8),
    Double(Index, Index),
    Drop(Index, Index),
}

fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    let telling = prop_oneof![Just(0), Just(1), Just(0x7f), Just(0xff), any::<u8>()];
    let mutation = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, 1 << bit)),
        (any::<Index>(), telling).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        any::<Index>().prop_map(Mutation::Cut),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Double(from, to)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Mutation::Drop(from, to)),
    ];
    proptest::collection::vec(mutation, 1..4)
}

fn mutated(bytes: &[u8], mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for mutation in mutations {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        let piece = |from: &Index, to: &Index| from.index(len).min(to.index(len))..from.index(len).max(to.index(len));
        match mutation {
            Mutation::Flip(at, bit) => bytes[at.index(len)] ^= bit,
            Mutation::Set(at, byte) => bytes[at.index(len)] = *byte,
            Mutation::Cut(at) => bytes.truncate(at.index(len)),
            Mutation::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Mutation::Double(from, to) => {
                let doubled = bytes[piece(from, to)].to_vec();
                bytes.splice(piece(from, to).start..piece(from, to).start, doubled);
            }
            Mutation::Drop(from, to) => drop(bytes.drain(piece(from, to))),
        }
    }
    bytes
}

/// Runs a check on mutants of each of the samples; the same ones every time, and a failure shows its mutations.
fn on_mutants(samples: &[Vec<u8>], cases: u32, check: impl Fn(&[u8])) {
    assert!(!samples.is_empty());
    for (seed, sample) in samples.iter().enumerate() {
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed as u8; 32]);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, rng);
        let checked = runner.run(&mutations(), |mutations| {
            check(&mutated(sample, &mutations));
            Ok(())
        });
        checked.unwrap_or_else(|error| panic!("sample {seed}: {error}"));
    }
}

#[test]
fn a_mutant_of_a_record_is_read_as_something_that_it_is_not() {
    let (_keep, config) = killed();
    let (store, _) = Store::open(config).unwrap();
    let values = |table: &crate::disk::Table| -> Vec<Vec<u8>> {
        table.keyspace().iter().map(|guard| guard.into_inner().unwrap().1.to_vec()).collect()
    };
    on_mutants(&values(&store.keyspaces.log), 20_000, |bytes| {
        let Ok(record) = log::Record::decode(bytes) else { return };
        let mut builder = log::Builder::with_capacity(record.committed, record.entries.len());
        for e in &record.entries {
            builder.push(&e.told());
        }
        assert_eq!(builder.finish(), bytes);
    });
    let rows: Vec<_> = store.keyspaces.shards.values().flat_map(values).collect();
    on_mutants(&rows, 10_000, |bytes| {
        let Ok(row) = row::Row::decode(bytes) else { return };
        let mut again = Vec::new();
        row::encode(&mut again, &row.made());
        // A tombstone has no format; what flags say of it is not kept.
        assert!(again == bytes || row.payload.is_none());
    });
    on_mutants(&values(&store.keyspaces.locator), 10_000, |bytes| {
        if let Ok((place, first)) = locator::decode(bytes) {
            assert_eq!(locator::encode(place, first), *bytes);
        }
    });
    on_mutants(&values(&store.keyspaces.meta), 10_000, |bytes| {
        let _ = (meta::StoreFacts::decode(bytes), meta::LogStart::decode(bytes), meta::decode_numbers(bytes));
        if let Ok(map) = meta::decode_map(bytes) {
            assert_eq!(meta::encode_map(&map), bytes);
        }
    });
    let part = Moving {
        from: ShardId::new(3),
        to: ShardId::new(16),
        start: ShardKey::new(1 << 60),
        last: ShardKey::new((1 << 61) - 1),
        cursor: (ShardKey::new(3 << 59), 7),
    };
    let courses = [
        Course::Split { moving: part, owner: 2 },
        Course::Merge(part),
        Course::Move { shard: part.from, from: 0, to: 3 },
        Course::Rekey { prefix: "acme\0".into(), after: "acme\0volume\0a".into() },
    ];
    let migration = |course| Migration::new(5, course, "why", "who", TimestampMs::new(1));
    let migrations: Vec<_> = courses.into_iter().map(|course| migration(course).encode()).collect();
    on_mutants(&migrations, 10_000, |bytes| {
        if let Ok(migration) = Migration::decode(&key_of(RUNNING_PREFIX, 5), bytes) {
            assert_eq!(migration.encode(), bytes);
        }
    });
}

#[test]
fn a_mutant_of_a_case_is_read_as_something_that_does_not_stay() {
    let object = ObjectId::new("acme", "volume", "vol-1").unwrap();
    let some = |text: &str| Some(Payload::bytes(text.as_bytes().to_vec()).unwrap());
    let now = TimestampMs::new(1);
    let perform = Perform {
        target: Target { object, shard_key: None },
        action: Action::Custom { kind: "attach".into(), body: some("body").unwrap() },
        known: Some(Version::new(3)),
        action_id: Some(ActionId::from_bits(77)),
        on_conflict: OnConflict::Detach,
    };
    let by = |by: Option<&str>| Ticket { intent: 9, timestamp: now, by: by.map(Into::into), perform: perform.clone() };
    let tickets = [by(None), by(Some("somebody"))].map(|ticket| ticket.encode());
    on_mutants(&tickets, 10_000, |bytes| {
        if let Ok(ticket) = Ticket::decode(bytes) {
            assert_eq!(Ticket::decode(&ticket.encode()), Ok(ticket));
        }
    });
    let open = Escalation {
        opened: now,
        timestamp: now,
        perform,
        base: some("base"),
        latest: Version::new(7),
        latest_payload: some("latest"),
        tries: 8,
        words: "gave up".into(),
        settled: None,
    };
    let (how, by, reason) = (SettleHow::Resolve, "somebody".into(), "because".into());
    let settlement = Settlement { how, by, reason, at: now, version: Some(Version::new(8)) };
    let settled = Escalation { base: None, settled: Some(settlement), ..open.clone() };
    on_mutants(&[open.encode(), settled.encode()], 10_000, |bytes| {
        if let Ok(escalation) = Escalation::decode(bytes) {
            assert_eq!(Escalation::decode(&escalation.encode()), Ok(escalation));
        }
    });
}

#[test]
fn a_mutant_of_the_mark_says_something() {
    let marks = [0, 7, u64::MAX].map(|number| acknowledged::encode(Revision::new(number)).to_vec());
    on_mutants(&marks, 10_000, fuzzed::mark);
}

#[test]
fn a_mutant_of_a_journal_or_roster_makes_the_survey_panic_or_run_on() {
    let (_keep, config) = killed();
    let journal = std::fs::read(config.path.join("store/0.jnl")).unwrap();
    let roster = std::fs::read(config.path.join("KEYSPACES")).unwrap();
    on_mutants(&[journal], 20_000, fuzzed::journal);
    on_mutants(&[roster], 10_000, fuzzed::roster);
    let current = std::fs::read(config.path.join("store/keyspaces/0/current")).unwrap();
    on_mutants(&[current, vec![1, 1, 1, 0, 0, 0, 7], vec![0; 40]], 10_000, fuzzed::tables);
}
