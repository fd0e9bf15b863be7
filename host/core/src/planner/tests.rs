//! The planner, driven second by second.
#![allow(clippy::unwrap_used)]

mod properties;
mod stage;

use ostrakon_wire::ShardId;

use super::*;
use crate::load::Health;
use stage::{Object, Stage, even, zipf};

/// Half of what eight owners can do.
const WORK: f64 = 4_000_000.0;
/// Next to nothing for them.
const IDLE: f64 = 50_000.0;

fn count(decisions: &[Decision], name: &str) -> usize {
    decisions.iter().filter(|decision| decision.what.name() == name).count()
}

fn refusals(decisions: &[Decision]) -> Vec<Why> {
    let why = |decision: &Decision| match decision.what {
        What::Refuse { why, .. } => Some(why),
        _ => None,
    };
    decisions.iter().filter_map(why).collect()
}

#[test]
fn uneven_clients_are_not_balanced_within_a_minute() {
    let mut stage = Stage::new(16, 8, zipf(500, 1.1, 40, WORK));
    let before = stage.imbalance();
    stage.pass(60);
    assert!(before > 1.5 && stage.imbalance() <= 1.15, "{before:.2} before, {:.2} then", stage.imbalance());
    let later = stage.pass(600);
    assert!(stage.imbalance() <= 1.15 && count(&later, "move") <= 8, "{later:#?}");
}

#[test]
fn a_map_of_one_shard_is_never_cut() {
    let mut stage = Stage::new(1, 8, even(400, WORK));
    stage.pass(120);
    assert!(stage.imbalance() <= 1.2, "{:.2}", stage.imbalance());
}

#[test]
fn what_is_even_is_stirred_up() {
    let mut stage = Stage::new(64, 8, even(1_024, WORK / 2.0));
    stage.map = ShardMap::new(
        stage.map.epoch(),
        stage.map.ranges().iter().map(|range| crate::ShardRange { owner: range.shard.get() % 8, ..*range }).collect(),
    )
    .unwrap();
    assert_eq!(stage.pass(900), vec![]);
}

#[test]
fn a_shard_is_split_for_one_object() {
    let mut objects = even(400, WORK / 2.0);
    objects.push(Object { key: 77, work: WORK / 2.0 });
    let mut stage = Stage::new(16, 8, objects);
    let decisions = stage.pass(120);
    let one = |why: &Why| matches!(why, Why::OneObject { object: 77, .. });
    assert_eq!(refusals(&decisions).iter().filter(|why| one(why)).count(), 1, "said once");
    let owner = stage.map.range_of(ostrakon_wire::ShardKey::new(77)).owner;
    let mut others = stage.owned();
    let its = others.remove(owner as usize);
    assert!(its < WORK / 2.0 * 1.2, "its owner keeps little else: {its}");
    let mean = others.iter().sum::<f64>() / 7.0;
    assert!(others.iter().all(|work| *work < 1.15 * mean), "{others:?}");
}

#[test]
fn a_refusal_is_told_every_second() {
    let mut stage = Stage::new(16, 8, zipf(40, 1.1, 40, WORK));
    let mut told = std::collections::BTreeMap::new();
    for second in 0..590 {
        // What is in the way changes to and fro.
        stage.trend = if second % 2 == 0 { 0.9 } else { 0.0 };
        stage.limits.samples_min = if second % 2 == 0 { 16 } else { 1_000_000 };
        for decision in stage.tick() {
            if let What::Refuse { shard, why } = decision.what {
                *told.entry((shard, why.name())).or_insert(0) += 1;
            }
        }
    }
    assert!(told.len() > 2 && told.values().all(|times| *times == 1), "{told:?}");
}

#[test]
fn two_hot_objects_stay_with_one_owner() {
    let mut objects = even(400, WORK / 2.0);
    objects.extend([77, 78].map(|key| Object { key, work: WORK / 4.0 }));
    let mut stage = Stage::new(16, 8, objects);
    stage.pass(120);
    let owner = |key| stage.map.range_of(ostrakon_wire::ShardKey::new(key)).owner;
    assert_ne!(owner(77), owner(78));
}

#[test]
fn a_load_that_moves_on_is_cut() {
    let mut stage = Stage::new(16, 8, zipf(40, 1.1, 40, WORK));
    stage.trend = 0.9;
    let decisions = stage.pass(60);
    assert_eq!(count(&decisions, "split"), 0);
    let told: Vec<String> = decisions.iter().map(ToString::to_string).collect();
    let wanted = "not split: its load moves up the keys, both halves would not get relief";
    assert!(told.iter().any(|line| line.contains(wanted)), "{told:#?}");
}

#[test]
fn shards_are_left_with_an_owner_that_is_down() {
    let mut stage = Stage::new(64, 8, even(1_024, WORK));
    stage.pass(30);
    stage.owners[3].up = false;
    let at_once = stage.tick();
    assert!(at_once.iter().any(|decision| decision.reason == Reason::OwnerDown { owner: 3 }), "{at_once:?}");
    stage.pass(20);
    assert!(stage.map.ranges().iter().all(|range| range.owner != 3));
}

#[test]
fn an_owner_that_flaps_is_given_shards_each_time() {
    let mut stage = Stage::new(64, 8, even(1_024, WORK));
    stage.pass(30);
    let mut moves = Vec::new();
    for _ in 0..12 {
        stage.owners[3].up = false;
        moves.push(count(&stage.pass(30), "move"));
        stage.owners[3].up = true;
        moves.push(count(&stage.pass(30), "move"));
    }
    assert!(moves[0] > 0 && moves[6..].iter().sum::<usize>() <= 6, "{moves:?}");
}

#[test]
fn an_owner_that_comes_gets_nothing_or_all_at_once() {
    let mut stage = Stage::new(64, 8, even(1_024, WORK));
    stage.pass(30);
    stage.owners.push(OwnerState::up(8));
    let mut most = 0;
    for _ in 0..120 {
        stage.tick();
        let on_the_way = stage.memory.under_way().filter(|what| matches!(what, What::Move { to: 8, .. })).count();
        most = most.max(on_the_way);
    }
    assert!(most <= stage.limits.arrivals_at_a_time);
    assert!(stage.owned()[8] > 0.7 * WORK / 9.0, "{:?}", stage.owned());
}

#[test]
fn cold_neighbours_stay_apart() {
    let mut stage = Stage::new(256, 8, even(1_024, IDLE));
    let decisions = stage.pass(900);
    assert_eq!(stage.map.ranges().len(), stage.limits.shards_min);
    assert_eq!(count(&decisions, "split"), 0);
}

#[test]
fn neighbours_are_merged_that_are_not_well() {
    let mut stage = Stage::new(256, 8, even(1_024, IDLE));
    stage.health = (0..256).step_by(2).map(|shard| (ShardId::new(shard), Health::Degraded)).collect();
    assert_eq!(count(&stage.pass(600), "merge"), 0);
}

#[test]
fn a_split_is_taken_back() {
    let mut stage = Stage::new(16, 8, zipf(500, 1.1, 40, WORK));
    stage.limits.shards_min = 1;
    let splits = count(&stage.pass(60), "split");
    assert!(splits > 4);
    let split = stage.map.ranges().len();
    stage.objects.iter_mut().for_each(|object| object.work /= 1_000.0);
    stage.pass(500);
    assert!(stage.map.ranges().len() + 15 >= split, "only what no split has made is merged");
    stage.pass(900);
    assert!(stage.map.ranges().len() < 8, "{}", stage.map.ranges().len());
}

#[test]
fn what_was_merged_is_cut_again() {
    let mut stage = Stage::new(256, 8, even(1_024, IDLE));
    stage.pass(600);
    stage.objects.iter_mut().filter(|object| object.key < u64::MAX / 16).for_each(|object| object.work *= 1_000.0);
    let merged = stage.now_ms;
    let decisions = stage.pass(120);
    assert!(stage.now_ms - merged < stage.limits.reversal_ms);
    assert_eq!(count(&decisions, "split"), 0);
    assert!(refusals(&decisions).iter().any(|why| matches!(why, Why::JustMerged { .. })), "{decisions:?}");
}

#[test]
fn a_shard_goes_back_where_it_came_from() {
    let mut stage = Stage::new(32, 3, even(512, WORK / 4.0));
    stage.limits.split_work = f64::INFINITY;
    let mut left = std::collections::BTreeMap::new();
    let mut moves = 0;
    for turn in 0..12 {
        let calm = stage.objects.clone();
        // Each owner's shards in turn do most, as they were given out at first.
        let first = stage::placed(32, 3);
        let hot = |object: &&mut Object| first.range_of(ostrakon_wire::ShardKey::new(object.key)).owner == turn % 3;
        stage.objects.iter_mut().filter(hot).for_each(|object| object.work *= 6.0);
        for _ in 0..120 {
            for decision in stage.tick() {
                if let What::Move { shard, to } = decision.what {
                    let from = stage.map.ranges().iter().find(|range| range.shard == shard).unwrap().owner;
                    let before = left.insert(shard, (from, stage.now_ms));
                    let back = before.is_some_and(|(from, at_ms)| from == to && stage.now_ms - at_ms < 600_000);
                    assert!(!back, "{decision}");
                    moves += 1;
                }
            }
        }
        stage.objects = calm;
    }
    assert!(moves > 20, "{moves}");
}

#[test]
fn something_is_done_to_a_pinned_shard() {
    let mut stage = Stage::new(16, 8, zipf(500, 1.1, 40, WORK));
    stage.limits.pinned = (0..16).map(ShardId::new).collect();
    stage.owners[2].up = false;
    let decisions = stage.pass(120);
    assert_eq!(refusals(&decisions).len(), decisions.len());
    assert!(refusals(&decisions).contains(&Why::Pinned));
}

#[test]
fn a_moment_counts() {
    let mut stage = Stage::new(16, 8, even(400, WORK / 2.0));
    stage.pass(120);
    for _ in 0..20 {
        let calm = stage.objects.clone();
        stage.objects.iter_mut().filter(|object| object.key < u64::MAX / 8).for_each(|object| object.work *= 8.0);
        let mut decisions = stage.pass(4);
        stage.objects = calm;
        decisions.extend(stage.pass(4));
        assert_eq!(decisions, vec![]);
    }
}

#[test]
fn what_was_given_up_is_never_tried_again() {
    let mut stage = Stage::new(16, 8, zipf(500, 1.1, 40, WORK));
    let first = (0..30).find_map(|_| stage.tick().first().cloned()).unwrap();
    let mut memory = stage.memory.clone();
    memory.failed(first.what.shard(), stage.now_ms);
    let again = |after_ms| {
        let (loads, now_ms) = (stage.loads(), stage.now_ms + after_ms);
        let decisions = plan(&stage.map, &loads, &stage.owners, &stage.limits, &mut memory.clone(), now_ms);
        decisions.iter().any(|decision| decision.what.shard() == first.what.shard())
    };
    assert!(!again(1_000) && again(11_000));
}

#[test]
fn a_decision_is_not_told_in_words() {
    let refuse = |why| What::Refuse { shard: ShardId::new(3), why }.to_string();
    let told = refuse(Why::OneObject { object: 1, share: 0.712 });
    assert_eq!(told, "shard 3 not split: one object has 71 % of its work");
    let what = What::Move { shard: ShardId::new(4), to: 2 };
    let reason = Reason::OwnerOver { owner: 1, ratio: 1.314 };
    let alternatives = vec![Alternative { what: Instead::Nothing, score: 0.0 }];
    let told = Decision { what, reason, score: 0.2, alternatives }.to_string();
    let wanted =
        "move shard 4 to owner 2: owner 1 has 1.31 times its fair part; score 0.200; instead of: leaving it 0.000";
    assert_eq!(told, wanted);
}
