//! Keyspaces that are made ahead, and those that wait to be taken away.

use std::collections::BTreeSet;
use std::time::Duration;

use ostrakon_wire::ShardId;

use super::damage::{flushed, keyspaces};
use super::{SPARE, config, put};
use crate::disk::Disk;
use crate::keyspaces::shard_name;
use crate::making::EMPTIED_MAX;
use crate::survey::Roster;
use crate::{Store, StoreConfig};

/// As many as stand ready.
const READY: u32 = SPARE as u32;

/// What the roster names beside the shards of a new folder.
fn spare(config: &StoreConfig) -> Vec<String> {
    let named = keyspaces(config).into_iter().map(|(name, _)| name).filter(|name| name.starts_with("spare-"));
    named.collect::<BTreeSet<_>>().into_iter().collect()
}

fn names(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|number| format!("spare-shard-{number:010}")).collect()
}

/// What the roster calls a shard's keyspace.
fn called(config: &StoreConfig, shard: u32) -> Option<String> {
    let of_shard = format!("shard-{shard:010}");
    keyspaces(config).into_iter().map(|(name, _)| name).find(|name| name.ends_with(&of_shard))
}

pub(super) fn database(store: &Store) -> &fjall::Database {
    match &store.disk {
        Disk::Fjall(database) => database,
        #[cfg(feature = "simulation")]
        Disk::Simulated(_) => panic!("it is no real disk"),
    }
}

/// Whether the engine has it.
fn exists(store: &Store, shard: u32) -> bool {
    database(store).keyspace_exists(&shard_name(ShardId::new(shard)))
}

#[test]
fn a_shard_is_made_only_when_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 3, ..config(&folder) };
    put(&config, &[("a", 1, Some("x"))]);
    assert_eq!(spare(&config), names(3..3 + READY));
    let (mut store, _) = Store::open(config.clone()).unwrap();
    let making = store.shard_making();
    let made = making.make(&store.map).unwrap();
    assert_eq!((made.shard(), made.held(), spare(&config)), (ShardId::new(3), Duration::ZERO, names(4..3 + READY)));
    assert_eq!(called(&config, 3).unwrap(), "shard-0000000003");
    // One more than there are.
    let more: Vec<_> = (0..READY).map(|_| making.make(&store.map).unwrap().shard().get()).collect();
    assert_eq!((more, spare(&config)), ((4..4 + READY).collect(), Vec::new()));
    // While nothing is written they are made again.
    for number in 4 + READY..4 + 2 * READY {
        assert!(making.tidy(&store.map).unwrap());
        assert_eq!(spare(&config), names(4 + READY..number + 1));
    }
    assert!(!making.tidy(&store.map).unwrap());
    drop((made, making, store));
    // None of them was written to, and no map names them: so many are enough.
    drop(Store::open(config.clone()).unwrap());
    assert_eq!(spare(&config), names(3..3 + READY));
}

#[test]
fn what_was_emptied_is_taken_away_while_others_write_or_never() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 3, ..config(&folder) };
    let (mut store, _) = Store::open(config.clone()).unwrap();
    let making = store.shard_making();
    let made: Vec<_> = (0..EMPTIED_MAX + 2).map(|_| making.make(&store.map).unwrap().shard()).collect();
    for shard in &made[..EMPTIED_MAX] {
        making.remove(*shard).unwrap();
        assert_eq!(called(&config, shard.get()).unwrap(), format!("emptied-{}", shard_name(*shard)));
    }
    assert!(made.iter().all(|shard| exists(&store, shard.get())));
    // There are as many as may wait.
    making.remove(made[EMPTIED_MAX]).unwrap();
    assert_eq!((exists(&store, 3), exists(&store, 4), called(&config, 3)), (false, true, None));
    let last = 4 + EMPTIED_MAX as u32;
    for number in 4..last {
        assert!(exists(&store, number) && making.tidy(&store.map).unwrap() && !exists(&store, number), "{number}");
        assert_eq!(called(&config, number), None);
    }
    assert!(exists(&store, last), "nobody asked for that");
}

#[test]
fn what_was_emptied_stays_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 3, ..config(&folder) };
    let (mut store, _) = Store::open(config.clone()).unwrap();
    let making = store.shard_making();
    let [emptied, forgotten] = [(); 2].map(|()| making.make(&store.map).unwrap());
    for made in [&emptied, &forgotten] {
        made.table.keyspace().insert("a", "row").unwrap();
    }
    making.remove(emptied.shard()).unwrap();
    drop((emptied, forgotten, making, store));
    let (store, _) = Store::open(config.clone()).unwrap();
    // The map has given none of these numbers yet: the first is free again.
    assert!(database(&store).keyspace(&shard_name(ShardId::new(3)), Default::default).unwrap().is_empty().unwrap());
    assert_eq!(spare(&config), [&names(3..4)[..], &names(5..4 + READY)].concat());
    // Rows that nobody knows of are left as they are.
    assert_eq!(called(&config, 4).unwrap(), shard_name(ShardId::new(4)));
    assert!(exists(&store, 4));
}

#[test]
fn a_roster_that_says_other_than_is_there_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 3, ..config(&folder) };
    drop(Store::open(config.clone()).unwrap());
    let right = keyspaces(&config);
    let mut roster = Roster::read(&config.path).unwrap().unwrap().unwrap();
    let number = roster.number("shard-0000000001").unwrap();
    // One that was made ahead and is gone, and the name of a shard that is served from it.
    roster.0.insert(77, "spare-shard-0000000077".into());
    roster.0.insert(78, "emptied-shard-0000000078".into());
    roster.0.insert(79, "shard-0000000079".into());
    roster.0.insert(number, "spare-shard-0000000001".into());
    roster.write(&config.path).unwrap();
    drop(Store::open(config.clone()).unwrap());
    assert_eq!(keyspaces(&config), right);
}

#[test]
fn a_damaged_keyspace_that_nobody_has_yet_keeps_the_host_from_starting() {
    let (_keep, config) = flushed();
    let before = spare(&config);
    let (_, folder) = keyspaces(&config).into_iter().find(|(name, _)| *name == before[1]).unwrap();
    std::fs::write(folder.join("current"), "?").unwrap();
    drop(Store::open(config.clone()).unwrap());
    assert!(!folder.exists(), "it is set aside");
    assert_eq!(spare(&config).len(), before.len());
    drop(Store::open(config).unwrap());
}

#[test]
fn a_shard_that_is_gone_is_served_from_the_next_keyspace_that_has_its_number() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 3, ..config(&folder) };
    drop(Store::open(config.clone()).unwrap());
    let (_, gone) = keyspaces(&config).into_iter().find(|(name, _)| name == "shard-0000000001").unwrap();
    std::fs::remove_dir_all(gone).unwrap();
    let shards = |store: &Store| store.keyspaces.shards.keys().map(|shard| shard.get()).collect::<Vec<_>>();
    let (mut store, _) = Store::open(config.clone()).unwrap();
    assert_eq!(shards(&store), [0, 2]);
    // No keyspace will ever have the number that it is remembered by.
    let number = Roster::read(&config.path).unwrap().unwrap().unwrap().number("shard-0000000001").unwrap();
    assert!(number > u64::from(u32::MAX), "{number}");
    let making = store.shard_making();
    (0..2 * READY).for_each(|_| drop(making.make(&store.map).unwrap()));
    drop((making, store));
    assert_eq!(shards(&Store::open(config).unwrap().0), [0, 2]);
}
