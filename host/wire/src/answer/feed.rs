//! What who watches is told.

use bytes::Bytes;

use super::Decided;
use super::codec::{Fields, need, read_items};
use crate::cbor::{self, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::ids::{ActionId, ObjectId};
use crate::kinds::ActionKind;
use crate::numbers::{Revision, TimestampMs, Version};
use crate::payload::Payload;
use crate::request::write_payload;

/// Changes in the order of their commits; or none, and a place up to which there was nothing to tell.
///
/// The place from which to go on is that of `decided`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Events {
    /// The changes.
    pub items: Vec<Event>,
    /// Whether the last change's commit unit goes on in the next frame.
    pub more: bool,
    /// The place behind all of this.
    pub decided: Decided,
}

/// One change, or an action that was given up to a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The object.
    pub object: ObjectId,
    /// The version that was made; of an escalation the one that stands there.
    pub version: Version,
    /// The commit unit. Changes of one transaction have the same one, and follow each other.
    pub revision: Revision,
    /// When, as the client told, or else the host's clock.
    pub timestamp: TimestampMs,
    /// What did it.
    pub kind: ActionKind,
    /// The action's id, where it had one.
    pub action_id: Option<ActionId>,
    /// Who asked for it: the name in the certificate.
    pub by: Option<String>,
    /// Whether it is a deletion.
    pub deleted: bool,
    /// Whether no change was made: reconciliation gave the action up. The revision is the escalation's number.
    pub escalated: bool,
    /// What the object holds from now on, where that was asked for.
    pub payload: Option<Payload>,
    /// What it held before, where that was asked for.
    pub previous: Option<Payload>,
    /// Whether something of that is missing since history no longer holds it.
    pub omitted: bool,
}

impl Event {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::TIMESTAMP), self.timestamp.get());
        cbor::text(fields.field(field::CLIENT), self.object.client());
        cbor::text(fields.field(field::DATA_TYPE), self.object.data_type());
        cbor::text(fields.field(field::NAME), self.object.name());
        cbor::uint(fields.field(field::VERSION), self.version.get());
        if let Some(payload) = &self.payload {
            write_payload(payload, fields.field(field::PAYLOAD));
        }
        if let Some(action_id) = self.action_id {
            cbor::bytes(fields.field(field::ACTION_ID), &action_id.bits().to_be_bytes());
        }
        cbor::uint(fields.field(field::KIND), self.kind as u64);
        cbor::uint(fields.field(field::REVISION), self.revision.get());
        if self.escalated {
            cbor::uint(fields.field(field::ESCALATION), self.revision.get());
        }
        if self.omitted {
            cbor::bool(fields.field(field::OMITTED), true);
        }
        if let Some(by) = &self.by {
            cbor::text(fields.field(field::BY), by);
        }
        if self.deleted {
            cbor::bool(fields.field(field::DELETED), true);
        }
        if let Some(previous) = &self.previous {
            write_payload(previous, fields.field(field::PREVIOUS));
        }
    }

    fn read(fields: Fields<'_>) -> Result<Self, WireError> {
        Ok(Self {
            object: fields.object()?,
            version: fields.version()?,
            revision: fields.revision()?,
            timestamp: need(fields.timestamp, field::TIMESTAMP)?,
            kind: need(fields.kind, field::KIND)?,
            action_id: fields.action_id,
            by: fields.by.map(str::to_owned),
            deleted: fields.deleted,
            escalated: fields.escalation.is_some(),
            payload: fields.payload,
            previous: fields.previous,
            omitted: fields.omitted,
        })
    }
}

impl Events {
    pub(super) fn write_items(&self, fields: &mut FieldWriter<'_>) {
        let out = fields.field(field::ITEMS);
        cbor::array(out, self.items.len());
        self.items.iter().for_each(|item| item.write(out));
        if self.more {
            cbor::bool(fields.field(field::MORE), true);
        }
    }

    pub(super) fn read(fields: &Fields<'_>, frame: &Bytes, decided: Decided) -> Result<Self, WireError> {
        Ok(Self { items: read_items(fields.items, frame, Event::read)?, more: fields.more, decided })
    }
}
