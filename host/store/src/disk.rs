//! What keeps the bytes: fjall; and in builds with the feature `simulation` also maps in memory, which a simulation drives.

use std::collections::HashSet;
use std::ops::RangeBounds;
use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode, Readable, Slice};

use crate::error::ReadError;
#[cfg(feature = "simulation")]
use crate::simulated;
use crate::stretch::Mended;

/// Where the engine keeps the tables of a keyspace.
const TABLES_FOLDER: &str = "tables";

/// All tables of a store.
#[derive(Clone)]
pub(crate) enum Disk {
    Fjall(Database),
    #[cfg(feature = "simulation")]
    Simulated(simulated::SimulatedDisk),
}

/// One table of it.
#[derive(Clone)]
pub(crate) enum Table {
    Fjall(Keyspace),
    #[cfg(feature = "simulation")]
    Simulated(usize),
}

/// All tables at one moment.
pub(crate) enum Snapshot {
    Fjall(fjall::Snapshot),
    #[cfg(feature = "simulation")]
    Simulated(simulated::Tables),
}

/// Writes that are made together or not at all.
pub(crate) enum Batch {
    Fjall(OwnedWriteBatch),
    #[cfg(feature = "simulation")]
    Simulated(simulated::Batch),
}

/// Pairs of key and value, in order of key.
pub(crate) enum Pairs {
    Fjall(fjall::Iter),
    #[cfg(feature = "simulation")]
    Simulated(simulated::Pairs),
}

/// Rows that were written beside the journal, and that nobody sees yet.
pub(crate) struct Beside<'a>(Box<dyn FnOnce() -> fjall::Result<()> + 'a>);

impl Beside<'_> {
    /// Puts them in: once this returns they are durable, all at once, and newer than what stood under their keys. What somebody
    /// else writes to the table meanwhile could be lost.
    pub(crate) fn put_in(self) -> fjall::Result<()> {
        (self.0)()
    }
}

/// Brings to the disk what was written of tables that are in no version of the keyspace yet.
fn sync_what_is_in_no_version(keyspace: &Keyspace) -> std::io::Result<()> {
    let version = keyspace.tree.current_version();
    let known: HashSet<u64> = version.iter_tables().map(|table| table.id()).collect();
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

impl Disk {
    pub(crate) fn snapshot(&self) -> Snapshot {
        match self {
            Self::Fjall(database) => Snapshot::Fjall(database.snapshot()),
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => Snapshot::Simulated(disk.tables()),
        }
    }

    /// A batch for about so many writes.
    pub(crate) fn batch(&self, capacity: usize, durability: PersistMode) -> Batch {
        match self {
            Self::Fjall(database) => {
                let batch = OwnedWriteBatch::with_capacity(database.clone(), capacity);
                Batch::Fjall(batch.durability(Some(durability)))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => Batch::Simulated(simulated::Batch::new(disk, durability != PersistMode::Buffer)),
        }
    }

    /// Does some work on a thread that is idle until `patience` has passed, and takes what it hands on; what is simulated has one
    /// thread.
    pub(crate) fn idly_to<T: Send, M: Send, R>(
        &self,
        patience: Duration,
        work: impl FnOnce(&mut dyn FnMut(T) -> bool) -> M + Send,
        take: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
    ) -> Result<(M, R), ReadError> {
        match self {
            Self::Fjall(_) => ostrakon_background::idly_to("copy", patience, work, take)
                .map_err(|error| ReadError::Engine(format!("no thread to copy on: {error}"))),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => {
                let mut made = Vec::new();
                let done = work(&mut |one| {
                    made.push(one);
                    true
                });
                Ok((done, take(&mut made.into_iter())))
            }
        }
    }

    /// Writes rows, in order of key, or that there are to be none, into tables of their own beside the journal.
    pub(crate) fn write_beside<'a>(
        &'a self,
        table: &'a Table,
        rows: impl Iterator<Item = Mended>,
    ) -> Result<Beside<'a>, ReadError> {
        match self {
            Self::Fjall(_) => {
                let keyspace = table.keyspace();
                // Not by way of the keyspace: that keeps all commits waiting until the new tables are on the disk. (It also
                // asks for a compaction, which is nobody's business here.)
                let mut ingestion = keyspace.tree.ingestion().map_err(fjall::Error::from)?;
                for (key, value) in rows {
                    let written = match value {
                        Some(value) => ingestion.write(key, value),
                        None => ingestion.write_tombstone(key),
                    };
                    written.map_err(fjall::Error::from)?;
                }
                // While they are put in somebody waits for the sync of what is then not on the disk.
                sync_what_is_in_no_version(keyspace).map_err(fjall::Error::from)?;
                Ok(Beside(Box::new(move || Ok(ingestion.finish()?))))
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => {
                let rows: Vec<_> = rows.collect();
                Ok(Beside(Box::new(move || {
                    disk.put_beside(table, rows.into_iter());
                    Ok(())
                })))
            }
        }
    }

    /// An error where a flush or a compaction has failed, after which nothing may be written any more.
    pub(crate) fn check_well(&self) -> fjall::Result<()> {
        match self {
            Self::Fjall(database) => database.persist(PersistMode::Buffer),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Ok(()),
        }
    }
}

impl Table {
    /// The keyspace that it is, for what only fjall's tables need: flushes.
    pub(crate) fn keyspace(&self) -> &Keyspace {
        match self {
            Self::Fjall(keyspace) => keyspace,
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => unreachable!("what is simulated is not flushed"),
        }
    }

    /// Bytes on disk and in memory, about.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Self::Fjall(keyspace) => keyspace.disk_space() + keyspace.tree.active_memtable().size(),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => 0,
        }
    }

    /// Rows in it, about: what is removed counts until it is merged away.
    pub(crate) fn rows_about(&self) -> u64 {
        match self {
            Self::Fjall(keyspace) => keyspace.approximate_len() as u64,
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => 0,
        }
    }
}

impl Snapshot {
    pub(crate) fn get(&self, table: &Table, key: impl AsRef<[u8]>) -> fjall::Result<Option<Slice>> {
        match self {
            Self::Fjall(snapshot) => snapshot.get(table.keyspace(), key),
            #[cfg(feature = "simulation")]
            Self::Simulated(tables) => Ok(tables.get(table, key.as_ref())),
        }
    }

    pub(crate) fn range<K: AsRef<[u8]>>(&self, table: &Table, range: impl RangeBounds<K>) -> Pairs {
        match self {
            Self::Fjall(snapshot) => Pairs::Fjall(snapshot.range(table.keyspace(), range)),
            #[cfg(feature = "simulation")]
            Self::Simulated(tables) => {
                let owned = |bound: std::ops::Bound<&K>| bound.map(|key| key.as_ref().to_vec());
                let (from, to) = (owned(range.start_bound()), owned(range.end_bound()));
                Pairs::Simulated(tables.range(table, from, to))
            }
        }
    }

    pub(crate) fn prefix(&self, table: &Table, prefix: impl AsRef<[u8]>) -> Pairs {
        match self {
            Self::Fjall(snapshot) => Pairs::Fjall(snapshot.prefix(table.keyspace(), prefix)),
            #[cfg(feature = "simulation")]
            Self::Simulated(tables) => Pairs::Simulated(tables.prefix(table, prefix.as_ref())),
        }
    }

    pub(crate) fn iter(&self, table: &Table) -> Pairs {
        self.range::<&[u8]>(table, ..)
    }
}

impl Iterator for Pairs {
    type Item = fjall::Result<(Slice, Slice)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Fjall(pairs) => pairs.next().map(|guard| guard.into_inner()),
            #[cfg(feature = "simulation")]
            Self::Simulated(pairs) => pairs.next().map(Ok),
        }
    }
}

impl DoubleEndedIterator for Pairs {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            Self::Fjall(pairs) => pairs.next_back().map(|guard| guard.into_inner()),
            #[cfg(feature = "simulation")]
            Self::Simulated(pairs) => pairs.next_back().map(Ok),
        }
    }
}

impl Batch {
    pub(crate) fn insert(&mut self, table: &Table, key: impl Into<Slice>, value: impl Into<Slice>) {
        match self {
            Self::Fjall(batch) => batch.insert(table.keyspace(), key, value),
            #[cfg(feature = "simulation")]
            Self::Simulated(batch) => batch.write(table, key.into(), Some(value.into())),
        }
    }

    pub(crate) fn remove(&mut self, table: &Table, key: impl Into<Slice>) {
        match self {
            Self::Fjall(batch) => batch.remove(table.keyspace(), key),
            #[cfg(feature = "simulation")]
            Self::Simulated(batch) => batch.write(table, key.into(), None),
        }
    }

    /// Writes a row, or that there is to be none.
    pub(crate) fn put(&mut self, table: &Table, (key, value): Mended) {
        match value {
            Some(value) => self.insert(table, key, value),
            None => self.remove(table, key),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Fjall(batch) => batch.len(),
            #[cfg(feature = "simulation")]
            Self::Simulated(batch) => batch.len(),
        }
    }

    /// Makes the writes, and makes them durable as the batch was asked to.
    pub(crate) fn commit(self) -> fjall::Result<()> {
        match self {
            Self::Fjall(batch) => batch.commit(),
            #[cfg(feature = "simulation")]
            Self::Simulated(batch) => batch.commit(),
        }
    }
}
