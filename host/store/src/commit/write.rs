//! Units as rows: what each puts into its group's batch.

use std::sync::Arc;

use fjall::Slice;
use ostrakon_core::Spot;
use ostrakon_wire::{Revision, TimestampMs, Version};

use super::{Sink, Thread};
use crate::disk::{Batch, Table};
use crate::error::ReadError;
use crate::planted::{self, Fault};
use crate::record::locator::Place;
use crate::record::meta::{Forgotten, Retention};
use crate::record::{locator, log, meta, row};
use crate::stretch::{Left, Mended, Pair, spot_of};
use crate::unit::{Change, Forget, Rekey, Unit, Upkeep};

/// A group on its way into a batch.
pub(super) struct Writing {
    pub(super) batch: Batch,
    pub(super) record: log::Builder,
    pub(super) now: TimestampMs,
    /// Of the next unit.
    pub(super) revision: Revision,
    /// A row's value.
    pub(super) value: Vec<u8>,
    /// The highest number of a new object.
    pub(super) numbered: u64,
    /// That the log is told.
    pub(super) changes: u64,
    pub(super) forgotten: Forgotten,
    pub(super) retention: Option<Arc<Retention>>,
    /// What is written of objects' rows, in order, where a migration follows any.
    pub(super) followed: Option<Vec<(Spot, Mended)>>,
}

impl Writing {
    /// A row of an object is to stand in a table, or none is to.
    fn put(&mut self, table: &Table, place: Place, version: Version, value: Option<Slice>) {
        let row = (Slice::from(row::key(place, version)), value);
        if let Some(followed) = &mut self.followed {
            followed.push((place.spot(), row.clone()));
        }
        self.batch.put(table, row);
    }
}

impl<S: Sink> Thread<S> {
    /// Puts a unit into the group's batch and its log record; `false` where it cannot be read what it moves.
    pub(super) fn write(&self, unit: &Unit, writing: &mut Writing) -> bool {
        if let Unit::Rekey(rekey) = unit
            && let Err(error) = self.write_rekey(rekey, writing)
        {
            tracing::error!(%error, "an object cannot be read, and keeps its key");
            return false;
        }
        for part in unit.parts() {
            match part {
                Unit::Change(change) => self.write_change(change, writing),
                Unit::Forget(forget) => self.write_forget(forget, writing),
                Unit::Upkeep(upkeep) => self.write_upkeep(upkeep, writing),
                Unit::Note(_) | Unit::Together(..) | Unit::Rekey(_) => {}
            }
            for case in part.cases() {
                case.write(&mut writing.batch, &self.store.keyspaces.meta, writing.revision);
            }
        }
        for told in unit.told() {
            writing.record.push(&told);
            writing.changes += 1;
        }
        if unit.takes_revision() {
            writing.revision = Revision::new(writing.revision.get() + 1);
        }
        true
    }

    fn write_change(&self, change: &Change, writing: &mut Writing) {
        let keyspace = self.table_of(change.place).expect("a fenced change is not written");
        row::encode(
            &mut writing.value,
            &row::Made {
                revision: writing.revision,
                timestamp: change.timestamp,
                committed: writing.now,
                action_id: change.identity.map(|identity| identity.id),
                kind: Some(change.kind),
                by: change.by.as_deref(),
                object: &change.object,
                payload: change.payload.as_ref(),
            },
        );
        writing.put(keyspace, change.place, change.version, Some(Slice::from(&writing.value[..])));
        if change.new_object {
            let value = locator::encode(change.place, change.version);
            writing.batch.insert(&self.store.keyspaces.locator, locator::key(&change.object), value);
            writing.numbered = writing.numbered.max(change.place.number.get());
        }
        let kept = u64::from(self.store.retention.of(change.object.data_type()).versions);
        if change.version.get() > kept {
            let oldest = Version::new(change.version.get() - kept);
            writing.put(keyspace, change.place, oldest, None);
        }
    }

    fn write_forget(&self, forget: &Forget, writing: &mut Writing) {
        let Forget { object, place, version, revision, older } = forget;
        let Some(keyspace) = self.table_of(*place) else { return };
        for version in older.iter().chain([version]) {
            writing.put(keyspace, *place, *version, None);
        }
        writing.batch.remove(&self.store.keyspaces.locator, locator::key(object));
        writing.forgotten.version = writing.forgotten.version.max(*version);
        writing.forgotten.revision = writing.forgotten.revision.max(*revision);
    }

    fn write_upkeep(&self, upkeep: &Upkeep, writing: &mut Writing) {
        match upkeep {
            Upkeep::Drop(versions) => {
                for (place, version) in versions {
                    if let Some(keyspace) = self.table_of(*place) {
                        writing.put(keyspace, *place, *version, None);
                    }
                }
            }
            Upkeep::Retain(retention) => {
                writing.batch.insert(&self.store.keyspaces.meta, meta::RETENTION_KEY, retention.encode());
                writing.retention = Some(Arc::clone(retention));
            }
            Upkeep::Sweep(left) => self.write_left(left, writing),
            Upkeep::Planning(planning) => {
                writing.batch.insert(&self.store.keyspaces.meta, meta::PLANNING_KEY, &planning[..]);
            }
            // It was made ahead of the group.
            Upkeep::Migrate(_) => {}
        }
    }

    /// Removes rows that a shard has given away and kept, if it has not got them back.
    fn write_left(&self, Left { shard, keys }: &Left, writing: &mut Writing) {
        let shard = *shard;
        let Some(table) = self.store.keyspaces.shards.get(&shard) else { return };
        if self.store.migrations.values().any(|migration| migration.shards().any(|other| other == shard)) {
            return;
        }
        for key in keys {
            let held = spot_of(key).map_or(shard, |spot| self.store.map.holder(spot));
            if held != shard || planted::is(Fault::SweepTakesHeld) {
                writing.batch.remove(table, key.clone());
            }
        }
    }

    /// Moves all versions of an object to its new key. Nothing else in its group writes to the object.
    fn write_rekey(&self, rekey: &Rekey, writing: &mut Writing) -> Result<(), ReadError> {
        let Rekey { object, from, to, .. } = rekey;
        let table = |place| self.table_of(place).expect("fenced re-keys are not written");
        let (source, target) = (table(*from), table(*to));
        let view = self.store.views.latest();
        let read = |pair: fjall::Result<Pair>| {
            let (key, value) = pair?;
            Ok((row::parse_key(&key)?.1, value))
        };
        // All are read before one is written.
        let rows = view.snapshot.prefix(source, row::prefix(*from)).map(read).collect::<Result<Vec<_>, ReadError>>()?;
        let first = view.locate_first(object)?.map(|(_, first)| first).unwrap_or_default();
        for (version, value) in rows {
            writing.put(source, *from, version, None);
            if planted::is(Fault::RekeyLosesHistory) && version != rekey.version {
                continue;
            }
            writing.put(target, *to, version, Some(value));
        }
        if !planted::is(Fault::RekeyKeepsLocator) {
            let value = locator::encode(*to, first);
            writing.batch.insert(&self.store.keyspaces.locator, locator::key(object), value);
        }
        Ok(())
    }
}
