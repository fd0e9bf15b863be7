//! What a client asks for.

mod body;
mod codec;
mod feed;
mod policy;
mod shards;
mod transact;

use bytes::Bytes;

use crate::ids::{ActionId, ObjectId, TraceParent};
use crate::kinds::{ActionKind, OnConflict, SettleHow};
use crate::numbers::{Revision, ShardKey, TimestampMs, Version};
use crate::payload::Payload;
use crate::policy::{ChangePolicy, ReadPolicies, UploadComponent};
use crate::position::Position;
use crate::shards::{AskMap, ChangeShards, ReadShards};
pub(crate) use body::read_payload;
pub(crate) use codec::write_payload;
pub use feed::{Keep, Past, ReadHistory, ReadPast, SetRetention, Watch};
pub use transact::{Condition, Must, Step, Transact};

/// One request frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Chosen by the client; the answer carries it.
    pub id: u64,
    /// Which trace it belongs to.
    pub trace_parent: Option<TraceParent>,
    /// When the client made it; else the host's clock counts.
    pub timestamp: Option<TimestampMs>,
    /// What is asked for.
    pub operation: Operation,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Where does, or would, this object live?
    GetShardKey(Target),
    /// Which version is stored?
    ReadVersion(Target),
    /// The object as it stands.
    Read(Target),
    /// The objects of a client, one page at a time.
    List(List),
    /// Write, if that makes exactly this version.
    ConditionalWrite(ConditionalWrite),
    /// Do something to an object.
    Perform(Perform),
    /// Start reconciliation of an action by hand.
    Reconcile(Perform),
    /// Which shard owns which keys.
    ShardMap(AskMap),
    /// What the host is and has done.
    Info,
    /// What became of a detached action?
    AskTicket(AskTicket),
    /// What reconciliation gave up on, one page at a time.
    ListEscalations(ListEscalations),
    /// One escalation, with its payloads.
    ReadEscalation(Revision),
    /// Settle an escalation.
    SettleEscalation(SettleEscalation),
    /// Change several objects together, or none.
    Transact(Transact),
    /// The versions of an object that are kept, one page at a time.
    ReadHistory(ReadHistory),
    /// The object as it once was.
    ReadPast(ReadPast),
    /// How long versions are kept.
    Retention,
    /// Set that.
    SetRetention(SetRetention),
    /// Tell every change from a place on. Has a stream of its own, and is answered until that ends.
    Watch(Watch),
    /// A part of a component on its way to the host.
    UploadComponent(UploadComponent),
    /// Change which policy decides where.
    ChangePolicy(ChangePolicy),
    /// What decides where, what was done to it, and what a candidate answers.
    ReadPolicies(ReadPolicies),
    /// Split, merge, move, re-key; steer what is under way.
    ChangeShards(ChangeShards),
    /// Shards, migrations, and what the planner does and would do.
    ReadShards(ReadShards),
}

/// An object, and the key that the client believes it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub object: ObjectId,
    /// Checked against the recorded key where it is given.
    pub shard_key: Option<ShardKey>,
}

/// Which objects to list, in order of type and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    /// Of this client.
    pub client: String,
    /// Of this type alone.
    pub data_type: Option<String>,
    /// With names that begin so; wants a type.
    pub prefix: Option<String>,
    /// Most objects on the page.
    pub limit: usize,
    /// Where the page before ended.
    pub token: Option<Bytes>,
    /// Whether payloads come along.
    pub with_payloads: bool,
    /// As they stood at this place; else as they stand now.
    pub at: Option<Position>,
}

/// A write that must make exactly one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionalWrite {
    /// The object and its key.
    pub target: Target,
    /// The stored version must be one less.
    pub new_version: Version,
    /// What to store.
    pub payload: Payload,
    /// Makes a repeat of the same write answer what the first one did.
    pub action_id: Option<ActionId>,
}

/// A question after an action that was detached, or any other with an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskTicket {
    /// The client of the action's object.
    pub client: String,
    /// The action's id.
    pub action_id: ActionId,
    /// How long the answer may wait for the action's end, in milliseconds.
    pub wait_ms: u32,
}

/// Which escalations to list, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEscalations {
    /// Of objects of this client alone.
    pub client: Option<String>,
    /// Most escalations on the page.
    pub limit: usize,
    /// Where the page before ended.
    pub token: Option<Bytes>,
}

/// How a person settles an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettleEscalation {
    /// Its number.
    pub escalation: Revision,
    /// In which way.
    pub how: SettleHow,
    /// What to store (`Resolve`).
    pub payload: Option<Payload>,
    /// Who does so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// An action on an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Perform {
    /// The object and its key.
    pub target: Target,
    /// What to do.
    pub action: Action,
    /// Only if this version is stored; 0: only if no live object is.
    pub known: Option<Version>,
    /// Makes a repeat of the same action answer what the first one did.
    pub action_id: Option<ActionId>,
    /// What to do if another version is stored.
    pub on_conflict: OnConflict,
}

/// What to do to an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Store this.
    Put(Payload),
    /// Merge this patch (RFC 7396; structured) into what is stored.
    Merge(Payload),
    /// Add these numbers to those stored: a map (structured) of JSON pointers to numbers.
    Add(Payload),
    /// Delete.
    Delete,
    /// What the reconciliation policy makes of it.
    Custom {
        /// Known to the policy.
        kind: String,
        /// Its particulars.
        body: Payload,
    },
}

impl Operation {
    /// The stable number.
    pub fn number(&self) -> u64 {
        match self {
            Self::GetShardKey(_) => 1,
            Self::ReadVersion(_) => 2,
            Self::Read(_) => 3,
            Self::List(_) => 4,
            Self::ConditionalWrite(_) => 5,
            Self::Perform(_) => 6,
            Self::Reconcile(_) => 7,
            Self::ShardMap(_) => 8,
            Self::Info => 9,
            Self::AskTicket(_) => 10,
            Self::ListEscalations(_) => 11,
            Self::ReadEscalation(_) => 12,
            Self::SettleEscalation(_) => 13,
            Self::Transact(_) => 14,
            Self::ReadHistory(_) => 15,
            Self::ReadPast(_) => 16,
            Self::Retention => 17,
            Self::SetRetention(_) => 18,
            Self::Watch(_) => 19,
            Self::UploadComponent(_) => 20,
            Self::ChangePolicy(_) => 21,
            Self::ReadPolicies(_) => 22,
            Self::ChangeShards(_) => 23,
            Self::ReadShards(_) => 24,
        }
    }

    /// Whether doing it twice does no more than doing it once.
    pub fn is_read(&self) -> bool {
        !matches!(
            self,
            Self::ConditionalWrite(_)
                | Self::Perform(_)
                | Self::Reconcile(_)
                | Self::SettleEscalation(_)
                | Self::Transact(_)
                | Self::ChangePolicy(_)
                | Self::ChangeShards(_)
        )
    }
}

impl Action {
    /// Its kind.
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Put(_) => ActionKind::Put,
            Self::Merge(_) => ActionKind::Merge,
            Self::Add(_) => ActionKind::Add,
            Self::Delete => ActionKind::Delete,
            Self::Custom { .. } => ActionKind::Custom,
        }
    }

    /// Whether what it makes depends on what the object holds.
    pub fn reads_payload(&self) -> bool {
        matches!(self, Self::Merge(_) | Self::Add(_) | Self::Custom { .. })
    }

    /// Its payload, patch or body.
    pub fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Put(payload) | Self::Merge(payload) | Self::Add(payload) => Some(payload),
            Self::Custom { body, .. } => Some(body),
            Self::Delete => None,
        }
    }
}
