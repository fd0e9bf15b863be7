//! Whatever the load, the owners and the map.

use std::collections::BTreeMap;

use ostrakon_wire::ShardId;
use proptest::prelude::*;

use super::stage::{Object, Stage};
use crate::load::Health;
use crate::planner::memory::motion_of;
use crate::planner::{Decision, What, apply};

/// What happens to the world between two seconds.
#[derive(Debug, Clone)]
enum Event {
    /// An owner goes down or comes up.
    Toggle(u32),
    /// A part of the keys gets so much hotter, or colder.
    Heat(u64, f64),
    /// Seconds pass.
    Pass(u32),
    /// A shard is that well.
    Health(u32, Health),
}

fn event() -> impl Strategy<Value = Event> {
    let health = prop_oneof![Just(Health::Healthy), Just(Health::Degraded), Just(Health::Unavailable)];
    prop_oneof![
        1 => (0..6_u32).prop_map(Event::Toggle),
        2 => (0..16_u64, 0.01..20.0).prop_map(|(part, times)| Event::Heat(part, times)),
        4 => (1..150_u32).prop_map(Event::Pass),
        1 => (0..40_u32, health).prop_map(|(shard, health)| Event::Health(shard, health)),
    ]
}

fn stage() -> impl Strategy<Value = Stage> {
    let object = (any::<u64>(), 1.0..60_000.0).prop_map(|(key, work)| Object { key, work });
    let limits = (1..6_usize, prop_oneof![Just(0.09), Just(0.9)]);
    (1..40_u32, 1..6_u32, prop::collection::vec(object, 1..120), limits).prop_map(
        |(shards, owners, objects, limits)| {
            let mut stage = Stage::new(shards, owners, objects);
            (stage.limits.moves_at_a_time, stage.limits.motion_max) = limits;
            stage.limits.shards_max = 60;
            stage.limits.pinned = [ShardId::new(2)].into();
            stage
        },
    )
}

fn happens(stage: &mut Stage, event: &Event) -> u32 {
    match event {
        Event::Toggle(owner) => {
            let count = stage.owners.len();
            let owner = &mut stage.owners[*owner as usize % count];
            owner.up = !owner.up;
        }
        Event::Heat(part, times) => {
            stage.objects.iter_mut().filter(|object| object.key >> 60 == *part).for_each(|object| object.work *= times);
        }
        Event::Health(shard, health) => {
            stage.health.insert(ShardId::new(*shard), *health);
        }
        Event::Pass(seconds) => return *seconds,
    }
    1
}

/// Holds what was decided in a second against what may be.
fn hold(stage: &Stage, decisions: &[Decision]) -> Result<(), TestCaseError> {
    let whats: Vec<What> = decisions.iter().map(|decision| decision.what).collect();
    prop_assert!(apply(&stage.map, &whats, ShardId::new(1_000_000)).is_ok(), "{:?}", whats);
    let place = |shard: ShardId| stage.map.ranges().iter().position(|range| range.shard == shard).expect("it is there");
    let lasting = || whats.iter().filter(|what| !matches!(what, What::Refuse { .. }));
    for what in lasting() {
        prop_assert!(!stage.limits.pinned.contains(&what.shard()));
        prop_assert!(stage.health.get(&what.shard()) != Some(&Health::Unavailable));
        if let What::Move { to, .. } | What::Split { owner: to, .. } = what {
            let up = stage.owners.iter().any(|state| state.owner == *to && state.up);
            prop_assert!(up, "to an owner that is down: {}", what);
        }
        if let What::Merge { left, right } = what {
            let well = |shard: &ShardId| stage.health.get(shard).copied().unwrap_or_default() == Health::Healthy;
            prop_assert!(well(left) && well(right) && !stage.limits.pinned.contains(right));
        }
    }
    let under_way: Vec<&What> = stage.memory.under_way().collect();
    prop_assert_eq!(under_way.len(), stage.under_way());
    let motion: f64 = under_way.iter().map(|what| motion_of(&stage.map, place(what.shard()), what)).sum();
    prop_assert!(under_way.len() <= 1 || motion <= stage.limits.motion_max + 1e-9, "{} in motion", motion);
    let down = |what: &&&What| {
        let owner = stage.map.ranges()[place(what.shard())].owner;
        stage.owners.iter().all(|state| state.owner != owner || state.up)
    };
    let chosen = under_way.iter().filter(down).count();
    prop_assert!(lasting().count() == 0 || chosen <= stage.limits.moves_at_a_time, "{} at a time", chosen);
    let splits = under_way.iter().filter(|what| matches!(what, What::Split { .. })).count();
    prop_assert!(splits == 0 || stage.map.ranges().len() + splits <= stage.limits.shards_max);
    Ok(())
}

/// Boundaries that go or come again too soon.
#[derive(Default)]
struct Boundaries {
    made: BTreeMap<u64, u64>,
    gone: BTreeMap<u64, u64>,
    now: Vec<u64>,
}

impl Boundaries {
    fn hold(&mut self, stage: &Stage) -> Result<(), TestCaseError> {
        let now: Vec<u64> = stage.map.ranges().iter().map(|range| range.start.get()).collect();
        let recent = |at: Option<&u64>| at.is_some_and(|at_ms| stage.now_ms - at_ms < stage.limits.reversal_ms);
        for key in self.now.iter().filter(|key| now.binary_search(key).is_err()) {
            prop_assert!(!recent(self.made.get(key)), "a split is taken back");
            self.gone.insert(*key, stage.now_ms);
        }
        for key in now.iter().filter(|key| !self.now.is_empty() && self.now.binary_search(key).is_err()) {
            prop_assert!(!recent(self.gone.get(key)), "a merge is taken back");
            self.made.insert(*key, stage.now_ms);
        }
        self.now = now;
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_bound_is_exceeded(mut stage in stage(), events in prop::collection::vec(event(), 1..20)) {
        let mut boundaries = Boundaries::default();
        for event in &events {
            for _ in 0..happens(&mut stage, event) {
                let decisions = stage.tick();
                hold(&stage, &decisions)?;
                boundaries.hold(&stage)?;
            }
        }
    }

    #[test]
    fn the_same_arguments_give_other_decisions(
        mut stage in stage(), events in prop::collection::vec(event(), 1..6), turn in any::<prop::sample::Index>(),
    ) {
        for event in &events {
            let seconds = happens(&mut stage, event);
            stage.pass(seconds);
        }
        let (mut one, mut other) = (stage.memory.clone(), stage.memory.clone());
        let mut loads = stage.loads();
        let plan = |memory, loads: &[_]| {
            crate::planner::plan(&stage.map, loads, &stage.owners, &stage.limits, memory, stage.now_ms + 1_000)
        };
        let first = plan(&mut one, &loads);
        // Nor does it matter in which order the loads are told.
        let by = turn.index(loads.len());
        loads.rotate_left(by);
        prop_assert_eq!(first, plan(&mut other, &loads));
        prop_assert_eq!(one, other);
    }
}
