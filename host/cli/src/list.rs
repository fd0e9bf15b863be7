//! `list`: the objects of a client, page by page.

use clap::Args;
use ostrakon_client::{Client, List, PageItem, Position};
use ostrakon_wire::bounds::PAGE_ITEMS_MAX;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, payload_json};
use crate::table::{self, Column};

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

    /// As they stood at this position, which an answer has told [default: as they stand]
    #[arg(long, value_name = "POSITION")]
    at: Option<Position>,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon list acme
  ostrakon list acme volume --prefix vol- --limit 20
  ostrakon list acme volume --payloads --json
  ostrakon list acme volume --at POSITION

In order of type and name. Pages are fetched until the end; each page \
is one consistent view, two pages may not be, unless --at says of which \
position they are. A watch --from the position that is told at the end \
misses nothing; watch --list does both at once.";

pub(crate) async fn run(args: ListArgs) -> Result<(), Failure> {
    let (count, listed_at) = args.connect.run(async |client| follow(client, &args).await).await?;
    if !args.connect.json {
        if count == 0 {
            eprintln!("no live objects");
        }
        eprintln!("listed at {listed_at}");
    }
    Ok(())
}

/// Prints every page; answers how many objects there were, and the place of the first page.
async fn follow(client: &Client, args: &ListArgs) -> Result<(u64, Position), Failure> {
    let (mut token, mut count, mut listed_at) = (None, 0, None);
    loop {
        let left = args.limit.map_or(u64::MAX, |limit| limit - count);
        let page = client.list(List {
            client: args.client.clone(),
            data_type: args.data_type.clone(),
            prefix: args.prefix.clone(),
            limit: left.min(PAGE_ITEMS_MAX as u64) as usize,
            token,
            with_payloads: args.payloads,
            at: args.at,
        });
        let page = page.await?;
        let place = *listed_at.get_or_insert(page.decided.position);
        if args.connect.json {
            page.items.iter().try_for_each(print_json)?;
        } else {
            print_table(&page.items, count == 0)?;
        }
        count += page.items.len() as u64;
        token = page.token;
        if token.is_none() || args.limit.is_some_and(|limit| count >= limit) {
            return Ok((count, place));
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
    let with_payloads = items.first().is_some_and(|item| item.payload.is_some());
    let columns = [
        Column::Left("TYPE"),
        Column::Left("NAME"),
        Column::Right("VERSION"),
        Column::Right("SHARD"),
        Column::Left(if with_payloads { "PAYLOAD" } else { "" }),
    ];
    let row = |item: &PageItem| {
        let payload = item.payload.as_ref().map(|payload| payload_json(payload).to_string());
        [
            item.object.data_type().to_owned(),
            item.object.name().to_owned(),
            item.version.to_string(),
            item.shard.to_string(),
            payload.unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table::print(columns, &rows, with_head)
}
