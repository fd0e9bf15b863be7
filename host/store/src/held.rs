//! Which shards' changes wait, and for whom.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostrakon_wire::ShardId;
use parking_lot::lock_api::ArcMutexGuard;
use parking_lot::{Mutex, RawMutex, RwLock};

/// How often who wants a shard alone looks whether a round has ended.
const ROUND_POLL: Duration = Duration::from_micros(100);
/// How long it waits for that.
const ROUND_PATIENCE: Duration = Duration::from_secs(1);

/// Which shards are held back, since their flushes or merges cannot keep up, and which ones somebody has for itself.
#[derive(Clone, Default)]
pub(crate) struct Held {
    shards: Arc<RwLock<HashSet<ShardId>>>,
    /// How many they are.
    count: Arc<AtomicUsize>,
    /// What every group writes to cannot keep up: all shards are held back.
    all: Arc<AtomicBool>,
    /// The numbers of shards' keyspaces that somebody else than the committing thread has for itself.
    alone: Arc<Mutex<Vec<u64>>>,
    /// Counted up when the committing thread begins a round, and when it ends it.
    rounds: Arc<AtomicU64>,
    /// One has them at a time.
    having: Arc<Mutex<()>>,
}

/// Shards that nobody else writes to; until this is dropped their changes wait.
pub(crate) struct Alone {
    held: Held,
    _having: ArcMutexGuard<RawMutex, ()>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        self.held.alone.lock().clear();
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
    /// Has shards for itself, by the numbers of their keyspaces, once the group that is being committed is done. The committing
    /// thread never waits for who has a shard: either its next round sees that, or this waits for the round's end; not for ever,
    /// since the round may wait for a flush. Who has them then all the same keeps others waiting, and loses nothing.
    pub(crate) fn alone(&self, keyspaces: Vec<u64>) -> Alone {
        let alone = Alone { held: self.clone(), _having: self.having.lock_arc() };
        *self.alone.lock() = keyspaces;
        let (round, until) = (self.rounds.load(Ordering::SeqCst), Instant::now() + ROUND_PATIENCE);
        while round % 2 == 1 && Instant::now() < until && self.rounds.load(Ordering::SeqCst) == round {
            std::thread::sleep(ROUND_POLL);
        }
        alone
    }

    /// Nobody has any shard for itself until this is dropped.
    pub(crate) fn quiet(&self) -> ArcMutexGuard<RawMutex, ()> {
        self.having.lock_arc()
    }

    /// Begins a round of the committing thread; answers the keyspaces of the shards whose changes it has to let alone.
    pub(crate) fn begin_round(&self) -> (Round, Vec<u64>) {
        self.rounds.fetch_add(1, Ordering::SeqCst);
        (Round(Arc::clone(&self.rounds)), self.alone.lock().clone())
    }

    /// These are held back from now on, or all are.
    pub(crate) fn hold_back(&self, shards: HashSet<ShardId>, all: bool) {
        self.all.store(all, Ordering::Relaxed);
        if shards.len() != self.count.load(Ordering::Relaxed) || !shards.is_empty() {
            self.count.store(shards.len(), Ordering::Relaxed);
            *self.shards.write() = shards;
        }
    }

    /// Whether any shard is held back.
    pub(crate) fn any_is(&self) -> bool {
        self.all.load(Ordering::Relaxed) || self.count.load(Ordering::Relaxed) > 0
    }

    /// Whether this shard is held back.
    pub(crate) fn is_held(&self, shard: ShardId) -> bool {
        self.all.load(Ordering::Relaxed) || self.shards.read().contains(&shard)
    }
}
