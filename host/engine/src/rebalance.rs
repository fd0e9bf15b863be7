//! Migrations: what moves between shards, owners and keys, while everything goes on.
//!
//! A migration stands on disk from its first step to its last, and whoever opens the store goes on with it. One thread copies
//! what moves and has the steps made, a few objects each; the committing thread does each as a batch of its own, and the map's
//! cursor tells all others where an object stands. After a step it rests several times as long as the step took. What the one
//! shard has is held against what the other has, by count and checksum, before the next step. What has been given away is
//! swept up by another thread, later.

mod begin;
mod limits;
mod plan;
mod propose;
mod rekey;
mod run;
mod sweep;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ostrakon_store::{CommitError, Does, NotStepped, ReadError, Step, Stepped, Upkeep};
use ostrakon_wire::bounds::MIGRATION_RESTS;
use ostrakon_wire::{Code, MapEpoch, ShardId, WireError};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Runtime;

use crate::answers::overloaded;
use crate::counters::Counters;
use crate::heated::Heated;
use crate::owner::{NotWritten, Owner, durable};
use crate::policies::Policies;
pub(crate) use begin::Wanted;
use plan::Planning;
use propose::Proposals;
use run::UnderWay;
use sweep::Sweeping;

/// Every so many times it is looked whether objects have outgrown their keys.
const LOOKS_AT_KEYS: u32 = 10;

/// How often the planner is asked.
const PLAN_EVERY: Duration = Duration::from_secs(1);

/// The threads that plan and make the steps, and what they share. Dropping it stops them; what runs goes on at the next start.
pub(crate) struct Rebalancer {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

pub(crate) struct Shared {
    owner: Arc<Owner>,
    policies: Arc<Policies>,
    counters: Arc<Counters>,
    heated: Arc<Heated>,
    owners: u32,
    /// See [`Moves`].
    step_objects: Option<usize>,
    /// The number of the next migration.
    next: AtomicU64,
    /// One begins at a time.
    beginning: tokio::sync::Mutex<()>,
    /// Nothing moves until somebody lets it.
    halted: AtomicBool,
    planning: Mutex<Planning>,
    proposals: Mutex<Proposals>,
    /// Who changes what the planner goes by does so alone.
    keeping: tokio::sync::Mutex<()>,
    /// How many times as long as a step migrations rest behind it.
    rests: AtomicU32,
    /// How far each has been copied.
    under_way: Mutex<HashMap<u64, UnderWay>>,
    sweeping: Mutex<Sweeping>,
    /// The epoch of the map in force.
    epochs: tokio::sync::watch::Sender<MapEpoch>,
    /// Whether there is something new.
    wake: Mutex<bool>,
    woken: Condvar,
    /// The threads are to end. Set under the lock of `wake`; read without it by who is in the middle of something long.
    stopping: AtomicBool,
}

/// Who owns shards, and how they move.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moves {
    /// So many owners.
    pub(crate) owners: u32,
    /// Objects that a step moves, always; `None`: as many as take about as long as they may.
    pub(crate) step_objects: Option<usize>,
}

/// Why something is not done to shards.
#[derive(Debug)]
pub(crate) enum NotMoved {
    /// It cannot be; in words.
    Refused(String),
    /// No such shard or migration.
    Unknown(String),
    /// Not now.
    Busy(String),
    /// What it went by is not so any more.
    Stale(String),
    /// The store takes nothing.
    Failed(NotWritten),
}

impl NotMoved {
    fn no_shard(shard: ShardId) -> Self {
        Self::Unknown(format!("there is no shard {shard}"))
    }

    /// Why it is not done; `None` where the store takes nothing.
    fn words(&self) -> Option<&str> {
        match self {
            Self::Refused(words) | Self::Unknown(words) | Self::Busy(words) | Self::Stale(words) => Some(words),
            Self::Failed(_) => None,
        }
    }

    pub(crate) fn into_wire(self) -> WireError {
        match self {
            Self::Refused(words) => WireError::new(Code::ShardRefused, words),
            Self::Unknown(words) => WireError::new(Code::UnknownShard, words),
            Self::Busy(words) | Self::Stale(words) => overloaded(words),
            Self::Failed(NotWritten::Commit(error @ (CommitError::Failed | CommitError::Stopped))) => {
                WireError::new(Code::StoreFailed, error.to_string())
            }
            Self::Failed(NotWritten::Commit(error @ CommitError::Fenced)) => {
                WireError::new(Code::ShardUnavailable, error.to_string())
            }
            Self::Failed(NotWritten::Read(error @ ReadError::Busy)) => overloaded(error.to_string()),
            Self::Failed(NotWritten::Read(error)) => WireError::new(Code::ShardUnavailable, error.to_string()),
            Self::Failed(_) => overloaded("too much is waiting to be committed"),
        }
    }
}

impl From<ReadError> for NotMoved {
    fn from(error: ReadError) -> Self {
        Self::Failed(NotWritten::Read(error))
    }
}

impl From<NotStepped> for NotMoved {
    fn from(reason: NotStepped) -> Self {
        match reason {
            NotStepped::NoMigration(_) => Self::Unknown(reason.to_string()),
            NotStepped::Held(_) | NotStepped::Paused(_) => Self::Busy(reason.to_string()),
            // It was called off meanwhile, or has to be copied again: it is looked at again.
            NotStepped::NotThere(_) | NotStepped::Lost(_) => Self::Stale(reason.to_string()),
            NotStepped::Map(_) | NotStepped::NoShard(_) | NotStepped::Read(_) => Self::Refused(reason.to_string()),
        }
    }
}

impl Rebalancer {
    pub(crate) fn new(
        owner: Arc<Owner>,
        (policies, counters): (&Arc<Policies>, &Arc<Counters>),
        heated: Arc<Heated>,
        moves: Moves,
        (next, planning): (u64, Option<Vec<u8>>),
    ) -> Self {
        let shared = Shared {
            epochs: tokio::sync::watch::Sender::new(owner.map().epoch()),
            owner,
            policies: Arc::clone(policies),
            counters: Arc::clone(counters),
            heated,
            owners: moves.owners,
            step_objects: moves.step_objects,
            next: AtomicU64::new(next),
            beginning: tokio::sync::Mutex::default(),
            halted: AtomicBool::new(false),
            keeping: tokio::sync::Mutex::default(),
            proposals: Mutex::default(),
            planning: Mutex::new(Planning::new(moves.owners)),
            rests: AtomicU32::new(MIGRATION_RESTS),
            under_way: Mutex::default(),
            sweeping: Mutex::default(),
            wake: Mutex::default(),
            woken: Condvar::new(),
            stopping: AtomicBool::new(false),
        };
        if let Some(planning) = planning {
            shared.take_up(&planning);
        }
        shared.sweep_up(shared.owner.map().ranges().iter().map(|range| range.shard));
        Self { shared: Arc::new(shared), threads: Vec::new() }
    }

    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        type Work = fn(&Shared, &Runtime);
        // Others wait for steps, and what takes long of them is done elsewhere.
        let works: [(&str, Work, bool); 3] =
            [("migrate", Shared::run, false), ("plan", Shared::plan, true), ("sweep", Shared::sweep, true)];
        for (name, work, gives_way) in works {
            let shared = Arc::clone(&self.shared);
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            let run = move || {
                if gives_way {
                    ostrakon_background::give_way();
                }
                work(&shared, &runtime);
            };
            self.threads.push(std::thread::Builder::new().name(name.into()).spawn(run)?);
        }
        Ok(())
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Rebalancer {
    fn drop(&mut self) {
        {
            let _wake = self.shared.wake.lock();
            self.shared.stopping.store(true, Ordering::Relaxed);
        }
        self.shared.woken.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// There is something to do, or something has changed.
    fn wake(&self) {
        *self.wake.lock() = true;
        self.woken.notify_all();
    }

    /// Rests so long, or until there is something new; `false` once it is to stop.
    fn rest(&self, most: Duration) -> bool {
        let mut wake = self.wake.lock();
        if !self.is_stopping() && !*wake {
            self.woken.wait_for(&mut wake, most);
        }
        *wake = false;
        !self.is_stopping()
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Tells of every new map.
    pub(crate) fn epochs(&self) -> tokio::sync::watch::Receiver<MapEpoch> {
        self.epochs.subscribe()
    }

    /// Whether nothing moves until somebody lets it.
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    fn set_halted(&self, halted: bool) {
        self.halted.store(halted, Ordering::Relaxed);
        self.wake();
    }

    /// Keeps on disk what the planner goes by.
    async fn keep_planning(&self, planning: Vec<u8>) -> Result<(), NotMoved> {
        let pending = self.owner.upkeep(Upkeep::Planning(planning.into())).map_err(NotMoved::Failed)?;
        durable(pending).await.map(drop).map_err(NotMoved::Failed)
    }

    /// Looks every second what is to be done.
    fn plan(&self, runtime: &Runtime) {
        for look in 1_u32.. {
            if !self.rest_until_stop(PLAN_EVERY) {
                return;
            }
            // What panics has said so; the next look is taken all the same.
            let look = || {
                runtime.block_on(self.plan_once());
                if look.is_multiple_of(LOOKS_AT_KEYS) {
                    runtime.block_on(self.propose_once());
                }
            };
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(look));
        }
    }

    /// Rests so long; `false` once it is to stop.
    fn rest_until_stop(&self, most: Duration) -> bool {
        let until = std::time::Instant::now() + most;
        let mut wake = self.wake.lock();
        while !self.is_stopping() {
            if self.woken.wait_until(&mut wake, until).timed_out() {
                return true;
            }
        }
        false
    }

    /// Has the committing thread make a step.
    async fn step(&self, does: Does) -> Result<Arc<Step>, NotMoved> {
        self.step_taken(does).await.map(|(step, _)| step)
    }

    /// The same; answers also when the writing of its group was begun: behind the step.
    async fn step_taken(&self, does: Does) -> Result<(Arc<Step>, Instant), NotMoved> {
        let step = Step::new(does);
        let pending = self.owner.upkeep(Upkeep::Migrate(Arc::clone(&step))).map_err(NotMoved::Failed)?;
        let outcome = pending.await.unwrap_or(Err(CommitError::Stopped));
        match step.done() {
            Some(Ok(_)) => {
                let epoch = self.owner.map().epoch();
                self.epochs.send_if_modified(|known| {
                    let later = epoch > *known;
                    *known = epoch.max(*known);
                    later
                });
                let taken = outcome.map_or_else(|_| self.owner.clock().instant(), |durable| durable.taken);
                Ok((Arc::clone(&step), taken))
            }
            Some(Err(reason)) => Err(reason.clone().into()),
            None => Err(NotMoved::Failed(NotWritten::Commit(outcome.err().unwrap_or(CommitError::Failed)))),
        }
    }
}

/// What came of a step that was made.
fn stepped(step: &Step) -> &Stepped {
    step.done().and_then(|done| done.as_ref().ok()).expect("the step was made")
}
