//! What is refused at load, and in which words.

use ostrakon_core::policy::{PolicyFault, ShardKeyPolicy as _};
use ostrakon_wire::PolicyKind;

use super::calls::placing;
use crate::slots::ShardKeySlots;
use crate::testing::{Hostile, Recipe, When, hostile};
use crate::{LoadError, PolicyEngine, Stage};

fn trapped(stage: Stage, words: &str) -> LoadError {
    LoadError::Fault { stage, fault: PolicyFault::Trapped(words.into()) }
}

fn impossible(stage: Stage, words: &str) -> LoadError {
    LoadError::Fault { stage, fault: PolicyFault::Impossible(words.into()) }
}

const UNREACHABLE: &str = "wasm `unreachable` instruction executed";
const STACK: &str = "call stack exhausted";

/// The interface of a kind, in a version of the contract.
fn interface(kind: PolicyKind, version: &str) -> String {
    format!("ostrakon:policy/{}@{version}", kind.name())
}

/// The function that is called first in a trial.
fn deciding(kind: PolicyKind) -> &'static str {
    match kind {
        PolicyKind::ShardKey => "get-shard-key",
        PolicyKind::Prediction => "predict",
        PolicyKind::Reconciliation => "judge",
    }
}

/// The exact error of every component that must not load; `None` where the words come from the parser.
fn expected(kind: PolicyKind, name: &str) -> Option<LoadError> {
    let (bytes_max, call_ms) = match kind {
        PolicyKind::Reconciliation => (64 << 20, 100),
        PolicyKind::ShardKey | PolicyKind::Prediction => (16 << 20, 20),
    };
    let overran = |stage, deadline_ms| LoadError::Fault { stage, fault: PolicyFault::Overran { deadline_ms } };
    let memory = |stage| LoadError::Fault { stage, fault: PolicyFault::OutOfMemory { bytes_max } };
    let key = interface(kind, "0.1.0");
    let call = Stage::Call(deciding(kind));
    let signature = |name| {
        let functions = crate::contract::required(kind).functions;
        functions.iter().find(|function| function.name == name).unwrap().signature.to_owned()
    };
    let (another, type_of, other_type) = match kind {
        PolicyKind::ShardKey => (PolicyKind::Prediction, "bits: u8", "bits: u16"),
        PolicyKind::Prediction => (PolicyKind::Reconciliation, "confidence-ppm: u32", "confidence-ppm: s32"),
        PolicyKind::Reconciliation => (PolicyKind::ShardKey, "retry-after-ms(u32)", "retry-after-ms(s32)"),
    };
    Some(match name {
        "empty" | "not-wasm" | "wasm-text" => LoadError::NotWasm,
        "core-module" => LoadError::CoreModule,
        "cut-off" | "damaged" | "two-memories" | "too-large" => return None,
        "imports" => LoadError::Imports(vec!["now".into()]),
        "no-exports" => LoadError::MissingInterface { interface: key },
        "missing-function" => LoadError::MissingFunction {
            interface: key,
            function: "configure".into(),
            expected: signature("configure"),
        },
        "extra-function" => LoadError::ExtraExport { export: format!("{key}#extra") },
        "extra-export" => LoadError::ExtraExport { export: "hello".into() },
        "another-world" => LoadError::OtherWorld { found: another, wanted: kind, export: interface(another, "0.1.0") },
        "newer-contract" => LoadError::NewerContract { export: interface(kind, "0.2.0"), supported: "0.1.0" },
        "older-contract" => LoadError::OlderContract { export: interface(kind, "0.0.9"), supported: "0.1.0" },
        "wrong-type" => LoadError::WrongType {
            function: format!("{key}#{}", deciding(kind)),
            expected: signature(deciding(kind)),
            found: signature(deciding(kind)).replace(type_of, other_type),
        },
        "start-traps" => trapped(Stage::Instantiate, UNREACHABLE),
        "start-loops" => overran(Stage::Instantiate, 50),
        "much-memory" => memory(Stage::Instantiate),
        "describe-traps" => trapped(Stage::Describe, UNREACHABLE),
        "describe-loops" => overran(Stage::Describe, 50),
        "describe-recurses" => trapped(Stage::Describe, STACK),
        "describe-eats-memory" => memory(Stage::Describe),
        "describe-says-nothing" => impossible(Stage::Describe, "an empty name"),
        "describe-says-too-much" => impossible(Stage::Describe, "a name of 129 bytes; at most 128 are allowed"),
        "describe-rings-a-bell" => impossible(Stage::Describe, "a name with control characters"),
        "configure-traps" => trapped(Stage::Configure, UNREACHABLE),
        "configure-loops" => overran(Stage::Configure, 50),
        "configure-recurses" => trapped(Stage::Configure, STACK),
        "configure-eats-memory" => memory(Stage::Configure),
        "configure-refuses" => LoadError::Settings { path: "/weights".into(), message: "too heavy".into() },
        "configure-refuses-at-length" => {
            impossible(Stage::Configure, "a message of 8000 bytes; at most 4096 are allowed")
        }
        "always-traps" => trapped(call, UNREACHABLE),
        "always-loops" => overran(call, call_ms),
        "always-answers-nonsense" => match kind {
            PolicyKind::ShardKey => impossible(call, "53 meaningful bits; at most 52 are allowed"),
            PolicyKind::Prediction => impossible(call, "a confidence of 1000001 ppm; at most 1000000 is allowed"),
            PolicyKind::Reconciliation => return None,
        },
        // The words of the runtime, which says what could not be read.
        "describe-says-a-flood" | "describe-is-not-text" | "describe-points-outside" | "describe-answers-outside" => {
            return None;
        }
        "configure-answers-nonsense" => return None,
        other => panic!("nothing is expected of {other}"),
    })
}

/// The variant alone, where the words are the runtime's.
fn is_expected(name: &str, error: &LoadError) -> bool {
    let impossible =
        |wanted| matches!(error, LoadError::Fault { stage, fault: PolicyFault::Impossible(_) } if *stage == wanted);
    match name {
        "too-large" => matches!(error, LoadError::TooLarge { bytes, bytes_max } if bytes > bytes_max),
        "cut-off" | "damaged" | "two-memories" => matches!(error, LoadError::Malformed(_)),
        "configure-answers-nonsense" => impossible(Stage::Configure),
        "always-answers-nonsense" => impossible(Stage::Call(deciding(PolicyKind::Reconciliation))),
        _ => impossible(Stage::Describe),
    }
}

#[test]
fn what_must_not_load_is_refused_by_name_and_the_engine_goes_on() {
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    let good = Recipe::new(PolicyKind::ShardKey).build();
    for Hostile { name, kind, bytes, .. } in hostile().into_iter().filter(|each| each.when == When::Load) {
        let error = engine.load(kind, &bytes, "{}").unwrap_err();
        println!("{kind:?} {name}: {error}");
        match expected(kind, name) {
            Some(expected) => assert_eq!(error, expected, "{kind:?} {name}"),
            None => assert!(is_expected(name, &error), "{kind:?} {name}: {error:?}"),
        }
        let slot = ShardKeySlots::new(engine.load(PolicyKind::ShardKey, &good, "{}").unwrap()).unwrap();
        assert_eq!(slot.place(&placing("volume")).result.unwrap().key, 0xabcd << 48, "after {name}");
    }
}

#[test]
fn settings_that_are_no_json_object_are_refused() {
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    let good = Recipe::new(PolicyKind::ShardKey).build();
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(64 << 10));
    for settings in ["", "[]", "{", "{} {}", "null", &long] {
        let error = engine.load(PolicyKind::ShardKey, &good, settings).unwrap_err();
        assert!(matches!(&error, LoadError::Settings { path, .. } if path.is_empty()), "{error:?}");
    }
    assert_eq!(engine.load(PolicyKind::ShardKey, &good, "{\"a\":1}").unwrap().settings(), "{\"a\":1}");
}

#[test]
fn a_policy_says_who_it_is() {
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    for kind in PolicyKind::ALL {
        let loaded = engine.load(kind, &Recipe::new(kind).build(), "{}").unwrap();
        assert_eq!((loaded.kind(), loaded.name(), loaded.version()), (kind, "test-policy", "1.0.0"));
        assert_eq!(loaded.digest().len(), 64);
        assert!(!loaded.learns() && !loaded.needs_state());
    }
}

#[test]
fn a_prediction_policy_that_learns_is_recognised() {
    let learn =
        "(func (export \"ostrakon:policy/learning@0.1.0#learn\") (param i32 i32 i32 i32) (result i32) (i32.const 0))";
    let recipe = Recipe::new(PolicyKind::Prediction).world("export prediction; export learning;").fields(learn);
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    assert!(engine.load(PolicyKind::Prediction, &recipe.build(), "{}").unwrap().learns());
}

#[test]
fn a_policy_takes_no_slot_of_another_kind() {
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    let prediction = engine.load(PolicyKind::Prediction, &Recipe::new(PolicyKind::Prediction).build(), "{}").unwrap();
    assert!(ShardKeySlots::new(prediction).is_err());
}

#[test]
fn a_damaged_component_never_takes_the_host_down() {
    let engine = PolicyEngine::new(super::calls::limits()).unwrap();
    let good = Recipe::new(PolicyKind::Prediction).build();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as usize
    };
    let mut refused = 0;
    for _ in 0..400 {
        let mut damaged = good.clone();
        for _ in 0..1 + random() % 3 {
            let at = 8 + random() % (damaged.len() - 8);
            damaged[at] ^= 1 << (random() % 8);
        }
        refused += usize::from(engine.load(PolicyKind::Prediction, &damaged, "{}").is_err());
    }
    println!("{refused} of 400 refused");
    assert!(engine.load(PolicyKind::Prediction, &good, "{}").is_ok());
}
