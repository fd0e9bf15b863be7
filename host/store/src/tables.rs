//! Tables of a keyspace, written beside everybody else and put in while nobody writes to the keyspace.
//!
//! The engine puts a table in under a lock of the keyspace's, with a handful of syncs: whoever writes to the keyspace
//! meanwhile waits for them, and where that is the committing thread, so does every shard. So a shard's changes wait in the
//! queue while it gets a table, and those of the others are committed. Writing a table takes longer, and nobody's lock.

use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Database, Keyspace, SeqNo};
use lsm_tree::{InternalValue, Memtable, MemtableId, Table, ValueType};
use ostrakon_background::{Haste, Pace};
use ostrakon_wire::bounds::JOURNALS_MAX;
use parking_lot::Mutex;

use crate::doomed::{Doomed, TABLES_FOLDER, tables_of};
use crate::held::{Alone, Held};
use crate::keyspaces::is_shard_name;
use crate::seal::{Sealed, Seals, Wake, seal, seal_and_turn};
use crate::stretch::Mended;

/// Bytes of rows after which what was written of a table is brought to the disk: the syncs of commits wait for what one of ours
/// writes.
pub(crate) const SYNC_BYTES: usize = 4 << 20;

/// How often the engine looks after its journals at least, while anything is flushed.
const TURN_EVERY: Duration = Duration::from_secs(1);

/// Writes tables and puts them in.
#[derive(Clone)]
pub(crate) struct Tables {
    database: Database,
    held: Held,
    doomed: Doomed,
    seals: Arc<Seals>,
    /// When the engine last looked after its journals.
    turned: Arc<Mutex<Instant>>,
}

/// Tables that nobody sees yet, of rows as the engine numbers them.
pub(crate) struct Unseen(Vec<Table>);

impl Unseen {
    /// Writes rows as tables; what is written is brought to the disk a little at a time.
    fn of(keyspace: &Keyspace, rows: impl Iterator<Item = InternalValue>) -> fjall::Result<Self> {
        let mut unsynced = 0;
        let rows = rows.inspect(|row| {
            unsynced += row.key.user_key.len() + row.value.len();
            if unsynced >= SYNC_BYTES {
                unsynced = 0;
                sync_ahead(keyspace);
            }
        });
        let written = keyspace.tree.flush_to_tables(rows.map(Ok))?;
        Ok(Self(written.map(|(tables, _)| tables).unwrap_or_default()))
    }
}

impl Drop for Unseen {
    fn drop(&mut self) {
        for table in &self.0 {
            // The engine removes the file with the last who knows it.
            table.is_deleted.store(true, std::sync::atomic::Ordering::Release);
        }
    }
}

impl Tables {
    pub(crate) fn new(database: Database, doomed: Doomed, wake: Wake) -> Self {
        let (seals, turned) = (Arc::new(Seals::new(wake)), Arc::new(Mutex::new(Instant::now())));
        Self { database, held: Held::default(), doomed, seals, turned }
    }

    /// Which shards' changes wait.
    pub(crate) fn held(&self) -> &Held {
        &self.held
    }

    /// What the engine has given up.
    pub(crate) fn doomed(&self) -> &Doomed {
        &self.doomed
    }

    /// Below this nobody reads what newer rows stand before.
    pub(crate) fn watermark(&self) -> SeqNo {
        self.database.supervisor.snapshot_tracker.get_seqno_safe_to_gc()
    }

    /// Has the shards among some keyspaces for itself; every group writes to the others.
    pub(crate) fn alone<'a>(&self, keyspaces: impl IntoIterator<Item = &'a Keyspace>) -> Option<Alone> {
        let of_shards = keyspaces.into_iter().filter(|keyspace| is_shard_name(keyspace.name()));
        let of_shards: Vec<_> = of_shards.map(|keyspace| keyspace.id()).collect();
        (!of_shards.is_empty()).then(|| self.held.alone(of_shards))
    }

    /// What the committing thread is asked to seal.
    pub(crate) fn seals(&self) -> &Seals {
        &self.seals
    }

    /// Brings what some keyspaces have in memory to the disk, in tables that are written all at the same time, on threads that
    /// keep to the pace. Of small ones it is the syncs that take long, and the disk does several as fast as one.
    pub(crate) fn flush(&self, keyspaces: &[Keyspace], pace: &Pace) -> fjall::Result<()> {
        self.flush_sealed_by(keyspaces, pace, |keyspaces| {
            let has_rows = |keyspace: &Keyspace| keyspace.tree.active_memtable().size() > 0;
            let mut others = keyspaces.to_vec();
            let turning = others.iter().position(has_rows).filter(|_| self.is_time_to_turn());
            let turning = turning.map(|at| others.remove(at));
            let mut sealed = seal_and_turn(turning.as_slice())?;
            // Nobody puts tables in meanwhile: the committing thread would wait for that.
            let _quiet = self.held.quiet();
            sealed.extend(self.seals.ask(&others)?);
            Ok(sealed)
        })
    }

    /// The same once the committing thread has written its last group. The engine looks after its journals then if it is told to.
    pub(crate) fn flush_last(&self, keyspaces: &[Keyspace], turns: bool) -> fjall::Result<()> {
        self.flush_sealed_by(keyspaces, &Pace::of(Haste::FULL), |keyspaces| match turns {
            true => seal_and_turn(keyspaces),
            false => Ok(seal(keyspaces)),
        })
    }

    fn flush_sealed_by(
        &self,
        keyspaces: &[Keyspace],
        pace: &Pace,
        seal: impl FnOnce(&[Keyspace]) -> fjall::Result<Vec<Sealed>>,
    ) -> fjall::Result<()> {
        let mut keyspaces = keyspaces.to_vec();
        // Whoever has several of these locks has taken them in this order.
        keyspaces.sort_unstable_by_key(Keyspace::id);
        // What a keyspace has in memory becomes tables in the order in which it was sealed. The engine's own thread comes for
        // it, too: it waits, and finds nothing.
        let locks: Vec<_> = keyspaces.iter().map(|keyspace| (keyspace, keyspace.tree.get_flush_lock())).collect();
        // What is sealed already, but for these.
        let flush_sealed_but = |but: &[Sealed]| {
            let is_ours = |keyspace: &Keyspace| but.iter().any(|one| one.keyspace.id() == keyspace.id());
            let sealed = |keyspace: &Keyspace| keyspace.tree.sealed_memtable_count() > 0 && !is_ours(keyspace);
            let mut left = locks.iter().filter(|(keyspace, _)| sealed(keyspace));
            left.try_for_each(|(keyspace, lock)| keyspace.tree.flush(lock, self.watermark()).map(drop))
        };
        flush_sealed_but(&[])?;
        let mut sealed = seal(&keyspaces)?;
        // Where the engine has sealed one before, since it grew beyond all bounds, both go together.
        sealed.retain(|one| one.keyspace.tree.sealed_memtable_count() == 1);
        flush_sealed_but(&sealed)?;
        let write = |Sealed { keyspace, memtable }: Sealed| {
            let rows = newest(&memtable, self.watermark());
            let unseen = pace.run("flush-write", || Unseen::of(&keyspace, rows)).map_err(fjall::Error::Io)??;
            Ok((keyspace, unseen, memtable))
        };
        let written = at_once("flush", sealed, write)?;
        let alone = self.alone(written.iter().map(|(keyspace, ..)| keyspace));
        at_once("flush", written, |(keyspace, unseen, memtable)| {
            self.register(&keyspace, unseen, &[memtable.id()])?;
            self.doomed.add_memtable(memtable);
            Ok(())
        })?;
        drop(alone);
        Ok(())
    }

    /// The engine looks after its journals where a memtable is sealed its way: now and then one is, and where there are too many.
    fn is_time_to_turn(&self) -> bool {
        let mut turned = self.turned.lock();
        let is_time = turned.elapsed() >= TURN_EVERY || self.database.journal_count() > JOURNALS_MAX;
        if is_time {
            *turned = Instant::now();
        }
        is_time
    }

    /// Puts in what was written beside the journal; answers how long the shard's changes waited for it.
    ///
    /// What the keyspace had in memory when the rows were numbered comes to the disk before: after a crash the engine takes
    /// what is older than the newest row of a table for flushed.
    pub(crate) fn put_in(&self, keyspace: &Keyspace, unseen: Unseen) -> fjall::Result<Duration> {
        self.flush(std::slice::from_ref(keyspace), &Pace::of(Haste::NICE))?;
        let _alone = self.alone([keyspace]);
        let since = Instant::now();
        self.register(keyspace, unseen, &[])?;
        Ok(since.elapsed())
    }

    fn register(&self, keyspace: &Keyspace, mut unseen: Unseen, flushed: &[MemtableId]) -> fjall::Result<()> {
        // Where this fails the engine may have named them on the disk already: they stay.
        let tables = std::mem::take(&mut unseen.0);
        Ok(keyspace.tree.register_tables(&tables, None, None, flushed, self.watermark())?)
    }
}

/// Does something with each of some things, all at the same time.
fn at_once<T: Send, A: Send>(
    name: &str,
    things: Vec<T>,
    does: impl Fn(T) -> fjall::Result<A> + Sync,
) -> fjall::Result<Vec<A>> {
    let does = &does;
    std::thread::scope(|scope| {
        let spawn = |thing| std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || does(thing));
        let doing = things.into_iter().map(spawn).collect::<std::io::Result<Vec<_>>>()?;
        let join = |one: ScopedJoinHandle<'_, _>| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        doing.into_iter().map(join).collect()
    })
}

/// Brings to the disk what was written of tables that are in no version of the keyspace yet.
fn sync_unseen(keyspace: &Keyspace) -> std::io::Result<()> {
    let known = tables_of(keyspace);
    for file in std::fs::read_dir(keyspace.path().join(TABLES_FOLDER))? {
        let file = file?;
        let table = file.file_name().to_str().and_then(|name| name.parse().ok());
        if table.is_some_and(|table| !known.contains(&table)) {
            match std::fs::File::open(file.path()) {
                Ok(file) => file.sync_data()?,
                // One that was merged away meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// What is on the disk by then nobody waits for when tables are put in.
pub(crate) fn sync_ahead(keyspace: &Keyspace) {
    if let Err(error) = sync_unseen(keyspace) {
        tracing::debug!(%error, keyspace = keyspace.id(), "tables cannot be synced ahead");
    }
}

/// Writes rows, in order of key, or that there are to be none, into tables that nobody sees yet. They are newer than all that is
/// in the keyspace now.
pub(crate) fn write(
    database: &Database,
    keyspace: &Keyspace,
    rows: impl Iterator<Item = Mended>,
) -> fjall::Result<Unseen> {
    let seqno = database.supervisor.seqno.next();
    let numbered = |(key, value): Mended| match value {
        Some(value) => InternalValue::from_components(key, value, seqno, ValueType::Value),
        None => InternalValue::new_tombstone(key, seqno),
    };
    Unseen::of(keyspace, rows.map(numbered))
}

/// The rows of a memtable without those that nobody can read any more, since a newer one of their key is older than what anybody
/// looks at.
fn newest(memtable: &Arc<Memtable>, watermark: SeqNo) -> impl Iterator<Item = InternalValue> {
    let mut newer: Option<(fjall::UserKey, SeqNo)> = None;
    memtable.iter().filter(move |row| {
        let is_unread = newer.as_ref().is_some_and(|(key, seqno)| *key == row.key.user_key && *seqno < watermark);
        if !is_unread {
            newer = Some((row.key.user_key.clone(), row.key.seqno));
        }
        !is_unread
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn of_a_key_are_kept_the_newest_row_and_what_somebody_may_still_read() {
        let memtable = Arc::new(Memtable::new(0));
        let value = |key: &str, seqno| InternalValue::from_components(key, "text", seqno, ValueType::Value);
        for seqno in 1..=4 {
            memtable.insert(value("a", seqno));
        }
        memtable.insert(value("b", 2));
        memtable.insert(InternalValue::new_tombstone("b", 3));
        memtable.insert(value("c", 1));
        let kept = |watermark| {
            let rows = newest(&memtable, watermark);
            rows.map(|row| (String::from_utf8(row.key.user_key.to_vec()).unwrap(), row.key.seqno)).collect::<Vec<_>>()
        };
        let of = |rows: &[(&str, SeqNo)]| rows.iter().map(|(key, seqno)| (key.to_string(), *seqno)).collect::<Vec<_>>();
        // Who reads at 3 or later sees "a" as of 2 or newer.
        assert_eq!(kept(3), of(&[("a", 4), ("a", 3), ("a", 2), ("b", 3), ("b", 2), ("c", 1)]));
        assert_eq!(kept(9), of(&[("a", 4), ("b", 3), ("c", 1)]));
        assert_eq!(kept(0).len(), 7, "all of it where nothing is known");
    }
}
