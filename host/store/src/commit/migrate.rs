//! The steps of migrations, as the committing thread makes them: between two groups, each one batch with its own sync, so that
//! whatever the next group writes finds rows, map and cursor where they are.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ostrakon_core::{Moving, ShardMap, Spot, behind};
use ostrakon_wire::ShardKey;
use ostrakon_wire::bounds::MIGRATIONS_KEPT;
use xxhash_rust::xxh3::xxh3_64;

use super::{Rekey, Sink, Thread, Writing, durability};
use crate::disk::{Batch, Table};
use crate::error::ReadError;
use crate::migrate::{Chunk, Does, NewShard, NotStepped, Steer, Step, Stepped};
use crate::planted::{self, Fault};
use crate::record::locator::ObjectNumber;
use crate::record::migration::{Course, ENDED_PREFIX, Ended, Migration, Moved, RUNNING_PREFIX, key_of, words};
use crate::record::{locator, meta, row};
use crate::view::ReadView;

/// A row as it stands on disk: its key and its value.
type Pair = (fjall::Slice, fjall::Slice);

/// Rows that are to move.
struct Rows {
    rows: Vec<Pair>,
    moved: Moved,
    /// The cursor behind them.
    cursor: Spot,
    last: bool,
}

impl<S: Sink> Thread<S> {
    /// Makes a step, and says what came of it.
    pub(super) fn step(&mut self, step: &Step) {
        let started = self.store.clock.instant();
        let done = match &step.does {
            Does::Begin(migration, new) => self.begin(migration, new.as_ref()).map(|()| None),
            Does::Advance { number, objects_max, bytes_max } => {
                self.advance(*number, *objects_max, *bytes_max).map(Some)
            }
            Does::Steer { number, how } => self.steer(*number, how).map(|()| None),
            Does::End { number, ended } => self.end(*number, *ended).map(|()| None),
        };
        let took = self.store.clock.instant().duration_since(started);
        if let (Does::Advance { number, .. }, Ok(_)) = (&step.does, &done) {
            self.measure_step(*number, took);
        }
        step.end(done.map(|chunk| Stepped { view: self.store.views.latest(), chunk, took }));
    }

    fn begin(&mut self, migration: &Migration, new: Option<&NewShard>) -> Result<(), NotStepped> {
        let map = match &migration.course {
            Course::Split { moving, .. } | Course::Merge(moving) => {
                self.served(moving, new)?;
                self.store.map.moving_also(*moving)?.of_next_epoch()
            }
            Course::Move { shard, to, .. } => self.store.map.owned_by(*shard, *to)?,
            Course::Rekey { .. } => ShardMap::clone(&self.store.map),
        };
        if let Some(NewShard { shard, table }) = new {
            self.put_keyspaces(self.store.keyspaces.with(*shard, table.clone()));
        }
        self.keep(migration.clone(), map)
    }

    /// Holds that both shards are there, or one of them is made now.
    fn served(&self, moving: &Moving, new: Option<&NewShard>) -> Result<(), NotStepped> {
        let there =
            |shard| self.store.keyspaces.shards.contains_key(&shard) || new.is_some_and(|new| new.shard == shard);
        match [moving.from, moving.to].into_iter().find(|shard| !there(*shard)) {
            Some(shard) => Err(NotStepped::NoShard(shard)),
            None => Ok(()),
        }
    }

    fn put_keyspaces(&mut self, keyspaces: crate::keyspaces::Keyspaces) {
        self.store.keyspaces = Arc::new(keyspaces);
        if let Some(flusher) = &self.flusher {
            flusher.look_at(Arc::clone(&self.store.keyspaces));
        }
    }

    fn running(&self, number: u64) -> Result<Migration, NotStepped> {
        self.store.migrations.get(&number).cloned().ok_or(NotStepped::NoMigration(number))
    }

    /// Writes a migration as it stands now, with a map where that is another, and publishes both.
    fn keep(&mut self, migration: Migration, map: ShardMap) -> Result<(), NotStepped> {
        let batch = self.store.disk.batch(4, durability());
        self.write_kept(batch, migration, map)
    }

    fn write_kept(&mut self, mut batch: Batch, migration: Migration, map: ShardMap) -> Result<(), NotStepped> {
        let table = &self.store.keyspaces.meta;
        if map.epoch() != self.store.map.epoch() {
            batch.insert(table, meta::MAP_KEY, meta::encode_map(&map));
        }
        if migration.ended.is_some() {
            batch.remove(table, key_of(RUNNING_PREFIX, migration.number));
            self.store.migrated.push_back(migration.number);
            while self.store.migrated.len() > MIGRATIONS_KEPT
                && let Some(oldest) = self.store.migrated.pop_front()
            {
                batch.remove(table, key_of(ENDED_PREFIX, oldest));
            }
        }
        batch.insert(table, migration.key(), migration.encode());
        if let Err(error) = batch.commit() {
            self.fail(&error);
            return Err(NotStepped::Read(error.to_string()));
        }
        let mut migrations = std::collections::BTreeMap::clone(&self.store.migrations);
        match migration.ended {
            Some(_) => drop(migrations.remove(&migration.number)),
            None => drop(migrations.insert(migration.number, migration)),
        }
        self.store.migrations = Arc::new(migrations);
        self.store.map = Arc::new(map);
        self.store.publish_at(&self.log);
        Ok(())
    }

    /// Moves the next objects, whole: inserts here, removes there, and the cursor, in one batch.
    fn advance(&mut self, number: u64, objects_max: usize, bytes_max: usize) -> Result<Chunk, NotStepped> {
        let mut migration = self.running(number)?;
        let moving = *migration.moving().ok_or(NotStepped::NotThere(number))?;
        let (source, target) = match migration.back {
            false => (moving.from, moving.to),
            true => (moving.to, moving.from),
        };
        let table = |shard| self.store.keyspaces.shards.get(&shard).cloned().ok_or(NotStepped::NoShard(shard));
        let (from, to) = (table(source)?, table(target)?);
        let held = |shard: &_| self.flusher.as_ref().is_some_and(|flusher| flusher.is_held(*shard));
        if let Some(shard) = [source, target].into_iter().find(held) {
            return Err(NotStepped::Held(shard));
        }
        let view = self.store.views.latest();
        let read = match migration.back {
            false => next_rows(&view, &from, &moving, objects_max, bytes_max),
            true => rows_before(&view, &from, &moving, objects_max, bytes_max),
        };
        let Rows { rows, moved, cursor, last } = read.map_err(|error| NotStepped::Read(error.to_string()))?;
        let mut batch = self.store.disk.batch(2 * rows.len() + 1, durability());
        let mut left = rows.len();
        for (key, value) in rows {
            left -= 1;
            let lose = planted::is(Fault::MigrationLosesRow) && left == 0;
            if !lose {
                batch.insert(&to, key.clone(), value);
            }
            if !planted::is(Fault::MigrationKeepsSource) {
                batch.remove(&from, key);
            }
        }
        let cursor = if planted::is(Fault::MigrationCursorLags) { moving.cursor } else { cursor };
        if let Some(moving) = migration.moving_mut() {
            moving.cursor = cursor;
        }
        migration.moved = migration.moved.and(moved);
        migration.steps = migration.steps.saturating_add(1);
        let map = match planted::is(Fault::MigrationStaleMap) {
            true => ShardMap::clone(&self.store.map),
            false => self.store.map.moved_to(moving.from, cursor),
        };
        self.write_kept(batch, migration, map)?;
        let (first, end) = if cursor < moving.cursor { (cursor, moving.cursor) } else { (moving.cursor, cursor) };
        Ok(Chunk { to: target, first, end, moved, last })
    }

    /// How long others waited for a step is known once it is done, and written with what is written of it next.
    fn measure_step(&mut self, number: u64, took: Duration) {
        let took = took.as_micros().try_into().unwrap_or(u32::MAX);
        // Views share them: they are copied where there is something to say.
        let longer = self.store.migrations.get(&number).is_some_and(|migration| took > migration.step_us_max);
        if longer && let Some(migration) = Arc::make_mut(&mut self.store.migrations).get_mut(&number) {
            migration.step_us_max = took;
        }
    }

    fn steer(&mut self, number: u64, how: &Steer) -> Result<(), NotStepped> {
        let mut migration = self.running(number)?;
        match how {
            Steer::Pause => migration.paused = true,
            Steer::Resume => {
                migration.paused = false;
                migration.trouble.clear();
            }
            Steer::Back => (migration.back, migration.paused) = (true, false),
            Steer::Stop(what) => {
                migration.paused = true;
                migration.trouble = words(what);
            }
            Steer::Past(object, moved) => match &mut migration.course {
                Course::Rekey { after, .. } => {
                    after.clone_from(object);
                    migration.moved = migration.moved.and(*moved);
                    migration.steps = migration.steps.saturating_add(1);
                }
                _ => return Err(NotStepped::NotThere(number)),
            },
        }
        self.keep(migration, ShardMap::clone(&self.store.map))
    }

    /// The range belongs to who took it; or all is back. A shard that has no range left is no longer served, and nothing of it
    /// is there.
    fn end(&mut self, number: u64, ended: Ended) -> Result<(), NotStepped> {
        let mut migration = self.running(number)?;
        let mut without = None;
        let map = match (migration.moving().copied(), ended) {
            (None, _) => ShardMap::clone(&self.store.map),
            (Some(moving), ended) => {
                let (map, there, emptied) = match ended {
                    Ended::Done => (self.store.map.finished(moving.from)?, behind(moving.last), moving.from),
                    Ended::Undone => (self.store.map.undone(moving.from)?, (moving.start, 0), moving.to),
                };
                let other_way = migration.back != (ended == Ended::Undone);
                if moving.cursor != there || other_way {
                    return Err(NotStepped::NotThere(number));
                }
                // That it holds nothing has been looked at: that takes its time where much was removed, and nothing can come to it.
                if map.index_of(emptied).is_none() {
                    without = Some(emptied);
                }
                map
            }
        };
        let map = match (&migration.course, ended) {
            // There may be fewer owners by now.
            (Course::Split { moving, owner }, Ended::Done) => {
                map.given_to(moving.to, *owner % self.store.config.owners.max(1))
            }
            _ => map,
        };
        migration.ended = Some(ended);
        migration.ended_at = self.store.clock.now();
        let before = Arc::clone(&self.store.keyspaces);
        if let Some(emptied) = without {
            self.put_keyspaces(before.without(emptied));
        }
        self.keep(migration, map)
    }

    /// Moves all versions of an object to its new key. Nothing else in its group writes to the object.
    pub(super) fn write_rekey(&self, rekey: &Rekey, writing: &mut Writing) -> Result<(), ReadError> {
        let Rekey { object, from, to, .. } = rekey;
        let table = |place| self.table_of(place).expect("fenced re-keys are not written");
        let (source, target) = (table(*from), table(*to));
        let view = self.store.views.latest();
        let read = |pair: fjall::Result<Pair>| {
            let (key, value) = pair?;
            Ok((row::parse_key(&key)?.1, key, value))
        };
        // All are read before one is written.
        let rows = view.snapshot.prefix(source, row::prefix(*from)).map(read).collect::<Result<Vec<_>, ReadError>>()?;
        let first = view.locate_first(object)?.map(|(_, first)| first).unwrap_or_default();
        for (version, key, value) in rows {
            writing.batch.remove(source, key);
            if planted::is(Fault::RekeyLosesHistory) && version != rekey.version {
                continue;
            }
            writing.batch.insert(target, row::key(*to, version), value);
        }
        if !planted::is(Fault::RekeyKeepsLocator) {
            let value = locator::encode(*to, first);
            writing.batch.insert(&self.store.keyspaces.locator, locator::key(object), value);
        }
        Ok(())
    }
}

/// The lowest key that a row may have which stands at a spot or behind it.
fn lower(spot: Spot) -> Vec<u8> {
    match ObjectNumber::new(spot.1) {
        Some(number) => row::prefix(locator::Place { shard_key: spot.0, number }).to_vec(),
        // Beyond the last number there is: behind all of that key.
        None => [&spot.0.get().to_be_bytes()[..], &[u8::MAX; row::KEY_BYTES]].concat(),
    }
}

/// The spot behind an object.
fn behind_object(spot: Spot) -> Spot {
    (spot.0, spot.1 + 1)
}

fn spot_of(key: &[u8]) -> Result<Spot, ReadError> {
    Ok(row::parse_key(key)?.0.spot())
}

fn digest(key: &[u8], value: &[u8]) -> u64 {
    xxh3_64(key) ^ xxh3_64(value).rotate_left(17)
}

/// Takes whole objects from rows in order, as many as may be, and sums them up; where the last stands, if there are more.
fn take(
    pairs: impl Iterator<Item = fjall::Result<Pair>>,
    objects_max: usize,
    bytes_max: usize,
    mut with: impl FnMut(Pair),
) -> Result<(Moved, Option<Spot>), ReadError> {
    let mut moved = Moved::default();
    let mut at: Option<Spot> = None;
    for pair in pairs {
        let (key, value) = pair?;
        let spot = spot_of(&key)?;
        if at != Some(spot) {
            let enough = moved.objects >= objects_max as u64 || moved.bytes >= bytes_max as u64;
            if moved.objects > 0 && enough {
                return Ok((moved, at));
            }
            moved.objects += 1;
            at = Some(spot);
        }
        let bytes = (key.len() + value.len()) as u64;
        moved = moved.and(Moved { objects: 0, rows: 1, bytes, checksum: digest(&key, &value) });
        with((key, value));
    }
    Ok((moved, None))
}

/// The rows from the cursor on.
fn next_rows(
    view: &ReadView,
    from: &Table,
    moving: &Moving,
    objects_max: usize,
    bytes_max: usize,
) -> Result<Rows, ReadError> {
    let end = behind(moving.last);
    let range = (Bound::Included(lower(moving.cursor)), Bound::Excluded(lower(end)));
    let mut rows = Vec::new();
    let (moved, stopped) = take(view.snapshot.range(from, range), objects_max, bytes_max, |pair| rows.push(pair))?;
    Ok(Rows { rows, moved, cursor: stopped.map_or(end, behind_object), last: stopped.is_none() })
}

/// The rows before the cursor, the nearest first.
fn rows_before(
    view: &ReadView,
    from: &Table,
    moving: &Moving,
    objects_max: usize,
    bytes_max: usize,
) -> Result<Rows, ReadError> {
    let start: Spot = (moving.start, 0);
    let range = (Bound::Included(lower(start)), Bound::Excluded(lower(moving.cursor)));
    let mut rows = Vec::new();
    let (moved, stopped) =
        take(view.snapshot.range(from, range).rev(), objects_max, bytes_max, |pair| rows.push(pair))?;
    Ok(Rows { rows, moved, cursor: stopped.unwrap_or(start), last: stopped.is_none() })
}

/// What stands in a shard between two spots, for those who hold it against what was to stand there.
pub(crate) fn standing(view: &ReadView, table: &Table, first: Spot, end: Spot) -> Result<Moved, ReadError> {
    let range = (Bound::Included(lower(first)), Bound::Excluded(lower(end)));
    Ok(take(view.snapshot.range(table, range), usize::MAX, usize::MAX, drop)?.0)
}

/// The middle key of the objects of a shard; `None` where all stand under one key, or nothing does.
pub(crate) fn middle(view: &ReadView, table: &Table) -> Result<Option<ShardKey>, ReadError> {
    const KEYS_MAX: usize = 4_096;
    let (mut keys, mut every, mut objects): (Vec<ShardKey>, u64, u64) = (Vec::new(), 1, 0);
    let mut at = None;
    for pair in view.snapshot.iter(table) {
        let spot = spot_of(&pair?.0)?;
        if at == Some(spot) {
            continue;
        }
        at = Some(spot);
        if objects.is_multiple_of(every) {
            keys.push(spot.0);
        }
        objects += 1;
        if keys.len() == KEYS_MAX {
            let mut even = false;
            keys.retain(|_| {
                even = !even;
                even
            });
            every *= 2;
        }
    }
    let Some(first) = keys.first().copied() else { return Ok(None) };
    let behind_first = |key: &&ShardKey| **key != first;
    let middle = keys.get(keys.len() / 2).filter(behind_first).or_else(|| keys.iter().find(behind_first));
    Ok(middle.copied())
}
