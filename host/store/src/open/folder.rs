//! The folder: whose it is, which format it has, and the facts that stand in it first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use fjall::{CompressionType, Database, PersistMode};
use ostrakon_core::ShardMap;
use ostrakon_wire::Revision;
use ostrakon_wire::bounds::{BLOCK_CACHE_BYTES, HISTORY_VERSIONS_DEFAULT};

use super::{StoreConfig, Verify, engine_error};
use crate::acknowledged::Acknowledged;
use crate::compact::GoesAlong;
use crate::disk::{Disk, Snapshot, Table};
use crate::error::OpenError;
use crate::files;
use crate::keyspaces::{Keyspaces, LOCATOR, LOG, META};
use crate::record::DamagedRecord;
use crate::record::meta::{self, StoreFacts};
use crate::record::migration::{Migration, RUNNING_PREFIX};
use crate::survey::{DamagedShards, Roster, Survey};

/// The format of data folders that this release writes.
pub(super) const FORMAT: u32 = 6;
/// Folders of this format have no roster yet. Those of format 2 have no tickets, escalations or notes in the log; those of
/// format 3 no transactions, no retention, and rows that do not say what made them; those of format 4 no migrations; those of
/// format 5 no shard in a keyspace that another had.
pub(super) const FORMAT_WITHOUT_ROSTER: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_TITLE: &str = "ostrakon data folder, format ";
pub(crate) const DATABASE_FOLDER: &str = "store";
const LOCK_FILE: &str = "LOCK";

/// Makes the folder if it is missing, takes it for this host alone, and holds that its format is known. The format is
/// written before anything else, so a folder without one was never a host's.
pub(crate) fn claim_folder(path: &Path) -> Result<(File, u32), OpenError> {
    let io = |source| OpenError::Io { path: path.into(), source };
    std::fs::create_dir_all(path).map_err(io)?;
    let format = match std::fs::read_to_string(path.join(FORMAT_FILE)) {
        Ok(text) => {
            let number = text.trim_end().strip_prefix(FORMAT_TITLE).and_then(|number| number.parse::<u32>().ok());
            match number {
                Some(found) if found > FORMAT => {
                    return Err(OpenError::NewerFormat { path: path.into(), found, known: FORMAT });
                }
                Some(found) => found,
                None => return Err(OpenError::NotADataFolder { path: path.into() }),
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if path.join(DATABASE_FOLDER).exists() {
                return Err(OpenError::NotADataFolder { path: path.into() });
            }
            write_format(path).map_err(io)?;
            FORMAT
        }
        Err(error) => return Err(io(error)),
    };
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK_FILE)).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok((lock, format)),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { path: path.into() }),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Which of the two things that a host makes first stand in a folder: its format, its store.
pub(crate) fn what_stands(path: &Path) -> (bool, bool) {
    (path.join(FORMAT_FILE).exists(), path.join(DATABASE_FOLDER).exists())
}

/// A data folder that is this host's alone, and was looked at.
pub(crate) struct Entered {
    /// No other host looks at the folder while this is open.
    pub(crate) lock: File,
    /// Its format when it was entered. Without a roster nothing could be looked at.
    pub(crate) format: u32,
    pub(crate) acknowledged: Acknowledged,
    /// What the log must reach at least.
    pub(crate) mark: Option<Revision>,
}

/// Takes a folder, and looks at what stands in it before the engine opens it.
pub(crate) fn enter(path: &Path, verify: Verify, shards: DamagedShards) -> Result<Entered, OpenError> {
    let (lock, format) = claim_folder(path)?;
    let marked = Acknowledged::open(path);
    let (acknowledged, mark) = marked.map_err(|source| OpenError::Io { path: path.into(), source })?;
    if format > FORMAT_WITHOUT_ROSTER {
        Survey::new(path, path.join(DATABASE_FOLDER), shards).run(verify, mark)?;
    }
    Ok(Entered { lock, format, acknowledged, mark })
}

pub(super) fn write_format(path: &Path) -> std::io::Result<()> {
    files::replace(path, FORMAT_FILE, &format!("{FORMAT_TITLE}{FORMAT}\n"))
}

pub(crate) fn open_database(path: &Path) -> Result<Database, OpenError> {
    Database::builder(path.join(DATABASE_FOLDER))
        .cache_size(BLOCK_CACHE_BYTES)
        // It flushes; one more would, while tables are merged, ask for work without a rest.
        .worker_threads(1)
        // It would flush for its journals' sake, too (see `flush`).
        .max_journaling_size(u64::MAX)
        .with_compaction_filter_factories(Arc::new(|_| Some(Arc::new(GoesAlong))))
        // It would compress every log record on the committing thread.
        .journal_compression(CompressionType::None)
        .open()
        .map_err(|source| engine_error(path, source))
}

/// The facts and the map of a folder that was made to the end; `None` for a new one, or one whose making was cut off.
pub(crate) fn find_facts(database: &Database, path: &Path) -> Result<Option<(StoreFacts, ShardMap)>, OpenError> {
    let wrap = |source: fjall::Error| engine_error(path, source);
    let damaged = |source| OpenError::Damaged { path: path.into(), source };
    if !database.keyspace_exists(META) {
        return if database.list_keyspace_names().is_empty() {
            Ok(None)
        } else {
            Err(OpenError::MissingKeyspace { path: path.into(), name: META })
        };
    }
    let meta = Table::Fjall(database.keyspace(META, Default::default).map_err(wrap)?);
    match read_facts(&Snapshot::Fjall(database.snapshot()), &meta, path)? {
        Some(found) => Ok(Some(found)),
        None => {
            let fresh = |name| -> fjall::Result<bool> {
                Ok(!database.keyspace_exists(name) || database.keyspace(name, Default::default)?.is_empty()?)
            };
            if fresh(LOG).map_err(wrap)? && fresh(LOCATOR).map_err(wrap)? {
                Ok(None)
            } else {
                Err(damaged(DamagedRecord { kind: "meta", what: "the store's facts are gone" }))
            }
        }
    }
}

pub(super) fn read_facts(
    snapshot: &Snapshot,
    meta: &Table,
    path: &Path,
) -> Result<Option<(StoreFacts, ShardMap)>, OpenError> {
    let damaged = |source| OpenError::Damaged { path: path.into(), source };
    let fact = |key| snapshot.get(meta, key).map_err(|source| engine_error(path, source));
    let (Some(facts), Some(map)) = (fact(meta::STORE_KEY)?, fact(meta::MAP_KEY)?) else { return Ok(None) };
    let facts = StoreFacts::decode(&facts).map_err(damaged)?;
    let mut map = meta::decode_map(&map).map_err(damaged)?;
    for pair in snapshot.prefix(meta, RUNNING_PREFIX) {
        let (key, value) = pair.map_err(|source| engine_error(path, source))?;
        if let Some(moving) = Migration::decode(&key, &value).map_err(damaged)?.moving() {
            let impossible =
                |_| damaged(DamagedRecord { kind: "migration", what: "what it moves is no part of the map" });
            map = map.moving_also(*moving).map_err(impossible)?;
        }
    }
    Ok(Some((facts, map)))
}

pub(super) fn write_facts(
    disk: &Disk,
    meta: &Table,
    config: &StoreConfig,
) -> Result<(StoreFacts, ShardMap), OpenError> {
    let facts = StoreFacts { log: config.new_log, history_versions: HISTORY_VERSIONS_DEFAULT };
    let map = ShardMap::equal(config.shards, config.owners);
    let mut batch = disk.batch(2, PersistMode::SyncAll);
    batch.insert(meta, meta::STORE_KEY, facts.encode());
    batch.insert(meta, meta::MAP_KEY, meta::encode_map(&map));
    batch.commit().map_err(|source| engine_error(&config.path, source))?;
    Ok((facts, map))
}

/// Makes the keyspaces, then the roster of them, then the facts, in one batch at the end: a crash before it leaves a
/// folder that is made anew.
pub(super) fn create(database: &Database, config: &StoreConfig) -> Result<(StoreFacts, ShardMap), OpenError> {
    let path = &config.path;
    let wrap = |source: fjall::Error| engine_error(path, source);
    let io = |source| OpenError::Io { path: path.clone(), source };
    let map = ShardMap::equal(config.shards, config.owners);
    let keyspaces = Keyspaces::create(database, map.ranges().iter().map(|range| range.shard)).map_err(wrap)?;
    // The engine syncs what it puts into these folders, not that they are there.
    for folder in [path.join(DATABASE_FOLDER).join("keyspaces"), path.join(DATABASE_FOLDER), path.clone()] {
        files::sync(&folder).map_err(io)?;
    }
    keyspaces.roster().write(path).map_err(io)?;
    write_facts(&Disk::Fjall(database.clone()), &keyspaces.meta, config)
}

/// What the roster says, which was looked at when the folder was entered; nothing in a folder that has none.
pub(crate) fn roster(path: &Path) -> Result<Roster, OpenError> {
    let read = Roster::read(path).map_err(|source| OpenError::Io { path: path.into(), source })?;
    Ok(read.and_then(Result::ok).unwrap_or_default())
}

/// Holds that the keyspaces of the whole store are there before any is opened: opening one that is gone would make it
/// anew, empty.
pub(crate) fn hold_keyspaces(database: &Database, path: &Path) -> Result<(), OpenError> {
    match [LOG, LOCATOR].into_iter().find(|name| !database.keyspace_exists(name)) {
        Some(name) => Err(OpenError::MissingKeyspace { path: path.into(), name }),
        None => Ok(()),
    }
}
