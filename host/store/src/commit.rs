//! The committing thread: groups of changes, one batch and one sync each.

#[cfg(feature = "simulation")]
mod driver;
mod gather;
mod migrate;
mod pick;
mod trim;
mod write;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fjall::PersistMode;
use ostrakon_core::Moving;
use ostrakon_wire::bounds::{GROUP_CHANGES_MAX, GROUP_ENOUGH};
use ostrakon_wire::{ActionId, ObjectId, Revision, ShardId};

use crate::acknowledged::Acknowledged;
use crate::disk::{Beside, Disk, Table};
use crate::error::{CommitError, ReadError};
use crate::floors::Floors;
use crate::flush::Flusher;
use crate::migrate::Chunk;
use crate::open::folder::DATABASE_FOLDER;
use crate::open::{LogWindow, Store};
use crate::planted::{self, Fault};
use crate::queue::{Queue, QueueFull};
use crate::record::locator::Place;
use crate::record::migration::Moved;
use crate::record::{log, meta};
use crate::stretch::{self, Stretch, StretchBounds};
use crate::tables::Tables;
use crate::unit::{Unit, Upkeep};
use crate::view::ReadView;
#[cfg(feature = "simulation")]
pub use driver::Driver;
use gather::Gathering;
use write::Writing;

/// A change is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// The commit unit it was; of what takes no revision the one before.
    pub revision: Revision,
    /// When the group that it is of was begun.
    pub taken: Instant,
}

/// What became of a commit unit.
pub struct Settled<T> {
    /// The unit.
    pub unit: Unit,
    /// What came with it.
    pub token: T,
    /// It is durable, or will never be.
    pub outcome: Result<Durable, CommitError>,
}

/// Who is told what became of the changes. Called on the committing thread, in commit order, after the view of the group
/// is published. What takes long is better done elsewhere: the next group waits for it.
pub trait Sink: Send + 'static {
    /// What comes with a change.
    type Token: Send + 'static;

    /// A group is done with, in commit order.
    fn settled(&self, group: Vec<Settled<Self::Token>>);

    /// The floors have risen: from now on unknown ids below them are too old to run.
    fn floors(&self, floors: &Floors);

    /// These ids (client, id) are no longer remembered; the floors cover them.
    fn dropped(&self, ids: &[(ObjectId, ActionId)]);
}

/// Counters of the committing thread.
#[derive(Debug, Default)]
pub struct CommitStats {
    /// Groups committed.
    pub groups: AtomicU64,
    /// Changes committed.
    pub changes: AtomicU64,
    /// Changes in the group that is being committed now.
    pub in_group: AtomicU32,
    /// Moving average of how long a group takes, in microseconds.
    pub commit_us: AtomicU32,
    /// The same for a MiB of large groups.
    pub mib_us: AtomicU32,
    /// A persist has failed: nothing is written any more.
    pub failed: AtomicBool,
}

struct Queued<T> {
    unit: Unit,
    bytes: usize,
    token: T,
}

/// The handle of the committing thread; dropping it commits what is queued, flushes, and stops the thread.
pub struct Committer<S: Sink> {
    queue: Arc<Queue<Queued<S::Token>>>,
    stats: Arc<CommitStats>,
    disk: Disk,
    tables: Option<Tables>,
    thread: Option<JoinHandle<()>>,
}

impl<S: Sink> Committer<S> {
    /// Starts the thread on a store; at most so many changes wait for it.
    pub fn start(store: Store, sink: S, changes_max: usize) -> std::io::Result<Self> {
        let (mut committer, thread) = Self::new(store, sink, Queue::of(changes_max))?;
        committer.thread = Some(std::thread::Builder::new().name("commit".into()).spawn(move || thread.run())?);
        Ok(committer)
    }

    /// The same without a thread: what is queued waits for the driver.
    #[cfg(feature = "simulation")]
    pub fn driven(store: Store, sink: S, changes_max: usize) -> std::io::Result<(Self, Driver<S>)> {
        let (committer, thread) = Self::new(store, sink, Queue::of(changes_max))?;
        Ok((committer, Driver::new(thread)))
    }

    fn new(store: Store, sink: S, queue: Queue<Queued<S::Token>>) -> std::io::Result<(Self, Thread<S>)> {
        let (queue, stats) = (Arc::new(queue), Arc::new(CommitStats::default()));
        let flusher = match &store.disk {
            Disk::Fjall(database) => {
                let (folder, doomed) = (store.config.path.join(DATABASE_FOLDER), store.doomed.clone());
                let of_wake = Arc::clone(&queue);
                let wake = Box::new(move || of_wake.wake());
                Some(Flusher::start(database.clone(), folder, doomed, wake, Arc::clone(&store.keyspaces))?)
            }
            #[cfg(feature = "simulation")]
            Disk::Simulated(_) => None,
        };
        let disk = store.disk.clone();
        let thread = Thread {
            queue: Arc::clone(&queue),
            stats: Arc::clone(&stats),
            log: store.log.clone(),
            store,
            flusher,
            sink,
            group_max: GROUP_CHANGES_MAX,
            fenced: Vec::new(),
            followed: BTreeMap::new(),
        };
        let tables = thread.flusher.as_ref().map(Flusher::tables).cloned();
        Ok((Self { queue, stats, disk, tables, thread: None }, thread))
    }

    /// Queues a unit. Calls for one object must come in the order of its versions.
    pub fn submit(&self, unit: Unit, token: S::Token) -> Result<(), (S::Token, QueueFull)> {
        let bytes = unit.bytes();
        self.queue.push(Queued { unit, bytes, token }, bytes).map_err(|(queued, full)| (queued.token, full))
    }

    /// Changes that are queued or in the open group.
    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Copies what a migration moves next, from who gives to who takes as the view shows them, until it is told not to go
    /// on. Takes its time; the taker's changes wait for the end of it, while new tables are put in.
    pub fn copy(
        &self,
        view: &ReadView,
        (moving, back): (&Moving, bool),
        bounds: StretchBounds,
        go_on: impl Fn() -> bool + Sync,
    ) -> Result<Stretch, ReadError> {
        if let Some(shard) = [moving.from, moving.to].into_iter().find(|shard| self.is_held(*shard)) {
            return Err(ReadError::Held(shard));
        }
        let put_in = |table: &Table, beside| match (beside, &self.tables) {
            // Once a persist has failed nothing comes to the disk any more.
            (Beside::Fjall(_), _) if self.stats.failed.load(Ordering::Relaxed) => Err(ReadError::Busy),
            (Beside::Fjall(unseen), Some(tables)) => Ok(tables.put_in(table.keyspace(), unseen)?),
            #[cfg(feature = "simulation")]
            (Beside::Simulated(rows), _) => Ok(self.disk.put_beside(table, rows)),
            (Beside::Fjall(_), None) => unreachable!("what is simulated writes no tables"),
        };
        stretch::copy(&self.disk, view, (moving, back), bounds, &go_on, put_in)
    }

    /// What stands of a chunk with who gives it and with who takes it, as the view shows them. Takes its time.
    pub fn standing(&self, view: &ReadView, chunk: Chunk) -> Result<(Moved, Moved), ReadError> {
        let stands = |shard| view.standing(shard, chunk.first, chunk.end);
        self.disk.idly(Duration::ZERO, || Ok((stands(chunk.from)?, stands(chunk.to)?)))?
    }

    /// Whether a shard's changes wait, since its flushes cannot keep up.
    pub fn is_held(&self, shard: ShardId) -> bool {
        self.tables.as_ref().is_some_and(|tables| tables.held().is_held(shard))
    }

    /// The thread's counters.
    pub fn stats(&self) -> &Arc<CommitStats> {
        &self.stats
    }
}

impl<S: Sink> Drop for Committer<S> {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so; its changes are answered by their dropped tokens.
            let _ = thread.join();
        }
    }
}

/// How long the committing thread rests where only a shard that somebody has alone has work.
const ALONE_POLL: Duration = Duration::from_millis(1);

/// How far the mark of the object numbers runs ahead of them: so many new objects go by before it is written again.
const NUMBERS_AHEAD: u64 = 1 << 16;

/// What most groups write beside their rows: the log record, and now and then a mark.
const ITEMS_BESIDE_ROWS: usize = 3;

struct Thread<S: Sink> {
    queue: Arc<Queue<Queued<S::Token>>>,
    stats: Arc<CommitStats>,
    store: Store,
    log: LogWindow,
    /// What is simulated is not flushed.
    flusher: Option<Flusher>,
    sink: S,
    /// Most changes of a group.
    group_max: usize,
    /// What of the group is not written, by its place in it.
    fenced: Vec<usize>,
    /// What changes of what migrations move, by their numbers.
    followed: BTreeMap<u64, migrate::Followed>,
}

impl<S: Sink> Thread<S> {
    fn run(mut self) {
        let mut backlog = VecDeque::new();
        let mut group = Vec::new();
        let mut gathering = Gathering::of_caller(self.store.clock.instant());
        while self.queue.take(&mut backlog) {
            let now = self.store.clock.instant();
            let patience = gathering.patience(backlog.len(), now);
            if !patience.is_zero() {
                self.answer_seals();
                self.queue.gather(&mut backlog, GROUP_ENOUGH, patience);
            }
            let together = backlog.len();
            self.round(&mut backlog, &mut group);
            gathering.went(together, backlog.len(), now);
        }
        let is_well = |flusher: &&mut Flusher| !self.stats.failed.load(Ordering::Relaxed) && !flusher.has_failed();
        if let Some(flusher) = self.flusher.as_mut().filter(is_well) {
            flusher.flush_all();
        }
        if let Some(Err(error)) = self.store.acknowledged.as_ref().map(Acknowledged::sync) {
            tracing::warn!(%error, "the mark of what is acknowledged cannot be synced");
        }
    }

    fn answer_seals(&self) {
        if let Some(flusher) = &self.flusher {
            flusher.tables().seals().answer();
        }
    }

    /// Commits one group of what waits.
    fn round(&mut self, backlog: &mut VecDeque<Queued<S::Token>>, group: &mut Vec<Queued<S::Token>>) {
        // Before anything is picked: where all that waits is held back, it would wait for ever.
        if self.flusher.as_ref().is_some_and(Flusher::has_failed) {
            self.give_up();
        }
        self.answer_seals();
        if backlog.is_empty() {
            return;
        }
        let (going, alone) = self.flusher.as_ref().map(|flusher| flusher.tables().held().begin_round()).unzip();
        let alone = self.shards_of(&alone.unwrap_or_default());
        self.pick(backlog, group, &alone);
        if group.is_empty() {
            drop(going);
            // Only shards that are held back have work: give their flushes a moment. One that failed ends them all.
            std::thread::sleep(if alone.is_empty() { crate::flush::POLL } else { ALONE_POLL });
            if let Err(error) = self.store.disk.check_well() {
                self.fail(&error);
            }
            return;
        }
        for queued in group.iter() {
            if let Unit::Upkeep(Upkeep::Migrate(step)) = &queued.unit
                && !self.stats.failed.load(Ordering::Relaxed)
            {
                self.step(step);
            }
        }
        self.stats.in_group.store(group.len() as u32, Ordering::Relaxed);
        let started = self.store.clock.instant();
        #[cfg(feature = "planted-faults")]
        if planted::is(Fault::AnswerEarly) {
            return self.answer_early(group, started);
        }
        let outcome = self.commit(group);
        self.measure(started, group);
        self.settle(group, started, outcome);
    }

    /// The shards that have these keyspaces.
    fn shards_of(&self, keyspaces: &[u64]) -> Vec<ShardId> {
        if keyspaces.is_empty() {
            return Vec::new();
        }
        let has = |(_, table): &(&ShardId, &Table)| keyspaces.contains(&table.keyspace().id());
        self.store.keyspaces.shards.iter().filter(has).map(|(shard, _)| *shard).collect()
    }

    /// Where rows of a place belong by the map in force, whichever was when the unit was queued.
    fn table_of(&self, place: Place) -> Option<&Table> {
        self.store.keyspaces.shards.get(&self.store.map.holder(place.spot()))
    }

    /// Whether a unit belongs to a shard that is not served here.
    fn is_fenced(&self, unit: &Unit) -> bool {
        unit.parts().iter().any(|part| match part {
            Unit::Change(change) => self.table_of(change.place).is_none(),
            Unit::Rekey(rekey) => [rekey.from, rekey.to].into_iter().any(|place| self.table_of(place).is_none()),
            _ => false,
        })
    }

    #[cfg(feature = "planted-faults")]
    fn answer_early(&mut self, group: &mut Vec<Queued<S::Token>>, started: Instant) {
        let blank = |queued: &Queued<_>| Queued { unit: queued.unit.clone(), bytes: queued.bytes, token: () };
        let changes: Vec<Queued<()>> = group.iter().map(blank).collect();
        self.fenced = (0..group.len()).filter(|at| self.is_fenced(&group[*at].unit)).collect();
        self.settle(group, started, Ok(self.log.next));
        let _ = self.commit(&changes);
    }

    /// Writes a group as one batch, and publishes the view behind it. Answers the revision of its first change.
    fn commit<T>(&mut self, group: &[Queued<T>]) -> Result<Revision, CommitError> {
        if self.stats.failed.load(Ordering::Relaxed) {
            return Err(CommitError::Failed);
        }
        let (first, now) = (self.log.next, self.store.clock.now());
        let mut writing = Writing {
            batch: self.store.disk.batch(group.len() + ITEMS_BESIDE_ROWS, durability()),
            record: log::Builder::with_capacity(now, group.len()),
            now,
            revision: first,
            value: Vec::new(),
            numbered: 0,
            changes: 0,
            forgotten: self.store.forgotten,
            retention: None,
            followed: (!self.followed.is_empty()).then(Vec::new),
        };
        let mut fenced = Vec::new();
        for (at, Queued { unit, .. }) in group.iter().enumerate() {
            if self.is_fenced(unit) || !self.write(unit, &mut writing) {
                fenced.push(at);
            }
        }
        self.fenced = fenced;
        for (spot, row) in writing.followed.take().into_iter().flatten() {
            self.followed.values_mut().for_each(|followed| followed.note(spot, &row));
        }
        let Writing { mut batch, record, revision, numbered, changes, forgotten, retention, .. } = writing;
        if changes > 0 {
            batch.insert(&self.store.keyspaces.log, log::key(first), record.finish());
        } else if batch.len() == 0 {
            return Ok(first);
        }
        let mark = (numbered >= self.store.numbers_mark).then_some(numbered + NUMBERS_AHEAD);
        if let Some(mark) = mark {
            batch.insert(&self.store.keyspaces.meta, meta::NUMBERS_KEY, meta::encode_numbers(mark));
        }
        if forgotten != self.store.forgotten {
            batch.insert(&self.store.keyspaces.meta, meta::FORGOTTEN_KEY, forgotten.encode());
        }
        let trim = self.trim(&mut batch, changes);
        if let Err(error) = batch.commit()
            && !planted::is(Fault::TrustFailedPersist)
        {
            self.fail(&error);
            return Err(CommitError::Failed);
        }
        self.log.next = revision;
        self.log.changes += changes;
        self.log.remembered += changes;
        self.mark(Revision::new(revision.get() - 1));
        self.store.numbers_mark = mark.unwrap_or(self.store.numbers_mark);
        self.store.forgotten = forgotten;
        self.store.retention = retention.unwrap_or_else(|| Arc::clone(&self.store.retention));
        if let Some(trim) = &trim {
            self.log.start = trim.start.clone();
            self.log.changes -= trim.changes;
            self.log.remembered -= trim.forgotten;
        }
        self.store.publish_at(&self.log);
        if let Some(trim) = trim {
            self.sink.floors(&self.log.start.floors);
            self.sink.dropped(&trim.dropped);
        }
        Ok(first)
    }

    /// Says beside the store how far it is durable. Without it a log that lost its end could not be told; nothing else
    /// depends on it.
    fn mark(&mut self, revision: Revision) {
        if let Some(Err(error)) = self.store.acknowledged.as_mut().map(|acknowledged| acknowledged.mark(revision)) {
            tracing::warn!(%error, "what is acknowledged cannot be marked");
        }
    }

    /// Nothing is written from now on, by flushes neither: what a failed write left behind stays the end of its journal.
    fn fail(&self, error: &fjall::Error) {
        tracing::error!(%error, "a persist failed: the host takes no more writes");
        self.give_up();
    }

    fn give_up(&self) {
        self.stats.failed.store(true, Ordering::Relaxed);
        if let Some(flusher) = &self.flusher {
            flusher.give_up();
        }
    }

    fn measure<T>(&self, started: Instant, group: &[Queued<T>]) {
        let took = self.store.clock.instant().duration_since(started).as_micros().min(u128::from(u32::MAX)) as u32;
        average(&self.stats.commit_us, took);
        let bytes: usize = group.iter().map(|queued| queued.bytes).sum();
        if bytes >= LARGE_GROUP_BYTES {
            let of_mib = (u64::from(took) << 20) / bytes as u64;
            average(&self.stats.mib_us, of_mib.min(u32::MAX.into()) as u32);
        }
        self.stats.in_group.store(0, Ordering::Relaxed);
        self.stats.groups.fetch_add(1, Ordering::Relaxed);
        self.stats.changes.fetch_add(group.len() as u64, Ordering::Relaxed);
    }

    fn settle(&self, group: &mut Vec<Queued<S::Token>>, taken: Instant, outcome: Result<Revision, CommitError>) {
        let mut revision = outcome.as_ref().map_or(0, |first| first.get());
        self.queue.settle(group.len(), group.iter().map(|queued| queued.bytes).sum());
        let mut fenced = self.fenced.iter().copied().peekable();
        let settle = |(at, Queued { unit, token, .. }): (usize, Queued<S::Token>)| {
            let outcome = match &outcome {
                Err(error) => Err(error.clone()),
                Ok(_) if fenced.next_if_eq(&at).is_some() => Err(CommitError::Fenced),
                Ok(_) => {
                    revision += u64::from(unit.takes_revision());
                    // One that takes none is durable with the one before it.
                    let ahead = !unit.takes_revision() && planted::is(Fault::UpkeepRunsAhead);
                    Ok(Durable { revision: Revision::new(revision - 1 + u64::from(ahead)), taken })
                }
            };
            Settled { unit, token, outcome }
        };
        self.sink.settled(group.drain(..).enumerate().map(settle).collect());
    }
}

/// Moves an average an eighth of the way.
fn average(of: &AtomicU32, latest: u32) {
    let before = of.load(Ordering::Relaxed);
    let average = if before == 0 { latest } else { (before / 8 * 7).saturating_add(latest / 8) };
    of.store(average, Ordering::Relaxed);
}

/// From here on it is bytes that a group costs.
const LARGE_GROUP_BYTES: usize = 512 << 10;

/// A thread that ends in a panic takes nobody with it: what waits is told that it will not be written.
impl<S: Sink> Drop for Thread<S> {
    fn drop(&mut self) {
        if let Some(flusher) = &self.flusher {
            flusher.tables().seals().end();
        }
        if std::thread::panicking() {
            self.stats.failed.store(true, Ordering::Relaxed);
            self.queue.abandon();
        }
    }
}

/// A group is on the disk when its commit returns.
fn durability() -> PersistMode {
    if planted::is(Fault::NoSync) {
        return PersistMode::Buffer;
    }
    PersistMode::SyncData
}
