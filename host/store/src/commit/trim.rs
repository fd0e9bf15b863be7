//! The log and the ids that are remembered, brought back to their bounds: in the group that brings more than they allow.

use ostrakon_wire::bounds::GROUP_CHANGES_MAX;
use ostrakon_wire::{ActionId, ObjectId, Revision};

use super::{Sink, Thread};
use crate::disk::Batch;
use crate::error::ReadError;
use crate::planted::{self, Fault};
use crate::record::{log, meta};

/// Changes that leave the log at a time: more than a group brings, so that the log shrinks to its bound, and few enough
/// that no group waits long for it.
const TRIM_CHANGES_MIN: u64 = 2 * GROUP_CHANGES_MAX as u64;

/// What goes, once the group that it goes with is durable.
pub(super) struct Trim {
    pub(super) start: meta::LogStart,
    /// That leave the log.
    pub(super) changes: u64,
    /// Whose ids are forgotten.
    pub(super) forgotten: u64,
    /// These ids.
    pub(super) dropped: Vec<(ObjectId, ActionId)>,
}

impl<S: Sink> Thread<S> {
    /// Once there are enough over their bounds, forgets the oldest ids and raises the floors for them, and drops the oldest
    /// records of the log.
    pub(super) fn trim(&self, batch: &mut Batch, brought: u64) -> Option<Trim> {
        let slack = |kept: u64| (kept / 64).max(self.group_max as u64);
        let over = |changes: u64, kept: u64| if changes > kept + slack(kept) { changes - kept } else { 0 };
        let ids = self.store.config.action_ids as u64;
        let (forget, drop) = (over(self.log.remembered, ids), over(self.log.changes, self.store.config.log_kept()));
        if forget == 0 && drop == 0 {
            return None;
        }
        // More than the group brings, so that the log shrinks to its bound.
        let (forget, drop) = (forget.min(TRIM_CHANGES_MIN + 2 * brought), drop.min(TRIM_CHANGES_MIN + 2 * brought));
        let mut trim = Trim { start: self.log.start.clone(), changes: 0, forgotten: 0, dropped: Vec::new() };
        let read = self.forget_ids(forget, &mut trim).and_then(|()| self.drop_records(drop, batch, &mut trim));
        if let Err(error) = read {
            tracing::error!(%error, "the log cannot be trimmed");
            return None;
        }
        if (trim.changes, trim.forgotten) == (0, 0) {
            return None;
        }
        trim.start.floors.settle();
        batch.insert(&self.store.keyspaces.meta, meta::FLOORS_KEY, trim.start.encode());
        Some(trim)
    }

    /// Forgets the ids of so many changes at most.
    fn forget_ids(&self, most: u64, trim: &mut Trim) -> Result<(), ReadError> {
        let view = self.store.views.latest();
        for record in view.log_from(self.log.start.ids_from) {
            let (first, record) = record?;
            let of_record = record.entries.len() as u64;
            if trim.forgotten + of_record > most {
                break;
            }
            for entry in &record.entries {
                let Some(identity) = entry.identity else { continue };
                if !planted::is(Fault::NoFloor) {
                    trim.start.floors.drop_id(entry.object.client(), identity.id, record.committed);
                }
                trim.dropped.push((entry.object.clone(), identity.id));
            }
            trim.forgotten += of_record;
            trim.start.ids_from = Revision::new(first.get() + record.units());
        }
        Ok(())
    }

    /// Drops records of so many changes at most, none whose ids are remembered.
    fn drop_records(&self, most: u64, batch: &mut Batch, trim: &mut Trim) -> Result<(), ReadError> {
        let view = self.store.views.latest();
        for record in view.log_from(self.log.start.first) {
            let (first, record) = record?;
            let of_record = record.entries.len() as u64;
            if trim.changes + of_record > most || first >= trim.start.ids_from {
                break;
            }
            batch.remove(&self.store.keyspaces.log, log::key(first));
            trim.changes += of_record;
            trim.start.first = Revision::new(first.get() + record.units());
        }
        Ok(())
    }
}
