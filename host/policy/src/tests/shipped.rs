//! The shipped policies load and answer, and what a call costs.

use std::time::Instant;

use ostrakon_core::policy::{PredictionPolicy as _, ShardKeyPolicy as _};
use ostrakon_wire::PolicyKind;

use super::calls::{brief, judge, limits, object, outlook, placing};
use crate::slots::{PredictionSlots, ReconciliationSlots, ShardKeySlots};
use crate::{PolicyEngine, shipped};

#[test]
fn the_shipped_policies_load_and_answer() {
    let engine = PolicyEngine::new(limits()).unwrap();
    let load = |kind| engine.load(kind, shipped(kind).bytes, "{}").unwrap();
    let keys = ShardKeySlots::new(load(PolicyKind::ShardKey)).unwrap();
    let predictions = PredictionSlots::new(load(PolicyKind::Prediction)).unwrap();
    let reconciliation = ReconciliationSlots::new(load(PolicyKind::Reconciliation)).unwrap();
    for _ in 0..2_100 {
        keys.place(&placing("volume")).result.unwrap();
        predictions.predict(&object(), &outlook(3)).result.unwrap();
    }
    judge(&reconciliation, brief("volume"), &[0xa0], Some(&[0xa0])).result.unwrap();
    for info in [keys.info(), predictions.info(), reconciliation.info()] {
        println!("{} {} {}", info.active.name, info.active.version, info.active.digest);
        assert_eq!(info.active.faults.total(), 0);
    }
    assert_eq!((keys.info().active.purity_checks, predictions.info().active.purity_checks), (7, 7));
}

/// Median over rounds, in nanoseconds a call.
fn measure(what: &str, calls: u32, mut call: impl FnMut()) {
    let mut rounds: Vec<_> = (0..9)
        .map(|_| {
            let start = Instant::now();
            (0..calls).for_each(|_| call());
            start.elapsed().as_nanos() as f64 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{what}: {:.0} ns (best {:.0})", rounds[4], rounds[0]);
}

#[test]
#[ignore = "a measurement: run with --release -- --ignored --nocapture"]
fn what_a_call_costs() {
    let engine = PolicyEngine::new(limits()).unwrap();
    let from_text = |kind| engine.load(kind, &crate::testing::Recipe::new(kind).build(), "{}").unwrap();
    let of_host = |kind| {
        let start = Instant::now();
        let loaded = engine.load(kind, shipped(kind).bytes, "{}").unwrap();
        println!("load of {}: {:.1} ms", loaded.name(), start.elapsed().as_secs_f64() * 1e3);
        loaded
    };
    let sources: [(&str, &dyn Fn(PolicyKind) -> crate::Loaded); 2] = [("least", &from_text), ("shipped", &of_host)];
    for (which, load) in sources {
        let keys = ShardKeySlots::new(load(PolicyKind::ShardKey)).unwrap();
        let placing = placing("volume");
        measure(&format!("{which} shard key"), 200_000, || drop(keys.place(&placing)));
        let predictions = PredictionSlots::new(load(PolicyKind::Prediction)).unwrap();
        let outlook = outlook(3);
        measure(&format!("{which} prediction"), 200_000, || drop(predictions.predict(&object(), &outlook)));
        let reconciliation = ReconciliationSlots::new(load(PolicyKind::Reconciliation)).unwrap();
        let brief = brief("volume");
        measure(&format!("{which} judge"), 5_000, || drop(judge(&reconciliation, brief, &[0xa0], Some(&[0xa0]))));
        let faults = [keys.info(), predictions.info(), reconciliation.info()].map(|info| info.active.faults.total());
        assert_eq!(faults, [0; 3]);
    }
}
