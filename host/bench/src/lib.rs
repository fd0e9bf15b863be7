//! `ostrakon-bench`: measurements that can be repeated.
//!
//! A scenario is one row of `SCENARIOS`. It prints a table for people and, as the last line, one JSON object for whoever
//! compares figures. What a scenario starts as another process is a hidden subcommand of this binary. `crash` measures no
//! speed: it ends a host again and again and holds it to its word, and the black-box tests use it too.

mod child;
mod contended;
mod contention;
pub mod crash;
mod drive;
mod fairness;
mod feed;
mod folder;
mod host;
mod isolation;
mod javascript;
mod keyspaces;
mod limit;
mod load;
mod overload;
#[cfg(feature = "peers")]
mod peers;
mod pipe;
mod policies;
mod policy_call;
mod policy_inputs;
mod pressure;
mod reads;
mod report;
mod rounds;
mod sample;
mod shards;
mod transact;
mod writes;

use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};
use ostrakon_wire::bounds::WATCHES_MAX;

use crate::report::Report;

struct Scenario {
    name: &'static str,
    run: fn(&Options) -> anyhow::Result<Report>,
}

const SCENARIOS: &[Scenario] = &[
    Scenario { name: "limit", run: limit::run },
    Scenario { name: "writes", run: writes::run },
    Scenario { name: "reads", run: reads::run },
    Scenario { name: "policy-call", run: policy_call::run },
    Scenario { name: "keyspaces", run: keyspaces::run },
    Scenario { name: "overload", run: overload::run },
    Scenario { name: "fairness", run: fairness::run },
    Scenario { name: "pressure", run: pressure::run },
    Scenario { name: "contention", run: contention::run },
    Scenario { name: "predictions", run: contention::predictions },
    Scenario { name: "isolation", run: isolation::run },
    Scenario { name: "feed", run: feed::run },
    Scenario { name: "transact", run: transact::run },
    Scenario { name: "swap", run: policies::swap::run },
    Scenario { name: "shadow", run: policies::shadow::run },
    Scenario { name: "rollback", run: policies::rollback::run },
    Scenario { name: "containment", run: policies::containment::run },
    Scenario { name: "reshard", run: shards::reshard::run },
    Scenario { name: "balance", run: shards::balance::run },
    Scenario { name: "keying", run: shards::keying::run },
];

/// Measures one scenario.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Command {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    options: Option<Options>,
}

#[derive(Args)]
struct Options {
    /// What to measure.
    #[arg(value_parser = PossibleValuesParser::new(SCENARIOS.iter().map(|scenario| scenario.name)))]
    scenario: String,
    /// How long one round of one case is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// How often every case is measured; figures are medians.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Measure these shapes alone, e.g. `8x32`: connections x requests in flight on each.
    #[arg(long = "shape", value_name = "CONNECTIONSxIN_FLIGHT", default_values = load::SHAPES)]
    shapes: Vec<load::Shape>,
    /// Measure hosts with these numbers of shards (`pressure` alone).
    #[arg(long, default_values_t = pressure::SHARDS)]
    shards: Vec<u32>,
    /// So many watch, spread over a hundred client ids (`feed` alone).
    #[arg(long, default_value_t = feed::WATCHERS, value_parser = clap::value_parser!(u16).range(1..=WATCHES_MAX as i64))]
    watchers: u16,
    /// Measure etcd and Redis beside the host (`contention`), or etcd (`transact`); in builds with the feature `peers`. They
    /// are fetched from Debian's packages into target/peers at the first time.
    #[arg(long)]
    peers: bool,
    /// Print the JSON line only.
    #[arg(long)]
    json: bool,
}

impl Options {
    /// Whether peers are measured.
    ///
    /// # Errors
    /// When they are asked for in a build without them.
    fn with_peers(&self) -> anyhow::Result<bool> {
        let built = cfg!(feature = "peers");
        ensure!(built || !self.peers, "the peers are part of builds with `--features ostrakon-bench/peers` alone");
        Ok(self.peers)
    }
}

/// The other process of a scenario.
#[derive(Subcommand)]
enum Part {
    #[command(hide = true)]
    LimitServer(limit::ServerOptions),
    #[command(hide = true)]
    KeyspacesStore(keyspaces::StoreOptions),
    /// End a host at random moments, again and again, and hold it to what it acknowledged.
    Crash(crash::Options),
}

/// Does what the command line asks for.
///
/// # Errors
/// When something could not be measured.
pub fn main() -> anyhow::Result<ExitCode> {
    let command = Command::parse();
    match (command.part, command.options) {
        (Some(Part::LimitServer(options)), _) => limit::serve(&options)?,
        (Some(Part::KeyspacesStore(options)), _) => keyspaces::store(&options)?,
        (Some(Part::Crash(options)), _) => return crash::scenario(&options),
        (None, Some(options)) => measure(&options)?,
        (None, None) => unreachable!("clap asks for a scenario where there is no subcommand"),
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Options) -> anyhow::Result<()> {
    let scenario = SCENARIOS.iter().find(|scenario| scenario.name == options.scenario).context("unknown scenario")?;
    (scenario.run)(options)?.print(scenario.name, options.json);
    Ok(())
}
