//! Scenario `keyspaces`: what many keyspaces with small memtables cost in one fjall database.
//!
//! A child process creates them, writes to all of them once, loads one, loads all, and is killed; another opens what it
//! left. While one is loaded the idle ones pin old journals, unless somebody rotates their memtables: each number of
//! keyspaces is measured without and with that.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use fjall::{AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::load::Random;
use crate::report::Report;
use crate::rounds::{self, median};
use crate::sample::rss_mib;
use crate::{Options, child, folder};

const KEYSPACES: [u32; 3] = [16, 256, 1_000];
const MEMTABLE_BYTES: u64 = 4 << 20;
const CACHE_BYTES: u64 = 64 << 20;
const KEYS: u64 = 100_000;
const VALUE: [u8; 256] = [0x5a; 256];
const GROUP_WRITES: u64 = 256;
const ROTATE_EVERY: Duration = Duration::from_millis(50);
/// More waiting flushes than this, and rotating holds back.
const FLUSHES_MAX: usize = 8;

#[derive(Clone, Copy)]
struct Case {
    keyspaces: u32,
    rotate: bool,
}

/// Measures every number of keyspaces, without and with rotation.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let cases: Vec<Case> =
        KEYSPACES.iter().flat_map(|&keyspaces| [false, true].map(|rotate| Case { keyspaces, rotate })).collect();
    let outcomes = rounds::alternate(&cases, options.rounds, |case| round(*case, options.seconds))?;
    let rows: Vec<Map<String, Value>> = cases.iter().zip(&outcomes).map(|(case, rounds)| row(*case, rounds)).collect();
    let highest = |field: &str| rows.iter().filter_map(|row| row[field].as_u64()).max().into();
    let summary = ["worst_commit_us", "reopen_ms", "journal_mib"].map(|field| (field.to_owned(), highest(field)));
    Ok(Report {
        summary: summary.into_iter().collect(),
        columns: &[
            "keyspaces",
            "rotate",
            "create_ms",
            "one_per_s",
            "one_worst_us",
            "journals",
            "journal_mib",
            "all_per_s",
            "worst_commit_us",
            "rss_mib",
            "reopen_ms",
            "reopen_rss_mib",
        ],
        rows,
    })
}

fn row(case: Case, rounds: &[(Filled, Reopened)]) -> Map<String, Value> {
    let of_filled = |figure: fn(&Filled) -> u64| Value::from(median(rounds, |(filled, _)| figure(filled)));
    let of_reopened = |figure: fn(&Reopened) -> u64| Value::from(median(rounds, |(_, reopened)| figure(reopened)));
    [
        ("keyspaces", case.keyspaces.into()),
        ("rotate", case.rotate.into()),
        ("create_ms", of_filled(|filled| filled.create_ms)),
        ("one_per_s", of_filled(|filled| filled.one.committed_per_s)),
        ("one_worst_us", of_filled(|filled| filled.one.worst_commit_us)),
        ("journals", of_filled(|filled| filled.journals)),
        ("journal_mib", of_filled(|filled| filled.journal_mib)),
        ("all_per_s", of_filled(|filled| filled.all.committed_per_s)),
        ("worst_commit_us", of_filled(|filled| filled.all.worst_commit_us)),
        ("rss_mib", of_filled(|filled| filled.rss_mib)),
        ("reopen_ms", of_reopened(|reopened| reopened.open_ms)),
        ("reopen_rss_mib", of_reopened(|reopened| reopened.rss_mib)),
    ]
    .map(|(name, figure)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}

fn round(case: Case, seconds: u64) -> anyhow::Result<(Filled, Reopened)> {
    let folder = folder::fresh()?;
    let store = || {
        let mut command = child::command("keyspaces-store")?;
        command.arg("--folder").arg(folder.path());
        anyhow::Ok(command)
    };
    let mut fill = store()?;
    fill.arg("--fill").arg(case.keyspaces.to_string()).arg("--seconds").arg(seconds.to_string());
    if case.rotate {
        fill.arg("--rotate");
    }
    let (filling, filled) = child::Running::start(&mut fill)?;
    drop(filling);
    let (_reopening, reopened) = child::Running::start(&mut store()?)?;
    Ok((filled, reopened))
}

/// The child's half.
#[derive(Args)]
pub(crate) struct StoreOptions {
    #[arg(long)]
    folder: PathBuf,
    /// Create this many keyspaces and load them; otherwise only open what is there.
    #[arg(long)]
    fill: Option<u32>,
    #[arg(long, default_value_t = 1)]
    seconds: u64,
    #[arg(long)]
    rotate: bool,
}

/// What the child that filled a database found.
#[derive(Serialize, Deserialize)]
struct Filled {
    create_ms: u64,
    /// One keyspace is loaded, the others idle.
    one: Loaded,
    journals: u64,
    journal_mib: u64,
    /// All are loaded.
    all: Loaded,
    rss_mib: u64,
}

/// What the child that opened a killed one's database found.
#[derive(Serialize, Deserialize)]
struct Reopened {
    open_ms: u64,
    rss_mib: u64,
}

#[derive(Serialize, Deserialize)]
struct Loaded {
    committed_per_s: u64,
    worst_commit_us: u64,
}

/// Does its part, says what it found, and waits for its end.
pub(crate) fn store(options: &StoreOptions) -> anyhow::Result<()> {
    let started = Instant::now();
    let database = open(&options.folder)?;
    match options.fill {
        Some(keyspaces) => child::say(&fill(&database, keyspaces, options)?)?,
        None => child::say(&Reopened { open_ms: ms(started.elapsed()), rss_mib: rss_mib("self")? })?,
    }
    child::until_parent_ends();
    Ok(())
}

fn open(folder: &Path) -> fjall::Result<Database> {
    Database::builder(folder).cache_size(CACHE_BYTES).open()
}

fn fill(database: &Database, keyspaces: u32, options: &StoreOptions) -> anyhow::Result<Filled> {
    let started = Instant::now();
    let keyspaces: Vec<Keyspace> = (0..keyspaces)
        .map(|number| {
            let create = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
            database.keyspace(&format!("shard-{number}"), create)
        })
        .collect::<Result<_, _>>()?;
    let create_ms = ms(started.elapsed());

    let all: Vec<&Keyspace> = keyspaces.iter().collect();
    commit(database, all.iter().map(|keyspace| (*keyspace, 0)))?;
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let rotating = options.rotate.then(|| threads.spawn(|| rotate(database, &keyspaces, &stop)));
        let filled = (|| {
            let one = load(database, &all[..1], options.seconds)?;
            let journals = database.journal_count() as u64;
            let journal_mib = database.journal_disk_space()? >> 20;
            let all = load(database, &all, options.seconds)?;
            Ok(Filled { create_ms, one, journals, journal_mib, all, rss_mib: rss_mib("self")? })
        })();
        stop.store(true, Ordering::Relaxed);
        if let Some(rotating) = rotating {
            rotating.join().expect("rotating does not panic")?;
        }
        filled
    })
}

/// Commits groups one after the other, their rows spread evenly over `keyspaces`.
fn load(database: &Database, keyspaces: &[&Keyspace], seconds: u64) -> anyhow::Result<Loaded> {
    let mut random = Random::seeded(seconds);
    let (mut groups, mut worst) = (0, Duration::ZERO);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds) {
        let rows = (0..GROUP_WRITES).map(|_| {
            let keyspace = random.below(keyspaces.len() as u64) as usize;
            (keyspaces[keyspace], random.below(KEYS))
        });
        worst = worst.max(commit(database, rows)?);
        groups += 1;
    }
    let committed_per_s = (groups * GROUP_WRITES) as f64 / started.elapsed().as_secs_f64();
    Ok(Loaded { committed_per_s: committed_per_s as u64, worst_commit_us: worst.as_micros() as u64 })
}

/// Answers how long the commit alone took.
fn commit<'a>(database: &Database, rows: impl Iterator<Item = (&'a Keyspace, u64)>) -> fjall::Result<Duration> {
    let mut batch = database.batch().durability(Some(PersistMode::SyncData));
    for (keyspace, key) in rows {
        batch.insert(keyspace, key.to_be_bytes(), VALUE);
    }
    let started = Instant::now();
    batch.commit()?;
    Ok(started.elapsed())
}

/// Whenever an old journal is kept, rotates what pins it, a few keyspaces at a time.
fn rotate(database: &Database, keyspaces: &[Keyspace], stop: &AtomicBool) -> fjall::Result<()> {
    let mut turn = keyspaces.iter().cycle();
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(ROTATE_EVERY);
        for keyspace in turn.by_ref().take(keyspaces.len()) {
            if database.journal_count() == 1 || database.outstanding_flushes() > FLUSHES_MAX {
                break;
            }
            if keyspace.sealed_memtable_count() == 0 && keyspace.tree.active_memtable().size() > 0 {
                keyspace.rotate_memtable()?;
            }
        }
    }
    Ok(())
}

fn ms(duration: Duration) -> u64 {
    duration.as_millis() as u64
}
