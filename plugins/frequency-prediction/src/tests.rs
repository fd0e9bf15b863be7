//! Forecasts on the cases that the contract names, and bounds on all of them.
#![allow(clippy::unwrap_used)]

use ostrakon_policy_sdk::prediction::{Kind, OnConflict};
use proptest::prelude::*;

use super::*;

const SECOND_US: u64 = 1_000_000;
/// One write a second.
const ONE_HZ: u64 = 1_000;

fn policy() -> FrequencyPrediction {
    FrequencyPrediction::configure("{}", &[]).unwrap()
}

fn ask(known: u64, observed: u64, observed_age_us: u64) -> Request {
    Request {
        known,
        observed,
        observed_age_us,
        read_age_us: UNKNOWN_AGE,
        queued: 0,
        in_group: 0,
        write_millihz: 0,
        conflict_ppm: 0,
        commit_us: 1_000,
        kind: Kind::Merge,
        choice: OnConflict::Reconcile,
        attempt: 0,
        payload_bytes: 100,
        scope: 1,
    }
}

fn check(ask: Request, version: u64, confidence_ppm: std::ops::RangeInclusive<u32>, route: Route) {
    let forecast = policy().predict(&ask);
    assert_eq!((forecast.version, forecast.route), (version, route), "{ask:?} {forecast:?}");
    assert!(confidence_ppm.contains(&forecast.confidence_ppm), "{ask:?} {forecast:?}");
}

#[test]
fn a_quiet_object_keeps_its_version() {
    check(ask(7, 7, 60 * SECOND_US), 7, 1_000_000..=1_000_000, Route::Write);
}

#[test]
fn an_overtaken_client_is_not_tried() {
    check(ask(6, 7, 0), 7, 1_000_000..=1_000_000, Route::Reconcile);
}

#[test]
fn an_unseen_object_is_tried_with_little_confidence() {
    check(ask(7, 0, UNKNOWN_AGE), 7, UNSEEN_PPM..=UNSEEN_PPM, Route::Write);
}

#[test]
fn creating_over_a_tombstone_is_tried() {
    check(ask(0, 9, SECOND_US), 9, 1_000_000..=1_000_000, Route::Write);
    check(ask(0, 0, SECOND_US), 0, 1_000_000..=1_000_000, Route::Write);
}

#[test]
fn a_client_that_saw_more_is_believed() {
    check(ask(8, 7, SECOND_US), 8, 1_000_000..=1_000_000, Route::Write);
}

#[test]
fn age_and_rate_wear_a_sighting_out() {
    let half_worn = Request { write_millihz: ONE_HZ, ..ask(7, 7, SECOND_US / 2) };
    check(half_worn, 7, 600_000..=610_000, Route::Write);
    let worn = Request { write_millihz: ONE_HZ, ..ask(7, 7, 2 * SECOND_US + SECOND_US / 2) };
    check(worn, 9, 250_000..=260_000, Route::Reconcile);
    let fresh_read = Request { read_age_us: 0, ..worn };
    check(fresh_read, 7, 990_000..=1_000_000, Route::Write);
}

#[test]
fn queued_writes_come_first() {
    check(Request { queued: 3, ..ask(7, 7, 0) }, 10, 1_000_000..=1_000_000, Route::Reconcile);
    check(Request { queued: 1, conflict_ppm: 900_000, ..ask(7, 7, 0) }, 7, 899_000..=900_000, Route::Write);
}

#[test]
fn refused_settings_name_the_member() {
    let refused = FrequencyPrediction::configure(r#"{"abort-below-ppm":1000001}"#, &[]).unwrap_err();
    assert_eq!(refused.path, "/abort-below-ppm");
}

proptest! {
    #[test]
    fn a_forecast_never_goes_back_nor_over_certainty(
        versions in any::<[u64; 2]>(), ages in any::<[u64; 2]>(), counts in any::<[u32; 4]>(), write_millihz: u64,
    ) {
        let forecast = policy().predict(&Request {
            read_age_us: ages[1],
            queued: counts[0],
            in_group: counts[1],
            conflict_ppm: counts[2],
            commit_us: counts[3],
            write_millihz,
            ..ask(versions[0], versions[1], ages[0])
        });
        prop_assert!(forecast.confidence_ppm <= 1_000_000);
        prop_assert!(forecast.version >= versions[0]);
        prop_assert!(ages[0] == UNKNOWN_AGE || forecast.version >= versions[1]);
    }

    #[test]
    fn more_writes_never_raise_the_chance_to_be_tried(age_us in 0..100 * SECOND_US, rate in 0..1_000_000u64, more in 0..1_000_000u64) {
        let at = |write_millihz| policy().predict(&Request { write_millihz, ..ask(7, 7, age_us) }).route;
        prop_assert!(at(rate) == Route::Write || at(rate + more) == Route::Reconcile);
    }
}

fn outcome(scope: u64, predicted: u64, met: u64) -> Outcome {
    Outcome { scope, predicted, met, age_us: 1_000, aborted: false }
}

/// The policy after so many batches on an object that `hidden` writes come into behind every forecast.
fn taught(hidden: u64, batches: usize) -> FrequencyPrediction {
    let mut state = Vec::new();
    for _ in 0..batches {
        let policy = FrequencyPrediction::configure("{}", &state).unwrap();
        let predicted = policy.predict(&ask(100, 100, 0)).version;
        state = learning::Policy::learn(&policy, &state, &[outcome(1, predicted, 100 + hidden); 50]);
    }
    FrequencyPrediction::configure("{}", &state).unwrap()
}

#[test]
fn writes_that_nothing_foretells_are_learned_and_forgotten() {
    let taught = taught(6, 20);
    let forecast = taught.predict(&ask(100, 100, 0));
    assert_eq!((forecast.version, forecast.route), (106, Route::Reconcile));
    assert_eq!(taught.predict(&Request { scope: 2, ..ask(100, 100, 0) }).version, 100, "another object");
    let unseen = taught.predict(&ask(100, 0, UNKNOWN_AGE));
    assert_eq!((unseen.version, unseen.route), (106, Route::Reconcile));
    let mut state = taught.learned.state();
    for _ in 0..20 {
        let policy = FrequencyPrediction::configure("{}", &state).unwrap();
        let predicted = policy.predict(&ask(100, 100, 0)).version;
        state = learning::Policy::learn(&policy, &state, &[outcome(1, predicted, 100)]);
    }
    let quiet = FrequencyPrediction::configure("{}", &state).unwrap().predict(&ask(100, 100, 0));
    assert_eq!((quiet.version, quiet.route), (100, Route::Write));
}

#[test]
fn a_state_that_no_policy_wrote_is_taken() {
    for state in [&[2][..], &[1, 0], &[&[1][..], &[0; 8], &f32::NAN.to_le_bytes()].concat()] {
        assert_eq!(FrequencyPrediction::configure("{}", state).unwrap_err().path, "state");
    }
    let full: Vec<Outcome> = (0..1_000).map(|scope| outcome(scope, u64::MAX, 0)).collect();
    let state = learning::Policy::learn(&policy(), &[], &full);
    assert_eq!(state.len(), 1 + 256 * 12);
    assert_eq!(FrequencyPrediction::configure("{}", &state).unwrap().learned.state(), state);
}
