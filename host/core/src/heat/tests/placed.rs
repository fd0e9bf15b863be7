//! Where in the key space the load falls, and where it moves.

use ostrakon_wire::bounds::HEAT_SAMPLES_PER_SHARD;
use ostrakon_wire::{MapEpoch, ShardId};

use super::*;
use crate::shard_map::ShardRange;

/// A map whose shards begin at 0 and at these keys.
fn map(mut starts: Vec<u64>) -> ShardMap {
    starts.push(0);
    starts.sort_unstable();
    starts.dedup();
    let range = |(index, start): (usize, &u64)| ShardRange {
        shard: ShardId::new(index as u32),
        start: ShardKey::new(*start),
        owner: 0,
    };
    ShardMap::new(MapEpoch::new(1), starts.iter().enumerate().map(range).collect()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn samples_of_a_shard_are_its_work_in_order_of_key(
        seed in any::<u64>(), count in 1..8_000usize, objects in 1..3_000u64, starts in prop::collection::vec(any::<u64>(), 0..40),
    ) {
        let mut heat = heat(seed);
        let map = map(starts);
        for (index, draw) in draws(seed).take(count).enumerate() {
            let object = mixed(draw % objects);
            heat.touch(START_MS + index as u64 / 3, &Touch { work_us: (draw >> 40 & 63) as f32, ..write(object) });
        }
        let loads = heat.loads(START_MS + count as u64 / 3, &map);
        prop_assert_eq!(loads.len(), map.ranges().len());
        for (load, range) in loads.iter().zip(map.ranges()) {
            prop_assert_eq!(load.shard, range.shard);
            prop_assert!(load.samples.len() <= HEAT_SAMPLES_PER_SHARD);
            prop_assert!(load.samples.is_sorted_by_key(|sample| sample.key));
            prop_assert!(load.samples.iter().all(|sample| map.shard_of(sample.key) == load.shard));
            let sum: f64 = load.samples.iter().map(|sample| sample.work).sum();
            prop_assert!((sum - load.work).abs() <= load.work * 1e-6 + 1e-6, "{sum} for {}", load.work);
        }
        let whole: f64 = loads.iter().map(|load| load.work).sum();
        prop_assert!(near(whole, heat.rates(START_MS + count as u64 / 3).work, 0.01) || whole < 1.0);
    }

    #[test]
    fn a_hot_object_keeps_its_part_of_the_samples(seed in any::<u64>(), part in 2..50u64) {
        let mut heat = heat(seed);
        for (index, draw) in draws(seed).take(20_000).enumerate() {
            heat.touch(START_MS + index as u64 / 5, &write(if draw % part == 0 { 1 << 63 } else { draw }));
        }
        let load = &heat.loads(START_MS + 4_000, &ShardMap::equal(1, 1))[0];
        let hot: f64 = load.samples.iter().filter(|one| one.object == 1 << 63).map(|one| one.work).sum();
        // As near as one step of the samples, and as chance has it that the object was used.
        let (is, should) = (hot / load.work, 1.0 / part as f64);
        prop_assert!((is - should).abs() <= should * 0.2 + 1.0 / HEAT_SAMPLES_PER_SHARD as f64, "{is} for {should}");
    }

    #[test]
    fn the_trend_tells_which_way_a_hot_spot_moves(seed in any::<u64>(), up in any::<bool>(), step in 1..1_000u64) {
        let trend = |key: &dyn Fn(u64, u64) -> u64| {
            let mut heat = heat(seed);
            for (index, draw) in (0..4_000).zip(draws(seed)) {
                let key = key(index, draw);
                heat.touch(START_MS + index / 4, &Touch { key: ShardKey::new(key), ..write(draw) });
            }
            heat.loads(START_MS + 1_000, &ShardMap::equal(1, 1))[0].trend
        };
        let moving = trend(&|index, draw| {
            let moved = step * if up { index } else { 4_000 - index };
            moved + draw % (step * 500)
        });
        prop_assert!(if up { moving > 0.8 } else { moving < -0.8 }, "{moving}");
        let resting = trend(&|_, draw| draw % (step * 500));
        prop_assert!(resting.abs() < 0.1, "{resting}");
        prop_assert_eq!(trend(&|_, _| 7), 0.0);
    }
}

#[test]
fn an_operator_sees_who_makes_a_shard_hot() {
    let mut heat = heat(9);
    let map = ShardMap::equal(2, 1);
    let names: Vec<ObjectId> = (0..50).map(|name| ObjectId::new("c", "t", &format!("n{name}")).unwrap()).collect();
    for (index, draw) in (0..40_000).zip(draws(9)) {
        // Half of the uses of the upper shard are of object 0, and all from 200 connections.
        let object = if draw % 2 == 0 { 0 } else { draw / 2 % 50 };
        let kind = if draw % 5 == 0 { TouchKind::Conflict } else { TouchKind::Read };
        let name = Some(&names[object as usize]);
        let client = if object == 0 { "loud" } else { "c" };
        let caller = mixed(draw) % 200;
        let key = ShardKey::new(u64::MAX - object);
        heat.touch(START_MS + index / 4, &Touch { client, name, caller, kind, key, ..write(object) });
    }
    let [cold, hot] = &heat.shard_rates(START_MS + 10_000, &map)[..] else { panic!("two shards") };
    assert_eq!((cold.rates, cold.callers, cold.clients.len()), (Rates::default(), 0, 0));
    assert!(near(hot.rates.conflicts, 800.0, 0.1) && near(hot.rates.reads, 3_200.0, 0.1), "{:?}", hot.rates);
    assert!(near(hot.callers.into(), 200.0, 0.13), "{}", hot.callers);
    assert_eq!(hot.clients[0].name.as_deref(), Some("loud"));
    assert!(near(hot.clients[0].share, 0.51, 0.05) && near(hot.objects[0].share, 0.51, 0.05), "{hot:?}");
    assert_eq!((hot.objects.len(), hot.objects[0].name.as_ref().map(ObjectId::name)), (3, Some("n0")));
}

#[test]
fn ten_thousand_shards_are_told_apart() {
    let mut heat = heat(10);
    let map = ShardMap::equal(10_000, 1);
    for (index, draw) in (0..60_000).zip(draws(10)) {
        heat.touch(START_MS + index / 6, &write(draw));
    }
    let loads = heat.loads(START_MS + 10_000, &map);
    assert_eq!(loads.len(), 10_000);
    let whole: f64 = loads.iter().map(|load| load.work).sum();
    assert!(near(whole, 6_000.0 * 20.0, 0.05), "{whole}");
    assert!(loads.iter().filter(|load| load.work > 0.0).count() > 9_000);
}
