//! Scenario `shadow`: what it costs requests that candidates are asked beside them, for all decisions.
//!
//! A host that has as much to do as it can, without a shadow and with one, in turn: of shard keys, of predictions.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ostrakon_client::{PolicyChange, PolicyKind, Stage};
use ostrakon_policy::shipped;
use serde_json::{Map, Value};

use super::load::{self, Latest, Pace};
use super::pusher::{Pusher, another, slot};
use crate::Options;
use crate::host::{self, Host};
use crate::load::Window;
use crate::report::{Report, rounded};
use crate::rounds::median;

const PATIENCE: Duration = Duration::from_secs(900);
const ALL: u32 = 1_000_000;
/// Nothing, and each kind that is asked in a request's way.
const CASES: [Option<PolicyKind>; 3] = [None, Some(PolicyKind::ShardKey), Some(PolicyKind::Prediction)];

struct Outcome {
    per_s: u64,
    p99_us: u64,
    compared: u64,
    dropped: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let outcomes = host::measured(&[], PATIENCE, async |host| measure(host, options).await)?;
    Ok(report(&outcomes))
}

async fn measure(host: &Host, options: &Options) -> anyhow::Result<[Vec<Outcome>; 3]> {
    let pusher = Pusher::to(&host.file).await?;
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    for round in 0..u64::from(options.rounds) {
        for (at, kind) in CASES.into_iter().enumerate() {
            if let Some(kind) = kind {
                let candidate = pusher.upload(&another(shipped(kind).bytes, 1)).await?;
                pusher.push(&slot(kind), candidate, "{}", Stage::Shadow(ALL)).await?;
            }
            let window = Window::after_warm_up(options.seconds);
            let (go_on, latest) = (Arc::new(AtomicBool::new(false)), Arc::<Latest>::default());
            let run = round * 3 + at as u64;
            let came = load::drive(&host.file, run, Pace::Saturate, window, go_on, latest).await?;
            anyhow::ensure!(came.failed == 0, "requests failed");
            let (mut compared, mut dropped) = (0, 0);
            if let Some(kind) = kind {
                let diff = pusher.diff(&slot(kind)).await?;
                compared = diff["compared"].as_u64().unwrap_or_default();
                dropped = diff["dropped"].as_u64().unwrap_or_default();
                pusher.change(&slot(kind), PolicyChange::RollBack).await?;
            }
            let figures = came.tally.figures();
            let outcome = Outcome { per_s: figures.committed_per_s, p99_us: figures.p99_us, compared, dropped };
            outcomes[at].push(outcome);
        }
    }
    Ok(outcomes)
}

fn report(outcomes: &[Vec<Outcome>; 3]) -> Report {
    let per_s = |at: usize| median(&outcomes[at], |outcome| outcome.per_s);
    let ratio = |at: usize| per_s(at) as f64 / per_s(0).max(1) as f64;
    let row = |(at, kind): (usize, Option<PolicyKind>)| {
        let rounds = &outcomes[at];
        Map::from_iter([
            ("shadow".to_owned(), Value::from(kind.map_or("nothing", PolicyKind::name))),
            ("per_s".to_owned(), per_s(at).into()),
            ("ratio".to_owned(), rounded(ratio(at))),
            ("p99_us".to_owned(), median(rounds, |outcome| outcome.p99_us).into()),
            ("compared".to_owned(), median(rounds, |outcome| outcome.compared).into()),
            ("dropped".to_owned(), median(rounds, |outcome| outcome.dropped).into()),
        ])
    };
    let summary = Map::from_iter([
        ("throughput_ratio".to_owned(), rounded(ratio(1).min(ratio(2)))),
        ("throughput_ratio_shard_key".to_owned(), rounded(ratio(1))),
        ("throughput_ratio_prediction".to_owned(), rounded(ratio(2))),
    ]);
    Report {
        summary,
        columns: &["shadow", "per_s", "ratio", "p99_us", "compared", "dropped"],
        rows: CASES.into_iter().enumerate().map(row).collect(),
    }
}
