//! The store on real fjall, in temporary folders.

mod compaction;
mod damage;
mod making;
mod mutants;
mod stretches;

use std::collections::HashMap;
use std::sync::mpsc;
use std::time::Duration;

use ostrakon_wire::bounds::COMMIT_QUEUE_CHANGES_MAX;
use ostrakon_wire::{ActionId, ActionKind, LogId, ObjectId, Payload, Revision, ShardKey, TimestampMs, Version};

use crate::{
    Change, CommitError, Committer, Durable, Floors, Identity, OpenError, Place, Settled, Sink, Store, StoreConfig,
    Unit,
};

struct Told {
    done: mpsc::Sender<(u64, Result<Durable, CommitError>)>,
    dropped: mpsc::Sender<usize>,
}

impl Sink for Told {
    type Token = u64;

    fn settled(&self, group: Vec<Settled<u64>>) {
        for Settled { token, outcome, .. } in group {
            self.done.send((token, outcome)).unwrap();
        }
    }

    fn floors(&self, _floors: &Floors) {}

    fn dropped(&self, ids: &[(ObjectId, ActionId)]) {
        let _ = self.dropped.send(ids.len());
    }
}

/// Few keyspaces that stand ready, so that it opens quickly.
const SPARE: usize = 4;

fn config(folder: &tempfile::TempDir) -> StoreConfig {
    let config = StoreConfig::new(folder.path().join("data"), LogId::new(7));
    StoreConfig { spare_shards: SPARE, ..config }
}

fn object(name: &str) -> ObjectId {
    ObjectId::new("acme", "volume", name).unwrap()
}

/// An object's name, the version to make, what to store.
type Put<'a> = (&'a str, u64, Option<&'a str>);

/// Puts versions of objects, in order, and waits until all are durable.
pub(crate) fn put(config: &StoreConfig, changes: &[Put<'_>]) -> usize {
    put_in_groups(config, changes, changes.len().max(1), || {})
}

/// The same in groups of at most so many; looks at the folder before the store is closed, as a kill would leave it.
fn put_in_groups(config: &StoreConfig, changes: &[Put<'_>], group: usize, before_stop: impl FnOnce()) -> usize {
    let (store, _) = Store::open(config.clone()).unwrap();
    let (done, outcomes) = mpsc::channel();
    let (dropped, drops) = mpsc::channel();
    let numbers = store.numbers();
    let view = store.views().latest();
    let mut places: HashMap<&str, Place> = HashMap::new();
    let committer = Committer::start(store, Told { done, dropped }, COMMIT_QUEUE_CHANGES_MAX).unwrap();
    let indexed: Vec<_> = changes.iter().enumerate().collect();
    for group in indexed.chunks(group) {
        submit(&committer, &view, &numbers, &mut places, group);
        for (expected, _) in group {
            let (token, outcome) = outcomes.recv_timeout(Duration::from_secs(20)).unwrap();
            assert_eq!(token, *expected as u64, "answers come in commit order");
            outcome.unwrap();
        }
    }
    before_stop();
    drop(committer);
    drops.try_iter().sum()
}

fn submit<'a>(
    committer: &Committer<Told>,
    view: &crate::ReadView,
    numbers: &crate::Numbers,
    places: &mut HashMap<&'a str, Place>,
    changes: &[(usize, &Put<'a>)],
) {
    for (index, (name, version, payload)) in changes {
        let place = *places.entry(*name).or_insert_with(|| {
            let draw = || Place { shard_key: shard_key(name), number: numbers.draw().unwrap() };
            view.locate(&object(name)).unwrap().unwrap_or_else(draw)
        });
        let change = Change {
            object: object(name),
            place,
            version: Version::new(*version),
            kind: ActionKind::Put,
            payload: payload.map(|text| Payload::bytes(text.as_bytes().to_vec()).unwrap()),
            timestamp: TimestampMs::new(5),
            identity: Some(Identity { id: ActionId::from_bits((*index as u128 + 1) << 80), intent: 1 }),
            by: None,
            new_object: *version == 1,
            beside: None,
        };
        committer.submit(Unit::Change(change), *index as u64).unwrap();
    }
}

fn shard_key(name: &str) -> ShardKey {
    ShardKey::new(object(name).digest())
}

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    put(&config, &[("a", 1, Some("one")), ("b", 1, Some("x")), ("a", 2, Some("two")), ("b", 2, None)]);
    let (store, recovered) = Store::open(config).unwrap();
    let view = store.views().latest();
    assert_eq!(view.position().revision, Revision::new(4));
    assert_eq!(store.log(), LogId::new(7));
    let place = |name| view.locate(&object(name)).unwrap().unwrap();
    assert_eq!(place("a").shard_key, shard_key("a"));
    assert_ne!(place("a").number, place("b").number);
    assert!(store.numbers().draw().unwrap() > place("b").number, "no number is given out twice");
    assert_eq!(view.locate(&object("c")).unwrap(), None);
    let head = view.head(place("a")).unwrap().unwrap();
    assert_eq!((head.version, head.row.revision), (Version::new(2), Revision::new(3)));
    assert_eq!(head.row.payload.unwrap().as_bytes(), "two");
    let first = view.version(place("a"), Version::new(1)).unwrap().unwrap();
    assert_eq!(first.payload.unwrap().as_bytes(), "one");
    let tombstone = view.head(place("b")).unwrap().unwrap();
    assert_eq!((tombstone.version, tombstone.row.payload), (Version::new(2), None));
    let live = |item: &crate::ListItem| item.head.row.payload.is_some();
    let listed: Vec<_> = view.list("acme\0", None).map(Result::unwrap).filter(live).map(|item| item.object).collect();
    assert_eq!(listed, [object("a")], "a tombstone is no live object");
    let ids: Vec<_> = recovered.remembered.iter().map(|action| action.revision.get()).collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn history_keeps_exactly_the_versions_it_is_set_to() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    config.history_versions = Some(3);
    let versions: Vec<_> = (1..=9).map(|version| ("a", version, Some("x"))).collect();
    put(&config, &versions);
    let kept = |config: &StoreConfig| {
        let (store, _) = Store::open(config.clone()).unwrap();
        let view = store.views().latest();
        let shards = view.map().ranges().iter().map(|range| range.shard);
        let rows = shards.flat_map(|shard| view.rows(shard).unwrap().map(|row| row.unwrap().1.get()));
        rows.collect::<Vec<_>>()
    };
    assert_eq!(kept(&config), [9, 8, 7]);
    config.history_versions = Some(1);
    assert_eq!(kept(&config), [9]);
}

#[test]
fn ids_beyond_the_bound_leave_the_log_and_raise_the_floor() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&folder);
    (config.action_ids, config.log_changes) = (1_000, 3_000);
    let changes: Vec<_> = (1..=6_000).map(|version| ("a", version, Some("x"))).collect();
    let dropped = put(&config, &changes);
    assert!(dropped > 0);
    let (store, recovered) = Store::open(config).unwrap();
    assert_eq!(recovered.remembered.len(), 6_000 - dropped);
    // The log holds more than what ids are remembered of, and no more than it was told.
    let view = store.views().latest();
    let (first, last) = (view.log_first().get(), view.position().revision.get());
    assert!((3_000..6_000).contains(&(last + 1 - first)), "{first} to {last}");
    assert!(first < recovered.remembered[0].revision.get());
    assert_eq!(view.log_from(Revision::default()).next().unwrap().unwrap().0.get(), first);
    let oldest = recovered.remembered[0].entry.identity.unwrap().id;
    assert!(!recovered.floors.covers("acme", oldest), "what is remembered lies above the floor");
    let last_dropped = ActionId::from_bits((dropped as u128) << 80);
    assert!(recovered.floors.covers("acme", last_dropped), "what was dropped lies below it");
}

#[test]
fn a_folder_in_use_of_a_newer_format_or_of_somebody_else_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    let open = Store::open(config.clone()).unwrap();
    assert!(matches!(Store::open(config.clone()), Err(OpenError::InUse { .. })));
    drop(open);
    std::fs::write(config.path.join("FORMAT"), "ostrakon data folder, format 7\n").unwrap();
    assert!(matches!(Store::open(config.clone()), Err(OpenError::NewerFormat { found: 7, known: 6, .. })));
    std::fs::write(config.path.join("FORMAT"), "something else\n").unwrap();
    assert!(matches!(Store::open(config), Err(OpenError::NotADataFolder { .. })));
}

#[test]
fn a_keyspace_of_the_whole_store_that_is_gone_is_made_anew() {
    for name in ["log", "locator", "meta"] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(&folder);
        put(&config, &[("a", 1, Some("x"))]);
        let database = fjall::Database::builder(config.path.join("store")).open().unwrap();
        database.delete_keyspace(database.keyspace(name, Default::default).unwrap()).unwrap();
        drop(database);
        // Of a folder that has a roster, it is a file that is missed.
        let Err(OpenError::DamagedFile { file, .. }) = Store::open(config.clone()) else { panic!("{name}") };
        assert!(file.starts_with(config.path.join("store/keyspaces")), "{name}: {}", file.display());
        // The first format has none.
        std::fs::write(config.path.join("FORMAT"), "ostrakon data folder, format 1\n").unwrap();
        std::fs::remove_file(config.path.join("KEYSPACES")).unwrap();
        let Err(OpenError::MissingKeyspace { name: missed, .. }) = Store::open(config) else { panic!("{name}") };
        assert_eq!(missed, name);
    }
}

#[test]
fn a_hole_in_the_log_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder);
    for version in 1..=3 {
        put(&config, &[("a", version, Some("x"))]);
    }
    let (store, _) = Store::open(config.clone()).unwrap();
    store.keyspaces.log.keyspace().remove(crate::record::log::key(Revision::new(2))).unwrap();
    drop(store);
    let Err(OpenError::LogHole { expected, found, .. }) = Store::open(config) else { panic!("the hole was not seen") };
    assert_eq!((expected, found), (Revision::new(2), Revision::new(3)));
}
