//! The `ostrakon` binary: `serve`, and every command that talks to a host.

mod about;
mod action_id;
mod body;
mod check;
mod connect;
mod demo;
mod escalations;
mod failure;
mod history;
mod host;
mod import;
mod list;
mod moments;
mod object;
mod output;
mod play;
mod policies;
mod policy;
mod read;
mod retention;
mod serve;
mod shards;
mod stop;
mod summary;
mod table;
#[cfg(feature = "test-control")]
mod test_control;
mod ticket;
mod transact;
mod watch;
mod write;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use ostrakon_engine::TRACE;
use ostrakon_server::Export;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use failure::Failure;

/// Requests are made on one thread and freed on another, which the platform's allocator pays for with locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A versioned store for control-plane state, with its brain in replaceable plugins.
#[derive(Debug, Parser)]
#[command(name = "ostrakon", version, propagate_version = true, arg_required_else_help = true, after_help = AFTER_HELP)]
struct Cli {
    /// What to log to standard error, e.g. `info`, `ostrakon_server=debug`
    #[arg(
        long,
        global = true,
        env = "OSTRAKON_LOG",
        default_value = "warn",
        value_name = "FILTER",
        hide_env_values = true
    )]
    log: String,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Try it:
  ostrakon demo
  ostrakon serve --dev --data-dir /tmp/ostrakon-dev

then, in another terminal:
  export OSTRAKON_DATA_DIR=/tmp/ostrakon-dev
  ostrakon put acme volume vol-1 --data '{\"size\":10}'
  ostrakon get acme volume vol-1
  ostrakon watch acme --list

Exit codes:
  0 ok  1 failed  2 usage  3 conflict  4 not found  5 unreachable or overloaded  6 refused";

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch a host at work: starts one in a temporary folder and plays control-plane traffic against it
    Demo(demo::DemoArgs),
    /// Run a host
    Serve(serve::ServeArgs),
    /// Store a payload under a name
    Put(write::PutArgs),
    /// Merge a patch into an object
    Merge(write::MergeArgs),
    /// Add to numbers in an object
    Add(write::AddArgs),
    /// Delete an object
    Delete(write::DeleteArgs),
    /// Carry out an action of your own, by the reconciliation policy
    Act(write::ActArgs),
    /// Change several objects together, on conditions, or none of them
    Transact(transact::TransactArgs),
    /// Show what became of an action that was detached
    Ticket(ticket::TicketArgs),
    /// See and settle what reconciliation gave up on
    #[command(subcommand)]
    Escalations(escalations::EscalationsCommand),
    /// Show an object
    Get(read::GetArgs),
    /// List the objects of a client
    List(list::ListArgs),
    /// Tell every change as it is committed
    Watch(watch::WatchArgs),
    /// List the versions of an object that are kept
    History(history::HistoryArgs),
    /// Show and set how long versions are kept
    Retention(retention::RetentionArgs),
    /// Write policies; see and change which decide: push, compare, try on a part of the clients, roll back
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Show the version of an object
    #[command(after_help = read::VERSION_HELP)]
    Version(read::LookArgs),
    /// Show where an object lives, or would live
    #[command(after_help = read::SHARD_KEY_HELP)]
    ShardKey(read::LookArgs),
    /// Show which shard owns which keys
    #[command(after_help = about::SHARD_MAP_HELP)]
    ShardMap(about::AboutArgs),
    /// Show shards, their load and health; split, merge, move and pin them
    Shards(shards::ShardsArgs),
    /// Show what moves between shards, owners and keys, and how far it has come; pause, resume and call off
    Migrations(shards::MigrationsArgs),
    /// Show what the planner would do; pause and resume it, see and set its limits
    Rebalance(shards::RebalanceArgs),
    /// Show what the planner did and refused, and why
    Decisions(shards::DecisionsArgs),
    /// Show what is used most: clients, types, objects
    #[command(after_help = shards::HEAT_HELP)]
    Heat(about::AboutArgs),
    /// Show what the host is and has done
    #[command(after_help = about::INFO_HELP)]
    Info(about::InfoArgs),
    /// Check that what a stopped host's folder holds agrees with itself
    Check(check::CheckArgs),
    /// Play files of another system as traffic
    Import(import::ImportArgs),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  source <(ostrakon completions bash)")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error),
    };
    let json = cli.command.json();
    match log_and_run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.in_json(json).report(),
    }
}

fn log_and_run(cli: Cli) -> Result<(), Failure> {
    let export = match &cli.command {
        Command::Serve(args) => args.export()?,
        _ => None,
    };
    start_logging(&cli.log, export.as_ref())?;
    run(cli.command)?;
    if let Some(export) = export {
        export.stop();
    }
    Ok(())
}

/// Arguments that say nothing that can be done; a help text that was asked for comes here too.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let message = error.to_string();
        let message = message.strip_prefix("error: ").unwrap_or(&message).trim_end();
        return Failure::usage(message).in_json(true).report();
    }
    error.exit()
}

impl Command {
    /// Whether answers and errors are wanted as JSON.
    fn json(&self) -> bool {
        match self {
            Self::Demo(args) => args.json,
            Self::Put(args) => args.change.connect.json,
            Self::Merge(args) => args.change.connect.json,
            Self::Add(args) => args.change.connect.json,
            Self::Delete(args) => args.change.connect.json,
            Self::Act(args) => args.change.connect.json,
            Self::Transact(args) => args.connect.json,
            Self::Ticket(args) => args.connect.json,
            Self::Escalations(command) => command.json(),
            Self::Get(args) => args.look.connect.json,
            Self::Version(args) | Self::ShardKey(args) => args.connect.json,
            Self::List(args) => args.connect.json,
            Self::Watch(args) => args.connect.json,
            Self::History(args) => args.connect.json,
            Self::Retention(args) => args.connect.json,
            Self::Policy(command) => command.json(),
            Self::ShardMap(args) => args.connect.json,
            Self::Shards(args) => args.json(),
            Self::Migrations(args) => args.json(),
            Self::Rebalance(args) => args.json(),
            Self::Decisions(args) => args.connect.json,
            Self::Heat(args) => args.connect.json,
            Self::Info(args) => args.about.connect.json,
            Self::Import(args) => {
                let import::Format::Cloudtrail(args) = &args.format;
                args.connect.json
            }
            Self::Check(args) => args.json,
            Self::Serve(_) | Self::Completions { .. } => false,
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Demo(args) => block_on(demo::run(args)),
        Command::Serve(args) => block_on_threads(args.runtime_threads(), serve::run(args)),
        Command::Put(args) => block_on(write::put(args)),
        Command::Merge(args) => block_on(write::merge(args)),
        Command::Add(args) => block_on(write::add(args)),
        Command::Delete(args) => block_on(write::delete(args)),
        Command::Act(args) => block_on(write::act(args)),
        Command::Transact(args) => block_on(transact::run(args)),
        Command::Ticket(args) => block_on(ticket::run(args)),
        Command::Escalations(command) => block_on(escalations::run(command)),
        Command::Get(args) => block_on(read::get(args)),
        Command::List(args) => block_on(list::run(args)),
        Command::Watch(args) => block_on(watch::run(args)),
        Command::History(args) => block_on(history::run(args)),
        Command::Retention(args) => block_on(retention::run(args)),
        Command::Policy(command) => block_on(policy::run(command)),
        Command::Version(args) => block_on(read::version(args)),
        Command::ShardKey(args) => block_on(read::shard_key(args)),
        Command::ShardMap(args) => block_on(about::shard_map(args)),
        Command::Shards(args) => block_on(shards::run(args)),
        Command::Migrations(args) => block_on(shards::migrations(args)),
        Command::Rebalance(args) => block_on(shards::rebalance(args)),
        Command::Decisions(args) => block_on(shards::decisions(args)),
        Command::Heat(args) => block_on(shards::heat(args)),
        Command::Info(args) => block_on(about::info(args)),
        Command::Check(args) => check::run(&args),
        Command::Import(args) => {
            let import::Format::Cloudtrail(args) = args.format;
            block_on(import::run(args))
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "ostrakon", &mut script);
            output::say(&String::from_utf8_lossy(&script).trim_end())
        }
    }
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    block_on_threads(available_cores(), work)
}

fn block_on_threads(threads: usize, work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    runtime.map_err(|error| Failure::failed(format!("no runtime could be started: {error}")))?.block_on(work)
}

fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn start_logging(filter: &str, export: Option<&Export>) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| Failure::usage(format!("--log: {error}")))?;
    match export {
        None => tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init(),
        Some(export) => {
            // Traces are not logged as well.
            let untraced = format!("{TRACE}=off").parse().expect("the target of traces is one");
            let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
            let log = log.with_filter(filter.add_directive(untraced));
            tracing_subscriber::registry().with(log).with(export.layer()).init();
        }
    }
    Ok(())
}
