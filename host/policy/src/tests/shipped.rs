//! The shipped policies load and answer, and what a call costs.

use std::time::Instant;

use ostrakon_core::policy::{Placing, PredictionPolicy as _, Question, ShardKeyPolicy as _};
use ostrakon_wire::{Generation, PolicyKind};

use super::calls::{brief, judge, limits, object, outlook, placing};
use crate::slots::{PredictionSlots, ReconciliationSlots, ShardKeySlots};
use crate::{PolicyEngine, Recorded, answer_all, replay, shipped};

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

#[test]
#[ignore = "a measurement: run with --release -- --ignored --nocapture"]
fn what_a_replay_costs() {
    const DECISIONS: u64 = 1_000_000;
    let engine = PolicyEngine::deterministic(limits()).unwrap();
    let candidate = engine.load(PolicyKind::ShardKey, shipped(PolicyKind::ShardKey).bytes, "{}").unwrap();
    let questions: Vec<Question> = (0..DECISIONS)
        .map(|n| {
            let name = format!("vol-{n:08x}");
            Question::Place(Placing { name: name.as_str(), timestamp_ms: n, ..placing("volume") }.kept())
        })
        .collect();
    let answers = answer_all(&candidate, questions.iter());
    let recorded = |(question, answer)| Recorded { question, generation: Generation::FIRST, answer };
    let decisions: Vec<Recorded> = questions.into_iter().zip(answers).map(recorded).collect();
    let began = Instant::now();
    let replayed = replay(&candidate, &decisions, None);
    println!("{DECISIONS} decisions in {:?}, answers {:016x}", began.elapsed(), replayed.answers);
    assert_eq!((replayed.differ, replayed.impure, replayed.faults), (0, 0, 0));
}
