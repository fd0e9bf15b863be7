//! The rows, shard by shard: each object's versions in one run, newest first.

use std::collections::HashMap;

use ostrakon_wire::{ObjectId, ShardId, Version};

use super::log::{Log, Span};
use super::{CheckReport, Finding, Folder, Locators};
use crate::keyspaces::shard_name;
use crate::record::locator::{ObjectNumber, Place};
use crate::record::row::{self, Row};

/// The versions of one place that came by last.
struct Run {
    place: Place,
    object: ObjectId,
    newest: Version,
    oldest: Version,
    rows: u64,
}

/// A version that stands elsewhere than its locator says.
struct Stray {
    number: ObjectNumber,
    object: ObjectId,
    version: Version,
}

struct Reader<'a> {
    folder: &'a Folder,
    locators: &'a Locators,
    log: &'a mut Log,
    report: &'a mut CheckReport,
    spans: HashMap<ObjectNumber, Span>,
    strays: Vec<Stray>,
}

/// Reads every row; answers which versions stand for each number that a locator leads to.
pub(super) fn read(
    folder: &Folder,
    locators: &Locators,
    log: &mut Log,
    report: &mut CheckReport,
) -> fjall::Result<HashMap<ObjectNumber, Span>> {
    let mut reader = Reader { folder, locators, log, report, spans: HashMap::new(), strays: Vec::new() };
    for shard in folder.map.shards() {
        reader.shard(shard)?;
    }
    let Reader { report, spans, strays, .. } = reader;
    for Stray { number, object, version } in strays {
        let twice = spans.get(&number).is_some_and(|span| span.oldest <= version && version <= span.newest);
        report.found(if twice {
            Finding::VersionTwice { object, version }
        } else {
            Finding::OtherPlace { object, version }
        });
    }
    Ok(spans)
}

impl Reader<'_> {
    fn shard(&mut self, shard: ShardId) -> fjall::Result<()> {
        let Ok(keyspace) = self.folder.keyspaces.shard(shard) else {
            self.report.found(Finding::NoShard { shard });
            return Ok(());
        };
        let mut run: Option<Run> = None;
        for pair in self.folder.snapshot.iter(keyspace) {
            let (key, value) = pair?;
            let read = row::parse_key(&key).and_then(|(place, version)| Ok((place, version, Row::decode(&value)?)));
            if let Ok((place, ..)) = &read
                && self.folder.map.holder(place.spot()) != shard
            {
                self.report.left_rows += 1;
                continue;
            }
            self.report.rows += 1;
            match read {
                Ok((place, version, row)) => {
                    let begun = run.take_if(|run| run.place != place);
                    self.end(begun);
                    self.row(shard, place, version, &row, &mut run);
                }
                Err(damage) => self.report.found(Finding::damaged(&shard_name(shard), &key, &damage)),
            }
        }
        self.end(run);
        Ok(())
    }

    fn row(&mut self, shard: ShardId, place: Place, version: Version, row: &Row, run: &mut Option<Run>) {
        let object = || row.object.clone();
        match self.locators.places.get(&row.object) {
            None => self.report.found(Finding::NoLocator { object: object(), version, shard }),
            Some(located) if *located != place => {
                self.strays.push(Stray { number: located.number, object: object(), version });
            }
            Some(_) => self.log.hold(place, version, row, self.report),
        }
        match run {
            None => *run = Some(Run { place, object: object(), newest: version, oldest: version, rows: 1 }),
            Some(run) => {
                if run.object != row.object {
                    self.report.found(Finding::NumberTwice { one: run.object.clone(), other: object() });
                }
                if run.oldest.get() != version.get() + 1 {
                    self.report.found(Finding::VersionGap { object: object(), above: run.oldest, found: version });
                }
                run.oldest = version;
                run.rows += 1;
            }
        }
    }

    /// An object's versions have all come by.
    fn end(&mut self, run: Option<Run>) {
        let Some(Run { place, object, newest, oldest, rows }) = run else { return };
        if self.locators.places.get(&object) != Some(&place) {
            return;
        }
        let first = self.locators.firsts.get(&place.number).copied().unwrap_or_default();
        let kept = u64::from(self.folder.retention.of(object.data_type()).versions);
        if oldest > first && rows < kept {
            self.report.short_histories += 1;
        }
        self.spans.insert(place.number, Span { oldest, newest });
    }
}
