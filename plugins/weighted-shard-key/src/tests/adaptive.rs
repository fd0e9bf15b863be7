//! Keys that follow the heat: the levels, and what keeps its key when the heat changes.

use super::*;

const NOON: u64 = 500_012 * HOUR_MS;
const QUIET: Heat = Heat { client_ppm: 10, type_ppm: 10, window_ppm: 10, callers: 1, shards: 1, ..COLD };
const GROWN: Heat = Heat { client_ppm: 100_000, type_ppm: 40_000, window_ppm: 40_000, ..QUIET };
const LARGE_TYPE: Heat = Heat { type_ppm: 90_000, window_ppm: 30_000, ..GROWN };
const HOT_WINDOW: Heat = Heat { window_ppm: 80_000, ..LARGE_TYPE };
const LEVELS: [Heat; 4] = [QUIET, GROWN, LARGE_TYPE, HOT_WINDOW];

/// The whole key, the host's part included, as a host would fill it in.
fn filled(placement: Placement, name: &str) -> u64 {
    let meant = u64::MAX << (64 - u32::from(placement.bits));
    placement.key & meant | stable_hash(&[b"host ", name.as_bytes()].concat()) & !meant
}

fn key(heat: Heat, current: u64, name: &str, timestamp_ms: u64) -> u64 {
    let ask = Request { name, heat, current, ..ask("acme", "cluster", timestamp_ms) };
    filled(policy("{}").place(&ask), name)
}

#[test]
fn the_more_a_client_is_used_the_finer_are_its_keys() {
    let bits = |heat| policy("{}").place(&Request { heat, ..ask("acme", "cluster", NOON) }).bits;
    assert_eq!(LEVELS.map(bits), [24, 36, 48, 52]);
    assert_eq!(bits(COLD), 48, "of whom nothing is known is placed as ever");
    assert_eq!(bits(Heat { idle_ms: u64::MAX, ..COLD }), 48);
    assert_eq!(bits(Heat { shards: 2, ..QUIET }), 36, "who lies in two shards is not put together again");
    assert_eq!(
        bits(Heat { window_ppm: 45_000, ..LARGE_TYPE }),
        48,
        "a window that does not outgrow a shard is not hot"
    );
    assert_eq!(bits(Heat { type_ppm: 900_000, ..HOT_WINDOW }), 48, "nor is one among many");
}

#[test]
fn without_room_there_are_fewer_bits_to_spread() {
    let bits = |text| policy(text).place(&Request { heat: HOT_WINDOW, ..ask("acme", "cluster", NOON) }).bits;
    assert_eq!(bits(r#"{"window-bits":14}"#), 52);
    assert_eq!(bits(r#"{"window-bits":16}"#), 52);
    assert_eq!(bits(r#"{"spread-bits":0}"#), 48);
    assert_eq!(bits(r#"{"adaptive":false}"#), 48);
}

/// How many different parts of sixteen of a type's range these keys fall in, and how much of them falls in the fullest.
fn parts(keys: &[u64]) -> (usize, f64) {
    let mut parts = [0u32; 16];
    keys.iter().for_each(|key| parts[(key >> 24 & 15) as usize] += 1);
    let fullest = parts.iter().max().copied().unwrap_or(0);
    (parts.iter().filter(|part| **part > 0).count(), f64::from(fullest) / keys.len() as f64)
}

#[test]
fn what_is_new_in_a_hot_window_spreads_over_its_types_range() {
    let names: Vec<String> = (0..4_000).map(|name| format!("job-{name}")).collect();
    let keys = |heat| names.iter().map(|name| key(heat, 0, name, NOON)).collect::<Vec<_>>();
    let (used, fullest) = parts(&keys(HOT_WINDOW));
    assert!(used == 16 && fullest < 0.09, "{used} parts, {fullest} in the fullest");
    assert_eq!(parts(&keys(LARGE_TYPE)), (1, 1.0));
    // And in each part the windows still follow each other.
    let part = |window: u64| key(HOT_WINDOW, 0, "job", NOON + window * HOUR_MS) >> 12;
    assert!((0..8).all(|window| part(window) < part(window + 1)));
}

#[test]
fn a_window_that_has_cooled_makes_room_for_the_next() {
    let later = NOON + HOUR_MS;
    let cool = Heat { window_ppm: 0, ..LARGE_TYPE };
    let (old, new) = (key(LARGE_TYPE, 0, "job", NOON), key(cool, 0, "job", later));
    assert!(old >> 16 < new >> 16, "by window: the new one lies behind");
    assert_eq!(key(cool, old, "job", NOON), old, "what lies in the old one stays there");
}

#[test]
fn a_quiet_clients_objects_move_only_once_their_type_outgrows_a_shard() {
    let quiet = key(QUIET, 0, "n", NOON);
    assert_eq!([QUIET, GROWN].map(|heat| key(heat, quiet, "n", NOON)), [quiet; 2]);
    let moved = key(LARGE_TYPE, quiet, "n", NOON);
    assert_ne!(moved, quiet);
    assert_eq!(LEVELS.map(|heat| key(heat, moved, "n", NOON)), [moved; 4], "and never back");
}

#[test]
fn a_key_from_elsewhere_does_not_fit() {
    for heat in LEVELS {
        let elsewhere = key(heat, 0, "n", NOON) ^ 1 << 63;
        assert_eq!(key(heat, elsewhere, "n", NOON), key(heat, 0, "n", NOON));
    }
}

fn heat() -> impl Strategy<Value = Heat> {
    let shares = (0..=1_000_000u32, 0..=1_000_000u32, 0..=1_000_000u32);
    (shares, 0..=1_000_000u32, 0..9u32, any::<u64>(), 0..5u32).prop_map(
        |((client_ppm, type_ppm, window_ppm), write_ppm, callers, idle_ms, shards)| {
            let type_ppm = type_ppm.min(client_ppm);
            Heat { client_ppm, type_ppm, window_ppm: window_ppm.min(type_ppm), write_ppm, callers, idle_ms, shards }
        },
    )
}

proptest! {
    #[test]
    fn an_object_moves_at_most_once_whatever_the_heat_and_the_time(
        heats in prop::collection::vec((heat(), any::<u64>()), 2..30), name in ".*",
    ) {
        let (mut current, mut moves) = (0, 0);
        for (heat, at) in heats {
            let next = key(heat, current, &name, at);
            moves += u32::from(current != 0 && next != current);
            current = next;
        }
        prop_assert!(moves <= 1, "{moves} moves");
    }

    #[test]
    fn a_client_is_contiguous_at_every_heat(heats in [heat(), heat()], times in any::<[u64; 2]>(), kinds in [".*", ".*"]) {
        let place = |i: usize| policy("{}").place(&Request { heat: heats[i], ..ask("acme", &kinds[i], times[i]) });
        prop_assert_eq!(place(0).key >> 40, place(1).key >> 40);
    }

    #[test]
    fn with_fixed_keys_the_heat_changes_nothing(heat in heat(), at in any::<u64>(), current in any::<u64>()) {
        let fixed = policy(r#"{"adaptive":false}"#);
        let told = Request { heat, current, ..ask("acme", "cluster", at) };
        prop_assert_eq!(fixed.place(&told), policy("{}").place(&ask("acme", "cluster", at)));
    }
}
