//! `retention`: how long versions are kept.

use std::time::Duration;

use clap::Args;
use ostrakon_client::{Keep, Retention, RetentionRule, SetRetention};
use ostrakon_wire::bounds::{HISTORY_VERSIONS_MAX, RETENTION_AGE_MS_MAX, RETENTION_AGE_MS_MIN};

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::moments::{duration, duration_text};
use crate::output::Fields;
use crate::table::{self, Column};

/// What to do with the rules.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct RetentionArgs {
    /// Set a rule
    #[arg(long, requires_all = ["versions", "age"])]
    set: bool,

    /// Remove the rule of a type: that of all types holds for it again
    #[arg(long, requires = "data_type", conflicts_with = "set")]
    clear: bool,

    /// The type that the rule is for [default: all without a rule of their own]
    #[arg(id = "data_type", long = "type", value_name = "TYPE")]
    data_type: Option<String>,

    /// Keep so many versions of an object at most, the newest counted
    #[arg(long, value_name = "N", requires = "set",
          value_parser = clap::value_parser!(u32).range(1..=i64::from(HISTORY_VERSIONS_MAX)))]
    versions: Option<u32>,

    /// Keep none that was replaced longer ago, as in 90s, 15m, 12h, 30d
    #[arg(long, value_name = "DURATION", requires = "set", value_parser = age)]
    age: Option<Duration>,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon retention
  ostrakon retention --set --versions 16 --age 30d
  ostrakon retention --set --type audit --versions 1000 --age 365d
  ostrakon retention --type audit --clear

An object's newest version is always kept. A change of the rules holds for what is there already. All rules are shown.";

fn age(text: &str) -> Result<Duration, String> {
    let age = duration(text)?;
    if (RETENTION_AGE_MS_MIN.into()..=RETENTION_AGE_MS_MAX.into()).contains(&age.as_millis()) {
        return Ok(age);
    }
    let [least, most] = [RETENTION_AGE_MS_MIN, RETENTION_AGE_MS_MAX].map(duration_text);
    Err(format!("versions are kept {least} to {most}"))
}

impl RetentionArgs {
    /// What to set; `None`: the rules are only looked at.
    fn asked(&self) -> Result<Option<SetRetention>, Failure> {
        let rule = match (self.set, self.clear, self.versions, self.age) {
            (true, _, Some(versions), Some(age)) => Some(Keep { versions, age_ms: age.as_millis() as u64 }),
            (true, ..) => return Err(Failure::usage("--set wants --versions and --age")),
            (false, true, ..) => None,
            (false, false, ..) if self.data_type.is_some() => {
                return Err(Failure::usage("--type wants --set or --clear"));
            }
            (false, false, ..) => return Ok(None),
        };
        Ok(Some(SetRetention { data_type: self.data_type.clone(), rule }))
    }
}

pub(crate) async fn run(args: RetentionArgs) -> Result<(), Failure> {
    let asked = args.asked()?;
    let rules = args.connect.run(async |client| match asked {
        Some(set) => Ok(client.set_retention(set).await?),
        None => Ok(client.retention().await?),
    });
    tell(&rules.await?, args.connect.json)
}

fn tell(retention: &Retention, json: bool) -> Result<(), Failure> {
    if json {
        return retention.rules.iter().try_for_each(|rule| fields(rule).print());
    }
    let columns = [Column::Left("TYPE"), Column::Right("VERSIONS"), Column::Right("AGE")];
    let rows: Vec<_> = retention.rules.iter().map(row).collect();
    table::print(columns, &rows, true)
}

fn fields(rule: &RetentionRule) -> Fields {
    let RetentionRule { data_type, keep: Keep { versions, age_ms } } = rule;
    Fields::default().set("type", data_type.as_deref()).set("versions", *versions).set("age_ms", *age_ms)
}

fn row(rule: &RetentionRule) -> [String; 3] {
    let RetentionRule { data_type, keep: Keep { versions, age_ms } } = rule;
    let of = data_type.clone().unwrap_or_else(|| "(all others)".into());
    [of, versions.to_string(), duration_text(*age_ms)]
}
