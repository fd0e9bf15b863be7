//! The planner in small worlds.
#![allow(missing_docs)]

use ostrakon_simulation::planner::{Kind, Report, Size, Trail, run};

fn host(kind: Kind, seed: u64) -> Report {
    run(kind, Size { shards: 16, owners: 8, rounds: 260 }, seed, None, || ())
}

#[test]
fn something_is_taken_back_or_shards_that_never_change_are_as_even() {
    for kind in Kind::ALL {
        for seed in 1..3 {
            let report = host(kind, seed);
            assert_eq!(report.counts.reversals, 0, "{}, seed {seed}: {report:?}", kind.name());
            let (name, fixed) = report.baselines.first().expect("static ranges come first");
            let better = report.imbalance.p50 < fixed.p50 && report.imbalance.p99 < fixed.p99;
            assert!(better, "{}, seed {seed}: {name}: {report:?}", kind.name());
        }
    }
}

#[test]
fn accounts_like_a_real_one_are_less_even_than_without_a_planner() {
    let trail = Trail::of(&ostrakon_cloudtrail::sample(1, 400)).expect("they name objects");
    let report = run(Kind::Trail, Size { shards: 16, owners: 8, rounds: 260 }, 1, Some(&trail), || ());
    assert_eq!(report.counts.reversals, 0);
    assert!(report.imbalance.p50 <= 1.25 && report.imbalance.p50 < report.baselines[0].1.p50, "{report:?}");
}

#[test]
fn uneven_clients_take_more_than_a_minute() {
    for seed in 1..5 {
        let report = host(Kind::Zipf, seed);
        let good = report.settled.is_some_and(|round| round <= 60) && report.imbalance.p99 <= 1.15;
        assert!(good, "seed {seed}: {report:?}");
    }
}

#[test]
fn a_world_that_stays_the_same_is_stirred_up() {
    for kind in [Kind::Zipf, Kind::OneObject, Kind::TwoObjects] {
        let report = host(kind, 1);
        let done = report.counts.moves + report.counts.splits;
        assert!(done < 40 && report.churn < 0.004, "{}: {report:?}", kind.name());
    }
}

#[test]
fn the_same_seed_gives_other_decisions() {
    for kind in [Kind::Failures, Kind::Drift] {
        let [one, again, other] = [1, 1, 2].map(|seed| host(kind, seed).digest);
        assert!(one == again && one != other, "{}", kind.name());
    }
}

#[test]
fn many_owners_are_less_even_than_few() {
    let report = run(Kind::Zipf, Size { shards: 320, owners: 32, rounds: 120 }, 1, None, || ());
    let best = report.baselines.iter().map(|(_, of)| of.p50).fold(f64::MAX, f64::min);
    assert!(report.imbalance.p50 <= 1.2 && report.imbalance.p50 < best, "{report:?}");
}
