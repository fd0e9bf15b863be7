//! Meta: the few facts about the whole store, a row each, named in plain text. Beside them stand the cases (see [`super::case`]).
//!
//! `store`: tag, log id (8), versions that history keeps (4).
//! `map`: tag, epoch (8), number of shards (4), then for each its id (4), first key (8) and owner (4); behind them the id of the
//! next shard that is made (4; not there where it is one above the highest).
//! `numbers`: tag, first object number that was never given out (8).
//! `floors`: tag, revision that the log begins with (8), floor of the action ids (8), number of clients that ran ahead
//! (4), then for each its floor (8), the length of its id (2) and the id; behind them the revision from which ids are
//! remembered (8; not there where it is the first).
//! `retention`: tag, versions (4) and age (8) of all types, number of types (4), then for each its versions (4), age (8), the
//! length of its name (2) and the name, in order.
//! `planning`: what the planner goes by, as it was told: CBOR that means nothing here.
//! `forgotten`: tag, highest version of a deleted object that was forgotten (8), newest revision of one (8).

use std::collections::{BTreeMap, HashMap};

use ostrakon_core::{ShardMap, ShardRange};
use ostrakon_wire::{Keep, LogId, MapEpoch, Revision, ShardId, ShardKey, TimestampMs, Version};

use super::{Cut, DamagedRecord};
use crate::floors::Floors;

const KIND: &str = "meta";
const TAG: u8 = 1;

/// Key of [`StoreFacts`].
pub const STORE_KEY: &str = "store";
/// Key of the shard map.
pub const MAP_KEY: &str = "map";
/// Key of the object numbers' mark.
pub const NUMBERS_KEY: &str = "numbers";
/// Key of [`LogStart`].
pub const FLOORS_KEY: &str = "floors";
/// Key of [`Retention`].
pub const RETENTION_KEY: &str = "retention";
/// Key of [`Forgotten`].
pub const FORGOTTEN_KEY: &str = "forgotten";

/// Key of what the planner goes by.
pub const PLANNING_KEY: &str = "planning";

/// What was settled when the store was made, or last opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreFacts {
    /// The log's own number.
    pub log: LogId,
    /// Versions of an object that history keeps.
    pub history_versions: u32,
}

/// Where the log begins, and what was forgotten with the part before.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogStart {
    /// Revision that the first record begins with.
    pub first: Revision,
    /// Revision from which action ids are remembered.
    pub ids_from: Revision,
    /// The action ids that are too old to be told apart.
    pub floors: Floors,
}

/// How long versions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// Of types without a rule of their own.
    pub all: Keep,
    /// Of the others.
    pub types: BTreeMap<String, Keep>,
}

/// What deleted objects have left behind that are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// The highest version that one had. What is made under a name that no object has starts above it, so that no version
    /// of a name is ever used twice. One number for all shards: a name that comes again may come to another shard.
    pub version: Version,
    /// The newest revision of one. Who asks what there was before cannot be told that something was not there.
    pub revision: Revision,
}

impl Retention {
    /// What is kept of the objects of a type.
    pub fn of(&self, data_type: &str) -> Keep {
        // Mostly there are none.
        if self.types.is_empty() {
            return self.all;
        }
        self.types.get(data_type).copied().unwrap_or(self.all)
    }

    /// How long a deleted object is remembered: as long as anything is kept.
    pub fn longest_age_ms(&self) -> u64 {
        self.types.values().map(|keep| keep.age_ms).fold(self.all.age_ms, u64::max)
    }

    /// The shortest age of a rule.
    pub fn shortest_age_ms(&self) -> u64 {
        self.types.values().map(|keep| keep.age_ms).fold(self.all.age_ms, u64::min)
    }

    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![TAG];
        let push = |value: &mut Vec<u8>, keep: &Keep| {
            value.extend_from_slice(&keep.versions.to_be_bytes());
            value.extend_from_slice(&keep.age_ms.to_be_bytes());
        };
        push(&mut value, &self.all);
        value.extend_from_slice(&(self.types.len() as u32).to_be_bytes());
        for (data_type, keep) in &self.types {
            push(&mut value, keep);
            value.extend_from_slice(&(data_type.len() as u16).to_be_bytes());
            value.extend_from_slice(data_type.as_bytes());
        }
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let all = Keep { versions: cut.u32()?, age_ms: cut.u64()? };
        let mut types = BTreeMap::new();
        for _ in 0..cut.u32()? {
            let keep = Keep { versions: cut.u32()?, age_ms: cut.u64()? };
            let len = cut.u16()?;
            types.insert(cut.text(len.into())?.to_owned(), keep);
        }
        cut.end()?;
        Ok(Self { all, types })
    }
}

impl Forgotten {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        [&[TAG][..], &self.version.get().to_be_bytes(), &self.revision.get().to_be_bytes()].concat()
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let forgotten = Self { version: Version::new(cut.u64()?), revision: Revision::new(cut.u64()?) };
        cut.end()?;
        Ok(forgotten)
    }
}

impl StoreFacts {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![TAG];
        value.extend_from_slice(&self.log.get().to_be_bytes());
        value.extend_from_slice(&self.history_versions.to_be_bytes());
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let facts = Self { log: LogId::new(cut.u64()?), history_versions: cut.u32()? };
        cut.end()?;
        Ok(facts)
    }
}

/// Encodes a shard map.
pub fn encode_map(map: &ShardMap) -> Vec<u8> {
    let mut value = vec![TAG];
    value.extend_from_slice(&map.epoch().get().to_be_bytes());
    value.extend_from_slice(&(map.ranges().len() as u32).to_be_bytes());
    for range in map.ranges() {
        value.extend_from_slice(&range.shard.get().to_be_bytes());
        value.extend_from_slice(&range.start.get().to_be_bytes());
        value.extend_from_slice(&range.owner.to_be_bytes());
    }
    let highest = map.ranges().iter().map(|range| range.shard.get()).max();
    if highest.is_none_or(|highest| highest.saturating_add(1) < map.next_shard().get()) {
        value.extend_from_slice(&map.next_shard().get().to_be_bytes());
    }
    value
}

/// Decodes a shard map.
pub fn decode_map(value: &[u8]) -> Result<ShardMap, DamagedRecord> {
    let mut cut = Cut::new(KIND, value, TAG)?;
    let epoch = MapEpoch::new(cut.u64()?);
    let mut ranges = Vec::new();
    for _ in 0..cut.u32()? {
        let shard = ShardId::new(cut.u32()?);
        ranges.push(ShardRange { shard, start: ShardKey::new(cut.u64()?), owner: cut.u32()? });
    }
    let next = if cut.rest.is_empty() { None } else { Some(ShardId::new(cut.u32()?)) };
    cut.end()?;
    let map = ShardMap::new(epoch, ranges).map_err(|_| cut.damaged("its ranges make no shard map"))?;
    match next {
        Some(next) if next <= map.next_shard() => Err(cut.damaged("it tells a next shard that goes without saying")),
        Some(next) => Ok(map.with_next(next)),
        None => Ok(map),
    }
}

/// Encodes the object numbers' mark.
pub fn encode_numbers(mark: u64) -> Vec<u8> {
    [&[TAG][..], &mark.to_be_bytes()].concat()
}

/// Decodes the object numbers' mark.
pub fn decode_numbers(value: &[u8]) -> Result<u64, DamagedRecord> {
    let mut cut = Cut::new(KIND, value, TAG)?;
    let mark = cut.u64()?;
    cut.end()?;
    Ok(mark)
}

impl LogStart {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let mut value = vec![TAG];
        value.extend_from_slice(&self.first.get().to_be_bytes());
        value.extend_from_slice(&self.floors.all.get().to_be_bytes());
        value.extend_from_slice(&(self.floors.ahead.len() as u32).to_be_bytes());
        for (client, floor) in &self.floors.ahead {
            value.extend_from_slice(&floor.get().to_be_bytes());
            value.extend_from_slice(&(client.len() as u16).to_be_bytes());
            value.extend_from_slice(client.as_bytes());
        }
        if self.ids_from != self.first {
            value.extend_from_slice(&self.ids_from.get().to_be_bytes());
        }
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let first = Revision::new(cut.u64()?);
        let all = TimestampMs::new(cut.u64()?);
        let mut ahead = HashMap::new();
        for _ in 0..cut.u32()? {
            let floor = TimestampMs::new(cut.u64()?);
            let len = cut.u16()?;
            ahead.insert(cut.text(len.into())?.to_owned(), floor);
        }
        let ids_from = if cut.rest.is_empty() { first } else { Revision::new(cut.u64()?) };
        cut.end()?;
        if ids_from < first {
            return Err(cut.damaged("ids are remembered that the log no longer holds"));
        }
        Ok(Self { first, ids_from, floors: Floors { all, ahead } })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn facts_read_back(log: u64, history_versions: u32, shards in 1..99_u32, first: u64, all: u64, later: u64,
                           ahead in proptest::collection::hash_map("[a-z]{1,9}", any::<u64>(), 0..5)) {
            let facts = StoreFacts { log: LogId::new(log), history_versions };
            prop_assert_eq!(StoreFacts::decode(&facts.encode()), Ok(facts));
            prop_assert_eq!(decode_numbers(&encode_numbers(log)), Ok(log));
            let map = ShardMap::equal(shards, 3).with_next(ShardId::new(history_versions));
            prop_assert_eq!(decode_map(&encode_map(&map)), Ok(map));
            let ahead = ahead.into_iter().map(|(client, floor)| (client, TimestampMs::new(floor))).collect();
            let (first, ids_from) = (Revision::new(first), Revision::new(first.max(later)));
            let start = LogStart { first, ids_from, floors: Floors { all: TimestampMs::new(all), ahead } };
            prop_assert_eq!(LogStart::decode(&start.encode()), Ok(start));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (StoreFacts::decode(&bytes), decode_map(&bytes), LogStart::decode(&bytes));
        }
    }
}
