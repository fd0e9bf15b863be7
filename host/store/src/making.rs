//! Making shards, and taking away those that have given all away: their keyspaces, and the roster's lines.
//!
//! A keyspace stands in the roster before any row is put into it, and is called nobody's there before it leaves the store, so
//! that what is missed before the store is opened is never more than was lost.
//!
//! The engine makes keyspaces and takes them away under a lock that all commits want, with a handful of syncs. So some are
//! made ahead, under the next shards' numbers, when the folder is opened and while nothing is written. Those that were
//! emptied give back what stands in them, without that lock, and stand ready for other shards then. So the engine keeps
//! calling some keyspaces by the first shard that they had: which shard has one now, only the roster tells.

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
    Keyspaces, by_number, emptied_name, is_nobodys, is_shard_name, options, shard_name, shard_of_name,
    shard_of_nobodys, spare_name,
};
use crate::migrate::NewShard;
use crate::open::StoreConfig;
use crate::open::folder::DATABASE_FOLDER;
use crate::record::migration::Migration;
use crate::survey::Roster;

/// So many that were emptied wait to stand ready or to be taken away.
pub(crate) const EMPTIED_MAX: usize = 64;

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
    /// Who has emptied keyspaces give back what stands in them does so alone: nobody else makes them ready meanwhile.
    cleaning: Mutex<()>,
    /// So many are to stand ready.
    wanted: usize,
    disk: Disk,
    folder: PathBuf,
    doomed: Doomed,
    /// No other host looks at the folder meanwhile. Given up last.
    _lock: Option<Arc<File>>,
}

/// Keyspaces that no shard of the map has.
#[derive(Default)]
pub(crate) struct Stock {
    /// They stand ready, for the shards of these numbers: there is nothing in them, and no journal tells of anything.
    spare: BTreeMap<ShardId, Keyspace>,
    /// Their shards have given all away, or were not needed; the oldest first.
    emptied: VecDeque<Emptied>,
}

/// A keyspace of rows that are nobody's.
struct Emptied {
    keyspace: Keyspace,
    /// The newest journal when none of its rows was in memory alone any more.
    told_by: Option<u64>,
}

impl From<Keyspace> for Emptied {
    fn from(keyspace: Keyspace) -> Self {
        Self { keyspace, told_by: None }
    }
}

impl Emptied {
    /// Whether nothing tells of its rows but its tables: no memtable, and no journal. While one does, a crash would bring them
    /// back; and the engine would keep the journal for ever, since nothing says any more that it has flushed what that tells.
    fn may_go(&mut self, (oldest, newest): (u64, u64)) -> bool {
        let tree = &self.keyspace.tree;
        let in_memory = !tree.active_memtable().is_empty() || tree.sealed_memtable_count() > 0;
        !in_memory && oldest > *self.told_by.get_or_insert(newest)
    }
}

impl ShardMaking {
    pub(crate) fn new(
        disk: &Disk,
        config: &StoreConfig,
        lock: Option<Arc<File>>,
        doomed: Doomed,
        stock: Stock,
    ) -> Self {
        let (stock, wanted, folder) = (Mutex::new(stock), config.spare_shards, config.path.clone());
        Self { stock, cleaning: Mutex::default(), wanted, disk: disk.clone(), folder, doomed, _lock: lock }
    }

    /// Makes a shard of a number that none has had, where there is room for it. Where no keyspace stands ready, commits
    /// wait for the engine's syncs, some milliseconds.
    pub fn make(&self, map: &ShardMap) -> Result<NewShard, MakingError> {
        match &self.disk {
            Disk::Fjall(database) => {
                let is_ready = self.stock.lock().ready(map).is_some();
                if !is_ready && let Err(error) = self.clean(map) {
                    tracing::warn!(%error, "what was emptied does not stand ready again");
                }
                let (mut stock, mut held) = (self.stock.lock(), Duration::ZERO);
                let (shard, keyspace) = match stock.ready(map) {
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

    /// A shard that no map names any more is to be taken away. Its rows go after that, when the last view of them does.
    pub fn remove(&self, shard: ShardId) -> Result<(), MakingError> {
        #[cfg_attr(not(feature = "simulation"), allow(irrefutable_let_patterns))]
        let Disk::Fjall(database) = &self.disk else { return Ok(()) };
        let mut stock = self.stock.lock();
        let mut roster = roster(&self.folder)?;
        let number = roster.number(&shard_name(shard));
        let Some(keyspace) = number.and_then(|number| by_number(database).remove(&number)) else { return Ok(()) };
        roster.0.insert(keyspace.id(), emptied_name(&shard_name(shard)));
        roster.write(&self.folder)?;
        stock.emptied.push_back(keyspace.into());
        let too_many = stock.emptied.len() > EMPTIED_MAX;
        let oldest = if too_many { stock.emptied.pop_front() } else { None };
        oldest.map_or(Ok(()), |oldest| self.take_away(database, oldest.keyspace))
    }

    /// Has those that were emptied give back what stands in them, as far as that can be, and stand ready for the next shards, as
    /// many as are wanted. No commit waits for the engine's lock meanwhile. Answers how many do so now.
    pub fn clean(&self, map: &ShardMap) -> Result<usize, MakingError> {
        #[cfg_attr(not(feature = "simulation"), allow(irrefutable_let_patterns))]
        let Disk::Fjall(database) = &self.disk else { return Ok(0) };
        let (_alone, folder) = (self.cleaning.lock(), self.folder.join(DATABASE_FOLDER));
        let may_go: Vec<_> = {
            let emptied = &mut self.stock.lock().emptied;
            let journals = if emptied.is_empty() { return Ok(0) } else { journals(&folder)? };
            emptied.iter_mut().filter_map(|one| one.may_go(journals).then(|| one.keyspace.clone())).collect()
        };
        let holds = |keyspace: &&Keyspace| keyspace.tree.table_count() > 0;
        if may_go.iter().any(|keyspace| holds(&keyspace)) {
            // The engine removes journals, and does not sync that.
            files::sync(&folder)?;
        }
        // A merge that is under way there is waited for, by nobody else.
        for keyspace in may_go.iter().filter(holds) {
            self.doomed.add_all(keyspace);
            keyspace.tree.drop_range::<&[u8], _>(..).map_err(fjall::Error::from)?;
        }
        self.stand_ready(database, &may_go, map)
    }

    /// These stand ready from now on, as many as are wanted, if nobody has taken them away meanwhile.
    fn stand_ready(&self, database: &Database, cleaned: &[Keyspace], map: &ShardMap) -> Result<usize, MakingError> {
        let mut stock = self.stock.lock();
        let Stock { spare, emptied } = &mut *stock;
        let is_clean =
            |one: &Emptied| cleaned.iter().any(|it| it.id() == one.keyspace.id()) && is_unused(&one.keyspace);
        let wanted = self.wanted.saturating_sub(spare.len());
        let clean = emptied.iter().filter(|one| is_clean(one)).take(wanted);
        let ready: Vec<_> = clean.map(|one| one.keyspace.clone()).collect();
        if ready.is_empty() {
            return Ok(0);
        }
        let mut roster = roster(&self.folder)?;
        let mut named = BTreeMap::new();
        for keyspace in ready {
            let shard = free_number(database, &roster, map).ok_or(MakingError::TooMany)?;
            roster.0.insert(keyspace.id(), spare_name(shard));
            named.insert(shard, keyspace);
        }
        roster.write(&self.folder)?;
        emptied.retain(|one| named.values().all(|keyspace| keyspace.id() != one.keyspace.id()));
        let count = named.len();
        spare.extend(named);
        Ok(count)
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
        stock.emptied.extend(passed.into_values().map(Emptied::from));
        if let Some(oldest) = stock.emptied.front() {
            self.take_away(database, oldest.keyspace.clone())?;
            stock.emptied.pop_front();
            return Ok(true);
        }
        if stock.spare.len() >= self.wanted {
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
            Err(MakingError::TooMany) if let Some(oldest) = stock.emptied.pop_front() => {
                self.take_away(database, oldest.keyspace)?;
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
    /// One that stands ready for the next shard.
    fn ready(&self, map: &ShardMap) -> Option<(ShardId, Keyspace)> {
        self.spare.range(map.next_shard()..).next().map(|(shard, keyspace)| (*shard, keyspace.clone()))
    }

    /// What the roster is to say: the keyspaces that are there, and the shards of the map that are missed.
    fn roster(
        &self,
        there: &BTreeMap<u64, Keyspace>,
        serving: &BTreeMap<u64, ShardId>,
        missed: impl Fn(ShardId) -> bool,
        before: &Roster,
    ) -> Roster {
        let is_missed =
            |(number, name): &(&u64, &String)| !there.contains_key(number) && shard_of_name(name).is_some_and(&missed);
        // The engine may give the number of a keyspace that is gone to the next one.
        let number = |name: &str| u64::MAX - shard_of_name(name).map_or(0, |shard| u64::from(shard.get()));
        let missed = before.0.iter().filter(is_missed).map(|(_, name)| (number(name), name.clone()));
        let mut roster = Roster(missed.collect());
        for (number, keyspace) in there {
            let spare = self.spare.iter().find(|(_, spare)| spare.id() == *number).map(|(shard, _)| spare_name(*shard));
            let serves = serving.get(number).map(|shard| shard_name(*shard));
            let name = serves.or(spare).unwrap_or_else(|| called(before, keyspace).to_owned());
            roster.0.insert(*number, name);
        }
        roster
    }
}

/// What the roster calls a keyspace; where it does not, or calls one so that is no shard's, what the engine does.
fn called<'a>(roster: &'a Roster, keyspace: &'a Keyspace) -> &'a str {
    let own: &str = keyspace.name();
    roster.0.get(&keyspace.id()).filter(|_| is_shard_name(own)).map_or(own, String::as_str)
}

/// Makes a keyspace for a shard of the first free number, where there is room: in the engine, and in the roster, which also
/// names shards that are set aside.
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
    let shard = free_number(database, roster, map).ok_or(MakingError::TooMany)?;
    let keyspace = database.keyspace(&shard_name(shard), options)?;
    files::sync(&folder.join(DATABASE_FOLDER).join("keyspaces"))?;
    Ok((shard, keyspace))
}

/// The first number that no shard of the map has had, none is to have, and no keyspace is called by.
fn free_number(database: &Database, roster: &Roster, map: &ShardMap) -> Option<ShardId> {
    let taken: BTreeSet<_> =
        roster.0.values().filter_map(|name| shard_of_name(name).or(shard_of_nobodys(name))).collect();
    let free = |shard: &ShardId| !taken.contains(shard) && !database.keyspace_exists(&shard_name(*shard));
    (map.next_shard().get()..).map(ShardId::new).find(free)
}

/// The numbers of the oldest journal and of the newest one.
fn journals(folder: &Path) -> std::io::Result<(u64, u64)> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(name.to_str().and_then(|name| name.strip_suffix(".jnl")?.parse::<u64>().ok()));
    }
    let both = numbers.iter().min().copied().zip(numbers.iter().max().copied());
    both.ok_or_else(|| std::io::Error::other("there is no journal"))
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
    database.delete_keyspace(keyspace)?;
    Ok(enter(folder, |roster| drop(roster.0.remove(&number)))?)
}

/// Takes away what the last run or a crash has left: keyspaces that were made and not used, or emptied. Brings the roster to what is
/// there, and answers the keyspaces that stand ready.
pub(crate) fn settle(
    database: &Database,
    folder: &Path,
    keyspaces: &Keyspaces,
    map: &ShardMap,
    wanted: usize,
    migrated: impl Iterator<Item = Migration>,
) -> Result<Stock, MakingError> {
    let serving: BTreeMap<_, _> =
        keyspaces.shards.iter().map(|(shard, table)| (table.keyspace().id(), *shard)).collect();
    let given_away: BTreeSet<_> = migrated.filter_map(|migration| migration.gave()).collect();
    let before = roster(folder)?;
    let (mut there, mut stock, mut gone) = (by_number(database), Stock::default(), Vec::new());
    for (number, keyspace) in &there {
        let name = called(&before, keyspace);
        let shard = shard_of_name(name).or(shard_of_nobodys(name)).filter(|_| !serving.contains_key(number));
        let Some(shard) = shard else { continue };
        if shard >= map.next_shard() && is_unused(keyspace) && !stock.spare.contains_key(&shard) {
            // The migration that it was for may not have begun.
            stock.spare.insert(shard, keyspace.clone());
        } else if is_nobodys(name) || given_away.contains(&shard) || keyspace.is_empty()? {
            gone.push(*number);
        } else {
            tracing::warn!(%shard, "a shard that no map names holds rows: it is left as it is, and not served");
        }
    }
    while stock.spare.len() > wanted {
        gone.extend(stock.spare.pop_last().map(|(_, keyspace)| keyspace.id()));
    }
    let gone: Vec<_> = gone.iter().filter_map(|number| there.remove(number)).collect();
    let missed = |shard| map.shards().any(|known| known == shard) && !keyspaces.shards.contains_key(&shard);
    let mut roster = stock.roster(&there, &serving, missed, &before);
    for keyspace in gone {
        database.delete_keyspace(keyspace)?;
    }
    if roster != before {
        roster.write(folder)?;
    }
    match make_ahead(database, folder, &mut roster, map, wanted - stock.spare.len()) {
        Ok(made) => stock.spare.extend(made),
        Err(error) => {
            tracing::warn!(%error, "no keyspaces are made ahead: commits wait while the next shard is made");
        }
    }
    Ok(stock)
}

/// Whether nothing stands in it.
fn is_unused(keyspace: &Keyspace) -> bool {
    let tree = &keyspace.tree;
    tree.table_count() == 0 && tree.sealed_memtable_count() == 0 && tree.active_memtable().is_empty()
}
