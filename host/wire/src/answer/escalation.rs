//! Escalations: what reconciliation gave up on, and how a person settled it.

use bytes::Bytes;

use super::Decided;
use super::codec::need;
use crate::cbor::{self, FieldReader, FieldWriter, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::ids::{ActionId, ObjectId};
use crate::kinds::{ActionKind, SettleHow};
use crate::numbers::{Revision, TimestampMs, Version};
use crate::payload::Payload;
use crate::request::{read_payload, write_payload};

/// An action that reconciliation gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// Its number: the commit unit that it was opened by.
    pub number: Revision,
    /// When, by the host's clock.
    pub opened: TimestampMs,
    /// The object of the action.
    pub object: ObjectId,
    /// What the action does.
    pub kind: ActionKind,
    /// The custom action's own kind.
    pub custom_kind: Option<String>,
    /// The action's payload, patch or body.
    pub body: Option<Payload>,
    /// The version that the action was made for.
    pub known: Option<Version>,
    /// The action's id.
    pub action_id: Option<ActionId>,
    /// The object at the known version, where history still held it.
    pub base: Option<Payload>,
    /// The version that the action met last.
    pub latest: Version,
    /// What stood there; `None` where no live object did.
    pub latest_payload: Option<Payload>,
    /// How often the policy was asked.
    pub tries: u32,
    /// Why it was given up, in the policy's words or the host's.
    pub words: String,
    /// How it was settled, once it is.
    pub settled: Option<Settlement>,
    /// Whether payloads are left out here: on pages, and where all together do not fit a frame.
    pub omitted: bool,
    /// Where this was read.
    pub decided: Decided,
}

/// How a person settled an escalation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// In which way.
    pub how: SettleHow,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// When, by the host's clock.
    pub at: TimestampMs,
    /// The version that it made, if it made one.
    pub version: Option<Version>,
}

/// One page of escalations: without payloads, all of it from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalations {
    /// The escalations, oldest first.
    pub items: Vec<Escalation>,
    /// Asks for the next page; `None` on the last one.
    pub token: Option<Bytes>,
    /// The snapshot's place.
    pub decided: Decided,
}

impl Settlement {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::TIMESTAMP), self.at.get());
        if let Some(version) = self.version {
            cbor::uint(fields.field(field::VERSION), version.get());
        }
        cbor::uint(fields.field(field::HOW), self.how as u64);
        cbor::text(fields.field(field::BY), &self.by);
        cbor::text(fields.field(field::REASON), &self.reason);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (mut at, mut version, mut how, mut by, mut reason) = (None, None, None, None, None);
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::TIMESTAMP => at = Some(TimestampMs::new(value.uint()?)),
                field::VERSION => version = Some(Version::new(value.uint()?)),
                field::HOW => how = SettleHow::from_number(value.uint()?),
                field::BY => by = Some(value.text()?.to_owned()),
                field::REASON => reason = Some(value.text()?.to_owned()),
                _ => drop(value.skip()?),
            }
        }
        Ok(Self {
            how: need(how, field::HOW)?,
            by: need(by, field::BY)?,
            reason: need(reason, field::REASON)?,
            at: need(at, field::TIMESTAMP)?,
            version,
        })
    }
}

impl Escalation {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::text(fields.field(field::CLIENT), self.object.client());
        cbor::text(fields.field(field::DATA_TYPE), self.object.data_type());
        cbor::text(fields.field(field::NAME), self.object.name());
        cbor::uint(fields.field(field::VERSION), self.latest.get());
        if let Some(known) = self.known {
            cbor::uint(fields.field(field::KNOWN_VERSION), known.get());
        }
        if let Some(body) = &self.body {
            write_payload(body, fields.field(field::PAYLOAD));
        }
        if let Some(action_id) = self.action_id {
            cbor::bytes(fields.field(field::ACTION_ID), &action_id.bits().to_be_bytes());
        }
        cbor::uint(fields.field(field::KIND), self.kind as u64);
        if let Some(custom_kind) = &self.custom_kind {
            cbor::text(fields.field(field::CUSTOM_KIND), custom_kind);
        }
        cbor::text(fields.field(field::MESSAGE), &self.words);
        cbor::uint(fields.field(field::TRIES), self.tries.into());
        cbor::uint(fields.field(field::ESCALATION), self.number.get());
        cbor::uint(fields.field(field::OPENED), self.opened.get());
        if let Some(base) = &self.base {
            write_payload(base, fields.field(field::BASE));
        }
        if let Some(latest) = &self.latest_payload {
            write_payload(latest, fields.field(field::LATEST));
        }
        if self.omitted {
            cbor::bool(fields.field(field::OMITTED), true);
        }
        if let Some(settled) = &self.settled {
            settled.write(fields.field(field::SETTLED));
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, frame: &Bytes, decided: &Decided) -> Result<Self, WireError> {
        let payload = |value: &mut Reader<'_>| -> Result<Payload, WireError> {
            let (format, bytes) = read_payload(value, frame)?;
            Ok(Payload::new(format, bytes)?)
        };
        let (mut client, mut data_type, mut name) = (None, None, None);
        let (mut number, mut opened, mut kind, mut latest, mut words) = (None, None, None, None, None);
        let (mut body, mut base, mut latest_payload) = (None, None, None);
        let (mut custom_kind, mut known, mut action_id, mut settled) = (None, None, None, None);
        let (mut tries, mut omitted) = (0, false);
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::CLIENT => client = Some(value.text()?),
                field::DATA_TYPE => data_type = Some(value.text()?),
                field::NAME => name = Some(value.text()?),
                field::VERSION => latest = Some(Version::new(value.uint()?)),
                field::KNOWN_VERSION => known = Some(Version::new(value.uint()?)),
                field::PAYLOAD => body = Some(payload(value)?),
                field::ACTION_ID => {
                    let bits = u128::from_be_bytes(value.fixed("a byte string of 16")?);
                    action_id = Some(ActionId::from_bits(bits));
                }
                field::KIND => kind = Some(value.uint()?),
                field::CUSTOM_KIND => custom_kind = Some(value.text()?.to_owned()),
                field::MESSAGE => words = Some(value.text()?.to_owned()),
                field::TRIES => tries = value.uint32()?,
                field::ESCALATION => number = Some(Revision::new(value.uint()?)),
                field::OPENED => opened = Some(TimestampMs::new(value.uint()?)),
                field::BASE => base = Some(payload(value)?),
                field::LATEST => latest_payload = Some(payload(value)?),
                field::OMITTED => omitted = value.bool()?,
                field::SETTLED => settled = Some(Settlement::read(value)?),
                _ => drop(value.skip()?),
            }
        }
        let object =
            ObjectId::new(need(client, field::CLIENT)?, need(data_type, field::DATA_TYPE)?, need(name, field::NAME)?)?;
        let kind = need(kind, field::KIND)?;
        let kind = ActionKind::from_number(kind)
            .ok_or_else(|| WireError::new(Code::Malformed, format!("no kind of action has the number {kind}")))?;
        Ok(Self {
            number: need(number, field::ESCALATION)?,
            opened: need(opened, field::OPENED)?,
            object,
            kind,
            custom_kind,
            body,
            known,
            action_id,
            base,
            latest: need(latest, field::VERSION)?,
            latest_payload,
            tries,
            words: need(words, field::MESSAGE)?,
            settled,
            omitted,
            decided: *decided,
        })
    }
}
