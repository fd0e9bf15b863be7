//! `demo`: a host, some traffic, and what was decided. The first thing that a newcomer runs.
//!
//! The host is a real one in a folder of its own, the traffic goes through QUIC from a connection for each principal, and
//! every number comes from answers or from the host's own counts.

mod candidates;
mod moves;
mod together;
mod transfers;

use std::io::IsTerminal;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use ostrakon_client::json::to_json;
use ostrakon_client::value::Value as Structured;
use ostrakon_client::{ClientConfig, Error};
use ostrakon_cloudtrail::{Options, Play, load, map, sample};
use serde_json::Value;
use tokio::sync::watch;

use crate::failure::Failure;
use crate::host::Host;
use crate::import::bar;
use crate::output::say;
use crate::play::{Counts, Ids, Player, Speed, Trace};
use crate::serve::{StoreArgs, print_next_steps};
use crate::stop;
use crate::summary::Summary;
use candidates::Candidates;
use moves::Moves;
use together::Together;
use transfers::Transfers;

/// What to show.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DemoArgs {
    /// CloudTrail files or folders to play instead of made-up traffic
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Seed of the made-up traffic: the same seed makes the same traffic
    #[arg(long, value_name = "N", default_value = "7", conflicts_with = "paths")]
    seed: u64,

    /// Events of made-up traffic
    #[arg(long, value_name = "N", default_value = "16000", conflicts_with = "paths",
          value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    events: u32,

    /// How fast: real, so many times faster than real, or max [default: a few seconds to watch, then max]
    #[arg(long, value_name = "real|N|max")]
    speed: Option<Speed>,

    /// Leave the host serving afterwards, until Ctrl-C
    #[arg(long)]
    stay: bool,

    /// Sum up in JSON, on one line of standard output
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    store: StoreArgs,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon demo
  ostrakon demo --stay
  ostrakon demo my-cloudtrail-folder/ --speed max

What you see: services that change the same things at the same time. Each write names the version \
that its sender last saw; who comes second is told what stands there, and acts again on that. Before \
each such write a prediction policy says which version it will meet; whether it was right is judged \
when the write has been ordered. Where an object lives is decided by a shard-key policy. At the end \
many clients change one object at once and leave it to the host: each action waits for its turn, a \
reconciliation policy judges it again on what stands there then, and nobody comes back; that policy is swapped \
meanwhile. All policies are WebAssembly components. A candidate for shard keys is asked beside the one \
that decides, to see what it would change. While others transfer between objects, the fullest shard is split \
in two and joined again.";

/// The part that is played slowly enough to be watched: so many events, so many times faster than their own times.
const WATCHED_EVENTS: usize = 960;
const WATCHED_SPEED: Speed = Speed::Times(12.0);
/// How often a line is printed where no progress bar can be.
const LINE_EVERY: Duration = Duration::from_secs(2);

pub(crate) async fn run(args: DemoArgs) -> Result<(), Failure> {
    stop::on_signal(|stop| Box::pin(run_until(args, stop))).await?
}

/// From the first to the last: whatever ends it, the host is stopped and its folder removed.
async fn run_until(args: DemoArgs, stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let trace = Arc::new(Trace::new(plays(&args)?));
    let folder = tempfile::Builder::new().prefix("ostrakon-demo-").tempdir();
    let folder = folder.map_err(|error| Failure::failed(format!("no temporary folder: {error}")))?;
    let host = Host::start(args.store.config(folder.path().to_path_buf())).await?;
    let outcome = show(&args, &trace, &host, folder.path(), stop).await;
    host.stop().await;
    outcome
}

fn plays(args: &DemoArgs) -> Result<Vec<Play>, Failure> {
    let events = match args.paths.as_slice() {
        [] => sample(args.seed, args.events as usize),
        paths => load(paths).map_err(|error| Failure::failed(error.to_string()))?,
    };
    Ok(events.iter().map(|event| map(event, &Options::default())).collect())
}

async fn show(
    args: &DemoArgs,
    trace: &Arc<Trace>,
    host: &Host,
    folder: &Path,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    if !args.json {
        introduce(trace.plays(), host)?;
    }
    let config = ClientConfig::from_data_folder(folder).map_err(Error::from)?;
    let player = Player::new(config.clone(), Ids::OfTheTrace).await?;
    candidates::shadow(player.client()).await?;
    let told = match play(args, trace, &player, &mut stop).await {
        Ok(played) => tell(&player, &config, &played, args.json).await,
        Err(failure) => Err(failure),
    };
    player.close().await;
    told?;
    if args.stay {
        stay(folder, args.json, &mut stop).await?;
    } else if !args.json {
        say(&"\nNext: ostrakon demo --stay leaves the host serving; ostrakon serve --help runs one of your own.")?;
    }
    Ok(())
}

fn introduce(plays: &[Play], host: &Host) -> Result<(), Failure> {
    let principals: std::collections::HashSet<_> = plays.iter().map(|play| &play.principal).collect();
    say(&format_args!("A host serves on {}, its data in a temporary folder.", host.file.quic))?;
    say(&format_args!(
        "{} principals, each on a QUIC connection of its own, now read and change what they share: {} events.",
        principals.len(),
        plays.len()
    ))?;
    say(
        &"A write names the version its sender last saw. If somebody was faster it loses, and is played again on the winner.\n",
    )
}

/// What was played.
struct Played {
    summary: Summary,
    /// The part that went as fast as the host answers: requests, and how long they took together.
    requests: u64,
    took: Duration,
}

async fn play(
    args: &DemoArgs,
    trace: &Arc<Trace>,
    player: &Player,
    stop: &mut watch::Receiver<bool>,
) -> Result<Played, Failure> {
    let all = trace.plays().len();
    let watched = if args.paths.is_empty() { trace.seconds_within(WATCHED_EVENTS) } else { 0 };
    let acts: Vec<(Range<usize>, Speed)> = match args.speed {
        Some(speed) => vec![(0..all, speed)],
        None => vec![(0..watched, WATCHED_SPEED), (watched..all, Speed::Max)],
    };
    let (shown, terminal) = (!args.json, std::io::stderr().is_terminal());
    let bar = bar(shown && terminal, all as u64);
    let (begun, mut line) = (Instant::now(), Instant::now());
    let (mut requests, mut took) = (0, Duration::ZERO);
    let mut summary = Summary::default();
    for (events, speed) in acts.into_iter().filter(|(events, _)| !events.is_empty()) {
        let (act_begun, requests_before) = (Instant::now(), requests_of(&player.counts()));
        let ended = player.play(trace, events, speed, stop, |done, counts| {
            bar.set_position(done as u64);
            let news = format!("{} versions, {} conflicts", counts.versions, counts.conflicts);
            if shown && !terminal && line.elapsed() >= LINE_EVERY {
                line = Instant::now();
                eprintln!("{done} of {all} events: {news}");
            }
            bar.set_message(news);
        });
        let ended = Box::pin(ended).await;
        if let Some(error) = ended.error {
            return Err(error.into());
        }
        if ended.stopped {
            return Err(Failure::interrupted());
        }
        (requests, took) = (requests_of(&player.counts()) - requests_before, act_begun.elapsed());
    }
    bar.finish_and_clear();
    summary.played(trace.plays());
    summary.came_to(player.counts(), begun.elapsed());
    Ok(Played { summary, requests, took })
}

fn requests_of(counts: &Counts) -> u64 {
    counts.reads.count() + counts.writes.count()
}

async fn facts(player: &Player) -> Result<Value, Failure> {
    Ok(to_json(&Structured::Map(player.client().info().await?.facts)))
}

async fn tell(player: &Player, config: &ClientConfig, played: &Played, json: bool) -> Result<(), Failure> {
    let mut facts = facts(player).await?;
    let per_second = (played.requests as f64 / played.took.as_secs_f64().max(1e-6)).round() as u64;
    played.summary.warn();
    if let Some(failure) = played.summary.failure() {
        return Err(failure.after(played.summary.fields().into_map()));
    }
    let (together, swaps) = tokio::join!(Together::play(config), candidates::swap(player.client()));
    let (together, candidates) = (together?, Candidates::end(player.client(), swaps?).await?);
    let (transfers, moves) = tokio::join!(Transfers::play(config), Moves::play(player.client()));
    let (transfers, moves) = (transfers?, moves?);
    facts["policies"] = self::facts(player).await?["policies"].take();
    if json {
        let fields = played.summary.fields().set("requests_per_s", per_second);
        let named = ["predictions", "policies", "commits", "shards"].map(|name| (name, facts[name].clone()));
        let [predictions, policies, commits, shards] = named;
        return fields
            .set(predictions.0, predictions.1)
            .set(policies.0, policies.1)
            .set(commits.0, commits.1)
            .set("shards_of_host", shards.1)
            .set("together", together.json())
            .set("transfers", transfers.json())
            .set("moves", moves.json())
            .set("candidates", candidates.json())
            .print();
    }
    played.summary.print()?;
    say(&format_args!(
        "as fast as the host answered, one second of the trace at a time: {per_second} requests a second"
    ))?;
    tell_decisions(&facts)?;
    say(&together.line())?;
    say(&transfers.line())?;
    say(&moves.line())?;
    say(&candidates.line())
}

/// What the policies decided, as the host counted it.
fn tell_decisions(facts: &Value) -> Result<(), Failure> {
    let count = |path: &str| facts.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    let (right, wrong) = (count("/predictions/right"), count("/predictions/wrong"));
    say(&format_args!("predictions of the version that a write would meet: {right} right, {wrong} wrong"))?;
    say(&format_args!(
        "predictions that a write would lose: {} confirmed before it was tried, {} refuted (it went ahead)",
        count("/predictions/aborts-confirmed"),
        count("/predictions/aborts-refuted")
    ))?;
    let (groups, changes) = (count("/commits/groups"), count("/commits/changes"));
    say(&format_args!(
        "durable commits: {changes} changes in {groups} groups, each synced to disk before it was answered"
    ))?;
    for (slot, policy) in facts["policies"].as_object().into_iter().flatten() {
        let text = |name: &str| policy[name].as_str().unwrap_or("?");
        say(&format_args!(
            "policy {slot}: {} {}, generation {}, {} calls",
            text("name"),
            text("version"),
            policy["generation"],
            policy["calls"]
        ))?;
    }
    Ok(())
}

async fn stay(folder: &Path, json: bool, stop: &mut watch::Receiver<bool>) -> Result<(), Failure> {
    if !json {
        say(&"\nThe host goes on serving until Ctrl-C; then its folder is removed.")?;
        print_next_steps(folder);
    }
    let told = stop.wait_for(|stop| *stop).await;
    told.map(drop).map_err(|_| Failure::interrupted())
}
