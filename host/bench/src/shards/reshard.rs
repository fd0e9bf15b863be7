//! Scenario `reshard`: what a request notices of shards that are split, merged, moved and re-keyed under it.
//!
//! One host serves reads and writes at 60 % of what it can do, all of them due at times of their own. What it can do is measured
//! before each round of all kinds, on objects that have all the versions that are kept. Rounds without a
//! migration and rounds of each kind take turns, each the first once in five; in those one migration follows the other for as
//! long as the round lasts. Every read must show the latest version that was answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ostrakon_client::{ObjectId, ShardChange, ShardKey};
use ostrakon_wire::bounds::{HISTORY_VERSIONS_DEFAULT, SHARDS_DEFAULT, SHARDS_MAX};
use serde_json::{Map, Value};

use super::Operator;
use super::mixed::{Came, Choice, Load};
use crate::Options;
use crate::host::{self, Host};
use crate::load::{Random, WARM_UP, Window};
use crate::pipe::object_id;
use crate::report::{Report, rounded};
use crate::rounds::median;

const OBJECTS: usize = 60_000;
const CONNECTIONS: usize = 8;
const WRITES_PERCENT: u64 = 50;
/// Of what the host can do, in hundredths.
const LOAD_PERCENT: u64 = 60;
/// Objects that are brought under other keys at a time.
const REKEYS_AT_A_TIME: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moving {
    Nothing,
    Split,
    Merge,
    Move,
    Rekey,
}

impl Moving {
    const ALL: [Self; 5] = [Self::Nothing, Self::Split, Self::Merge, Self::Move, Self::Rekey];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Split => "split",
            Self::Merge => "merge",
            Self::Move => "move",
            Self::Rekey => "re-key",
        }
    }
}

struct Outcome {
    p50_us: u64,
    p99_us: u64,
    latency_us_max: u64,
    failed: u64,
    stale: u64,
    requests: u64,
    migrations: u64,
    moved: u64,
    /// Objects a second while something moved.
    moved_per_s: u64,
    pause_us_max: u64,
}

/// Any object, each as likely as others.
struct Evenly(u64);

impl Choice for Evenly {
    fn next(&mut self, random: &mut Random) -> usize {
        random.below(self.0) as usize
    }
}

/// Measures rounds in turn on one host.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    host::measured(&[], PATIENCE, async |host| measure(host, options).await)
}

fn objects() -> anyhow::Result<Vec<Vec<ObjectId>>> {
    (0..CONNECTIONS).map(|at| (at..OBJECTS).step_by(CONNECTIONS).map(object_id).collect()).collect()
}

async fn measure(host: &Host, options: &Options) -> anyhow::Result<Report> {
    let operator = Operator::of(&host.file).await?;
    // What moves is what this scenario moves.
    let limits = r#"{"split-work-us": 64000000, "alone-share": 100, "over": 100, "under": 0, "merge-work-us": 0}"#;
    operator.change(ShardChange::SetLimits(limits.into())).await?;
    let each = OBJECTS / CONNECTIONS;
    let choices = (0..CONNECTIONS).map(|_| Evenly(each as u64)).collect();
    let mut load = Load::begin(&host.file, objects()?, choices, |random| Some(ShardKey::new(random.next()))).await?;
    // What the host can do is measured where it is to do a part of it: once objects have all the versions that are kept.
    load = load.write_all(HISTORY_VERSIONS_DEFAULT).await?;
    let (mut peaks, mut outcomes) = (Vec::new(), Moving::ALL.map(|_| Vec::new()));
    for round in 0..options.rounds as usize {
        let window = Window::after_warm_up(options.seconds);
        let (driven, came) = load.drive(None, WRITES_PERCENT, window, &Arc::new(())).await?;
        load = driven;
        let peak = came.tally.figures().committed_per_s;
        peaks.push(peak);
        let per_s = peak * LOAD_PERCENT / 100;
        // Each comes first once: what the host holds grows from one to the next.
        let kinds = Moving::ALL.into_iter().enumerate();
        for (at, moving) in kinds.cycle().skip(round).take(Moving::ALL.len()) {
            let window = Window::after_warm_up(options.seconds);
            let driving =
                tokio::spawn(async move { load.drive(Some(per_s), WRITES_PERCENT, window, &Arc::new(())).await });
            tokio::time::sleep(WARM_UP).await;
            let moved = keep_moving(&operator, moving, window).await?;
            let (driven, came) = driving.await??;
            load = driven;
            outcomes[at].push(outcome(&came, &moved));
        }
    }
    Ok(report(&outcomes, &peaks))
}

/// What was moved in one round.
#[derive(Default)]
struct Moved {
    migrations: u64,
    objects: u64,
    took: Duration,
    pause_us_max: u64,
}

async fn keep_moving(operator: &Operator, moving: Moving, window: Window) -> anyhow::Result<Moved> {
    let (mut moved, began, mut turn) = (Moved::default(), Instant::now(), 0);
    if moving == Moving::Rekey {
        return rekey(operator, window).await;
    }
    while moving != Moving::Nothing && !window.is_over(Instant::now()) {
        let Some(change) = next(operator, moving, turn).await? else { break };
        turn += 1;
        let Some(it) = operator.migrate(change).await? else { continue };
        moved.migrations += 1;
        moved.objects += it["objects"].as_u64().unwrap_or_default();
        moved.pause_us_max = moved.pause_us_max.max(it["step-us-max"].as_u64().unwrap_or_default());
    }
    moved.took = began.elapsed();
    Ok(moved)
}

/// Brings any object under any key, several at a time.
async fn rekey(operator: &Operator, window: Window) -> anyhow::Result<Moved> {
    let began = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for seed in 1..=REKEYS_AT_A_TIME {
        let operator = operator.clone();
        running.spawn(async move {
            let (mut random, mut moved) = (Random::seeded(seed), 0);
            while !window.is_over(Instant::now()) {
                let object = object_id(random.below(OBJECTS as u64) as usize)?;
                let shard_key = Some(ShardKey::new(random.next()));
                let done = operator.change(ShardChange::RekeyObject { object, shard_key }).await?;
                moved += u64::from(done.is_some_and(|done| done["moved"] == true));
            }
            anyhow::Ok(moved)
        });
    }
    let mut moved = Moved::default();
    while let Some(ended) = running.join_next().await {
        moved.objects += ended??;
    }
    moved.migrations = moved.objects;
    moved.took = began.elapsed();
    Ok(moved)
}

/// The next migration of a kind; `None` where there is nothing left to do.
async fn next(operator: &Operator, moving: Moving, turn: usize) -> anyhow::Result<Option<ShardChange>> {
    let map = operator.client().shard_map().await?;
    let width = |at: &usize| map.shards[*at].end.get() - map.shards[*at].start.get();
    let all = 0..map.shards.len();
    Ok(match moving {
        // The widest holds the most, since keys are spread evenly.
        Moving::Split if map.shards.len() >= SHARDS_MAX as usize => None,
        Moving::Split => {
            let at = all.max_by_key(width).context("a map has shards")?;
            let range = &map.shards[at];
            let middle = ShardKey::new(range.start.get() + width(&at) / 2);
            Some(ShardChange::Split { shard: range.shard, at: Some(middle) })
        }
        Moving::Merge if map.shards.len() <= SHARDS_DEFAULT as usize / 2 => None,
        Moving::Merge => {
            let narrow = |at: &usize| width(at) + width(&(at + 1));
            let at = (0..map.shards.len() - 1).min_by_key(narrow).context("there are two shards")?;
            Some(ShardChange::Merge(map.shards[at].shard))
        }
        Moving::Move => {
            let range = &map.shards[turn % map.shards.len()];
            Some(ShardChange::Move { shard: range.shard, owner: (range.owner + 1) % 4 })
        }
        Moving::Nothing | Moving::Rekey => None,
    })
}

fn outcome(came: &Came, moved: &Moved) -> Outcome {
    let figures = came.tally.figures();
    Outcome {
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
        latency_us_max: came.latency_us_max,
        failed: came.failed,
        stale: came.stale,
        requests: came.requests,
        migrations: moved.migrations,
        moved: moved.objects,
        moved_per_s: (moved.objects as f64 / moved.took.as_secs_f64().max(1e-9)) as u64,
        pause_us_max: moved.pause_us_max,
    }
}

fn report(outcomes: &[Vec<Outcome>], peaks: &[u64]) -> Report {
    let p99 = |at: usize| median(&outcomes[at], |it| it.p99_us);
    let ratio = |at: usize| p99(at) as f64 / p99(0).max(1) as f64;
    let all = || outcomes.iter().flatten();
    let most = |of: fn(&Outcome) -> u64| all().map(of).max().unwrap_or_default();
    let ratios = (1..Moving::ALL.len()).map(ratio).fold(0.0, f64::max);
    let rows_move = [1, 2].map(|at| median(&outcomes[at], |it| it.moved_per_s));
    let summary = Map::from_iter([
        ("requests".to_owned(), Value::from(all().map(|it| it.requests).sum::<u64>())),
        ("failed".to_owned(), all().map(|it| it.failed).sum::<u64>().into()),
        ("stale".to_owned(), all().map(|it| it.stale).sum::<u64>().into()),
        ("write_pause_ms_max".to_owned(), rounded(most(|it| it.pause_us_max) as f64 / 1e3)),
        ("p99_ratio".to_owned(), rounded(ratios)),
        ("objects_moved_per_s".to_owned(), rows_move.into_iter().min().into()),
        ("migrations".to_owned(), all().map(|it| it.migrations).sum::<u64>().into()),
        ("peak_per_s".to_owned(), median(peaks, |peak| *peak).into()),
    ]);
    let row = |(at, moving): (usize, Moving)| {
        let rounds = &outcomes[at];
        Map::from_iter([
            ("moving".to_owned(), Value::from(moving.name())),
            ("migrations".to_owned(), rounds.iter().map(|it| it.migrations).sum::<u64>().into()),
            ("objects".to_owned(), rounds.iter().map(|it| it.moved).sum::<u64>().into()),
            ("objects_per_s".to_owned(), median(rounds, |it| it.moved_per_s).into()),
            (
                "step_ms_max".to_owned(),
                rounded(rounds.iter().map(|it| it.pause_us_max).max().unwrap_or(0) as f64 / 1e3),
            ),
            ("p50_us".to_owned(), median(rounds, |it| it.p50_us).into()),
            ("p99_us".to_owned(), p99(at).into()),
            ("p99_ratio".to_owned(), rounded(ratio(at))),
            ("latency_ms_max".to_owned(), rounded(median(rounds, |it| it.latency_us_max) as f64 / 1e3)),
        ])
    };
    Report {
        summary,
        columns: &[
            "moving",
            "migrations",
            "objects",
            "objects_per_s",
            "step_ms_max",
            "p50_us",
            "p99_us",
            "p99_ratio",
            "latency_ms_max",
        ],
        rows: Moving::ALL.into_iter().enumerate().map(row).collect(),
    }
}
