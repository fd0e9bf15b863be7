//! Memtables are sealed between two groups.
//!
//! What a batch writes to a keyspace must stand in one memtable: once that is flushed, the engine takes the batch for flushed
//! at the next start. The engine seals under the journal's lock, and then syncs the journal under it once more and looks at
//! every keyspace; the committing thread has no need for either, since it knows when no batch is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use fjall::{AbstractTree, Keyspace};
use lsm_tree::Memtable;
use parking_lot::Mutex;

/// How long the committing thread is waited for: it may itself wait for a flush.
const PATIENCE: Duration = Duration::from_secs(1);

/// A memtable that nothing is written to any more.
pub(crate) struct Sealed {
    pub(crate) keyspace: Keyspace,
    pub(crate) memtable: Arc<Memtable>,
}

/// Seals the memtables of keyspaces that have rows in them; nobody may be writing.
pub(crate) fn seal(keyspaces: &[Keyspace]) -> Vec<Sealed> {
    let seal = |keyspace: &Keyspace| {
        keyspace.tree.rotate_memtable().map(|memtable| Sealed { keyspace: keyspace.clone(), memtable })
    };
    keyspaces.iter().filter_map(seal).collect()
}

/// Seals them the engine's way, whoever is writing. The engine then turns over a journal that is full, and removes those that
/// nobody needs any more.
pub(crate) fn seal_and_turn(keyspaces: &[Keyspace]) -> fjall::Result<Vec<Sealed>> {
    let seal = |keyspace: &Keyspace| {
        let memtable = keyspace.tree.active_memtable();
        let sealed = keyspace.rotate_memtable()?;
        Ok(sealed.then(|| Sealed { keyspace: keyspace.clone(), memtable }))
    };
    keyspaces.iter().map(seal).filter_map(Result::transpose).collect()
}

/// Wakes the committing thread.
pub(crate) type Wake = Box<dyn Fn() + Send + Sync>;

/// What the committing thread is asked to seal.
pub(crate) struct Seals {
    /// `None` once that thread has written its last group.
    asked: Mutex<Option<Vec<Asked>>>,
    wake: Wake,
}

struct Asked {
    keyspaces: Vec<Keyspace>,
    answer: SyncSender<Vec<Sealed>>,
    /// It is being sealed, or nobody waits for it any more: whichever comes first.
    taken: Arc<AtomicBool>,
}

impl Seals {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { asked: Mutex::new(Some(Vec::new())), wake }
    }

    /// Has memtables sealed by the committing thread; where that does not come, the engine's way.
    pub(crate) fn ask(&self, keyspaces: &[Keyspace]) -> fjall::Result<Vec<Sealed>> {
        if keyspaces.is_empty() {
            return Ok(Vec::new());
        }
        let ((answer, answered), taken) = (sync_channel(1), Arc::new(AtomicBool::new(false)));
        let asked = Asked { keyspaces: keyspaces.to_vec(), answer, taken: Arc::clone(&taken) };
        let ends = self.asked.lock().as_mut().map(|all| all.push(asked)).is_none();
        if ends {
            return seal_and_turn(keyspaces);
        }
        (self.wake)();
        let answer = answered.recv_timeout(PATIENCE).ok();
        // At the last moment it may have been taken up after all.
        let answer = answer.or_else(|| taken.swap(true, Ordering::AcqRel).then(|| answered.recv().ok()).flatten());
        answer.map_or_else(|| seal_and_turn(keyspaces), Ok)
    }

    /// Seals what is asked for; called by the committing thread, between two groups.
    pub(crate) fn answer(&self) {
        let asked = self.asked.lock().as_mut().map(std::mem::take).unwrap_or_default();
        for Asked { keyspaces, answer, taken } in asked {
            if !taken.swap(true, Ordering::AcqRel) {
                // Who asked waits for it.
                let _ = answer.send(seal(&keyspaces));
            }
        }
    }

    /// The committing thread writes nothing any more.
    pub(crate) fn end(&self) {
        *self.asked.lock() = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    use fjall::{Database, KeyspaceCreateOptions};

    use super::*;

    struct Fixture {
        database: Database,
        /// One has a row, the other none.
        keyspaces: [Keyspace; 2],
        seals: Seals,
        woken: Arc<AtomicUsize>,
        _folder: tempfile::TempDir,
    }

    fn fixture() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        // Nobody does what the engine's own thread would.
        let database = Database::builder(folder.path()).worker_threads_unchecked(0).open().unwrap();
        let keyspaces = ["a", "b"].map(|name| database.keyspace(name, KeyspaceCreateOptions::default).unwrap());
        keyspaces[0].insert("key", "value").unwrap();
        let woken = Arc::new(AtomicUsize::new(0));
        let of_wake = Arc::clone(&woken);
        let wake = Box::new(move || {
            of_wake.fetch_add(1, Ordering::Relaxed);
        });
        Fixture { database, keyspaces, seals: Seals::new(wake), woken, _folder: folder }
    }

    impl Fixture {
        fn check(&self, sealed: &[Sealed], flushes_of_the_engine: usize) {
            let [one] = sealed else { panic!("{} memtables", sealed.len()) };
            assert_eq!((one.keyspace.id(), one.memtable.iter().count()), (self.keyspaces[0].id(), 1));
            let tree = &self.keyspaces[0].tree;
            assert_eq!((tree.active_memtable().size(), tree.sealed_memtable_count()), (0, 1));
            assert_eq!(self.database.outstanding_flushes(), flushes_of_the_engine);
        }
    }

    #[test]
    fn memtables_with_rows_are_sealed_by_who_answers_and_the_engine_does_nothing() {
        let fixture = fixture();
        let sealed = std::thread::scope(|scope| {
            let asking = scope.spawn(|| fixture.seals.ask(&fixture.keyspaces).unwrap());
            while !asking.is_finished() {
                fixture.seals.answer();
                std::thread::yield_now();
            }
            asking.join().unwrap()
        });
        fixture.check(&sealed, 0);
        assert_eq!(fixture.woken.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn where_nobody_answers_they_are_sealed_by_the_engine_and_once() {
        let fixture = fixture();
        let since = Instant::now();
        fixture.check(&fixture.seals.ask(&fixture.keyspaces).unwrap(), 1);
        assert!(since.elapsed() >= PATIENCE);
        fixture.keyspaces[0].insert("key", "value").unwrap();
        // Too late: who has asked is gone.
        fixture.seals.answer();
        assert_eq!(fixture.keyspaces[0].tree.sealed_memtable_count(), 1);
    }

    #[test]
    fn who_has_ended_is_not_waited_for() {
        let fixture = fixture();
        fixture.seals.end();
        let since = Instant::now();
        fixture.check(&fixture.seals.ask(&fixture.keyspaces).unwrap(), 1);
        assert!(since.elapsed() < PATIENCE);
    }
}
