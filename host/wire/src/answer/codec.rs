//! Answers as frames: written as they are documented, read with what is not known passed over.

use bytes::Bytes;

use super::{
    Answer, Committed, Decided, Escalation, Escalations, Events, History, Info, Object, Page, PageItem, Placed,
    PolicyReport, Reply, Retention, ShardMap, ShardRange, ShardReport, Stored, Ticket, Transacted, Uploaded, refusal,
};
use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::ids::{ActionId, ObjectId};
use crate::kinds::ActionKind;
use crate::numbers::{Revision, ShardId, ShardKey, TimestampMs, Version};
use crate::payload::Payload;
use crate::position::{POSITION_BYTES, Position};
use crate::request::{read_payload, write_payload};
use crate::value::{Map, Value};

impl Answer {
    /// Appends the frame's content.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::REQUEST), self.id);
        match &self.outcome {
            Ok(reply) => {
                cbor::uint(fields.field(field::OPERATION), reply.number());
                write_reply(reply, fields.field(field::BODY));
            }
            Err(error) => refusal::write(error, fields.field(field::ERROR)),
        }
    }

    /// Reads a frame's content.
    pub fn read(frame: &Bytes) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        let (mut id, mut number, mut body, mut error) = (None, None, None, None);
        let mut fields = FieldReader::new(&mut reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::REQUEST => id = Some(value.uint()?),
                field::OPERATION => number = Some(value.uint()?),
                field::BODY => body = Some(value.skip()?),
                field::ERROR => error = Some(refusal::read(value, frame)?),
                _ => drop(value.skip()?),
            }
        }
        reader.end()?;
        let id = id.ok_or(CborError::MissingKey(field::REQUEST))?;
        let outcome = match (error, number, body) {
            (Some(error), _, _) => Err(error),
            (None, Some(number), Some(body)) => Ok(read_reply(number, body, frame)?),
            _ => return Err(CborError::MissingKey(field::BODY).into()),
        };
        Ok(Self { id, outcome })
    }
}

fn write_reply(reply: &Reply, out: &mut Vec<u8>) {
    let mut fields = FieldWriter::new(out);
    match reply {
        Reply::ShardKey(placed) => {
            cbor::uint(fields.field(field::SHARD_KEY), placed.shard_key.get());
            cbor::bool(fields.field(field::LIVE), placed.recorded);
        }
        Reply::Version(stored) => {
            cbor::uint(fields.field(field::SHARD_KEY), stored.shard_key.get());
            cbor::uint(fields.field(field::VERSION), stored.version.get());
            cbor::uint(fields.field(field::REVISION), stored.revision.get());
        }
        Reply::Object(object) => {
            cbor::uint(fields.field(field::TIMESTAMP), object.timestamp.get());
            cbor::uint(fields.field(field::SHARD_KEY), object.shard_key.get());
            cbor::uint(fields.field(field::VERSION), object.version.get());
            write_payload(&object.payload, fields.field(field::PAYLOAD));
            if let Some(action_id) = object.action_id {
                cbor::bytes(fields.field(field::ACTION_ID), &action_id.bits().to_be_bytes());
            }
            cbor::uint(fields.field(field::REVISION), object.revision.get());
        }
        Reply::Page(page) => {
            if let Some(token) = &page.token {
                cbor::bytes(fields.field(field::TOKEN), token);
            }
        }
        Reply::Committed(committed) => {
            cbor::uint(fields.field(field::SHARD_KEY), committed.shard_key.get());
            cbor::uint(fields.field(field::VERSION), committed.version.get());
            cbor::uint(fields.field(field::REVISION), committed.revision.get());
        }
        Reply::Ticket(ticket) => {
            cbor::bytes(fields.field(field::ACTION_ID), &ticket.action_id.bits().to_be_bytes());
        }
        Reply::Escalations(page) => {
            if let Some(token) = &page.token {
                cbor::bytes(fields.field(field::TOKEN), token);
            }
        }
        Reply::Transacted(transacted) => transacted.write_revision(&mut fields),
        Reply::History(history) => {
            if let Some(token) = &history.token {
                cbor::bytes(fields.field(field::TOKEN), token);
            }
        }
        Reply::ShardMap(_)
        | Reply::Info(_)
        | Reply::Escalation(_)
        | Reply::Retention(_)
        | Reply::Events(_)
        | Reply::Uploaded(_)
        | Reply::Policies(_)
        | Reply::Shards(_) => {}
    }
    reply.decided().write(fields.field(field::DECIDED));
    match reply {
        Reply::Page(page) => write_items(&page.items, fields.field(field::ITEMS)),
        Reply::Committed(committed) => {
            if committed.repeated {
                cbor::bool(fields.field(field::REPEATED), true);
            }
            if let Some(reply) = &committed.reply {
                write_payload(reply, fields.field(field::REPLY));
            }
            if committed.tries > 0 {
                cbor::uint(fields.field(field::TRIES), committed.tries.into());
            }
        }
        Reply::Escalations(page) => {
            let out = fields.field(field::ITEMS);
            cbor::array(out, page.items.len());
            page.items.iter().for_each(|item| item.write(out));
        }
        Reply::Transacted(transacted) => transacted.write_made(&mut fields),
        Reply::History(history) => history.write_items(fields.field(field::ITEMS)),
        Reply::Retention(retention) => retention.write_items(fields.field(field::ITEMS)),
        Reply::Events(events) => events.write_items(&mut fields),
        Reply::Escalation(escalation) => escalation.write(fields.field(field::ESCALATION)),
        Reply::ShardMap(map) => write_shards(&map.shards, fields.field(field::ITEMS)),
        Reply::Info(Info { facts, .. })
        | Reply::Shards(ShardReport { facts, .. })
        | Reply::Policies(PolicyReport { facts, .. }) => Value::Map(facts.clone()).write(fields.field(field::INFO)),
        Reply::Uploaded(uploaded) => cbor::uint(fields.field(field::RECEIVED), uploaded.received),
        _ => {}
    }
}

fn write_items(items: &[PageItem], out: &mut Vec<u8>) {
    cbor::array(out, items.len());
    for item in items {
        let mut fields = FieldWriter::new(out);
        cbor::text(fields.field(field::CLIENT), item.object.client());
        cbor::text(fields.field(field::DATA_TYPE), item.object.data_type());
        cbor::text(fields.field(field::NAME), item.object.name());
        cbor::uint(fields.field(field::SHARD_KEY), item.shard_key.get());
        cbor::uint(fields.field(field::VERSION), item.version.get());
        if let Some(payload) = &item.payload {
            write_payload(payload, fields.field(field::PAYLOAD));
        }
        cbor::uint(fields.field(field::REVISION), item.revision.get());
        cbor::uint(fields.field(field::SHARD), item.shard.get().into());
    }
}

fn write_shards(shards: &[ShardRange], out: &mut Vec<u8>) {
    cbor::array(out, shards.len());
    for range in shards {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::SHARD), range.shard.get().into());
        cbor::uint(fields.field(field::START), range.start.get());
        cbor::uint(fields.field(field::OWNER), range.owner.into());
        cbor::uint(fields.field(field::END), range.end.get());
    }
}

/// Every field that some answer has, as it came; a client passes over the ones it does not know.
#[derive(Default)]
pub(super) struct Fields<'a> {
    pub(super) client: Option<&'a str>,
    pub(super) data_type: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) timestamp: Option<TimestampMs>,
    pub(super) shard_key: Option<ShardKey>,
    pub(super) version: Option<Version>,
    pub(super) payload: Option<Payload>,
    pub(super) action_id: Option<ActionId>,
    pub(super) token: Option<Bytes>,
    pub(super) revision: Option<Revision>,
    pub(super) live: bool,
    pub(super) repeated: bool,
    pub(super) reply: Option<Payload>,
    pub(super) tries: u32,
    pub(super) escalation: Option<&'a [u8]>,
    pub(super) decided: Option<Decided>,
    pub(super) items: Option<&'a [u8]>,
    pub(super) shard: Option<ShardId>,
    pub(super) start: Option<ShardKey>,
    pub(super) end: Option<ShardKey>,
    pub(super) owner: u32,
    pub(super) info: Option<&'a [u8]>,
    pub(super) position: Option<Position>,
    pub(super) kind: Option<ActionKind>,
    pub(super) by: Option<&'a str>,
    pub(super) omitted: bool,
    pub(super) versions: Option<u32>,
    pub(super) age_ms: Option<u64>,
    pub(super) deleted: bool,
    pub(super) previous: Option<Payload>,
    pub(super) more: bool,
    pub(super) committed: Option<TimestampMs>,
    received: Option<u64>,
}

pub(super) fn need<T>(value: Option<T>, key: u64) -> Result<T, WireError> {
    value.ok_or_else(|| CborError::MissingKey(key).into())
}

impl<'a> Fields<'a> {
    fn read(reader: &mut Reader<'a>, frame: &Bytes) -> Result<Self, WireError> {
        let mut all = Self::default();
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::TIMESTAMP => all.timestamp = Some(TimestampMs::new(value.uint()?)),
                field::CLIENT => all.client = Some(value.text()?),
                field::DATA_TYPE => all.data_type = Some(value.text()?),
                field::NAME => all.name = Some(value.text()?),
                field::SHARD_KEY => all.shard_key = Some(ShardKey::new(value.uint()?)),
                field::VERSION => all.version = Some(Version::new(value.uint()?)),
                field::PAYLOAD => {
                    let (format, bytes) = read_payload(value, frame)?;
                    all.payload = Some(Payload::new(format, bytes)?);
                }
                field::ACTION_ID => {
                    let bits = u128::from_be_bytes(value.fixed("a byte string of 16")?);
                    all.action_id = Some(ActionId::from_bits(bits));
                }
                field::TOKEN => all.token = Some(frame.slice_ref(value.bytes()?)),
                field::REVISION => all.revision = Some(Revision::new(value.uint()?)),
                field::LIVE => all.live = value.bool()?,
                field::REPEATED => all.repeated = value.bool()?,
                field::REPLY => {
                    let (format, bytes) = read_payload(value, frame)?;
                    all.reply = Some(Payload::new(format, bytes)?);
                }
                field::TRIES => all.tries = value.uint32()?,
                field::ESCALATION => all.escalation = Some(value.skip()?),
                field::DECIDED => all.decided = Some(Decided::read(value)?),
                field::ITEMS => all.items = Some(value.skip()?),
                field::SHARD => all.shard = Some(ShardId::new(value.uint32()?)),
                field::START => all.start = Some(ShardKey::new(value.uint()?)),
                field::END => all.end = Some(ShardKey::new(value.uint()?)),
                field::OWNER => all.owner = value.uint32()?,
                field::INFO => all.info = Some(value.skip()?),
                field::POSITION => {
                    let bytes = value.fixed::<POSITION_BYTES>("a byte string of 20")?;
                    all.position = Some(Position::from_bytes(bytes));
                }
                // A later release may know more kinds.
                field::KIND => all.kind = ActionKind::from_number(value.uint()?),
                field::BY => all.by = Some(value.text()?),
                field::OMITTED => all.omitted = value.bool()?,
                field::VERSIONS => all.versions = Some(value.uint32()?),
                field::AGE_MS => all.age_ms = Some(value.uint()?),
                field::DELETED => all.deleted = value.bool()?,
                field::PREVIOUS => {
                    let (format, bytes) = read_payload(value, frame)?;
                    all.previous = Some(Payload::new(format, bytes)?);
                }
                field::MORE => all.more = value.bool()?,
                field::RECEIVED => all.received = Some(value.uint()?),
                field::COMMITTED => all.committed = Some(TimestampMs::new(value.uint()?)),
                _ => drop(value.skip()?),
            }
        }
        Ok(all)
    }

    pub(super) fn shard_key(&self) -> Result<ShardKey, WireError> {
        need(self.shard_key, field::SHARD_KEY)
    }

    pub(super) fn version(&self) -> Result<Version, WireError> {
        need(self.version, field::VERSION)
    }

    pub(super) fn revision(&self) -> Result<Revision, WireError> {
        need(self.revision, field::REVISION)
    }

    pub(super) fn object(&self) -> Result<ObjectId, WireError> {
        let part = |part: Option<&'a str>, key| need(part, key);
        Ok(ObjectId::new(
            part(self.client, field::CLIENT)?,
            part(self.data_type, field::DATA_TYPE)?,
            part(self.name, field::NAME)?,
        )?)
    }

    fn facts(&self) -> Result<Map, WireError> {
        match Value::from_cbor(need(self.info, field::INFO)?) {
            Ok(Value::Map(facts)) => Ok(facts),
            _ => Err(WireError::new(Code::Malformed, "what is told is a map")),
        }
    }

    fn item(self) -> Result<PageItem, WireError> {
        Ok(PageItem {
            object: self.object()?,
            version: self.version()?,
            revision: self.revision()?,
            shard_key: self.shard_key()?,
            shard: need(self.shard, field::SHARD)?,
            payload: self.payload,
        })
    }

    fn range(self) -> Result<ShardRange, WireError> {
        Ok(ShardRange {
            shard: need(self.shard, field::SHARD)?,
            start: need(self.start, field::START)?,
            end: need(self.end, field::END)?,
            owner: self.owner,
        })
    }
}

pub(super) fn read_items<'a, T>(
    items: Option<&'a [u8]>,
    frame: &Bytes,
    one: impl Fn(Fields<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut reader = Reader::new(need(items, field::ITEMS)?);
    let len = reader.array()?;
    (0..len).map(|_| one(Fields::read(&mut reader, frame)?)).collect()
}

fn read_reply(number: u64, body: &[u8], frame: &Bytes) -> Result<Reply, WireError> {
    let mut reader = Reader::new(body);
    let mut fields = Fields::read(&mut reader, frame)?;
    let decided = need(fields.decided.take(), field::DECIDED)?;
    Ok(match number {
        1 => Reply::ShardKey(Placed { shard_key: fields.shard_key()?, recorded: fields.live, decided }),
        2 => Reply::Version(Stored {
            version: fields.version()?,
            revision: fields.revision()?,
            shard_key: fields.shard_key()?,
            decided,
        }),
        3 => Reply::Object(Object {
            version: fields.version()?,
            revision: fields.revision()?,
            timestamp: need(fields.timestamp, field::TIMESTAMP)?,
            shard_key: fields.shard_key()?,
            action_id: fields.action_id,
            payload: need(fields.payload.take(), field::PAYLOAD)?,
            decided,
        }),
        4 => {
            let items = read_items(fields.items, frame, Fields::item)?;
            Reply::Page(Page { items, token: fields.token, decided })
        }
        5 | 6 => Reply::Committed(Committed {
            version: fields.version()?,
            revision: fields.revision()?,
            shard_key: fields.shard_key()?,
            repeated: fields.repeated,
            reply: fields.reply.take(),
            tries: fields.tries,
            decided,
        }),
        8 => Reply::ShardMap(ShardMap { shards: read_items(fields.items, frame, Fields::range)?, decided }),
        9 => Reply::Info(Info { facts: fields.facts()?, decided }),
        10 => Reply::Ticket(Ticket { action_id: need(fields.action_id, field::ACTION_ID)?, decided }),
        11 => {
            let mut reader = Reader::new(need(fields.items, field::ITEMS)?);
            let len = reader.array()?;
            let items = (0..len).map(|_| Escalation::read(&mut reader, frame, &decided)).collect::<Result<_, _>>()?;
            Reply::Escalations(Escalations { items, token: fields.token, decided })
        }
        12 => {
            let mut reader = Reader::new(need(fields.escalation, field::ESCALATION)?);
            Reply::Escalation(Box::new(Escalation::read(&mut reader, frame, &decided)?))
        }
        14 => Reply::Transacted(Transacted::read(&fields, frame, decided)?),
        15 => Reply::History(History::read(fields, frame, decided)?),
        17 => Reply::Retention(Retention::read(&fields, frame, decided)?),
        19 => Reply::Events(Events::read(&fields, frame, decided)?),
        20 => Reply::Uploaded(Uploaded { received: need(fields.received, field::RECEIVED)?, decided }),
        21 => Reply::Policies(PolicyReport { facts: fields.facts()?, decided }),
        23 => Reply::Shards(ShardReport { facts: fields.facts()?, decided }),
        unknown => {
            return Err(WireError::new(Code::Malformed, format!("no answer has the number {unknown}")));
        }
    })
}
