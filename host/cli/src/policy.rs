//! `policy`: writing one, and which policies decide where, what was done to that, and what a candidate would do.

mod bench;
mod build;
mod component;
mod new;
mod replay;
mod slot;
mod tell;
mod test;
mod write;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::{Args, Subcommand};
use ostrakon_client::{Client, PolicyReport};
use ostrakon_wire::bounds::{POLICY_EVENTS_DEFAULT, POLICY_EVENTS_MAX};
use ostrakon_wire::{ChangePolicy, Generation, PolicyChange, ReadPolicies, Stage};

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::policies::read_settings;
use slot::SlotArgs;
pub(crate) use slot::share;

/// What to do about policies.
#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(crate) enum PolicyCommand {
    #[command(flatten)]
    Write(write::Write),
    #[command(flatten)]
    Host(Box<HostCommand>),
}

impl PolicyCommand {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match self {
            Self::Write(command) => command.json(),
            Self::Host(command) => command.connect().json,
        }
    }
}

pub(crate) async fn run(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Write(command) => command.run(),
        PolicyCommand::Host(command) => on_host(*command).await,
    }
}

/// What a host is asked or told.
#[derive(Debug, Subcommand)]
pub(crate) enum HostCommand {
    /// Send a component, and let it decide, be asked beside the requests, or decide for a part of the clients
    #[command(after_help = PUSH_HELP)]
    Push(PushArgs),
    /// List what decides in every slot
    #[command(after_help = "Example:\n  ostrakon policy list --json")]
    List(ReadArgs),
    /// Show one slot: its settings, calls, latencies, faults and generations
    #[command(
        after_help = "Example:\n  ostrakon policy show --slot shard-key\n  ostrakon policy show --slot prediction --client acme"
    )]
    Show(SlotReadArgs),
    /// Let a generation decide that the slot has had before, or tries now
    #[command(after_help = "Example:\n  ostrakon policy activate 7 --slot shard-key")]
    Activate(ActivateArgs),
    /// End what is tried; where nothing is, let the generation before decide again
    #[command(after_help = "Example:\n  ostrakon policy rollback --slot shard-key")]
    Rollback(SlotReadArgs),
    /// End an override: what is less specific decides again
    #[command(after_help = "Example:\n  ostrakon policy remove --slot shard-key --client acme")]
    Remove(SlotReadArgs),
    /// Tell every change, rollback and refusal: when, by whom and why
    #[command(
        after_help = "Example:\n  ostrakon policy history --limit 200\n  ostrakon policy history --slot shard-key"
    )]
    History(HistoryArgs),
    /// Compare what decides with the shadow beside it
    #[command(after_help = "Example:\n  ostrakon policy diff --slot shard-key")]
    Diff(SlotReadArgs),
}

const AFTER_HELP: &str = "\
A slot is a place for one policy: the default of a kind, or an override for a client, a data type, or both.
The most specific one decides: client and type, then client, then type, then the default.

Examples:
  ostrakon policy new mine
  ostrakon policy build mine
  ostrakon policy test mine
  ostrakon policy list
  ostrakon policy push mine.wasm --slot shard-key --shadow 100%
  ostrakon policy diff --slot shard-key
  ostrakon policy push mine.wasm --slot shard-key --canary 5%
  ostrakon policy push mine.wasm --slot shard-key
  ostrakon policy rollback --slot shard-key
  ostrakon policy history";

const PUSH_HELP: &str = "\
A component that decides from now on is on trial for its first minute and 1,024 calls: where it fails, the
generation before it answers, and takes over again after 16 bad calls or 25 ms. A canary is on trial as long as it
is one. Objects that exist stay where they are recorded, whatever a new shard-key policy says.

Examples:
  ostrakon policy push mine.wasm --slot shard-key
  ostrakon policy push mine.wasm --slot prediction --client acme --settings mine.json
  ostrakon policy push --slot shard-key --settings other.json      (the same component, other settings)
  ostrakon policy push mine.wasm --slot reconciliation --type volume --canary 5%";

/// How long a push waits where nothing else is said: a large component takes its time to compile.
const PUSH_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Args)]
pub(crate) struct PushArgs {
    /// The component; without one the slot keeps the component that decides, with other settings
    #[arg(value_name = "FILE", required_unless_present = "settings")]
    file: Option<PathBuf>,

    #[command(flatten)]
    slot: SlotArgs,

    /// Its settings: a file with a JSON object
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Ask it beside the requests, for this share of the decisions, and compare; it decides nothing
    #[arg(long, value_name = "PERCENT", value_parser = share, conflicts_with = "canary")]
    shadow: Option<u32>,

    /// Let it decide for this share of the clients, chosen by a stable hash
    #[arg(long, value_name = "PERCENT", value_parser = share)]
    canary: Option<u32>,

    /// On trial, calls that take longer are slow ones; half of 64 calls slow ends the trial
    /// [default: 1000; reconciliation: 20000]
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u32).range(1..))]
    slow_us: Option<u32>,

    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ReadArgs {
    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct SlotReadArgs {
    #[command(flatten)]
    slot: SlotArgs,

    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ActivateArgs {
    /// The generation's number, as `show` and `history` tell it
    generation: u64,

    #[command(flatten)]
    slot: SlotArgs,

    #[command(flatten)]
    connect: ConnectArgs,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    slot: slot::AnySlotArgs,

    /// Tell so many events, the newest first
    #[arg(long, value_name = "N", default_value_t = POLICY_EVENTS_DEFAULT as u32,
          value_parser = clap::value_parser!(u32).range(1..=POLICY_EVENTS_MAX as i64))]
    limit: u32,

    #[command(flatten)]
    connect: ConnectArgs,
}

impl HostCommand {
    fn connect(&self) -> &ConnectArgs {
        match self {
            Self::Push(args) => &args.connect,
            Self::List(args) => &args.connect,
            Self::Show(args) | Self::Rollback(args) | Self::Remove(args) | Self::Diff(args) => &args.connect,
            Self::Activate(args) => &args.connect,
            Self::History(args) => &args.connect,
        }
    }
}

async fn on_host(command: HostCommand) -> Result<(), Failure> {
    let json = command.connect().json;
    let connect = match &command {
        HostCommand::Push(_) | HostCommand::Activate(_) | HostCommand::Rollback(_) => {
            command.connect().clone().with_patience(PUSH_TIMEOUT)
        }
        _ => command.connect().clone(),
    };
    let told = connect.run(async |client| ask(client, &command).await).await?;
    if json {
        return tell::as_json(&told.facts);
    }
    match command {
        HostCommand::List(_) => tell::list(&told.facts),
        HostCommand::History(_) => tell::history(&told.facts),
        HostCommand::Diff(_) => tell::diff(&told.facts),
        HostCommand::Push(args) => tell::pushed(&told.facts, args.stage()),
        HostCommand::Remove(args) => crate::output::say(&format!("{} is removed", args.slot.slot())),
        HostCommand::Show(_) | HostCommand::Activate(_) | HostCommand::Rollback(_) => tell::show(&told.facts),
    }
}

async fn ask(client: &Client, command: &HostCommand) -> Result<PolicyReport, Failure> {
    let change = |slot: &SlotArgs, change| ChangePolicy { slot: slot.slot(), change };
    let (read, change) = match command {
        HostCommand::Push(args) => (None, Some(change(&args.slot, push(client, args).await?))),
        HostCommand::Activate(args) => {
            (None, Some(change(&args.slot, PolicyChange::Activate(Generation::new(args.generation)))))
        }
        HostCommand::Rollback(args) => (None, Some(change(&args.slot, PolicyChange::RollBack))),
        HostCommand::Remove(args) => (None, Some(change(&args.slot, PolicyChange::Remove))),
        HostCommand::List(_) => (Some(ReadPolicies::List), None),
        HostCommand::Show(args) => (Some(ReadPolicies::Show(args.slot.slot())), None),
        HostCommand::Diff(args) => (Some(ReadPolicies::Diff(args.slot.slot())), None),
        HostCommand::History(args) => {
            (Some(ReadPolicies::History { slot: args.slot.slot(), limit: args.limit as usize }), None)
        }
    };
    Ok(match (read, change) {
        (Some(read), _) => client.policies(read).await?,
        (None, Some(change)) => client.change_policy(change).await?,
        (None, None) => unreachable!("each command reads or changes"),
    })
}

impl PushArgs {
    fn stage(&self) -> Stage {
        match (self.shadow, self.canary) {
            (Some(share_ppm), _) => Stage::Shadow(share_ppm),
            (None, Some(share_ppm)) => Stage::Canary(share_ppm),
            (None, None) => Stage::Serve,
        }
    }
}

/// Sends the component, where there is one.
async fn push(client: &Client, args: &PushArgs) -> Result<PolicyChange, Failure> {
    let settings = args.settings.as_deref().map(read_settings).transpose()?;
    let digest = match &args.file {
        Some(file) => {
            let component = std::fs::read(file);
            let component = component.map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?;
            let bar = tell::upload_bar(component.len() as u64, args.connect.json);
            let digest = client.upload_component(&Bytes::from(component), |sent| bar.set_position(sent)).await?;
            bar.finish_and_clear();
            Some(digest)
        }
        None => None,
    };
    Ok(PolicyChange::Push { digest, settings, stage: args.stage(), slow_us: args.slow_us })
}
