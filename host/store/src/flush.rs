//! Keeps memory and journals bounded: flushes memtables before the engine below would stop commits to do it.
//!
//! The engine counts memory a keyspace at a time, and keeps a journal as long as any keyspace, however idle, has unflushed
//! rows in it. So a thread of ours looks at the whole, and another flushes: a shard that has grown, the largest one when the
//! sum has grown, and when journals add up the one whose rows have waited longest, which pin the oldest. A shard whose flushes
//! or merges (`compact`) cannot keep up is held back, alone, until they have.

use std::collections::{HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fjall::{AbstractTree, Database, Keyspace};
use ostrakon_background::{Haste, Pace};
use ostrakon_wire::bounds::{JOURNALS_MAX, MEMTABLE_BYTES_MAX, SHARD_MEMTABLE_BYTES_MAX};
use parking_lot::Mutex;

use crate::compact::Compactor;
use crate::disk::Table;
use crate::doomed::Doomed;
use crate::keyspaces::Keyspaces;
use crate::tables::Tables;

/// How often it is looked whether there is something to look at.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// After so many bytes that were written all keyspaces are looked at,
const LOOK_BYTES: u64 = 4 << 20;
/// and after so many times in any case, to know which waits how long.
const LOOKS_AT_ALL: u64 = 100;

/// How often what the engine has given up is given back.
const GIVE_BACK_POLL: Duration = Duration::from_millis(100);

/// With so much in memory, in quarters of what it is flushed at, flushes are nice, and then in a hurry as others are,
const QUARTERS: [u64; 2] = [5, 6];
/// and then who writes there waits for them.
const QUARTERS_HELD: u64 = 12;
/// With so many journals above those at which the shards that pin them are flushed, the same.
const JOURNALS_OVER: [usize; 2] = [4, 8];
/// With so many runs in the first level of any keyspace, the same for merges.
const RUNS: [usize; 2] = [8, 12];
/// At 30 runs the engine stops every shard, at 20 it slows them.
const RUNS_HELD: usize = 18;
/// How long a stop may take to flush.
const FLUSH_ALL_DEADLINE: Duration = Duration::from_secs(3);
/// Flushes that a stop has under way at a time; more would only queue up in the engine.
const FLUSHES_MAX: usize = 4;

/// The handle of the threads; dropping it stops them.
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    database: Database,
    /// Where its journals are.
    folder: PathBuf,
    keyspaces: ArcSwap<Keyspaces>,
    compactor: Compactor,
    tables: Tables,
    /// What is to be flushed next.
    next: Mutex<Next>,
    pace: Pace,
    stop: AtomicBool,
    failed: AtomicBool,
}

#[derive(Default)]
enum Next {
    /// Nothing is.
    #[default]
    Nothing,
    This(Keyspace),
    /// One is being flushed.
    UnderWay,
}

impl Flusher {
    /// Starts the threads for a database that has its files in this folder.
    pub(crate) fn start(
        database: Database,
        folder: PathBuf,
        doomed: Doomed,
        keyspaces: Arc<Keyspaces>,
    ) -> std::io::Result<Self> {
        let tables = Tables::new(database.clone(), doomed);
        let shared = Arc::new(Shared {
            compactor: Compactor::start(tables.clone(), Arc::clone(&keyspaces))?,
            database,
            folder,
            keyspaces: ArcSwap::new(keyspaces),
            tables,
            next: Mutex::default(),
            pace: Pace::default(),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let mut flusher = Self { shared, threads: Vec::new() };
        flusher.spawn("give-back", Shared::give_back)?;
        let flushes = flusher.spawn("flush", Shared::flush)?;
        flusher.spawn("memory", move |shared| shared.look(&flushes))?;
        Ok(flusher)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> std::io::Result<Thread> {
        let shared = Arc::clone(&self.shared);
        let handle = std::thread::Builder::new().name(name.into()).spawn(move || work(&shared))?;
        let thread = handle.thread().clone();
        self.threads.push(handle);
        Ok(thread)
    }

    /// Flushes everything, so that the next start has no journal to replay; gives up after a while. Nothing is merged any more.
    pub(crate) fn flush_all(&self) {
        self.shared.compactor.give_up();
        self.shared.pace.set(Haste::None);
        let deadline = Instant::now() + FLUSH_ALL_DEADLINE;
        for keyspace in self.shared.keyspaces.load().all().map(Table::keyspace) {
            while self.shared.database.outstanding_flushes() >= FLUSHES_MAX && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(1));
            }
            if Instant::now() >= deadline {
                return;
            }
            if let Err(error) = keyspace.rotate_memtable() {
                tracing::warn!(%error, keyspace = %keyspace.name(), "a memtable cannot be flushed");
            }
        }
        while self.shared.database.outstanding_flushes() > 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// These are the keyspaces from now on.
    pub(crate) fn look_at(&self, keyspaces: Arc<Keyspaces>) {
        self.shared.compactor.look_at(Arc::clone(&keyspaces));
        self.shared.keyspaces.store(keyspaces);
    }

    /// Flushes and merges nothing any more.
    pub(crate) fn give_up(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.compactor.give_up();
    }

    /// Whether memtables could not be flushed or tables not be merged, after which nothing may be written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed) || self.shared.compactor.has_failed()
    }

    /// Puts tables in, and says which shards wait, for others.
    pub(crate) fn tables(&self) -> &Tables {
        &self.shared.tables
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.pace.set(Haste::None);
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// What the last looks have shown.
#[derive(Default)]
struct Looks {
    /// Since all were looked at.
    idle: u64,
    number: u64,
    /// Bytes that the engine had counted: what was ever written.
    counted: u64,
    /// By keyspace, which memtable it has, and since when that has had rows, counted in looks.
    since: HashMap<u64, (u64, u64)>,
}

/// A keyspace, and what of it is in memory alone.
struct Unflushed<'a> {
    keyspace: &'a Keyspace,
    bytes: u64,
    runs: usize,
    since: u64,
}

impl Looks {
    fn look<'a>(&mut self, keyspaces: impl Iterator<Item = &'a Keyspace>) -> Vec<Unflushed<'a>> {
        let before = std::mem::take(&mut self.since);
        let mut look = |keyspace: &'a Keyspace| {
            let memtable = keyspace.tree.active_memtable();
            let (id, bytes) = (memtable.id(), memtable.size());
            // One that is empty has not begun to wait.
            let waits = before.get(&keyspace.id()).filter(|(before, _)| *before == id && bytes > 0);
            let since = waits.map_or(self.number, |(_, since)| *since);
            self.since.insert(keyspace.id(), (id, since));
            Unflushed { keyspace, bytes, runs: keyspace.tree.l0_run_count(), since }
        };
        keyspaces.map(&mut look).collect()
    }
}

impl Unflushed<'_> {
    /// In quarters of what it is flushed at.
    fn quarters(&self) -> u64 {
        4 * self.bytes / SHARD_MEMTABLE_BYTES_MAX
    }

    /// Whether who writes to it has to wait.
    fn is_pressed(&self) -> bool {
        self.runs >= RUNS_HELD || self.quarters() >= QUARTERS_HELD
    }
}

/// How much of a hurry there is where so much stands against bounds.
fn haste<T: PartialOrd>(so_much: T, [nice, none]: [T; 2]) -> Haste {
    match so_much {
        so_much if so_much >= none => Haste::None,
        so_much if so_much >= nice => Haste::Nice,
        _ => Haste::Idle,
    }
}

impl Shared {
    /// Flushes what is to be flushed, one keyspace at a time.
    fn flush(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let next = std::mem::replace(&mut *self.next.lock(), Next::UnderWay);
            let Next::This(keyspace) = next else {
                *self.next.lock() = Next::Nothing;
                std::thread::park_timeout(POLL * LOOKS_AT_ALL as u32);
                continue;
            };
            // What panics has said so, and is no better than a failure.
            let flushed = std::panic::catch_unwind(AssertUnwindSafe(|| self.tables.flush(&keyspace, &self.pace)));
            *self.next.lock() = Next::Nothing;
            match flushed {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => {
                    tracing::error!(%error, keyspace = %keyspace.name(), "a memtable cannot be flushed")
                }
                Err(_) => {}
            }
            self.failed.store(true, Ordering::Relaxed);
            break;
        }
    }

    /// Gives back what the engine has given up.
    fn give_back(&self) {
        ostrakon_background::give_way();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(GIVE_BACK_POLL);
            self.tables.doomed().give_back();
        }
    }

    /// Looks at all keyspaces, as often as they can have changed.
    fn look(&self, flushes: &Thread) {
        let mut looks = Looks::default();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(POLL);
            let counted = self.database.write_buffer_size();
            looks.idle += 1;
            let has_grown = counted.saturating_sub(looks.counted) >= LOOK_BYTES;
            let waits = self.tables.held().any_is() || self.database.journal_count() > JOURNALS_MAX;
            if has_grown || waits || looks.idle >= LOOKS_AT_ALL {
                looks.counted = counted;
                self.look_at_all(&mut looks);
                if matches!(*self.next.lock(), Next::This(_)) {
                    flushes.unpark();
                }
            }
        }
    }

    fn look_at_all(&self, looks: &mut Looks) {
        // Time is counted where nothing is written.
        looks.number += std::mem::take(&mut looks.idle);
        self.tables.doomed().add_journals(&self.folder);
        let keyspaces = self.keyspaces.load();
        let all = looks.look(keyspaces.all().map(Table::keyspace));
        let total: u64 = all.iter().map(|one| one.bytes).sum();
        let journals = self.database.journal_count();
        let of_all = 4 * total / MEMTABLE_BYTES_MAX;
        let quarters = all.iter().map(Unflushed::quarters).max().unwrap_or_default().max(of_all);
        let runs = all.iter().map(|one| one.runs).max().unwrap_or_default();
        let over = journals.saturating_sub(JOURNALS_MAX);
        self.pace.set(haste(quarters, QUARTERS).max(haste(over, JOURNALS_OVER)));
        self.compactor.pace().set(haste(runs, RUNS));
        self.hold_back(&keyspaces, &all, of_all >= QUARTERS_HELD);
        let mut next = self.next.lock();
        if !matches!(*next, Next::UnderWay) {
            let pins = journals > JOURNALS_MAX;
            let wanted = |one: &&Unflushed<'_>| {
                one.bytes > 0 && (pins || total > MEMTABLE_BYTES_MAX || one.bytes > SHARD_MEMTABLE_BYTES_MAX)
            };
            let wanted = all.iter().filter(wanted);
            let first = if pins { wanted.min_by_key(|one| one.since) } else { wanted.max_by_key(|one| one.bytes) };
            *next = first.map_or(Next::Nothing, |one| Next::This(one.keyspace.clone()));
        }
    }

    fn hold_back(&self, keyspaces: &Keyspaces, all: &[Unflushed<'_>], too_much: bool) {
        let pressed: HashSet<u64> = all.iter().filter(|one| one.is_pressed()).map(|one| one.keyspace.id()).collect();
        let is_pressed = |table: &Table| pressed.contains(&table.keyspace().id());
        let Keyspaces { meta, log, locator, .. } = keyspaces;
        let shards = keyspaces.shards.iter().filter(|(_, table)| is_pressed(table)).map(|(shard, _)| *shard);
        self.tables.held().hold_back(shards.collect(), too_much || [meta, log, locator].into_iter().any(is_pressed));
    }
}
