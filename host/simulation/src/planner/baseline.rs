//! What the planner is held against: shards that never change and never move. When an owner is down each of its shards is
//! at once, and for as long, with the next owner that it ranks, at no cost.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ostrakon_core::ShardMap;
use ostrakon_core::planner::rank;
use ostrakon_wire::ShardId;
use xxhash_rust::xxh3::xxh3_64;

use super::workload::{Size, Workload};

/// Owners that a shard falls back on.
const RANKED: usize = 6;

/// Items in fixed shards, shards with fixed owners.
pub(super) struct Fixed {
    pub name: &'static str,
    shard_of: Vec<u32>,
    owner_of: Vec<u32>,
}

impl Fixed {
    /// Adds up what each owner has.
    pub(super) fn owned(&self, work: &[f64], up: &[bool], ranked: &Ranked, owned: &mut [f64]) {
        let mut shards = vec![0.0; self.owner_of.len()];
        for (shard, work) in self.shard_of.iter().zip(work) {
            shards[*shard as usize] += work;
        }
        owned.fill(0.0);
        for (shard, work) in shards.into_iter().enumerate() {
            owned[self.owner(shard, up, ranked)] += work;
        }
    }

    pub(super) fn owner_of_item(&self, item: usize, up: &[bool], ranked: &Ranked) -> usize {
        self.owner(self.shard_of[item] as usize, up, ranked)
    }

    fn owner(&self, shard: usize, up: &[bool], ranked: &Ranked) -> usize {
        let owner = self.owner_of[shard] as usize;
        if up[owner] {
            return owner;
        }
        let next = ranked.0[shard].iter().map(|owner| *owner as usize).find(|owner| up[*owner]);
        next.or_else(|| up.iter().position(|up| *up)).unwrap_or(owner)
    }
}

/// The owners that each shard ranks first.
pub(super) struct Ranked(Vec<Vec<u32>>);

impl Ranked {
    pub(super) fn of(map: &ShardMap, owners: u32) -> Self {
        let of_shard = |shard: ShardId| {
            let mut ranks: Vec<(f64, u32)> = (0..owners).map(|owner| (rank(shard, owner, 1.0), owner)).collect();
            let last = RANKED.min(ranks.len() - 1);
            ranks.select_nth_unstable_by(last, |one, other| other.0.total_cmp(&one.0));
            ranks.truncate(RANKED);
            ranks.sort_by(|one, other| other.0.total_cmp(&one.0));
            ranks.into_iter().map(|(_, owner)| owner).collect()
        };
        Self(map.ranges().iter().map(|range| of_shard(range.shard)).collect())
    }
}

/// Static hashing of the same ranges; static hashing of every object by itself; and the ranges given to owners, the heaviest
/// first, each to the one with least, by the work that they will turn out to have over the whole run.
pub(super) fn all(map: &ShardMap, workload: &Workload<'_>, size: Size) -> [Fixed; 3] {
    let place = |key: u64| map.ranges().partition_point(|range| range.start.get() <= key) - 1;
    let by_range: Vec<u32> = workload.items.iter().map(|item| place(item.key) as u32).collect();
    let hashed = |object: u64| (xxh3_64(&object.to_le_bytes()) % map.ranges().len() as u64) as u32;
    let by_object: Vec<u32> = workload.items.iter().map(|item| hashed(item.object)).collect();
    let at_home: Vec<u32> = map.ranges().iter().map(|range| range.owner).collect();
    let in_hindsight = hindsight(map.ranges().len(), &by_range, workload, size);
    [
        Fixed { name: "static ranges", shard_of: by_range.clone(), owner_of: at_home.clone() },
        Fixed { name: "hashed objects", shard_of: by_object, owner_of: at_home },
        Fixed { name: "hindsight", shard_of: by_range, owner_of: in_hindsight },
    ]
}

fn hindsight(shards: usize, shard_of: &[u32], workload: &Workload<'_>, size: Size) -> Vec<u32> {
    let mut totals = vec![0.0; shards];
    let mut work = Vec::new();
    for round in 0..size.rounds {
        workload.work(round, &mut work);
        shard_of.iter().zip(&work).for_each(|(shard, work)| totals[*shard as usize] += work);
    }
    let mut order: Vec<usize> = (0..shards).collect();
    order.sort_by(|one, other| totals[*other].total_cmp(&totals[*one]));
    // Work in whole microseconds, so that it can be ordered.
    let mut least: BinaryHeap<Reverse<(u128, u32)>> = (0..size.owners).map(|owner| Reverse((0, owner))).collect();
    let mut owner_of = vec![0; shards];
    for shard in order {
        let Some(Reverse((has, owner))) = least.pop() else { break };
        owner_of[shard] = owner;
        least.push(Reverse((has + totals[shard] as u128, owner)));
    }
    owner_of
}
