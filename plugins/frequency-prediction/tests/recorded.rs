//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use frequency_prediction::FrequencyPrediction;
use ostrakon_policy_sdk::prediction::{Forecast, Kind, OnConflict, Policy, Request, Route, UNKNOWN_AGE};
use ostrakon_policy_sdk::recorded::{Draws, Recording};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

fn draw(draws: &mut Draws) -> (Request, [&'static str; 2]) {
    let known = draws.one_of([0, 5, 1_000, u64::MAX - 3]);
    let (kind, kind_name) = draws.one_of([(Kind::Put, "put"), (Kind::Merge, "merge"), (Kind::Custom, "custom")]);
    let (choice, choice_name) = draws.one_of([(OnConflict::Reject, "reject"), (OnConflict::Detach, "detach")]);
    let age_max_us = draws.one_of([1_000, 1_000_000, 100_000_000]);
    let ask = Request {
        known,
        observed: draws.one_of([known, known, known.saturating_add(1), known / 2]),
        observed_age_us: draws.one_of([age_max_us / 7 * 3, UNKNOWN_AGE, age_max_us]),
        read_age_us: draws.one_of([UNKNOWN_AGE, age_max_us / 3]),
        queued: draws.one_of([0, 0, 1, 5, 70, u32::MAX]),
        in_group: draws.below(300) as u32,
        write_millihz: draws.one_of([0, 3, 900, 40_000, 5_000_000]),
        conflict_ppm: draws.one_of([0, 20_000, 500_000, 1_000_000]),
        commit_us: draws.below(20_000) as u32,
        kind,
        choice,
        attempt: draws.below(3) as u32,
        payload_bytes: draws.below(1 << 20) as u32,
        scope: draws.bits(),
    };
    (ask, [kind_name, choice_name])
}

fn check(file: &str, seed: u64, settings: Value) {
    let policy = FrequencyPrediction::configure(&settings.to_string(), &[]).unwrap();
    let mut draws = Draws::new(seed);
    let mut recording = Recording::new(settings);
    for _ in 0..200 {
        let (ask, [kind, choice]) = draw(&mut draws);
        let numbers = json!([
            ask.known,
            ask.observed,
            ask.observed_age_us,
            ask.read_age_us,
            ask.queued,
            ask.in_group,
            ask.write_millihz,
            ask.conflict_ppm,
            ask.commit_us,
            kind,
            choice,
            ask.attempt,
            ask.payload_bytes,
            ask.scope,
        ]);
        let Forecast { version, confidence_ppm, route } = policy.predict(&ask);
        let route = match route {
            Route::Write => "write",
            Route::Reconcile => "reconcile",
        };
        let answer = json!({ "version": version, "confidence-ppm": confidence_ppm, "route": route });
        recording.call("predict", numbers.as_array().unwrap(), answer);
    }
    recording.check(format!("{FOLDER}/{file}")).unwrap();
}

#[test]
fn forecasts_by_default_are_as_recorded() {
    check("defaults.json", 3, json!({}));
}

#[test]
fn forecasts_of_a_timid_policy_are_as_recorded() {
    check("timid.json", 4, json!({ "abort-below-ppm": 950_000 }));
}
