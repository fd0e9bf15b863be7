//! What can be asked of shards: changes of the map, how migrations go on, what is told of them.

use crate::ids::ObjectId;
use crate::numbers::{MapEpoch, ShardId, ShardKey};

/// Something done to shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeShards {
    /// What.
    pub change: ShardChange,
    /// Why, for those who look at it later.
    pub reason: Option<String>,
}

/// What is done to shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardChange {
    /// The keys of a shard from one on become a shard of their own.
    Split {
        /// The shard.
        shard: ShardId,
        /// The first key of the new one; `None`: the middle of its objects.
        at: Option<ShardKey>,
    },
    /// A shard and the next one become one.
    Merge(ShardId),
    /// A shard goes to another owner.
    Move {
        /// The shard.
        shard: ShardId,
        /// The owner that has it from now on.
        owner: u32,
    },
    /// The planner leaves a shard alone.
    Pin(ShardId),
    /// It no longer does.
    Unpin(ShardId),
    /// An object comes under another key.
    RekeyObject {
        /// The object.
        object: ObjectId,
        /// The key; `None`: the one that the policy wants.
        shard_key: Option<ShardKey>,
    },
    /// The objects of a client come under the keys that the policy wants now.
    Rekey {
        /// The client.
        client: String,
        /// Those of this type alone.
        data_type: Option<String>,
    },
    /// The planner does nothing and running migrations rest; or one migration rests.
    Pause(Option<u64>),
    /// They go on.
    Resume(Option<u64>),
    /// A migration is called off: what it has moved goes back.
    Abort(u64),
    /// The planner goes by these from now on: the text of a JSON object, of which members that are left out stay.
    SetLimits(String),
}

/// What to tell of shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadShards {
    /// Every shard: range, owner, load, health, who uses it most.
    Shards,
    /// Migrations that run, wait and have ended, newest first.
    Migrations {
        /// Most of those that have ended.
        limit: usize,
    },
    /// What the planner did and refused, and why, newest first.
    Decisions {
        /// Most of them.
        limit: usize,
    },
    /// What the planner would do now.
    Plan,
    /// What the planner goes by.
    Limits,
    /// Who uses the host most: clients, types, objects, and objects that are used together.
    Heat,
}

/// Which shard map is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AskMap {
    /// One of a later epoch than this; the answer waits for it.
    pub beyond: Option<MapEpoch>,
    /// How long it may wait, in milliseconds; then the map in force is answered.
    pub wait_ms: u32,
}
