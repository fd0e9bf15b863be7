//! The request path: locate, predict, write, answer.
//!
//! A front end (this module's [`Engine`]) works a request out; the [`owner`] of the objects decides what is stored and
//! puts changes into the commit queue. The engine knows policies as traits and the store by groups of changes and read
//! views; it knows nothing of connections.

mod action_ids;
mod answers;
mod counters;
mod info;
mod listing;
mod observed;
mod owner;
mod reads;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod writes;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ostrakon_core::policy::{PredictionPolicy, ShardKeyPolicy};
use ostrakon_store::{OpenError, Store, StoreConfig, Views};
use ostrakon_wire::value::Map;
use ostrakon_wire::{Code, LogId, Operation, Reply, TimestampMs, WireError};

use action_ids::ActionIds;
use counters::Counters;
use observed::Observed;
use owner::Owner;

/// The policies that decide, and what `info` says of them.
pub struct Policies {
    /// Where a new object should live.
    pub shard_key: Arc<dyn ShardKeyPolicy>,
    /// Which version a conditional write will meet.
    pub prediction: Arc<dyn PredictionPolicy>,
    /// What `info` shows under `policies`.
    pub facts: Box<dyn Fn() -> Map + Send + Sync>,
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Context {
    /// When the client made the request; else the host's clock counts.
    pub timestamp: Option<TimestampMs>,
}

/// A front end and the owner of all objects, over one store.
pub struct Engine {
    policies: Policies,
    owner: Owner,
    views: Views,
    log: LogId,
    ids: Arc<ActionIds>,
    observed: Observed,
    counters: Counters,
    started: Instant,
}

impl Engine {
    /// Opens the store and starts the committing thread.
    pub fn start(config: StoreConfig, policies: Policies) -> Result<Self, StartError> {
        let (store, recovered) = Store::open(config)?;
        let ids = Arc::new(ActionIds::new(recovered));
        let (views, log) = (store.views(), store.log());
        let owner = Owner::start(store, Arc::clone(&ids))?;
        Ok(Self {
            policies,
            owner,
            views,
            log,
            ids,
            observed: Observed::new(),
            counters: Counters::default(),
            started: Instant::now(),
        })
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
        let outcome = match operation {
            Operation::GetShardKey(target) => self.get_shard_key(target, context).await.map(Reply::ShardKey),
            Operation::ReadVersion(target) => self.read_version(target).await.map(Reply::Version),
            Operation::Read(target) => self.read(target).await.map(Reply::Object),
            Operation::List(list) => self.list(list).await.map(Reply::Page),
            Operation::ConditionalWrite(write) => self.conditional_write(write, context).await.map(Reply::Committed),
            Operation::Perform(perform) => self.perform(perform, context).await.map(Reply::Committed),
            Operation::Reconcile(_) => {
                Err(WireError::new(Code::Unsupported, "this release does not reconcile actions yet"))
            }
            Operation::ShardMap => Ok(Reply::ShardMap(self.shard_map())),
            Operation::Info => Ok(Reply::Info(self.info())),
        };
        if let Err(error) = &outcome {
            self.counters.refused(error.code);
        }
        outcome
    }
}

/// The host's clock.
fn now() -> TimestampMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    TimestampMs::new(since.as_millis() as u64)
}
