//! Keeps the tables of each keyspace few: merges them, a merge at a time.
//!
//! The engine's own threads would merge as soon as a memtable is flushed: all shards of an even load at about the same time,
//! for seconds, and while one of them merges the other, which is kept for flushes, does nothing but ask for work. On a machine
//! with few cores that takes the processor from commits just when these are many. So its trigger stays out of reach, as that
//! of its flushes does, and a thread of ours asks for every merge. It is idle while it merges, and runs as others do at the end
//! of it: then it holds a lock that all who read or write the keyspace want (see `tables`).

use std::cell::RefCell;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use fjall::compaction::Leveled;
use fjall::compaction::filter::{CompactionFilter, CompactionFilterResult, Context, Factory, ItemAccessor, Verdict};
use fjall::{AbstractTree, Keyspace};
use ostrakon_background::{Keeping, Pace};

use crate::disk::Table;
use crate::doomed::tables_of;
use crate::held::Alone;
use crate::keyspaces::Keyspaces;
use crate::tables::{SYNC_BYTES, Tables, sync_ahead};

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
    tables: Tables,
    keyspaces: ArcSwap<Keyspaces>,
    pace: Pace,
    stop: AtomicBool,
    failed: AtomicBool,
}

thread_local! {
    /// What this thread merges.
    static MERGING: RefCell<Option<Merging>> = const { RefCell::new(None) };
}

struct Merging {
    keyspace: Keyspace,
    tables: Tables,
    pace: Pace,
    /// From the end of the merge until its tables are put in.
    alone: Option<Alone>,
}

/// Goes along with every merge of the engine's, and changes nothing of it. Of those that are ours it makes the thread keep to its
/// pace as long as rows are read and written.
pub(crate) struct GoesAlong;

impl Factory for GoesAlong {
    fn name(&self) -> &str {
        "goes along"
    }

    fn make_filter(&self, _: &Context) -> Box<dyn CompactionFilter> {
        Box::new(Along { keeping: None, written: 0 })
    }
}

struct Along {
    keeping: Option<Keeping>,
    /// Bytes since what was written was brought to the disk, about.
    written: usize,
}

impl CompactionFilter for Along {
    fn filter_item(&mut self, item: ItemAccessor<'_>, _: &Context) -> CompactionFilterResult {
        // Before the first row the thread holds locks.
        if self.keeping.is_none() {
            self.keeping = MERGING.with_borrow(|merging| merging.as_ref().map(|merging| merging.pace.keep()));
        }
        self.written += item.key().len() + item.value()?.len();
        if self.written >= SYNC_BYTES {
            self.written = 0;
            MERGING.with_borrow(|merging| merging.iter().for_each(|merging| sync_ahead(&merging.keyspace)));
        }
        Ok(Verdict::Keep)
    }

    fn finish(self: Box<Self>) {
        MERGING.with_borrow_mut(|merging| {
            let Some(merging) = merging else { return };
            sync_ahead(&merging.keyspace);
            drop(self.keeping);
            merging.alone = merging.tables.alone([&merging.keyspace]);
        });
    }
}

/// How the engine's own threads merge: only what they can move from level to level without reading it.
pub(crate) fn left_to_us() -> Leveled {
    Leveled::default().with_l0_threshold(u8::MAX)
}

impl Compactor {
    pub(crate) fn start(tables: Tables, keyspaces: Arc<Keyspaces>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            tables,
            keyspaces: ArcSwap::new(keyspaces),
            pace: Pace::default(),
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

    /// How merges run from now on.
    pub(crate) fn pace(&self) -> &Pace {
        &self.shared.pace
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
        if !ostrakon_background::comes_back() {
            ostrakon_background::give_way();
        }
        while !self.stop.load(Ordering::Relaxed) {
            let fullest = self.fullest();
            let merged = fullest.as_ref().map_or(Ok(false), |keyspace| self.merge(keyspace));
            match (merged, fullest) {
                (Ok(true), _) => {}
                (Err(error), Some(keyspace)) => {
                    tracing::error!(%error, keyspace = keyspace.id(), "tables cannot be merged");
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
        let counts = || (0..LEVELS).map(|level| keyspace.tree.level_table_count(level)).collect::<Vec<_>>();
        let first = counts();
        let mut before = first.clone();
        while !self.stop.load(Ordering::Relaxed) {
            let strategy = Arc::new(Leveled::default().with_l0_threshold(TABLES_MERGED));
            MERGING.set(Some(Merging {
                keyspace: keyspace.clone(),
                tables: self.tables.clone(),
                pace: self.pace.clone(),
                alone: None,
            }));
            let there = tables_of(keyspace);
            let merged = keyspace.tree.compact(strategy, self.tables.watermark());
            self.tables.doomed().add_tables(keyspace, there);
            drop(MERGING.take());
            merged?;
            let after = counts();
            if after == before {
                break;
            }
            before = after;
        }
        Ok(before != first)
    }
}
