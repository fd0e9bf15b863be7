//! Requests as frames: written as they are documented, read with every rule held.

use bytes::Bytes;

use super::body::{Body, TARGET, malformed};
use super::feed::{WITHIN, check_within, write_within};
use super::{
    Action, AskTicket, ConditionalWrite, List, ListEscalations, Operation, Perform, ReadHistory, ReadPast, Request,
    SetRetention, SettleEscalation, Target, Transact, Watch,
};
use crate::bounds::{
    CUSTOM_KIND_BYTES_MAX, PAGE_ITEMS_DEFAULT, PAGE_ITEMS_MAX, TEXT_BYTES_MAX, TICKET_WAIT_MS_MAX, TOKEN_BYTES_MAX,
};
use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::ids::{ActionId, IdPart, ObjectId};
use crate::kinds::{ActionKind, OnConflict, SettleHow};
use crate::numbers::{ShardKey, TimestampMs};
use crate::payload::Payload;
use crate::policy::{ChangePolicy, ReadPolicies, UploadComponent};
use crate::shards::{AskMap, ChangeShards, ReadShards};

impl Request {
    /// Appends the frame's content.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::REQUEST), self.id);
        cbor::uint(fields.field(field::OPERATION), self.operation.number());
        write_body(&self.operation, fields.field(field::BODY));
        if let Some(trace_parent) = self.trace_parent {
            cbor::text(fields.field(field::TRACE_PARENT), &trace_parent.to_string());
        }
        if let Some(timestamp) = self.timestamp {
            cbor::uint(fields.field(field::TIMESTAMP), timestamp.get());
        }
    }

    /// Reads a frame's content. The error comes with the request's id where that much could be read, so that it can be
    /// answered.
    pub fn read(frame: &Bytes) -> Result<Self, (Option<u64>, WireError)> {
        let mut id = None;
        Self::read_frame(frame, &mut id).map_err(|error| (id, error))
    }

    /// The request's id and nothing else: what it takes to refuse a frame unread. An error is what [`Self::read`] would
    /// answer without an id.
    pub fn id_of(frame: &[u8]) -> Result<u64, WireError> {
        let mut reader = Reader::new(frame);
        match FieldReader::new(&mut reader)?.next_field()? {
            Some((field::REQUEST, value)) => Ok(value.uint()?),
            _ => Err(CborError::MissingKey(field::REQUEST).into()),
        }
    }

    fn read_frame(frame: &Bytes, request_id: &mut Option<u64>) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        let (mut number, mut body, mut trace_parent, mut timestamp) = (None, None, None, None);
        let mut fields = FieldReader::new(&mut reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::REQUEST => *request_id = Some(value.uint()?),
                field::OPERATION => number = Some(value.uint()?),
                field::BODY => body = Some(Body::read(value, frame)?),
                field::TRACE_PARENT => {
                    let text = value.text()?.parse();
                    trace_parent = Some(text.map_err(|error| malformed(format!("{error}")))?);
                }
                field::TIMESTAMP => timestamp = Some(TimestampMs::new(value.uint()?)),
                unknown => return Err(CborError::UnknownKey(unknown).into()),
            }
        }
        reader.end()?;
        let id = request_id.ok_or(CborError::MissingKey(field::REQUEST))?;
        let number = number.ok_or(CborError::MissingKey(field::OPERATION))?;
        let body = body.ok_or(CborError::MissingKey(field::BODY))?;
        let operation = read_body(number, body, frame)?;
        Ok(Self { id, trace_parent, timestamp, operation })
    }
}

fn write_body(operation: &Operation, out: &mut Vec<u8>) {
    let mut fields = FieldWriter::new(out);
    match operation {
        Operation::GetShardKey(target) | Operation::ReadVersion(target) | Operation::Read(target) => {
            write_target(target, &mut fields);
        }
        Operation::List(list) => write_list(list, &mut fields),
        Operation::ConditionalWrite(write) => {
            write_target(&write.target, &mut fields);
            cbor::uint(fields.field(field::NEW_VERSION), write.new_version.get());
            write_payload(&write.payload, fields.field(field::PAYLOAD));
            write_action_id(write.action_id, &mut fields);
        }
        Operation::Perform(perform) | Operation::Reconcile(perform) => write_perform(perform, &mut fields),
        Operation::Info | Operation::Retention => {}
        Operation::Transact(transact) => transact.write(&mut fields),
        Operation::ReadHistory(history) => history.write(&mut fields),
        Operation::ReadPast(past) => past.write(&mut fields),
        Operation::SetRetention(set) => set.write(&mut fields),
        Operation::Watch(watch) => watch.write(&mut fields),
        Operation::UploadComponent(upload) => upload.write(&mut fields),
        Operation::ChangePolicy(change) => change.write(&mut fields),
        Operation::ReadPolicies(read) => read.write(&mut fields),
        Operation::ShardMap(ask) => ask.write(&mut fields),
        Operation::ChangeShards(change) => change.write(&mut fields),
        Operation::ReadShards(read) => read.write(&mut fields),
        Operation::AskTicket(ask) => {
            cbor::text(fields.field(field::CLIENT), &ask.client);
            write_action_id(Some(ask.action_id), &mut fields);
            if ask.wait_ms > 0 {
                cbor::uint(fields.field(field::WAIT_MS), ask.wait_ms.into());
            }
        }
        Operation::ListEscalations(list) => {
            if let Some(client) = &list.client {
                cbor::text(fields.field(field::CLIENT), client);
            }
            write_page(list.limit, list.token.as_ref(), &mut fields);
        }
        Operation::ReadEscalation(number) => cbor::uint(fields.field(field::ESCALATION), number.get()),
        Operation::SettleEscalation(settle) => {
            if let Some(payload) = &settle.payload {
                write_payload(payload, fields.field(field::PAYLOAD));
            }
            cbor::uint(fields.field(field::ESCALATION), settle.escalation.get());
            cbor::uint(fields.field(field::HOW), settle.how as u64);
            cbor::text(fields.field(field::BY), &settle.by);
            cbor::text(fields.field(field::REASON), &settle.reason);
        }
    }
}

pub(super) fn write_target(target: &Target, fields: &mut FieldWriter<'_>) {
    write_object(&target.object, target.shard_key, fields);
}

pub(super) fn write_object(object: &ObjectId, shard_key: Option<ShardKey>, fields: &mut FieldWriter<'_>) {
    cbor::text(fields.field(field::CLIENT), object.client());
    cbor::text(fields.field(field::DATA_TYPE), object.data_type());
    cbor::text(fields.field(field::NAME), object.name());
    if let Some(shard_key) = shard_key {
        cbor::uint(fields.field(field::SHARD_KEY), shard_key.get());
    }
}

fn write_list(list: &List, fields: &mut FieldWriter<'_>) {
    write_within(&list.client, list.data_type.as_deref(), list.prefix.as_deref(), fields);
    write_page(list.limit, list.token.as_ref(), fields);
    if list.with_payloads {
        cbor::bool(fields.field(field::WITH_PAYLOADS), true);
    }
    if let Some(at) = list.at {
        cbor::bytes(fields.field(field::POSITION), &at.to_bytes());
    }
}

pub(super) fn write_page(limit: usize, token: Option<&Bytes>, fields: &mut FieldWriter<'_>) {
    cbor::uint(fields.field(field::LIMIT), limit as u64);
    if let Some(token) = token {
        cbor::bytes(fields.field(field::TOKEN), token);
    }
}

fn write_perform(perform: &Perform, fields: &mut FieldWriter<'_>) {
    write_target(&perform.target, fields);
    if let Some(known) = perform.known {
        cbor::uint(fields.field(field::KNOWN_VERSION), known.get());
    }
    if let Some(payload) = perform.action.payload() {
        write_payload(payload, fields.field(field::PAYLOAD));
    }
    write_action_id(perform.action_id, fields);
    write_kind(&perform.action, fields);
    if perform.on_conflict != OnConflict::Reject {
        cbor::uint(fields.field(field::ON_CONFLICT), perform.on_conflict as u64);
    }
}

pub(super) fn write_kind(action: &Action, fields: &mut FieldWriter<'_>) {
    cbor::uint(fields.field(field::KIND), action.kind() as u64);
    if let Action::Custom { kind, .. } = action {
        cbor::text(fields.field(field::CUSTOM_KIND), kind);
    }
}

pub(super) fn write_action_id(action_id: Option<ActionId>, fields: &mut FieldWriter<'_>) {
    if let Some(action_id) = action_id {
        cbor::bytes(fields.field(field::ACTION_ID), &action_id.bits().to_be_bytes());
    }
}

/// Appends a payload: an array of its format and its bytes.
pub(crate) fn write_payload(payload: &Payload, out: &mut Vec<u8>) {
    cbor::array(out, 2);
    cbor::uint(out, payload.format() as u64);
    cbor::bytes(out, payload.as_bytes());
}

fn read_body(number: u64, mut body: Body<'_>, frame: &Bytes) -> Result<Operation, WireError> {
    Ok(match number {
        1..=3 => {
            body.only(&TARGET)?;
            let target = body.target()?;
            match number {
                1 => Operation::GetShardKey(target),
                2 => Operation::ReadVersion(target),
                _ => Operation::Read(target),
            }
        }
        4 => Operation::List(read_list(body)?),
        5 => Operation::ConditionalWrite(read_conditional_write(body)?),
        6 => Operation::Perform(read_perform(body)?),
        7 => Operation::Reconcile(read_perform(body)?),
        8 => Operation::ShardMap(AskMap::read(&body)?),
        9 | 17 => {
            body.only(&[])?;
            if number == 9 { Operation::Info } else { Operation::Retention }
        }
        10 => Operation::AskTicket(read_ask_ticket(body)?),
        11 => Operation::ListEscalations(read_list_escalations(body)?),
        12 => {
            body.only(&[field::ESCALATION])?;
            Operation::ReadEscalation(body.escalation.ok_or(CborError::MissingKey(field::ESCALATION))?)
        }
        13 => Operation::SettleEscalation(read_settle(body)?),
        14 => Operation::Transact(Transact::read(&body, frame)?),
        15 => Operation::ReadHistory(ReadHistory::read(&body)?),
        16 => Operation::ReadPast(ReadPast::read(&body)?),
        18 => Operation::SetRetention(SetRetention::read(&body)?),
        19 => Operation::Watch(Watch::read(&body)?),
        20 => Operation::UploadComponent(UploadComponent::read(&mut body)?),
        21 => Operation::ChangePolicy(ChangePolicy::read(&body)?),
        22 => Operation::ReadPolicies(ReadPolicies::read(&body)?),
        23 => Operation::ChangeShards(ChangeShards::read(&body)?),
        24 => Operation::ReadShards(ReadShards::read(&body)?),
        unknown => {
            return Err(WireError::new(Code::UnknownRequest, format!("no request has the number {unknown}")));
        }
    })
}

fn read_list(body: Body<'_>) -> Result<List, WireError> {
    let own = [field::LIMIT, field::TOKEN, field::WITH_PAYLOADS, field::POSITION];
    body.only(&[&WITHIN[..], &own].concat())?;
    check_within(&body)?;
    let (limit, token) = checked_page(&body)?;
    Ok(List {
        client: body.client.to_owned(),
        data_type: body.data_type.map(str::to_owned),
        prefix: body.prefix.map(str::to_owned),
        limit,
        token,
        with_payloads: body.with_payloads,
        at: body.position,
    })
}

pub(super) fn checked_page(body: &Body<'_>) -> Result<(usize, Option<Bytes>), WireError> {
    let limit = body.limit.unwrap_or(PAGE_ITEMS_DEFAULT as u64);
    if limit == 0 || limit > PAGE_ITEMS_MAX as u64 {
        return Err(malformed(format!("a page has 1 to {PAGE_ITEMS_MAX} objects, not {limit}")));
    }
    if body.token.as_ref().is_some_and(|token| token.len() > TOKEN_BYTES_MAX) {
        return Err(WireError::new(Code::InvalidToken, "the page token is longer than any that a host makes"));
    }
    Ok((limit as usize, body.token.clone()))
}

fn read_ask_ticket(body: Body<'_>) -> Result<AskTicket, WireError> {
    body.only(&[field::CLIENT, field::ACTION_ID, field::WAIT_MS])?;
    if !body.has(field::CLIENT) {
        return Err(CborError::MissingKey(field::CLIENT).into());
    }
    IdPart::Client.check(body.client)?;
    let wait_ms = body.wait_ms.unwrap_or_default();
    if wait_ms > TICKET_WAIT_MS_MAX {
        return Err(malformed(format!("an answer waits at most {TICKET_WAIT_MS_MAX} ms, not {wait_ms}")));
    }
    let action_id = body.action_id.ok_or(CborError::MissingKey(field::ACTION_ID))?;
    Ok(AskTicket { client: body.client.to_owned(), action_id, wait_ms })
}

fn read_list_escalations(body: Body<'_>) -> Result<ListEscalations, WireError> {
    body.only(&[field::CLIENT, field::LIMIT, field::TOKEN])?;
    let client = body.has(field::CLIENT).then(|| body.client.to_owned());
    client.as_deref().map(|client| IdPart::Client.check(client)).transpose()?;
    let (limit, token) = checked_page(&body)?;
    Ok(ListEscalations { client, limit, token })
}

fn read_settle(mut body: Body<'_>) -> Result<SettleEscalation, WireError> {
    body.only(&[field::PAYLOAD, field::ESCALATION, field::HOW, field::BY, field::REASON])?;
    let escalation = body.escalation.ok_or(CborError::MissingKey(field::ESCALATION))?;
    let number = body.how.ok_or(CborError::MissingKey(field::HOW))?;
    let how = SettleHow::from_number(number)
        .ok_or_else(|| malformed(format!("no way to settle an escalation has the number {number}")))?;
    let payload = match how {
        SettleHow::Resolve => Some(body.payload()?),
        _ if body.payload.is_some() => return Err(CborError::UnknownKey(field::PAYLOAD).into()),
        _ => None,
    };
    let words = |text: Option<&str>, key: u64| match text.ok_or(CborError::MissingKey(key))? {
        "" => Err(malformed("who settles an escalation says who it is and why")),
        text if text.len() > TEXT_BYTES_MAX => Err(malformed(format!("a text has at most {TEXT_BYTES_MAX} bytes"))),
        text => Ok(text.to_owned()),
    };
    Ok(SettleEscalation {
        escalation,
        how,
        payload,
        by: words(body.by, field::BY)?,
        reason: words(body.reason, field::REASON)?,
    })
}

fn read_conditional_write(mut body: Body<'_>) -> Result<ConditionalWrite, WireError> {
    let [client, data_type, name, shard_key] = TARGET;
    body.only(&[client, data_type, name, shard_key, field::NEW_VERSION, field::PAYLOAD, field::ACTION_ID])?;
    Ok(ConditionalWrite {
        target: body.target()?,
        new_version: body.new_version.ok_or(CborError::MissingKey(field::NEW_VERSION))?,
        payload: body.payload()?,
        action_id: body.action_id,
    })
}

/// The object and the action of a body that has these fields beside theirs.
pub(super) fn action_of(body: &mut Body<'_>, beside: &[u64]) -> Result<(Target, Action), WireError> {
    let number = body.kind.ok_or(CborError::MissingKey(field::KIND))?;
    let kind = ActionKind::from_number(number)
        .ok_or_else(|| WireError::new(Code::UnknownRequest, format!("no kind of action has the number {number}")))?;
    let own: &[u64] = match kind {
        ActionKind::Delete => &[],
        ActionKind::Custom => &[field::PAYLOAD, field::CUSTOM_KIND],
        _ => &[field::PAYLOAD],
    };
    body.only(&[&TARGET[..], &[field::KIND], own, beside].concat())?;
    let target = body.target()?;
    let action = match kind {
        ActionKind::Put => Action::Put(body.payload()?),
        ActionKind::Merge => Action::Merge(body.structured()?),
        ActionKind::Add => Action::Add(body.structured()?),
        ActionKind::Delete => Action::Delete,
        ActionKind::Custom => {
            let kind = body.custom_kind.ok_or(CborError::MissingKey(field::CUSTOM_KIND))?;
            if kind.is_empty() || kind.len() > CUSTOM_KIND_BYTES_MAX {
                let message = format!("a custom action's kind has 1 to {CUSTOM_KIND_BYTES_MAX} bytes");
                return Err(malformed(message));
            }
            Action::Custom { kind: kind.to_owned(), body: body.payload()? }
        }
    };
    Ok((target, action))
}

fn read_perform(mut body: Body<'_>) -> Result<Perform, WireError> {
    let (target, action) = action_of(&mut body, &[field::KNOWN_VERSION, field::ACTION_ID, field::ON_CONFLICT])?;
    let on_conflict = body.on_conflict.unwrap_or(OnConflict::Reject as u64);
    Ok(Perform {
        target,
        action,
        known: body.known,
        action_id: body.action_id,
        on_conflict: OnConflict::from_number(on_conflict)
            .ok_or_else(|| malformed(format!("no choice on conflict has the number {on_conflict}")))?,
    })
}
