//! Answers about what is kept: an object's versions, and for how long.

use bytes::Bytes;

use super::Decided;
use super::codec::{Fields, need, read_items};
use crate::cbor::{self, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::ids::ActionId;
use crate::kinds::ActionKind;
use crate::numbers::{Revision, TimestampMs, Version};
use crate::payload::Payload;
use crate::position::Position;
use crate::request::{Keep, write_payload};

/// One page of an object's versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The versions, newest first.
    pub items: Vec<KeptVersion>,
    /// Asks for the next page; `None` on the last one.
    pub token: Option<Bytes>,
    /// Where and by whom.
    pub decided: Decided,
}

/// One version of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// Which one.
    pub version: Version,
    /// The commit unit that made it.
    pub revision: Revision,
    /// The place of that.
    pub position: Position,
    /// When, as the client told, or else the host's clock.
    pub timestamp: TimestampMs,
    /// When it was committed, by the host's clock.
    pub committed: TimestampMs,
    /// What made it; `None` where an earlier release has not noted it.
    pub kind: Option<ActionKind>,
    /// Whether it is a deletion.
    pub deleted: bool,
    /// The action that made it.
    pub action_id: Option<ActionId>,
    /// Who asked for it: the name in the certificate.
    pub by: Option<String>,
    /// What it holds, where that was asked for.
    pub payload: Option<Payload>,
}

/// How long versions are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The rule of all types first, then those of single types, in order.
    pub rules: Vec<RetentionRule>,
    /// On which state.
    pub decided: Decided,
}

/// How long the versions of a type are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    /// The type; `None`: all without a rule of their own.
    pub data_type: Option<String>,
    /// What is kept.
    pub keep: Keep,
}

impl KeptVersion {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::TIMESTAMP), self.timestamp.get());
        cbor::uint(fields.field(field::VERSION), self.version.get());
        if let Some(payload) = &self.payload {
            write_payload(payload, fields.field(field::PAYLOAD));
        }
        if let Some(action_id) = self.action_id {
            cbor::bytes(fields.field(field::ACTION_ID), &action_id.bits().to_be_bytes());
        }
        if let Some(kind) = self.kind {
            cbor::uint(fields.field(field::KIND), kind as u64);
        }
        cbor::uint(fields.field(field::REVISION), self.revision.get());
        cbor::bytes(fields.field(field::POSITION), &self.position.to_bytes());
        if let Some(by) = &self.by {
            cbor::text(fields.field(field::BY), by);
        }
        if self.deleted {
            cbor::bool(fields.field(field::DELETED), true);
        }
        cbor::uint(fields.field(field::COMMITTED), self.committed.get());
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            version: fields.version()?,
            revision: fields.revision()?,
            position: need(fields.position, field::POSITION)?,
            timestamp: need(fields.timestamp, field::TIMESTAMP)?,
            committed: need(fields.committed, field::COMMITTED)?,
            kind: fields.kind,
            deleted: fields.deleted,
            action_id: fields.action_id,
            by: fields.by.map(str::to_owned),
            payload: fields.payload,
        })
    }
}

impl History {
    pub(super) fn write_items(&self, out: &mut Vec<u8>) {
        cbor::array(out, self.items.len());
        self.items.iter().for_each(|item| item.write(out));
    }

    pub(super) fn read(fields: Fields<'_>, frame: &Bytes, decided: Decided) -> Result<Self, WireError> {
        let items = read_items(fields.items, frame, KeptVersion::read)?;
        Ok(Self { items, token: fields.token, decided })
    }
}

impl Retention {
    pub(super) fn write_items(&self, out: &mut Vec<u8>) {
        cbor::array(out, self.rules.len());
        for RetentionRule { data_type, keep } in &self.rules {
            let mut fields = FieldWriter::new(out);
            if let Some(data_type) = data_type {
                cbor::text(fields.field(field::DATA_TYPE), data_type);
            }
            cbor::uint(fields.field(field::VERSIONS), keep.versions.into());
            cbor::uint(fields.field(field::AGE_MS), keep.age_ms);
        }
    }

    pub(super) fn read(fields: &Fields<'_>, frame: &Bytes, decided: Decided) -> Result<Self, WireError> {
        let rule = |fields: Fields<'_>| {
            let versions = need(fields.versions, field::VERSIONS)?;
            let keep = Keep { versions, age_ms: need(fields.age_ms, field::AGE_MS)? };
            Ok(RetentionRule { data_type: fields.data_type.map(str::to_owned), keep })
        };
        Ok(Self { rules: read_items(fields.items, frame, rule)?, decided })
    }
}
