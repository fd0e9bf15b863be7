//! A small world that carries out what the planner decides, each decision two seconds later.

use std::collections::BTreeMap;

use ostrakon_wire::{MapEpoch, ShardId, ShardKey};

use crate::load::{Health, KeySample, ShardLoad};
use crate::planner::{Decision, Limits, Memory, OwnerState, What, apply, homes, plan};
use crate::{ShardMap, ShardRange};

/// What is used, how much, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object {
    pub key: u64,
    pub work: f64,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub map: ShardMap,
    pub objects: Vec<Object>,
    pub owners: Vec<OwnerState>,
    pub limits: Limits,
    pub memory: Memory,
    pub now_ms: u64,
    pub trend: f64,
    pub health: BTreeMap<ShardId, Health>,
    carried: Vec<(u64, What)>,
    next: u32,
}

impl Stage {
    pub(super) fn new(shards: u32, owners: u32, mut objects: Vec<Object>) -> Self {
        objects.sort_by_key(|object| object.key);
        Self {
            map: placed(shards, owners),
            objects,
            owners: (0..owners).map(OwnerState::up).collect(),
            limits: Limits::for_owners(owners as usize),
            memory: Memory::default(),
            now_ms: 1_000_000,
            trend: 0.0,
            health: BTreeMap::new(),
            carried: Vec::new(),
            next: shards,
        }
    }

    /// What is known of each shard, with every object a sample of four.
    pub(super) fn loads(&self) -> Vec<ShardLoad> {
        let load = |index: usize| {
            let (shard, start) = (self.map.ranges()[index].shard, self.map.ranges()[index].start.get());
            let end = self.map.end_of(index).get();
            let first = self.objects.partition_point(|object| object.key < start);
            let last = self.objects.partition_point(|object| object.key <= end);
            let inside = &self.objects[first..last];
            let sample = |object: &Object| {
                let one =
                    KeySample { key: ShardKey::new(object.key), object: object.key, work: object.work / 4.0, uses: 1 };
                [one; 4]
            };
            ShardLoad {
                shard,
                work: inside.iter().map(|object| object.work).sum(),
                objects: inside.len() as u64,
                bytes: inside.len() as u64 * 1_000,
                samples: inside.iter().flat_map(sample).collect(),
                trend: self.trend,
                health: self.health.get(&shard).copied().unwrap_or_default(),
            }
        };
        (0..self.map.ranges().len()).map(load).collect()
    }

    pub(super) fn tick(&mut self) -> Vec<Decision> {
        self.now_ms += 1_000;
        let now_ms = self.now_ms;
        let due: Vec<What> =
            self.carried.iter().filter(|(due_ms, _)| *due_ms <= now_ms).map(|(_, what)| *what).collect();
        self.carried.retain(|(due_ms, _)| *due_ms > now_ms);
        if !due.is_empty() {
            self.map = apply(&self.map, &due, ShardId::new(self.next)).expect("what is decided can be carried out");
            self.next += due.len() as u32;
        }
        let decisions = plan(&self.map, &self.loads(), &self.owners, &self.limits, &mut self.memory, now_ms);
        let lasting = decisions.iter().filter(|decision| !matches!(decision.what, What::Refuse { .. }));
        self.carried.extend(lasting.map(|decision| (now_ms + 2_000, decision.what)));
        decisions
    }

    /// So many seconds, and all that was decided meanwhile.
    pub(super) fn pass(&mut self, seconds: u32) -> Vec<Decision> {
        (0..seconds).flat_map(|_| self.tick()).collect()
    }

    /// What each owner has to do.
    pub(super) fn owned(&self) -> Vec<f64> {
        let mut work: BTreeMap<u32, f64> = self.owners.iter().map(|state| (state.owner, 0.0)).collect();
        for (range, load) in self.map.ranges().iter().zip(self.loads()) {
            *work.entry(range.owner).or_default() += load.work;
        }
        work.into_values().collect()
    }

    /// The fullest owner against the mean.
    pub(super) fn imbalance(&self) -> f64 {
        let work = self.owned();
        let mean = work.iter().sum::<f64>() / work.len() as f64;
        work.iter().copied().fold(0.0, f64::max) / mean
    }

    pub(super) fn under_way(&self) -> usize {
        self.carried.len()
    }
}

/// Equal ranges, each at home.
pub(super) fn placed(shards: u32, owners: u32) -> ShardMap {
    let equal = ShardMap::equal(shards, 1);
    let ids: Vec<ShardId> = equal.ranges().iter().map(|range| range.shard).collect();
    let weights: Vec<(u32, f64)> = (0..owners).map(|owner| (owner, 1.0)).collect();
    let homes = homes(&ids, &weights, 1.25);
    let range = |(range, owner): (&ShardRange, u32)| ShardRange { owner, ..*range };
    ShardMap::new(MapEpoch::new(1), equal.ranges().iter().zip(homes).map(range).collect()).expect("equal ranges")
}

/// Clients whose work falls off by Zipf's law, each with so many objects side by side, all together so much work.
pub(super) fn zipf(clients: u64, exponent: f64, objects: u64, work: f64) -> Vec<Object> {
    let part = |client: u64| ((client + 1) as f64).powf(-exponent);
    let all: f64 = (0..clients).map(part).sum();
    let width = u64::MAX / clients;
    let object = |client: u64, place: u64| {
        // Clients stand in no order of their work.
        let at = (client * 7_919) % clients * width;
        Object { key: at + place * (width / objects), work: work * part(client) / all / objects as f64 }
    };
    (0..clients).flat_map(|client| (0..objects).map(move |place| object(client, place))).collect()
}

/// Objects of equal work, evenly over all keys.
pub(super) fn even(objects: u64, work: f64) -> Vec<Object> {
    let step = u64::MAX / objects;
    (0..objects).map(|place| Object { key: place * step + step / 2, work: work / objects as f64 }).collect()
}
