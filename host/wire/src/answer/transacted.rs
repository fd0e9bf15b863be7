//! Answer to a transaction.

use bytes::Bytes;

use super::Decided;
use super::codec::{Fields, need, read_items};
use crate::cbor::{self, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::numbers::{Revision, ShardKey, Version};
use crate::payload::Payload;
use crate::request::write_payload;

/// Several changes that are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transacted {
    /// The one commit unit they were.
    pub revision: Revision,
    /// What each action made, in the order of the actions.
    pub made: Vec<StepMade>,
    /// Whether this is the recorded outcome of an earlier request with the same action id.
    pub repeated: bool,
    /// How often the reconciliation policy was asked.
    pub tries: u32,
    /// On which state and by whom.
    pub decided: Decided,
}

/// What one action of a transaction made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepMade {
    /// The version; where reconciliation found the action's effect there already, the one that shows it.
    pub version: Version,
    /// The object's key.
    pub shard_key: ShardKey,
    /// What the reconciliation policy has to say of it.
    pub reply: Option<Payload>,
}

impl Transacted {
    /// The part before what every answer has.
    pub(super) fn write_revision(&self, fields: &mut FieldWriter<'_>) {
        cbor::uint(fields.field(field::REVISION), self.revision.get());
    }

    /// The part behind it.
    pub(super) fn write_made(&self, fields: &mut FieldWriter<'_>) {
        let out = fields.field(field::ITEMS);
        cbor::array(out, self.made.len());
        for made in &self.made {
            let mut fields = FieldWriter::new(out);
            cbor::uint(fields.field(field::SHARD_KEY), made.shard_key.get());
            cbor::uint(fields.field(field::VERSION), made.version.get());
            if let Some(reply) = &made.reply {
                write_payload(reply, fields.field(field::REPLY));
            }
        }
        if self.repeated {
            cbor::bool(fields.field(field::REPEATED), true);
        }
        if self.tries > 0 {
            cbor::uint(fields.field(field::TRIES), self.tries.into());
        }
    }

    pub(super) fn read(fields: &Fields<'_>, frame: &Bytes, decided: Decided) -> Result<Self, WireError> {
        let made = |fields: Fields<'_>| {
            Ok(StepMade { version: fields.version()?, shard_key: fields.shard_key()?, reply: fields.reply })
        };
        Ok(Self {
            revision: need(fields.revision, field::REVISION)?,
            made: read_items(fields.items, frame, made)?,
            repeated: fields.repeated,
            tries: fields.tries,
            decided,
        })
    }
}
