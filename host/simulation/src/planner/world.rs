//! The planner in a world: what it is told, and what becomes of what it decides.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included};
use std::time::{Duration, Instant};

use fastrand::Rng;
use ostrakon_core::planner::{Decision, Limits, Memory, OwnerState, Reason, What, apply, plan};
use ostrakon_core::{ShardMap, ShardRange};
use ostrakon_wire::{MapEpoch, ShardId, ShardKey};
use xxhash_rust::xxh3::Xxh3;

use super::heat::Heat;
use super::workload::{Size, Workload};

/// Bytes that are moved in a round.
const ROUND_BYTES: u64 = 50 << 20;
/// A round.
const ROUND_MS: u64 = 1_000;
/// Within what time nothing may be taken back.
const REVERSAL_MS: u64 = 600_000;

/// What the planner did.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Counts {
    /// Shards that changed their owner, those that left owners that were down not among them.
    pub moves: u64,
    /// Shards that left owners that were down.
    pub evacuations: u64,
    /// Shards that were cut.
    pub splits: u64,
    /// Shards that were merged.
    pub merges: u64,
    /// Refusals.
    pub refusals: u64,
    /// What was given up because the owner it was for went down.
    pub failed: u64,
    /// What was taken back within the time that it must not.
    pub reversals: u64,
}

pub(super) struct World {
    pub map: ShardMap,
    pub counts: Counts,
    pub slowest: Duration,
    pub planned: Duration,
    pub digest: Xxh3,
    /// Work that changed its owner, of all that there was.
    pub moved: f64,
    limits: Limits,
    memory: Memory,
    rng: Rng,
    carried: Vec<Carried>,
    next: u32,
    splits: BTreeMap<ShardKey, u64>,
    merges: BTreeMap<ShardKey, u64>,
    moves: BTreeMap<ShardId, (u32, u64)>,
}

struct Carried {
    due: u32,
    what: What,
    evacuates: bool,
}

impl World {
    pub(super) fn new(map: ShardMap, size: Size, seed: u64) -> Self {
        Self {
            map,
            counts: Counts::default(),
            slowest: Duration::ZERO,
            planned: Duration::ZERO,
            digest: Xxh3::new(),
            moved: 0.0,
            limits: Limits::for_owners(size.owners as usize),
            memory: Memory::default(),
            rng: Rng::with_seed(seed ^ 0x5eed),
            carried: Vec::new(),
            next: size.shards,
            splits: BTreeMap::new(),
            merges: BTreeMap::new(),
            moves: BTreeMap::new(),
        }
    }

    pub(super) fn round(&mut self, workload: &Workload<'_>, heat: &Heat, up: &[bool], round: u32) {
        self.carry_out(workload, heat, up, round);
        let loads = heat.loads(&self.map, &workload.items, up.len() as u32, &mut self.rng);
        let state = |(owner, up): (usize, &bool)| OwnerState { owner: owner as u32, up: *up, weight: 1.0 };
        let owners: Vec<OwnerState> = up.iter().enumerate().map(state).collect();
        let now_ms = u64::from(round) * ROUND_MS;
        let started = Instant::now();
        let decisions = plan(&self.map, &loads, &owners, &self.limits, &mut self.memory, now_ms);
        let took = started.elapsed();
        self.slowest = self.slowest.max(took);
        self.planned += took;
        let bytes: BTreeMap<ShardId, u64> = match decisions.is_empty() {
            true => BTreeMap::new(),
            false => loads.iter().map(|load| (load.shard, load.bytes)).collect(),
        };
        for decision in decisions {
            self.digest.update(format!("{round} {decision}\n").as_bytes());
            self.take_up(&decision, round, bytes.get(&decision.what.shard()).copied().unwrap_or_default());
        }
    }

    fn take_up(&mut self, decision: &Decision, round: u32, bytes: u64) {
        if matches!(decision.what, What::Refuse { .. }) {
            self.counts.refusals += 1;
            return;
        }
        let due = round + 2 + (bytes / ROUND_BYTES) as u32;
        let evacuates = matches!(decision.reason, Reason::OwnerDown { .. });
        self.carried.push(Carried { due, what: decision.what, evacuates });
    }

    /// Does what is due. What was for an owner that is down is given up.
    fn carry_out(&mut self, workload: &Workload<'_>, heat: &Heat, up: &[bool], round: u32) {
        let (due, later): (Vec<_>, Vec<_>) = self.carried.drain(..).partition(|carried| carried.due <= round);
        self.carried = later;
        if due.is_empty() {
            return;
        }
        let now_ms = u64::from(round) * ROUND_MS;
        let work = heat.by_range(&self.map, &workload.items);
        let total: f64 = work.iter().sum();
        let places = self.map.ranges().iter().enumerate().zip(work);
        let places: BTreeMap<ShardId, Place> = places
            .map(|((index, range), work)| (range.shard, Place { range: *range, end: self.map.end_of(index), work }))
            .collect();
        let mut whats = Vec::new();
        for carried in due {
            if let What::Move { to, .. } | What::Split { owner: to, .. } = carried.what
                && !up[to as usize]
            {
                self.memory.failed(carried.what.shard(), now_ms);
                self.counts.failed += 1;
                continue;
            }
            self.count(&carried, &places, now_ms);
            self.moved += changes_owner(&carried.what, &places) / total.max(1.0);
            whats.push(carried.what);
        }
        let splits = whats.iter().filter(|what| matches!(what, What::Split { .. })).count();
        self.map = apply(&self.map, &whats, ShardId::new(self.next)).expect("what is decided can be carried out");
        self.next += splits as u32;
    }

    fn count(&mut self, carried: &Carried, places: &BTreeMap<ShardId, Place>, now_ms: u64) {
        let recent = |at_ms: u64| now_ms - at_ms < REVERSAL_MS;
        let counts = &mut self.counts;
        match carried.what {
            What::Refuse { .. } => {}
            What::Split { shard, at, .. } => {
                counts.splits += 1;
                let Place { range, end, .. } = places[&shard];
                let mut merged = self.merges.range((Excluded(range.start), Included(end)));
                counts.reversals += u64::from(merged.any(|(_, at_ms)| recent(*at_ms)));
                self.splits.insert(at, now_ms);
            }
            What::Merge { left, right } => {
                counts.merges += 1;
                let made = [places[&left].range.start, places[&right].range.start];
                let made = made.iter().any(|key| self.splits.get(key).is_some_and(|at_ms| recent(*at_ms)));
                counts.reversals += u64::from(made);
                self.merges.insert(places[&right].range.start, now_ms);
            }
            What::Move { shard, .. } if carried.evacuates => {
                counts.evacuations += 1;
                self.moves.remove(&shard);
            }
            What::Move { shard, to } => {
                counts.moves += 1;
                let before = self.moves.insert(shard, (places[&shard].range.owner, now_ms));
                counts.reversals += u64::from(before.is_some_and(|(from, at_ms)| from == to && recent(at_ms)));
            }
        }
    }
}

/// A shard when something is done to it.
#[derive(Clone, Copy)]
struct Place {
    range: ShardRange,
    end: ShardKey,
    work: f64,
}

/// The work that gets another owner by this; of a split, half.
fn changes_owner(what: &What, places: &BTreeMap<ShardId, Place>) -> f64 {
    let (work, owner) = (|shard: &ShardId| places[shard].work, |shard: &ShardId| places[shard].range.owner);
    match what {
        What::Move { shard, .. } => work(shard),
        What::Split { shard, owner: to, .. } if owner(shard) != *to => work(shard) / 2.0,
        What::Merge { left, right } if owner(left) != owner(right) => work(right),
        What::Refuse { .. } | What::Split { .. } | What::Merge { .. } => 0.0,
    }
}

/// Equal ranges, each at home.
pub(super) fn first_map(size: Size) -> ShardMap {
    let equal = ShardMap::equal(size.shards, 1);
    let shards: Vec<ShardId> = equal.ranges().iter().map(|range| range.shard).collect();
    let owners: Vec<(u32, f64)> = (0..size.owners).map(|owner| (owner, 1.0)).collect();
    let homes = ostrakon_core::planner::homes(&shards, &owners, 1.25);
    let range = |(range, owner): (&ShardRange, u32)| ShardRange { owner, ..*range };
    ShardMap::new(MapEpoch::new(1), equal.ranges().iter().zip(homes).map(range).collect())
        .expect("equal ranges make a map")
}
