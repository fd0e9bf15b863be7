//! A swap under load mixes nothing, fails nothing and leaves nothing behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ostrakon_core::policy::{PolicyFault, ShardKeyPolicy as _};
use ostrakon_wire::PolicyKind;

use super::calls::{limits, placing};
use crate::slots::ShardKeySlots;
use crate::testing::{Recipe, snippets};
use crate::{Limits, Loaded, PolicyEngine};

const SWAPS: u64 = 2_000;

/// A policy whose keys say which one it is.
fn policy(engine: &PolicyEngine, key: u64) -> Loaded {
    let recipe = Recipe::new(PolicyKind::ShardKey).decide(snippets::placement(key, 8));
    engine.load(PolicyKind::ShardKey, &recipe.build(), "{}").unwrap()
}

#[test]
fn no_answer_names_a_generation_that_did_not_give_it() {
    // A machine that runs more threads than it has cores may keep any of them waiting for longer than a deadline.
    let engine = PolicyEngine::new(Limits { hot_deadline_ms: 5_000, start_deadline_ms: 5_000, ..limits() }).unwrap();
    let policies = [policy(&engine, 0), policy(&engine, 1)];
    let slot = ShardKeySlots::new(policies[1].clone()).unwrap();
    let done = AtomicBool::new(false);
    let mut retired = Vec::new();
    let calls: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut calls, mut newest) = (0_u64, 0);
                    while !done.load(Ordering::Relaxed) {
                        let decision = slot.place(&placing("volume"));
                        let generation = decision.generation.get();
                        assert_eq!(decision.result.unwrap().key, generation % 2, "generation {generation}");
                        assert!(generation >= newest, "{generation} after {newest}");
                        newest = generation;
                        calls += 1;
                    }
                    calls
                })
            })
            .collect();
        for swap in 1..=SWAPS {
            retired.push(Arc::downgrade(&slot.table().default().active));
            let generation = slot.swap(policies[(swap as usize + 1) % 2].clone()).unwrap();
            assert_eq!(generation.get(), swap + 1);
            std::thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    println!("{calls} calls during {SWAPS} swaps");
    assert!(calls > 0);
    assert_eq!(retired.iter().filter(|old| old.upgrade().is_some()).count(), 0, "old generations stay in memory");
    assert_eq!(slot.info().active.generation.get(), SWAPS + 1);
}

#[test]
fn a_call_in_flight_ends_on_the_generation_it_began_with() {
    let engine = PolicyEngine::new(Limits { hot_deadline_ms: 300, ..limits() }).unwrap();
    let slow = Recipe::new(PolicyKind::ShardKey).triggered(snippets::FOREVER).build();
    let slot = ShardKeySlots::new(engine.load(PolicyKind::ShardKey, &slow, "{}").unwrap()).unwrap();
    let old = Arc::downgrade(&slot.table().default().active);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| slot.place(&placing("hostile")));
        while slot.info().active.calls == 0 {
            std::thread::yield_now();
        }
        slot.swap(policy(&engine, 1)).unwrap();
        assert_eq!(slot.place(&placing("volume")).generation.get(), 2);
        let decision = caller.join().unwrap();
        assert_eq!(decision.generation.get(), 1);
        assert_eq!(decision.result, Err(PolicyFault::Overran { deadline_ms: 300 }));
    });
    assert!(old.upgrade().is_none());
}
