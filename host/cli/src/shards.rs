//! `shards`, `migrations`, `rebalance`, `decisions`, `heat`: how the host is cut, what moves, and why.

mod tell;

use clap::{Args, Subcommand};
use ostrakon_client::{ChangeShards, ObjectId, ReadShards, ShardChange, ShardKey};
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::{OWNERS_MAX, SHARD_EVENTS_DEFAULT, SHARD_EVENTS_MAX};

use crate::about::AboutArgs;
use crate::connect::ConnectArgs;
use crate::failure::Failure;

/// What to do about shards.
#[derive(Debug, Args)]
#[command(after_help = SHARDS_HELP)]
pub(crate) struct ShardsArgs {
    #[command(subcommand)]
    command: Option<ShardsCommand>,

    #[command(flatten)]
    connect: ConnectArgs,
}

const SHARDS_HELP: &str = "\
Without a command every shard is shown: its range of keys, owner, rows, load, health, and who uses it most.

Examples:
  ostrakon shards
  ostrakon shards split 3
  ostrakon shards split 3 --at 9223372036854775808 --reason 'before the migration of acme'
  ostrakon shards merge 3
  ostrakon shards move 3 --owner 1
  ostrakon shards pin 3
  ostrakon shards rekey acme --type volume

Reads and writes go on while objects move; follow them with `ostrakon migrations`.";

#[derive(Debug, Subcommand)]
enum ShardsCommand {
    /// Make the keys of a shard from one on a shard of their own
    #[command(after_help = "Example:\n  ostrakon shards split 3\n  ostrakon shards split 3 --at 9223372036854775808")]
    Split {
        /// The shard
        shard: u32,
        /// The first key of the new one [default: the middle of the shard's objects]
        #[arg(long, value_name = "KEY")]
        at: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Make a shard and the next one a single one
    #[command(after_help = "Example:\n  ostrakon shards merge 3")]
    Merge {
        /// The first of the two, in order of key
        shard: u32,
        #[command(flatten)]
        asked: Asked,
    },
    /// Give a shard to another owner
    #[command(after_help = "Example:\n  ostrakon shards move 3 --owner 1")]
    Move {
        /// The shard
        shard: u32,
        /// The owner that has it from now on, counted from 0
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..i64::from(OWNERS_MAX)))]
        owner: u32,
        #[command(flatten)]
        asked: Asked,
    },
    /// Keep the planner from a shard
    #[command(after_help = "Example:\n  ostrakon shards pin 3")]
    Pin {
        /// The shard
        shard: u32,
        #[command(flatten)]
        asked: Asked,
    },
    /// Leave a shard to the planner again
    #[command(after_help = "Example:\n  ostrakon shards unpin 3")]
    Unpin {
        /// The shard
        shard: u32,
        #[command(flatten)]
        asked: Asked,
    },
    /// Bring objects under the keys that the shard-key policy wants now: one, or those of a client
    #[command(
        after_help = "Example:\n  ostrakon shards rekey acme --type volume\n  ostrakon shards rekey acme --type volume --name vol-1 --to 42"
    )]
    Rekey {
        /// The client
        client: String,
        /// Objects of this type alone
        #[arg(long = "type", value_name = "TYPE")]
        data_type: Option<String>,
        /// This object alone
        #[arg(long, value_name = "NAME", requires = "data_type")]
        name: Option<String>,
        /// The key to bring it under [default: the one that the policy wants]
        #[arg(long, value_name = "KEY", requires = "name")]
        to: Option<u64>,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Said of a change.
#[derive(Debug, Clone, Args)]
struct Asked {
    /// Why, for those who look at it later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,

    #[command(flatten)]
    connect: ConnectArgs,
}

impl ShardsCommand {
    fn asked(&self) -> &Asked {
        match self {
            Self::Split { asked, .. }
            | Self::Merge { asked, .. }
            | Self::Move { asked, .. }
            | Self::Pin { asked, .. }
            | Self::Unpin { asked, .. }
            | Self::Rekey { asked, .. } => asked,
        }
    }

    fn change(&self) -> Result<ShardChange, Failure> {
        Ok(match self {
            Self::Split { shard, at, .. } => {
                ShardChange::Split { shard: ShardId::new(*shard), at: at.map(ShardKey::new) }
            }
            Self::Merge { shard, .. } => ShardChange::Merge(ShardId::new(*shard)),
            Self::Move { shard, owner, .. } => ShardChange::Move { shard: ShardId::new(*shard), owner: *owner },
            Self::Pin { shard, .. } => ShardChange::Pin(ShardId::new(*shard)),
            Self::Unpin { shard, .. } => ShardChange::Unpin(ShardId::new(*shard)),
            Self::Rekey { client, data_type: Some(data_type), name: Some(name), to, .. } => {
                let object = ObjectId::new(client, data_type, name);
                let object = object.map_err(|error| Failure::usage(error.to_string()))?;
                ShardChange::RekeyObject { object, shard_key: to.map(ShardKey::new) }
            }
            Self::Rekey { client, data_type, .. } => {
                ShardChange::Rekey { client: client.clone(), data_type: data_type.clone() }
            }
        })
    }
}

impl ShardsArgs {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.command.as_ref().map_or(&self.connect, |command| &command.asked().connect).json
    }
}

pub(crate) async fn run(args: ShardsArgs) -> Result<(), Failure> {
    let Some(command) = args.command else {
        let read = ask(&args.connect, ReadShards::Shards).await?;
        return tell::told(&read, args.connect.json, tell::shards);
    };
    let asked = command.asked();
    let change = ChangeShards { change: command.change()?, reason: asked.reason.clone() };
    changed(&asked.connect, change).await
}

async fn ask(connect: &ConnectArgs, read: ReadShards) -> Result<tell::Facts, Failure> {
    Ok(connect.clone().run(async |client| Ok(client.shards(read).await?)).await?.facts)
}

async fn changed(connect: &ConnectArgs, change: ChangeShards) -> Result<(), Failure> {
    let facts = connect.clone().run(async |client| Ok(client.change_shards(change).await?)).await?.facts;
    tell::told(&facts, connect.json, tell::changed)
}

/// What to do about migrations.
#[derive(Debug, Args)]
#[command(after_help = MIGRATIONS_HELP)]
pub(crate) struct MigrationsArgs {
    #[command(subcommand)]
    command: Option<MigrationsCommand>,

    /// Show so many of those that have ended
    #[arg(long, value_name = "N", default_value_t = SHARD_EVENTS_DEFAULT as u32,
          value_parser = clap::value_parser!(u32).range(1..=SHARD_EVENTS_MAX as i64))]
    limit: u32,

    #[command(flatten)]
    connect: ConnectArgs,
}

const MIGRATIONS_HELP: &str = "\
Without a command what moves is shown, with how far it has come, and what has moved, newest first.
What was moved by one that is called off goes back; a re-key ends where it is. An estimate goes by how far the keys have moved so far.

Examples:
  ostrakon migrations
  ostrakon migrations pause 7
  ostrakon migrations resume 7
  ostrakon migrations abort 7";

#[derive(Debug, Subcommand)]
enum MigrationsCommand {
    /// Let one rest
    #[command(after_help = "Example:\n  ostrakon migrations pause 7")]
    Pause(MigrationArgs),
    /// Let it go on
    #[command(after_help = "Example:\n  ostrakon migrations resume 7")]
    Resume(MigrationArgs),
    /// Call it off: what it has moved goes back
    #[command(after_help = "Example:\n  ostrakon migrations abort 7")]
    Abort(MigrationArgs),
}

#[derive(Debug, Args)]
struct MigrationArgs {
    /// Its number
    migration: u64,

    #[command(flatten)]
    connect: ConnectArgs,
}

impl MigrationsCommand {
    fn of(&self) -> (&MigrationArgs, ShardChange) {
        match self {
            Self::Pause(of) => (of, ShardChange::Pause(Some(of.migration))),
            Self::Resume(of) => (of, ShardChange::Resume(Some(of.migration))),
            Self::Abort(of) => (of, ShardChange::Abort(of.migration)),
        }
    }
}

impl MigrationsArgs {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.command.as_ref().map_or(&self.connect, |command| &command.of().0.connect).json
    }
}

pub(crate) async fn migrations(args: MigrationsArgs) -> Result<(), Failure> {
    match &args.command {
        Some(command) => {
            let (of, change) = command.of();
            changed(&of.connect, ChangeShards { change, reason: None }).await
        }
        None => {
            let read = ask(&args.connect, ReadShards::Migrations { limit: args.limit as usize }).await?;
            tell::told(&read, args.connect.json, tell::migrations)
        }
    }
}

/// What the planner is to do.
#[derive(Debug, Args)]
#[command(after_help = REBALANCE_HELP, arg_required_else_help = true)]
pub(crate) struct RebalanceArgs {
    #[command(subcommand)]
    command: Option<RebalanceCommand>,

    /// Show what the planner would do now; it is what it does, where it is not paused
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    connect: ConnectArgs,
}

const REBALANCE_HELP: &str = "\
The planner splits shards that are hot where both sides get relief, merges cold neighbours, and moves shards from
owners that have too much to do. `ostrakon decisions` tells what it did and refused, and why.

Examples:
  ostrakon rebalance --dry-run
  ostrakon rebalance pause
  ostrakon rebalance resume
  ostrakon rebalance limits
  ostrakon rebalance limits --set '{\"shards-max\": 200}'";

#[derive(Debug, Subcommand)]
enum RebalanceCommand {
    /// Let the planner do nothing, and all migrations rest
    #[command(after_help = "Example:\n  ostrakon rebalance pause")]
    Pause(AboutArgs),
    /// Let them go on
    #[command(after_help = "Example:\n  ostrakon rebalance resume")]
    Resume(AboutArgs),
    /// Show what the planner goes by, or set some of it
    #[command(
        after_help = "Example:\n  ostrakon rebalance limits\n  ostrakon rebalance limits --set '{\"shards-max\": 200}'"
    )]
    Limits(LimitsArgs),
}

#[derive(Debug, Args)]
struct LimitsArgs {
    /// A JSON object; what it leaves out stays
    #[arg(long, value_name = "JSON")]
    set: Option<String>,

    #[command(flatten)]
    connect: ConnectArgs,
}

impl RebalanceArgs {
    /// Whether answers and errors are wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Some(RebalanceCommand::Pause(args) | RebalanceCommand::Resume(args)) => args.connect.json,
            Some(RebalanceCommand::Limits(args)) => args.connect.json,
            None => self.connect.json,
        }
    }
}

pub(crate) async fn rebalance(args: RebalanceArgs) -> Result<(), Failure> {
    let all = |change| ChangeShards { change, reason: None };
    match args.command {
        Some(RebalanceCommand::Pause(args)) => changed(&args.connect, all(ShardChange::Pause(None))).await,
        Some(RebalanceCommand::Resume(args)) => changed(&args.connect, all(ShardChange::Resume(None))).await,
        Some(RebalanceCommand::Limits(LimitsArgs { set: Some(limits), connect })) => {
            changed(&connect, all(ShardChange::SetLimits(limits))).await
        }
        Some(RebalanceCommand::Limits(LimitsArgs { set: None, connect })) => {
            let read = ask(&connect, ReadShards::Limits).await?;
            tell::told(&read, connect.json, tell::facts)
        }
        None if args.dry_run => {
            let read = ask(&args.connect, ReadShards::Plan).await?;
            tell::told(&read, args.connect.json, tell::decisions)
        }
        None => Err(Failure::usage("say what: --dry-run, pause, resume or limits")),
    }
}

/// Which decisions to show.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  ostrakon decisions --limit 50")]
pub(crate) struct DecisionsArgs {
    /// Show so many
    #[arg(long, value_name = "N", default_value_t = SHARD_EVENTS_DEFAULT as u32,
          value_parser = clap::value_parser!(u32).range(1..=SHARD_EVENTS_MAX as i64))]
    limit: u32,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

pub(crate) async fn decisions(args: DecisionsArgs) -> Result<(), Failure> {
    let read = ask(&args.connect, ReadShards::Decisions { limit: args.limit as usize }).await?;
    tell::told(&read, args.connect.json, tell::decisions)
}

pub(crate) const HEAT_HELP: &str = "\
Example:
  ostrakon heat

Which clients, types and objects were used most of late, and which objects are used together.";

pub(crate) async fn heat(args: AboutArgs) -> Result<(), Failure> {
    let read = ask(&args.connect, ReadShards::Heat).await?;
    tell::told(&read, args.connect.json, tell::heat)
}
