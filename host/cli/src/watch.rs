//! `watch`: every change of a client's objects, as it is committed.

use clap::Args;
use ostrakon_client::{Client, Event, PageItem, Position, Told, Watch, Watcher};
use ostrakon_wire::bounds::{BOOKMARK_MS_DEFAULT, BOOKMARK_MS_MAX, BOOKMARK_MS_MIN};
use tokio::sync::watch;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, payload_json, say};
use crate::stop;

/// Which changes, and how they are told.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct WatchArgs {
    /// Client id: whose objects
    #[arg(value_name = "CLIENT")]
    client: String,

    /// Of this data type alone
    #[arg(value_name = "TYPE")]
    data_type: Option<String>,

    /// With names that begin so
    #[arg(value_name = "PREFIX")]
    prefix: Option<String>,

    /// Begin behind this position, which an answer or a watch has told [default: now]
    #[arg(long, value_name = "POSITION", conflicts_with = "list")]
    from: Option<Position>,

    /// List what stands there first, and watch from there: nothing is missed in between
    #[arg(long)]
    list: bool,

    /// Without payloads
    #[arg(long)]
    no_payloads: bool,

    /// With the payloads that were replaced
    #[arg(long)]
    previous: bool,

    /// Tell bookmarks, too: positions up to which nothing more has happened
    #[arg(long)]
    bookmarks: bool,

    /// How often there is a bookmark while nothing happens, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = BOOKMARK_MS_DEFAULT,
          value_parser = clap::value_parser!(u32).range(i64::from(BOOKMARK_MS_MIN)..=i64::from(BOOKMARK_MS_MAX)))]
    bookmark_ms: u32,

    /// End after so many changes; a transaction is told to its end [default: go on until Ctrl-C]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    changes: Option<u64>,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon watch acme
  ostrakon watch acme volume vol- --list
  ostrakon watch acme --from POSITION --changes 10 --json
  ostrakon watch acme volume --previous --no-payloads

Every change is told once, in the order of the commits; those of one transaction have one revision. A lost connection or \
a restarted host is waited for, and nothing is missed. To go on later, watch --from the position that was told last: it \
is told at the end; with --json the last change of a commit unit and every bookmark carry it. A position that the log no \
longer reaches back to exits 6: list anew.";

pub(crate) async fn run(args: WatchArgs) -> Result<(), Failure> {
    stop::on_signal(|stop| Box::pin(run_until(args, stop))).await?
}

async fn run_until(args: WatchArgs, stop: watch::Receiver<bool>) -> Result<(), Failure> {
    args.connect.run(async |client| follow(client, &args, stop).await).await
}

impl WatchArgs {
    fn watch(&self) -> Watch {
        Watch {
            client: self.client.clone(),
            data_type: self.data_type.clone(),
            prefix: self.prefix.clone(),
            from: self.from,
            with_payloads: !self.no_payloads,
            with_previous: self.previous,
            bookmark_ms: self.bookmark_ms,
        }
    }

    fn bookmark(&self, position: Position) -> Result<(), Failure> {
        if self.connect.json {
            return Fields::default().set("event", "bookmark").set("position", position.to_string()).print();
        }
        say(&format_args!("bookmark {position}"))
    }
}

/// Tells changes until there are enough of them, or it is told to stop.
async fn follow(client: &Client, args: &WatchArgs, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let mut watcher = tokio::select! {
        biased;
        _ = stop.wait_for(|stop| *stop) => return Ok(()),
        begun = begin(client, args) => begun?,
    };
    let mut count = 0;
    while args.changes.is_none_or(|changes| count < changes) {
        let told = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => break,
            told = watcher.next() => told?,
        };
        match told {
            Told::Changes { changes, position } => {
                tell(&changes, position, args.connect.json)?;
                count += changes.len() as u64;
            }
            Told::Bookmark(position) if args.bookmarks => args.bookmark(position)?,
            Told::Bookmark(_) => {}
        }
    }
    match watcher.position() {
        Some(position) if !args.connect.json => eprintln!("watched up to {position}"),
        _ => {}
    }
    Ok(())
}

async fn begin(client: &Client, args: &WatchArgs) -> Result<Watcher, Failure> {
    if !args.list {
        return Ok(client.watch(args.watch()));
    }
    let (items, watcher) = client.list_and_watch(args.watch()).await?;
    items.iter().try_for_each(|item| tell_object(item, args.connect.json))?;
    if let Some(position) = watcher.position().filter(|_| args.bookmarks || args.connect.json) {
        args.bookmark(position)?;
    }
    Ok(watcher)
}

fn tell_object(item: &PageItem, json: bool) -> Result<(), Failure> {
    let payload = item.payload.as_ref().map(payload_json);
    if json {
        return Fields::default()
            .set("event", "object")
            .of_object(&item.object)
            .stored(item.version, item.revision, Some(item.shard), item.shard_key)
            .set("payload", payload)
            .print();
    }
    let payload = payload.map_or(String::new(), |payload| format!("  {payload}"));
    say(&format_args!("{}  stands  {}  version {}{payload}", item.revision, item.object, item.version))
}

/// Tells a commit unit. Only its end is a place to go on from.
fn tell(changes: &[Event], position: Position, json: bool) -> Result<(), Failure> {
    let last = changes.len().saturating_sub(1);
    changes.iter().enumerate().try_for_each(|(at, event)| {
        if json { fields(event, (at == last).then_some(position)).print() } else { say(&line(event)) }
    })
}

fn fields(event: &Event, position: Option<Position>) -> Fields {
    Fields::default()
        .set("event", "change")
        .of_object(&event.object)
        .set("version", event.version.get())
        .set("revision", event.revision.get())
        .set("kind", event.kind.name())
        .set("deleted", event.deleted)
        .set("escalated", event.escalated)
        .set("action_id", event.action_id.map(|id| id.to_string()))
        .set("by", event.by.as_deref())
        .set("timestamp_ms", event.timestamp.get())
        .set("payload", event.payload.as_ref().map(payload_json))
        .set("previous", event.previous.as_ref().map(payload_json))
        .set("omitted", event.omitted)
        .set("position", position.map(|position| position.to_string()))
}

fn line(event: &Event) -> String {
    let by = event.by.as_ref().map_or(String::new(), |by| format!("  by {by}"));
    let payload = |word: &str, payload: &Option<ostrakon_client::Payload>| {
        payload.as_ref().map_or(String::new(), |payload| format!("  {word}{}", payload_json(payload)))
    };
    let (now, before) = (payload("", &event.payload), payload("was ", &event.previous));
    let note = match (event.escalated, event.omitted) {
        (true, _) => format!("  (no change: a person has it: ostrakon escalations show {})", event.revision),
        (false, true) => "  (some payloads are left out)".into(),
        (false, false) => String::new(),
    };
    let gone = if event.deleted { "  deleted" } else { "" };
    let Event { object, version, revision, kind, .. } = event;
    format!("{revision}  {}  {object}  version {version}{gone}{by}{now}{before}{note}", kind.name())
}
