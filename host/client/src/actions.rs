//! The requests by name.

use ostrakon_wire::answer::{Committed, Info, Object, Page, Placed, ShardMap, Stored};
use ostrakon_wire::{
    Action, ActionId, ConditionalWrite, List, ObjectId, OnConflict, Operation, Payload, Perform, Reply, Target, Version,
};

use crate::error::Error;
use crate::link::Client;

/// What a write expects to meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    Any,
    /// No live object.
    Absent,
    /// A live object of exactly this version.
    Version(Version),
}

impl Expect {
    fn known(self) -> Option<Version> {
        match self {
            Self::Any => None,
            Self::Absent => Some(Version::ABSENT),
            Self::Version(version) => Some(version),
        }
    }
}

fn target(object: &ObjectId) -> Target {
    Target { object: object.clone(), shard_key: None }
}

fn unexpected(reply: &Reply) -> Error {
    Error::Protocol(format!("an answer of number {} to another question", reply.number()))
}

macro_rules! reply {
    ($self:ident, $operation:expr, $variant:ident) => {
        match $self.ask($operation).await? {
            Reply::$variant(reply) => Ok(reply),
            other => Err(unexpected(&other)),
        }
    };
}

impl Client {
    /// A new action id: a UUID of version 7.
    pub fn new_action_id() -> ActionId {
        ActionId::from_bits(uuid::Uuid::now_v7().as_u128())
    }

    /// Reads an object as it stands.
    pub async fn read(&self, object: &ObjectId) -> Result<Object, Error> {
        reply!(self, Operation::Read(target(object)), Object)
    }

    /// Reads the version of a live object.
    pub async fn read_version(&self, object: &ObjectId) -> Result<Stored, Error> {
        reply!(self, Operation::ReadVersion(target(object)), Version)
    }

    /// Where an object lives, or would live.
    pub async fn shard_key(&self, object: &ObjectId) -> Result<Placed, Error> {
        reply!(self, Operation::GetShardKey(target(object)), ShardKey)
    }

    /// One page of the objects of a client.
    pub async fn list(&self, list: List) -> Result<Page, Error> {
        reply!(self, Operation::List(list), Page)
    }

    /// The shard map in force.
    pub async fn shard_map(&self) -> Result<ShardMap, Error> {
        reply!(self, Operation::ShardMap, ShardMap)
    }

    /// What the host is and has done.
    pub async fn info(&self) -> Result<Info, Error> {
        reply!(self, Operation::Info, Info)
    }

    /// Replaces the payload.
    pub async fn put(&self, object: &ObjectId, payload: Payload, expect: Expect) -> Result<Committed, Error> {
        self.act(object, Action::Put(payload), expect).await
    }

    /// Merges a structured patch into the payload (RFC 7396); makes the object if there is none.
    pub async fn merge(&self, object: &ObjectId, patch: Payload, expect: Expect) -> Result<Committed, Error> {
        self.act(object, Action::Merge(patch), expect).await
    }

    /// Adds numbers to those at JSON pointers: a structured map of pointers to numbers.
    pub async fn add(&self, object: &ObjectId, additions: Payload, expect: Expect) -> Result<Committed, Error> {
        self.act(object, Action::Add(additions), expect).await
    }

    /// Deletes the object.
    pub async fn delete(&self, object: &ObjectId, expect: Expect) -> Result<Committed, Error> {
        self.act(object, Action::Delete, expect).await
    }

    /// Does an action under a new action id.
    pub async fn act(&self, object: &ObjectId, action: Action, expect: Expect) -> Result<Committed, Error> {
        self.perform(Perform {
            target: target(object),
            action,
            known: expect.known(),
            action_id: Some(Self::new_action_id()),
            on_conflict: OnConflict::Reject,
        })
        .await
    }

    /// Does an action as it is described.
    pub async fn perform(&self, perform: Perform) -> Result<Committed, Error> {
        reply!(self, Operation::Perform(perform), Committed)
    }

    /// Writes a payload if that makes exactly this version, under a new action id.
    pub async fn write(&self, object: &ObjectId, new_version: Version, payload: Payload) -> Result<Committed, Error> {
        let target = target(object);
        let action_id = Some(Self::new_action_id());
        self.conditional_write(ConditionalWrite { target, new_version, payload, action_id }).await
    }

    /// Does a conditional write as it is described.
    pub async fn conditional_write(&self, write: ConditionalWrite) -> Result<Committed, Error> {
        reply!(self, Operation::ConditionalWrite(write), Committed)
    }
}
