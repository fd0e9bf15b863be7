//! The request path: locate, predict, write, answer.
//!
//! A front end (this module's [`Engine`]) works a request out; the [`owner`] of the objects decides what is stored and
//! puts changes into the commit queue. The engine knows policies as traits and the store by groups of changes and read
//! views; it knows nothing of connections.

mod action_ids;
mod agent;
mod answers;
mod counters;
mod escalations;
mod feed;
mod heated;
mod history;
mod info;
mod keeper;
mod learner;
mod listing;
mod observed;
mod owner;
mod policies;
mod reads;
mod rebalance;
mod reconciled;
mod scoreboard;
mod shards;
#[cfg(feature = "simulation")]
pub mod simulated;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod tickets;
mod trace;
mod transact;
mod writes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{OpenError, Recovered, Store, StoreConfig, Views};
use ostrakon_wire::bounds::{COMMIT_QUEUE_CHANGES_MAX, MAP_WAITERS_MAX, RECONCILE_TRIES_DEFAULT};
use ostrakon_wire::{Code, LogId, Operation, Reply, ShardId, ShardKey, TimestampMs, WireError};

use action_ids::ActionIds;
use agent::{Agent, Asking};
use counters::Counters;
use feed::Feed;
pub use feed::Watching;
use heated::Heated;
use keeper::Keeper;
use learner::Learner;
use observed::Observed;
use owner::Owner;
use policies::InWork;
pub use policies::{Policies, PolicyKeeper, Unkept};
use rebalance::{Moves, Rebalancer};
use scoreboard::Scoreboard;
pub use trace::{TRACE, Trace};
use transact::Judges;

/// How an engine works. Plain data.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data folder, and what it keeps.
    pub store: StoreConfig,
    /// How often the reconciliation policy is asked for an action before a person has it, at least 1.
    pub tries_max: u32,
    /// How old what predictions see is at least: 0 for a front end that is one with the owner.
    pub observe_lag: Duration,
    /// Changes that wait to be committed at most; who brings more is told to come again.
    pub queued_changes_max: usize,
    /// Objects that a step of a migration moves, always; `None`: as many as take about 2 ms.
    pub migration_step_objects: Option<usize>,
}

impl From<StoreConfig> for EngineConfig {
    fn from(store: StoreConfig) -> Self {
        Self {
            store,
            tries_max: RECONCILE_TRIES_DEFAULT,
            observe_lag: Duration::ZERO,
            queued_changes_max: COMMIT_QUEUE_CHANGES_MAX,
            migration_step_objects: None,
        }
    }
}

/// Why an engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// What came with a request beside the operation.
#[derive(Debug, Clone, Default)]
pub struct Context {
    /// When the client made the request; else the host's clock counts.
    pub timestamp: Option<TimestampMs>,
    /// Who asks: the name in the client's certificate. It is noted with what is written.
    pub by: Option<Arc<str>>,
    /// Which connection asks: a number that no other one has meanwhile.
    pub caller: u64,
    /// Its trace, where it has one.
    pub trace: Trace,
}

/// A front end and the owner of all objects, over one store.
pub struct Engine {
    policies: Arc<Policies>,
    // Stopped before the owner.
    agent: Agent,
    keeper: Keeper,
    rebalancer: Rebalancer,
    heated: Arc<Heated>,
    feed: Feed,
    judges: Judges,
    owner: Arc<Owner>,
    views: Views,
    log: LogId,
    ids: Arc<ActionIds>,
    observed: Observed,
    scoreboard: Scoreboard,
    learner: Learner,
    in_work: InWork,
    /// Those who wait for a later shard map.
    map_waiters: tokio::sync::Semaphore,
    counters: Arc<Counters>,
    started: Instant,
}

/// An open store that no policies decide for yet: the folder is this process's from here on.
pub struct Opened {
    owner: Arc<Owner>,
    ids: Arc<ActionIds>,
    recovered: Recovered,
    tries_max: u32,
    observe_lag: Duration,
    moves: Moves,
}

impl Opened {
    /// Opens the store and starts the committing thread.
    pub fn open(config: impl Into<EngineConfig>) -> Result<Self, StartError> {
        let EngineConfig { store, tries_max, observe_lag, queued_changes_max, migration_step_objects } = config.into();
        let (store, mut recovered) = Store::open(store)?;
        let moves = Moves { owners: store.owners().max(1), step_objects: migration_step_objects };
        let ids = remembered(&mut recovered);
        let owner = Arc::new(Owner::start(store, Arc::clone(&ids), queued_changes_max)?);
        Ok(Self { owner, ids, recovered, tries_max, observe_lag, moves })
    }

    /// Lets policies decide.
    pub fn start(self, policies: Policies) -> Result<Engine, StartError> {
        let Self { owner, ids, recovered, tries_max, observe_lag, moves } = self;
        let mut engine = Engine::of(owner, ids, policies, recovered, tries_max, observe_lag, moves);
        engine.agent.start()?;
        engine.keeper.start()?;
        engine.rebalancer.start()?;
        engine.feed.start()?;
        engine.judges.start()?;
        engine.learner.start()?;
        Ok(engine)
    }
}

impl Engine {
    /// Opens the store, starts the committing thread and the reconciliation agent.
    pub fn start(config: impl Into<EngineConfig>, policies: Policies) -> Result<Self, StartError> {
        Opened::open(config)?.start(policies)
    }

    /// An engine whose agent does not work yet.
    fn of(
        owner: Arc<Owner>,
        ids: Arc<ActionIds>,
        policies: Policies,
        recovered: Recovered,
        tries_max: u32,
        observe_lag: Duration,
        moves: Moves,
    ) -> Self {
        let (policies, counters) = (Arc::new(policies), Arc::new(Counters::default()));
        let learner = Learner::new(Arc::clone(&policies), Arc::clone(&counters));
        // The log's number was drawn at random when the store was made.
        let heated = Heated::new(owner.clock().clone(), owner.views().position().log.get());
        let asking = Asking {
            policies: Arc::clone(&policies),
            heated: Arc::clone(&heated),
            counters: Arc::clone(&counters),
            clock: owner.clock().clone(),
            tries_max: tries_max.max(1),
        };
        let next = (recovered.migrations_next, recovered.planning.clone());
        let rebalancer = Rebalancer::new(Arc::clone(&owner), (&policies, &counters), Arc::clone(&heated), moves, next);
        let agent = Agent::new(Arc::clone(&owner), asking.clone(), &ids, recovered, moves.owners);
        let views = owner.views().clone();
        Self {
            policies,
            agent,
            keeper: Keeper::new(Arc::clone(&owner)),
            rebalancer,
            heated,
            feed: Feed::new(Arc::clone(owner.told())),
            judges: Judges::new(asking),
            log: views.position().log,
            ids,
            observed: Observed::new(owner.clock().clone(), observe_lag),
            scoreboard: Scoreboard::default(),
            learner,
            in_work: InWork::default(),
            map_waiters: tokio::sync::Semaphore::new(MAP_WAITERS_MAX),
            counters,
            started: owner.clock().instant(),
            owner,
            views,
        }
    }

    /// Which shard holds a key now: for those who compare shard-key policies.
    pub fn shard_of(&self) -> impl Fn(ShardKey) -> ShardId + Send + Sync + 'static {
        // Whoever compares does not keep the store open.
        let owner = Arc::downgrade(&self.owner);
        move |key| owner.upgrade().map_or(ShardId::new(0), |owner| owner.map().shard_of(key))
    }

    /// The log's own number.
    pub fn log(&self) -> LogId {
        self.log
    }

    /// Counts a request that was refused before it came here.
    pub fn refused_unread(&self, code: Code) {
        self.counters.refused(code);
    }

    /// Works one request out.
    ///
    /// Safe to drop at any time: what has reached the commit queue is committed, what has not is not.
    pub async fn handle(&self, operation: &Operation, context: Context) -> Result<Reply, WireError> {
        self.counters.count(operation);
        let (trace, asked, caller) = (context.trace.clone(), context.timestamp, context.caller);
        let outcome = match operation {
            Operation::GetShardKey(target) => self.get_shard_key(target, context).await.map(Reply::ShardKey),
            Operation::ReadVersion(target) => self.read_version(target, &trace).await.map(Reply::Version),
            Operation::Read(target) => self.read(target, &trace).await.map(Reply::Object),
            Operation::List(list) => self.list(list).await.map(Reply::Page),
            Operation::ConditionalWrite(write) => self.conditional_write(write, context).await,
            Operation::Perform(perform) => self.perform(perform, context).await,
            Operation::Reconcile(perform) => self.reconcile(perform, context).await,
            Operation::ShardMap(ask) => Ok(Reply::ShardMap(self.shard_map(ask).await)),
            Operation::Info => Ok(Reply::Info(self.info())),
            Operation::AskTicket(ask) => self.ask_ticket(ask).await,
            Operation::ListEscalations(list) => self.list_escalations(list).await.map(Reply::Escalations),
            Operation::ReadEscalation(number) => self.read_escalation(*number).await.map(Reply::Escalation),
            Operation::SettleEscalation(settle) => {
                self.settle_escalation(settle, context.by).await.map(Reply::Escalation)
            }
            Operation::Transact(transact) => Box::pin(self.transact(transact, context)).await.map(Reply::Transacted),
            Operation::ReadHistory(read) => self.read_history(read).await.map(Reply::History),
            Operation::ReadPast(read) => self.read_past(read).await.map(Reply::Object),
            Operation::Retention => Ok(Reply::Retention(self.retention())),
            Operation::SetRetention(set) => self.set_retention(set).await.map(Reply::Retention),
            Operation::UploadComponent(upload) => self.upload_component(upload).await.map(Reply::Uploaded),
            Operation::ChangePolicy(change) => self.change_policy(change, context).await.map(Reply::Policies),
            Operation::ReadPolicies(read) => self.read_policies(read).await.map(Reply::Policies),
            Operation::ChangeShards(change) => Box::pin(self.change_shards(change, context)).await.map(Reply::Shards),
            Operation::ReadShards(read) => self.read_shards(read).await.map(Reply::Shards),
            Operation::Watch(_) => Err(WireError::new(Code::Malformed, "a watch has a stream of its own")),
        };
        trace.answered(&outcome);
        self.warm(operation, &outcome, asked, caller);
        if let Err(error) = &outcome {
            self.counters.refused(error.code);
        }
        outcome
    }
}

/// The action ids that the log holds.
fn remembered(recovered: &mut Recovered) -> Arc<ActionIds> {
    let (floors, mut actions) = (std::mem::take(&mut recovered.floors), std::mem::take(&mut recovered.remembered));
    if planted::is(Fault::ForgetIdsAtRestart) {
        actions.clear();
    }
    Arc::new(ActionIds::new(floors, actions))
}
