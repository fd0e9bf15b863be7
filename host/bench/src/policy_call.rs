//! Scenario `policy-call`: what one decision costs, through the shipped component and as the same function called natively.

use std::hint::black_box;
use std::time::Instant;

use anyhow::Context as _;
use ostrakon_core::policy::{PredictionPolicy as _, ReconciliationPolicy as _, ShardKeyPolicy as _};
use ostrakon_policy::{Limits, PolicyEngine, PredictionSlot, ReconciliationSlot, ShardKeySlot, shipped};
use ostrakon_policy_sdk::{prediction, reconciliation, shard_key};
use ostrakon_wire::PolicyKind;
use serde_json::{Map, Value};

use crate::Options;
use crate::policy_inputs::{self as inputs, Patches};
use crate::report::Report;
use crate::rounds::{alternate, median};

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
    let shard_keys = ShardKeySlot::new(load(PolicyKind::ShardKey)?)?;
    let predictions = PredictionSlot::new(load(PolicyKind::Prediction)?)?;
    let reconciliations = ReconciliationSlot::new(load(PolicyKind::Reconciliation)?)?;
    let native = Native::configured()?;
    let patches = Patches::new();
    let cases = [
        Case { field: "shard_key_ns", calls: HOT_CALLS, run: Box::new(|at| place(&shard_keys, at)) },
        Case { field: "native_shard_key_ns", calls: HOT_CALLS, run: Box::new(|at| native.place(at)) },
        Case { field: "predict_ns", calls: HOT_CALLS, run: Box::new(|at| predict(&predictions, at)) },
        Case { field: "native_predict_ns", calls: HOT_CALLS, run: Box::new(|at| native.predict(at)) },
        Case { field: "reconcile_us", calls: FRESH_CALLS, run: Box::new(|_| reconcile(&reconciliations, &patches)) },
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
    let rows = ["shard_key_ns", "predict_ns", "reconcile_us"].map(|field| {
        let figure = |name: &str| summary.get(name).cloned().unwrap_or_default();
        Map::from_iter([
            ("call".to_owned(), Value::from(field)),
            ("component".to_owned(), figure(field)),
            ("native".to_owned(), figure(&format!("native_{field}"))),
        ])
    });
    Ok(Report { rows: rows.to_vec(), columns: &["call", "component", "native"], summary })
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

fn place(slot: &ShardKeySlot, at: u64) -> anyhow::Result<()> {
    black_box(slot.place(black_box(&inputs::placing(at))).result?);
    Ok(())
}

fn predict(slot: &PredictionSlot, at: u64) -> anyhow::Result<()> {
    black_box(slot.predict(black_box(&inputs::outlook(at))).result?);
    Ok(())
}

fn reconcile(slot: &ReconciliationSlot, patches: &Patches) -> anyhow::Result<()> {
    black_box(slot.judge(black_box(&inputs::brief()), &patches.ours, Some(&patches.theirs)).result?);
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
