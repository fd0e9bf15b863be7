//! However many there are: the hot ones are found, and the memory is bounded.

use ostrakon_wire::bounds::{HEAT_CLIENTS, HEAT_OBJECTS, HEAT_PAIR_SAMPLES, HEAT_PAIRS, HEAT_SAMPLES};

use super::super::callers::{Callers, estimated};
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_hot_is_found_in_any_noise(seed in any::<u64>(), part in 20..200u64, spread in 1..1_000_000u64) {
        let mut heat = heat(seed);
        let hot = mixed(seed ^ 77);
        let mut known = 0.0;
        for (index, draw) in (0u64..60_000).zip(draws(seed)) {
            let noise = draw / part % spread;
            let (client, object) = if draw % part == 0 { ("hot".into(), hot) } else { (format!("noise-{noise}"), noise) };
            known += f64::from(u8::from(object == hot));
            let name = (object == hot).then(|| ObjectId::new("hot", "t", "n").unwrap());
            heat.touch(START_MS + index / 20, &Touch { client: &client, name: name.as_ref(), ..write(object) });
        }
        // Three seconds are a third of a half life: little has faded.
        let clients = heat.hot_clients(START_MS + 3_000, 3);
        let objects = heat.hot_objects(START_MS + 3_000, 3);
        if spread > 2 * part {
            prop_assert_eq!(&*clients[0].client, "hot");
            prop_assert_eq!(objects[0].object, hot);
            prop_assert_eq!(objects[0].name.as_ref().unwrap().name(), "n");
        }
        for rate in clients.iter().filter(|client| &*client.client == "hot").map(|client| client.rates.writes) {
            prop_assert!(near(rate, known / 3.0, 0.15), "{rate} for {}", known / 3.0);
        }
    }

    #[test]
    fn callers_are_counted(seed in any::<u64>(), callers in 1..4_000u64) {
        let mut bitmap = Callers::default();
        for (index, draw) in (0..3 * callers).zip(draws(seed)) {
            bitmap.mark(START_MS, mixed(if index < callers { index } else { draw % callers } ^ seed));
        }
        let (told, known) = (f64::from(bitmap.count(START_MS)), callers as f64);
        prop_assert!((told - known).abs() <= 1.0 + 5.0 * deviation(known), "{told} for {callers}");
    }

    #[test]
    fn callers_are_estimated_from_a_sample(seed in any::<u64>(), callers in 1..400u64) {
        // Each was seen twice on average, so one in seven not at all.
        let mut sampled: Vec<u32> =
            draws(seed).take(2 * callers as usize + 20).map(|draw| mixed(draw % callers) as u32).collect();
        let told = f64::from(estimated(&mut sampled));
        prop_assert!((told - callers as f64).abs() <= 3.0 + 0.25 * callers as f64, "{told} for {callers}");
    }
}

/// The standard deviation of linear counting, in callers (Whang, Vander-Zanden and Taylor, 1990).
fn deviation(callers: f64) -> f64 {
    let (bits, load) = (1024.0, callers / 1024.0);
    (bits * (load.exp() - load - 1.0_f64)).sqrt()
}

#[test]
fn callers_are_counted_without_a_bias() {
    for callers in [200_u64, 1_000, 4_000] {
        let error = |seed: u64| {
            let mut bitmap = Callers::default();
            (0..callers).for_each(|caller| bitmap.mark(START_MS, mixed(caller ^ mixed(seed))));
            f64::from(bitmap.count(START_MS)) - callers as f64
        };
        let errors: Vec<f64> = (0..500).map(error).collect();
        let mean = errors.iter().sum::<f64>() / 500.0;
        let spread = (errors.iter().map(|error| error * error).sum::<f64>() / 500.0).sqrt();
        let expected = deviation(callers as f64);
        assert!(mean.abs() <= 0.01 * callers as f64, "{mean} too many of {callers}");
        assert!(near(spread, expected, 0.15), "{spread} where {expected} are expected of {callers}");
    }
}

#[test]
fn callers_are_forgotten_after_two_epochs() {
    let epoch_ms = super::super::callers::EPOCH_MS;
    let mut callers = Callers::default();
    (0..10).for_each(|caller| callers.mark(5 * epoch_ms, mixed(caller)));
    assert_eq!([5, 6, 7].map(|epoch| callers.count(epoch * epoch_ms)), [10, 10, 0]);
    (0..3).for_each(|caller| callers.mark(6 * epoch_ms, mixed(caller + 8)));
    assert_eq!([6, 7, 8].map(|epoch| callers.count(epoch * epoch_ms)), [11, 3, 0]);
}

#[test]
fn nothing_grows_with_the_number_of_clients_or_the_rate() {
    let mut heat = heat(8);
    for (at_us, draw) in (0u64..600_000).zip(draws(8)) {
        let client = format!("client-{draw}");
        let now_ms = START_MS + at_us / 100;
        heat.touch(now_ms, &Touch { client: &client, caller: draw, timestamp_ms: draw, ..write(draw) });
        let [one, other] = [draw, draw ^ 1].map(|object| Used { object, key: ShardKey::new(object) });
        heat.together(now_ms, 1.0, &[one, other]);
    }
    assert!(heat.clients.iter().count() <= HEAT_CLIENTS && heat.types.iter().count() <= HEAT_TYPES);
    assert!(heat.windows.iter().count() <= HEAT_WINDOWS && heat.objects.iter().count() <= HEAT_OBJECTS);
    assert!(heat.pairs.iter().count() <= HEAT_PAIRS);
    assert!(heat.recent.iter().count() <= HEAT_SAMPLES && heat.recent_pairs.iter().count() <= HEAT_PAIR_SAMPLES);
    // Thinned, and right in sum.
    let load = heat.loads(START_MS + 6_000, &ShardMap::equal(1, 1));
    assert!(near(load[0].work, 100_000.0 * 20.0, 0.05), "{}", load[0].work);
    assert!(heat.recent.reach_ms(START_MS + 6_000) > 3_000, "it is thinned so that it reaches back");
}
