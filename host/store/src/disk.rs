//! What keeps the bytes: fjall; and in builds with the feature `simulation` also maps in memory, which a simulation drives.

use std::ops::RangeBounds;
use std::time::Duration;

use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode, Readable, Slice};

use crate::error::ReadError;
#[cfg(feature = "simulation")]
use crate::simulated;
use crate::stretch::Mended;
use crate::tables::{self, Unseen};

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
pub(crate) enum Beside {
    /// Tables of the engine's.
    Fjall(Unseen),
    /// The rows.
    #[cfg(feature = "simulation")]
    Simulated(Vec<Mended>),
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

    /// Does some work on a thread that is idle until `patience` has passed; what is simulated has one thread.
    pub(crate) fn idly<T: Send>(&self, patience: Duration, work: impl FnOnce() -> T + Send) -> Result<T, ReadError> {
        match self {
            Self::Fjall(_) => ostrakon_background::idly("copy", patience, work)
                .map_err(|error| ReadError::Engine(format!("no thread to copy on: {error}"))),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Ok(work()),
        }
    }

    /// Writes rows, in order of key, or that there are to be none, beside the journal.
    pub(crate) fn write_beside(&self, table: &Table, rows: impl Iterator<Item = Mended>) -> fjall::Result<Beside> {
        match self {
            Self::Fjall(database) => tables::write(database, table.keyspace(), rows).map(Beside::Fjall),
            #[cfg(feature = "simulation")]
            Self::Simulated(_) => Ok(Beside::Simulated(rows.collect())),
        }
    }

    /// Puts rows in that were written beside the journal.
    #[cfg(feature = "simulation")]
    pub(crate) fn put_beside(&self, table: &Table, rows: Vec<Mended>) -> Duration {
        if let Self::Simulated(disk) = self {
            disk.put_beside(table, rows.into_iter());
        }
        Duration::ZERO
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
