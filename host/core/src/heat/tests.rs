//! What the heat tells of uses that are known.
#![allow(clippy::unwrap_used)]

mod bounded;
mod placed;

use proptest::prelude::*;

use ostrakon_wire::ShardId;

use super::*;

const START_MS: u64 = 1_000_000;
const WORK_US: f32 = 20.0;

fn heat(seed: u64) -> Heat {
    Heat::new(Settings { seed, ..Settings::default() }, START_MS)
}

/// A write of object `object` of client `c`, type `t`.
fn write(object: u64) -> Touch<'static> {
    Touch {
        client: "c",
        data_type: "t",
        object,
        name: None,
        key: ShardKey::new(object),
        timestamp_ms: START_MS,
        caller: 1,
        kind: TouchKind::Write,
        bytes: 100,
        work_us: WORK_US,
        weight: 1.0,
    }
}

/// Numbers that look random.
fn draws(seed: u64) -> impl Iterator<Item = u64> {
    (1..).map(move |index: u64| mixed(mixed(seed) ^ mixed(index)))
}

fn near(is: f64, should: f64, part: f64) -> bool {
    (is - should).abs() <= should.abs() * part
}

#[test]
fn a_rate_is_told_at_once_and_halves_with_every_half_life() {
    let mut heat = heat(1);
    for at_ms in 0..40_000 {
        heat.touch(START_MS + at_ms, &write(at_ms % 7));
        if at_ms == 3_000 || at_ms == 39_999 {
            let rates = heat.rates(START_MS + at_ms);
            assert!(near(rates.writes, 1_000.0, 0.02) && near(rates.work, 20_000.0, 0.02), "{rates:?}");
            assert!(near(rates.bytes, 100_000.0, 0.02) && rates.reads == 0.0, "{rates:?}");
            assert!(near(heat.hot_clients(START_MS + at_ms, 1)[0].rates.writes, 1_000.0, 0.02));
        }
    }
    let left = |half_lives: u64| {
        let now_ms = START_MS + 40_000 + half_lives * 10_000;
        let load: f64 = heat.loads(now_ms, &ShardMap::equal(1, 1)).iter().map(|load| load.work).sum();
        (heat.rates(now_ms).writes, load)
    };
    let ((now, load), (later, later_load)) = (left(1), left(2));
    assert!(near(later, now / 2.0, 0.05), "{now} {later}");
    assert!(near(load, now * 20.0, 0.1) && near(later_load, later * 20.0, 0.1), "{now} {load} {later} {later_load}");
}

#[test]
fn nothing_is_lost_or_overflows_when_the_landmark_moves() {
    let mut heat = heat(2);
    let mut now_ms = START_MS;
    for step in 0..20_000u64 {
        now_ms += 100;
        heat.touch(now_ms, &write(step % 3));
    }
    assert!(near(heat.rates(now_ms).writes, 10.0, 0.02), "{:?}", heat.rates(now_ms));
    heat.touch(now_ms + u64::from(u32::MAX), &write(1));
    assert_eq!(heat.hot_objects(now_ms + u64::from(u32::MAX), 9).len(), 1, "the others have faded");
    heat.touch(u64::MAX, &write(1));
    heat.touch(0, &write(1));
    assert!(heat.rates(u64::MAX).writes.is_finite());
}

#[test]
fn what_is_sampled_counts_for_what_it_stands_for() {
    let [mut all, mut part] = [heat(3), heat(3)];
    for at_ms in 0..10_000 {
        all.touch(START_MS + at_ms, &write(at_ms % 100));
        if at_ms % 16 == 0 {
            part.touch(START_MS + at_ms, &Touch { weight: 16.0, ..write(at_ms % 100) });
        }
    }
    let map = ShardMap::equal(1, 1);
    let work = |heat: &Heat| heat.loads(START_MS + 10_000, &map)[0].work;
    assert!(near(work(&part), work(&all), 0.02), "{} {}", work(&part), work(&all));
    part.touch(START_MS + 10_000, &Touch { weight: 0.0, client: "none", ..write(0) });
    part.touch(START_MS + 10_000, &Touch { weight: f32::NAN, client: "none", ..write(0) });
    part.touch(START_MS + 10_000, &Touch { weight: f32::INFINITY, client: "none", ..write(0) });
    for work_us in [f32::NAN, f32::INFINITY, -1e9] {
        part.touch(START_MS + 10_000, &Touch { work_us, ..write(0) });
    }
    let rates = part.rates(START_MS + 10_000);
    assert!(rates.writes.is_finite() && rates.work.is_finite() && rates.work > 0.0, "{rates:?}");
    assert_eq!(part.hot_clients(START_MS + 10_000, 9).len(), 1);
}

#[test]
fn a_policy_is_told_shares_of_all_and_nothing_of_what_is_not_known() {
    let mut heat = heat(4);
    let map = ShardMap::equal(16, 1);
    let unknown = Told { idle_ms: u64::MAX, ..Told::default() };
    assert_eq!(heat.for_policy(START_MS, "c", "t", 0, &map), unknown);
    let hour_ms = Settings::default().window_ms;
    for at_ms in 0..1_000 {
        let of = |client, data_type, window: u64| Touch {
            client,
            data_type,
            timestamp_ms: window * hour_ms,
            key: ShardKey::new(u64::MAX / 4 * (at_ms % 3)),
            caller: 1 + at_ms % 5,
            ..write(at_ms % 3)
        };
        heat.touch(START_MS + at_ms, &of("c", "t", 1));
        heat.touch(START_MS + at_ms, &of("c", "t", 2));
        heat.touch(START_MS + at_ms, &Touch { kind: TouchKind::Read, ..of("c", "u", 2) });
        heat.touch(START_MS + at_ms, &of("d", "t", 2));
    }
    let told = heat.for_policy(START_MS + 5_999, "c", "t", 2 * hour_ms, &map);
    assert!(near(told.client_ppm.into(), 750_000.0, 0.01) && near(told.type_ppm.into(), 500_000.0, 0.01), "{told:?}");
    assert!(near(told.window_ppm.into(), 250_000.0, 0.01) && near(told.write_ppm.into(), 666_667.0, 0.01), "{told:?}");
    assert_eq!((told.callers, told.idle_ms, told.shards), (5, 5_000, 3));
    let told = heat.for_policy(START_MS + 5_999, "c", "t", 3 * hour_ms, &map);
    assert_eq!(told.window_ppm, 0);
    assert_eq!(heat.for_policy(START_MS, "e", "t", 0, &map), unknown);
}

#[test]
fn objects_that_are_used_together_bind_their_shards() {
    let mut heat = heat(5);
    let map = ShardMap::equal(4, 1);
    let used = |shard: u64, object: u64| Used { object, key: ShardKey::new((u64::MAX >> 2) * shard + object) };
    let touched = |used: Used| Touch { key: used.key, ..write(used.object) };
    for at_ms in 0..30_000 {
        // Shard 1 is used alone three times of four, shard 2 only with it, shard 3 alone.
        let (one, other) = (used(1, 10 + at_ms % 50), used(2, 100 + at_ms % 50));
        heat.touch(START_MS + at_ms, &touched(one));
        heat.touch(START_MS + at_ms, &touched(used(3, 7)));
        if at_ms % 4 == 0 {
            heat.touch(START_MS + at_ms, &touched(other));
            heat.together(START_MS + at_ms, 1.0, &[one, other]);
        }
    }
    let told = heat.affinity(START_MS + 30_000, &map);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!([told[0].shard, told[0].with, told[1].shard].map(ShardId::get), [1, 2, 2]);
    assert!(near(told[0].share, 0.25, 0.1) && near(told[1].share, 1.0, 0.1), "{told:?}");
    assert!(near(told[0].per_s, 250.0, 0.1), "{told:?}");
    let pair = &heat.hot_pairs(START_MS + 30_000, 1)[0];
    assert_eq!(pair.objects[1] - pair.objects[0], 90);
}

#[test]
fn a_use_of_many_objects_counts_as_one_of_each() {
    for count in [2, 3, 9, 64] {
        let mut heat = heat(count);
        // Half of the objects lie in each of two shards.
        let used: Vec<Used> =
            (0..count).map(|object| Used { object, key: ShardKey::new(u64::MAX * (object & 1)) }).collect();
        for at_ms in 0..20_000 {
            heat.together(START_MS + at_ms, 1.0, &used);
        }
        let told = heat.affinity(START_MS + 20_000, &ShardMap::equal(2, 1));
        // Of the count - 1 others of an object, so many lie in the other shard.
        let (low, high) = (count.div_ceil(2) as f64, (count / 2) as f64);
        let should = 1_000.0 * low * high / (count - 1) as f64;
        assert!(near(told[0].per_s, should, 0.1), "{count} objects: {} for {should}", told[0].per_s);
    }
}

/// Not a promise: what one use and one question take. `cargo test --release -p ostrakon-core speed -- --ignored --nocapture`
#[test]
#[ignore = "measures"]
fn speed() {
    let mut heat = heat(6);
    let map = ShardMap::equal(900, 1);
    let clients: Vec<String> = (0..2_000).map(|client| format!("client-{client}")).collect();
    let wanted: Vec<(usize, u64)> = draws(6)
        .take(1 << 20)
        .map(|draw| {
            // Of the numbers below 2,000 the low ones come more often.
            let skewed = |draw: u64| (((draw % 2_000) * (draw >> 32 & 0x7ff)) >> 11) as usize;
            (skewed(draw), draw % 100_000)
        })
        .collect();
    let begun = std::time::Instant::now();
    let mut now_ms = START_MS;
    for round in 0..4 {
        for (index, (client, object)) in wanted.iter().enumerate() {
            now_ms += u64::from(index % 100 == 0);
            let client = &clients[*client];
            let caller = 1 + object % 64;
            let key = ShardKey::new(mixed(*object));
            heat.touch(now_ms, &Touch { client, key, caller, ..write(mixed(*object)) });
        }
        println!("round {round}: {} ns a touch so far", begun.elapsed().as_nanos() / ((round + 1) * (1 << 20)));
    }
    let begun = std::time::Instant::now();
    let asked: u32 =
        wanted.iter().map(|(client, _)| heat.for_policy(now_ms, &clients[*client], "t", START_MS, &map).shards).sum();
    println!("{} ns a question of a policy ({asked})", begun.elapsed().as_nanos() / (1 << 20));
    for shards in [16, 900, 10_000] {
        let map = ShardMap::equal(shards, 1);
        let begun = std::time::Instant::now();
        let loads = heat.loads(now_ms, &map);
        let (loads_us, begun) = (begun.elapsed().as_micros(), std::time::Instant::now());
        let rates = heat.shard_rates(now_ms, &map).len();
        println!(
            "{shards} shards: loads {loads_us} us, rates {} us ({} {rates})",
            begun.elapsed().as_micros(),
            loads.len()
        );
    }
    println!("{BYTES} bytes at most, of them {} for a client", size_of::<Option<ClientRow>>());
}
