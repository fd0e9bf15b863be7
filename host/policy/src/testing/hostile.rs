//! Every way known to us in which a component can be wrong.

use ostrakon_wire::PolicyKind;

use super::recipe::Recipe;
use super::snippets::{self, EAT, FOREVER, RECURSE, TRAP};

/// When a hostile component shows what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// It is refused at load.
    Load,
    /// It loads, and a call of the data type "hostile" (a prediction: of the known version 7) is a fault.
    Call,
    /// It loads, and a sampled call is found impure.
    Sample,
}

/// A component that must do no harm.
#[derive(Debug, Clone)]
pub struct Hostile {
    /// What is wrong with it, in kebab case.
    pub name: &'static str,
    /// The slot it is made for.
    pub kind: PolicyKind,
    /// When it shows.
    pub when: When,
    /// The component.
    pub bytes: Vec<u8>,
}

/// All of them. What can be wrong with any kind of policy is there for each, under the same name.
pub fn hostile() -> Vec<Hostile> {
    let mut all = misshapen();
    for kind in PolicyKind::ALL {
        all.extend(wrong_worlds(kind));
        all.extend(bad_starts(kind));
    }
    all.extend(bad_shard_keys());
    all.extend(bad_forecasts());
    all.extend(bad_verdicts());
    all
}

fn shard_key() -> Recipe {
    Recipe::new(PolicyKind::ShardKey)
}

fn prediction() -> Recipe {
    Recipe::new(PolicyKind::Prediction)
}

fn reconciliation() -> Recipe {
    Recipe::new(PolicyKind::Reconciliation)
}

fn of(kind: PolicyKind, when: When, name: &'static str, bytes: Vec<u8>) -> Hostile {
    Hostile { name, kind, when, bytes }
}

fn misshapen() -> Vec<Hostile> {
    let good = shard_key().build();
    let mut flipped = good.clone();
    let middle = flipped.len() / 2;
    flipped[middle..middle + 16].fill(0xff);
    let load = |name, bytes| of(PolicyKind::ShardKey, When::Load, name, bytes);
    vec![
        load("empty", Vec::new()),
        load("not-wasm", b"#!/bin/sh\necho a policy\n".to_vec()),
        load("wasm-text", b"(component)".to_vec()),
        load("core-module", shard_key().core_module()),
        load("cut-off", good[..good.len() / 2].to_vec()),
        load("damaged", flipped),
        load("too-large", [good, vec![0; 33 << 20]].concat()),
        load("two-memories", shard_key().fields("(memory 1)").build()),
    ]
}

fn wrong_worlds(kind: PolicyKind) -> Vec<Hostile> {
    let own = kind.name();
    let good = || Recipe::new(kind);
    let load = |name, recipe: Recipe| of(kind, When::Load, name, recipe.build());
    // The function that decides, the next kind, and a type that the contract has and one that it has not.
    let (deciding, another, type_of, other_type) = match kind {
        PolicyKind::ShardKey => {
            ("get-shard-key: func", PolicyKind::Prediction, "key: u64, bits: u8", "key: u64, bits: u16")
        }
        PolicyKind::Prediction => {
            ("predict: func", PolicyKind::Reconciliation, "confidence-ppm: u32, route", "confidence-ppm: s32, route")
        }
        PolicyKind::Reconciliation => {
            ("judge: func", PolicyKind::ShardKey, "retry-after-ms(u32)", "retry-after-ms(s32)")
        }
    };
    let function = |name: &str, shape: &str| format!("(func (export \"ostrakon:policy/{own}@0.1.0#{name}\") {shape})");
    vec![
        load(
            "imports",
            good()
                .world(&format!("import now: func() -> u64; export {own};"))
                .imports("(import \"$root\" \"now\" (func (result i64)))"),
        ),
        of(kind, When::Load, "no-exports", wat::parse_str("(component)").expect("an empty component")),
        load(
            "missing-function",
            good()
                .wit("  configure: func", "  reconfigure: func")
                .fields(&function("reconfigure", "(param i32 i32 i32 i32) (result i32) (i32.const 0)")),
        ),
        load(
            "extra-function",
            good().wit(deciding, &format!("extra: func();\n  {deciding}")).fields(&function("extra", "")),
        ),
        load(
            "extra-export",
            good().world(&format!("export {own}; export hello: func();")).fields("(func (export \"hello\"))"),
        ),
        load("another-world", Recipe::new(another)),
        load("newer-contract", good().version("0.2.0")),
        load("older-contract", good().version("0.0.9")),
        load("wrong-type", good().wit(type_of, other_type)),
    ]
}

fn bad_starts(kind: PolicyKind) -> Vec<Hostile> {
    let good = || Recipe::new(kind);
    let load = |name, recipe: Recipe| of(kind, When::Load, name, recipe.build());
    let describe = |name, body: String| load(name, good().describe(body));
    let configure = |name, body: String| load(name, good().configure(body));
    let start = |name, body| load(name, good().fields(&format!("(func $start {body}) (start $start)")));
    let about = snippets::about((16, 11), (32, 5));
    let accept = snippets::accept();
    let nonsense = match kind {
        PolicyKind::ShardKey => snippets::placement(0, 53),
        PolicyKind::Prediction => snippets::forecast(1_000_001, 0),
        PolicyKind::Reconciliation => snippets::verdict(9, [0; 4]),
    };
    vec![
        start("start-traps", TRAP),
        start("start-loops", FOREVER),
        load("much-memory", good().pages(2048)),
        describe("describe-traps", TRAP.into()),
        describe("describe-loops", format!("{FOREVER} {about}")),
        describe("describe-recurses", format!("{RECURSE} {about}")),
        describe("describe-eats-memory", format!("{EAT} {about}")),
        describe("describe-says-nothing", snippets::about((16, 0), (32, 5))),
        describe("describe-says-too-much", snippets::about((16, 129), (32, 5))),
        describe("describe-says-a-flood", {
            format!("(drop (memory.grow (i32.const 100))) {}", snippets::about((16, 6 << 20), (32, 5)))
        }),
        describe("describe-rings-a-bell", snippets::about((12304, 5), (32, 5))),
        describe("describe-is-not-text", snippets::about((12288, 3), (32, 5))),
        describe("describe-points-outside", snippets::about((u32::MAX - 8, 11), (32, 5))),
        describe("describe-answers-outside", "(i32.const -16)".into()),
        configure("configure-traps", TRAP.into()),
        configure("configure-loops", format!("{FOREVER} {accept}")),
        configure("configure-recurses", format!("{RECURSE} {accept}")),
        configure("configure-eats-memory", format!("{EAT} {accept}")),
        configure("configure-refuses", snippets::refuse(None)),
        configure("configure-refuses-at-length", snippets::refuse(Some(8_000))),
        configure("configure-answers-nonsense", {
            "(i32.store8 (i32.const 1088) (i32.const 7)) (i32.const 1088)".into()
        }),
        load("always-traps", good().decide(TRAP)),
        load("always-loops", good().decide(format!("{FOREVER} (i32.const 1152)"))),
        load("always-answers-nonsense", good().decide(nonsense)),
    ]
}

fn bad_shard_keys() -> Vec<Hostile> {
    let call = |name, body: String| of(PolicyKind::ShardKey, When::Call, name, shard_key().triggered(body).build());
    vec![
        call("call-traps", TRAP.into()),
        call("call-loops", FOREVER.into()),
        call("call-recurses", RECURSE.into()),
        call("call-eats-memory", EAT.into()),
        call("call-too-many-bits", format!("(return {})", folded(&snippets::placement(0, 64)))),
        call("call-answers-outside", "(return (i32.const -16))".into()),
        call("call-answers-askew", "(return (i32.const 1153))".into()),
        of(
            PolicyKind::ShardKey,
            When::Sample,
            "counts-its-calls",
            shard_key().decide(snippets::counting_placement()).build(),
        ),
    ]
}

fn bad_forecasts() -> Vec<Hostile> {
    let call = |name, body: String| of(PolicyKind::Prediction, When::Call, name, prediction().triggered(body).build());
    vec![
        call("forecast-traps", TRAP.into()),
        call("forecast-loops", FOREVER.into()),
        call("forecast-too-sure", format!("(return {})", folded(&snippets::forecast(2_000_000, 0)))),
        call("forecast-of-no-route", format!("(return {})", folded(&snippets::forecast(1, 9)))),
    ]
}

fn bad_verdicts() -> Vec<Hostile> {
    let call =
        |name, body: String| of(PolicyKind::Reconciliation, When::Call, name, reconciliation().triggered(body).build());
    let verdict = |name, case, words| call(name, format!("(return {})", folded(&snippets::verdict(case, words))));
    let large = |name, case, words| {
        let grow = "(drop (memory.grow (i32.const 200)))";
        call(name, format!("{grow} (return {})", folded(&snippets::verdict(case, words))))
    };
    vec![
        call("verdict-traps", TRAP.into()),
        call("verdict-loops", FOREVER.into()),
        call("verdict-recurses", RECURSE.into()),
        call("verdict-eats-memory", EAT.into()),
        verdict("verdict-of-no-case", 200, [0; 4]),
        verdict("verdict-is-not-text", 6, [12288, 3, 0, 0]),
        verdict("verdict-points-outside", 4, [u32::MAX - 8, 16, 0, 0]),
        verdict("verdict-talks-at-length", 8, [20_000, 4_097, 0, 0]),
        verdict("verdict-waits-for-ever", 7, [60_001, 0, 0, 0]),
        large("verdict-replies-too-much", 5, [0, (1 << 20) + 1, 0, 0]),
        large("verdict-writes-too-much", 3, [0, (1 << 20) + 1, 0, 0]),
        large("verdict-is-a-flood", 2, [0, 10 << 20, 0, 10 << 20]),
    ]
}

/// Several expressions as one: what the last one leaves.
fn folded(body: &str) -> String {
    format!("(block (result i32) {body})")
}
