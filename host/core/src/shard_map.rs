//! The shard map: contiguous ranges of the key space, their shards, and who owns them.
//!
//! A map never changes; a new one, with the next epoch, takes its place whole.

use ostrakon_wire::{MapEpoch, ShardId, ShardKey};

/// One shard's range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRange {
    /// The shard.
    pub shard: ShardId,
    /// Its first key; it ends before the next one's.
    pub start: ShardKey,
    /// Who owns it.
    pub owner: u32,
}

/// Why ranges make no map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMap {
    /// No shard at all.
    #[error("a shard map has at least one shard")]
    Empty,
    /// The first range does not begin at key 0.
    #[error("the first shard does not begin at key 0")]
    Hole,
    /// Two ranges begin at the same key, or out of order.
    #[error("shard {0} begins at or before the one ahead of it")]
    Order(ShardId),
    /// A shard stands there twice.
    #[error("shard {0} stands in the map twice")]
    Twice(ShardId),
    /// Epoch 0 means "no map".
    #[error("a shard map's epoch is at least 1")]
    Epoch,
}

/// An immutable map of the whole key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    epoch: MapEpoch,
    ranges: Vec<ShardRange>,
}

impl ShardMap {
    /// Checks that the ranges cover every key once.
    pub fn new(epoch: MapEpoch, ranges: Vec<ShardRange>) -> Result<Self, InvalidMap> {
        if epoch.get() == 0 {
            return Err(InvalidMap::Epoch);
        }
        let first = ranges.first().ok_or(InvalidMap::Empty)?;
        if first.start.get() != 0 {
            return Err(InvalidMap::Hole);
        }
        if let Some(pair) = ranges.windows(2).find(|pair| pair[1].start <= pair[0].start) {
            return Err(InvalidMap::Order(pair[1].shard));
        }
        let mut shards: Vec<_> = ranges.iter().map(|range| range.shard).collect();
        shards.sort_unstable();
        if let Some(pair) = shards.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(InvalidMap::Twice(pair[0]));
        }
        Ok(Self { epoch, ranges })
    }

    /// The map that a new host starts with: equal ranges, one owner.
    pub fn equal(shards: u32) -> Self {
        let width = (u128::from(u64::MAX) + 1) / u128::from(shards.max(1));
        let range = |index: u32| ShardRange {
            shard: ShardId::new(index),
            start: ShardKey::new((width * u128::from(index)) as u64),
            owner: 0,
        };
        Self::new(MapEpoch::new(1), (0..shards.max(1)).map(range).collect()).expect("equal ranges cover every key once")
    }

    /// Which map this is.
    pub fn epoch(&self) -> MapEpoch {
        self.epoch
    }

    /// The ranges, in order of key.
    pub fn ranges(&self) -> &[ShardRange] {
        &self.ranges
    }

    /// The range that a key falls in.
    pub fn range_of(&self, key: ShardKey) -> &ShardRange {
        let after = self.ranges.partition_point(|range| range.start <= key);
        &self.ranges[after - 1]
    }

    /// The shard that a key falls in.
    pub fn shard_of(&self, key: ShardKey) -> ShardId {
        self.range_of(key).shard
    }

    /// The last key of the range at `index`.
    pub fn end_of(&self, index: usize) -> ShardKey {
        ShardKey::new(self.ranges.get(index + 1).map_or(u64::MAX, |next| next.start.get() - 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn range(shard: u32, start: u64) -> ShardRange {
        ShardRange { shard: ShardId::new(shard), start: ShardKey::new(start), owner: 0 }
    }

    #[test]
    fn every_key_falls_in_exactly_one_range() {
        let map = ShardMap::equal(16);
        for (index, range) in map.ranges().iter().enumerate() {
            assert_eq!(map.shard_of(range.start), range.shard);
            assert_eq!(map.shard_of(map.end_of(index)), range.shard);
        }
        assert_eq!(map.shard_of(ShardKey::new(u64::MAX)), ShardId::new(15));
    }

    #[test]
    fn ranges_that_leave_holes_or_overlap_are_refused() {
        let epoch = MapEpoch::new(1);
        assert_eq!(ShardMap::new(epoch, vec![]), Err(InvalidMap::Empty));
        assert_eq!(ShardMap::new(epoch, vec![range(0, 1)]), Err(InvalidMap::Hole));
        assert_eq!(ShardMap::new(epoch, vec![range(0, 0), range(1, 0)]), Err(InvalidMap::Order(ShardId::new(1))));
        assert_eq!(ShardMap::new(epoch, vec![range(0, 0), range(0, 9)]), Err(InvalidMap::Twice(ShardId::new(0))));
        assert_eq!(ShardMap::new(MapEpoch::new(0), vec![range(0, 0)]), Err(InvalidMap::Epoch));
    }
}
