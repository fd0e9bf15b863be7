//! Read views: the state after one commit group, immutable and shared.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arc_swap::ArcSwap;
use fjall::Slice;
use ostrakon_core::{ShardMap, Spot};
use ostrakon_wire::{LogId, ObjectId, Position, Revision, ShardId, ShardKey, Version};

use crate::disk::{Pairs, Snapshot, Table};
use crate::error::ReadError;
use crate::keyspaces::Keyspaces;
use crate::planted::{self, Fault};
use crate::record::case::{self, Escalation, Ticket};
use crate::record::locator::Place;
use crate::record::meta::{Forgotten, Retention};
use crate::record::migration::{ENDED_PREFIX, Migration, Moved, RUNNING_PREFIX, key_of};
use crate::record::row::Row;
use crate::record::{locator, log, row};
use crate::stretch::{self, Left};

/// The durable state after one commit group. Everything that is read is read from one of these.
pub struct ReadView {
    pub(crate) snapshot: Snapshot,
    pub(crate) keyspaces: Arc<Keyspaces>,
    pub(crate) map: Arc<ShardMap>,
    pub(crate) log: LogId,
    pub(crate) revision: Revision,
    pub(crate) log_first: Revision,
    pub(crate) log_kept: u64,
    pub(crate) retention: Arc<Retention>,
    pub(crate) forgotten: Forgotten,
    pub(crate) migrations: Arc<BTreeMap<u64, Migration>>,
}

/// The newest read view. Cheap to clone and to read; the committing thread alone replaces it.
#[derive(Clone)]
pub struct Views(pub(crate) Arc<ArcSwap<ReadView>>);

/// The newest version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its version.
    pub version: Version,
    /// What stands there.
    pub row: Row,
}

/// What stood under a name at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// This.
    Version(Place, Box<Head>),
    /// Nothing.
    Nothing,
    /// It cannot be told any more.
    NotRetained,
}

/// One object of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListItem {
    /// The object.
    pub object: ObjectId,
    /// The key it is recorded under.
    pub shard_key: ShardKey,
    /// Its newest version.
    pub head: Head,
}

impl Views {
    /// The newest view.
    pub fn latest(&self) -> Arc<ReadView> {
        self.0.load_full()
    }

    /// The place of the newest view, without taking hold of it.
    pub fn position(&self) -> Position {
        self.0.load().position()
    }

    /// Whether the shard of a place is served; one whose files were damaged at the start is not.
    pub fn serves(&self, place: Place) -> Result<(), ReadError> {
        self.0.load().table_of(place).map(drop)
    }

    /// The shards of the map that are not served.
    pub fn unserved(&self) -> Vec<ShardId> {
        let view = self.0.load();
        view.map.shards().filter(|shard| view.keyspaces.shard(*shard).is_err()).collect()
    }

    /// The shard map in force.
    pub fn map(&self) -> Arc<ShardMap> {
        Arc::clone(&self.0.load().map)
    }

    pub(crate) fn publish(&self, view: ReadView) {
        self.0.store(Arc::new(view));
    }
}

impl ReadView {
    /// The view's place in the feed.
    pub fn position(&self) -> Position {
        Position::behind(self.log, self.revision)
    }

    /// The shard map that was in force.
    pub fn map(&self) -> &Arc<ShardMap> {
        &self.map
    }

    /// The revision that the log begins with.
    pub fn log_first(&self) -> Revision {
        self.log_first
    }

    /// How many changes the log keeps before its oldest are dropped.
    pub fn log_kept(&self) -> u64 {
        self.log_kept
    }

    /// How long versions are kept.
    pub fn retention(&self) -> &Arc<Retention> {
        &self.retention
    }

    /// What forgotten objects have left behind.
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// The migrations that run.
    pub fn migrations(&self) -> &BTreeMap<u64, Migration> {
        &self.migrations
    }

    /// The same, as they stand on disk.
    pub(crate) fn running_migrations(&self) -> impl Iterator<Item = Result<Migration, ReadError>> {
        self.snapshot.prefix(&self.keyspaces.meta, RUNNING_PREFIX).map(migration)
    }

    /// The migrations that have ended, the newest first.
    pub fn migrated(&self) -> impl Iterator<Item = Result<Migration, ReadError>> {
        self.snapshot.prefix(&self.keyspaces.meta, ENDED_PREFIX).rev().map(migration)
    }

    /// One that has ended, if it is remembered.
    pub fn migrated_as(&self, number: u64) -> Result<Option<Migration>, ReadError> {
        let key = key_of(ENDED_PREFIX, number);
        let value = self.snapshot.get(&self.keyspaces.meta, &key)?;
        value.map(|value| Ok(Migration::decode(&key, &value)?)).transpose()
    }

    /// One that runs, or that has ended and is remembered.
    pub fn migration(&self, number: u64) -> Result<Option<Migration>, ReadError> {
        let running = self.migrations.get(&number).cloned();
        running.map_or_else(|| self.migrated_as(number), |running| Ok(Some(running)))
    }

    /// What stands in a shard between two spots.
    pub fn standing(&self, shard: ShardId, first: Spot, end: Spot) -> Result<Moved, ReadError> {
        stretch::standing(self, self.keyspaces.shard(shard)?, first, end)
    }

    /// The middle key of a shard's objects; `None` where it cannot be cut. Reads the whole shard.
    pub fn middle(&self, shard: ShardId) -> Result<Option<ShardKey>, ReadError> {
        let Some(range) = self.range_of(shard) else { return Ok(None) };
        stretch::middle(self, self.keyspaces.shard(shard)?, range)
    }

    /// Rows that a shard has given away and kept, from behind those on that were found last: the first so many.
    pub fn left_behind(&self, shard: ShardId, after: Option<&Left>, rows_max: usize) -> Result<Left, ReadError> {
        let Some(range) = self.range_of(shard) else { return Ok(Left { shard, keys: Vec::new() }) };
        let range = if planted::is(Fault::SweepTakesHeld) { (range.0, range.0) } else { range };
        let after = after.and_then(|after| after.keys.last());
        let keys = stretch::left_behind(self, self.keyspaces.shard(shard)?, range, after, rows_max)?;
        Ok(Left { shard, keys })
    }

    /// A shard's first and last key, if it has a range.
    fn range_of(&self, shard: ShardId) -> Option<(ShardKey, ShardKey)> {
        let index = self.map.index_of(shard)?;
        Some((self.map.ranges()[index].start, self.map.end_of(index)))
    }

    /// The bytes that a shard has on disk and in memory, about.
    pub fn bytes(&self, shard: ShardId) -> Result<u64, ReadError> {
        Ok(self.keyspaces.shard(shard)?.bytes())
    }

    /// The rows that a shard holds, about.
    pub fn rows_about(&self, shard: ShardId) -> Result<u64, ReadError> {
        Ok(self.keyspaces.shard(shard)?.rows_about())
    }

    /// The table that holds the rows of a place.
    pub(crate) fn table_of(&self, place: Place) -> Result<&Table, ReadError> {
        self.keyspaces.shard(self.map.holder(place.spot()))
    }

    /// Where an object's rows stand; `None` for one that never was, or is forgotten.
    pub fn locate(&self, object: &ObjectId) -> Result<Option<Place>, ReadError> {
        Ok(self.locate_first(object)?.map(|(place, _)| place))
    }

    /// The same with the object's first version.
    pub fn locate_first(&self, object: &ObjectId) -> Result<Option<(Place, Version)>, ReadError> {
        match self.snapshot.get(&self.keyspaces.locator, locator::key(object))? {
            Some(value) => Ok(Some(locator::decode(&value)?)),
            None => Ok(None),
        }
    }

    /// The newest version of the object whose rows stand there.
    pub fn head(&self, place: Place) -> Result<Option<Head>, ReadError> {
        let keyspace = self.table_of(place)?;
        let Some(pair) = self.snapshot.prefix(keyspace, row::prefix(place)).next() else {
            return Ok(None);
        };
        let (key, value) = pair?;
        let (_, version) = row::parse_key(&key)?;
        Ok(Some(Head { version, row: Row::decode(&value)? }))
    }

    /// One version of the object whose rows stand there, if history holds it.
    pub fn version(&self, place: Place, version: Version) -> Result<Option<Row>, ReadError> {
        let keyspace = self.table_of(place)?;
        match self.snapshot.get(keyspace, row::key(place, version))? {
            Some(value) => Ok(Some(Row::decode(&value)?)),
            None => Ok(None),
        }
    }

    /// The versions of the object whose rows stand there, newest first, from `below` down.
    pub fn versions(
        &self,
        place: Place,
        below: Option<Version>,
    ) -> Result<impl Iterator<Item = Result<Head, ReadError>> + use<>, ReadError> {
        let keyspace = self.table_of(place)?;
        let prefix = row::prefix(place);
        let from = match below {
            Some(version) => Bound::Excluded(row::key(place, version).to_vec()),
            None => Bound::Included(prefix.to_vec()),
        };
        let pairs = self.snapshot.range(keyspace, (from, Bound::Unbounded));
        let of_object = pairs.take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)));
        Ok(of_object.map(|pair| {
            let (key, value) = pair?;
            let (_, version) = row::parse_key(&key)?;
            Ok(Head { version, row: Row::decode(&value)? })
        }))
    }

    /// What stood there once a commit unit was done.
    pub fn at(&self, object: &ObjectId, revision: Revision) -> Result<Then, ReadError> {
        match self.locate_first(object)? {
            None if revision < self.forgotten.revision => Ok(Then::NotRetained),
            None => Ok(Then::Nothing),
            Some((place, first)) => self.version_at(place, first, revision),
        }
    }

    fn version_at(&self, place: Place, first: Version, revision: Revision) -> Result<Then, ReadError> {
        let mut oldest = None;
        for head in self.versions(place, None)? {
            let head = head?;
            if head.row.revision <= revision {
                return Ok(Then::Version(place, Box::new(head)));
            }
            oldest = Some(head.version);
        }
        // Before its first version there was nothing, unless something of that name is forgotten.
        let whole = oldest == Some(first) && revision >= self.forgotten.revision;
        Ok(if whole { Then::Nothing } else { Then::NotRetained })
    }

    /// The objects whose text begins with `prefix`, deleted ones included, in order, from behind `after` on.
    pub fn list<'a>(
        &'a self,
        prefix: &str,
        after: Option<&ObjectId>,
    ) -> impl Iterator<Item = Result<ListItem, ReadError>> + use<'a> {
        self.locators(prefix, after).map(move |pair| self.list_item(pair))
    }

    fn locators(
        &self,
        prefix: &str,
        after: Option<&ObjectId>,
    ) -> impl Iterator<Item = fjall::Result<(Slice, Slice)>> + use<> {
        let prefix = prefix.as_bytes().to_vec();
        let start = match after {
            Some(object) => [object.as_text().as_bytes(), &[0]].concat(),
            None => prefix.clone(),
        };
        self.snapshot
            .range(&self.keyspaces.locator, start..)
            .take_while(move |pair| pair.as_ref().map_or(true, |(key, _)| key.starts_with(&prefix)))
    }

    /// Where the objects stand whose text begins with `prefix`, deleted ones included, in order, from behind `after` on.
    pub fn places(
        &self,
        prefix: &str,
        after: Option<&ObjectId>,
    ) -> impl Iterator<Item = Result<(ObjectId, Place), ReadError>> + use<> {
        self.locators(prefix, after).map(|pair| {
            let (key, value) = pair?;
            Ok((locator::object(&key)?, locator::decode(&value)?.0))
        })
    }

    /// The same as they stood once a commit unit was done; `None` for one that was not there.
    pub fn list_at<'a>(
        &'a self,
        prefix: &str,
        after: Option<&ObjectId>,
        revision: Revision,
    ) -> impl Iterator<Item = Result<(ObjectId, Then), ReadError>> + use<'a> {
        self.locators(prefix, after).map(move |pair| {
            let (key, value) = pair?;
            let (place, first) = locator::decode(&value)?;
            Ok((locator::object(&key)?, self.version_at(place, first, revision)?))
        })
    }

    fn list_item(&self, pair: fjall::Result<(fjall::UserKey, fjall::UserValue)>) -> Result<ListItem, ReadError> {
        let (key, value) = pair?;
        let object = locator::object(&key)?;
        let (place, _) = locator::decode(&value)?;
        let head = self.head(place)?.ok_or_else(|| ReadError::Engine(format!("{object} has a locator and no row")))?;
        Ok(ListItem { object, shard_key: place.shard_key, head })
    }

    /// The log's records from a revision on, in order.
    pub fn log_from(&self, first: Revision) -> LogIter {
        LogIter(self.snapshot.range(&self.keyspaces.log, log::key(first)..))
    }

    /// What the log says of one commit unit; empty where it no longer reaches back so far.
    pub fn logged(&self, revision: Revision) -> Result<Vec<log::Entry>, ReadError> {
        let Some((first, record)) = self.log_around(revision)?.next().transpose()? else { return Ok(Vec::new()) };
        let of_unit = record.by_revision(first).filter(|(found, _)| *found == revision);
        Ok(of_unit.map(|(_, entry)| entry).collect())
    }

    /// The log from the record on that tells of a revision.
    pub fn log_around(&self, revision: Revision) -> Result<LogIter, ReadError> {
        let record = self.snapshot.range(&self.keyspaces.log, ..=log::key(revision)).next_back();
        let first = match record {
            Some(pair) => log::parse_key(&pair?.0)?,
            None => revision,
        };
        Ok(LogIter(self.snapshot.range(&self.keyspaces.log, log::key(first)..)))
    }

    /// The detached actions that are not done.
    pub fn tickets(&self) -> impl Iterator<Item = Result<Ticket, ReadError>> {
        self.snapshot.prefix(&self.keyspaces.meta, case::TICKET_PREFIX).map(|pair| Ok(Ticket::decode(&pair?.1)?))
    }

    /// One escalation.
    pub fn escalation(&self, number: Revision) -> Result<Option<Escalation>, ReadError> {
        match self.snapshot.get(&self.keyspaces.meta, case::escalation_key(number))? {
            Some(value) => Ok(Some(Escalation::decode(&value)?)),
            None => Ok(None),
        }
    }

    /// The escalations from a number on, in order.
    pub fn escalations(&self, from: Revision) -> impl Iterator<Item = Result<(Revision, Escalation), ReadError>> {
        let (first, last) = (case::escalation_key(from), case::escalation_key(Revision::new(u64::MAX)));
        self.snapshot.range(&self.keyspaces.meta, first..=last).map(|pair| {
            let (key, value) = pair?;
            Ok((case::parse_escalation_key(&key)?, Escalation::decode(&value)?))
        })
    }

    /// Every row of a shard, in order of key, for checks of the whole.
    pub fn rows(&self, shard: ShardId) -> Result<RowIter, ReadError> {
        Ok(RowIter(self.snapshot.iter(self.keyspaces.shard(shard)?)))
    }

    /// The rows of a shard behind those of a place.
    pub fn rows_behind(&self, shard: ShardId, place: Option<Place>) -> Result<RowIter, ReadError> {
        let keyspace = self.keyspaces.shard(shard)?;
        let from = match place {
            Some(place) => Bound::Excluded(row::key(place, Version::ABSENT).to_vec()),
            None => Bound::Unbounded,
        };
        Ok(RowIter(self.snapshot.range(keyspace, (from, Bound::Unbounded))))
    }
}

/// The log's records, each with its first revision.
pub struct LogIter(Pairs);

impl Iterator for LogIter {
    type Item = Result<(Revision, log::Record), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.0.next()?;
        Some((|| {
            let (key, value) = pair?;
            Ok((log::parse_key(&key)?, log::Record::decode(&value)?))
        })())
    }
}

/// The rows of a shard.
pub struct RowIter(Pairs);

impl Iterator for RowIter {
    type Item = Result<(Place, Version, Row), ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pair = self.0.next()?;
        Some((|| {
            let (key, value) = pair?;
            let (place, version) = row::parse_key(&key)?;
            Ok((place, version, Row::decode(&value)?))
        })())
    }
}

/// A migration as it stands on disk.
fn migration(pair: fjall::Result<(Slice, Slice)>) -> Result<Migration, ReadError> {
    let (key, value) = pair?;
    Ok(Migration::decode(&key, &value)?)
}
