//! What is told of shards, for people and as JSON.

use ostrakon_client::json::to_json;
use ostrakon_client::value::{Map, Value as Structured};
use ostrakon_wire::TimestampMs;
use serde_json::Value;

use crate::failure::Failure;
use crate::moments::second;
use crate::output::{each, say};
use crate::table::{self, Column};

/// What a host has told.
pub(super) type Facts = Map;

/// Everything on one line, or as it is told to people.
pub(super) fn told(facts: &Facts, json: bool, tell: fn(&Value) -> Result<(), Failure>) -> Result<(), Failure> {
    let facts = to_json(&Structured::Map(facts.clone()));
    if json { say(&facts) } else { tell(&facts) }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn percent(ppm: &Value) -> String {
    ppm.as_f64().map_or_else(|| "-".to_owned(), |ppm| format!("{:.1}%", ppm / 10_000.0))
}

fn when(ms: &Value) -> String {
    ms.as_u64().map_or_else(|| "-".to_owned(), |ms| second(TimestampMs::new(ms)))
}

/// A rate that is told in events per thousand seconds.
fn rate(millihz: &Value) -> String {
    match millihz.as_f64().map(|millihz| millihz / 1_000.0) {
        None => "-".to_owned(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

fn named(of: &Value) -> String {
    let first = each(of).next();
    first.map_or_else(|| "-".to_owned(), |hot| format!("{} {}", text(&hot["name"]), percent(&hot["share-ppm"])))
}

pub(super) fn shards(facts: &Value) -> Result<(), Failure> {
    say(&format_args!("epoch {}", facts["epoch"]))?;
    let columns = [
        Column::Right("SHARD"),
        Column::Left("FIRST KEY"),
        Column::Right("OWNER"),
        Column::Right("ROWS"),
        Column::Right("KIB"),
        Column::Right("READS/S"),
        Column::Right("WRITES/S"),
        Column::Right("WORK"),
        Column::Left("HEALTH"),
        Column::Left("MOST USED BY"),
        Column::Left(""),
    ];
    let row = |shard: &Value| {
        let kib = shard["bytes"].as_u64().map_or_else(|| "-".to_owned(), |bytes| (bytes >> 10).to_string());
        let mut notes = Vec::new();
        if shard["migration"].is_number() {
            notes.push(format!("migration {}", shard["migration"]));
        }
        if shard["pinned"] == true {
            notes.push("pinned".to_owned());
        }
        if shard["last-split-why"].is_string() {
            notes.push(format!("split: {}", text(&shard["last-split-why"])));
        }
        [
            text(&shard["shard"]),
            text(&shard["start"]),
            text(&shard["owner"]),
            text(&shard["rows"]),
            kib,
            rate(&shard["read-millihz"]),
            rate(&shard["write-millihz"]),
            percent(&shard["work-ppm"]),
            text(&shard["health"]),
            named(&shard["clients"]),
            notes.join(", "),
        ]
    };
    let rows: Vec<_> = each(&facts["shards"]).map(row).collect();
    table::print(columns, &rows, true)
}

/// What a migration moves, in words.
fn course(of: &Value) -> String {
    match of["kind"].as_str() {
        Some("move") => format!("shard {}: owner {} -> {}", of["shard"], of["from-owner"], of["to-owner"]),
        Some("re-key") => match of["type"].as_str() {
            Some(data_type) => format!("{} {data_type}", text(&of["client"])),
            None => text(&of["client"]),
        },
        _ => format!("shard {} -> {}", of["from"], of["to"]),
    }
}

pub(super) fn migrations(facts: &Value) -> Result<(), Failure> {
    if facts["paused"] == true {
        say(&"all migrations rest until `ostrakon rebalance resume`")?;
    }
    let columns = [
        Column::Right("NO."),
        Column::Left("KIND"),
        Column::Left("WHAT"),
        Column::Left("STATE"),
        Column::Right("DONE"),
        Column::Right("OBJECTS"),
        Column::Right("LEFT"),
        Column::Right("LONGEST STEP"),
        Column::Left("BEGUN"),
        Column::Left("WHY"),
    ];
    let row = |it: &Value| {
        let left = it["left-ms"].as_u64().map_or_else(|| "-".to_owned(), |ms| format!("{} s", ms.div_ceil(1_000)));
        let step = it["step-us-max"].as_f64().map_or_else(|| "-".to_owned(), |us| format!("{:.1} ms", us / 1_000.0));
        [
            text(&it["migration"]),
            text(&it["kind"]),
            course(it),
            text(&it["state"]),
            percent(&it["done-ppm"]),
            text(&it["objects"]),
            left,
            step,
            when(&it["begun-ms"]),
            match it["trouble"].as_str() {
                Some(trouble) => format!("{trouble}; begun since {} ({})", text(&it["why"]), text(&it["by"])),
                None => format!("{} ({})", text(&it["why"]), text(&it["by"])),
            },
        ]
    };
    let rows: Vec<_> = each(&facts["migrations"]).map(row).collect();
    if rows.is_empty() {
        return say(&"nothing has moved yet");
    }
    table::print(columns, &rows, true)
}

/// What came of a change.
pub(super) fn changed(facts: &Value) -> Result<(), Failure> {
    if facts["migration"].is_number() {
        let what = course(facts);
        let (kind, state) = (text(&facts["kind"]), text(&facts["state"]));
        return match facts["kind"].is_string() {
            true => say(&format_args!("migration {}: {kind}, {what}: {state}", facts["migration"])),
            false => say(&format_args!("migration {}: {state}", facts["migration"])),
        };
    }
    self::facts(facts)
}

/// A name and a value a line.
pub(super) fn facts(facts: &Value) -> Result<(), Failure> {
    let mut lines = facts.as_object().into_iter().flatten();
    lines.try_for_each(|(name, value)| say(&format_args!("{name}: {}", text(value))))
}

pub(super) fn decisions(facts: &Value) -> Result<(), Failure> {
    if facts["paused"] == true {
        say(&"the planner is paused: it decides, and nothing of it is done")?;
    }
    let mut none = true;
    for decision in each(&facts["decisions"]) {
        none = false;
        let at = if decision["at-ms"].is_number() { format!("{}  ", when(&decision["at-ms"])) } else { String::new() };
        let became = match decision["became"].as_str() {
            Some(became) => format!(" [{became}]"),
            None => String::new(),
        };
        let score = decision["score"].as_f64().map_or_else(String::new, |score| format!(" (score {score:.3})"));
        say(&format_args!("{at}{}: {}{score}{became}", text(&decision["what"]), text(&decision["why"])))?;
        for other in each(&decision["alternatives"]) {
            say(&format_args!("    rather than {}", text(other)))?;
        }
    }
    if none { say(&"nothing to do") } else { Ok(()) }
}

pub(super) fn heat(facts: &Value) -> Result<(), Failure> {
    let columns = [
        Column::Left("MOST USED"),
        Column::Left(""),
        Column::Right("SHARE"),
        Column::Right("READS/S"),
        Column::Right("WRITES/S"),
        Column::Right("CONFLICTS, TOGETHER/S"),
        Column::Right("CALLERS"),
    ];
    let mut rows = Vec::new();
    for (kind, list) in [("client", "clients"), ("type", "types"), ("object", "objects"), ("together", "together")] {
        rows.extend(each(&facts[list]).map(|hot| {
            [
                kind.to_owned(),
                text(&hot["name"]),
                percent(&hot["share-ppm"]),
                rate(&hot["read-millihz"]),
                rate(&hot["write-millihz"]),
                rate(hot.get("together-millihz").unwrap_or(&hot["conflict-millihz"])),
                text(&hot["callers"]),
            ]
        }));
    }
    if rows.is_empty() {
        return say(&"nothing was used of late");
    }
    table::print(columns, &rows, true)
}
