//! The requests by name.

use std::time::Duration;

use bytes::Bytes;
use ostrakon_wire::answer::{
    Committed, Escalation, Escalations, History, Info, Object, Page, Placed, PolicyReport, Retention, ShardMap,
    ShardReport, Stored, Transacted,
};
use ostrakon_wire::bounds::{COMPONENT_PART_BYTES_MAX, MAP_WAIT_MS_MAX, TICKET_WAIT_MS_MAX};
use ostrakon_wire::{
    Action, ActionId, AskMap, AskTicket, ChangePolicy, ChangeShards, ComponentDigest, ConditionalWrite, List,
    ListEscalations, MapEpoch, ObjectId, OnConflict, Operation, Past, Payload, Perform, ReadHistory, ReadPast,
    ReadPolicies, ReadShards, Reply, Revision, SetRetention, SettleEscalation, Target, Transact, UploadComponent,
    Version,
};

use sha2::{Digest as _, Sha256};

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

/// What became of an action that need not be waited for.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It is done.
    Committed(Committed),
    /// It is on its way; this id asks for it.
    Pending(ActionId),
}

fn outcome(reply: Reply) -> Result<Outcome, Error> {
    match reply {
        Reply::Committed(committed) => Ok(Outcome::Committed(committed)),
        Reply::Ticket(ticket) => Ok(Outcome::Pending(ticket.action_id)),
        other => Err(unexpected(&other)),
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
        reply!(self, Operation::ShardMap(AskMap::default()), ShardMap)
    }

    /// The shard map of a later epoch than this one, as soon as there is one; after a while the one in force. An answer that
    /// names another epoch than the map that a client has was decided by another map.
    pub async fn shard_map_beyond(&self, epoch: MapEpoch, wait: Duration) -> Result<ShardMap, Error> {
        // The answer must come before the request's own deadline does.
        let wait_ms = wait.min(self.deadline() / 2).as_millis().min(MAP_WAIT_MS_MAX.into()) as u32;
        reply!(self, Operation::ShardMap(AskMap { beyond: Some(epoch), wait_ms }), ShardMap)
    }

    /// Changes shards, or how what moves goes on; answers what stands then.
    pub async fn change_shards(&self, change: ChangeShards) -> Result<ShardReport, Error> {
        reply!(self, Operation::ChangeShards(change), Shards)
    }

    /// Tells of shards.
    pub async fn shards(&self, read: ReadShards) -> Result<ShardReport, Error> {
        reply!(self, Operation::ReadShards(read), Shards)
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

    /// Does an action as it is described; one that is detached may be on its way still when this returns.
    pub async fn start(&self, perform: Perform) -> Result<Outcome, Error> {
        outcome(self.ask(Operation::Perform(perform)).await?)
    }

    /// Does an action under a new action id, and runs it again on the winner where it loses.
    pub async fn reconciled(&self, object: &ObjectId, action: Action, expect: Expect) -> Result<Committed, Error> {
        self.perform(Perform {
            target: target(object),
            action,
            known: expect.known(),
            action_id: Some(Self::new_action_id()),
            on_conflict: OnConflict::Reconcile,
        })
        .await
    }

    /// Starts reconciliation of an action without trying it first.
    pub async fn reconcile(&self, perform: Perform) -> Result<Outcome, Error> {
        outcome(self.ask(Operation::Reconcile(perform)).await?)
    }

    /// What became of an action with an id, its object's client's; waits for its end for at most so long, and
    /// for half of a request's deadline.
    pub async fn ticket(&self, client: &str, action_id: ActionId, wait: Duration) -> Result<Outcome, Error> {
        // The answer must come before the request's own deadline does.
        let wait_ms = wait.min(self.deadline() / 2).as_millis().min(TICKET_WAIT_MS_MAX.into()) as u32;
        outcome(self.ask(Operation::AskTicket(AskTicket { client: client.to_owned(), action_id, wait_ms })).await?)
    }

    /// One page of what reconciliation gave up on.
    pub async fn escalations(&self, list: ListEscalations) -> Result<Escalations, Error> {
        reply!(self, Operation::ListEscalations(list), Escalations)
    }

    /// One escalation, with its payloads.
    pub async fn escalation(&self, number: Revision) -> Result<Escalation, Error> {
        let read: Result<Box<Escalation>, Error> = reply!(self, Operation::ReadEscalation(number), Escalation);
        read.map(|escalation| *escalation)
    }

    /// Settles an escalation, and answers how it stands then.
    pub async fn settle(&self, settle: SettleEscalation) -> Result<Escalation, Error> {
        let settled: Result<Box<Escalation>, Error> = reply!(self, Operation::SettleEscalation(settle), Escalation);
        settled.map(|escalation| *escalation)
    }

    /// Changes several objects together, or none.
    pub async fn transact(&self, transact: Transact) -> Result<Transacted, Error> {
        reply!(self, Operation::Transact(transact), Transacted)
    }

    /// Reads an object as it once was: a version of it, or what stood there at a place in the log.
    pub async fn read_past(&self, object: &ObjectId, past: Past) -> Result<Object, Error> {
        reply!(self, Operation::ReadPast(ReadPast { target: target(object), past }), Object)
    }

    /// One page of the versions of an object that are kept, newest first.
    pub async fn history(&self, read: ReadHistory) -> Result<History, Error> {
        reply!(self, Operation::ReadHistory(read), History)
    }

    /// How long versions are kept.
    pub async fn retention(&self) -> Result<Retention, Error> {
        reply!(self, Operation::Retention, Retention)
    }

    /// Sets how long versions are kept, and answers all rules.
    pub async fn set_retention(&self, set: SetRetention) -> Result<Retention, Error> {
        reply!(self, Operation::SetRetention(set), Retention)
    }

    /// Sends a component to the host, in parts; what is there of it already is not sent again. `sent` is told how many
    /// bytes the host has. Answers what to push it by.
    pub async fn upload_component(&self, component: &Bytes, sent: impl Fn(u64)) -> Result<ComponentDigest, Error> {
        let (digest, size) = (Sha256::digest(component).into(), component.len() as u64);
        let ask = |offset: u64, part| async move {
            let upload = UploadComponent { digest, size, offset, part };
            reply!(self, Operation::UploadComponent(upload), Uploaded)
        };
        let mut received = ask(0, Bytes::new()).await?.received;
        while received < size {
            sent(received);
            let from = received as usize;
            let part = component.slice(from..component.len().min(from + COMPONENT_PART_BYTES_MAX));
            received = ask(received, part).await?.received;
        }
        sent(received);
        Ok(digest)
    }

    /// Changes which policy decides where; answers what stands in the slot then. It takes as long as a component takes to
    /// compile.
    pub async fn change_policy(&self, change: ChangePolicy) -> Result<PolicyReport, Error> {
        reply!(self, Operation::ChangePolicy(change), Policies)
    }

    /// Tells of policies.
    pub async fn policies(&self, read: ReadPolicies) -> Result<PolicyReport, Error> {
        reply!(self, Operation::ReadPolicies(read), Policies)
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
