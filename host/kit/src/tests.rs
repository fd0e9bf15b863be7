//! The shipped policies hold what is asked of policies, and those that must not are found out.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Duration;

use ostrakon_policy::shipped;
use ostrakon_policy::testing::{Recipe, hostile, snippets};
use ostrakon_wire::PolicyKind;
use serde_json::json;

use crate::bench::bench;
use crate::check::{Plan, Property, Report, Verdict, check};
use crate::component::kind_of;
use crate::fixture::{Call, Fixture, read_all};

fn plan(fixtures: Vec<Fixture>) -> Plan<'static> {
    Plan { settings: "{}", fixtures, record: false, skip: Vec::new(), seed: 1, inputs: 1_000 }
}

fn failed(report: &Report) -> Vec<Property> {
    let failed = report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Fail);
    failed.map(|outcome| outcome.property).collect()
}

/// Holds that a component fails in exactly these properties.
#[track_caller]
fn fails(kind: PolicyKind, component: &[u8], fixtures: Vec<Fixture>, properties: &[Property]) -> Report {
    let report = check(component, kind, plan(fixtures)).unwrap();
    assert_eq!(failed(&report), properties, "{report:#?}");
    report
}

/// A hostile policy, and a fixture that brings out what it is.
fn hostile_of(name: &str) -> (PolicyKind, Vec<u8>, Vec<Fixture>) {
    let found = hostile().into_iter().find(|each| each.name == name).unwrap();
    let heat = json!({ "client-ppm": 0, "type-ppm": 0, "window-ppm": 0, "write-ppm": 0, "callers": 0, "idle-ms": 0, "shards": 0 });
    let arguments = vec![json!("c"), json!("hostile"), json!("n"), json!(0), json!(0), heat];
    let call = Call { function: "get-shard-key".into(), arguments, answer: None };
    let fixture = Fixture { path: "hostile.json".into(), settings: json!({}), state: String::new(), calls: vec![call] };
    (found.kind, found.bytes, vec![fixture])
}

#[test]
fn a_shipped_policy_does_not_hold_what_policies_must() {
    for kind in PolicyKind::ALL {
        let shipped = shipped(kind);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins").join(shipped.name).join("recorded");
        let fixtures = read_all(&folder).unwrap();
        assert!(!fixtures.is_empty(), "{}", folder.display());
        assert_eq!(kind_of(shipped.bytes).unwrap(), kind);
        let report = fails(kind, shipped.bytes, fixtures, &[]);
        assert!(report.outcomes.iter().all(|outcome| outcome.verdict == Verdict::Pass), "{report:#?}");
    }
}

#[test]
fn a_policy_that_counts_its_calls_passes_for_deterministic() {
    let (kind, component, _) = hostile_of("counts-its-calls");
    let report = check(&component, kind, plan(Vec::new())).unwrap();
    assert!(failed(&report).contains(&Property::Determinism), "{report:#?}");
    let example = report.outcomes.iter().find_map(|outcome| outcome.example.clone()).unwrap();
    assert_eq!(example.call["function"], "get-shard-key");
}

#[test]
fn a_policy_that_never_answers_passes_for_quick() {
    let (kind, component, fixtures) = hostile_of("call-loops");
    let report = check(&component, kind, plan(fixtures)).unwrap();
    assert!(failed(&report).contains(&Property::Time) && !failed(&report).contains(&Property::Answers), "{report:#?}");
}

#[test]
fn a_policy_that_traps_passes_for_one_that_answers() {
    let (kind, component, fixtures) = hostile_of("call-traps");
    let report = check(&component, kind, plan(fixtures)).unwrap();
    assert!(failed(&report).contains(&Property::Answers) && !failed(&report).contains(&Property::Time), "{report:#?}");
}

#[test]
fn one_place_for_all_clients_passes_for_a_spread() {
    let component = Recipe::new(PolicyKind::ShardKey).decide(snippets::placement(7 << 48, 16)).build();
    let report = fails(PolicyKind::ShardKey, &component, Vec::new(), &[Property::Spread]);
    let spread = report.outcomes.iter().find(|outcome| outcome.property == Property::Spread).unwrap();
    assert_eq!(spread.figures["least"], 0);
    let skip = vec![Property::Spread];
    let report = check(&component, PolicyKind::ShardKey, Plan { skip, ..plan(Vec::new()) }).unwrap();
    assert!(report.passed(), "{report:#?}");
}

#[test]
fn keys_that_run_against_the_time_pass_for_ordered() {
    let against = "(i64.store (i32.const 1152) (i64.sub (i64.const 0) (local.get 6)))
        (i32.store8 (i32.const 1160) (i32.const 52)) (i32.const 1152)";
    let component = Recipe::new(PolicyKind::ShardKey).decide(against).build();
    let report = check(&component, PolicyKind::ShardKey, plan(Vec::new())).unwrap();
    assert!(failed(&report).contains(&Property::Order), "{report:#?}");
}

#[test]
fn a_change_that_is_made_twice_passes_for_idempotent() {
    // Replaces the object by {"a": attempt}; the attempt is the brief's word at 68.
    let body = format!(
        "(i32.store (i32.const 20000) (i32.const 0x006161a1))
         (i32.store8 (i32.const 20003) (i32.and (i32.load offset=68 (local.get $arguments)) (i32.const 15)))
         {}",
        snippets::verdict(3, [20_000, 4, 0, 0])
    );
    let component = Recipe::new(PolicyKind::Reconciliation).decide(body).build();
    fails(PolicyKind::Reconciliation, &component, Vec::new(), &[Property::Idempotence]);
}

#[test]
fn an_answer_that_is_not_the_one_expected_goes_unseen() {
    let kind = PolicyKind::ShardKey;
    let component = Recipe::new(kind).decide(snippets::placement(0, 0)).build();
    let folder = tempfile::tempdir().unwrap();
    let (_, _, mut fixtures) = hostile_of("call-traps");
    fixtures[0].path = folder.path().join("f.json");
    fixtures[0].calls[0].answer = Some(json!({"key": 1, "bits": 0}));
    let report = fails(kind, &component, fixtures.clone(), &[Property::Fixtures]);
    assert_eq!(report.differences[0].found, Ok(json!({"key": 0, "bits": 0})));
    let recorded = check(&component, kind, Plan { record: true, ..plan(fixtures) }).unwrap();
    assert!(recorded.passed(), "{recorded:#?}");
    fails(kind, &component, read_all(folder.path()).unwrap(), &[]);
}

#[test]
fn a_function_costs_nothing() {
    for kind in PolicyKind::ALL {
        let costs = bench(shipped(kind).bytes, kind, "{}", Duration::from_millis(5)).unwrap();
        let functions = if kind == PolicyKind::Reconciliation { 2 } else { 1 };
        assert_eq!(costs.functions.len(), 2 * functions, "each on a kept instance and on fresh ones");
        for cost in costs.functions {
            assert!(cost.calls > 0 && cost.p50_ns > 0 && cost.p50_ns <= cost.p99_ns, "{cost:?}");
        }
    }
}
