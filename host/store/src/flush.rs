//! Keeps memory and journals bounded: flushes memtables before the engine below would stop commits to do it.
//!
//! The engine counts memory a keyspace at a time, and keeps a journal as long as any keyspace, however idle, has unflushed
//! rows in it. So a thread of ours looks at the whole, and another flushes: a shard that has grown, the largest one when the
//! sum has grown, and when journals add up those whose rows have waited longest, which pin the oldest. A shard whose flushes
//! or merges (`compact`) cannot keep up is held back, alone, until they have.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
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
use crate::keyspaces::{Keyspaces, in_use};
use crate::seal::Wake;
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
const QUARTERS: [usize; 2] = [5, 6];
/// and then who writes there waits for them.
const QUARTERS_HELD: u64 = 12;
/// With so many journals above those at which the shards that pin them are flushed, the same.
const JOURNALS_OVER: [usize; 2] = [4, 8];
/// With so many runs in the first level of any keyspace merges are nice, and like others where writers would have to wait. By
/// degrees: of an even load all keyspaces come to any bound at about the same time, and what is merged in a hurry at once is a
/// slow spell for all who write.
const RUNS: [usize; 2] = [6, RUNS_HELD];
/// With so many who writes there waits. At 30 runs the engine stops every shard, at 20 it slows them.
const RUNS_HELD: usize = 18;
/// How often it is looked whether what a stop waits for has come about.
const STOP_POLL: Duration = Duration::from_millis(1);
/// How long a stop may take to flush.
const FLUSH_ALL_DEADLINE: Duration = Duration::from_secs(3);
/// So many small keyspaces are flushed at a time,
const FLUSHED_TOGETHER: usize = 8;
/// of together so many bytes in memory.
const FLUSHED_TOGETHER_BYTES: u64 = 16 << 20;

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
    /// A flush has ended that others may have waited for.
    flushed: AtomicBool,
    /// Who looks what is next.
    looking: OnceLock<Thread>,
    pace: Pace,
    stop: AtomicBool,
    failed: AtomicBool,
}

enum Next {
    /// None are being flushed, and it would be these.
    These(Vec<Keyspace>),
    /// Some are being flushed.
    UnderWay,
}

impl Default for Next {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Flusher {
    /// Starts the threads for a database that has its files in this folder.
    pub(crate) fn start(
        database: Database,
        folder: PathBuf,
        doomed: Doomed,
        wake: Wake,
        keyspaces: Arc<Keyspaces>,
    ) -> std::io::Result<Self> {
        let tables = Tables::new(database.clone(), doomed, wake);
        let shared = Arc::new(Shared {
            compactor: Compactor::start(tables.clone(), Arc::clone(&keyspaces))?,
            database,
            folder,
            keyspaces: ArcSwap::new(keyspaces),
            tables,
            next: Mutex::default(),
            flushed: AtomicBool::new(false),
            looking: OnceLock::new(),
            pace: Pace::default(),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let mut flusher = Self { shared, threads: Vec::new() };
        flusher.spawn("give-back", Shared::give_back)?;
        let flushes = flusher.spawn("flush", Shared::flush)?;
        let looking = flusher.spawn("memory", move |shared| shared.look(&flushes))?;
        // Nobody else does.
        let _ = flusher.shared.looking.set(looking);
        Ok(flusher)
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce(&Shared) + Send + 'static) -> std::io::Result<Thread> {
        let shared = Arc::clone(&self.shared);
        let handle = std::thread::Builder::new().name(name.into()).spawn(move || work(&shared))?;
        let thread = handle.thread().clone();
        self.threads.push(handle);
        Ok(thread)
    }

    /// Flushes for the committing thread, which has written its last group, the smallest memtables first and as many as it can in
    /// a while: the next start has fewer journals to replay, or none. Nothing is merged any more.
    pub(crate) fn flush_all(&mut self) {
        let deadline = Instant::now() + FLUSH_ALL_DEADLINE;
        let warn = |flushed: fjall::Result<()>| {
            if let Err(error) = flushed {
                tracing::warn!(%error, "memtables cannot be flushed");
            }
        };
        self.give_up();
        self.shared.tables.seals().end();
        self.join();
        let (database, tables) = (&self.shared.database, &self.shared.tables);
        let size = |keyspace: &Keyspace| keyspace.tree.active_memtable().size();
        let mut keyspaces = in_use(database);
        keyspaces.retain(|keyspace| size(keyspace) > 0 || keyspace.tree.sealed_memtable_count() > 0);
        keyspaces.sort_unstable_by_key(size);
        // The engine removes journals where it has sealed something, however late it is.
        let (last, mut left) = keyspaces.split_at(keyspaces.len().min(1));
        while !left.is_empty() && Instant::now() < deadline {
            let (next, others) = left.split_at(together(left.iter().map(size)));
            warn(tables.flush_last(next, false));
            left = others;
        }
        warn(tables.flush_last(last, true));
        while database.outstanding_flushes() > 0 && Instant::now() < deadline {
            std::thread::sleep(STOP_POLL);
        }
    }

    /// Ends the threads.
    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            thread.thread().unpark();
            while !thread.is_finished() {
                // The last look may have set it back.
                self.shared.pace.set(Haste::FULL);
                std::thread::sleep(STOP_POLL);
            }
            let _ = thread.join();
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
        self.give_up();
        self.join();
    }
}

impl Next {
    /// Those that are next are under way from now on.
    fn take(&mut self) -> Option<Vec<Keyspace>> {
        match self {
            Self::These(keyspaces) if !keyspaces.is_empty() => {
                let keyspaces = std::mem::take(keyspaces);
                *self = Self::UnderWay;
                Some(keyspaces)
            }
            _ => None,
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
    /// When the journals were begun, in looks, from the oldest on.
    journals: VecDeque<u64>,
    /// Whether anything was in memory alone.
    unflushed: bool,
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
            // Of what a flush that failed has left sealed nobody knows how much it is.
            let sealed = u64::from(keyspace.tree.sealed_memtable_count() > 0);
            let (id, bytes) = (memtable.id(), memtable.size().max(sealed));
            // One that is empty has not begun to wait.
            let waits = before.get(&keyspace.id()).filter(|(before, _)| *before == id && bytes > 0);
            let since = waits.map_or(self.number, |(_, since)| *since);
            self.since.insert(keyspace.id(), (id, since));
            Unflushed { keyspace, bytes, runs: keyspace.tree.l0_run_count(), since }
        };
        let all: Vec<_> = keyspaces.map(&mut look).collect();
        self.unflushed = all.iter().any(|one| one.bytes > 0);
        all
    }

    /// There are so many journals now. Answers until when rows were written that pin more of them than there may be, in looks.
    fn pinned_until(&mut self, journals: usize) -> Option<u64> {
        while self.journals.len() > journals {
            self.journals.pop_front();
        }
        self.journals.resize(journals, self.number);
        // One ends where the next is begun.
        self.journals.get(journals.checked_sub(JOURNALS_MAX)?).copied()
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

/// Which are to be flushed first: the largest, or those that pin the oldest journals, whichever of the bounds is exceeded by
/// more. A shard that is written to does not wait until a thousand idle ones have let go of the journals.
fn first(all: &[Unflushed<'_>], journals: usize, pinned_until: Option<u64>) -> Vec<Keyspace> {
    let mut unflushed: Vec<_> = all.iter().filter(|one| one.bytes > 0).collect();
    let largest = unflushed.iter().map(|one| one.bytes).max().unwrap_or_default();
    let total: u64 = unflushed.iter().map(|one| one.bytes).sum();
    let of = |so_much: u64, bound: u64| so_much as f64 / bound as f64;
    let of_memory = of(largest, SHARD_MEMTABLE_BYTES_MAX).max(of(total, MEMTABLE_BYTES_MAX));
    let of_journals = of(journals as u64, JOURNALS_MAX as u64);
    let pins = |one: &Unflushed<'_>| pinned_until.is_some_and(|until| one.since <= until);
    if of_journals > of_memory.max(1.0) && unflushed.iter().any(|one| pins(one)) {
        unflushed.retain(|one| pins(one));
        unflushed.sort_unstable_by_key(|one| one.since);
    } else if of_memory > 1.0 {
        unflushed.sort_unstable_by_key(|one| Reverse(one.bytes));
    } else {
        return Vec::new();
    }
    let together = together(unflushed.iter().map(|one| one.bytes));
    unflushed[..together].iter().map(|one| one.keyspace.clone()).collect()
}

/// How many memtables of these sizes, from the first on, are flushed at a time.
fn together(sizes: impl Iterator<Item = u64>) -> usize {
    let mut bytes = 0;
    let fits = |size: &u64| {
        bytes += size;
        bytes == *size || bytes <= FLUSHED_TOGETHER_BYTES
    };
    sizes.take(FLUSHED_TOGETHER).take_while(fits).count()
}

impl Shared {
    /// Flushes what is to be flushed.
    fn flush(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(keyspaces) = self.next.lock().take() else {
                std::thread::park_timeout(POLL * LOOKS_AT_ALL as u32);
                continue;
            };
            // What panics has said so, and is no better than a failure.
            let flushed = std::panic::catch_unwind(AssertUnwindSafe(|| self.tables.flush(&keyspaces, &self.pace)));
            *self.next.lock() = Next::default();
            match flushed {
                Ok(Ok(())) => {
                    self.flushed.store(true, Ordering::Relaxed);
                    self.looking.get().inspect(|thread| thread.unpark());
                    continue;
                }
                Ok(Err(error)) => {
                    let keyspaces: Vec<_> = keyspaces.iter().map(Keyspace::id).collect();
                    tracing::error!(%error, ?keyspaces, "memtables cannot be flushed")
                }
                Err(_) => {}
            }
            self.failed.store(true, Ordering::Relaxed);
            break;
        }
    }

    /// Gives back what the engine has given up: memtables as a thread that is nice, where it can come back from that; files as
    /// others run, since these wait for who frees a part of one.
    fn give_back(&self) {
        let pace = Pace::of(Haste::NICE);
        let _keeping = pace.keep();
        let go_on = || !self.stop.load(Ordering::Relaxed);
        while go_on() {
            self.tables.doomed().give_back_memtables();
            let Some(file) = self.tables.doomed().removed() else {
                std::thread::park_timeout(GIVE_BACK_POLL);
                continue;
            };
            pace.set(Haste::FULL);
            self.tables.doomed().give_back_file(file, go_on);
            pace.set(Haste::NICE);
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
            let pins = looks.unflushed && self.database.journal_count() > JOURNALS_MAX;
            let waits = pins || self.tables.held().any_is();
            let flushed = self.flushed.swap(false, Ordering::Relaxed);
            if has_grown || waits || flushed || looks.idle >= LOOKS_AT_ALL {
                looks.counted = counted;
                self.look_at_all(&mut looks);
                if matches!(&*self.next.lock(), Next::These(keyspaces) if !keyspaces.is_empty()) {
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
        let in_use = in_use(&self.database);
        let all = looks.look(in_use.iter());
        let total: u64 = all.iter().map(|one| one.bytes).sum();
        let journals = self.database.journal_count();
        let of_all = 4 * total / MEMTABLE_BYTES_MAX;
        let quarters = all.iter().map(Unflushed::quarters).max().unwrap_or_default().max(of_all);
        // Only those are merged that are served.
        let served: HashSet<u64> = keyspaces.all().map(|table| table.keyspace().id()).collect();
        let merged = all.iter().filter(|one| served.contains(&one.keyspace.id()));
        let runs = merged.map(|one| one.runs).max().unwrap_or_default();
        let pinned_until = looks.pinned_until(journals);
        let over = journals.saturating_sub(JOURNALS_MAX);
        self.pace.set(Haste::between(quarters as usize, QUARTERS).max(Haste::between(over, JOURNALS_OVER)));
        self.compactor.pace().set(Haste::between(runs, RUNS));
        self.hold_back(&keyspaces, &all, of_all >= QUARTERS_HELD);
        let mut next = self.next.lock();
        if !matches!(*next, Next::UnderWay) {
            *next = Next::These(first(&all, journals, pinned_until));
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use fjall::KeyspaceCreateOptions;
    use ostrakon_wire::ShardId;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn database(folder: &tempfile::TempDir) -> Database {
        Database::builder(folder.path()).worker_threads(1).open().unwrap()
    }

    #[test]
    fn first_comes_what_exceeds_its_bound_by_most() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let make = |number: u64| database.keyspace(&number.to_string(), KeyspaceCreateOptions::default).unwrap();
        let keyspaces: Vec<_> = (0..=10).map(make).collect();
        // The last one has waited for the shortest time.
        let first = |largest: u64, journals| {
            let bytes = |at: usize| if at == 10 { largest } else { MIB };
            let waits = |(at, keyspace)| Unflushed { keyspace, bytes: bytes(at), runs: 0, since: at as u64 };
            let all: Vec<_> = keyspaces.iter().enumerate().map(waits).collect();
            let names = first(&all, journals, Some(5));
            names.iter().map(|keyspace| keyspace.name().parse().unwrap()).collect::<Vec<usize>>()
        };
        assert_eq!(first(60 * MIB, JOURNALS_MAX), [0; 0], "nothing exceeds its bound");
        assert_eq!(first(65 * MIB, JOURNALS_MAX), [10], "a large one is flushed by itself");
        assert_eq!(first(65 * MIB, JOURNALS_MAX + 1), [0, 1, 2, 3, 4, 5], "small ones that pin together");
        assert_eq!(first(100 * MIB, JOURNALS_MAX + 1), [10], "it does not wait for all that pin journals");
        assert_eq!(first(100 * MIB, JOURNALS_MAX * 2), [0, 1, 2, 3, 4, 5], "nor they for it");
        assert_eq!(first(513 * MIB, JOURNALS_MAX), [10], "all together are too many");
    }

    #[test]
    fn journals_are_pinned_by_what_was_written_before_they_ended() {
        let mut looks = Looks::default();
        let mut at = |number, journals| {
            looks.number = number;
            looks.pinned_until(journals)
        };
        assert_eq!(at(1, JOURNALS_MAX - 1), None);
        assert_eq!(at(2, JOURNALS_MAX), Some(1), "nobody asks, there are not too many");
        assert_eq!(at(3, JOURNALS_MAX + 1), Some(1), "all but one were there at the first look");
        assert_eq!(at(9, 2 * JOURNALS_MAX - 1), Some(2));
        assert_eq!(at(9, 2 * JOURNALS_MAX), Some(3));
        assert_eq!(at(9, JOURNALS_MAX), Some(3), "the oldest ones are gone");
    }

    #[test]
    fn a_stop_flushes_what_no_shard_is_served_from_too() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder);
        let keyspaces = Keyspaces::create(&database, [ShardId::new(0)].into_iter()).unwrap();
        let stray = database.keyspace("shard-0000000007", KeyspaceCreateOptions::default).unwrap();
        let all: Vec<_> = keyspaces.all().map(Table::keyspace).chain([&stray]).cloned().collect();
        all.iter().for_each(|keyspace| keyspace.insert("key", "value").unwrap());
        let in_memory = || all.iter().map(|keyspace| keyspace.tree.active_memtable().size() > 0).collect::<Vec<_>>();
        let (doomed, wake) = (Doomed::default(), Box::new(|| {}));
        let mut flusher =
            Flusher::start(database.clone(), folder.path().into(), doomed, wake, Arc::new(keyspaces)).unwrap();
        assert_eq!(in_memory(), [true; 5]);
        flusher.flush_all();
        assert_eq!(in_memory(), [false; 5]);
        let tables = all.iter().map(|keyspace| keyspace.tree.table_count()).collect::<Vec<_>>();
        assert_eq!(tables, [1; 5]);
        assert!(flusher.threads.is_empty() && !flusher.has_failed());
    }
}
