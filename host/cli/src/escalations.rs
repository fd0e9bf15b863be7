//! `escalations`: what reconciliation gave up on, and how a person settles it.

use clap::{Args, Subcommand};
use ostrakon_client::{Client, Escalation, ListEscalations, Revision, SettleEscalation, SettleHow};
use ostrakon_wire::bounds::PAGE_ITEMS_MAX;

use crate::body::{Data, RawBytes};
use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::output::{Fields, payload_json, say};

/// What to do with escalations.
#[derive(Debug, Clone, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum EscalationsCommand {
    /// List them, oldest first
    List(ListArgs),
    /// Show one with all that belongs to it
    Show(ShowArgs),
    /// Run the action once more on what stands there now
    Retry(SettleArgs),
    /// Store a payload in the action's place
    Resolve(ResolveArgs),
    /// Leave the action undone
    Discard(SettleArgs),
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon escalations list
  ostrakon escalations show 4711
  ostrakon escalations retry 4711 --reason 'the volume is detached now'
  ostrakon escalations resolve 4711 --data '{\"size\":20}' --reason 'agreed with the owner'
  ostrakon escalations discard 4711 --reason 'asked for by mistake'

The object of an escalation is not blocked: others write it meanwhile. Who settled what, and why, is kept.";

/// Which to list.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Examples:\n  ostrakon escalations list\n  ostrakon escalations list acme --settled --json")]
pub(crate) struct ListArgs {
    /// Of objects of this client alone
    #[arg(value_name = "CLIENT")]
    client: Option<String>,

    /// Those that are settled, too
    #[arg(long)]
    settled: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Which to show.
#[derive(Debug, Clone, Args)]
#[command(after_help = "Example:\n  ostrakon escalations show 4711")]
pub(crate) struct ShowArgs {
    /// Its number
    #[arg(value_name = "NUMBER")]
    number: u64,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Which to settle, and why.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  ostrakon escalations retry 4711 --reason 'the volume is detached now'\n  ostrakon escalations discard 4711 --reason 'asked for by mistake' --by ann"
)]
pub(crate) struct SettleArgs {
    /// Its number
    #[arg(value_name = "NUMBER")]
    number: u64,

    /// Why; kept with it
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// Who; kept with it
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true, default_value = "unknown")]
    by: String,

    #[command(flatten)]
    connect: ConnectArgs,
}

/// Which to settle with which payload.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Example:\n  ostrakon escalations resolve 4711 --data '{\"size\":20}' --reason 'agreed with the owner'"
)]
pub(crate) struct ResolveArgs {
    /// What the object holds from now on, a JSON object; @FILE reads it from a file, - from standard input
    #[arg(long, value_name = "JSON", required_unless_present = "bytes", conflicts_with = "bytes")]
    data: Option<Data>,

    /// The same as bytes that the host does not look into; - reads standard input
    #[arg(long, value_name = "FILE")]
    bytes: Option<RawBytes>,

    #[command(flatten)]
    settle: SettleArgs,
}

impl EscalationsCommand {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::List(args) => args.connect.json,
            Self::Show(args) => args.connect.json,
            Self::Retry(args) | Self::Discard(args) => args.connect.json,
            Self::Resolve(args) => args.settle.connect.json,
        }
    }
}

pub(crate) async fn run(command: EscalationsCommand) -> Result<(), Failure> {
    match command {
        EscalationsCommand::List(args) => list(args).await,
        EscalationsCommand::Show(args) => {
            let number = Revision::new(args.number);
            let shown = args.connect.run(async |client| Ok(client.escalation(number).await?)).await?;
            tell(&shown, args.connect.json)
        }
        EscalationsCommand::Retry(args) => settle(args, SettleHow::Retry, None).await,
        EscalationsCommand::Discard(args) => settle(args, SettleHow::Discard, None).await,
        EscalationsCommand::Resolve(args) => {
            let payload = match (&args.data, &args.bytes) {
                (_, Some(bytes)) => bytes.payload()?,
                (Some(data), None) => data.payload()?,
                (None, None) => return Err(Failure::usage("give --data or --bytes")),
            };
            settle(args.settle, SettleHow::Resolve, Some(payload)).await
        }
    }
}

async fn settle(args: SettleArgs, how: SettleHow, payload: Option<ostrakon_client::Payload>) -> Result<(), Failure> {
    let settle =
        SettleEscalation { escalation: Revision::new(args.number), how, payload, by: args.by, reason: args.reason };
    let settled = args.connect.run(async |client| Ok(client.settle(settle).await?)).await?;
    tell(&settled, args.connect.json)
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let count = args.connect.run(async |client| follow(client, &args).await).await?;
    if !args.connect.json && count == 0 {
        eprintln!("no escalations");
    }
    Ok(())
}

async fn follow(client: &Client, args: &ListArgs) -> Result<u64, Failure> {
    let (mut token, mut count) = (None, 0);
    loop {
        let list = ListEscalations { client: args.client.clone(), limit: PAGE_ITEMS_MAX, token };
        let page = client.escalations(list).await?;
        for escalation in page.items.iter().filter(|escalation| args.settled || escalation.settled.is_none()) {
            count += 1;
            if args.connect.json { fields(escalation).print()? } else { say(&line(escalation))? }
        }
        token = page.token;
        if token.is_none() {
            return Ok(count);
        }
    }
}

fn line(escalation: &Escalation) -> String {
    let Escalation { number, object, words, tries, .. } = escalation;
    let state = match &escalation.settled {
        Some(settled) => format!(" ({}: {})", past(settled.how), settled.by),
        None => String::new(),
    };
    format!("{number}  {} of {object}  {words} (tries: {tries}){state}", what(escalation))
}

fn what(escalation: &Escalation) -> &str {
    escalation.custom_kind.as_deref().unwrap_or(escalation.kind.name())
}

fn past(how: SettleHow) -> &'static str {
    match how {
        SettleHow::Retry => "retried",
        SettleHow::Resolve => "resolved",
        SettleHow::Discard => "discarded",
    }
}

fn tell(escalation: &Escalation, json: bool) -> Result<(), Failure> {
    if json {
        return fields(escalation).print();
    }
    say(&line(escalation))?;
    let payload = |name: &str, payload: &Option<ostrakon_client::Payload>| match payload {
        Some(payload) => say(&format_args!("  {name}: {}", payload_json(payload))),
        None => Ok(()),
    };
    payload("action", &escalation.body)?;
    if let Some(known) = escalation.known {
        say(&format_args!("  made for version {known}, met version {}", escalation.latest))?;
    }
    payload("base", &escalation.base)?;
    payload("latest", &escalation.latest_payload)?;
    if escalation.omitted {
        say(&"  (some payloads are left out: together they do not fit one answer)")?;
    }
    if let Some(settled) = &escalation.settled {
        let version = settled.version.map_or(String::new(), |version| format!(", version {version}"));
        say(&format_args!("  {} by {}{version}: {}", past(settled.how), settled.by, settled.reason))?;
    }
    Ok(())
}

fn fields(escalation: &Escalation) -> Fields {
    let mut fields = Fields::default()
        .set("escalation", escalation.number.get())
        .set("client", escalation.object.client())
        .set("type", escalation.object.data_type())
        .set("name", escalation.object.name())
        .set("kind", what(escalation))
        .set("action_id", escalation.action_id.map(|id| id.to_string()))
        .set("known", escalation.known.map(|known| known.get()))
        .set("latest", escalation.latest.get())
        .set("tries", escalation.tries)
        .set("words", escalation.words.as_str())
        .set("opened", escalation.opened.get());
    let payloads = [
        ("payload", &escalation.body),
        ("base_payload", &escalation.base),
        ("latest_payload", &escalation.latest_payload),
    ];
    for (name, payload) in payloads {
        if let Some(payload) = payload {
            fields = fields.set(name, payload_json(payload));
        }
    }
    if escalation.omitted {
        fields = fields.set("omitted", true);
    }
    let settled = escalation.settled.as_ref().map(|settled| {
        serde_json::json!({
            "how": settled.how.name(),
            "by": settled.by,
            "reason": settled.reason,
            "at": settled.at.get(),
            "version": settled.version.map(|version| version.get()),
        })
    });
    fields.set("settled", settled)
}
