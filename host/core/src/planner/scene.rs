//! One call's view of everything: the map, what each shard does, how the owners stand once all that is under way is done.

use ostrakon_wire::{ShardId, ShardKey};

use super::cut::{Cut, cut};
use super::decision::{ALTERNATIVES_MAX, Alternative, Decision, Instead, Reason};
use super::home::Seat;
use super::memory::{Flight, motion_of};
use super::{Limits, Memory, OwnerState, What, Why};
use crate::load::{Health, ShardLoad};
use crate::shard_map::ShardMap;

/// Where in the map each shard stands.
pub(super) struct Places(Vec<(ShardId, usize)>);

impl Places {
    pub(super) fn of(map: &ShardMap) -> Self {
        let mut places: Vec<_> = map.ranges().iter().enumerate().map(|(index, range)| (range.shard, index)).collect();
        places.sort_unstable();
        Self(places)
    }

    pub(super) fn index(&self, shard: ShardId) -> Option<usize> {
        let at = self.0.binary_search_by_key(&shard, |(shard, _)| *shard).ok()?;
        Some(self.0[at].1)
    }
}

/// An owner as it will stand once all that is under way is done.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    pub owner: u32,
    pub weight: f64,
    pub up: bool,
    /// Up, and for long enough to be given shards.
    pub open: bool,
    pub load: f64,
    /// What it has in one piece that nothing can take apart, where that is more than its fair part.
    pub lump: f64,
    pub arrivals: usize,
    /// Its shards, by their place in the map.
    pub held: Vec<usize>,
}

pub(super) struct Scene<'a> {
    pub map: &'a ShardMap,
    pub limits: &'a Limits,
    pub memory: &'a mut Memory,
    pub now_ms: u64,
    /// By place in the map, as the next ones.
    pub loads: Vec<Option<&'a ShardLoad>>,
    pub work: Vec<f64>,
    /// Something is being done to it.
    pub busy: Vec<bool>,
    /// Who owns it now; `None` for an owner that nobody knows.
    pub owner: Vec<Option<usize>>,
    pub owners: Vec<Standing>,
    /// Nothing can take it apart, and it is more than an owner's fair part.
    pub lump: Vec<bool>,
    /// What an owner of weight 1 should have.
    pub fair: f64,
    /// Shards, once all that is under way is done.
    pub shards: usize,
    motion: f64,
    decisions: Vec<Decision>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(
        map: &'a ShardMap,
        loads: &'a [ShardLoad],
        owners: &[OwnerState],
        limits: &'a Limits,
        memory: &'a mut Memory,
        now_ms: u64,
    ) -> Self {
        let places = Places::of(map);
        memory.settle(map, &places, limits, now_ms);
        memory.sees(owners, limits, now_ms);
        let count = map.ranges().len();
        let mut scene = Self {
            map,
            limits,
            now_ms,
            loads: vec![None; count],
            work: vec![0.0; count],
            busy: vec![false; count],
            owner: vec![None; count],
            lump: vec![false; count],
            owners: standings(owners, memory, limits, now_ms),
            fair: 0.0,
            shards: count,
            motion: 0.0,
            decisions: Vec::new(),
            memory,
        };
        for load in loads {
            if let Some(index) = places.index(load.shard) {
                scene.loads[index] = Some(load);
                scene.work[index] = if load.work.is_finite() { load.work.max(0.0) } else { 0.0 };
            }
        }
        for (index, range) in map.ranges().iter().enumerate() {
            scene.owner[index] = scene.find(range.owner);
            if let Some(owner) = scene.owner[index] {
                scene.owners[owner].load += scene.work[index];
                scene.owners[owner].held.push(index);
            }
        }
        let flights: Vec<Flight> = scene.memory.flights.values().copied().collect();
        for flight in flights {
            if let Some(index) = places.index(flight.what.shard()) {
                scene.foresee(index, &flight);
            }
        }
        scene.share_out();
        scene
    }

    fn find(&self, owner: u32) -> Option<usize> {
        self.owners.binary_search_by_key(&owner, |standing| standing.owner).ok()
    }

    /// Counts what is under way as done.
    fn foresee(&mut self, index: usize, flight: &Flight) {
        self.motion += flight.motion;
        self.busy[index] = true;
        let (gone, to) = match flight.what {
            What::Refuse { .. } => return,
            What::Move { to, .. } => (index, self.find(to)),
            What::Split { owner, .. } => {
                self.shards += 1;
                (index, self.find(owner))
            }
            What::Merge { .. } => {
                self.shards -= 1;
                let gone = (index + 1).min(self.busy.len() - 1);
                self.busy[gone] = true;
                (gone, self.owner[index])
            }
        };
        let (from, moved) = (self.owner[gone], self.work[gone] * flight.part);
        if from != to {
            if let Some(from) = from {
                self.owners[from].load -= moved;
            }
            if let Some(to) = to {
                self.owners[to].load += moved;
                self.owners[to].arrivals += 1;
            }
        }
    }

    /// Finds what is fair: all work by all weights; but what nothing can take apart and is more than that is left out, and
    /// one owner with it.
    fn share_out(&mut self) {
        let mut weights: f64 = self.owners.iter().filter(|owner| owner.open).map(|owner| owner.weight).sum();
        let mut total: f64 = self.work.iter().sum();
        if weights <= 0.0 {
            return;
        }
        self.fair = total / weights;
        let large = |index: &usize| self.work[*index] > self.fair && self.is_lump(*index);
        let mut lumps: Vec<usize> = (0..self.work.len()).filter(large).collect();
        lumps.sort_by(|one, other| self.work[*other].total_cmp(&self.work[*one]));
        for index in lumps {
            let Some(owner) = self.owner[index].filter(|owner| self.owners[*owner].open) else { continue };
            let (work, weight) = (self.work[index], self.owners[owner].weight);
            if work <= self.fair * weight || weights - weight <= 0.0 {
                continue;
            }
            self.lump[index] = true;
            // A second lump with the same owner moves away from it, to one that is then left out.
            self.owners[owner].lump = self.owners[owner].lump.max(work);
            (total, weights) = (total - work, weights - weight);
            self.fair = total / weights;
        }
    }

    fn is_lump(&self, index: usize) -> bool {
        if self.is_pinned(index) || self.health(index) == Health::Unavailable {
            return true;
        }
        matches!(self.cut_of(index), Err(Why::OneObject { .. } | Why::Moving { .. } | Why::NoCut))
    }

    /// How many times what it should have an owner has.
    pub(super) fn ratio(&self, owner: usize) -> f64 {
        self.owners[owner].load / self.base(owner)
    }

    /// What an owner should have: its fair part, or what cannot leave it.
    pub(super) fn base(&self, owner: usize) -> f64 {
        (self.fair * self.owners[owner].weight).max(self.owners[owner].lump)
    }

    pub(super) fn shard(&self, index: usize) -> ShardId {
        self.map.ranges()[index].shard
    }

    pub(super) fn start(&self, index: usize) -> ShardKey {
        self.map.ranges()[index].start
    }

    pub(super) fn health(&self, index: usize) -> Health {
        self.loads[index].map(|load| load.health).unwrap_or_default()
    }

    pub(super) fn is_pinned(&self, index: usize) -> bool {
        self.limits.pinned.contains(&self.shard(index))
    }

    /// Whether anything may be done to a shard now, pinned ones and such that do not serve aside.
    pub(super) fn is_at_rest(&self, index: usize) -> bool {
        !self.busy[index] && !self.memory.rests(self.shard(index))
    }

    /// What stands for an owner where shards look for their homes.
    pub(super) fn seat(&self, owner: usize) -> Seat {
        let of = &self.owners[owner];
        Seat { owner: of.owner, weight: of.weight, load: of.load, room: self.base(owner) * self.limits.full }
    }

    /// Whether an owner may be given one more shard now.
    pub(super) fn takes(&self, owner: usize) -> bool {
        let of = &self.owners[owner];
        of.open && of.arrivals < self.limits.arrivals_at_a_time.max(1)
    }

    /// Whether there is too little to balance.
    pub(super) fn is_idle(&self) -> bool {
        self.fair < self.limits.idle_work
    }

    /// Whether as many decisions are under way as may be.
    pub(super) fn is_full(&self) -> bool {
        self.memory.flights.len() >= self.limits.moves_at_a_time.max(1)
    }

    /// Where a shard could be cut, by its load alone.
    pub(super) fn cut_of(&self, index: usize) -> Result<Cut, Why> {
        let wanted = self.limits.samples_min;
        let load = self.loads[index].ok_or(Why::FewSamples { samples: 0, wanted })?;
        cut(load, self.start(index), self.map.end_of(index), self.limits)
    }

    /// What it costs to move this share of a shard: 1 for the change of the map, and more for its bytes.
    pub(super) fn cost(&self, index: usize, part: f64) -> f64 {
        let bytes = self.loads[index].map_or(0, |load| load.bytes);
        1.0 + bytes as f64 * part / self.limits.move_bytes.max(1) as f64
    }

    /// Whether one more decision may be under way, and so much of the key space with it.
    pub(super) fn allows(&self, index: usize, what: &What) -> bool {
        !self.is_full() && self.allows_motion(index, what)
    }

    /// Whether so much more of the key space may be in motion.
    pub(super) fn allows_motion(&self, index: usize, what: &What) -> bool {
        self.memory.flights.is_empty() || self.motion + motion_of(self.map, index, what) <= self.limits.motion_max
    }

    /// Decides, and counts it as done from here on. `part`: the share of the work that changes its owner.
    pub(super) fn decide(&mut self, index: usize, part: f64, decision: Decision) {
        let gone = if matches!(decision.what, What::Merge { .. }) { index + 1 } else { index };
        let motion = motion_of(self.map, index, &decision.what);
        let range = self.map.ranges()[gone];
        let flight = Flight { what: decision.what, from: range.owner, start: range.start, motion, part };
        self.foresee(index, &flight);
        self.memory.takes_up(flight);
        self.memory.decided_ms = Some(self.now_ms);
        self.decisions.push(decision);
    }

    /// Says that nothing is done, if that is news.
    pub(super) fn refuse(&mut self, index: usize, reason: Reason, why: Why) {
        let shard = self.shard(index);
        if self.memory.refuses(shard, &why, self.now_ms) {
            let what = What::Refuse { shard, why };
            self.decisions.push(Decision { what, reason, score: 0.0, alternatives: Vec::new() });
        }
    }

    pub(super) fn into_decisions(self) -> Vec<Decision> {
        self.decisions
    }
}

/// The best of what else there was, and that nothing could have been done.
pub(super) fn told(mut others: Vec<Alternative>) -> Vec<Alternative> {
    others.sort_by(|one, other| other.score.total_cmp(&one.score));
    others.truncate(ALTERNATIVES_MAX - 1);
    others.push(Alternative { what: Instead::Nothing, score: 0.0 });
    others
}

fn standings(owners: &[OwnerState], memory: &Memory, limits: &Limits, now_ms: u64) -> Vec<Standing> {
    let any = owners.iter().any(|state| memory.settled(state.owner, limits, now_ms));
    let standing = |state: &OwnerState| Standing {
        owner: state.owner,
        weight: if state.weight.is_finite() && state.weight > 0.0 { state.weight } else { 1.0 },
        up: state.up,
        // Where all have come up just now, there is nobody else.
        open: state.up && (!any || memory.settled(state.owner, limits, now_ms)),
        load: 0.0,
        lump: 0.0,
        arrivals: 0,
        held: Vec::new(),
    };
    let mut standings: Vec<_> = owners.iter().map(standing).collect();
    standings.sort_by_key(|standing| standing.owner);
    standings.dedup_by_key(|standing| standing.owner);
    standings
}
