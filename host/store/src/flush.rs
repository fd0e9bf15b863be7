//! Keeps memory and journals bounded: flushes memtables before the engine below would stop commits to do it.
//!
//! The engine counts memory a keyspace at a time, and keeps a journal as long as any keyspace, however idle, has unflushed
//! rows in it. So a thread of ours looks at the whole: it flushes a shard that has grown, the largest ones when the sum
//! has grown, and when journals add up those whose rows have waited longest, which pin the oldest. A shard whose flushes
//! or merges (`compact`) cannot keep up is held back, alone, until they have.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fjall::{AbstractTree, Database, Keyspace};
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::{JOURNALS_MAX, MEMTABLE_BYTES_MAX, SHARD_MEMTABLE_BYTES_MAX};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::compact::Compactor;
use crate::disk::Table;
use crate::error::ReadError;
use crate::keyspaces::Keyspaces;

/// How often the thread looks.
pub(crate) const POLL: Duration = Duration::from_millis(10);

/// How long rows in memory may take to come to the disk before a shard is had alone all the same.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);
/// So much may come to the disk while it is, without a word.
const FLUSHED_ALONE_BYTES_MAX: u64 = 64 << 10;
/// How often who wants a shard alone looks whether a round has ended.
const ROUND_POLL: Duration = Duration::from_micros(100);

/// At 4 sealed memtables the engine sleeps inside a commit, and every shard with it.
const SEALED_MAX: usize = 2;
/// At 30 runs in the first level it does the same.
const RUNS_MAX: usize = 20;
/// How long a stop may take to flush.
const FLUSH_ALL_DEADLINE: Duration = Duration::from_secs(3);
/// Every so many times all keyspaces are looked at, however little there is to flush, to know which waits how long.
const LOOKS_AT_ALL: u64 = 100;
/// Flushes under way at a time; more would only queue up in the engine.
const FLUSHES_MAX: usize = 4;

/// The handle of the flushing thread; dropping it stops the thread.
pub(crate) struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Which shards are held back, for others than the committing thread.
#[derive(Clone, Default)]
pub(crate) struct Held {
    shards: Arc<RwLock<HashSet<ShardId>>>,
    /// What every group writes to cannot keep up: all shards are held back.
    all: Arc<AtomicBool>,
    /// A shard that somebody else than the committing thread has for itself: its number and 1, or 0.
    alone: Arc<AtomicU64>,
    /// Counted up when the committing thread begins a round, and when it ends it.
    rounds: Arc<AtomicU64>,
    /// One has one at a time.
    having: Arc<Mutex<()>>,
}

/// A shard that nobody else writes to; until this is dropped its changes wait.
pub(crate) struct Alone<'a> {
    held: &'a Held,
    _having: MutexGuard<'a, ()>,
}

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.held.alone.store(0, Ordering::SeqCst);
    }
}

/// The committing thread's round goes on until this is dropped.
pub(crate) struct Round(Arc<AtomicU64>);

impl Drop for Round {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Held {
    /// Has a shard for itself. What it has in memory comes to the disk before, so that it is for a short time; once a persist
    /// has failed nothing does any more.
    pub(crate) fn alone(
        &self,
        shard: ShardId,
        keyspace: &Keyspace,
        failed: impl Fn() -> bool,
    ) -> Result<Alone<'_>, ReadError> {
        let (patience, well) =
            (Instant::now() + FLUSH_PATIENCE, || if failed() { Err(ReadError::Busy) } else { Ok(()) });
        let mut least = u64::MAX;
        loop {
            let waiting = keyspace.tree.active_memtable().size();
            // Where as much comes as can be flushed meanwhile, it will not become less.
            if waiting <= FLUSHED_ALONE_BYTES_MAX || waiting > least / 2 || Instant::now() >= patience {
                break;
            }
            least = waiting;
            well()?;
            keyspace.rotate_memtable()?;
            while keyspace.tree.sealed_memtable_count() > 0 && Instant::now() < patience {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        let alone = self.let_others_wait(shard);
        well().map(|()| alone)
    }

    /// Waits until the group that is being committed is done. The committing thread never waits for who has a shard: either
    /// its next round sees that, or this waits for the round's end.
    fn let_others_wait(&self, shard: ShardId) -> Alone<'_> {
        let alone = Alone { held: self, _having: self.having.lock() };
        self.alone.store(u64::from(shard.get()) + 1, Ordering::SeqCst);
        let round = self.rounds.load(Ordering::SeqCst);
        while round % 2 == 1 && self.rounds.load(Ordering::SeqCst) == round {
            std::thread::sleep(ROUND_POLL);
        }
        alone
    }

    /// Begins a round of the committing thread; answers the shard whose changes it has to let alone.
    pub(crate) fn begin_round(&self) -> (Round, Option<ShardId>) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        let alone = self.alone.load(Ordering::SeqCst).checked_sub(1);
        (Round(Arc::clone(&self.rounds)), alone.map(|shard| ShardId::new(shard as u32)))
    }

    pub(crate) fn is_held(&self, shard: ShardId) -> bool {
        self.all.load(Ordering::Relaxed) || self.shards.read().contains(&shard)
    }
}

struct Shared {
    database: Database,
    keyspaces: ArcSwap<Keyspaces>,
    compactor: Compactor,
    held: Held,
    held_count: AtomicUsize,
    stop: AtomicBool,
}

impl Flusher {
    pub(crate) fn start(database: Database, keyspaces: Arc<Keyspaces>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            compactor: Compactor::start(database.clone(), Arc::clone(&keyspaces))?,
            database,
            keyspaces: ArcSwap::new(keyspaces),
            held: Held::default(),
            held_count: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("flush".into()).spawn(move || of_thread.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Flushes everything, so that the next start has no journal to replay; gives up after a while. Nothing is merged any more.
    pub(crate) fn flush_all(&self) {
        self.shared.compactor.give_up();
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

    /// Whether tables could not be merged, after which nothing may be written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.compactor.has_failed()
    }

    /// Which are held back, for others.
    pub(crate) fn held(&self) -> Held {
        self.shared.held.clone()
    }

    /// Whether any shard is held back.
    pub(crate) fn any_held(&self) -> bool {
        self.shared.held.all.load(Ordering::Relaxed) || self.shared.held_count.load(Ordering::Relaxed) > 0
    }

    /// Whether this shard is held back.
    pub(crate) fn is_held(&self, shard: ShardId) -> bool {
        self.shared.held.is_held(shard)
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Since when each keyspace has had rows that are not flushed, counted in looks.
#[derive(Default)]
struct Waiting {
    looks: u64,
    /// Bytes that the engine still counts of keyspaces which are gone.
    gone: u64,
    since: HashMap<u64, (u64, u64)>,
}

struct Unflushed<'a> {
    keyspace: &'a Keyspace,
    bytes: u64,
    since: u64,
}

impl Waiting {
    fn look<'a>(&mut self, keyspace: &'a Keyspace) -> Unflushed<'a> {
        let memtable = keyspace.tree.active_memtable();
        let (id, bytes) = (memtable.id(), memtable.size());
        let since = self.since.entry(keyspace.id()).or_insert((id, self.looks));
        // One that is empty has not begun to wait.
        if since.0 != id || bytes == 0 {
            *since = (id, self.looks);
        }
        Unflushed { keyspace, bytes, since: since.1 }
    }
}

impl Shared {
    fn run(&self) {
        let mut waiting = Waiting::default();
        while !self.stop.load(Ordering::Relaxed) {
            std::thread::park_timeout(POLL);
            self.flush_what_has_grown(&mut waiting);
            self.hold_back();
        }
    }

    fn flush_what_has_grown(&self, waiting: &mut Waiting) {
        waiting.looks += 1;
        let counted = self.database.write_buffer_size();
        let total = counted.saturating_sub(waiting.gone);
        let journals = self.database.journal_count();
        if total < SHARD_MEMTABLE_BYTES_MAX && journals <= JOURNALS_MAX && !waiting.looks.is_multiple_of(LOOKS_AT_ALL) {
            return;
        }
        let keyspaces = self.keyspaces.load();
        let all = keyspaces.all().map(Table::keyspace);
        let mut unflushed: Vec<Unflushed<'_>> = all.map(|keyspace| waiting.look(keyspace)).collect();
        match journals > JOURNALS_MAX {
            true => unflushed.sort_by_key(|one| one.since),
            false => unflushed.sort_by_key(|one| std::cmp::Reverse(one.bytes)),
        }
        let active: u64 = unflushed.iter().map(|one| one.bytes).sum();
        if self.database.outstanding_flushes() == 0 {
            waiting.gone = counted.saturating_sub(active);
        }
        let mut to_shed = active.saturating_sub(MEMTABLE_BYTES_MAX);
        for Unflushed { bytes, keyspace, .. } in unflushed {
            if self.database.outstanding_flushes() >= FLUSHES_MAX {
                break;
            }
            if bytes == 0 {
                continue;
            }
            let wanted = bytes > SHARD_MEMTABLE_BYTES_MAX || to_shed > 0 || journals > JOURNALS_MAX;
            if wanted && keyspace.tree.sealed_memtable_count() < SEALED_MAX {
                if let Err(error) = keyspace.rotate_memtable() {
                    tracing::error!(%error, keyspace = %keyspace.name(), "a memtable cannot be flushed");
                }
                to_shed = to_shed.saturating_sub(bytes);
            }
        }
    }

    fn hold_back(&self) {
        let pressed = |table: &Table| {
            let tree = &table.keyspace().tree;
            tree.l0_run_count() >= RUNS_MAX
                || tree.sealed_memtable_count() >= SEALED_MAX
                    && tree.active_memtable().size() > 2 * SHARD_MEMTABLE_BYTES_MAX
        };
        let keyspaces = self.keyspaces.load();
        let Keyspaces { meta, log, locator, .. } = &**keyspaces;
        self.held.all.store([meta, log, locator].into_iter().any(pressed), Ordering::Relaxed);
        let shards = keyspaces.shards.iter();
        let held: HashSet<_> = shards.filter(|(_, table)| pressed(table)).map(|(shard, _)| *shard).collect();
        if held.len() != self.held_count.load(Ordering::Relaxed) || !held.is_empty() {
            self.held_count.store(held.len(), Ordering::Relaxed);
            *self.held.shards.write() = held;
        }
    }
}
