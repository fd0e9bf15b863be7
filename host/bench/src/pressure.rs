//! Scenario `pressure`: writes for a long time, and what the host takes of the machine meanwhile.
//!
//! A growing set of objects is written to, over all shards for the first half of the time and in one shard, beside idle ones,
//! for the second. The host is looked at once a second.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ostrakon_wire::bounds::SHARDS_MAX;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{interval_at, timeout};

use crate::host::Host;
use crate::load::{self, Shape};
use crate::pipe::{self, Caller, Keys, Kind, Outcome};
use crate::report::{Report, rounded};
use crate::sample::{self, Sample};
use crate::{Options, folder};

/// Numbers of shards when the command does not say.
pub(crate) const SHARDS: [u32; 2] = [16, SHARDS_MAX];
/// Objects of a phase that are there before it is measured; one write of some creates another.
const OBJECTS: usize = 50_000;
const WRITES_OF_CREATE: u64 = 32;
const CREATE_IN_FLIGHT: usize = 64;
/// The load stops rather than leave less of the disk.
const FREE_GIB_MIN: u64 = 5;
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: usize = 60;
const PATIENCE: Duration = Duration::from_secs(300);
/// The numbers of the objects of the second phase begin there.
const SECOND_PHASE: usize = 50_000_000;

const COLUMNS: &[&str] = &[
    "shards",
    "phase",
    "committed_per_s",
    "worst_second_of_median",
    "worst_second_at_s",
    "stolen_in_worst_second",
    "stolen",
    "longest_wait_us",
    "rss_mib_first_minute",
    "rss_mib_last_minute",
    "rss_mib_max",
    "journal_mib_max",
    "handles_max",
];

/// Loads a host with each number of shards. What is worst over all of them stands for all.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let shape = options.shapes.last().copied().context("there is a shape")?;
    let mut rows = Vec::new();
    for shards in &options.shards {
        rows.extend(host(*shards, shape, options.seconds)?);
    }
    let figure = |row: &Map<String, Value>, name: &str| row[name].as_f64().unwrap_or_default();
    let highest = |name: &str| rows.iter().map(|row| figure(row, name) as u64).max().unwrap_or_default();
    let mut summary: Map<String, Value> = ["rss_mib_max", "journal_mib_max", "handles_max"]
        .map(|name| (name.to_owned(), highest(name).into()))
        .into_iter()
        .collect();
    let worst = rows.iter().map(|row| figure(row, "worst_second_of_median")).fold(f64::INFINITY, f64::min);
    summary.insert("worst_second_of_median".into(), worst.into());
    let growth = rows
        .iter()
        .max_by_key(|row| figure(row, "rss_mib_last_minute") as i64 - figure(row, "rss_mib_first_minute") as i64);
    for name in ["rss_mib_first_minute", "rss_mib_last_minute"] {
        summary.extend(growth.map(|row| (name.to_owned(), row[name].clone())));
    }
    Ok(Report { summary, columns: COLUMNS, rows })
}

/// One second of a phase.
struct Second {
    committed: u64,
    sample: Sample,
    /// Which share of the processors other machines had, beside this one.
    stolen: f64,
}

fn host(shards: u32, shape: Shape, seconds: u64) -> anyhow::Result<Vec<Map<String, Value>>> {
    let folder = folder::fresh()?;
    sample::hold_free(folder.path(), FREE_GIB_MIN)?;
    let host = Host::start(folder.path(), &["--shards", &shards.to_string()])?;
    let runtime = load::runtime()?;
    let phases = [("all shards", Keys::Spread, 0), ("one shard", Keys::First, SECOND_PHASE)];
    let half = Duration::from_secs(seconds.div_ceil(2));
    let mut rows = Vec::new();
    for (name, keys, from) in phases {
        let phase = phase(&host, folder.path(), shape, keys, from, half);
        let patience = half + PATIENCE;
        let (seen, longest_wait_us) = runtime.block_on(async { timeout(patience, phase).await })??;
        rows.push(row(shards, name, &seen, longest_wait_us));
    }
    Ok(rows)
}

async fn phase(
    host: &Host,
    folder: &Path,
    shape: Shape,
    keys: Keys,
    from: usize,
    length: Duration,
) -> anyhow::Result<(Vec<Second>, u64)> {
    let mut callers = pipe::dial_from(&host.file, shape.connections, OBJECTS, from).await?;
    callers.iter_mut().for_each(|caller| caller.keys = keys);
    let callers = pipe::create_all(callers, CREATE_IN_FLIGHT).await?;
    let counted = Arc::new(Counted::default());
    let end = Instant::now() + length;
    let mut running = JoinSet::new();
    for (place, caller) in callers.into_iter().enumerate() {
        let growing = Growing { connections: shape.connections, place, from };
        running.spawn(load_until(caller, growing, shape.in_flight, end, Arc::clone(&counted)));
    }
    let mut seen = Vec::new();
    let mut seconds = interval_at((Instant::now() + SECOND).into(), SECOND);
    let mut before = (0, sample::look(host.pid(), &folder.join("data/store"))?);
    while Instant::now() + SECOND / 2 < end {
        tokio::select! {
            _ = seconds.tick() => {}
            Some(failed) = running.join_next() => failed??,
        }
        let committed = counted.committed.load(Ordering::Relaxed);
        let sample = sample::look(host.pid(), &folder.join("data/store"))?;
        let stolen = sample.processors.stolen_since(before.1.processors);
        seen.push(Second { committed: committed - before.0, sample, stolen });
        before = (committed, sample);
        sample::hold_free(folder, FREE_GIB_MIN)?;
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok((seen, counted.longest_wait_us.load(Ordering::Relaxed)))
}

#[derive(Default)]
struct Counted {
    committed: AtomicU64,
    longest_wait_us: AtomicU64,
}

/// Which names a caller's next objects have.
struct Growing {
    connections: usize,
    place: usize,
    from: usize,
}

async fn load_until(
    mut caller: Caller,
    growing: Growing,
    in_flight: usize,
    end: Instant,
    counted: Arc<Counted>,
) -> anyhow::Result<()> {
    let (mut made, mut busy) = (0_u64, vec![false; caller.objects()]);
    let mut asked: Vec<(usize, Instant)> = Vec::with_capacity(in_flight);
    loop {
        let now = Instant::now();
        if now >= end && asked.is_empty() {
            return Ok(());
        }
        while now < end && asked.len() < in_flight {
            made += 1;
            let object = if made.is_multiple_of(WRITES_OF_CREATE) {
                caller.grow(growing.connections, growing.place, growing.from)?;
                busy.push(false);
                caller.objects() - 1
            } else {
                caller.draw(busy.len())
            };
            if std::mem::replace(&mut busy[object], true) {
                continue;
            }
            caller.request(Kind::Write, object)?;
            asked.push((object, now));
        }
        let answered = |object: usize, outcome: Outcome| {
            let place = asked.iter().position(|(other, _)| *other == object);
            let since = place.map(|place| asked.swap_remove(place).1);
            busy[object] = false;
            if matches!(outcome, Outcome::Committed) {
                let waited = since.map_or(0, |since| since.elapsed().as_micros() as u64);
                counted.longest_wait_us.fetch_max(waited, Ordering::Relaxed);
                counted.committed.fetch_add(1, Ordering::Relaxed);
            }
        };
        caller.turn(None, answered).await?;
    }
}

fn row(shards: u32, phase: &str, seen: &[Second], longest_wait_us: u64) -> Map<String, Value> {
    let each_second = |figure: fn(&Second) -> u64| Value::from(seen.iter().map(figure).collect::<Vec<_>>());
    let mut committed: Vec<u64> = seen.iter().map(|second| second.committed).collect();
    let worst_at = (0..seen.len()).min_by_key(|second| committed[*second]).unwrap_or_default();
    let stolen = seen.iter().map(|second| second.stolen).sum::<f64>() / seen.len().max(1) as f64;
    committed.sort_unstable();
    let (worst, median) = (committed.first().copied(), committed.get(committed.len() / 2).copied());
    let of_median = worst.unwrap_or_default() as f64 / median.unwrap_or_default().max(1) as f64;
    let highest = |of: &[Second], figure: fn(&Sample) -> u64| of.iter().map(|second| figure(&second.sample)).max();
    let minute = seen.len().min(MINUTE);
    let rss = |of: &[Second]| Value::from(highest(of, |sample| sample.rss_mib));
    [
        ("shards", shards.into()),
        ("phase", phase.into()),
        ("committed_per_s", (committed.iter().sum::<u64>() / seen.len().max(1) as u64).into()),
        ("worst_second_of_median", rounded(of_median)),
        ("worst_second_at_s", worst_at.into()),
        ("stolen_in_worst_second", rounded(seen.get(worst_at).map_or(0.0, |second| second.stolen))),
        ("stolen", rounded(stolen)),
        ("longest_wait_us", longest_wait_us.into()),
        ("rss_mib_first_minute", rss(&seen[..minute])),
        ("rss_mib_last_minute", rss(&seen[seen.len() - minute..])),
        ("rss_mib_max", rss(seen)),
        ("journal_mib_max", highest(seen, |sample| sample.journal_mib).into()),
        ("stolen_each_second", seen.iter().map(|second| rounded(second.stolen)).collect::<Vec<_>>().into()),
        ("committed_each_second", each_second(|second| second.committed)),
        ("journal_mib_each_second", each_second(|second| second.sample.journal_mib)),
        ("rss_mib_each_second", each_second(|second| second.sample.rss_mib)),
        ("handles_max", highest(seen, |sample| sample.handles).into()),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}
