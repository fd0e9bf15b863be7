//! Calls that go wrong, and the next one that does not.

use std::time::Duration;

use ostrakon_core::policy::{
    Brief, Case, Decision, Heat, Look, Outlook, Payloads, Placing, PolicyFault, PredictionPolicy as _,
    ReconciliationPolicy as _, ShardKeyPolicy as _, Verdict,
};
use ostrakon_wire::{ActionKind, ObjectId, OnConflict, PolicyKind};

use crate::bounds::PAYLOAD_BYTES_ON_KEPT_MAX;
use crate::reconciliation::Looking;
use crate::slots::{PredictionSlots, ReconciliationSlots, ShardKeySlots};
use crate::testing::{Hostile, Recipe, When, hostile, snippets};
use crate::{FaultCounts, Limits, PolicyEngine};

/// Bounds that reserve less than a host does: several engines live at once here.
pub(super) fn limits() -> Limits {
    Limits { instances_max: 64, ..Limits::default() }
}

pub(crate) fn placing(data_type: &str) -> Placing<&str> {
    Placing { client: "acme", data_type, name: "vol-1", timestamp_ms: 1, current: 0, heat: Heat::default() }
}

pub(crate) fn outlook(known: u64) -> Outlook {
    Outlook {
        known,
        observed: 3,
        observed_age_us: 10,
        read_age_us: u64::MAX,
        queued: 0,
        in_group: 0,
        write_millihz: 0,
        conflict_ppm: 0,
        commit_us: 0,
        kind: ActionKind::Merge,
        choice: OnConflict::Reconcile,
        attempt: 0,
        payload_bytes: 1,
        scope: 1,
    }
}

pub(crate) fn brief(data_type: &str) -> Brief<&str> {
    Brief {
        client: "acme",
        data_type,
        name: "vol-1",
        kind: ActionKind::Merge,
        custom_kind: "",
        known: 1,
        base_kept: true,
        latest: 2,
        exists: true,
        attempt: 0,
        now_ms: 1,
        shard_key: 1,
        latest_bytes: 1,
    }
}

pub(super) fn object() -> ObjectId {
    ObjectId::new("acme", "volume", "vol-1").unwrap()
}

/// One call of `judge`.
pub(super) fn judge(
    slot: &ReconciliationSlots,
    brief: Brief<&str>,
    ours: &[u8],
    theirs: Option<&[u8]>,
) -> Decision<Verdict> {
    slot.decide("acme", "volume", |_, active| active.ask(Looking { brief, look: Look::Patches { ours, theirs } }))
}

/// One call of `reconcile`.
fn reconcile(
    slot: &ReconciliationSlots,
    brief: Brief<&str>,
    body: &[u8],
    base: Option<&[u8]>,
    latest: Option<&[u8]>,
) -> Decision<Verdict> {
    slot.decide("acme", "volume", |_, active| {
        active.ask(Looking { brief, look: Look::Payloads { body, base, latest } })
    })
}

fn impossible(words: &str) -> PolicyFault {
    PolicyFault::Impossible(words.into())
}

/// The exact fault; for `Impossible` with words of the runtime, no words.
fn expected(name: &str) -> PolicyFault {
    let (memory, deadline_ms) = if name.starts_with("verdict") { (64 << 20, 100) } else { (16 << 20, 20) };
    match name {
        "call-traps" | "forecast-traps" | "verdict-traps" => {
            PolicyFault::Trapped("wasm `unreachable` instruction executed".into())
        }
        "call-loops" | "forecast-loops" | "verdict-loops" => PolicyFault::Overran { deadline_ms },
        "call-recurses" | "verdict-recurses" => PolicyFault::Trapped("call stack exhausted".into()),
        "call-eats-memory" | "verdict-eats-memory" => PolicyFault::OutOfMemory { bytes_max: memory },
        "call-too-many-bits" => impossible("64 meaningful bits; at most 52 are allowed"),
        "forecast-too-sure" => impossible("a confidence of 2000000 ppm; at most 1000000 is allowed"),
        "verdict-talks-at-length" => impossible("words of 4097 bytes; at most 4096 are allowed"),
        "verdict-waits-for-ever" => impossible("a retry after 60001 ms; at most 60000 are allowed"),
        "verdict-replies-too-much" => impossible("a reply of 1048577 bytes; at most 1048576 are allowed"),
        "verdict-writes-too-much" => impossible("a body of 1048577 bytes; at most 1048576 are allowed"),
        _ => impossible(""),
    }
}

fn check(name: &str, fault: PolicyFault) {
    println!("{name}: {fault}");
    let expected = expected(name);
    match (&fault, &expected) {
        (PolicyFault::Impossible(_), PolicyFault::Impossible(words)) if words.is_empty() => {}
        _ => assert_eq!(fault, expected, "{name}"),
    }
}

#[test]
fn a_call_that_goes_wrong_is_that_calls_fault_alone() {
    let engine = PolicyEngine::new(limits()).unwrap();
    for Hostile { name, kind, bytes, .. } in hostile().into_iter().filter(|each| each.when == When::Call) {
        let loaded = engine.load(kind, &bytes, "{}").unwrap();
        let info = match kind {
            PolicyKind::ShardKey => {
                let slot = ShardKeySlots::new(loaded).unwrap();
                check(name, slot.place(&placing("hostile")).result.unwrap_err());
                assert_eq!(slot.place(&placing("volume")).result.unwrap().bits, 16);
                slot.info().active
            }
            PolicyKind::Prediction => {
                let slot = PredictionSlots::new(loaded).unwrap();
                check(name, slot.predict(&object(), &outlook(7)).result.unwrap_err());
                assert_eq!(slot.predict(&object(), &outlook(8)).result.unwrap().version, 8);
                slot.info().active
            }
            PolicyKind::Reconciliation => {
                let slot = ReconciliationSlots::new(loaded).unwrap();
                check(name, judge(&slot, brief("hostile"), b"o", None).result.unwrap_err());
                check(name, reconcile(&slot, brief("hostile"), b"b", None, Some(b"l")).result.unwrap_err());
                assert_eq!(judge(&slot, brief("volume"), b"o", Some(b"t")).result.unwrap(), Verdict::Rerun);
                slot.info().active
            }
        };
        let calls = if kind == PolicyKind::Reconciliation { 3 } else { 2 };
        assert_eq!((info.calls, info.faults.total()), (calls, calls - 1), "{name}");
    }
}

#[test]
fn an_answer_that_depends_on_earlier_calls_is_found_and_its_instance_replaced() {
    let engine = PolicyEngine::new(Limits { purity_every: 8, lanes: 1, ..limits() }).unwrap();
    let hostile = hostile().into_iter().find(|each| each.when == When::Sample).unwrap();
    let slot = ShardKeySlots::new(engine.load(hostile.kind, &hostile.bytes, "{}").unwrap()).unwrap();
    let results: Vec<_> = (0..16).map(|_| slot.place(&placing("volume")).result).collect();
    for (index, result) in results.into_iter().enumerate() {
        match result {
            // The first instance has been asked once, when the policy was loaded.
            Ok(placement) => {
                assert_eq!((placement.key, index % 2), (if index == 0 { 2 } else { 1 }, 0), "call {index}")
            }
            // The second call of an instance is checked: the first that could be another one.
            Err(fault) => assert_eq!((fault, index % 2), (PolicyFault::Impure, 1), "call {index}"),
        }
    }
    let info = slot.info().active;
    assert_eq!((info.calls, info.purity_checks), (16, 8));
    assert_eq!(info.faults, FaultCounts { impure: 8, ..FaultCounts::default() });
}

#[test]
fn verdicts_that_depend_on_earlier_calls_are_found() {
    let engine = PolicyEngine::new(Limits { purity_every: 8, lanes: 1, ..limits() }).unwrap();
    let counting = "(global.set $count (i64.add (global.get $count) (i64.const 1)))
        (i32.store8 (i32.const 1152) (i32.const 7)) (i32.store (i32.const 1156) (i32.wrap_i64 (global.get $count)))
        (i32.const 1152)";
    let recipe = Recipe::new(PolicyKind::Reconciliation).decide(counting);
    let slot =
        ReconciliationSlots::new(engine.load(PolicyKind::Reconciliation, &recipe.build(), "{}").unwrap()).unwrap();
    let judged: Vec<_> = (0..2).map(|_| judge(&slot, brief("volume"), b"o", Some(b"t")).result).collect();
    // The first instance has been asked twice, when the policy was loaded.
    assert_eq!(judged, [Ok(Verdict::RetryAfterMs(3)), Err(PolicyFault::Impure)]);
    let whole = |body: &[u8]| reconcile(&slot, brief("volume"), body, None, Some(b"l")).result;
    assert_eq!((whole(b"b"), whole(b"b")), (Ok(Verdict::RetryAfterMs(1)), Err(PolicyFault::Impure)));
    let large = [0; PAYLOAD_BYTES_ON_KEPT_MAX];
    let first = Ok(Verdict::RetryAfterMs(1));
    assert_eq!((whole(&large), whole(&large)), (first.clone(), first), "always a fresh one");
}

#[test]
fn a_policy_that_wants_payloads_after_patches_is_checked_on_one_of_them_alone() {
    let engine = PolicyEngine::new(Limits { purity_every: 8, lanes: 1, ..limits() }).unwrap();
    let recipe = Recipe::new(PolicyKind::Reconciliation);
    let slot =
        ReconciliationSlots::new(engine.load(PolicyKind::Reconciliation, &recipe.build(), "{}").unwrap()).unwrap();
    for _ in 0..8 {
        judge(&slot, brief("volume"), b"o", Some(b"t")).result.unwrap();
        reconcile(&slot, brief("volume"), b"b", None, Some(b"l")).result.unwrap();
    }
    assert_eq!(slot.info().active.purity_checks, 4, "the second and the eighth of each");
}

#[test]
fn a_slow_verdict_holds_up_the_next_one() {
    let engine = PolicyEngine::new(Limits { lanes: 1, reconciliation_deadline_ms: 2_000, ..limits() }).unwrap();
    let recipe = Recipe::new(PolicyKind::Reconciliation).triggered(snippets::FOREVER);
    let slot =
        ReconciliationSlots::new(engine.load(PolicyKind::Reconciliation, &recipe.build(), "{}").unwrap()).unwrap();
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| judge(&slot, brief("hostile"), b"o", None).result);
        while slot.info().active.calls == 0 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(judge(&slot, brief("volume"), b"o", Some(b"t")).result, Ok(Verdict::Rerun));
        assert!(!slow.is_finished(), "it has waited for the only kept instance");
    });
}

#[test]
fn a_pure_policy_passes_the_sampled_check() {
    let engine = PolicyEngine::new(Limits { purity_every: 4, lanes: 1, ..limits() }).unwrap();
    let recipe = Recipe::new(PolicyKind::Prediction);
    let slot = PredictionSlots::new(engine.load(PolicyKind::Prediction, &recipe.build(), "{}").unwrap()).unwrap();
    for known in 0..100 {
        assert_eq!(slot.predict(&object(), &outlook(known)).result.unwrap().version, known);
    }
    assert_eq!((slot.info().active.purity_checks, slot.info().active.faults.total()), (26, 0));
}

#[test]
fn what_the_host_cannot_carry_out_is_no_verdict() {
    let engine = PolicyEngine::new(limits()).unwrap();
    let slot = |case| {
        let recipe = Recipe::new(PolicyKind::Reconciliation)
            .triggered(format!("(return (block (result i32) {}))", snippets::verdict(case, [0; 4])));
        ReconciliationSlots::new(engine.load(PolicyKind::Reconciliation, &recipe.build(), "{}").unwrap()).unwrap()
    };
    let payloads = slot(1);
    assert_eq!(judge(&payloads, brief("hostile"), b"", None).result.unwrap(), Verdict::NeedPayloads);
    let fault = reconcile(&payloads, brief("hostile"), b"", None, None).result.unwrap_err();
    assert!(matches!(fault, PolicyFault::Impossible(_)), "{fault}");
    let case = Case {
        brief: brief("hostile"),
        patches: Some((b"", b"")),
        payloads: &|| Payloads { body: Vec::new(), base: None, latest: None },
    };
    let judgement = payloads.judge(&case);
    assert_eq!(judgement.calls, 2, "patches first, then payloads");
    assert!(judgement.decision.result.is_err());
    let custom = Brief { kind: ActionKind::Custom, custom_kind: "grow", ..brief("hostile") };
    let fault = judge(&slot(0), custom, b"", None).result.unwrap_err();
    assert!(matches!(fault, PolicyFault::Impossible(_)), "{fault}");
}

#[test]
fn payloads_of_the_largest_size_reach_the_policy_and_come_back() {
    let engine = PolicyEngine::new(limits()).unwrap();
    let grow = "(drop (memory.grow (i32.const 64)))";
    let recipe = Recipe::new(PolicyKind::Reconciliation)
        .decide(format!("{grow} {}", snippets::verdict(3, [8_192, 1 << 20, 8_192, 3])));
    let loaded = engine.load(PolicyKind::Reconciliation, &recipe.build(), "{}").unwrap();
    let slot = ReconciliationSlots::new(loaded).unwrap();
    let payload = vec![7; 1 << 20];
    let verdict = reconcile(&slot, brief("volume"), &payload, Some(&payload), Some(&payload)).result.unwrap();
    assert!(matches!(verdict, Verdict::Replace(change) if change.body.len() == 1 << 20 && change.reply.len() == 3));
}

#[test]
fn more_threads_than_kept_instances_wait_for_one_another() {
    let engine = PolicyEngine::new(Limits { lanes: 2, ..limits() }).unwrap();
    let recipe = Recipe::new(PolicyKind::ShardKey);
    let slot = ShardKeySlots::new(engine.load(PolicyKind::ShardKey, &recipe.build(), "{}").unwrap()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope
                .spawn(|| (0..2_000).for_each(|_| assert_eq!(slot.place(&placing("volume")).result.unwrap().bits, 16)));
        }
    });
    assert_eq!(slot.info().active.calls, 16_000);
}
