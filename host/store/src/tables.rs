//! Tables of a keyspace, written beside everybody else and put in while nobody writes to the keyspace.
//!
//! The engine puts a table in under a lock of the keyspace's, with a handful of syncs: whoever writes to the keyspace
//! meanwhile waits for them, and where that is the committing thread, so does every shard. So a shard's changes wait in the
//! queue while it gets a table, and those of the others are committed. Writing a table takes longer, and nobody's lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Database, Keyspace, SeqNo};
use lsm_tree::{InternalValue, Memtable, MemtableId, Table, ValueType};
use ostrakon_background::{Haste, Pace};

use crate::doomed::{Doomed, TABLES_FOLDER, tables_of};
use crate::held::{Alone, Held};
use crate::keyspaces::shard_of_name;
use crate::stretch::Mended;

/// Bytes of rows after which what was written of a table is brought to the disk: the syncs of commits wait for what one of ours
/// writes.
pub(crate) const SYNC_BYTES: usize = 4 << 20;

/// Writes tables and puts them in.
#[derive(Clone)]
pub(crate) struct Tables {
    database: Database,
    held: Held,
    doomed: Doomed,
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
    pub(crate) fn new(database: Database, doomed: Doomed) -> Self {
        Self { database, held: Held::default(), doomed }
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

    /// Has a keyspace for itself, if it is a shard's; every group writes to the others.
    pub(crate) fn alone(&self, keyspace: &Keyspace) -> Option<Alone> {
        shard_of_name(keyspace.name()).map(|shard| self.held.alone(shard))
    }

    /// Brings what a keyspace has in memory to the disk; it is written on a thread that keeps to the pace.
    pub(crate) fn flush(&self, keyspace: &Keyspace, pace: &Pace) -> fjall::Result<()> {
        let tree = &keyspace.tree;
        // The engine's own thread comes for what is sealed, too: it waits, and finds nothing.
        let lock = tree.get_flush_lock();
        let flush_sealed = || match tree.sealed_memtable_count() {
            0 => Ok(()),
            _ => tree.flush(&lock, self.watermark()).map(drop),
        };
        flush_sealed()?;
        let memtable = tree.active_memtable();
        // Waits for the batch that is being written: nothing that is numbered lower comes later.
        if keyspace.rotate_memtable()? {
            let rows = newest(&memtable, self.watermark());
            let unseen = pace.run("flush-write", || Unseen::of(keyspace, rows)).map_err(fjall::Error::Io)??;
            self.register(keyspace, unseen, &[memtable.id()])?;
            self.doomed.add_memtable(memtable);
        }
        // The engine may have sealed that one first, and this way another.
        Ok(flush_sealed()?)
    }

    /// Puts in what was written beside the journal; answers how long the shard's changes waited for it.
    ///
    /// What the keyspace had in memory when the rows were numbered comes to the disk before: after a crash the engine takes
    /// what is older than the newest row of a table for flushed.
    pub(crate) fn put_in(&self, keyspace: &Keyspace, unseen: Unseen) -> fjall::Result<Duration> {
        self.flush(keyspace, &Pace::of(Haste::Nice))?;
        self.register(keyspace, unseen, &[])
    }

    fn register(&self, keyspace: &Keyspace, mut unseen: Unseen, flushed: &[MemtableId]) -> fjall::Result<Duration> {
        let _alone = self.alone(keyspace);
        let since = Instant::now();
        // Where this fails the engine may have named them on the disk already: they stay.
        let tables = std::mem::take(&mut unseen.0);
        keyspace.tree.register_tables(&tables, None, None, flushed, self.watermark())?;
        Ok(since.elapsed())
    }
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
        tracing::debug!(%error, keyspace = %keyspace.name(), "tables cannot be synced ahead");
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
