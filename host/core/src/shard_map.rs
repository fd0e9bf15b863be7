//! The shard map: contiguous ranges of the key space, their shards, who owns them, and what is moving between them.
//!
//! A map never changes; another takes its place whole. Ranges, owners and what is moving make an epoch; how far it has moved
//! does not.

use std::sync::Arc;

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

/// Where objects stand in order: by key, and those of one key by the number that tells them apart.
pub type Spot = (ShardKey, u64);

/// A part of a shard's range whose objects are being moved to another shard, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moving {
    /// The shard that has the range in the map.
    pub from: ShardId,
    /// The shard that takes it: the next or the one before, or one that has no range yet.
    pub to: ShardId,
    /// The first key that moves.
    pub start: ShardKey,
    /// The last key that does.
    pub last: ShardKey,
    /// What stands before this has moved; what stands here or behind has not.
    pub cursor: Spot,
}

impl Moving {
    /// Whether a key is of those that move.
    pub fn covers(&self, key: ShardKey) -> bool {
        self.start <= key && key <= self.last
    }

    /// Who gives and who takes: on the way there, or back.
    pub fn gives_and_takes(&self, back: bool) -> (ShardId, ShardId) {
        if back { (self.to, self.from) } else { (self.from, self.to) }
    }

    /// Whether what stands there has moved.
    pub fn has_moved(&self, spot: Spot) -> bool {
        self.covers(spot.0) && spot < self.cursor
    }
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
    /// What moves does not lie in one shard's range, or its cursor not in it.
    #[error("what moves from shard {0} is no part of it")]
    NoPart(ShardId),
    /// A shard has part in two moves, or gives to itself.
    #[error("shard {0} has part in two moves")]
    Involved(ShardId),
    /// A part of the range would come to lie apart from the rest of its shard.
    #[error("shard {0} would be in two pieces")]
    Apart(ShardId),
}

/// An immutable map of the whole key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    epoch: MapEpoch,
    ranges: Arc<[ShardRange]>,
    /// A few at most.
    moving: Vec<Moving>,
    /// The number of the next shard that is made: none is used twice.
    next: ShardId,
}

impl ShardMap {
    /// Checks that the ranges cover every key once. Nothing is moving.
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
        let next = ShardId::new(shards.last().map_or(0, |last| last.get().saturating_add(1)));
        Ok(Self { epoch, ranges: ranges.into(), moving: Vec::new(), next })
    }

    /// The map that a new host starts with: equal ranges, given to the owners in turn.
    pub fn equal(shards: u32, owners: u32) -> Self {
        let width = (u128::from(u64::MAX) + 1) / u128::from(shards.max(1));
        let range = |index: u32| ShardRange {
            shard: ShardId::new(index),
            start: ShardKey::new((width * u128::from(index)) as u64),
            owner: index % owners.max(1),
        };
        Self::new(MapEpoch::new(1), (0..shards.max(1)).map(range).collect()).expect("equal ranges cover every key once")
    }

    /// The same map while this is moving too.
    pub fn moving_also(&self, moving: Moving) -> Result<Self, InvalidMap> {
        let Moving { from, to, start, last, cursor } = moving;
        let index = self.index_of(from).ok_or(InvalidMap::NoPart(from))?;
        let (first, end) = (self.ranges[index].start, self.end_of(index));
        let inside = first <= start && start <= last && last <= end;
        if !inside || cursor < (start, 0) || cursor.0 > last && cursor != behind(last) {
            return Err(InvalidMap::NoPart(from));
        }
        let involved = |shard: ShardId| self.moving.iter().any(|other| other.from == shard || other.to == shard);
        if let Some(shard) = [from, to].into_iter().find(|shard| involved(*shard) || from == to) {
            return Err(InvalidMap::Involved(shard));
        }
        // What has a range takes what lies beside it; what has none takes an end, so that both are in one piece.
        let apart = match self.index_of(to) {
            Some(taker) if taker + 1 == index => start != first,
            Some(taker) if taker == index + 1 => last != end,
            Some(_) => true,
            None => (start == first) == (last == end),
        };
        if apart {
            return Err(InvalidMap::Apart(from));
        }
        let mut map = self.clone();
        map.moving.push(moving);
        Ok(map.with_next(ShardId::new(to.get().saturating_add(1))))
    }

    /// The same map with the cursor of what moves from a shard elsewhere.
    pub fn moved_to(&self, from: ShardId, cursor: Spot) -> Self {
        let mut map = self.clone();
        for moving in map.moving.iter_mut().filter(|moving| moving.from == from) {
            moving.cursor = cursor;
        }
        map
    }

    /// The map of the next epoch once all has moved that was to move from a shard: the range belongs to the one that took it.
    pub fn finished(&self, from: ShardId) -> Result<Self, InvalidMap> {
        let moving = *self.moving_from(from).ok_or(InvalidMap::NoPart(from))?;
        let index = self.index_of(from).ok_or(InvalidMap::NoPart(from))?;
        let (end, owner) = (self.end_of(index), self.ranges[index].owner);
        let mut ranges = self.ranges.to_vec();
        let whole = ranges[index].start == moving.start && end == moving.last;
        let taker = self.index_of(moving.to);
        match (taker, whole) {
            // The one before takes all: its range grows by itself.
            (Some(taker), true) if taker < index => drop(ranges.remove(index)),
            (Some(taker), true) => {
                ranges[taker].start = moving.start;
                ranges.remove(index);
            }
            // The one before takes the front, the next one the back.
            (Some(taker), false) if taker < index => ranges[index].start = next(moving.last),
            (Some(taker), false) => ranges[taker].start = moving.start,
            (None, _) => {
                let taken = ShardRange { shard: moving.to, start: moving.start, owner };
                if moving.last == end {
                    ranges.insert(index + 1, taken);
                } else {
                    ranges[index].start = next(moving.last);
                    ranges.insert(index, taken);
                }
            }
        }
        self.without(from, ranges)
    }

    /// The map of the next epoch once nothing of it has moved, or all is back.
    pub fn undone(&self, from: ShardId) -> Result<Self, InvalidMap> {
        self.without(from, self.ranges.to_vec())
    }

    /// The map of the next epoch in which a shard has another owner.
    pub fn owned_by(&self, shard: ShardId, owner: u32) -> Result<Self, InvalidMap> {
        let index = self.index_of(shard).ok_or(InvalidMap::NoPart(shard))?;
        let mut ranges = self.ranges.to_vec();
        ranges[index].owner = owner;
        Ok(Self { epoch: self.epoch.next(), ranges: ranges.into(), ..self.clone() })
    }

    /// The same map with a shard under another owner, in an epoch that nobody has seen yet.
    #[must_use]
    pub fn given_to(self, shard: ShardId, owner: u32) -> Self {
        let mut ranges = self.ranges.to_vec();
        ranges.iter_mut().filter(|range| range.shard == shard).for_each(|range| range.owner = owner);
        Self { ranges: ranges.into(), ..self }
    }

    /// The same map, of the next epoch.
    pub fn of_next_epoch(self) -> Self {
        Self { epoch: self.epoch.next(), ..self }
    }

    fn without(&self, from: ShardId, ranges: Vec<ShardRange>) -> Result<Self, InvalidMap> {
        let mut map = Self::new(self.epoch.next(), ranges)?;
        map.moving = self.moving.iter().filter(|moving| moving.from != from).copied().collect();
        Ok(map.with_next(self.next))
    }

    /// The same map, where no shard that is made has a lower number than this.
    #[must_use]
    pub fn with_next(self, next: ShardId) -> Self {
        Self { next: self.next.max(next), ..self }
    }

    /// The number of the next shard that is made.
    pub fn next_shard(&self) -> ShardId {
        self.next
    }

    /// Which map this is.
    pub fn epoch(&self) -> MapEpoch {
        self.epoch
    }

    /// The ranges, in order of key.
    pub fn ranges(&self) -> &[ShardRange] {
        &self.ranges
    }

    /// What is moving.
    pub fn moving(&self) -> &[Moving] {
        &self.moving
    }

    /// What moves from a shard.
    pub fn moving_from(&self, shard: ShardId) -> Option<&Moving> {
        self.moving.iter().find(|moving| moving.from == shard)
    }

    /// Every shard that holds objects or may: those that have a range, and those that are being given one.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + '_ {
        let takers = self.moving.iter().map(|moving| moving.to).filter(|to| self.index_of(*to).is_none());
        self.ranges.iter().map(|range| range.shard).chain(takers)
    }

    /// The index of a shard's range.
    pub fn index_of(&self, shard: ShardId) -> Option<usize> {
        self.ranges.iter().position(|range| range.shard == shard)
    }

    /// The range that a key falls in.
    pub fn range_of(&self, key: ShardKey) -> &ShardRange {
        let after = self.ranges.partition_point(|range| range.start <= key);
        &self.ranges[after - 1]
    }

    /// The shard that holds what stands there.
    pub fn holder(&self, spot: Spot) -> ShardId {
        let shard = self.range_of(spot.0).shard;
        let moved = self.moving.iter().find(|moving| moving.from == shard && moving.has_moved(spot));
        moved.map_or(shard, |moving| moving.to)
    }

    /// The shard that holds a key; of a key that is being moved, the one that holds the first that stands there.
    pub fn shard_of(&self, key: ShardKey) -> ShardId {
        self.holder((key, 0))
    }

    /// The shards that objects of a key may stand in: two while it moves.
    pub fn shards_around(&self, key: ShardKey) -> impl Iterator<Item = ShardId> + use<> {
        let shard = self.range_of(key).shard;
        let moving = self.moving.iter().find(|moving| moving.from == shard && moving.covers(key));
        std::iter::once(shard).chain(moving.map(|moving| moving.to))
    }

    /// Who owns a key.
    pub fn owner_of(&self, key: ShardKey) -> u32 {
        self.range_of(key).owner
    }

    /// The last key of the range at `index`.
    pub fn end_of(&self, index: usize) -> ShardKey {
        ShardKey::new(self.ranges.get(index + 1).map_or(u64::MAX, |next| next.start.get() - 1))
    }
}

/// Where a cursor stands once all up to a key has moved.
pub fn behind(last: ShardKey) -> Spot {
    match last.get().checked_add(1) {
        Some(next) => (ShardKey::new(next), 0),
        None => (last, u64::MAX),
    }
}

fn next(key: ShardKey) -> ShardKey {
    ShardKey::new(key.get() + 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(shard: u32, start: u64) -> ShardRange {
        ShardRange { shard: ShardId::new(shard), start: ShardKey::new(start), owner: 0 }
    }

    fn moving(from: u32, to: u32, start: u64, last: u64) -> Moving {
        let start = ShardKey::new(start);
        Moving { from: ShardId::new(from), to: ShardId::new(to), start, last: ShardKey::new(last), cursor: (start, 0) }
    }

    fn starts(map: &ShardMap) -> Vec<(u32, u64)> {
        map.ranges().iter().map(|range| (range.shard.get(), range.start.get())).collect()
    }

    #[test]
    fn every_key_falls_in_exactly_one_range() {
        let map = ShardMap::equal(16, 4);
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

    #[test]
    fn a_split_and_a_merge_end_in_the_map_that_they_were_made_for() {
        let map = ShardMap::new(MapEpoch::new(1), vec![range(0, 0), range(1, 100)]).unwrap();
        let check = |what: Moving, ends: &[(u32, u64)]| {
            let ended = map.moving_also(what).unwrap().finished(what.from).unwrap();
            assert_eq!((starts(&ended), ended.epoch().get(), ended.moving()), (ends.to_vec(), 2, &[][..]));
        };
        check(moving(0, 7, 40, 99), &[(0, 0), (7, 40), (1, 100)]);
        check(moving(0, 7, 0, 39), &[(7, 0), (0, 40), (1, 100)]);
        check(moving(1, 7, 200, u64::MAX), &[(0, 0), (1, 100), (7, 200)]);
        check(moving(1, 0, 100, u64::MAX), &[(0, 0)]);
        check(moving(0, 1, 0, 99), &[(1, 0)]);
        check(moving(0, 1, 50, 99), &[(0, 0), (1, 50)]);
        check(moving(1, 0, 100, 149), &[(0, 0), (1, 150)]);
    }

    #[test]
    fn what_would_tear_a_shard_apart_does_not_move() {
        let map = ShardMap::new(MapEpoch::new(1), vec![range(0, 0), range(1, 100), range(2, 200)]).unwrap();
        let check = |what: Moving, why| assert_eq!(map.moving_also(what), Err(why), "{what:?}");
        check(moving(1, 7, 120, 150), InvalidMap::Apart(ShardId::new(1)));
        check(moving(1, 7, 100, 199), InvalidMap::Apart(ShardId::new(1)));
        check(moving(1, 0, 150, 199), InvalidMap::Apart(ShardId::new(1)));
        check(moving(0, 2, 0, 99), InvalidMap::Apart(ShardId::new(0)));
        check(moving(0, 7, 50, 120), InvalidMap::NoPart(ShardId::new(0)));
        check(moving(9, 7, 0, 9), InvalidMap::NoPart(ShardId::new(9)));
        check(moving(1, 1, 100, 199), InvalidMap::Involved(ShardId::new(1)));
        let one = map.moving_also(moving(0, 7, 50, 99)).unwrap();
        assert_eq!(one.moving_also(moving(1, 0, 100, 199)), Err(InvalidMap::Involved(ShardId::new(0))));
        assert_eq!(one.moving_also(moving(1, 7, 150, 199)), Err(InvalidMap::Involved(ShardId::new(7))));
        assert!(one.moving_also(moving(1, 2, 100, 199)).is_ok());
    }

    proptest! {
        #[test]
        fn what_stands_before_the_cursor_is_held_by_the_taker_alone(at: (u64, u64), spot: (u64, u64), start: u64) {
            let map = ShardMap::equal(2, 1);
            let half = map.ranges()[1].start.get();
            let start = start.clamp(half + 1, u64::MAX);
            let cursor = (ShardKey::new(at.0.max(start)), at.1);
            let moving = Moving { cursor, ..moving(1, 7, start, u64::MAX) };
            let map = map.moving_also(moving).unwrap();
            let spot = (ShardKey::new(spot.0), spot.1);
            let holder = map.holder(spot).get();
            let expected = if spot.0.get() < half { 0 } else if spot.0.get() >= start && spot < cursor { 7 } else { 1 };
            prop_assert_eq!(holder, expected);
            prop_assert!(map.shards_around(spot.0).any(|shard| shard.get() == holder));
            prop_assert!(map.shards().any(|shard| shard.get() == holder));
        }
    }
}
