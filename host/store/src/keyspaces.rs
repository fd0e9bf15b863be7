//! The keyspaces of a data folder, opened.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::SHARD_MEMTABLE_BYTES_MAX;

use crate::compact;
use crate::disk::Table;
use crate::error::ReadError;
use crate::survey::Roster;

pub(crate) const META: &str = "meta";
pub(crate) const LOG: &str = "log";
pub(crate) const LOCATOR: &str = "locator";

/// Every keyspace, by what stands in it.
#[derive(Clone)]
pub(crate) struct Keyspaces {
    pub(crate) meta: Table,
    pub(crate) log: Table,
    pub(crate) locator: Table,
    pub(crate) shards: BTreeMap<ShardId, Table>,
    /// No other host looks at the folder while anything of it is open. Given up last.
    lock: Option<Arc<File>>,
}

const SHARD_PREFIX: &str = "shard-";
const SPARE_PREFIX: &str = "spare-";
const EMPTIED_PREFIX: &str = "emptied-";

/// A shard's table on a simulated disk: behind those of the whole store.
#[cfg(feature = "simulation")]
pub(crate) fn simulated_shard(shard: ShardId) -> Table {
    Table::Simulated(3 + shard.get() as usize)
}

/// The shard of a keyspace's name.
pub(crate) fn shard_of_name(name: &str) -> Option<ShardId> {
    name.strip_prefix(SHARD_PREFIX)?.parse().ok().map(ShardId::new)
}

/// The name of a shard's keyspace.
pub(crate) fn shard_name(shard: ShardId) -> String {
    format!("{SHARD_PREFIX}{shard:010}")
}

/// What the roster calls a keyspace that is made ahead, for the shard of that number.
pub(crate) fn spare_name(shard: ShardId) -> String {
    format!("{SPARE_PREFIX}{}", shard_name(shard))
}

/// What the roster calls the keyspace of a shard that has given all away, or was not needed.
pub(crate) fn emptied_name(shard: &str) -> String {
    format!("{EMPTIED_PREFIX}{shard}")
}

/// The name of the keyspace that the roster calls emptied.
pub(crate) fn of_emptied(name: &str) -> Option<&str> {
    name.strip_prefix(EMPTIED_PREFIX)
}

/// The number by which the roster calls a keyspace that no shard of the map has.
pub(crate) fn shard_of_nobodys(name: &str) -> Option<ShardId> {
    shard_of_name(name.strip_prefix(SPARE_PREFIX).or(of_emptied(name))?)
}

/// Every keyspace that the engine has open, whether a shard is served from it or not: all of them pin journals.
pub(crate) fn in_use(database: &Database) -> Vec<Keyspace> {
    let keyspaces = database.supervisor.keyspaces.read();
    keyspaces.map(|keyspaces| keyspaces.values().cloned().collect()).unwrap_or_default()
}

/// The same, by their numbers.
pub(crate) fn by_number(database: &Database) -> BTreeMap<u64, Keyspace> {
    in_use(database).into_iter().map(|keyspace| (keyspace.id(), keyspace)).collect()
}

/// Whether the roster says of a keyspace that no shard of the map has it: nobody misses what stands in it.
pub(crate) fn is_nobodys(name: &str) -> bool {
    name.starts_with(SPARE_PREFIX) || name.starts_with(EMPTIED_PREFIX)
}

/// Whether a keyspace is a shard's.
pub(crate) fn is_shard_name(name: &str) -> bool {
    name.starts_with(SHARD_PREFIX)
}

pub(crate) fn options() -> KeyspaceCreateOptions {
    // Flushing and merging are the host's own business (see `flush` and `compact`): the engine's triggers stay out of reach.
    KeyspaceCreateOptions::default()
        .max_memtable_size(SHARD_MEMTABLE_BYTES_MAX * 16)
        .compaction_strategy(Arc::new(compact::left_to_us()))
}

impl Keyspaces {
    /// Makes those of a new folder; one that an earlier try has made is taken as it is.
    pub(crate) fn create(database: &Database, shards: impl Iterator<Item = ShardId>) -> fjall::Result<Self> {
        let table = |name: &str| database.keyspace(name, options).map(Table::Fjall);
        Ok(Self {
            meta: table(META)?,
            log: table(LOG)?,
            locator: table(LOCATOR)?,
            shards: shards.map(|shard| Ok((shard, table(&shard_name(shard))?))).collect::<fjall::Result<_>>()?,
            lock: None,
        })
    }

    /// Opens them: a shard's is the one that the roster calls so. One whose keyspace is not there is set aside: everybody who
    /// wants it is told so.
    pub(crate) fn open(
        database: &Database,
        roster: &Roster,
        shards: impl Iterator<Item = ShardId>,
        lock: File,
    ) -> fjall::Result<Self> {
        let there = by_number(database);
        let numbers: BTreeMap<_, _> = roster.0.iter().map(|(number, name)| (name.as_str(), number)).collect();
        // Before there were rosters, and where one says nothing, the engine's own name tells.
        let unnamed = |name: &str| {
            let others = |number| roster.0.get(number).is_some_and(|name| is_shard_name(name));
            there.iter().find(|(number, keyspace)| &**keyspace.name() == name && !others(number))
        };
        let mut opened = Self::create(database, std::iter::empty())?;
        for shard in shards {
            let name = shard_name(shard);
            let named = numbers.get(name.as_str()).and_then(|number| there.get(number));
            let keyspace = named.or_else(|| unnamed(&name).map(|(_, keyspace)| keyspace));
            opened.shards.extend(keyspace.map(|keyspace| (shard, Table::Fjall(keyspace.clone()))));
        }
        Ok(Self { lock: Some(Arc::new(lock)), ..opened })
    }

    /// What keeps other hosts from the folder, for those who keep something of it open.
    pub(crate) fn lock(&self) -> Option<Arc<File>> {
        self.lock.clone()
    }

    /// The same with one shard more.
    pub(crate) fn with(&self, shard: ShardId, table: Table) -> Self {
        let mut keyspaces = self.clone();
        keyspaces.shards.insert(shard, table);
        keyspaces
    }

    /// The same with one shard less.
    pub(crate) fn without(&self, shard: ShardId) -> Self {
        let mut keyspaces = self.clone();
        keyspaces.shards.remove(&shard);
        keyspaces
    }

    /// Those of a simulated disk.
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(shards: impl Iterator<Item = ShardId>) -> Self {
        let [meta, log, locator] = [0, 1, 2].map(Table::Simulated);
        let shards = shards.map(|shard| (shard, simulated_shard(shard))).collect();
        Self { meta, log, locator, shards, lock: None }
    }

    /// Which keyspace has which name.
    pub(crate) fn roster(&self) -> Roster {
        let named = |table: &Table| (table.keyspace().id(), table.keyspace().name().to_string());
        Roster(self.all().map(named).collect())
    }

    pub(crate) fn shard(&self, shard: ShardId) -> Result<&Table, ReadError> {
        self.shards.get(&shard).ok_or(ReadError::NoShard(shard))
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Table> {
        [&self.meta, &self.log, &self.locator].into_iter().chain(self.shards.values())
    }
}
