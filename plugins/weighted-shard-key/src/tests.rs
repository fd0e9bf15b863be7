//! Order, contiguity and refusals of the shard-key policy.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

mod adaptive;

const COLD: Heat = Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: 0, shards: 0 };
const HOUR_MS: u64 = 3_600_000;

fn policy(settings: &str) -> WeightedShardKey {
    WeightedShardKey::configure(settings, &[]).unwrap()
}

fn ask<'a>(client: &'a str, data_type: &'a str, timestamp_ms: u64) -> Request<'a> {
    Request { client, data_type, name: "n", timestamp_ms, current: 0, heat: COLD }
}

#[test]
fn default_key_is_stable_across_releases() {
    let placement = policy("{}").place(&ask("acme", "cluster", 500_000 * HOUR_MS));
    assert_eq!(placement, Placement { key: 4_189_956_144_764_026_880, bits: 48 });
}

#[test]
fn refused_settings_name_the_member() {
    let check = |settings: &str, path: &str| {
        assert_eq!(WeightedShardKey::configure(settings, &[]).unwrap_err().path, path, "{settings}");
    };
    check(r#"{"client-bits":53}"#, "/client-bits");
    check(r#"{"window-ms":0}"#, "/window-ms");
    check(r#"{"client-bits":24,"type-bits":24,"window-bits":24}"#, "");
    check(r#"{"client-bits":0,"type-bits":0,"window-bits":0}"#, "");
    check(r#"{"client_bits":1}"#, "/client_bits");
    check(r#"{"client-bits":0,"type-bits":0,"quiet-below-ppm":5}"#, "/quiet-below-ppm");
    check(r#"{"shard-ppm":0}"#, "/shard-ppm");
    check(r#"{"spread-bits":53}"#, "/spread-bits");
    check(r#"{"adaptive":true,"quiet-below-ppm":5}"#, "/adaptive");
    check(r#"{"adaptive":true,"client-bits":0}"#, "/adaptive");
}

#[test]
fn a_quiet_client_loses_its_windows_only_when_told() {
    let heat = Heat { client_ppm: 10, callers: 1, ..COLD };
    let quiet = |settings: &str, heat| policy(settings).place(&Request { heat, ..ask("c", "t", 7 * HOUR_MS) }).bits;
    assert_eq!(quiet(r#"{"adaptive":false}"#, heat), 48);
    assert_eq!(quiet(r#"{"quiet-below-ppm":11}"#, heat), 36);
    assert_eq!(quiet(r#"{"quiet-below-ppm":10}"#, heat), 48);
    assert_eq!(quiet(r#"{"quiet-below-ppm":11}"#, COLD), 48);
}

fn settings() -> impl Strategy<Value = (String, u32, u32, u32)> {
    (0..=20u32, 0..=16u32, 1..=16u32).prop_map(|(client, kind, window)| {
        let text =
            format!(r#"{{"client-bits":{client},"type-bits":{kind},"window-bits":{window},"window-ms":{HOUR_MS}}}"#);
        (text, client, kind, window)
    })
}

proptest! {
    #[test]
    fn windows_of_one_type_stand_in_order((text, _, _, window) in settings(), client in ".*", kind in ".*", at in 0..u32::MAX) {
        let policy = policy(&text);
        let place = |window: u64| policy.place(&ask(&client, &kind, window * HOUR_MS)).key;
        let at = u64::from(at) & ((1 << window) - 1);
        if at + 1 < 1 << window {
            prop_assert!(place(at) < place(at + 1));
        }
        prop_assert_eq!(place(at), place(at + (1 << window)), "windows wrap around");
    }

    #[test]
    fn a_client_and_its_types_are_contiguous(
        (text, client_bits, type_bits, _) in settings(), client in ".*", kinds in [".*", ".*"], times in any::<[u64; 2]>(),
    ) {
        let policy = policy(&text);
        let prefix = |placement: Placement, bits: u32| placement.key.checked_shr(64 - bits).unwrap_or(0);
        let [one, other] = [0, 1].map(|i| policy.place(&ask(&client, &kinds[i], times[i])));
        prop_assert_eq!(prefix(one, client_bits), prefix(other, client_bits));
        let same_type = policy.place(&ask(&client, &kinds[0], times[1]));
        prop_assert_eq!(prefix(one, client_bits + type_bits), prefix(same_type, client_bits + type_bits));
    }

    #[test]
    fn bits_that_are_not_meant_are_zero((text, client, kind, window) in settings(), name in ".*", at in any::<u64>()) {
        let placement = policy(&text).place(&ask(&name, &name, at));
        prop_assert_eq!(u32::from(placement.bits), client + kind + window);
        prop_assert_eq!(placement.key.trailing_zeros().min(64 - client - kind - window), 64 - client - kind - window);
    }
}
