//! The planner of core in worlds made from a seed: who uses what, and which owners are up, round by round; and beside it what
//! shards would do that never change.
//!
//! Decisions take two rounds and more to carry out. What the planner is told is what a host would know: fading sums, samples of
//! where the work falls, and how it moves. What is measured is the work of the very round. The same seed gives the same run.

mod baseline;
mod heat;
mod measure;
mod trail;
mod workload;
mod world;

use std::time::Duration;

use baseline::Ranked;
use heat::Heat;
pub use measure::Measured;
use measure::{beside, imbalance, large};
pub use trail::Trail;
use workload::Workload;
pub use workload::{Kind, Size};
pub use world::Counts;
use world::{World, first_map};

/// Rounds at first that are not measured, for the planner and for what it is held against: within them it is to get from equal
/// ranges to where it stays.
pub const FIRST_ROUNDS: u32 = 60;

/// What became of one workload.
#[derive(Debug, Clone)]
pub struct Report {
    /// Which.
    pub kind: Kind,
    /// The fullest owner against the mean, or the best possible where one object is more than an owner's part.
    pub imbalance: Measured,
    /// The same for what never changes.
    pub baselines: Vec<(&'static str, Measured)>,
    /// The first round in which the fullest owner had 1.25 times the mean (or best possible) at most; `None` if there was none.
    pub settled: Option<u32>,
    /// The owners of objects that are more than an owner's part: how many times that object's work the worst of them has, in
    /// the middle of all rounds with such objects.
    pub beside: Option<f64>,
    /// The share of all work that changed its owner, a round.
    pub churn: f64,
    /// The share of the work that was with owners that are down, a round.
    pub unserved: f64,
    /// What the planner did.
    pub counts: Counts,
    /// Shards at the end.
    pub shards: usize,
    /// How long the planner thought, in the mean and at most.
    pub planned: (Duration, Duration),
    /// Of all decisions, in words.
    pub digest: u128,
}

/// Runs a workload. `step` is called after each round. The trail is for [`Kind::Trail`] alone.
pub fn run(kind: Kind, size: Size, seed: u64, trail: Option<&Trail>, step: impl Fn()) -> Report {
    assert!(size.shards > 0 && size.owners > 0 && size.rounds > FIRST_ROUNDS, "a world has a size");
    assert!(kind != Kind::Trail || trail.is_some(), "who follows a trail has one");
    let workload = Workload::new(kind, size, seed, trail);
    let map = first_map(size);
    let fixed = baseline::all(&map, &workload, size);
    let ranked = Ranked::of(&map, size.owners);
    let mut work = Vec::new();
    workload.work(0, &mut work);
    let mut heat = Heat::new(&work);
    let mut world = World::new(map, size, seed);
    let mut owned = vec![0.0; size.owners as usize];
    let mut measured = vec![Vec::new(); 1 + fixed.len()];
    let (mut besides, mut unserved, mut settled) = (Vec::new(), 0.0, None);
    for round in 0..size.rounds {
        workload.work(round, &mut work);
        heat.round(&work, round);
        let up: Vec<bool> = (0..size.owners).map(|owner| workload.is_up(owner, round)).collect();
        world.round(&workload, &heat, &up, round);

        owned.fill(0.0);
        let mut item = 0;
        for (index, range) in world.map.ranges().iter().enumerate() {
            let end = world.map.end_of(index).get();
            while item < work.len() && workload.items[item].key <= end {
                owned[range.owner as usize] += work[item];
                item += 1;
            }
        }
        let large = large(&work, &up);
        let owner_of = |key| world.map.range_of(ostrakon_wire::ShardKey::new(key)).owner as usize;
        let hot: Vec<_> = large.iter().map(|item| (owner_of(workload.items[*item].key), work[*item])).collect();
        let now = imbalance(&owned, &up, &hot);
        settled = settled.or((now <= 1.25).then_some(round));
        if round >= FIRST_ROUNDS {
            measured[0].push(now);
            besides.extend(beside(&owned, &hot));
            unserved += (0..owned.len()).filter(|owner| !up[*owner]).map(|owner| owned[owner]).sum::<f64>()
                / owned.iter().sum::<f64>();
            for (fixed, measured) in fixed.iter().zip(&mut measured[1..]) {
                fixed.owned(&work, &up, &ranked, &mut owned);
                let owner = |item: usize| fixed.owner_of_item(item, &up, &ranked);
                let hot: Vec<_> = large.iter().map(|item| (owner(*item), work[*item])).collect();
                measured.push(imbalance(&owned, &up, &hot));
            }
        }
        step();
    }
    let rounds = f64::from(size.rounds);
    let mut measured = measured.into_iter().map(Measured::of);
    Report {
        kind,
        imbalance: measured.next().unwrap_or_default(),
        baselines: fixed.iter().map(|fixed| fixed.name).zip(measured).collect(),
        settled,
        beside: (!besides.is_empty()).then(|| Measured::of(besides).p50),
        churn: world.moved / rounds,
        unserved: unserved / (rounds - f64::from(FIRST_ROUNDS)),
        counts: world.counts,
        shards: world.map.ranges().len(),
        planned: (world.planned / size.rounds, world.slowest),
        digest: world.digest.digest128(),
    }
}
