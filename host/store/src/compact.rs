//! Keeps the tables of each keyspace few: merges them, a merge at a time.
//!
//! The engine's own threads would merge as soon as a memtable is flushed: all shards of an even load at about the same time,
//! for seconds, and while one of them merges the other, which is kept for flushes, does nothing but ask for work. On a machine
//! with few cores that takes the processor from commits just when these are many. So its trigger stays out of reach, as that
//! of its flushes does, and a nice thread of ours asks for every merge. (Not an idle one: at the end of a merge it holds a lock
//! that all who read or write the keyspace want.)

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fjall::compaction::Leveled;
use fjall::{AbstractTree, Database, Keyspace};

use crate::disk::Table;
use crate::keyspaces::Keyspaces;

/// How long the thread rests where there is nothing to merge.
const POLL: Duration = Duration::from_millis(100);
/// Tables in the first level that are merged into the next.
const TABLES_MERGED: u8 = 4;
/// Levels of the engine's trees.
const LEVELS: usize = 7;
/// How long a stop waits for the merge that is under way.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// How often it looks.
const STOP_POLL: Duration = Duration::from_millis(5);

/// The handle of the merging thread; dropping it stops the thread once the merge that is under way is done, or leaves it to the
/// end of the process: the next start finds the tables as they were.
pub(crate) struct Compactor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    database: Database,
    keyspaces: ArcSwap<Keyspaces>,
    stop: AtomicBool,
    failed: AtomicBool,
}

/// How the engine's own threads merge: only what they can move from level to level without reading it.
pub(crate) fn left_to_us() -> Leveled {
    Leveled::default().with_l0_threshold(u8::MAX)
}

impl Compactor {
    pub(crate) fn start(database: Database, keyspaces: Arc<Keyspaces>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            database,
            keyspaces: ArcSwap::new(keyspaces),
            stop: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        });
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("compact".into()).spawn(move || {
            // What panics has said so, and is no better than a failure.
            if std::panic::catch_unwind(AssertUnwindSafe(|| of_thread.run())).is_err() {
                of_thread.failed.store(true, Ordering::Relaxed);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// These are the keyspaces from now on.
    pub(crate) fn look_at(&self, keyspaces: Arc<Keyspaces>) {
        self.shared.keyspaces.store(keyspaces);
    }

    /// Whether a merge has failed. There will be no other.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }

    /// Begins no merge any more.
    pub(crate) fn give_up(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

impl Drop for Compactor {
    fn drop(&mut self) {
        self.give_up();
        let Some(thread) = self.thread.take() else { return };
        thread.thread().unpark();
        let until = Instant::now() + STOP_PATIENCE;
        while !thread.is_finished() && Instant::now() < until {
            std::thread::sleep(STOP_POLL);
        }
        if thread.is_finished() {
            let _ = thread.join();
        } else {
            tracing::warn!("a merge of tables takes too long: it is cut off, and begun again after the next start");
        }
    }
}

impl Shared {
    fn run(&self) {
        ostrakon_background::give_way();
        while !self.stop.load(Ordering::Relaxed) {
            let fullest = self.fullest();
            let merged = fullest.as_ref().map_or(Ok(false), |keyspace| self.merge(keyspace));
            match (merged, fullest) {
                (Ok(true), _) => {}
                (Err(error), Some(keyspace)) => {
                    tracing::error!(%error, keyspace = %keyspace.name(), "tables cannot be merged");
                    self.failed.store(true, Ordering::Relaxed);
                    break;
                }
                _ => std::thread::park_timeout(POLL),
            }
        }
    }

    /// The keyspace with the most tables to merge.
    fn fullest(&self) -> Option<Keyspace> {
        let keyspaces = self.keyspaces.load();
        let tables = |table: &Table| (table.keyspace().l0_table_count(), table.keyspace().clone());
        let fullest = keyspaces.all().map(tables).max_by_key(|(tables, _)| *tables);
        fullest.filter(|(tables, _)| *tables >= TABLES_MERGED.into()).map(|(_, keyspace)| keyspace)
    }

    /// Merges the first level into the next, and so on as long as a level is too large. Answers whether anything was done.
    fn merge(&self, keyspace: &Keyspace) -> fjall::Result<bool> {
        let tables = || (0..LEVELS).map(|level| keyspace.tree.level_table_count(level)).collect::<Vec<_>>();
        let first = tables();
        let mut before = first.clone();
        while !self.stop.load(Ordering::Relaxed) {
            let strategy = Arc::new(Leveled::default().with_l0_threshold(TABLES_MERGED));
            keyspace.tree.compact(strategy, self.database.supervisor.snapshot_tracker.get_seqno_safe_to_gc())?;
            let after = tables();
            if after == before {
                break;
            }
            before = after;
        }
        Ok(before != first)
    }
}
