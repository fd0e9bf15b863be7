//! What the planner remembers from one call to the next: what is under way, what lasts, and what must not be taken back.
//!
//! Splits and merges are remembered by the key of the boundary that they made or took away, so whatever shards get which
//! numbers, a boundary neither goes soon after it came nor comes soon after it went.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::take;
use std::ops::Bound::{Excluded, Included};

use ostrakon_wire::{ShardId, ShardKey};

use super::scene::Places;
use super::{Limits, OwnerState, What, Why};
use crate::shard_map::ShardMap;

/// The most that an owner's time to settle is doubled.
const FLAPS_MAX: u32 = 4;

/// What the planner remembers. It is empty at first, and lost with the host: then nothing is known to be under way (see
/// [`Memory::began`]), and nothing is too recent to be taken back.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Memory {
    pub(super) flights: BTreeMap<ShardId, Flight>,
    split_at: BTreeMap<ShardKey, u64>,
    merged_at: BTreeMap<ShardKey, u64>,
    moved: BTreeMap<ShardId, Moved>,
    rests: BTreeMap<ShardId, u64>,
    refused: BTreeMap<(ShardId, &'static str), u64>,
    owners: BTreeMap<u32, Seen>,
    met: bool,
    pub(super) decided_ms: Option<u64>,
    pub(super) hot: Lasting<ShardId>,
    pub(super) over: Lasting<u32>,
    pub(super) under: Lasting<u32>,
    pub(super) cold: Lasting<ShardKey>,
}

/// A decision that is being carried out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Flight {
    pub what: What,
    /// Who owned the shard; of two, the one that goes.
    pub from: u32,
    /// The first key of that shard: the boundary that a merge takes away.
    pub start: ShardKey,
    /// The share of the key space that is in motion.
    pub motion: f64,
    /// The share of the shard's work that changes its owner.
    pub part: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Moved {
    from: u32,
    at_ms: u64,
}

/// How an owner has been.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    up: bool,
    /// When that last changed; `None` for those that were there from the first.
    since_ms: Option<u64>,
    flaps: u32,
}

/// Since when what holds now has held without a break.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lasting<K>(BTreeMap<K, u64>);

impl<K> Default for Lasting<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Lasting<K> {
    /// Tells all for which it holds now; it ends for all others.
    pub(super) fn holds(&mut self, all: impl IntoIterator<Item = K>, now_ms: u64) {
        let before = take(&mut self.0);
        let since = |key: K| {
            let since_ms = before.get(&key).map_or(now_ms, |since_ms| (*since_ms).min(now_ms));
            (key, since_ms)
        };
        self.0 = all.into_iter().map(since).collect();
    }

    /// Whether it has held so long.
    pub(super) fn lasts(&self, key: &K, for_ms: u64, now_ms: u64) -> bool {
        self.0.get(key).is_some_and(|since_ms| now_ms.saturating_sub(*since_ms) >= for_ms)
    }
}

impl Memory {
    /// A decision is being carried out that this memory does not know of: the host was started again meanwhile. What the
    /// planner itself decides it remembers. Until the map shows it done, or [`Memory::failed`] is called, its shards are left
    /// alone.
    pub fn began(&mut self, map: &ShardMap, what: What) {
        let places = Places::of(map);
        let Some(index) = places.index(what.shard()) else { return };
        let gone = matches!(what, What::Merge { .. }).then_some(index + 1).filter(|next| *next < map.ranges().len());
        let range = map.ranges()[gone.unwrap_or(index)];
        let part = if matches!(what, What::Split { .. }) { 0.5 } else { 1.0 };
        let motion = motion_of(map, index, &what);
        self.takes_up(Flight { what, from: range.owner, start: range.start, motion, part });
    }

    /// A decision was given up; the shards are as they were.
    pub fn failed(&mut self, shard: ShardId, now_ms: u64) {
        if self.flights.remove(&shard).is_some() {
            self.rests.insert(shard, now_ms);
        }
    }

    /// Decisions that are being carried out.
    pub fn under_way(&self) -> impl Iterator<Item = &What> {
        self.flights.values().map(|flight| &flight.what)
    }

    /// Takes what the map shows as done, and forgets what is too old to matter.
    pub(super) fn settle(&mut self, map: &ShardMap, places: &Places, limits: &Limits, now_ms: u64) {
        for (shard, flight) in take(&mut self.flights) {
            let owner = places.index(shard).map(|index| map.ranges()[index].owner);
            match (flight.what, owner) {
                (_, None) | (What::Refuse { .. }, _) => {}
                (What::Move { to, .. }, Some(owner)) if owner == to => {
                    self.rests.insert(shard, now_ms);
                    self.moved.insert(shard, Moved { from: flight.from, at_ms: now_ms });
                }
                (What::Split { at, .. }, _) if map.range_of(at).start == at => {
                    self.rests.extend([(shard, now_ms), (map.shard_of(at), now_ms)]);
                    self.split_at.insert(at, now_ms);
                }
                (What::Merge { right, .. }, _) if places.index(right).is_none() => {
                    self.rests.insert(shard, now_ms);
                    self.merged_at.insert(flight.start, now_ms);
                }
                _ => {
                    self.flights.insert(shard, flight);
                }
            }
        }
        let old = |at_ms: u64, age_ms: u64| now_ms.saturating_sub(at_ms) >= age_ms;
        self.split_at.retain(|_, at_ms| !old(*at_ms, limits.reversal_ms));
        self.merged_at.retain(|_, at_ms| !old(*at_ms, limits.reversal_ms));
        self.moved.retain(|_, moved| !old(moved.at_ms, limits.reversal_ms.max(limits.stay_ms)));
        self.rests.retain(|_, at_ms| !old(*at_ms, limits.cooldown_ms));
        self.refused.retain(|_, at_ms| !old(*at_ms, limits.refusal_ms));
    }

    /// Remembers what was decided.
    pub(super) fn takes_up(&mut self, flight: Flight) {
        self.flights.insert(flight.what.shard(), flight);
    }

    /// Looks which owners are up, and since when.
    pub(super) fn sees(&mut self, owners: &[OwnerState], limits: &Limits, now_ms: u64) {
        let first = !take(&mut self.met);
        self.met = true;
        for state in owners {
            let since_ms = (!first).then_some(now_ms);
            let seen = self.owners.entry(state.owner).or_insert(Seen { up: state.up, since_ms, flaps: 0 });
            if seen.up != state.up {
                let before_ms = seen.since_ms.replace(now_ms);
                seen.up = state.up;
                let long = before_ms.is_none_or(|before_ms| now_ms.saturating_sub(before_ms) >= limits.reversal_ms);
                match (state.up, long) {
                    (false, true) => seen.flaps = 0,
                    (false, false) => seen.flaps = (seen.flaps + 1).min(FLAPS_MAX),
                    (true, _) => {}
                }
            }
        }
        let known: BTreeSet<u32> = owners.iter().map(|state| state.owner).collect();
        self.owners.retain(|owner, _| known.contains(owner));
    }

    /// Whether an owner has been up long enough to be given shards.
    pub(super) fn settled(&self, owner: u32, limits: &Limits, now_ms: u64) -> bool {
        let Some(seen) = self.owners.get(&owner) else { return false };
        let wait_ms = limits.settle_ms.saturating_mul(1 << seen.flaps);
        seen.up && seen.since_ms.is_none_or(|since_ms| now_ms.saturating_sub(since_ms) >= wait_ms)
    }

    pub(super) fn rests(&self, shard: ShardId) -> bool {
        self.rests.contains_key(&shard)
    }

    /// Whether a shard was moved too recently to be moved again.
    pub(super) fn stays(&self, shard: ShardId, limits: &Limits, now_ms: u64) -> bool {
        self.moved.get(&shard).is_some_and(|moved| now_ms.saturating_sub(moved.at_ms) < limits.stay_ms)
    }

    /// Whether a shard came from that owner a short time ago.
    pub(super) fn came_from(&self, shard: ShardId, owner: u32) -> bool {
        self.moved.get(&shard).is_some_and(|moved| moved.from == owner)
    }

    /// Whether one of these boundaries was made a short time ago.
    pub(super) fn just_split(&self, boundary: ShardKey) -> bool {
        self.split_at.contains_key(&boundary)
    }

    /// When a boundary inside these keys was last taken away, if that was a short time ago.
    pub(super) fn just_merged(&self, start: ShardKey, end: ShardKey) -> Option<u64> {
        self.merged_at.range((Excluded(start), Included(end))).map(|(_, at_ms)| *at_ms).max()
    }

    /// Whether this refusal is news.
    pub(super) fn refuses(&mut self, shard: ShardId, why: &Why, now_ms: u64) -> bool {
        let key = (shard, why.name());
        let news = !self.refused.contains_key(&key);
        self.refused.entry(key).or_insert(now_ms);
        news
    }
}

/// The share of the key space that something decided about the shard at `index` puts in motion: all of a shard that moves,
/// the upper side of one that is cut, the upper of two that are merged.
pub(super) fn motion_of(map: &ShardMap, index: usize, what: &What) -> f64 {
    let (start, end) = match *what {
        What::Refuse { .. } => return 0.0,
        What::Move { .. } => (map.ranges()[index].start, map.end_of(index)),
        What::Split { at, .. } => (at, map.end_of(index)),
        What::Merge { .. } => {
            let gone = (index + 1).min(map.ranges().len() - 1);
            (map.ranges()[gone].start, map.end_of(gone))
        }
    };
    end.get().saturating_sub(start.get()) as f64 / u64::MAX as f64
}
