//! `import cloudtrail`: real control-plane traffic, from files that operators already have, played against a host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use ostrakon_cloudtrail::{ClientBy, Options, load_with, map};
use tokio::sync::watch;

use crate::connect::ConnectArgs;
use crate::failure::Failure;
use crate::play::{Ended, Ids, Player, Speed, Trace};
use crate::stop;
use crate::summary::Summary;

/// What to import.
#[derive(Debug, Clone, Args)]
pub(crate) struct ImportArgs {
    #[command(subcommand)]
    pub(crate) format: Format,
}

/// In which format.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Format {
    /// Play AWS CloudTrail files: who did what to which resource, and when
    Cloudtrail(CloudtrailArgs),
}

/// How to play CloudTrail files.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct CloudtrailArgs {
    /// Files (.json, .json.gz) and folders of such files
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,

    /// Whose objects they become: the account's that the event is recorded for, or the acting principal's
    #[arg(long, value_enum, value_name = "WHOSE", default_value = "account")]
    client: Whose,

    /// How fast: real, so many times faster than real, or max (as fast as the host answers)
    #[arg(long, value_name = "real|N|max", default_value = "max")]
    speed: Speed,

    /// Give the actions new ids, so that they are done again even if they were imported before
    #[arg(long)]
    new_ids: bool,

    /// Play it all so many times; more than once means new ids each time
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: u32,

    /// No progress bar
    #[arg(long, short)]
    quiet: bool,

    #[command(flatten)]
    pub(crate) connect: ConnectArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Whose {
    Account,
    Principal,
}

const AFTER_HELP: &str = "\
Examples:
  ostrakon import cloudtrail trail/2024/05/
  ostrakon import cloudtrail a.json.gz b.json.gz --speed 60
  ostrakon import cloudtrail trail/ --new-ids --repeat 10 --json

All files are read before anything is played; a bad one ends the import by name. Events are played in \
order of time: those of one second concurrently, 256 at a time. Each acting principal has a connection \
of its own (at most 512 are open; the one idle longest makes room), and its writes are conditional on \
what that connection last saw. A conflict is counted, and the action is played again on the winner \
until it commits. Reads become reads or lists, writes become merges or deletes; a call that failed is \
played as a read.

The same event has the same action id in every import, so a second import changes nothing.";

pub(crate) async fn run(args: CloudtrailArgs) -> Result<(), Failure> {
    stop::on_signal(|stop| Box::pin(run_until(args, stop))).await?
}

async fn run_until(args: CloudtrailArgs, stop: watch::Receiver<bool>) -> Result<(), Failure> {
    let config = args.connect.config()?;
    let (paths, client_by, shown) = (args.paths.clone(), args.client.into(), args.shows_progress());
    let reading = tokio::task::spawn_blocking(move || read(&paths, client_by, shown));
    let trace = reading.await.map_err(|error| Failure::failed(error.to_string()))?;
    let trace = Arc::new(trace?);
    let ids = if args.new_ids || args.repeat > 1 { Ids::New } else { Ids::OfTheTrace };
    let player = Player::new(config, ids).await?;
    let (summary, ended) = play(&args, &trace, &player, stop).await;
    player.close().await;
    tell(&args, &summary, ended)
}

async fn play(
    args: &CloudtrailArgs,
    trace: &Arc<Trace>,
    player: &Player,
    mut stop: watch::Receiver<bool>,
) -> (Summary, Option<Ended>) {
    let all = trace.plays().len();
    let bar = bar(args.shows_progress(), all as u64 * u64::from(args.repeat));
    let (begun, mut summary, mut last) = (Instant::now(), Summary::default(), None);
    for round in 0..args.repeat {
        let before = all as u64 * u64::from(round);
        let ended = player.play(trace, 0..all, args.speed, &mut stop, |done, counts| {
            bar.set_position(before + done as u64);
            bar.set_message(format!("{} versions, {} conflicts", counts.versions, counts.conflicts));
        });
        let ended = ended.await;
        summary.played(&trace.plays()[..ended.played]);
        let over = ended.stopped || ended.error.is_some();
        last = Some(ended);
        if over {
            break;
        }
    }
    bar.finish_and_clear();
    summary.came_to(player.counts(), begun.elapsed());
    (summary, last)
}

fn tell(args: &CloudtrailArgs, summary: &Summary, ended: Option<Ended>) -> Result<(), Failure> {
    let failure = ended.and_then(|ended| match (ended.error, ended.stopped) {
        (Some(error), _) => Some(Failure::from(error)),
        (None, true) => Some(Failure::interrupted()),
        (None, false) => None,
    });
    let failure = failure.or_else(|| summary.failure());
    summary.warn();
    match (failure, args.connect.json) {
        (None, true) => summary.fields().print(),
        (None, false) => summary.print(),
        (Some(failure), true) => Err(failure.after(summary.fields().into_map())),
        (Some(failure), false) => {
            summary.print()?;
            Err(failure)
        }
    }
}

fn read(paths: &[PathBuf], client_by: ClientBy, shown: bool) -> Result<Trace, Failure> {
    let bar = if shown { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    let events = load_with(paths, |progress| {
        bar.set_message(format!(
            "reading: {} of {} files, {} events",
            progress.files_done, progress.files, progress.events
        ));
        bar.tick();
    });
    bar.finish_and_clear();
    let events = events.map_err(|error| Failure::failed(error.to_string()))?;
    let options = Options { client_by };
    Ok(Trace::new(events.iter().map(|event| map(event, &options)).collect()))
}

impl CloudtrailArgs {
    fn shows_progress(&self) -> bool {
        !self.quiet && !self.connect.json
    }
}

impl From<Whose> for ClientBy {
    fn from(whose: Whose) -> Self {
        match whose {
            Whose::Account => Self::Account,
            Whose::Principal => Self::Principal,
        }
    }
}

/// On standard error, and only where that is a terminal.
pub(crate) fn bar(shown: bool, len: u64) -> ProgressBar {
    if !shown {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} events, {elapsed}: {msg}");
    let bar = ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
