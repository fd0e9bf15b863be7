//! What is asked of the committing thread for a migration: one step at a time, each a batch of its own between two groups.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ostrakon_core::Spot;
use ostrakon_wire::ShardId;

use crate::disk::Table;
use crate::record::migration::{Ended, Migration, Moved};
use crate::stretch::Piece;
use crate::view::ReadView;

/// One step, and what came of it.
#[derive(Debug)]
pub struct Step {
    pub(crate) does: Does,
    done: OnceLock<Result<Stepped, NotStepped>>,
}

/// What a step does.
#[derive(Debug)]
pub enum Does {
    /// Begins a migration, or does it where it is one step; with the shard that is made for it.
    Begin(Migration, Option<NewShard>),
    /// From now on it is kept in mind what changes of the objects that one moves; nothing is written.
    Follow {
        /// Which migration.
        number: u64,
    },
    /// Goes past the next pieces of one that have been copied, there or back, and mends what differs or has changed: as far
    /// as takes about as many rows as a step may, one object at least.
    Advance {
        /// Which migration.
        number: u64,
        /// Whether they were copied on the way back.
        back: bool,
        /// The pieces.
        pieces: Vec<Piece>,
        /// So long changes waited for them.
        waited: Duration,
    },
    /// Changes how one goes on.
    Steer {
        /// Which migration.
        number: u64,
        /// How.
        how: Steer,
    },
    /// Ends one that has come to its end.
    End {
        /// Which migration.
        number: u64,
        /// How it ended.
        ended: Ended,
    },
}

/// How a migration goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Steer {
    /// It rests.
    Pause,
    /// It goes on.
    Resume,
    /// It is called off: what has moved goes back.
    Back,
    /// It rests, since something is wrong that has to be looked at.
    Stop(String),
    /// A re-key has come so far, and has moved so much more.
    Past(String, Moved),
}

/// A step was made.
pub struct Stepped {
    /// The state behind it, with nothing else done.
    pub view: Arc<ReadView>,
    /// What it went past, if it was to.
    pub chunk: Option<Chunk>,
    /// How long the committing thread had to do with it: so long other writes waited.
    pub took: Duration,
}

/// What the cursor has gone past in one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The shard that had it.
    pub from: ShardId,
    /// The shard that has it now.
    pub to: ShardId,
    /// It stands in both from here.
    pub first: Spot,
    /// To before here.
    pub end: Spot,
    /// Here the cursor is now: one of the two.
    pub cursor: Spot,
}

/// Why a step was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotStepped {
    /// No such migration runs.
    #[error("no migration {0} is running")]
    NoMigration(u64),
    /// The map does not allow it.
    #[error("{0}")]
    Map(#[from] ostrakon_core::InvalidMap),
    /// A shard of it is not served.
    #[error("shard {0} is not served")]
    NoShard(ShardId),
    /// Somebody has paused it: once it is resumed.
    #[error("migration {0} is paused")]
    Paused(u64),
    /// A shard of it cannot keep up with what is written: some other time.
    #[error("shard {0} is held back until its flushes have kept up")]
    Held(ShardId),
    /// It has not come to its end, or has gone beyond where it could be called off, or to where nothing was copied for it.
    #[error("migration {0} is not where it would have to be")]
    NotThere(u64),
    /// More has changed since it was followed than can be kept in mind.
    #[error("too much has changed of what migration {0} moves since it was copied")]
    Lost(u64),
    /// Rows cannot be read.
    #[error("{0}")]
    Read(String),
}

/// A shard that is made and that no map names yet.
#[derive(Clone)]
pub struct NewShard {
    pub(crate) shard: ShardId,
    pub(crate) table: Table,
    pub(crate) held: Duration,
}

impl NewShard {
    /// Its number.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// How long commits had to wait while it was made; nothing where its keyspace was made ahead.
    pub fn held(&self) -> Duration {
        self.held
    }
}

impl std::fmt::Debug for NewShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("NewShard").field(&self.shard).finish()
    }
}

impl Step {
    /// A step that is to be made.
    pub fn new(does: Does) -> Arc<Self> {
        Arc::new(Self { does, done: OnceLock::new() })
    }

    pub(crate) fn end(&self, done: Result<Stepped, NotStepped>) {
        // A step is made once.
        let _ = self.done.set(done);
    }

    /// What came of it; `None` where it was not tried.
    pub fn done(&self) -> Option<&Result<Stepped, NotStepped>> {
        self.done.get()
    }
}

impl std::fmt::Debug for Stepped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stepped").field("chunk", &self.chunk).field("took", &self.took).finish_non_exhaustive()
    }
}
