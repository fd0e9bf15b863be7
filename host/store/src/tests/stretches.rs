//! Migrations, a step at a time, on real fjall: whatever is left in either shard, what is copied is whole.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use fjall::Readable;
use ostrakon_core::{Moving, ShardMap, behind};
use ostrakon_wire::bounds::MIGRATION_STEP_ROWS_MAX;
use ostrakon_wire::{ShardId, ShardKey};

use super::making::database;
use super::*;
use crate::{Chunk, Course, Does, Ended, Migration, NotStepped, Steer, Step, StretchBounds, Upkeep, check};

pub(super) struct Bench {
    pub(super) committer: Committer<Told>,
    pub(super) views: crate::Views,
    pub(super) outcomes: Receiver<(u64, Result<Durable, CommitError>)>,
}

impl Bench {
    pub(super) fn open(config: &StoreConfig) -> Self {
        Self::on(Store::open(config.clone()).unwrap().0)
    }

    fn on(store: Store) -> Self {
        let views = store.views();
        let (done, outcomes) = channel();
        let (dropped, _) = channel();
        let committer = Committer::start(store, Told { done, dropped }, COMMIT_QUEUE_CHANGES_MAX).unwrap();
        Self { committer, views, outcomes }
    }

    /// The same, with a version of every object in the shard that gives.
    fn filled(config: &StoreConfig) -> Self {
        let bench = Self::open(config);
        (0..KEYS).for_each(|number| bench.submit(change(number, 1, Some("one"))));
        bench
    }

    pub(super) fn submit(&self, unit: Unit) {
        assert!(self.committer.submit(unit, 0).is_ok());
        self.outcomes.recv_timeout(Duration::from_secs(20)).unwrap().1.unwrap();
    }

    fn step(&self, does: Does) -> Result<Option<Chunk>, NotStepped> {
        let step = Step::new(does);
        self.submit(Unit::Upkeep(Upkeep::Migrate(Arc::clone(&step))));
        match step.done().unwrap() {
            Ok(stepped) => {
                if let Some(chunk) = stepped.chunk {
                    let stands = |shard| stepped.view.standing(shard, chunk.first, chunk.end).unwrap();
                    assert_eq!(stands(chunk.from), stands(chunk.to));
                }
                Ok(stepped.chunk)
            }
            Err(reason) => Err(reason.clone()),
        }
    }

    /// Follows a migration, copies what is next and goes past some of it; between the two somebody writes.
    fn advance(&self, number: u64, bounds: StretchBounds, pieces: usize, meanwhile: impl FnOnce()) {
        self.step(Does::Follow { number }).unwrap();
        let view = self.views.latest();
        let migration = &view.migrations()[&number];
        let way = (migration.moving().unwrap(), migration.back);
        let stretch = self.committer.copy(&view, way, bounds, || true).unwrap();
        meanwhile();
        let pieces = stretch.next(usize::MAX).into_iter().take(pieces).collect();
        self.step(Does::Advance { number, back: way.1, pieces, waited: Duration::ZERO }).unwrap();
    }
}

const KEYS: u64 = 40;
const LAST: u64 = u64::MAX;
const HALF: u64 = 1 << 63;

pub(super) fn change(number: u64, version: u64, payload: Option<&str>) -> Unit {
    change_at(HALF + number, number, version, payload)
}

fn change_at(shard_key: u64, number: u64, version: u64, payload: Option<&str>) -> Unit {
    let place = Place { shard_key: ShardKey::new(shard_key), number: crate::ObjectNumber::new(number + 1).unwrap() };
    Unit::Change(Change {
        object: object(&format!("vol-{number}")),
        place,
        version: Version::new(version),
        kind: ActionKind::Put,
        payload: payload.map(|text| Payload::bytes(text.as_bytes().to_vec()).unwrap()),
        timestamp: TimestampMs::default(),
        identity: None,
        by: None,
        new_object: version == 1,
        beside: None,
    })
}

fn bounds(objects_max: usize, table_rows_min: usize) -> StretchBounds {
    let (bytes_max, table_bytes_min) = (usize::MAX, u64::MAX);
    StretchBounds { objects_max, piece_objects: 4, bytes_max, table_rows_min, table_bytes_min }
}

fn merge(number: u64) -> Migration {
    let start = ShardKey::new(HALF);
    let (from, to) = (ShardId::new(1), ShardId::new(0));
    let moving = Moving { from, to, start, last: ShardKey::new(LAST), cursor: (start, 0) };
    Migration::new(number, Course::Merge(moving), "a test", "a test", TimestampMs::default())
}

#[test]
fn what_an_abort_has_left_or_a_crash_before_the_last_sweep_comes_back_or_stays() {
    for table_rows_min in [1, usize::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { shards: 2, ..config(&folder) };
        let bench = Bench::open(&config);
        for number in 0..KEYS {
            for version in 1..=3 {
                bench.submit(change(number, version, Some("one")));
            }
        }
        let bounds = bounds(25, table_rows_min);
        // There, beyond the middle, with writes on both sides of the cursor, and back.
        bench.step(Does::Begin(merge(1), None)).unwrap();
        bench.advance(1, bounds, 5, || bench.submit(change(30, 4, Some("two"))));
        bench.submit(change(2, 4, Some("two")));
        bench.advance(1, bounds, 2, || bench.submit(change(22, 4, Some("two"))));
        bench.step(Does::Steer { number: 1, how: Steer::Pause }).unwrap();
        for does in [
            Does::Advance { number: 1, back: false, pieces: Vec::new(), waited: Duration::ZERO },
            Does::End { number: 1, ended: Ended::Done },
        ] {
            assert_eq!(bench.step(does), Err(NotStepped::Paused(1)));
        }
        bench.step(Does::Steer { number: 1, how: Steer::Back }).unwrap();
        let forward = bench.step(Does::Advance { number: 1, back: false, pieces: Vec::new(), waited: Duration::ZERO });
        assert!(matches!(forward, Err(NotStepped::NotThere(1))), "{forward:?}");
        bench.submit(change(3, 4, Some("two")));
        while bench.views.latest().migrations()[&1].moving().unwrap().cursor != (ShardKey::new(HALF), 0) {
            bench.advance(1, bounds, 3, || bench.submit(Unit::Upkeep(Upkeep::Drop(vec![]))));
        }
        bench.step(Does::End { number: 1, ended: Ended::Undone }).unwrap();
        // What is left in the other shard is old by now, and some of it nowhere else.
        for number in 0..KEYS / 2 {
            let version = bench.views.latest().head(place_of(&bench, number)).unwrap().unwrap().version.get() + 1;
            bench.submit(change(number, version, None));
            let old = vec![(place_of(&bench, number), Version::new(1))];
            bench.submit(Unit::Upkeep(Upkeep::Drop(old)));
        }
        assert!(!bench.views.latest().left_behind(ShardId::new(0), None, 1).unwrap().is_empty());
        bench.step(Does::Begin(merge(2), None)).unwrap();
        while bench.views.latest().migrations()[&2].moving().unwrap().cursor != behind(ShardKey::new(LAST)) {
            bench.advance(2, bounds, usize::MAX, || {});
        }
        bench.step(Does::End { number: 2, ended: Ended::Done }).unwrap();
        drop(bench);
        // Nobody took the shard away that has given all away; the next start does, rows and all.
        let (store, _) = Store::open(config.clone()).unwrap();
        assert!(store.views().latest().left_behind(ShardId::new(0), None, 1).unwrap().is_empty());
        drop(store);
        let report = check(&config.path).unwrap();
        assert_eq!((report.findings, report.objects, report.left_rows), (vec![], KEYS, 0));
        let shard = folder.path().join("data/store/keyspaces");
        assert_eq!(
            std::fs::read_dir(shard).unwrap().count(),
            4 + 1 + SPARE,
            "meta, log, locator, a shard, the engine's own, and those that are made ahead"
        );
    }
}

fn place_of(bench: &Bench, number: u64) -> Place {
    bench.views.latest().locate(&object(&format!("vol-{number}"))).unwrap().unwrap()
}

#[test]
fn what_the_taker_had_in_memory_is_there_after_a_crash_that_follows_what_was_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, ..config(&folder) };
    let bench = Bench::filled(&config);
    bench.step(Does::Begin(merge(1), None)).unwrap();
    let of_taker = |number, version| bench.submit(change_at(number, number, version, Some("one")));
    (KEYS..2 * KEYS).for_each(|number| of_taker(number, 1));
    bench.advance(1, bounds(99, 1), 3, || (KEYS..KEYS + 5).for_each(|number| of_taker(number, 2)));
    let crashed = tempfile::tempdir().unwrap();
    copy_folder(&config.path, &crashed.path().join("data"));
    let crashed_config = StoreConfig { path: crashed.path().join("data"), ..config.clone() };
    let store = Store::open(crashed_config).unwrap().0;
    for number in 0..2 * KEYS {
        let object = object(&format!("vol-{number}"));
        let place = store.views().latest().locate(&object).unwrap().unwrap();
        assert!(store.views().latest().head(place).unwrap().is_some(), "{number} is gone");
    }
    drop((store, bench));
    let report = check(&crashed.path().join("data")).unwrap();
    assert_eq!((report.findings, report.objects), (vec![], 2 * KEYS));
}

/// All that is in memory comes to the disk, and every journal that tells of it goes.
fn turn_journals(database: &fjall::Database) {
    let filler = database.keyspace("filler", Default::default).unwrap();
    // The engine ends a journal of 64 MB where a memtable ends.
    (0..65).for_each(|_| filler.insert("a", vec![0; 1 << 20]).unwrap());
    for keyspace in crate::keyspaces::by_number(database).into_values() {
        keyspace.rotate_memtable_and_wait().unwrap();
    }
    database.delete_keyspace(filler).unwrap();
}

#[test]
fn a_keyspace_that_was_emptied_brings_rows_of_its_last_shard_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, ..config(&folder) };
    let (mut store, _) = Store::open(config.clone()).unwrap();
    let database = database(&store).clone();
    let (making, map) = (store.shard_making(), ShardMap::clone(&store.map));
    let made: Vec<_> = (0..SPARE).map(|_| making.make(&map).unwrap()).collect();
    let old = made[0].table.keyspace();
    old.insert("row", "of the last one").unwrap();
    let (number, snapshot) = (old.id(), database.snapshot());
    making.remove(made[0].shard()).unwrap();
    assert_eq!(making.clean(&map).unwrap(), 0, "its rows are in memory alone");
    turn_journals(&database);
    assert_eq!(making.clean(&map).unwrap(), 0, "a journal may tell of it");
    assert!(!old.is_empty().unwrap());
    turn_journals(&database);
    assert_eq!(making.clean(&map).unwrap(), 1);
    assert_eq!(making.clean(&map).unwrap(), 0, "once is enough");
    let new = making.make(&map).unwrap();
    assert_eq!((new.shard(), new.held()), (ShardId::new(2 + SPARE as u32), Duration::ZERO));
    assert_eq!((new.table.keyspace().id(), new.table.keyspace().is_empty().unwrap()), (number, true));
    // It has a number by which the engine does not know it; and all the same after a crash.
    let bench = Bench::on(store);
    (0..KEYS).for_each(|number| bench.submit(change(number, 1, Some("one"))));
    let (start, to) = (ShardKey::new(HALF + KEYS / 2), new.shard());
    let moving = Moving { from: ShardId::new(1), to, start, last: ShardKey::new(LAST), cursor: (start, 0) };
    let split = Migration::new(1, Course::Split { moving, owner: 0 }, "a test", "a test", TimestampMs::default());
    bench.step(Does::Begin(split, Some(new))).unwrap();
    bench.advance(1, bounds(99, 1), 2, || bench.submit(change(KEYS - 1, 2, Some("two"))));
    let crashed = tempfile::tempdir().unwrap();
    let path = crashed.path().join("data");
    copy_folder(&config.path, &path);
    let goes_on = Bench::open(&StoreConfig { path: path.clone(), ..config.clone() });
    goes_on.advance(1, bounds(99, 1), usize::MAX, || {});
    goes_on.step(Does::End { number: 1, ended: Ended::Done }).unwrap();
    let view = goes_on.views.latest();
    let rows = |view: &crate::view::ReadView| view.rows_about(to).unwrap();
    assert_eq!(view.map().shard_of(start), to);
    assert!(rows(&view) > 0);
    for number in 0..KEYS {
        let version = view.head(place_of(&goes_on, number)).unwrap().unwrap().version.get();
        assert_eq!(version, if number == KEYS - 1 { 2 } else { 1 });
    }
    // Who still looks at the last one finds it as it was.
    assert_eq!(snapshot.get(made[0].table.keyspace(), "row").unwrap().as_deref(), Some(&b"of the last one"[..]));
    drop((view, goes_on, bench, making, made, snapshot, database));
    let report = check(&path).unwrap();
    assert_eq!((report.findings, report.objects), (vec![], KEYS));
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

#[test]
fn an_object_that_is_written_again_and_again_while_it_is_copied_stands_there_as_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, history_versions: Some(3), ..config(&folder) };
    let bench = Bench::filled(&config);
    bench.step(Does::Begin(merge(1), None)).unwrap();
    // Some of the versions that come also go, with those that were copied.
    bench.advance(1, bounds(99, 1), usize::MAX, || {
        (2..=30).for_each(|version| bench.submit(change(7, version, Some("two"))));
        bench.submit(change(8, 2, Some("two")));
    });
    bench.step(Does::End { number: 1, ended: Ended::Done }).unwrap();
    drop(bench);
    let report = check(&config.path).unwrap();
    assert_eq!((report.findings, report.objects, report.rows), (vec![], KEYS, KEYS - 2 + 3 + 2));
}

#[test]
fn what_a_shard_has_given_away_is_swept_up_with_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, ..config(&folder) };
    let bench = Bench::filled(&config);
    // The front of a shard goes to the one before it.
    let start = ShardKey::new(HALF);
    let (from, to) = (ShardId::new(1), ShardId::new(0));
    let moving = Moving { from, to, start, last: ShardKey::new(HALF + 9), cursor: (start, 0) };
    let front = Migration::new(1, Course::Merge(moving), "a test", "a test", TimestampMs::default());
    bench.step(Does::Begin(front, None)).unwrap();
    let bounds = bounds(99, 1);
    bench.advance(1, bounds, usize::MAX, || {});
    let left = |after: Option<&crate::Left>| bench.views.latest().left_behind(from, after, 4).unwrap();
    let some = left(None);
    assert_eq!(some.keys.len(), 0, "the range is still the giver's");
    bench.step(Does::End { number: 1, ended: Ended::Done }).unwrap();
    let (mut after, mut found) = (None, 0);
    loop {
        let some = left(after.as_ref());
        if some.is_empty() {
            break;
        }
        found += some.keys.len();
        bench.submit(Unit::Upkeep(Upkeep::Sweep(some.clone())));
        after = Some(some);
    }
    assert_eq!(found, 10);
    assert!(left(None).is_empty());
    for number in 0..KEYS {
        assert!(bench.views.latest().head(place_of(&bench, number)).unwrap().is_some(), "{number} is gone");
    }
    drop(bench);
    let report = check(&config.path).unwrap();
    assert_eq!((report.findings, report.rows, report.left_rows), (vec![], KEYS, 0));
}

#[test]
fn objects_that_are_made_while_others_are_copied_make_no_step_without_bound() {
    const NEW: u64 = 3 * MIGRATION_STEP_ROWS_MAX as u64;
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, ..config(&folder) };
    let bench = Bench::filled(&config);
    bench.step(Does::Begin(merge(1), None)).unwrap();
    bench.step(Does::Follow { number: 1 }).unwrap();
    let view = bench.views.latest();
    let moving = *view.migrations()[&1].moving().unwrap();
    let mut stretch = bench.committer.copy(&view, (&moving, false), bounds(99, 1), || true).unwrap();
    drop(view);
    for number in KEYS..KEYS + NEW {
        assert!(bench.committer.submit(change(number, 1, Some("new")), 0).is_ok());
    }
    for _ in 0..NEW {
        bench.outcomes.recv_timeout(Duration::from_secs(20)).unwrap().1.unwrap();
    }
    let mut steps = 0;
    while !stretch.is_passed() {
        let pieces = stretch.next(usize::MAX);
        let chunk = bench.step(Does::Advance { number: 1, back: false, pieces, waited: Duration::ZERO }).unwrap();
        stretch.pass(chunk.unwrap().cursor);
        steps += 1;
    }
    assert!(steps >= 3, "{steps}");
    bench.step(Does::End { number: 1, ended: Ended::Done }).unwrap();
    let counted = bench.views.latest().migrated().next().unwrap().unwrap().moved.objects;
    assert_eq!(counted, KEYS, "each counts once, where it was when it was copied");
    drop(bench);
    let report = check(&config.path).unwrap();
    assert_eq!((report.findings, report.objects), (vec![], KEYS + NEW));
}

#[test]
fn a_step_tells_of_its_migration_as_it_stands_later() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 2, ..config(&folder) };
    let bench = Bench::open(&config);
    bench.submit(change(1, 1, Some("one")));
    bench.step(Does::Begin(merge(1), None)).unwrap();
    let step = Step::new(Does::Steer { number: 1, how: Steer::Back });
    bench.submit(Unit::Upkeep(Upkeep::Migrate(Arc::clone(&step))));
    bench.step(Does::End { number: 1, ended: Ended::Undone }).unwrap();
    let told = |view: &crate::ReadView| view.migration(1).unwrap().map(|it| (it.back, it.ended));
    assert_eq!(told(&step.done().unwrap().as_ref().unwrap().view), Some((true, None)));
    let latest = bench.views.latest();
    assert!(latest.migrations().is_empty());
    assert_eq!(told(&latest), Some((true, Some(Ended::Undone))));
}
