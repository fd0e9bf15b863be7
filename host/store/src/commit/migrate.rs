//! The steps of migrations, as the committing thread makes them: between two groups, each one batch with its own sync, so that
//! whatever the next group writes finds rows, map and cursor where they are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fjall::Slice;
use ostrakon_core::{Moving, ShardMap, Spot, behind};
use ostrakon_wire::bounds::{
    MIGRATION_CHANGED_BYTES_MAX, MIGRATION_CHANGED_ROWS_MAX, MIGRATION_STEP_BYTES_MAX, MIGRATION_STEP_ROWS_MAX,
    MIGRATION_STEP_US_AIM, MIGRATIONS_KEPT,
};

use super::{Sink, Thread, durability};
use crate::disk::Batch;
use crate::migrate::{Chunk, Does, NewShard, NotStepped, Steer, Step, Stepped};
use crate::planted::{self, Fault};
use crate::record::meta;
use crate::record::migration::{Course, ENDED_PREFIX, Ended, Migration, RUNNING_PREFIX, key_of, words};
use crate::stretch::{Mended, Piece, behind_object, bytes_of, mend};

/// A step mends no more after that.
const MIGRATION_STEP_AIM: Duration = Duration::from_micros(MIGRATION_STEP_US_AIM);

/// What changes of the objects that a migration moves, from where it was copied on.
pub(super) struct Followed {
    moving: Moving,
    back: bool,
    /// What was written of their rows, object by object.
    changed: BTreeMap<Spot, BTreeMap<Slice, Written>>,
    rows: usize,
    bytes: usize,
    /// It was more than can be kept in mind.
    lost: bool,
}

/// What was written under a key.
struct Written {
    value: Option<Slice>,
    /// Whether something may have stood there when it was copied.
    stood: bool,
}

impl Followed {
    fn new(moving: Moving, back: bool) -> Self {
        Self { moving, back, changed: BTreeMap::new(), rows: 0, bytes: 0, lost: false }
    }

    pub(super) fn note(&mut self, spot: Spot, row: &Mended) {
        let ahead = self.moving.covers(spot.0) && self.moving.has_moved(spot) == self.back;
        if self.lost || !ahead {
            return;
        }
        let (key, value) = row;
        let rows = self.changed.entry(spot).or_default();
        let before = rows.remove(key);
        if let Some(before) = &before {
            self.rows -= 1;
            self.bytes -= bytes_of(key, &before.value);
        }
        // A row that came and went again never was with the taker.
        let stood = before.map_or(value.is_none(), |before| before.stood);
        if stood || value.is_some() {
            self.rows += 1;
            self.bytes += bytes_of(key, value);
            rows.insert(key.clone(), Written { value: value.clone(), stood });
        }
        if self.rows > MIGRATION_CHANGED_ROWS_MAX || self.bytes > MIGRATION_CHANGED_BYTES_MAX {
            *self = Self { lost: true, ..Self::new(self.moving, self.back) };
        }
    }

    /// What has been gone past need not be kept in mind.
    fn pass(&mut self, cursor: Spot) {
        self.moving.cursor = cursor;
        let mut passed = self.changed.split_off(&cursor);
        if !self.back {
            std::mem::swap(&mut self.changed, &mut passed);
        }
        for (key, written) in passed.values().flatten() {
            self.rows -= 1;
            self.bytes -= bytes_of(key, &written.value);
        }
    }

    /// The objects of a piece that have to be mended, in the order in which the cursor comes to them, with what was written of
    /// them since, where they were copied.
    fn to_mend(&self, piece: &Piece) -> Vec<(Spot, Option<&BTreeMap<Slice, Written>>)> {
        let mut objects = BTreeMap::new();
        if !planted::is(Fault::MigrationMissesChanges) {
            let changed = self.changed.range(piece.first..piece.end);
            objects.extend(changed.map(|(spot, rows)| (*spot, Some(rows))));
        }
        objects.extend(piece.differs.iter().map(|spot| (*spot, None)));
        if self.back { objects.into_iter().rev().collect() } else { objects.into_iter().collect() }
    }
}

impl<S: Sink> Thread<S> {
    /// Makes a step, and says what came of it.
    pub(super) fn step(&mut self, step: &Step) {
        let started = self.store.clock.instant();
        let done = match &step.does {
            Does::Begin(migration, new) => self.begin(migration, new.as_ref()).map(|()| None),
            Does::Follow { number } => self.follow(*number).map(|()| None),
            Does::Advance { number, back, pieces, .. } => self.advance(*number, *back, pieces).map(Some),
            Does::Steer { number, how } => self.steer(*number, how).map(|()| None),
            Does::End { number, ended } => self.end(*number, *ended).map(|()| None),
        };
        let took = self.store.clock.instant().duration_since(started);
        if let (Does::Advance { number, waited, .. }, Ok(_)) = (&step.does, &done) {
            self.measure_step(*number, took.max(*waited));
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
        if let Some(NewShard { shard, table, .. }) = new {
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

    /// The same, if it is to go on.
    fn going(&self, number: u64) -> Result<Migration, NotStepped> {
        let migration = self.running(number)?;
        if migration.paused { Err(NotStepped::Paused(number)) } else { Ok(migration) }
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
        let mut migrations = BTreeMap::clone(&self.store.migrations);
        match migration.ended {
            Some(_) => drop(migrations.remove(&migration.number)),
            None => drop(migrations.insert(migration.number, migration)),
        }
        self.store.migrations = Arc::new(migrations);
        self.store.map = Arc::new(map);
        self.store.publish_at(&self.log);
        Ok(())
    }

    fn follow(&mut self, number: u64) -> Result<(), NotStepped> {
        let migration = self.running(number)?;
        let (moving, back) = (*migration.moving().ok_or(NotStepped::NotThere(number))?, migration.back);
        self.followed.insert(number, Followed::new(moving, back));
        Ok(())
    }

    /// Goes past pieces that have been copied: what has changed since, what the taker has not and the cursor, in one batch.
    fn advance(&mut self, number: u64, back: bool, pieces: &[Piece]) -> Result<Chunk, NotStepped> {
        let mut migration = self.going(number)?;
        let moving = *migration.moving().ok_or(NotStepped::NotThere(number))?;
        let followed = self.followed.get(&number).filter(|it| it.back == back && migration.back == back);
        let followed = followed.ok_or(NotStepped::NotThere(number))?;
        if followed.lost {
            return Err(NotStepped::Lost(number));
        }
        let (giver, taker) = moving.gives_and_takes(back);
        let table = |shard| self.store.keyspaces.shards.get(&shard).cloned().ok_or(NotStepped::NoShard(shard));
        let (from, to) = (table(giver)?, table(taker)?);
        let held = |shard: &_| self.flusher.as_ref().is_some_and(|flusher| flusher.tables().held().is_held(*shard));
        if let Some(shard) = [giver, taker].into_iter().find(held) {
            return Err(NotStepped::Held(shard));
        }
        let started = self.store.clock.instant();
        // Newer than the view: what was put beside the journal is in it.
        let snapshot = self.store.disk.snapshot();
        let mut batch = self.store.disk.batch(2 * pieces.len() + 4, durability());
        let (mut cursor, mut bytes) = (moving.cursor, 0);
        'pieces: for piece in pieces {
            let (near, far) = if back { (piece.end, piece.first) } else { (piece.first, piece.end) };
            if near != cursor {
                break;
            }
            for (spot, written) in followed.to_mend(piece) {
                // Many more objects may stand there by now than there were.
                let long = self.store.clock.instant().duration_since(started) >= MIGRATION_STEP_AIM;
                if batch.len() >= MIGRATION_STEP_ROWS_MAX
                    || bytes >= MIGRATION_STEP_BYTES_MAX
                    || long && cursor != moving.cursor
                {
                    break 'pieces;
                }
                let mended = match written {
                    Some(written) => {
                        written.iter().map(|(key, written)| (key.clone(), written.value.clone())).collect()
                    }
                    None => mend(&snapshot, (&from, &to), spot).map_err(|error| NotStepped::Read(error.to_string()))?,
                };
                for (key, value) in mended {
                    bytes += bytes_of(&key, &value);
                    batch.put(&to, (key, value));
                }
                cursor = if back { spot } else { behind_object(spot) };
            }
            migration.moved = migration.moved.and(piece.moved);
            cursor = far;
        }
        if cursor == moving.cursor {
            return Err(NotStepped::NotThere(number));
        }
        let written = if planted::is(Fault::MigrationCursorLags) { moving.cursor } else { cursor };
        if let Some(moving) = migration.moving_mut() {
            moving.cursor = written;
        }
        migration.steps = migration.steps.saturating_add(1);
        let map = match planted::is(Fault::MigrationStaleMap) {
            true => ShardMap::clone(&self.store.map),
            false => self.store.map.moved_to(moving.from, written),
        };
        self.write_kept(batch, migration, map)?;
        if let Some(followed) = self.followed.get_mut(&number) {
            followed.pass(cursor);
        }
        let (first, end) = (cursor.min(moving.cursor), cursor.max(moving.cursor));
        Ok(Chunk { from: giver, to: taker, first, end, cursor })
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

    /// The range belongs to who took it; or all is back. A shard that has no range left is no longer served; what it still
    /// holds stands elsewhere as well.
    fn end(&mut self, number: u64, ended: Ended) -> Result<(), NotStepped> {
        let mut migration = self.going(number)?;
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
        self.followed.remove(&number);
        let before = Arc::clone(&self.store.keyspaces);
        if let Some(emptied) = without {
            self.put_keyspaces(before.without(emptied));
        }
        self.keep(migration, map)
    }
}
