//! Scenario `policy-call`: what one decision costs, through the shipped component and as the same function called natively;
//! and what a call of one instance costs, kept or fresh, in Rust and in JavaScript.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context as _;
use ostrakon_core::policy::{PredictionPolicy, ReconciliationPolicy, ShardKeyPolicy};
use ostrakon_policy::{Limits, Loaded, PolicyEngine, shipped};
use ostrakon_policy_sdk::{prediction, reconciliation, shard_key};
use ostrakon_wire::{ObjectId, PolicyKind};
use serde_json::{Map, Value};

use crate::policy_inputs::{self as inputs, Patches};
use crate::report::Report;
use crate::rounds::{alternate, median};
use crate::{Options, javascript};

/// One thing that is timed: its name, and a function that makes `calls` calls.
struct Case<'a> {
    field: &'static str,
    calls: u64,
    run: Box<dyn Fn(u64) -> anyhow::Result<()> + 'a>,
}

const HOT_CALLS: u64 = 200_000;
const FRESH_CALLS: u64 = 5_000;

/// Times every call, alternating, and answers medians: nanoseconds for the hot kinds, microseconds for reconciliation.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let engine = PolicyEngine::new(Limits::default())?;
    let load = |kind| engine.load(kind, shipped(kind).bytes, "{}");
    let shard_keys = load(PolicyKind::ShardKey)?.into_shard_key()?;
    let predictions = load(PolicyKind::Prediction)?.into_prediction()?;
    let reconciliations = load(PolicyKind::Reconciliation)?.into_reconciliation()?;
    let native = Native::configured()?;
    let (patches, object) = (Patches::new(), inputs::object());
    let cases = [
        Case { field: "shard_key_ns", calls: HOT_CALLS, run: Box::new(|at| place(&*shard_keys, at)) },
        Case { field: "native_shard_key_ns", calls: HOT_CALLS, run: Box::new(|at| native.place(at)) },
        Case { field: "predict_ns", calls: HOT_CALLS, run: Box::new(|at| predict(&*predictions, &object, at)) },
        Case { field: "native_predict_ns", calls: HOT_CALLS, run: Box::new(|at| native.predict(at)) },
        Case { field: "reconcile_us", calls: FRESH_CALLS, run: Box::new(|_| reconcile(&*reconciliations, &patches)) },
        Case { field: "native_reconcile_us", calls: FRESH_CALLS, run: Box::new(|_| native.reconcile(&patches)) },
    ];
    let rounds = alternate(&cases, options.rounds, time)?;
    let mut summary = Map::new();
    for (case, picoseconds) in cases.iter().zip(&rounds) {
        let ns = median(picoseconds, |ps| *ps) as f64 / 1e3;
        let figure = if case.field.ends_with("_us") { (ns / 10.0).round() / 100.0 } else { ns.round() };
        summary.insert(case.field.into(), figure.into());
    }
    let sum = ["shard_key_ns", "predict_ns"].iter().filter_map(|field| summary.get(*field)?.as_f64()).sum::<f64>();
    summary.insert("shard_key_and_predict_ns".into(), sum.into());
    let rows = PolicyKind::ALL.map(|kind| ("Rust", kind, load(kind)));
    let rows = rows.into_iter().map(|(language, kind, loaded)| Ok((language, kind, loaded?)));
    let mut rows: Vec<_> = rows.collect::<anyhow::Result<_>>()?;
    match javascript::component() {
        Ok(component) => rows.push(("JavaScript", PolicyKind::ShardKey, javascript::load(&engine, &component)?)),
        Err(why) => eprintln!("no JavaScript policy is measured: {why:#}"),
    }
    let rows =
        rows.iter().map(|(language, kind, loaded)| instance_row(language, *kind, loaded, &patches, options.rounds));
    Ok(Report {
        rows: rows.collect::<anyhow::Result<_>>()?,
        columns: &["kind", "language", "reused_ns", "fresh_ns"],
        summary,
    })
}

/// A call of one instance: kept from call to call, and made for each.
fn instance_row(
    language: &str,
    kind: PolicyKind,
    loaded: &Loaded,
    patches: &Patches,
    rounds: u16,
) -> anyhow::Result<Map<String, Value>> {
    let solo = std::cell::RefCell::new(loaded.solo()?);
    let question = inputs::question(kind, patches, 0);
    let cases = [
        Case {
            field: "reused_ns",
            calls: FRESH_CALLS,
            run: Box::new(|_| {
                black_box(solo.borrow_mut().ask(black_box(&question))?);
                Ok(())
            }),
        },
        Case {
            field: "fresh_ns",
            calls: FRESH_CALLS / 5,
            run: Box::new(|_| {
                black_box(solo.borrow().ask_fresh(black_box(&question))?);
                Ok(())
            }),
        },
    ];
    let measured = alternate(&cases, rounds, time)?;
    let mut row =
        Map::from_iter([("kind".to_owned(), Value::from(kind.name())), ("language".to_owned(), Value::from(language))]);
    for (case, picoseconds) in cases.iter().zip(&measured) {
        row.insert(case.field.into(), (median(picoseconds, |ps| *ps) / 1_000).into());
    }
    Ok(row)
}

/// Picoseconds a call.
fn time(case: &Case<'_>) -> anyhow::Result<u64> {
    for at in 0..case.calls / 10 {
        (case.run)(at)?;
    }
    let started = Instant::now();
    for at in 0..case.calls {
        (case.run)(at)?;
    }
    Ok((started.elapsed().as_nanos() * 1000 / u128::from(case.calls)) as u64)
}

fn place(policy: &dyn ShardKeyPolicy, at: u64) -> anyhow::Result<()> {
    black_box(policy.place(black_box(&inputs::placing(at))).result?);
    Ok(())
}

fn predict(policy: &dyn PredictionPolicy, object: &ObjectId, at: u64) -> anyhow::Result<()> {
    black_box(policy.predict(object, black_box(&inputs::outlook(at))).result?);
    Ok(())
}

fn reconcile(policy: &dyn ReconciliationPolicy, patches: &Patches) -> anyhow::Result<()> {
    black_box(policy.judge(black_box(&inputs::case(patches))).decision.result?);
    Ok(())
}

/// The shipped policies as Rust values.
struct Native {
    shard_key: weighted_shard_key::WeightedShardKey,
    prediction: frequency_prediction::FrequencyPrediction,
    reconciliation: three_way_reconciliation::ThreeWayReconciliation,
}

impl Native {
    fn configured() -> anyhow::Result<Self> {
        let refused = "a shipped policy takes no settings too";
        Ok(Self {
            shard_key: shard_key::Policy::configure("{}", &[]).ok().context(refused)?,
            prediction: prediction::Policy::configure("{}", &[]).ok().context(refused)?,
            reconciliation: reconciliation::Policy::configure("{}", &[]).ok().context(refused)?,
        })
    }

    fn place(&self, at: u64) -> anyhow::Result<()> {
        black_box(shard_key::Policy::place(&self.shard_key, black_box(&inputs::native_placing(at))));
        Ok(())
    }

    fn predict(&self, at: u64) -> anyhow::Result<()> {
        black_box(prediction::Policy::predict(&self.prediction, black_box(&inputs::native_outlook(at))));
        Ok(())
    }

    fn reconcile(&self, patches: &Patches) -> anyhow::Result<()> {
        let (policy, brief) = (&self.reconciliation, inputs::native_brief());
        black_box(reconciliation::Policy::judge(policy, black_box(&brief), &patches.ours, Some(&patches.theirs)));
        Ok(())
    }
}
