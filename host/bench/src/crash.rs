//! A host that is ended at random moments, again and again, on one folder, and held to what it acknowledged.
//!
//! A round: writers on several connections, on objects of their own and on contended ones; an end without a warning, at a
//! drawn moment; sometimes another while the next host opens the folder; a start; every action whose outcome nobody knows
//! is asked for again, some that were acknowledged too; everything is read and compared; and `ostrakon check` looks at
//! the folder, before the start or after a stop. With power cuts what was not synced is gone too (see [`shim`]).

mod model;
mod round;
pub mod shim;
mod writers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
pub use ostrakon_store::planted::Fault;
use serde_json::{Value, json};

use crate::{folder, host};

/// What to do, on the command line.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many rounds.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rounds: u32,
    /// Draws the moments and the actions [default: from the clock].
    #[arg(long)]
    seed: Option<u64>,
    /// Cut the power instead of killing the host: what was not synced is gone. Linux on x86-64, with a C compiler.
    #[arg(long)]
    power: bool,
    /// A drawn part of what was not synced survives a cut.
    #[arg(long, requires = "power")]
    torn: bool,
    /// Build the host with a fault in it, which must be noticed.
    #[arg(long, value_parser = faults())]
    fault: Option<Fault>,
    /// Print the JSON line only.
    #[arg(long)]
    json: bool,
}

/// Those that are seen from outside after an end without a warning.
const FAULTS: [Fault; 2] = [Fault::NoSync, Fault::AnswerEarly];

fn faults() -> impl TypedValueParser<Value = Fault> {
    PossibleValuesParser::new(FAULTS.map(Fault::name))
        .map(|name| Fault::from_name(&name).expect("the parser knows their names"))
}

/// How a host is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With kill -9: what it wrote is written.
    Kill,
    /// With a power cut: what was not synced is gone.
    Cut,
    /// With a power cut that lets some of what was not synced survive.
    Torn,
}

/// What to do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The host's binary; for a fault, one that was built with `planted-faults`.
    pub binary: PathBuf,
    /// How many rounds.
    pub rounds: u32,
    /// Draws the moments and the actions.
    pub seed: u64,
    /// How the host is ended.
    pub end: End,
    /// The fault that the host has.
    pub fault: Option<Fault>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Tally {
    /// Rounds that were played.
    pub rounds: u32,
    /// Actions that were acknowledged.
    pub acked: u64,
    /// Detached actions whose ticket was acknowledged, and their outcome not.
    pub tickets: u64,
    /// Actions that were given up to a person.
    pub escalated: u64,
    /// Acknowledged, and gone or changed.
    pub lost: u64,
    /// One action with two effects, or one version of two actions.
    pub duplicated: u64,
    /// Payloads that nobody wrote whole, and findings of `check`.
    pub torn: u64,
    /// Starts and checks that refused the folder.
    pub refused: u64,
    /// Ends while the host opened the folder.
    pub ends_in_open: u64,
    /// Actions that nobody knew the outcome of, and that had been done.
    pub unknown_done: u64,
    /// The same, not done.
    pub unknown_not_done: u64,
    /// What the cuts have undone.
    pub undone: shim::Undone,
    /// The last journal's number: journals that were begun in the life of the last folder.
    pub journals: u64,
    /// The first words about what was wrong.
    pub wrong: Vec<String>,
}

/// Words that are kept of what was wrong.
const WRONG_MAX: usize = 20;

impl Tally {
    /// Whether the host kept its word.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.torn == 0 && self.refused == 0
    }

    fn wrong(&mut self, words: String) {
        if self.wrong.len() < WRONG_MAX {
            self.wrong.push(words);
        }
    }

    fn to_json(&self, plan: &Plan) -> Value {
        json!({
            "scenario": "crash",
            "rounds": self.rounds,
            "acked": self.acked,
            "tickets": self.tickets,
            "escalated": self.escalated,
            "lost": self.lost,
            "duplicated": self.duplicated,
            "torn": self.torn,
            "refused": self.refused,
            "seed": plan.seed,
            "end": format!("{:?}", plan.end).to_lowercase(),
            "fault": plan.fault.map(Fault::name),
            "ends_in_open": self.ends_in_open,
            "unknown_done": self.unknown_done,
            "unknown_not_done": self.unknown_not_done,
            "undone_writes": self.undone.writes,
            "survived_pages": self.undone.pages,
            "undone_names": self.undone.names,
            "journals": self.journals,
        })
    }
}

/// Plays all rounds. `told` hears of each when it is over.
///
/// # Errors
/// When something could not be played; what the host does wrong is no error, but in the tally.
pub fn run(plan: &Plan, mut told: impl FnMut(&Tally)) -> anyhow::Result<Tally> {
    let mut tally = Tally::default();
    let mut rounds = round::Rounds::begin(plan)?;
    for _ in 0..plan.rounds {
        rounds.play(&mut tally)?;
        tally.rounds += 1;
        told(&tally);
    }
    rounds.end(&mut tally)?;
    Ok(tally)
}

/// The scenario `crash`.
pub(crate) fn scenario(options: &Options) -> anyhow::Result<ExitCode> {
    let of_clock = || std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64;
    let end = match (options.power, options.torn) {
        (false, _) => End::Kill,
        (true, false) => End::Cut,
        (true, true) => End::Torn,
    };
    let features: &[&str] = if options.fault.is_some() { &["planted-faults"] } else { &[] };
    let built = host::build(features)?;
    // A copy: another build may replace it while this runs.
    let kept = folder::fresh()?;
    let binary = kept.path().join("ostrakon");
    std::fs::copy(built, &binary)?;
    let seed = options.seed.unwrap_or_else(of_clock);
    let plan = Plan { binary, rounds: options.rounds, seed, end, fault: options.fault };
    let mut words = 0;
    let tally = run(&plan, |tally| {
        if !options.json {
            let Tally { rounds, acked, lost, duplicated, torn, refused, .. } = tally;
            println!(
                "round {rounds}: {acked} acked, {lost} lost, {duplicated} duplicated, {torn} torn, {refused} refused"
            );
        }
        for line in &tally.wrong[words..] {
            eprintln!("seed {seed}, round {}: {line}", tally.rounds);
        }
        words = tally.wrong.len();
    })?;
    for line in &tally.wrong[words..] {
        eprintln!("seed {seed}, at the end: {line}");
    }
    println!("{}", tally.to_json(&plan));
    Ok(if tally.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
