//! `info`, `shard-map`: what the host is, has done, and how it is cut.

use clap::Args;
use ostrakon_client::json::to_json;
use ostrakon_client::value::Value as Structured;
use serde_json::{Value, json};

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, say};

/// Which host to ask.
#[derive(Debug, Clone, Args)]
pub(crate) struct AboutArgs {
    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

/// What to tell of a host.
#[derive(Debug, Clone, Args)]
pub(crate) struct InfoArgs {
    /// What forecasts were worth alone: for each generation its early aborts, how sure and how right they were, beside two rules
    #[arg(long)]
    predictions: bool,

    #[command(flatten)]
    pub(crate) about: AboutArgs,
}

pub(crate) const INFO_HELP: &str = "\
Examples:
  ostrakon info
  ostrakon info --json
  ostrakon info --predictions

Counts are since the host started: requests, commits, forecasts that were right or wrong, loaded policies.";

pub(crate) const SHARD_MAP_HELP: &str = "\
Example:
  ostrakon shard-map

A shard is a range of shard keys; an object lives where its recorded key falls.";

pub(crate) async fn info(args: InfoArgs) -> Result<(), Failure> {
    let connect = args.about.connect;
    let info = connect.run(async |client| Ok(client.info().await?)).await?;
    let mut facts = to_json(&Structured::Map(info.facts));
    if args.predictions {
        facts = facts["scoreboard"].take();
        if !connect.json && facts.as_object().is_none_or(|boards| boards.is_empty()) {
            return say(&"no forecasts yet: they are made for writes with a condition");
        }
    }
    if connect.json {
        let mut fields = Fields::default();
        for (name, value) in facts.as_object().into_iter().flatten() {
            fields = fields.set(name, value.clone());
        }
        return fields.at(&info.decided).print();
    }
    print_facts(&facts, 0)
}

/// A name and a value a line; what lies inside a value is set in.
fn print_facts(facts: &Value, depth: usize) -> Result<(), Failure> {
    let indent = "  ".repeat(depth);
    for (name, value) in facts.as_object().into_iter().flatten() {
        match value {
            Value::Object(inner) if inner.is_empty() => say(&format_args!("{indent}{name}: none"))?,
            Value::Object(_) => {
                say(&format_args!("{indent}{name}:"))?;
                print_facts(value, depth + 1)?;
            }
            Value::String(text) => say(&format_args!("{indent}{name}: {text}"))?,
            value => say(&format_args!("{indent}{name}: {value}"))?,
        }
    }
    Ok(())
}

pub(crate) async fn shard_map(args: AboutArgs) -> Result<(), Failure> {
    let map = args.connect.run(async |client| Ok(client.shard_map().await?)).await?;
    if args.connect.json {
        let shards = map.shards.iter().map(|range| {
            json!({ "shard": range.shard.get(), "start": range.start.get(), "end": range.end.get(), "owner": range.owner })
        });
        let shards: Value = shards.collect();
        return Fields::default().at(&map.decided).set("shards", shards).print();
    }
    say(&format_args!("epoch {}", map.decided.epoch))?;
    say(&"SHARD  FIRST KEY            LAST KEY             OWNER")?;
    map.shards.iter().try_for_each(|range| {
        let (start, end) = (range.start.get(), range.end.get());
        say(&format_args!("{:>5}  {start:<20} {end:<20} {:>5}", range.shard, range.owner))
    })
}
