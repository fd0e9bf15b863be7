//! What the host answers.

use bytes::Bytes;

use crate::error::WireError;
use crate::ids::{ActionId, ObjectId};
use crate::numbers::{Revision, ShardId, ShardKey, TimestampMs, Version};
use crate::payload::Payload;
use crate::value::Map;

mod codec;
mod decided;
mod escalation;
mod feed;
mod history;
mod refusal;
mod transacted;

pub use decided::{Decided, Generations};
pub use escalation::{Escalation, Escalations, Settlement};
pub use feed::{Event, Events};
pub use history::{History, KeptVersion, Retention, RetentionRule};
pub use transacted::{StepMade, Transacted};

/// One answer frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The request's number.
    pub id: u64,
    /// What came of it.
    pub outcome: Result<Reply, WireError>,
}

/// What came of a request that was done.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Where the object lives or would live.
    ShardKey(Placed),
    /// The stored version.
    Version(Stored),
    /// The object.
    Object(Object),
    /// One page of a list.
    Page(Page),
    /// A change that is durable.
    Committed(Committed),
    /// The shard map.
    ShardMap(ShardMap),
    /// What the host is and has done.
    Info(Info),
    /// An action that is on its way.
    Ticket(Ticket),
    /// One page of escalations.
    Escalations(Escalations),
    /// One escalation.
    Escalation(Box<Escalation>),
    /// Several changes that are durable.
    Transacted(Transacted),
    /// One page of an object's versions.
    History(History),
    /// How long versions are kept.
    Retention(Retention),
    /// What has happened, for who watches.
    Events(Events),
    /// How much of a component is here.
    Uploaded(Uploaded),
    /// What stands in slots, what was done to them, or how a candidate compares.
    Policies(PolicyReport),
    /// Of shards.
    Shards(ShardReport),
}

/// Where an object lives or would live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The key.
    pub shard_key: ShardKey,
    /// Whether it is recorded with an object; else a policy just made it.
    pub recorded: bool,
    /// Where and by whom.
    pub decided: Decided,
}

/// The version of a live object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its version.
    pub version: Version,
    /// The commit unit that made it.
    pub revision: Revision,
    /// Its key.
    pub shard_key: ShardKey,
    /// Where and by whom.
    pub decided: Decided,
}

/// A live object as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its version.
    pub version: Version,
    /// The commit unit that made this version.
    pub revision: Revision,
    /// When that was, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// Its key.
    pub shard_key: ShardKey,
    /// The action that made this version.
    pub action_id: Option<ActionId>,
    /// What it holds.
    pub payload: Payload,
    /// Where and by whom.
    pub decided: Decided,
}

/// One object on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageItem {
    /// The object.
    pub object: ObjectId,
    /// Its version.
    pub version: Version,
    /// The commit unit that made this version.
    pub revision: Revision,
    /// Its key.
    pub shard_key: ShardKey,
    /// The shard that the key falls in.
    pub shard: ShardId,
    /// What it holds, where that was asked for.
    pub payload: Option<Payload>,
}

/// One page of a list: all of it from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The objects, in order of type and name.
    pub items: Vec<PageItem>,
    /// Asks for the next page; `None` on the last one.
    pub token: Option<Bytes>,
    /// The snapshot's place.
    pub decided: Decided,
}

/// A change that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The version it made.
    pub version: Version,
    /// The commit unit it was.
    pub revision: Revision,
    /// The object's key.
    pub shard_key: ShardKey,
    /// Whether this is the recorded outcome of an earlier request with the same action id.
    pub repeated: bool,
    /// What the reconciliation policy has to say to the caller.
    pub reply: Option<Payload>,
    /// How often the reconciliation policy was asked.
    pub tries: u32,
    /// Where and by whom.
    pub decided: Decided,
}

/// An action that was detached and is on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// What to ask for it by.
    pub action_id: ActionId,
    /// Where and by whom it was taken.
    pub decided: Decided,
}

/// One shard of a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRange {
    /// The shard.
    pub shard: ShardId,
    /// Its first key.
    pub start: ShardKey,
    /// Its last key.
    pub end: ShardKey,
    /// Who owns it.
    pub owner: u32,
}

/// The shard map: contiguous ranges over all keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    /// The shards, in order of key.
    pub shards: Vec<ShardRange>,
    /// The map's epoch stands here.
    pub decided: Decided,
}

/// What the host is and has done, as a map for people and scripts; its keys are in PROTOCOL.md.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Name by name.
    pub facts: Map,
    /// The log's place.
    pub decided: Decided,
}

/// How much of a component is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// So many bytes, from its beginning on; its size, where all of it is.
    pub received: u64,
    /// The log's place.
    pub decided: Decided,
}

/// What is told of policies, as a map for people and scripts; its keys are in PROTOCOL.md.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyReport {
    /// Name by name.
    pub facts: Map,
    /// The log's place.
    pub decided: Decided,
}

/// What is told of shards, as a map for people and scripts; its keys are in PROTOCOL.md.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardReport {
    /// Name by name.
    pub facts: Map,
    /// The log's place.
    pub decided: Decided,
}

impl Reply {
    /// The stable number: that of the request which it answers (a change's is that of the perform request).
    pub fn number(&self) -> u64 {
        match self {
            Self::ShardKey(_) => 1,
            Self::Version(_) => 2,
            Self::Object(_) => 3,
            Self::Page(_) => 4,
            Self::Committed(_) => 6,
            Self::ShardMap(_) => 8,
            Self::Info(_) => 9,
            Self::Ticket(_) => 10,
            Self::Escalations(_) => 11,
            Self::Escalation(_) => 12,
            Self::Transacted(_) => 14,
            Self::History(_) => 15,
            Self::Retention(_) => 17,
            Self::Events(_) => 19,
            Self::Uploaded(_) => 20,
            Self::Policies(_) => 21,
            Self::Shards(_) => 23,
        }
    }

    /// Where and by whom it was decided.
    pub fn decided(&self) -> &Decided {
        match self {
            Self::ShardKey(reply) => &reply.decided,
            Self::Version(reply) => &reply.decided,
            Self::Object(reply) => &reply.decided,
            Self::Page(reply) => &reply.decided,
            Self::Committed(reply) => &reply.decided,
            Self::ShardMap(reply) => &reply.decided,
            Self::Info(reply) => &reply.decided,
            Self::Ticket(reply) => &reply.decided,
            Self::Escalations(reply) => &reply.decided,
            Self::Escalation(reply) => &reply.decided,
            Self::Transacted(reply) => &reply.decided,
            Self::History(reply) => &reply.decided,
            Self::Retention(reply) => &reply.decided,
            Self::Events(reply) => &reply.decided,
            Self::Uploaded(reply) => &reply.decided,
            Self::Policies(reply) => &reply.decided,
            Self::Shards(reply) => &reply.decided,
        }
    }
}
