//! What is known of the shards' load: what the heat tells, and the planner decides by.

use ostrakon_wire::{ShardId, ShardKey};

/// How a shard is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It serves as it should.
    #[default]
    Healthy,
    /// It serves, late or not always.
    Degraded,
    /// It does not serve: its files were damaged or gone.
    Unavailable,
}

impl Health {
    /// Its name, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Where in a shard some of its load falls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeySample {
    /// The key of the object that was used.
    pub key: ShardKey,
    /// Its digest: equal ones are one object.
    pub object: u64,
    /// The work that the sample stands for, as in [`ShardLoad::work`].
    pub work: f64,
    /// The uses that were seen: those of one object are one sample.
    pub uses: u32,
}

/// The load of one shard.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardLoad {
    /// The shard.
    pub shard: ShardId,
    /// Work a second, in microseconds of an owner's time: 1,000,000 keep one owner busy.
    pub work: f64,
    /// Live objects in it.
    pub objects: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Where the work falls, in order of key; their sum is about `work`. Empty where nothing is known.
    pub samples: Vec<KeySample>,
    /// Whether the load moves up (towards 1) or down (towards -1) the keys as time passes: the rank correlation of key and
    /// time in the samples. Near 0 where it stays.
    pub trend: f64,
    /// How it is.
    pub health: Health,
}
