//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use ostrakon_policy_sdk::recorded::{Draws, Recording};
use ostrakon_policy_sdk::shard_key::{Heat, Policy, Request};
use serde_json::{Value, json};
use weighted_shard_key::WeightedShardKey;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

/// Records one call, and answers the key.
fn record(recording: &mut Recording, policy: &WeightedShardKey, ask: Request<'_>) -> u64 {
    let Request { client, data_type, name, timestamp_ms, current, heat } = ask;
    let placement = policy.place(&ask);
    let heat = json!({
        "client-ppm": heat.client_ppm, "type-ppm": heat.type_ppm, "window-ppm": heat.window_ppm,
        "write-ppm": heat.write_ppm, "callers": heat.callers, "idle-ms": heat.idle_ms, "shards": heat.shards,
    });
    recording.call(
        "get-shard-key",
        &[json!(client), json!(data_type), json!(name), json!(timestamp_ms), json!(current), heat],
        json!({ "key": placement.key, "bits": placement.bits }),
    );
    placement.key
}

fn check(file: &str, seed: u64, settings: Value) {
    let follows_the_heat = settings["adaptive"] == true;
    let policy = WeightedShardKey::configure(&settings.to_string(), &[]).unwrap();
    let mut draws = Draws::new(seed);
    let mut recording = Recording::new(settings);
    for _ in 0..100 {
        let client = format!("client-{}", draws.below(10));
        let data_type = draws.one_of(["cluster", "", "policy/rôle", "instance"]);
        let name = format!("{:x}", draws.bits());
        let heat = Heat {
            client_ppm: draws.below(1_000) as u32,
            type_ppm: draws.below(1_000) as u32,
            window_ppm: draws.below(1_000) as u32,
            write_ppm: draws.below(1_000_001) as u32,
            callers: draws.below(3) as u32,
            idle_ms: draws.one_of([0, 7, u64::MAX]),
            shards: draws.below(3) as u32,
        };
        let timestamp_ms = draws.one_of([0, 1_700_000_000_000, u64::MAX]) ^ draws.below(1 << 40);
        let current = draws.one_of([0, 1 << 60]);
        let ask = Request { client: &client, data_type, name: &name, timestamp_ms, current, heat };
        let key = record(&mut recording, &policy, ask);
        if follows_the_heat {
            // What has a key is asked about again when the heat is another.
            record(&mut recording, &policy, Request { current: key | 7, heat: Heat { client_ppm: 0, ..heat }, ..ask });
        }
    }
    recording.check(format!("{FOLDER}/{file}")).unwrap();
}

#[test]
fn keys_with_default_weights_are_as_recorded() {
    check("defaults.json", 1, json!({}));
}

#[test]
fn keys_with_other_weights_are_as_recorded() {
    let settings = json!({
        "client-bits": 10, "type-bits": 0, "window-bits": 33, "window-ms": 60_000, "quiet-below-ppm": 500,
    });
    check("weights.json", 2, settings);
}

#[test]
fn keys_that_follow_the_heat_are_as_recorded() {
    // The shares that are drawn are below a thousandth: so that all levels are asked for.
    check("adaptive.json", 3, json!({ "adaptive": true, "shard-ppm": 300, "spread-bits": 2 }));
}
