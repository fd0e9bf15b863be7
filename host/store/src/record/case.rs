//! Case: an action that is not done yet and must not be forgotten: a ticket of a detached one, an escalation.
//!
//! They stand in the keyspace `meta`, behind a word and a slash. A ticket's key: `ticket/`, the client, 0, the action id (16
//! bytes); its value: tag, the intent's digest (16), who asked for it behind its length (1; 0: it is not known; not there
//! under the first tag), the request as the protocol writes it. An escalation's key: `escalation/`,
//! its number (8); its value: tag, flags, when it was opened (8), how often it was tried (4), the version it met last (8),
//! then with their lengths (4) before them: the words, the request, and as flagged the base and the latest payload, each
//! behind its format (1); at the end, as flagged, the settlement: the way (1), when (8), the version it made (8), who and why,
//! with their lengths (4).

use std::sync::Arc;

use bytes::Bytes;
use ostrakon_wire::answer::Settlement;
use ostrakon_wire::{
    ActionId, Operation, Payload, PayloadFormat, Perform, Request, Revision, SettleHow, TimestampMs, Version,
};

use super::row::BY_BYTES_MAX;
use super::{Cut, DamagedRecord};

const TICKET: &str = "ticket";
const ESCALATION: &str = "escalation";
/// What the keys of tickets begin with.
pub const TICKET_PREFIX: &[u8] = b"ticket/";
/// What the keys of escalations begin with.
pub const ESCALATION_PREFIX: &[u8] = b"escalation/";
const TAG: u8 = 1;
/// A ticket that says who asked.
const SIGNED_TAG: u8 = 2;
const BASE: u8 = 1;
const LATEST: u8 = 2;
const SETTLED: u8 = 4;

/// A detached action that is not done yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket {
    /// Digest of what the action's id is used for.
    pub intent: u128,
    /// When, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// Who asked for it: the name in the certificate.
    pub by: Option<Arc<str>>,
    /// The action; it has an id.
    pub perform: Perform,
}

/// An action that reconciliation gave up on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Escalation {
    /// When, by the host's clock.
    pub opened: TimestampMs,
    /// When the action was made, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// The action.
    pub perform: Perform,
    /// The object at the known version, where history still held it.
    pub base: Option<Payload>,
    /// The version that the action met last.
    pub latest: Version,
    /// What stood there; `None` where no live object did.
    pub latest_payload: Option<Payload>,
    /// How often the policy was asked.
    pub tries: u32,
    /// Why it was given up.
    pub words: String,
    /// How it was settled, once it is.
    pub settled: Option<Settlement>,
}

/// The key of a ticket.
pub fn ticket_key(client: &str, id: ActionId) -> Vec<u8> {
    [TICKET_PREFIX, client.as_bytes(), &[0], &id.bits().to_be_bytes()].concat()
}

/// The key of an escalation.
pub fn escalation_key(number: Revision) -> Vec<u8> {
    [ESCALATION_PREFIX, &number.get().to_be_bytes()].concat()
}

/// The number of an escalation's key.
pub fn parse_escalation_key(key: &[u8]) -> Result<Revision, DamagedRecord> {
    let number = key.strip_prefix(ESCALATION_PREFIX).and_then(|rest| rest.try_into().ok());
    let number = number.ok_or(DamagedRecord::new(ESCALATION, "its key is no number"))?;
    Ok(Revision::new(u64::from_be_bytes(number)))
}

fn write_request(perform: &Perform, timestamp: TimestampMs, out: &mut Vec<u8>) {
    let operation = Operation::Perform(perform.clone());
    Request { id: 0, trace_parent: None, timestamp: Some(timestamp), operation }.write(out);
}

fn read_request(kind: &'static str, bytes: &[u8]) -> Result<(Perform, TimestampMs), DamagedRecord> {
    let damaged = DamagedRecord::new(kind, "its action is none");
    match Request::read(&Bytes::copy_from_slice(bytes)) {
        Ok(Request { timestamp: Some(timestamp), operation: Operation::Perform(perform), .. }) => {
            Ok((perform, timestamp))
        }
        _ => Err(damaged),
    }
}

fn sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn cut_sized<'a>(cut: &mut Cut<'a>) -> Result<&'a [u8], DamagedRecord> {
    let len = cut.u32()? as usize;
    cut.bytes(len)
}

fn cut_text(cut: &mut Cut<'_>) -> Result<String, DamagedRecord> {
    let len = cut.u32()? as usize;
    cut.text(len).map(str::to_owned)
}

impl Ticket {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let by = self.by.as_deref().unwrap_or_default();
        let by = &by[..by.floor_char_boundary(BY_BYTES_MAX)];
        let mut value = vec![SIGNED_TAG];
        value.extend_from_slice(&self.intent.to_be_bytes());
        value.push(by.len() as u8);
        value.extend_from_slice(by.as_bytes());
        write_request(&self.perform, self.timestamp, &mut value);
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let signed = value.first() == Some(&SIGNED_TAG);
        let mut cut = Cut::new(TICKET, value, if signed { SIGNED_TAG } else { TAG })?;
        let intent = cut.u128()?;
        let by = match if signed { cut.u8()? } else { 0 } {
            0 => None,
            len => Some(cut.text(len.into())?.into()),
        };
        let (perform, timestamp) = read_request(TICKET, cut.rest)?;
        if perform.action_id.is_none() {
            return Err(cut.damaged("its action has no id"));
        }
        Ok(Self { intent, timestamp, by, perform })
    }
}

impl Escalation {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let flags = flag(self.base.is_some(), BASE)
            | flag(self.latest_payload.is_some(), LATEST)
            | flag(self.settled.is_some(), SETTLED);
        let mut value = vec![TAG, flags];
        value.extend_from_slice(&self.opened.get().to_be_bytes());
        value.extend_from_slice(&self.tries.to_be_bytes());
        value.extend_from_slice(&self.latest.get().to_be_bytes());
        sized(&mut value, self.words.as_bytes());
        let mut request = Vec::new();
        write_request(&self.perform, self.timestamp, &mut request);
        sized(&mut value, &request);
        for payload in [&self.base, &self.latest_payload].into_iter().flatten() {
            value.push(payload.format() as u8);
            sized(&mut value, payload.as_bytes());
        }
        if let Some(settled) = &self.settled {
            value.push(settled.how as u8);
            value.extend_from_slice(&settled.at.get().to_be_bytes());
            value.extend_from_slice(&settled.version.map_or(0, Version::get).to_be_bytes());
            sized(&mut value, settled.by.as_bytes());
            sized(&mut value, settled.reason.as_bytes());
        }
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(ESCALATION, value, TAG)?;
        let flags = cut.u8()?;
        if flags & !(BASE | LATEST | SETTLED) != 0 {
            return Err(cut.damaged("it has flags of another format"));
        }
        let opened = TimestampMs::new(cut.u64()?);
        let tries = cut.u32()?;
        let latest = Version::new(cut.u64()?);
        let words = cut_text(&mut cut)?;
        let (perform, timestamp) = read_request(ESCALATION, cut_sized(&mut cut)?)?;
        let mut payload = |flag: u8| -> Result<Option<Payload>, DamagedRecord> {
            if flags & flag == 0 {
                return Ok(None);
            }
            let format = PayloadFormat::from_number(cut.u8()?.into()).ok_or(cut.damaged("no such format"))?;
            Ok(Some(Payload::from_checked(format, Bytes::copy_from_slice(cut_sized(&mut cut)?))))
        };
        let (base, latest_payload) = (payload(BASE)?, payload(LATEST)?);
        let settled = if flags & SETTLED == 0 { None } else { Some(decode_settlement(&mut cut)?) };
        cut.end()?;
        Ok(Self { opened, timestamp, perform, base, latest, latest_payload, tries, words, settled })
    }
}

fn decode_settlement(cut: &mut Cut<'_>) -> Result<Settlement, DamagedRecord> {
    let how = SettleHow::from_number(cut.u8()?.into()).ok_or(cut.damaged("no such way to settle it"))?;
    let at = TimestampMs::new(cut.u64()?);
    let version = Some(Version::new(cut.u64()?)).filter(|version| *version != Version::ABSENT);
    Ok(Settlement { how, by: cut_text(cut)?, reason: cut_text(cut)?, at, version })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_wire::{Action, ObjectId, OnConflict, Target};
    use proptest::prelude::*;

    use super::*;

    fn perform() -> impl Strategy<Value = Perform> {
        ("[a-z]{1,9}", any::<u128>(), proptest::option::of(any::<u64>()), any::<Vec<u8>>()).prop_map(
            |(name, id, known, body)| Perform {
                target: Target { object: ObjectId::new("client", "type", &name).unwrap(), shard_key: None },
                action: Action::Custom { kind: "k".into(), body: Payload::bytes(body).unwrap() },
                known: known.map(Version::new),
                action_id: Some(ActionId::from_bits(id)),
                on_conflict: OnConflict::Detach,
            },
        )
    }

    fn payload() -> impl Strategy<Value = Option<Payload>> {
        proptest::option::of(any::<Vec<u8>>().prop_map(|bytes| Payload::bytes(bytes).unwrap()))
    }

    fn settlement() -> impl Strategy<Value = Option<Settlement>> {
        let how = proptest::sample::select(vec![SettleHow::Retry, SettleHow::Resolve, SettleHow::Discard]);
        proptest::option::of((how, "[a-z]{1,5}", "[a-z]{1,5}", any::<u64>(), proptest::option::of(1..9_u64)).prop_map(
            |(how, by, reason, at, version)| Settlement {
                how,
                by,
                reason,
                at: TimestampMs::new(at),
                version: version.map(Version::new),
            },
        ))
    }

    proptest! {
        #[test]
        fn cases_read_back(perform in perform(), intent: u128, at: u64, tries: u32, words in ".{0,20}",
                           by in proptest::option::of("[a-z]{1,9}"), base in payload(), latest in payload(), settled in settlement()) {
            let timestamp = TimestampMs::new(at);
            let ticket = Ticket { intent, timestamp, by: by.map(Into::into), perform: perform.clone() };
            prop_assert_eq!(Ticket::decode(&ticket.encode()), Ok(ticket));
            let escalation = Escalation {
                opened: timestamp, timestamp, perform, base, latest: Version::new(7), latest_payload: latest, tries, words,
                settled,
            };
            prop_assert_eq!(Escalation::decode(&escalation.encode()), Ok(escalation));
            let number = Revision::new(at);
            prop_assert_eq!(parse_escalation_key(&escalation_key(number)), Ok(number));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = (Ticket::decode(&bytes), Escalation::decode(&bytes), parse_escalation_key(&bytes));
        }
    }
}
