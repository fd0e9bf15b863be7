//! A prediction policy that learns gets its state off the way of its calls, and a bad lesson changes nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use ostrakon_core::policy::{Outcome, PolicyFault, PredictionPolicy as _, Route};
use ostrakon_wire::{Generation, PolicyKind};

use super::calls::{limits, object, outlook};
use crate::slots::PredictionSlots;
use crate::testing::Recipe;
use crate::{PolicyEngine, shipped};

fn outcome(predicted: u64, met: u64) -> Outcome {
    Outcome { scope: outlook(1).scope, predicted, met, age_us: 1_000, aborted: false }
}

fn slot(bytes: &[u8]) -> PredictionSlots {
    let engine = PolicyEngine::new(limits()).unwrap();
    PredictionSlots::new(engine.load(PolicyKind::Prediction, bytes, "{}").unwrap()).unwrap()
}

#[test]
fn the_shipped_predictor_learns_nothing() {
    let slot = slot(shipped(PolicyKind::Prediction).bytes);
    assert!(slot.learns());
    let before = slot.predict(&object(), &outlook(100)).result.unwrap();
    assert_eq!(before.route, Route::Write);
    for _ in 0..20 {
        let predicted = slot.predict(&object(), &outlook(100)).result.unwrap().version;
        assert!(slot.learn(Generation::FIRST, &[outcome(predicted, before.version + 40); 16]).unwrap());
    }
    let after = slot.predict(&object(), &outlook(100));
    assert_eq!(after.generation, Generation::FIRST, "what is learned is no swap");
    let after = after.result.unwrap();
    assert_eq!((after.version, after.route), (before.version + 40, Route::Reconcile));
    assert!(!slot.learn(Generation::new(2), &[outcome(0, 1_000); 16]).unwrap());
    assert_eq!(
        slot.predict(&object(), &outlook(100)).result.unwrap(),
        after,
        "lessons of another generation are dropped"
    );
    assert_eq!(slot.info().active.faults.total(), 0);
    assert!(slot.info().active.calls > 20, "the counters go on");
}

#[test]
fn a_policy_that_learns_is_no_longer_checked_for_purity() {
    let slot = slot(shipped(PolicyKind::Prediction).bytes);
    for _ in 0..30 {
        (0..100).for_each(|_| assert!(slot.predict(&object(), &outlook(5)).result.is_ok()));
        slot.learn(Generation::FIRST, &[outcome(5, 6)]).unwrap();
    }
    // At 2, 8, 32, 128 and 512, and then at 1,024 and 2,048.
    assert_eq!(slot.info().active.purity_checks, 7);
}

#[test]
fn a_call_fails_while_the_policy_learns() {
    let slot = slot(shipped(PolicyKind::Prediction).bytes);
    let done = AtomicBool::new(false);
    let calls: u64 = std::thread::scope(|scope| {
        let caller = || {
            let mut calls = 0;
            while !done.load(Ordering::Relaxed) {
                slot.predict(&object(), &outlook(5)).result.unwrap();
                calls += 1;
            }
            calls
        };
        let callers = [scope.spawn(caller), scope.spawn(caller)];
        for met in 0..200 {
            slot.learn(Generation::FIRST, &[outcome(5, met)]).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    println!("{calls} calls during 200 lessons");
    assert!(calls > 0);
}

#[test]
fn a_lesson_that_goes_wrong_changes_the_policy() {
    let export = |body: &str| {
        format!("(func (export \"ostrakon:policy/learning@0.1.0#learn\") (param i32 i32 i32 i32) (result i32) {body})")
    };
    // A state of 40,000 bytes, a trap, and one that never ends.
    let long = "(call $pair (i32.const 2048) (i32.const 0) (i32.const 40000)) (i32.const 2048)";
    for (body, impossible) in [(long, true), ("(unreachable)", false), ("(call $forever) (i32.const 0)", false)] {
        let recipe =
            Recipe::new(PolicyKind::Prediction).world("export prediction; export learning;").fields(&export(body));
        let slot = slot(&recipe.build());
        let before = slot.predict(&object(), &outlook(7)).result.unwrap();
        let fault = slot.learn(Generation::FIRST, &[outcome(7, 8)]).unwrap_err();
        assert_eq!(matches!(fault, PolicyFault::Impossible(_)), impossible, "{fault}");
        assert_eq!(slot.predict(&object(), &outlook(7)).result.unwrap(), before);
        assert_eq!(slot.info().active.faults.total(), 1);
    }
}
