//! `history`: the versions of an object that are kept.

use clap::Args;
use ostrakon_client::{Client, KeptVersion, ReadHistory, Target};
use ostrakon_wire::bounds::PAGE_ITEMS_MAX;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::moments::minute;
use crate::object::ObjectArgs;
use crate::output::{Fields, payload_json};
use crate::table::{self, Column};

/// Which versions.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    object: ObjectArgs,

    /// At most so many versions [default: all that are kept]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// Without payloads
    #[arg(long)]
    no_payloads: bool,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon history acme volume vol-1
  ostrakon history acme volume vol-1 --limit 3 --no-payloads
  ostrakon history acme volume vol-1 --json

Newest first; deletions are versions too. A version is shown by get --version, what stood there at a position by \
get --at. How long versions are kept: ostrakon retention.";

pub(crate) async fn run(args: HistoryArgs) -> Result<(), Failure> {
    let target = args.object.target()?;
    args.connect.run(async |client| follow(client, &target, &args).await).await
}

async fn follow(client: &Client, target: &Target, args: &HistoryArgs) -> Result<(), Failure> {
    let (mut token, mut count) = (None, 0);
    loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit - count);
        let page = client.history(ReadHistory {
            target: target.clone(),
            limit: left.min(PAGE_ITEMS_MAX as u64) as usize,
            token,
            with_payloads: !args.no_payloads,
        });
        let page = page.await?;
        if args.connect.json {
            page.items.iter().try_for_each(|item| fields(target, item).print())?;
        } else {
            print_table(&page.items, count == 0, !args.no_payloads)?;
        }
        count += page.items.len() as u64;
        token = page.token;
        if token.is_none() || args.limit.is_some_and(|limit| count >= limit) {
            return Ok(());
        }
    }
}

fn fields(target: &Target, item: &KeptVersion) -> Fields {
    Fields::of(&target.object)
        .set("version", item.version.get())
        .set("revision", item.revision.get())
        .set("committed_ms", item.committed.get())
        .set("timestamp_ms", item.timestamp.get())
        .set("kind", item.kind.map(|kind| kind.name()))
        .set("deleted", item.deleted)
        .set("by", item.by.as_deref())
        .set("action_id", item.action_id.map(|id| id.to_string()))
        .set("position", item.position.to_string())
        .set("payload", item.payload.as_ref().map(payload_json))
}

fn print_table(items: &[KeptVersion], with_head: bool, with_payloads: bool) -> Result<(), Failure> {
    let columns = [
        Column::Right("VERSION"),
        Column::Right("REVISION"),
        Column::Left("COMMITTED"),
        Column::Left("KIND"),
        Column::Left("BY"),
        Column::Left("ACTION ID"),
        Column::Left("POSITION"),
        Column::Left(if with_payloads { "PAYLOAD" } else { "" }),
    ];
    let rows: Vec<_> = items.iter().map(row).collect();
    table::print(columns, &rows, with_head)
}

/// What is not known is `-`, so that a row has as many words as another.
fn row(item: &KeptVersion) -> [String; 8] {
    let known = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    [
        item.version.to_string(),
        item.revision.to_string(),
        minute(item.committed),
        known(item.kind.map(|kind| kind.name().to_owned())),
        known(item.by.clone()),
        known(item.action_id.map(|id| id.to_string())),
        item.position.to_string(),
        match &item.payload {
            Some(payload) => payload_json(payload).to_string(),
            None if item.deleted => "(deleted)".into(),
            None => String::new(),
        },
    ]
}
