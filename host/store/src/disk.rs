//! What keeps the bytes: fjall; and in builds with the feature `simulation` also maps in memory, which a simulation drives.

use std::ops::RangeBounds;
use std::time::{Duration, Instant};

use fjall::{AbstractTree, Database, Keyspace, OwnedWriteBatch, PersistMode, Readable, Slice};

#[cfg(feature = "simulation")]
use crate::simulated;

/// How long rows are copied when nobody else wants to run, before they are copied in any case.
const COPY_PATIENCE: Duration = Duration::from_secs(2);

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

    /// Puts the rows of one object after the other, in order of key, into tables of their own beside the journal: once this
    /// returns they are durable, all at once, and newer than what stood under their keys. What `alone` answers is held while
    /// the tables are put in: what somebody else writes to the table meanwhile could be lost. Answers how long that was.
    pub(crate) fn put_beside<A, E: From<fjall::Error>>(
        &self,
        table: &Table,
        objects: impl Iterator<Item = Result<Vec<(Slice, Slice)>, E>>,
        alone: impl FnOnce() -> Result<A, E>,
    ) -> Result<Duration, E> {
        match self {
            Self::Fjall(_) => {
                let engine = |error| E::from(fjall::Error::from(error));
                let mut ingestion = table.keyspace().tree.ingestion().map_err(engine)?;
                let (mut objects, patience) = (objects, Instant::now() + COPY_PATIENCE);
                let mut write_while = |goes: fn(Instant) -> bool| {
                    while goes(patience)
                        && let Some(rows) = objects.next()
                    {
                        for (key, value) in rows? {
                            ingestion.write(key, value).map_err(engine)?;
                        }
                    }
                    Ok::<_, E>(())
                };
                ostrakon_background::while_idle(|| write_while(|patience| Instant::now() < patience))?;
                write_while(|_| true)?;
                // Not by way of the keyspace: that keeps all commits waiting until the new tables are on the disk. (It also
                // asks for a compaction. The next flush of the shard does, too.)
                let _alone = alone()?;
                let since = Instant::now();
                ingestion.finish().map_err(engine)?;
                Ok(since.elapsed())
            }
            #[cfg(feature = "simulation")]
            Self::Simulated(disk) => {
                let rows = objects.collect::<Result<Vec<_>, _>>()?;
                let _alone = alone()?;
                disk.put_beside(table, rows.into_iter().flatten());
                Ok(Duration::ZERO)
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
