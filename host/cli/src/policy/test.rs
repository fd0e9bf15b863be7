//! `policy test`: what must hold of a policy, tried on its component.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use ostrakon_kit::check::{Example, Outcome, Plan, Property, Report, Verdict, check};
use ostrakon_kit::fixture::{Difference, Fixture, read_all, readable};
use ostrakon_wire::PolicyKind;
use serde_json::{Map, Value, json};

use super::component::{Component, kind, settings};
use crate::failure::Failure;
use crate::output::{Fields, say};

/// What to test, and how.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TestArgs {
    /// The project's folder, or a component
    #[arg(default_value = ".", value_name = "DIR|FILE.wasm")]
    component: PathBuf,

    /// What the policy decides; by default what its exports say
    #[arg(long, value_parser = kind(), value_name = "KIND")]
    kind: Option<PolicyKind>,

    /// The folder of the fixtures; by default `fixtures` beside the component
    #[arg(long, value_name = "DIR")]
    fixtures: Option<PathBuf>,

    /// Settings to try the properties with, as JSON; fixtures have their own
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Leave a property out; may be given several times
    #[arg(long, value_parser = property(), value_name = "PROPERTY")]
    skip: Vec<Property>,

    /// Take the answers found as those that the fixtures expect
    #[arg(long)]
    record: bool,

    /// What questions are drawn from
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,

    /// How many questions are drawn for determinism
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    inputs: usize,

    /// Answer in JSON: one object on one line
    #[arg(long)]
    pub(crate) json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon policy test
  ostrakon policy test my-keys --skip order
  ostrakon policy test my-keys.wasm --settings wide.json --json
  ostrakon policy test --record

A fixture is a file of calls and the answers expected; for the digits of CBOR, {\"$cbor\": {...}} may
stand:
  {\"settings\": {}, \"calls\": [{\"function\": \"get-shard-key\", \"arguments\": [...], \"answer\": {...}}]}

Properties, on questions drawn from a seed and on those of the fixtures:
  fixtures     the answers are those expected
  answers      no call traps, takes too much memory, or answers what the contract does not allow
  determinism  an instance that has answered all before answers what a fresh one does
  spread       (shard-key) one object of each of 16,384 clients over 16 shards: chi-squared,
               p >= 0.001
  order        (shard-key) inside a client and type, keys follow the time; windows may begin anew,
               at most once in a month
  idempotence  (reconciliation) judged again after its change was made, an action changes no more
  time         no call runs into its deadline: 20 ms; reconciliation 100 ms and 1 more for every
               16 KiB of payloads

Exit code 0: all holds that was looked at. 1: something does not, or a host would refuse the
component.";

/// Of one file, so many answers that differ are shown.
const DIFFERENCES_SHOWN: usize = 5;

fn property() -> impl TypedValueParser<Value = Property> {
    let known = |name: String| Property::from_name(&name).ok_or("no such property");
    PossibleValuesParser::new(Property::ALL.map(Property::name)).try_map(known)
}

pub(crate) fn run(args: &TestArgs) -> Result<(), Failure> {
    let component = Component::read(&args.component)?;
    let kind = component.kind(args.kind)?;
    let settings = settings(args.settings.as_deref())?;
    let plan = Plan {
        settings: &settings,
        fixtures: fixtures(args, &component)?,
        record: args.record,
        skip: args.skip.clone(),
        seed: args.seed,
        inputs: args.inputs,
    };
    let shown = component.file.display();
    let report = check(&component.bytes, kind, plan).map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
    let fields = fields(&report, &component);
    if !args.json {
        print(&report, &component)?;
    }
    let failed = report.outcomes.iter().filter(|outcome| outcome.verdict == Verdict::Fail);
    let failed: Vec<_> = failed.map(|outcome| outcome.property.name()).collect();
    match failed.as_slice() {
        [] if args.json => fields.print(),
        [] => Ok(()),
        [one] => Err(Failure::failed(format!("a property does not hold: {one}")).after(fields.into_map())),
        several => {
            let words = format!("{} properties do not hold: {}", several.len(), several.join(", "));
            Err(Failure::failed(words).after(fields.into_map()))
        }
    }
}

fn fixtures(args: &TestArgs, component: &Component) -> Result<Vec<Fixture>, Failure> {
    if let Some(folder) = args.fixtures.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Failure::usage(format!("no folder {}", folder.display())));
    }
    let folder = args.fixtures.clone().unwrap_or_else(|| component.folder.join("fixtures"));
    read_all(&folder).map_err(|error| Failure::failed(error.to_string()))
}

fn print(report: &Report, component: &Component) -> Result<(), Failure> {
    let Report { name, version, kind, load, .. } = report;
    let (kind, bytes, load) = (kind.name(), component.bytes.len(), load.as_millis());
    say(&format_args!("{name} {version}: a {kind} policy of {bytes} bytes, compiled in {load} ms"))?;
    for outcome in &report.outcomes {
        let Outcome { property, verdict, words, example, .. } = outcome;
        say(&format_args!("{:8} {:12} {words}", verdict.name(), property.name()))?;
        if let Some(Example { call, wrong }) = example {
            say(&format_args!("{:21} e.g. {}", "", readable(call)))?;
            say(&format_args!("{:21} {wrong}", ""))?;
        }
    }
    let (mut shown, mut path) = (0, None);
    for difference in &report.differences {
        shown = if path == Some(&difference.path) { shown + 1 } else { 1 };
        path = Some(&difference.path);
        match shown {
            ..=DIFFERENCES_SHOWN => print_difference(difference)?,
            _ if shown == DIFFERENCES_SHOWN + 1 => say(&format_args!("{}: and more", difference.path.display()))?,
            _ => {}
        }
    }
    Ok(())
}

fn print_difference(difference: &Difference) -> Result<(), Failure> {
    let Difference { path, index, function, arguments, expected, found } = difference;
    say(&format_args!("{}, call {index}: {function}", path.display()))?;
    say(&format_args!("  input     {}", readable(&arguments.iter().cloned().collect())))?;
    match expected {
        Some(expected) => say(&format_args!("  expected  {}", readable(expected)))?,
        None => say(&"  expected  nothing yet; --record writes what was found")?,
    }
    match found {
        Ok(found) => say(&format_args!("  found     {}", readable(found))),
        Err(cause) => say(&format_args!("  found     no answer: {cause}")),
    }
}

fn fields(report: &Report, component: &Component) -> Fields {
    let properties: Map<_, _> =
        report.outcomes.iter().map(|outcome| (outcome.property.name().to_owned(), outcome_json(outcome))).collect();
    Fields::default()
        .set("file", component.file.display().to_string())
        .set("kind", report.kind.name())
        .set("name", report.name.as_str())
        .set("version", report.version.as_str())
        .set("digest", report.digest.as_str())
        .set("bytes", component.bytes.len())
        .set("compile_ms", report.load.as_millis() as u64)
        .set("passed", report.passed())
        .set("properties", properties)
        .set("differences", report.differences.iter().map(difference_json).collect::<Value>())
}

fn outcome_json(outcome: &Outcome) -> Value {
    let mut object = Map::new();
    object.insert("result".into(), outcome.verdict.name().into());
    object.extend(outcome.figures.clone());
    object.insert("message".into(), outcome.words.as_str().into());
    if let Some(Example { call, wrong }) = &outcome.example {
        object.insert("example".into(), json!({ "call": call, "wrong": wrong }));
    }
    Value::Object(object)
}

fn difference_json(difference: &Difference) -> Value {
    let Difference { path, index, function, arguments, expected, found } = difference;
    let mut object = json!({
        "file": path.display().to_string(), "call": index, "function": function, "arguments": arguments,
        "expected": expected,
    });
    match found {
        Ok(found) => object["found"] = found.clone(),
        Err(cause) => object["failed"] = cause.as_str().into(),
    }
    object
}
