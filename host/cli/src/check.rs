//! `check`: whether what a folder holds agrees with itself, while no host runs on it.

use std::path::PathBuf;

use clap::Args;
use ostrakon_store::{CheckReport, check};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Fields, say};

/// Which folder to check.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CheckArgs {
    /// The data folder of a host that does not run
    #[arg(long, env = "OSTRAKON_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,

    /// Answer in JSON: one object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon check --data-dir /var/lib/ostrakon
  ostrakon check --data-dir /var/lib/ostrakon --json

Reads every object, version and log record, and holds them against each other: every object has its versions, without a
gap, in the shard of its key; every change in the log is a version, with the same action id; every version that the log
reaches back to is a change in it; nothing stands twice. Run it after a crash, after restoring a copy, or before keeping one.

Stop the host first: a folder in use is refused. Nothing is repaired. The store replays its journal, as at every start.

`short_histories` counts objects with fewer old versions than history keeps now. That is no finding: they were written
under a smaller --history. `left_rows` counts what shards have given to others and not removed yet; no finding either.

Exit code 0: all agrees. 1: there are findings, or the folder cannot be read.";

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let report = check(&args.data_dir).map_err(|error| Failure::failed(error.to_string()))?;
    let findings = report.findings_total;
    if args.json && findings == 0 {
        return fields(&report).print();
    }
    if !args.json {
        print(&report)?;
    }
    match findings {
        0 => Ok(()),
        1 => Err(Failure::failed("there is 1 finding").after(fields(&report).into_map())),
        more => Err(Failure::failed(format!("there are {more} findings")).after(fields(&report).into_map())),
    }
}

fn fields(report: &CheckReport) -> Fields {
    let findings = report.findings.iter();
    let findings: Value = findings.map(|found| json!({ "kind": found.kind(), "message": found.to_string() })).collect();
    let counts = counts(report).into_iter().fold(Fields::default(), |fields, (name, count)| fields.set(name, count));
    counts.set("findings_total", report.findings_total).set("findings", findings)
}

fn counts(report: &CheckReport) -> [(&'static str, u64); 7] {
    [
        ("objects", report.objects),
        ("rows", report.rows),
        ("left_rows", report.left_rows),
        ("log_records", report.log_records),
        ("changes", report.changes),
        ("action_ids", report.action_ids),
        ("short_histories", report.short_histories),
    ]
}

fn print(report: &CheckReport) -> Result<(), Failure> {
    for (name, count) in counts(report) {
        say(&format_args!("{}: {count}", name.replace('_', " ")))?;
    }
    for finding in &report.findings {
        say(&format_args!("{}: {finding}", finding.kind()))?;
    }
    match report.findings_total - report.findings.len() as u64 {
        0 => Ok(()),
        more => say(&format_args!("and {more} more")),
    }
}
