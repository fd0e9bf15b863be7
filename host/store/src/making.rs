//! Making shards, and taking away those that have given all away: their keyspaces, and the roster's lines.
//!
//! A keyspace stands in the roster before any row is put into it, and leaves the roster before it leaves the store, so that
//! what is looked at before the store is opened is never more than is there.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{Database, Keyspace};
use ostrakon_core::ShardMap;
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::SHARDS_MAX;
use parking_lot::Mutex;

use crate::disk::{Disk, Table};
use crate::doomed::Doomed;
use crate::files;
use crate::keyspaces::{is_shard_name, options, shard_name, shard_of_name};
use crate::migrate::NewShard;
use crate::record::migration::Migration;
use crate::survey::Roster;

/// Why a shard is not made or taken away.
#[derive(Debug, thiserror::Error)]
pub enum MakingError {
    /// There are as many as there may be.
    #[error("there are as many shards as a host may have")]
    TooMany,
    /// The engine below cannot.
    #[error("{0}")]
    Engine(#[from] fjall::Error),
    /// The roster cannot be written.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Who makes shards. While a keyspace is made or taken away commits wait for the engine's syncs, some milliseconds.
pub struct ShardMaking {
    /// One at a time.
    alone: Mutex<()>,
    disk: Disk,
    folder: PathBuf,
    doomed: Doomed,
    /// No other host looks at the folder meanwhile. Given up last.
    _lock: Option<Arc<File>>,
}

impl ShardMaking {
    pub(crate) fn new(disk: &Disk, folder: &Path, lock: Option<Arc<File>>, doomed: Doomed) -> Self {
        Self { alone: Mutex::default(), disk: disk.clone(), folder: folder.into(), doomed, _lock: lock }
    }

    /// Makes a shard of a number that none has had, where there is room for it.
    pub fn make(&self, map: &ShardMap) -> Result<NewShard, MakingError> {
        let _alone = self.alone.lock();
        match &self.disk {
            Disk::Fjall(database) => {
                let shards = database.list_keyspace_names().iter().filter(|name| is_shard_name(name)).count();
                if shards >= SHARDS_MAX as usize {
                    return Err(MakingError::TooMany);
                }
                let free = |shard: &ShardId| !database.keyspace_exists(&shard_name(*shard));
                let shard = (map.next_shard().get()..).map(ShardId::new).find(free).ok_or(MakingError::TooMany)?;
                let keyspace = database.keyspace(&shard_name(shard), options)?;
                files::sync(&self.folder.join(crate::open::folder::DATABASE_FOLDER).join("keyspaces"))?;
                enter(&self.folder, |roster| drop(roster.0.insert(keyspace.id(), shard_name(shard))))?;
                Ok(NewShard { shard, table: Table::Fjall(keyspace) })
            }
            #[cfg(feature = "simulation")]
            Disk::Simulated(_) => {
                let shard = map.next_shard();
                Ok(NewShard { shard, table: crate::keyspaces::simulated_shard(shard) })
            }
        }
    }

    /// Takes away a shard that no map names any more. Its files go when the last view of it does.
    pub fn remove(&self, shard: ShardId) -> Result<(), MakingError> {
        let _alone = self.alone.lock();
        match &self.disk {
            Disk::Fjall(database) if database.keyspace_exists(&shard_name(shard)) => {
                let keyspace = database.keyspace(&shard_name(shard), options)?;
                self.doomed.add_all(&keyspace);
                remove(database, &self.folder, keyspace)
            }
            _ => Ok(()),
        }
    }
}

fn enter(folder: &Path, change: impl FnOnce(&mut Roster)) -> std::io::Result<()> {
    let damaged = |what| std::io::Error::other(format!("the roster is damaged: {what}"));
    let roster = Roster::read(folder)?.unwrap_or(Err("it is missing"));
    let mut roster = roster.map_err(damaged)?;
    change(&mut roster);
    roster.write(folder)
}

fn remove(database: &Database, folder: &Path, keyspace: Keyspace) -> Result<(), MakingError> {
    let number = keyspace.id();
    enter(folder, |roster| drop(roster.0.remove(&number)))?;
    Ok(database.delete_keyspace(keyspace)?)
}

/// Takes away what was left by a crash: shards that were made and not used, or have given all away.
pub(crate) fn remove_strays(
    database: &Database,
    folder: &Path,
    map: &ShardMap,
    migrated: impl Iterator<Item = Migration>,
) -> Result<(), MakingError> {
    let known: BTreeSet<_> = map.shards().collect();
    let given_away: BTreeSet<_> = migrated.filter_map(|migration| migration.gave()).collect();
    for name in database.list_keyspace_names() {
        let Some(shard) = shard_of_name(&name).filter(|shard| !known.contains(shard)) else { continue };
        let keyspace = database.keyspace(&name, options)?;
        if given_away.contains(&shard) || keyspace.is_empty()? {
            remove(database, folder, keyspace)?;
        } else {
            tracing::warn!(%shard, "a shard that no map names holds rows: it is left as it is, and not served");
        }
    }
    Ok(())
}
