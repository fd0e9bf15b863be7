//! `policy bench`: what a call of a policy costs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use ostrakon_kit::bench::{Cost, bench};
use ostrakon_wire::PolicyKind;
use serde_json::{Value, json};

use super::component::{Component, kind, settings};
use crate::failure::Failure;
use crate::output::{Fields, say};
use crate::table::{Column, print};

/// What to measure.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct BenchArgs {
    /// The project's folder, or a component
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    component: PathBuf,

    /// What the policy decides; by default what its exports say
    #[arg(long, value_parser = kind(), value_name = "KIND")]
    kind: Option<PolicyKind>,

    /// Settings to measure with, as JSON
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// How long to measure each row, in milliseconds
    #[arg(long, default_value_t = 1_000, value_name = "MS")]
    each_ms: u64,

    /// Answer in JSON: one object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon policy bench
  ostrakon policy bench my-keys.wasm --each-ms 5000
  ostrakon policy bench my-keys --json

Each function of the policy is called on one thread, in the host's engine, with questions drawn from
a seed: on an instance that is reused, as a host calls it, and on a fresh one each time, as it calls
`reconcile` on more than 16 KiB of payloads. Compare figures of the same machine only.";

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let component = Component::read(&args.component)?;
    let (kind, settings) = (component.kind(args.kind)?, settings(args.settings.as_deref())?);
    let shown = component.file.display();
    let costs = bench(&component.bytes, kind, &settings, Duration::from_millis(args.each_ms))
        .map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
    let (bytes, load_ms) = (component.bytes.len(), costs.load.as_secs_f64() * 1e3);
    if args.json {
        return Fields::default()
            .set("file", shown.to_string())
            .set("kind", kind.name())
            .set("name", costs.name)
            .set("version", costs.version)
            .set("digest", costs.digest)
            .set("bytes", bytes)
            .set("compile_ms", load_ms)
            .set("functions", costs.functions.iter().map(cost_json).collect::<Value>())
            .print();
    }
    let (name, version, kind) = (costs.name, costs.version, kind.name());
    say(&format_args!("{name} {version}: a {kind} policy of {bytes} bytes, compiled in {load_ms:.0} ms"))?;
    let rows: Vec<_> = costs.functions.iter().map(row).collect();
    let columns = [
        Column::Left("function"),
        Column::Left("instance"),
        Column::Right("p50 ns"),
        Column::Right("p99 ns"),
        Column::Right("calls/s"),
        Column::Right("faults"),
    ];
    print(columns, &rows, true)
}

fn instance(cost: &Cost) -> &'static str {
    if cost.fresh { "fresh" } else { "reused" }
}

fn row(cost: &Cost) -> [String; 6] {
    let per_second = format!("{:.0}", cost.calls_per_second);
    let [p50, p99, faults] = [cost.p50_ns, cost.p99_ns, cost.faults].map(|number| number.to_string());
    [cost.function.into(), instance(cost).into(), p50, p99, per_second, faults]
}

fn cost_json(cost: &Cost) -> Value {
    json!({
        "function": cost.function, "instance": instance(cost), "calls": cost.calls, "faults": cost.faults, "p50_ns": cost.p50_ns,
        "p99_ns": cost.p99_ns, "calls_per_second": cost.calls_per_second.round(),
    })
}
