//! Checks a folder that no host uses: that rows, log, locators and numbers agree.
//!
//! Everything is read once, in three passes: the locators, the log, then the rows shard by shard. What one says is held
//! against the others; what disagrees is a finding, and no finding ends the check. Before, files are held
//! against their checksums as at every start; damage there ends the check by name, that of a shard too.

mod finding;
mod log;
mod rows;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use ostrakon_core::ShardMap;
use ostrakon_wire::bounds::{CHECK_FINDINGS_MAX, RETENTION_AGE_MS_DEFAULT};
use ostrakon_wire::{Keep, ObjectId, Revision, Version};

use crate::Verify;
use crate::disk::Snapshot;
use crate::error::OpenError;
use crate::keyspaces::{Keyspaces, LOCATOR, META};
use crate::open::{self, folder};
use crate::record::case;
use crate::record::locator::{self, ObjectNumber, Place};
use crate::record::meta::{self, LogStart, Retention};
use crate::survey::DamagedShards;

pub use finding::Finding;
use log::Log;

/// What a check has counted and found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Objects that have a locator, deleted ones included.
    pub objects: u64,
    /// Versions of objects.
    pub rows: u64,
    /// Rows that a shard has given to another one and that are still in it.
    pub left_rows: u64,
    /// Commit groups in the log.
    pub log_records: u64,
    /// Changes in them.
    pub changes: u64,
    /// Changes that carry an action id.
    pub action_ids: u64,
    /// Objects with fewer versions than history keeps at most now, though older ones were made: they were too old, or the
    /// setting was raised.
    pub short_histories: u64,
    /// What disagrees, the first of it.
    pub findings: Vec<Finding>,
    /// How much disagrees, what is not in `findings` included.
    pub findings_total: u64,
}

impl CheckReport {
    fn found(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < CHECK_FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// What every pass looks at.
struct Folder {
    snapshot: Snapshot,
    keyspaces: Keyspaces,
    map: ShardMap,
    retention: Retention,
    start: LogStart,
    /// How far the log must reach.
    acknowledged: Option<Revision>,
    /// Numbers from here on were never given out.
    numbers_mark: u64,
}

/// What the locators say.
#[derive(Default)]
struct Locators {
    places: HashMap<ObjectId, Place>,
    objects: HashMap<ObjectNumber, ObjectId>,
    firsts: HashMap<ObjectNumber, Version>,
}

/// Checks a data folder.
///
/// # Errors
/// When there is none, a host uses it, or too little of it can be read to look at the rest.
pub fn check(path: &Path) -> Result<CheckReport, OpenError> {
    let mut report = CheckReport::default();
    let Some(folder) = Folder::open(path)? else { return Ok(report) };
    let engine = |source: fjall::Error| open::engine_error(path, source);
    let locators = folder.locators(&mut report).map_err(engine)?;
    let mut log = Log::read(&folder, &locators, &mut report).map_err(engine)?;
    folder.cases(&mut report).map_err(engine)?;
    let spans = rows::read(&folder, &locators, &mut log, &mut report).map_err(engine)?;
    for (number, object) in &locators.objects {
        if !spans.contains_key(number) {
            report.found(Finding::NoRow { object: object.clone() });
        }
    }
    log.hold_unseen(&locators, &spans, &mut report);
    Ok(report)
}

impl Folder {
    /// `None` for a folder whose making was cut off before anything could be stored in it.
    fn open(path: &Path) -> Result<Option<Self>, OpenError> {
        if folder::what_stands(path) == (false, false) {
            return Err(OpenError::NoStore { path: path.into() });
        }
        let entered = folder::enter(path, Verify::Full, DamagedShards::Refuse)?;
        let engine = |source: fjall::Error| open::engine_error(path, source);
        let damaged = |source| OpenError::Damaged { path: path.into(), source };
        if !folder::what_stands(path).1 {
            return Ok(None);
        }
        let database = folder::open_database(path)?;
        let Some((facts, map)) = folder::find_facts(&database, path)? else { return Ok(None) };
        folder::hold_keyspaces(&database, path)?;
        let roster = folder::roster(path)?;
        let keyspaces = Keyspaces::open(&database, &roster, map.shards(), entered.lock).map_err(engine)?;
        let snapshot = Snapshot::Fjall(database.snapshot());
        let fact = |key| snapshot.get(&keyspaces.meta, key).map_err(engine);
        let start = fact(meta::FLOORS_KEY)?.map(|value| LogStart::decode(&value).map_err(damaged)).transpose()?;
        let mark = fact(meta::NUMBERS_KEY)?.map(|value| meta::decode_numbers(&value).map_err(damaged)).transpose()?;
        let retention =
            fact(meta::RETENTION_KEY)?.map(|value| Retention::decode(&value).map_err(damaged)).transpose()?;
        let retention = retention.unwrap_or_else(|| Retention {
            all: Keep { versions: facts.history_versions, age_ms: RETENTION_AGE_MS_DEFAULT },
            types: BTreeMap::new(),
        });
        let (start, numbers_mark) = (start.unwrap_or_default(), mark.unwrap_or_default());
        Ok(Some(Self { snapshot, keyspaces, map, retention, start, acknowledged: entered.mark, numbers_mark }))
    }

    /// Holds that tickets and escalations can be read: a start reads them all.
    fn cases(&self, report: &mut CheckReport) -> fjall::Result<()> {
        for pair in self.snapshot.prefix(&self.keyspaces.meta, case::TICKET_PREFIX) {
            let (key, value) = pair?;
            if let Err(damage) = case::Ticket::decode(&value) {
                report.found(Finding::damaged(META, &key, &damage));
            }
        }
        for pair in self.snapshot.prefix(&self.keyspaces.meta, case::ESCALATION_PREFIX) {
            let (key, value) = pair?;
            if let Err(damage) = case::parse_escalation_key(&key).and(case::Escalation::decode(&value).map(drop)) {
                report.found(Finding::damaged(META, &key, &damage));
            }
        }
        Ok(())
    }

    fn locators(&self, report: &mut CheckReport) -> fjall::Result<Locators> {
        let mut all = Locators::default();
        for pair in self.snapshot.iter(&self.keyspaces.locator) {
            let (key, value) = pair?;
            report.objects += 1;
            let read = locator::object(&key).and_then(|object| Ok((object, locator::decode(&value)?)));
            let (object, (place, first)) = match read {
                Ok(read) => read,
                Err(damage) => {
                    report.found(Finding::damaged(LOCATOR, &key, &damage));
                    continue;
                }
            };
            if place.number.get() >= self.numbers_mark {
                report.found(Finding::NumberNotGiven { object: object.clone() });
            }
            if let Some(other) = all.objects.insert(place.number, object.clone()) {
                report.found(Finding::NumberTwice { one: other, other: object.clone() });
            }
            all.firsts.insert(place.number, first);
            all.places.insert(object, place);
        }
        Ok(all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
