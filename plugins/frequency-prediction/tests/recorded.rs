//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use frequency_prediction::FrequencyPrediction;
use ostrakon_policy_sdk::learning::{self, Outcome};
use ostrakon_policy_sdk::prediction::{Forecast, Kind, OnConflict, Policy, Request, Route, UNKNOWN_AGE};
use ostrakon_policy_sdk::recorded::{Draws, Recording, hexadecimal};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

/// Objects that something is learned of.
const SCOPES: u64 = 12;

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

fn check(file: &str, seed: u64, settings: Value, state: &[u8]) {
    let policy = FrequencyPrediction::configure(&settings.to_string(), state).unwrap();
    let mut draws = Draws::new(seed);
    let mut recording = Recording::with_state(settings, state);
    for _ in 0..200 {
        let (mut ask, [kind, choice]) = draw(&mut draws);
        if !state.is_empty() {
            ask.scope %= SCOPES;
        }
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
    check("defaults.json", 3, json!({}), &[]);
}

#[test]
fn forecasts_of_a_timid_policy_are_as_recorded() {
    check("timid.json", 4, json!({ "abort-below-ppm": 950_000 }), &[]);
}

/// Batches of outcomes on a few objects, each learned on top of the one before.
fn learn(draws: &mut Draws, mut each: impl FnMut(&[u8], &[Outcome], &[u8])) -> Vec<u8> {
    let mut state = Vec::new();
    for _ in 0..20 {
        let policy = FrequencyPrediction::configure("{}", &state).unwrap();
        let one = |draws: &mut Draws| {
            let predicted = draws.below(1_000);
            let met = predicted + draws.one_of([0, 0, 1, 7, 300]);
            Outcome {
                scope: draws.below(SCOPES),
                predicted,
                met,
                age_us: draws.below(50_000),
                aborted: met.is_multiple_of(2),
            }
        };
        let outcomes: Vec<Outcome> = (0..draws.below(30)).map(|_| one(draws)).collect();
        let next = learning::Policy::learn(&policy, &state, &outcomes);
        each(&state, &outcomes, &next);
        state = next;
    }
    state
}

#[test]
fn what_is_learned_is_as_recorded() {
    let mut recording = Recording::new(json!({}));
    learn(&mut Draws::new(5), |before, outcomes, after| {
        let told: Vec<Value> = outcomes.iter().map(told).collect();
        recording.call("learn", &[hexadecimal(before), told.into()], hexadecimal(after));
    });
    recording.check(format!("{FOLDER}/learning.json")).unwrap();
}

fn told(outcome: &Outcome) -> Value {
    let Outcome { scope, predicted, met, age_us, aborted } = *outcome;
    json!({ "scope": scope, "predicted": predicted, "met": met, "age-us": age_us, "aborted": aborted })
}

#[test]
fn forecasts_of_a_policy_that_has_learned_are_as_recorded() {
    let state = learn(&mut Draws::new(5), |_, _, _| {});
    check("taught.json", 6, json!({}), &state);
}
