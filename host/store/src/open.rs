//! Opening a data folder: making it, checking it, reading back what must be in memory.

pub(crate) mod folder;

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use fjall::PersistMode;
use ostrakon_core::{ShardMap, ShardRange};
use ostrakon_wire::bounds::{
    ACTION_IDS_DEFAULT, LOG_CHANGES_DEFAULT, OWNERS_DEFAULT, RETENTION_AGE_MS_DEFAULT, SHARDS_DEFAULT,
    SPARE_SHARDS_DEFAULT,
};
use ostrakon_wire::{Keep, LogId, Revision};

use self::folder::{
    Entered, FORMAT, FORMAT_WITHOUT_ROSTER, create, enter, find_facts, hold_keyspaces, open_database, roster,
    write_format,
};
#[cfg(feature = "simulation")]
use self::folder::{read_facts, write_facts};
use crate::acknowledged::Acknowledged;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::doomed::Doomed;
use crate::error::{OpenError, ReadError};
use crate::floors::Floors;
use crate::keyspaces::Keyspaces;
use crate::making::{self, MakingError, ShardMaking, Stock};
use crate::record::case::Ticket;
use crate::record::locator::ObjectNumber;
use crate::record::log::Entry;
use crate::record::meta::{self, Forgotten, LogStart, Retention, StoreFacts};
use crate::record::migration::Migration;
use crate::survey::DamagedShards;
use crate::sweep;
use crate::view::{ReadView, Views};

/// How to open a data folder.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The folder; made if it is missing.
    pub path: PathBuf,
    /// Shards that a new folder starts with; an existing one keeps its own.
    pub shards: u32,
    /// Keyspaces that stand ready for shards to come.
    pub spare_shards: usize,
    /// Who owns shards: so many, numbered from 0. Shards of others are given to these.
    pub owners: u32,
    /// Versions of an object that history keeps from now on, at least 1, where its type has no rule of its own; `None`: as
    /// many as it was told last.
    pub history_versions: Option<u32>,
    /// The newest changes whose action ids are remembered.
    pub action_ids: usize,
    /// Changes that the log keeps; at least those.
    pub log_changes: usize,
    /// Number of the log, for a folder that is new.
    pub new_log: LogId,
    /// How closely files are looked at before they are used.
    pub verify: Verify,
}

/// How closely files are looked at when a folder is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verify {
    /// Every byte of every table is read and held against its checksum; takes as long as reading the store does.
    #[default]
    Full,
    /// Journals and lists of tables are; of the tables only that they are there and whole at their ends. What is damaged
    /// inside them shows when it is read.
    Quick,
}

impl StoreConfig {
    /// The defaults, for a folder.
    pub fn new(path: impl Into<PathBuf>, new_log: LogId) -> Self {
        Self {
            path: path.into(),
            shards: SHARDS_DEFAULT,
            spare_shards: SPARE_SHARDS_DEFAULT,
            owners: OWNERS_DEFAULT,
            history_versions: None,
            action_ids: ACTION_IDS_DEFAULT,
            log_changes: LOG_CHANGES_DEFAULT,
            new_log,
            verify: Verify::default(),
        }
    }
}

impl StoreConfig {
    /// Changes that the log keeps: never fewer than ids are remembered of.
    pub(crate) fn log_kept(&self) -> u64 {
        self.action_ids.max(self.log_changes) as u64
    }
}

/// An open data folder.
pub struct Store {
    pub(crate) config: StoreConfig,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    pub(crate) keyspaces: Arc<Keyspaces>,
    pub(crate) map: Arc<ShardMap>,
    pub(crate) facts: StoreFacts,
    pub(crate) log: LogWindow,
    pub(crate) retention: Arc<Retention>,
    pub(crate) forgotten: Forgotten,
    /// Those that run.
    pub(crate) migrations: Arc<BTreeMap<u64, Migration>>,
    /// Those that have ended and are remembered, in the order in which they go.
    pub(crate) migrated: VecDeque<u64>,
    pub(crate) views: Views,
    /// Object numbers from here on were never given out, before or in this run.
    pub(crate) numbers_mark: u64,
    /// Kept beside what is on a real disk.
    pub(crate) acknowledged: Option<Acknowledged>,
    pub(crate) doomed: Doomed,
    /// For whoever makes shards.
    stock: Stock,
}

/// Which part of the log is there.
#[derive(Debug, Clone)]
pub(crate) struct LogWindow {
    pub(crate) start: LogStart,
    pub(crate) next: Revision,
    /// Changes in it.
    pub(crate) changes: u64,
    /// Those of them whose ids are remembered.
    pub(crate) remembered: u64,
}

/// Gives out object numbers, each once in the life of the store.
pub struct Numbers(AtomicU64);

impl Numbers {
    /// The next one; `None` once all are given out.
    pub fn draw(&self) -> Option<ObjectNumber> {
        ObjectNumber::new(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// One remembered action.
#[derive(Debug, Clone)]
pub struct Remembered {
    /// The commit unit it was.
    pub revision: Revision,
    /// What it did; it has an identity. Its note is left out.
    pub entry: Entry,
    /// Whether it has a note.
    pub noted: bool,
}

/// What an opened folder brings back into memory.
#[derive(Debug, Default)]
pub struct Recovered {
    /// The actions whose ids are remembered, oldest first.
    pub remembered: Vec<Remembered>,
    /// The floors below them.
    pub floors: Floors,
    /// Detached actions that are not done.
    pub tickets: Vec<Ticket>,
    /// Escalations that nobody has settled.
    pub escalations_open: usize,
    /// Those that were settled and are kept, oldest first.
    pub escalations_settled: VecDeque<Revision>,
    /// The number of the next migration.
    pub migrations_next: u64,
    /// What the planner goes by, where it was told.
    pub planning: Option<Vec<u8>>,
}

impl Store {
    /// Opens a data folder, or makes it. Looks at all of its files first, reads the whole log, and holds that it has no
    /// hole and reaches what was acknowledged. Shards that are damaged are set aside.
    pub fn open(config: StoreConfig) -> Result<(Self, Recovered), OpenError> {
        let path = config.path.clone();
        let io = |source| OpenError::Io { path: path.clone(), source };
        let Entered { lock, format, acknowledged, mark } = enter(&path, config.verify, DamagedShards::SetAside)?;
        let database = open_database(&path)?;
        let wrap = |source: fjall::Error| engine_error(&path, source);
        let (facts, map) = match find_facts(&database, &path)? {
            Some(found) => found,
            None => create(&database, &config)?,
        };
        hold_keyspaces(&database, &path)?;
        let roster = roster(&path)?;
        let keyspaces = Arc::new(Keyspaces::open(&database, &roster, map.shards(), lock).map_err(wrap)?);
        if format <= FORMAT_WITHOUT_ROSTER {
            keyspaces.roster().write(&path).map_err(io)?;
        }
        let disk = Disk::Fjall(database.clone());
        let mut store = Self::on(disk, Clock::default(), config, keyspaces, facts, map);
        store.acknowledged = Some(acknowledged);
        let recovered = store.recover(&path, mark)?;
        let view = store.views.latest();
        let (migrated, spare) = (view.migrated().filter_map(Result::ok), store.config.spare_shards);
        store.stock = making::settle(&database, &path, &store.keyspaces, &store.map, spare, migrated)
            .map_err(|error| making_error(&path, error))?;
        if format < FORMAT {
            write_format(&path).map_err(io)?;
        }
        store.settle(&path)?;
        Ok((store, recovered))
    }

    /// Opens what a simulated disk holds, or makes it, at the time that these clocks show.
    #[cfg(feature = "simulation")]
    pub fn simulated(
        config: StoreConfig,
        disk: &crate::simulated::SimulatedDisk,
        clock: &Arc<crate::simulated::SimulatedClock>,
    ) -> Result<(Self, Recovered), OpenError> {
        let path = config.path.clone();
        let disk = Disk::Simulated(disk.clone());
        let meta = Keyspaces::simulated(std::iter::empty()).meta;
        let (facts, map) = match read_facts(&disk.snapshot(), &meta, &path)? {
            Some(found) => found,
            None => write_facts(&disk, &meta, &config)?,
        };
        let keyspaces = Arc::new(Keyspaces::simulated(map.shards()));
        let mut store = Self::on(disk, Clock::simulated(clock), config, keyspaces, facts, map);
        let recovered = store.recover(&path, None)?;
        store.settle(&path)?;
        Ok((store, recovered))
    }

    /// A store of which nothing is known yet but its facts and its map.
    fn on(
        disk: Disk,
        clock: Clock,
        config: StoreConfig,
        keyspaces: Arc<Keyspaces>,
        facts: StoreFacts,
        map: ShardMap,
    ) -> Self {
        let view = ReadView {
            snapshot: disk.snapshot(),
            keyspaces: Arc::clone(&keyspaces),
            map: Arc::new(map),
            log: facts.log,
            revision: Revision::default(),
            log_first: Revision::default(),
            log_kept: config.log_kept(),
            retention: Arc::new(Retention {
                all: Keep { versions: facts.history_versions, age_ms: RETENTION_AGE_MS_DEFAULT },
                types: BTreeMap::new(),
            }),
            forgotten: Forgotten::default(),
            migrations: Arc::default(),
        };
        Self {
            config,
            disk,
            clock,
            keyspaces,
            map: Arc::clone(&view.map),
            facts,
            log: LogWindow { start: LogStart::default(), next: Revision::new(1), changes: 0, remembered: 0 },
            retention: Arc::clone(&view.retention),
            forgotten: view.forgotten,
            migrations: Arc::default(),
            migrated: VecDeque::new(),
            views: Views(Arc::new(ArcSwap::from_pointee(view))),
            numbers_mark: 0,
            acknowledged: None,
            doomed: Doomed::default(),
            stock: Stock::default(),
        }
    }

    /// What is done once all is read, before anything is served.
    fn settle(&mut self, path: &Path) -> Result<(), OpenError> {
        self.settle_history().map_err(|error| read_error(path, error))?;
        self.settle_owners().map_err(|source| engine_error(path, source))?;
        self.publish_at(&self.log);
        Ok(())
    }

    /// The clocks that the store goes by.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The newest read view, now and from now on.
    pub fn views(&self) -> Views {
        self.views.clone()
    }

    /// The log's own number.
    pub fn log(&self) -> LogId {
        self.facts.log
    }

    /// Gives out the object numbers of this run.
    pub fn numbers(&self) -> Numbers {
        Numbers(AtomicU64::new(self.numbers_mark))
    }

    /// Reads the log: holds that it has no hole and reaches what was acknowledged, and collects the action ids in it.
    fn recover(&mut self, path: &Path, acknowledged: Option<Revision>) -> Result<Recovered, OpenError> {
        let damaged = |source| OpenError::Damaged { path: path.into(), source };
        let wrap = |source: fjall::Error| engine_error(path, source);
        let view = self.views.latest();
        let fact = |key| view.snapshot.get(&self.keyspaces.meta, key).map_err(wrap);
        self.log.start = match fact(meta::FLOORS_KEY)? {
            Some(value) => LogStart::decode(&value).map_err(damaged)?,
            None => LogStart { first: Revision::new(1), ids_from: Revision::new(1), floors: Floors::default() },
        };
        self.numbers_mark = match fact(meta::NUMBERS_KEY)? {
            Some(value) => meta::decode_numbers(&value).map_err(damaged)?,
            None => 0,
        };
        if let Some(value) = fact(meta::RETENTION_KEY)? {
            self.retention = Arc::new(Retention::decode(&value).map_err(damaged)?);
        }
        if let Some(value) = fact(meta::FORGOTTEN_KEY)? {
            self.forgotten = Forgotten::decode(&value).map_err(damaged)?;
        }
        for migration in view.running_migrations() {
            let migration = migration.map_err(|error| read_error(path, error))?;
            Arc::make_mut(&mut self.migrations).insert(migration.number, migration);
        }
        for migration in view.migrated() {
            self.migrated.push_front(migration.map_err(|error| read_error(path, error))?.number);
        }
        let last = self.migrated.back().copied().max(self.migrations.keys().next_back().copied());
        let mut next = self.log.start.first;
        let mut remembered = Vec::new();
        for record in view.log_from(Revision::default()) {
            let (first, record) = record.map_err(|error| read_error(path, error))?;
            if first != next {
                return Err(OpenError::LogHole { path: path.into(), expected: next, found: first });
            }
            next = Revision::new(first.get() + record.units());
            self.log.changes += record.entries.len() as u64;
            if first < self.log.start.ids_from {
                continue;
            }
            self.log.remembered += record.entries.len() as u64;
            let identified = record.by_revision(first).filter(|(_, entry)| entry.identity.is_some());
            // Notes are read when somebody asks for them.
            remembered.extend(identified.map(|(revision, mut entry)| {
                let noted = !std::mem::take(&mut entry.note).is_empty();
                Remembered { revision, entry, noted }
            }));
        }
        let found = Revision::new(next.get() - 1);
        if let Some(acknowledged) = acknowledged.filter(|acknowledged| found < *acknowledged) {
            return Err(OpenError::LostEnd { path: path.into(), acknowledged, found });
        }
        self.log.next = next;
        let mut recovered = Recovered {
            remembered,
            floors: self.log.start.floors.clone(),
            migrations_next: last.map_or(1, |last| last + 1),
            planning: fact(meta::PLANNING_KEY)?.map(|value| value.to_vec()),
            ..Recovered::default()
        };
        self.recover_cases(&mut recovered).map_err(|error| read_error(path, error))?;
        Ok(recovered)
    }

    fn recover_cases(&self, recovered: &mut Recovered) -> Result<(), ReadError> {
        let view = self.views.latest();
        recovered.tickets = view.tickets().collect::<Result<_, _>>()?;
        for escalation in view.escalations(Revision::default()) {
            let (number, escalation) = escalation?;
            match escalation.settled {
                Some(_) => recovered.escalations_settled.push_back(number),
                None => recovered.escalations_open += 1,
            }
        }
        Ok(())
    }

    /// Publishes what is durable now.
    pub(crate) fn publish_at(&self, log: &LogWindow) {
        self.views.publish(ReadView {
            snapshot: self.disk.snapshot(),
            keyspaces: Arc::clone(&self.keyspaces),
            map: Arc::clone(&self.map),
            log: self.facts.log,
            revision: Revision::new(log.next.get() - 1),
            log_first: log.start.first,
            log_kept: self.config.log_kept(),
            retention: Arc::clone(&self.retention),
            forgotten: self.forgotten,
            migrations: Arc::clone(&self.migrations),
        });
    }

    /// Gives shards whose owner is none of those there are now to one that is; and all to all in turn, where a release that
    /// knew no owners gave them to the first.
    fn settle_owners(&mut self) -> fjall::Result<()> {
        let owners = self.config.owners.max(1);
        let ranges = self.map.ranges();
        let never_given = self.map.epoch().get() == 1 && ranges.iter().all(|range| range.owner == 0);
        let owner = |(at, range): (usize, &ShardRange)| {
            let owner = if never_given { at as u32 } else { range.owner } % owners;
            (range.shard, range.owner, owner)
        };
        let strays = ranges.iter().enumerate().map(owner).filter(|(_, before, owner)| before != owner);
        let map = strays.fold(ShardMap::clone(&self.map), |map, (shard, _, owner)| {
            map.owned_by(shard, owner).expect("a shard of the map can be given away")
        });
        if map.epoch() != self.map.epoch() {
            let mut batch = self.disk.batch(1, PersistMode::SyncAll);
            batch.insert(&self.keyspaces.meta, meta::MAP_KEY, meta::encode_map(&map));
            batch.commit()?;
            self.map = Arc::new(map);
        }
        Ok(())
    }

    /// How many owners there are.
    pub fn owners(&self) -> u32 {
        self.config.owners
    }

    /// Makes shards and takes them away, from now on; asked for once.
    pub fn shard_making(&mut self) -> ShardMaking {
        let stock = std::mem::take(&mut self.stock);
        ShardMaking::new(&self.disk, &self.config, self.keyspaces.lock(), self.doomed.clone(), stock)
    }

    /// Brings history to the configured number of versions where another is asked for than before.
    fn settle_history(&mut self) -> Result<(), ReadError> {
        let Some(now) = self.config.history_versions.map(|versions| versions.max(1)) else { return Ok(()) };
        let before = self.retention.all.versions;
        if before == now {
            return Ok(());
        }
        let mut retention = Retention::clone(&self.retention);
        retention.all.versions = now;
        self.retention = Arc::new(retention);
        if now < before {
            sweep::history(&self.disk, &self.keyspaces, &self.map, &self.retention)?;
        }
        let mut batch = self.disk.batch(1, PersistMode::SyncAll);
        batch.insert(&self.keyspaces.meta, meta::RETENTION_KEY, self.retention.encode());
        batch.commit()?;
        Ok(())
    }
}

fn making_error(path: &Path, error: MakingError) -> OpenError {
    match error {
        MakingError::Engine(source) => engine_error(path, source),
        MakingError::Io(source) => OpenError::Io { path: path.into(), source },
        error @ MakingError::TooMany => OpenError::Io { path: path.into(), source: std::io::Error::other(error) },
    }
}

pub(crate) fn engine_error(path: &Path, source: fjall::Error) -> OpenError {
    match source {
        fjall::Error::Locked => OpenError::InUse { path: path.into() },
        fjall::Error::Io(source) | fjall::Error::Storage(fjall::LsmError::Io(source)) => {
            OpenError::Io { path: path.into(), source }
        }
        source => OpenError::Engine { path: path.into(), source },
    }
}

fn read_error(path: &Path, error: ReadError) -> OpenError {
    match error {
        ReadError::Damaged(source) => OpenError::Damaged { path: path.into(), source },
        other => OpenError::Io { path: path.into(), source: std::io::Error::other(other.to_string()) },
    }
}
