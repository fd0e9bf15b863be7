//! The log: a change a revision, held against the rows as these come by.

use std::collections::{HashMap, HashSet};

use ostrakon_wire::{ActionId, ObjectId, Revision, ShardKey, Version};

use super::{CheckReport, Finding, Folder, Locators};
use crate::keyspaces::LOG;
use crate::record::locator::{ObjectNumber, Place};
use crate::record::log;
use crate::record::row::Row;

/// One change, as the log tells it.
struct Logged {
    revision: Revision,
    /// `None` where no locator knows the object.
    number: Option<ObjectNumber>,
    shard_key: ShardKey,
    version: Version,
    tombstone: bool,
    action_id: Option<ActionId>,
    /// A row was made by it.
    seen: bool,
}

/// The versions that stand for an object.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) oldest: Version,
    pub(super) newest: Version,
}

/// The log's changes, in order.
pub(super) struct Log {
    /// Revision of the first.
    first: Revision,
    changes: Vec<Logged>,
    /// The objects of the changes that no locator knows, by their index.
    strangers: HashMap<usize, ObjectId>,
    /// The objects that were forgotten, and when last.
    forgotten: HashMap<ObjectId, Revision>,
    /// When objects came under another key last, and which one.
    rekeyed: HashMap<ObjectNumber, (Revision, ShardKey)>,
}

impl Log {
    pub(super) fn read(folder: &Folder, locators: &Locators, report: &mut CheckReport) -> fjall::Result<Self> {
        let first = Revision::new(folder.start.first.get().max(1));
        let mut all = Self {
            first,
            changes: Vec::new(),
            strangers: HashMap::new(),
            forgotten: HashMap::new(),
            rekeyed: HashMap::new(),
        };
        let mut ids = HashSet::new();
        let mut expected = first;
        for pair in folder.snapshot.iter(&folder.keyspaces.log) {
            let (key, value) = pair?;
            report.log_records += 1;
            let read = log::parse_key(&key).and_then(|found| Ok((found, log::Record::decode(&value)?)));
            let (found, record) = match read {
                Ok(read) => read,
                Err(damage) => {
                    report.found(Finding::damaged(LOG, &key, &damage));
                    continue;
                }
            };
            if found != expected {
                report.found(Finding::LogHole { expected, found });
            }
            if found < expected {
                continue;
            }
            expected = Revision::new(found.get() + record.units());
            for (revision, entry) in record.by_revision(found) {
                report.changes += 1;
                if let Some(identity) = entry.identity {
                    report.action_ids += 1;
                    if !ids.insert((entry.object.client().to_owned(), identity.id)) {
                        let object = entry.object.clone();
                        report.found(Finding::IdTwice { id: identity.id, object, revision });
                    }
                }
                all.push(locators, revision, entry);
            }
        }
        let last = Revision::new(expected.get() - 1);
        if let Some(acknowledged) = folder.acknowledged.filter(|acknowledged| *acknowledged > last) {
            report.found(Finding::LogShort { last, acknowledged });
        }
        Ok(all)
    }

    fn push(&mut self, locators: &Locators, revision: Revision, entry: log::Entry) {
        let number = locators.places.get(&entry.object).map(|place| place.number);
        // The changes of a transaction have its id, and the first alone tells it.
        let before = self.changes.last().filter(|_| entry.joined);
        let action_id = entry.identity.map(|identity| identity.id).or(before.and_then(|before| before.action_id));
        if entry.outcome == log::Outcome::Forgotten {
            self.forgotten.insert(entry.object.clone(), revision);
        }
        if let (log::Outcome::Rekeyed, Some(number)) = (entry.outcome, number) {
            self.rekeyed.insert(number, (revision, entry.shard_key));
        }
        self.changes.push(Logged {
            revision,
            number,
            shard_key: entry.shard_key,
            version: entry.version,
            tombstone: entry.tombstone,
            action_id,
            // What made no version has no row to wait for.
            seen: entry.outcome != log::Outcome::Made,
        });
        if number.is_none() {
            self.strangers.insert(self.changes.len() - 1, entry.object);
        }
    }

    /// Holds a row against the change that made it.
    pub(super) fn hold(&mut self, place: Place, version: Version, row: &Row, report: &mut CheckReport) {
        let revision = row.revision;
        // What is older than the log was in a part of it that is gone.
        if revision < self.first {
            return;
        }
        let object = row.object.clone();
        let unit = self.changes.partition_point(|logged| logged.revision < revision);
        let end = unit + self.changes[unit..].partition_point(|logged| logged.revision == revision);
        let of_unit = &mut self.changes[unit..end];
        let own = of_unit.iter().position(|logged| logged.number == Some(place.number)).unwrap_or(0);
        let Some(logged) = of_unit.get_mut(own) else {
            report.found(Finding::RowWithoutChange { object, version, revision });
            return;
        };
        // What an object was recorded under before it came under another key is not known from its rows.
        let shard_key = match self.rekeyed.get(&place.number) {
            Some((at, now)) if logged.revision < *at => *now,
            _ => logged.shard_key,
        };
        let difference = [
            (logged.number != Some(place.number), "the object"),
            (logged.version != version, "the version"),
            (shard_key != place.shard_key, "the shard key"),
            (logged.tombstone != row.payload.is_none(), "whether it is a tombstone"),
            (logged.action_id != row.action_id, "the action id"),
            (logged.seen, "which row it made: another says the same of itself"),
        ];
        logged.seen = true;
        if let Some((_, what)) = difference.into_iter().find(|(differs, _)| *differs) {
            report.found(Finding::Differs { object, version, revision, what });
        }
    }

    /// Holds the changes that no row was made by against what history keeps.
    pub(super) fn hold_unseen(
        &self,
        locators: &Locators,
        spans: &HashMap<ObjectNumber, Span>,
        report: &mut CheckReport,
    ) {
        for (at, logged) in self.changes.iter().enumerate() {
            let Logged { seen: false, revision, number, version, .. } = logged else { continue };
            let span = number.and_then(|number| spans.get(&number));
            // What lies below the oldest version has left history.
            if span.is_some_and(|span| *version < span.oldest) {
                continue;
            }
            let known = number.as_ref().and_then(|number| locators.objects.get(number));
            let Some(object) = known.or_else(|| self.strangers.get(&at)).cloned() else { continue };
            if self.forgotten.get(&object).is_none_or(|forgotten| forgotten < revision) {
                report.found(Finding::ChangeWithoutRow { object, version: *version, revision: *revision });
            }
        }
    }
}
