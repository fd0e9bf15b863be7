//! Making shards, and taking away those that have given all away: their keyspaces, and the roster's lines.
//!
//! A keyspace stands in the roster before any row is put into it, and leaves the roster before it leaves the store, so that
//! what is looked at before the store is opened is never more than is there.
//!
//! The engine makes keyspaces and takes them away under a lock that all commits want, with a handful of syncs. So a few are
//! made ahead, under the next shards' numbers, when the folder is opened and while nothing is written; and those that were
//! emptied wait until nothing is written, until there are too many of them, or until the next start.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fjall::{AbstractTree as _, Database, Keyspace};
use ostrakon_core::ShardMap;
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::SHARDS_MAX;
use parking_lot::Mutex;

use crate::disk::{Disk, Table};
use crate::doomed::Doomed;
use crate::files;
use crate::keyspaces::{
    emptied_name, is_nobodys, is_shard_name, of_emptied, options, shard_name, shard_of_name, spare_name,
};
use crate::migrate::NewShard;
use crate::record::migration::Migration;
use crate::survey::Roster;

/// So many keyspaces are made ahead.
pub(crate) const SPARE: usize = 4;
/// So many that were emptied wait to be taken away.
const EMPTIED_MAX: usize = 16;

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

/// Who makes shards.
pub struct ShardMaking {
    /// Who makes one or takes one away does so alone.
    stock: Mutex<Stock>,
    disk: Disk,
    folder: PathBuf,
    doomed: Doomed,
    /// No other host looks at the folder meanwhile. Given up last.
    _lock: Option<Arc<File>>,
}

/// Keyspaces that no shard of the map has.
#[derive(Default)]
pub(crate) struct Stock {
    /// Made ahead, for the shards of these numbers. Nothing was ever written to them.
    spare: BTreeMap<ShardId, Keyspace>,
    /// Their shards have given all away, or were not needed; the oldest first.
    emptied: VecDeque<Keyspace>,
}

impl ShardMaking {
    pub(crate) fn new(disk: &Disk, folder: &Path, lock: Option<Arc<File>>, doomed: Doomed, stock: Stock) -> Self {
        Self { stock: Mutex::new(stock), disk: disk.clone(), folder: folder.into(), doomed, _lock: lock }
    }

    /// Makes a shard of a number that none has had, where there is room for it. Where no keyspace was made ahead, commits
    /// wait for the engine's syncs, some milliseconds.
    pub fn make(&self, map: &ShardMap) -> Result<NewShard, MakingError> {
        let mut stock = self.stock.lock();
        match &self.disk {
            Disk::Fjall(database) => {
                let mut held = Duration::ZERO;
                let ready =
                    stock.spare.range(map.next_shard()..).next().map(|(shard, keyspace)| (*shard, keyspace.clone()));
                let (shard, keyspace) = match ready {
                    Some(ready) => ready,
                    None => {
                        let began = Instant::now();
                        let made = self.make_anew(database, &mut stock, map)?;
                        held = began.elapsed();
                        made
                    }
                };
                enter(&self.folder, |roster| drop(roster.0.insert(keyspace.id(), shard_name(shard))))?;
                stock.spare.remove(&shard);
                Ok(NewShard { shard, table: Table::Fjall(keyspace), held })
            }
            #[cfg(feature = "simulation")]
            Disk::Simulated(_) => {
                let shard = map.next_shard();
                Ok(NewShard { shard, table: crate::keyspaces::simulated_shard(shard), held: Duration::ZERO })
            }
        }
    }

    /// A shard that no map names any more is to be taken away. Its files go after that, when the last view of it does.
    pub fn remove(&self, shard: ShardId) -> Result<(), MakingError> {
        let mut stock = self.stock.lock();
        match &self.disk {
            Disk::Fjall(database) if database.keyspace_exists(&shard_name(shard)) => {
                let keyspace = database.keyspace(&shard_name(shard), options)?;
                enter(&self.folder, |roster| drop(roster.0.insert(keyspace.id(), emptied_name(keyspace.name()))))?;
                stock.emptied.push_back(keyspace);
                let too_many = stock.emptied.len() > EMPTIED_MAX;
                let oldest = if too_many { stock.emptied.pop_front() } else { None };
                oldest.map_or(Ok(()), |keyspace| self.take_away(database, keyspace))
            }
            _ => Ok(()),
        }
    }

    /// Takes one away that was emptied, or makes one ahead that is missing; answers whether there was one. Commits that come
    /// meanwhile wait, so it is for when nobody writes.
    pub fn tidy(&self, map: &ShardMap) -> Result<bool, MakingError> {
        #[cfg_attr(not(feature = "simulation"), allow(irrefutable_let_patterns))]
        let Disk::Fjall(database) = &self.disk else { return Ok(false) };
        let mut stock = self.stock.lock();
        // The map's next number has gone past them.
        let ahead = stock.spare.split_off(&map.next_shard());
        let passed = std::mem::replace(&mut stock.spare, ahead);
        stock.emptied.extend(passed.into_values());
        if let Some(keyspace) = stock.emptied.front().cloned() {
            self.take_away(database, keyspace)?;
            stock.emptied.pop_front();
            return Ok(true);
        }
        if stock.spare.len() >= SPARE {
            return Ok(false);
        }
        let made = make_ahead(database, &self.folder, &mut roster(&self.folder)?, map, 1)?;
        let any = !made.is_empty();
        stock.spare.extend(made);
        Ok(any)
    }

    /// Makes a keyspace while commits wait; where there are as many as there may be, in place of one that was emptied.
    fn make_anew(
        &self,
        database: &Database,
        stock: &mut Stock,
        map: &ShardMap,
    ) -> Result<(ShardId, Keyspace), MakingError> {
        match make_keyspace(database, &self.folder, &roster(&self.folder)?, map) {
            Err(MakingError::TooMany) if let Some(keyspace) = stock.emptied.pop_front() => {
                self.take_away(database, keyspace)?;
                make_keyspace(database, &self.folder, &roster(&self.folder)?, map)
            }
            made => made,
        }
    }

    fn take_away(&self, database: &Database, keyspace: Keyspace) -> Result<(), MakingError> {
        self.doomed.add_all(&keyspace);
        remove(database, &self.folder, keyspace)
    }
}

impl Stock {
    /// What the roster is to say: what the engine has but for `gone`, and the shards of the map that it has not, as before.
    fn roster(
        &self,
        database: &Database,
        known: &BTreeSet<ShardId>,
        gone: &[Keyspace],
        before: &Roster,
    ) -> Result<Roster, MakingError> {
        let is_missed = |(_, name): &(&u64, &String)| {
            !database.keyspace_exists(name) && shard_of_name(name).is_some_and(|shard| known.contains(&shard))
        };
        let missed = before.0.iter().filter(is_missed).map(|(number, name)| (*number, name.clone()));
        let mut roster = Roster(missed.collect());
        for name in database.list_keyspace_names() {
            let number = database.keyspace(&name, options)?.id();
            if gone.iter().all(|keyspace| keyspace.id() != number) {
                let spare = shard_of_name(&name).filter(|shard| self.spare.contains_key(shard));
                roster.0.insert(number, spare.map_or_else(|| name.to_string(), spare_name));
            }
        }
        Ok(roster)
    }
}

/// Makes a keyspace for a shard of the first free number that the map has not given, where there is room: in the engine, and in
/// the roster, which also names shards that are set aside.
fn make_keyspace(
    database: &Database,
    folder: &Path,
    roster: &Roster,
    map: &ShardMap,
) -> Result<(ShardId, Keyspace), MakingError> {
    let there = database.list_keyspace_names().iter().filter(|name| is_shard_name(name)).count();
    let named = roster.0.values().filter(|name| is_shard_name(name) || is_nobodys(name)).count();
    if there.max(named) >= SHARDS_MAX as usize {
        return Err(MakingError::TooMany);
    }
    let free = |shard: &ShardId| !database.keyspace_exists(&shard_name(*shard));
    let shard = (map.next_shard().get()..).map(ShardId::new).find(free).ok_or(MakingError::TooMany)?;
    let keyspace = database.keyspace(&shard_name(shard), options)?;
    files::sync(&folder.join(crate::open::folder::DATABASE_FOLDER).join("keyspaces"))?;
    Ok((shard, keyspace))
}

/// Makes so many ahead, or as many as there is room for, and enters them all at once.
fn make_ahead(
    database: &Database,
    folder: &Path,
    roster: &mut Roster,
    map: &ShardMap,
    wanted: usize,
) -> Result<Vec<(ShardId, Keyspace)>, MakingError> {
    let mut made = Vec::new();
    while made.len() < wanted {
        match make_keyspace(database, folder, roster, map) {
            Ok((shard, keyspace)) => {
                roster.0.insert(keyspace.id(), spare_name(shard));
                made.push((shard, keyspace));
            }
            Err(MakingError::TooMany) => break,
            Err(error) => return Err(error),
        }
    }
    if !made.is_empty() {
        roster.write(folder)?;
    }
    Ok(made)
}

fn roster(folder: &Path) -> std::io::Result<Roster> {
    let roster = Roster::read(folder)?.unwrap_or(Err("it is missing"));
    roster.map_err(|what| std::io::Error::other(format!("the roster is damaged: {what}")))
}

fn enter(folder: &Path, change: impl FnOnce(&mut Roster)) -> std::io::Result<()> {
    let mut roster = roster(folder)?;
    change(&mut roster);
    roster.write(folder)
}

fn remove(database: &Database, folder: &Path, keyspace: Keyspace) -> Result<(), MakingError> {
    let number = keyspace.id();
    enter(folder, |roster| drop(roster.0.remove(&number)))?;
    Ok(database.delete_keyspace(keyspace)?)
}

/// Takes away what the last run or a crash has left: keyspaces that were made and not used, or emptied. Brings the roster to what is
/// there, and answers the keyspaces that are made ahead.
pub(crate) fn settle(
    database: &Database,
    folder: &Path,
    map: &ShardMap,
    migrated: impl Iterator<Item = Migration>,
) -> Result<Stock, MakingError> {
    let known: BTreeSet<_> = map.shards().collect();
    let given_away: BTreeSet<_> = migrated.filter_map(|migration| migration.gave()).collect();
    let before = roster(folder)?;
    let emptied: BTreeSet<_> = before.0.values().filter_map(|name| of_emptied(name)).collect();
    let (mut stock, mut gone) = (Stock::default(), Vec::new());
    for name in database.list_keyspace_names() {
        let Some(shard) = shard_of_name(&name).filter(|shard| !known.contains(shard)) else { continue };
        let keyspace = database.keyspace(&name, options)?;
        if shard >= map.next_shard() && is_unused(&keyspace) {
            // The migration that it was for may not have begun.
            stock.spare.insert(shard, keyspace);
        } else if emptied.contains(&*name) || given_away.contains(&shard) || keyspace.is_empty()? {
            gone.push(keyspace);
        } else {
            tracing::warn!(%shard, "a shard that no map names holds rows: it is left as it is, and not served");
        }
    }
    while stock.spare.len() > SPARE {
        gone.extend(stock.spare.pop_last().map(|(_, keyspace)| keyspace));
    }
    let mut roster = stock.roster(database, &known, &gone, &before)?;
    if roster != before {
        roster.write(folder)?;
    }
    for keyspace in gone {
        database.delete_keyspace(keyspace)?;
    }
    match make_ahead(database, folder, &mut roster, map, SPARE - stock.spare.len()) {
        Ok(made) => stock.spare.extend(made),
        Err(error) => {
            tracing::warn!(%error, "no keyspaces are made ahead: commits wait while the next shard is made");
        }
    }
    Ok(stock)
}

/// Whether nothing was ever written to it.
fn is_unused(keyspace: &Keyspace) -> bool {
    let tree = &keyspace.tree;
    tree.table_count() == 0 && tree.sealed_memtable_count() == 0 && tree.active_memtable().is_empty()
}
