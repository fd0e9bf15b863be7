//! What is told of policies, for people and as JSON.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ostrakon_client::json::to_json;
use ostrakon_client::value::{Map, Value as Structured};
use ostrakon_wire::{Stage, TimestampMs};
use serde_json::Value;

use crate::failure::Failure;
use crate::moments::second;
use crate::output::{each, say};
use crate::table::{self, Column};

/// Everything that was told, on one line.
pub(super) fn as_json(facts: &Map) -> Result<(), Failure> {
    say(&json(facts))
}

fn json(facts: &Map) -> Value {
    to_json(&Structured::Map(facts.clone()))
}

/// The progress of a component on its way.
pub(super) fn upload_bar(bytes: u64, json: bool) -> ProgressBar {
    let shown = !json && std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(bytes), target);
    let style = ProgressStyle::with_template("sending {bar:30} {bytes}/{total_bytes}");
    bar.with_style(style.expect("the template is one"))
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn short(digest: &Value) -> String {
    text(digest).chars().take(12).collect()
}

fn slot(of: &Value) -> String {
    let parts = [("client", " client="), ("type", " type=")];
    let named = parts.iter().filter(|(name, _)| of[*name].is_string());
    let named: String = named.map(|(name, words)| format!("{words}{}", text(&of[*name]))).collect();
    format!("{}{named}", text(&of["kind"]))
}

fn percent(ppm: &Value) -> String {
    ppm.as_f64().map_or_else(|| "-".to_owned(), |ppm| format!("{}%", ppm / 10_000.0))
}

fn nanoseconds(ns: &Value) -> String {
    match ns.as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(ns) if ns < 10_000 => format!("{ns} ns"),
        Some(ns) if ns < 10_000_000 => format!("{} us", ns / 1_000),
        Some(ns) => format!("{} ms", ns / 1_000_000),
    }
}

fn candidate(of: &Value) -> String {
    let candidate = &of["candidate"];
    if candidate.is_null() {
        return String::new();
    }
    let share = percent(&candidate["share-ppm"]);
    format!("{} ({} {share})", text(&candidate["generation"]), text(&candidate["stage"]))
}

pub(super) fn list(facts: &Map) -> Result<(), Failure> {
    let facts = json(facts);
    let columns = [
        Column::Left("SLOT"),
        Column::Right("GENERATION"),
        Column::Left("POLICY"),
        Column::Left("DIGEST"),
        Column::Right("CALLS"),
        Column::Right("FAULTS"),
        Column::Left("CANDIDATE"),
    ];
    let rows: Vec<_> = each(&facts["slots"])
        .map(|of| {
            [
                slot(of),
                text(&of["generation"]),
                format!("{} {}", text(&of["name"]), text(&of["version"])),
                short(&of["digest"]),
                text(&of["calls"]),
                text(&of["faults"]),
                candidate(of),
            ]
        })
        .collect();
    table::print(columns, &rows, true)
}

pub(super) fn show(facts: &Map) -> Result<(), Failure> {
    let facts = json(facts);
    generation(&slot(&facts), &facts)?;
    if facts["on-trial"] == true {
        say(&format!("  on trial: generation {} answers where it fails", text(&facts["last-good"])))?;
    }
    if !facts["candidate"].is_null() {
        let candidate = &facts["candidate"];
        generation(&format!("{} {}", text(&candidate["stage"]), percent(&candidate["share-ppm"])), candidate)?;
    }
    say(&"generations that are remembered:")?;
    let columns = [
        Column::Right("NUMBER"),
        Column::Left("POLICY"),
        Column::Left("DIGEST"),
        Column::Left("SINCE"),
        Column::Left("BY"),
    ];
    let rows: Vec<_> = each(&facts["generations"])
        .map(|of| {
            let by = if of["by"].is_null() { text(&of["origin"]) } else { text(&of["by"]) };
            let policy = format!("{} {}", text(&of["name"]), text(&of["version"]));
            [text(&of["generation"]), policy, short(&of["digest"]), when(&of["at-ms"]), by]
        })
        .collect();
    table::print(columns, &rows, true)
}

fn when(ms: &Value) -> String {
    ms.as_u64().map_or_else(String::new, |ms| second(TimestampMs::new(ms)))
}

fn generation(title: &str, of: &Value) -> Result<(), Failure> {
    say(&format!("{title}: generation {}, {} {}", text(&of["generation"]), text(&of["name"]), text(&of["version"])))?;
    say(&format!("  digest    {}", text(&of["digest"])))?;
    say(&format!("  settings  {}", text(&of["settings"]).trim()))?;
    let faults = of["faults-by-kind"].as_object().into_iter().flatten();
    let faults: Vec<_> =
        faults.filter(|(_, count)| **count != 0).map(|(kind, count)| format!("{count} {kind}")).collect();
    let faults = if faults.is_empty() { "none".to_owned() } else { faults.join(", ") };
    say(&format!("  calls     {}, faults: {faults}, checked for purity: {}", of["calls"], of["purity-checks"]))?;
    say(&format!("  latency   {}", latency(&of["latency"])))?;
    say(&format!("  memory    {} KiB in kept instances", of["memory-bytes"].as_u64().unwrap_or(0) >> 10))
}

fn latency(of: &Value) -> String {
    let [p50, p99, p999, max] = ["p50-ns", "p99-ns", "p999-ns", "max-ns"].map(|point| nanoseconds(&of[point]));
    format!("p50 {p50}, p99 {p99}, p99.9 {p999}, max {max} ({} timed)", of["timed"])
}

pub(super) fn pushed(facts: &Map, stage: Stage) -> Result<(), Failure> {
    let facts = json(facts);
    let of = if stage == Stage::Serve { &facts } else { &facts["candidate"] };
    let what = match stage {
        Stage::Serve => "decides".to_owned(),
        Stage::Shadow(_) => format!("is asked beside the requests ({})", percent(&of["share-ppm"])),
        Stage::Canary(_) => format!("decides for {} of the clients", percent(&of["share-ppm"])),
    };
    let policy = format!("{} {}", text(&of["name"]), text(&of["version"]));
    say(&format!("{}: generation {} ({policy}, {}) {what}", slot(&facts), of["generation"], short(&of["digest"])))
}

pub(super) fn history(facts: &Map) -> Result<(), Failure> {
    let facts = json(facts);
    for of in each(&facts["events"]) {
        let generation = if of["generation"].is_null() { String::new() } else { format!(" {}", of["generation"]) };
        let to = if of["to"].is_null() { String::new() } else { format!(", {} decides", of["to"]) };
        let by = if of["by"].is_null() { String::new() } else { format!(" by {}", text(&of["by"])) };
        let why = if of["why"].is_null() { String::new() } else { format!(": {}", text(&of["why"])) };
        let digest = if of["digest"].is_null() { String::new() } else { format!(" ({})", short(&of["digest"])) };
        let event = text(&of["event"]);
        say(&format!("{}  {}  {event}{generation}{digest}{by}{to}{why}", when(&of["at-ms"]), slot(of)))?;
    }
    Ok(())
}

pub(super) fn diff(facts: &Map) -> Result<(), Failure> {
    let facts = json(facts);
    let [active, candidate] = ["active", "candidate"].map(|of| text(&facts[of]));
    say(&format!("{}: generation {active} decides, {candidate} is asked beside it", slot(&facts)))?;
    say(&format!("  {}; {} not looked at for want of time", differing(&facts), facts["dropped"]))?;
    if facts["ended"] == true {
        say(&"  the candidate failed too often, and is asked no more")?;
    }
    ways(&facts)?;
    for of in ["active", "candidate"] {
        let faults = &facts["faults"][of];
        say(&format!("  {of:<9}  {}, faults: {faults}", latency(&facts["latency"][of])))?;
    }
    moves(&facts)?;
    for of in ["active", "candidate"].into_iter().filter(|_| !facts["scoreboards"].is_null()) {
        let board = &facts["scoreboards"][of];
        let [right, precision, recall] =
            ["versions-right-ppm", "precision-ppm", "recall-ppm"].map(|name| percent(&board[name]));
        let forecasts = &board["forecasts"];
        say(&format!(
            "  {of:<9}  {forecasts} forecasts: versions right {right}, precision {precision}, recall {recall}"
        ))?;
    }
    examples(&facts)
}

pub(super) fn replayed(facts: &Map) -> Result<(), Failure> {
    let facts = json(facts);
    let [ms, per_s] = ["ms", "decisions-per-s"].map(|of| &facts[of]);
    say(&format!("{}: {} in {ms} ms ({per_s}/s)", text(&facts["kind"]), differing(&facts)))?;
    ways(&facts)?;
    say(&format!("  faults: {}, impure: {}", facts["faults"]["candidate"], facts["impure"]))?;
    say(&format!("  answers: {} (the same on every machine)", text(&facts["answers"])))?;
    moves(&facts)?;
    examples(&facts)
}

/// How many of the decisions differ.
fn differing(facts: &Value) -> String {
    let [compared, differ] = ["compared", "differ"].map(|of| facts[of].as_u64().unwrap_or(0));
    let share =
        if compared == 0 { String::new() } else { format!(" ({:.2}%)", differ as f64 * 100.0 / compared as f64) };
    format!("{compared} decisions compared, {differ} differ{share}")
}

fn ways(facts: &Value) -> Result<(), Failure> {
    let mut ways = facts["ways"].as_object().into_iter().flatten();
    ways.try_for_each(|(way, count)| say(&format!("    {count:>8}  {way}")))
}

fn examples(facts: &Value) -> Result<(), Failure> {
    for example in each(&facts["examples"]) {
        say(&format!("  e.g. {}: {}", text(&example["function"]), text(&example["question"])))?;
        say(&format!("       {} -> {}", text(&example["active"]), text(&example["candidate"])))?;
    }
    Ok(())
}

/// What a shard-key candidate would move.
fn moves(facts: &Value) -> Result<(), Failure> {
    for (of, words) in [("objects", "objects"), ("traffic", "uses of objects"), ("placements", "new objects")] {
        let part = &facts[of];
        if !part.is_null() {
            let share = percent(&part["elsewhere-ppm"]);
            say(&format!("  {share:>8} of {} {words} would live on another shard", part["seen"]))?;
        }
    }
    let rows: Vec<_> = each(&facts["shards"]).map(|of| ["shard", "now", "then"].map(|name| text(&of[name]))).collect();
    table::print([Column::Right("SHARD"), Column::Right("LOAD NOW"), Column::Right("LOAD THEN")], &rows, true)
}
