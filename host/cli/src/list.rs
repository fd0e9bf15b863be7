//! `list`: the objects of a client, page by page.

use clap::Args;
use ostrakon_client::{Client, List, PageItem};
use ostrakon_wire::bounds::PAGE_ITEMS_MAX;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, payload_json, say};

/// Which objects.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct ListArgs {
    /// Client id: whose objects
    #[arg(value_name = "CLIENT")]
    client: String,

    /// Of this data type alone
    #[arg(value_name = "TYPE")]
    data_type: Option<String>,

    /// With names that begin so; wants a type
    #[arg(long, value_name = "TEXT", requires = "data_type")]
    prefix: Option<String>,

    /// At most so many objects [default: all]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,

    /// With payloads
    #[arg(long)]
    payloads: bool,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon list acme
  ostrakon list acme volume --prefix vol- --limit 20
  ostrakon list acme volume --payloads --json

In order of type and name. Pages are fetched until the end; each page \
is one consistent view, two pages may not be.";

pub(crate) async fn run(args: ListArgs) -> Result<(), Failure> {
    let count = args.connect.run(async |client| follow(client, &args).await).await?;
    if !args.connect.json && count == 0 {
        eprintln!("no live objects");
    }
    Ok(())
}

async fn follow(client: &Client, args: &ListArgs) -> Result<u64, Failure> {
    let (mut token, mut count) = (None, 0);
    loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit - count);
        let page = client.list(List {
            client: args.client.clone(),
            data_type: args.data_type.clone(),
            prefix: args.prefix.clone(),
            limit: left.min(PAGE_ITEMS_MAX as u64) as usize,
            token,
            with_payloads: args.payloads,
        });
        let page = page.await?;
        if args.connect.json {
            page.items.iter().try_for_each(print_json)?;
        } else {
            print_table(&page.items, count == 0)?;
        }
        count += page.items.len() as u64;
        token = page.token;
        if token.is_none() || args.limit.is_some_and(|limit| count >= limit) {
            return Ok(count);
        }
    }
}

fn print_json(item: &PageItem) -> Result<(), Failure> {
    let fields = Fields::of(&item.object).stored(item.version, item.revision, Some(item.shard), item.shard_key);
    match &item.payload {
        Some(payload) => fields.set("payload", payload_json(payload)).print(),
        None => fields.print(),
    }
}

/// One page as a table: its columns are as wide as this page needs them.
fn print_table(items: &[PageItem], with_head: bool) -> Result<(), Failure> {
    let width = |text: &dyn Fn(&PageItem) -> usize, head: &str| items.iter().map(text).fold(head.len(), usize::max);
    let types = width(&|item| item.object.data_type().chars().count(), "TYPE");
    let names = width(&|item| item.object.name().chars().count(), "NAME");
    let versions = width(&|item| item.version.to_string().len(), "VERSION");
    let row = |data_type: &str, name: &str, version: &str, shard: &str, payload: &str| {
        let line = format!("{data_type:types$}  {name:names$}  {version:>versions$}  {shard:>5}  {payload}");
        say(&line.trim_end())
    };
    if with_head && !items.is_empty() {
        let payload = if items[0].payload.is_some() { "PAYLOAD" } else { "" };
        row("TYPE", "NAME", "VERSION", "SHARD", payload)?;
    }
    items.iter().try_for_each(|item| {
        let payload = item.payload.as_ref().map(|payload| payload_json(payload).to_string());
        row(
            item.object.data_type(),
            item.object.name(),
            &item.version.to_string(),
            &item.shard.to_string(),
            payload.as_deref().unwrap_or_default(),
        )
    })
}
