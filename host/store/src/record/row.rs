//! Row: one version of one object; the newest is the object's head, the others are its history.
//!
//! Key, 20 bytes, big-endian: shard key (8), object number (6), the version's complement (6). So a shard's rows order by
//! key, the versions of an object stand together, and the first of them is the head. (20 bytes are what the engine below
//! holds inline: comparing two keys chases no pointer, which is most of what a write costs there.)
//! Value: tag, flags, revision (8), timestamp (8), time of the commit (8, if flagged; else the timestamp), action id (16, if
//! flagged), who asked for it behind its length (1) (if flagged), length of the object's text (2), the text, payload. Three
//! of the flags are the kind of the action; 0 in a row of a release that did not note it.

use std::sync::Arc;

use ostrakon_wire::bounds::VERSION_MAX;
use ostrakon_wire::{ActionId, ActionKind, ObjectId, Payload, PayloadFormat, Revision, ShardKey, TimestampMs, Version};

use super::locator::{ObjectNumber, Place};
use super::{Cut, DamagedRecord};

const KIND: &str = "row";
const TAG: u8 = 1;
const TOMBSTONE: u8 = 1;
const STRUCTURED: u8 = 2;
const IDENTIFIED: u8 = 4;
const KIND_SHIFT: u8 = 3;
const KIND_MASK: u8 = 7;
const COMMITTED: u8 = 64;
const SIGNED: u8 = 128;

/// A commit that is so much away from its timestamp is noted beside it, in milliseconds.
const COMMITTED_OFF_MS: u64 = 60_000;
/// Longest name of who asked that is kept, in bytes.
pub const BY_BYTES_MAX: usize = 128;

/// Bytes of a row's key.
pub const KEY_BYTES: usize = 20;
/// Bytes of what the keys of an object's versions begin with.
pub const PREFIX_BYTES: usize = 14;

/// One version of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The commit unit that made it.
    pub revision: Revision,
    /// When, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// When it was committed, to a minute, by the host's clock.
    pub committed: TimestampMs,
    /// The action that made it.
    pub action_id: Option<ActionId>,
    /// What made it; `None` where it was not noted.
    pub kind: Option<ActionKind>,
    /// Who asked for it: the name in the certificate.
    pub by: Option<Arc<str>>,
    /// The object.
    pub object: ObjectId,
    /// What the object holds; `None` for a tombstone.
    pub payload: Option<Payload>,
}

/// The same, to be encoded.
#[derive(Debug, Clone, Copy)]
pub struct Made<'a> {
    /// See [`Row`].
    pub revision: Revision,
    /// See [`Row`].
    pub timestamp: TimestampMs,
    /// See [`Row`].
    pub committed: TimestampMs,
    /// See [`Row`].
    pub action_id: Option<ActionId>,
    /// See [`Row`].
    pub kind: Option<ActionKind>,
    /// See [`Row`]; what is beyond the bound is left out.
    pub by: Option<&'a str>,
    /// See [`Row`].
    pub object: &'a ObjectId,
    /// See [`Row`].
    pub payload: Option<&'a Payload>,
}

/// What the keys of all versions of an object begin with.
pub fn prefix(place: Place) -> [u8; PREFIX_BYTES] {
    let mut prefix = [0; PREFIX_BYTES];
    prefix[..8].copy_from_slice(&place.shard_key.get().to_be_bytes());
    prefix[8..].copy_from_slice(&place.number.get().to_be_bytes()[2..]);
    prefix
}

/// The key of one version.
pub fn key(place: Place, version: Version) -> [u8; KEY_BYTES] {
    assert!(version.get() <= VERSION_MAX, "versions end before their bits do");
    let mut key = [0; KEY_BYTES];
    key[..PREFIX_BYTES].copy_from_slice(&prefix(place));
    key[PREFIX_BYTES..].copy_from_slice(&(!version.get()).to_be_bytes()[2..]);
    key
}

/// The parts of a key.
pub fn parse_key(key: &[u8]) -> Result<(Place, Version), DamagedRecord> {
    let mut cut = Cut { kind: KIND, rest: key };
    let shard_key = ShardKey::new(cut.u64()?);
    let number = ObjectNumber::new(cut.u48()?).ok_or(cut.damaged("its object number is too large"))?;
    let version = Version::new(!cut.u48()? & VERSION_MAX);
    cut.end()?;
    Ok((Place { shard_key, number }, version))
}

/// Encodes a row's value, in place of what `value` held.
pub fn encode(value: &mut Vec<u8>, made: &Made<'_>) {
    let Made { revision, timestamp, committed, action_id, kind, by, object, payload } = *made;
    let content = payload.map_or(&[][..], |payload| payload.as_bytes());
    let structured = payload.is_some_and(|payload| payload.format() == PayloadFormat::Structured);
    let text = object.as_text().as_bytes();
    let by = by.map(|by| &by[..by.floor_char_boundary(BY_BYTES_MAX)]);
    let off = committed.get().abs_diff(timestamp.get()) > COMMITTED_OFF_MS;
    let flag = |on: bool, flag: u8| if on { flag } else { 0 };
    value.clear();
    value.reserve(2 + 8 + 8 + 8 + 16 + 1 + by.map_or(0, str::len) + 2 + text.len() + content.len());
    value.push(TAG);
    let flags = flag(payload.is_none(), TOMBSTONE) | flag(structured, STRUCTURED);
    let flags = flags | flag(action_id.is_some(), IDENTIFIED) | flag(off, COMMITTED) | flag(by.is_some(), SIGNED);
    value.push(flags | kind.map_or(0, |kind| kind as u8) << KIND_SHIFT);
    value.extend_from_slice(&revision.get().to_be_bytes());
    value.extend_from_slice(&timestamp.get().to_be_bytes());
    if off {
        value.extend_from_slice(&committed.get().to_be_bytes());
    }
    if let Some(action_id) = action_id {
        value.extend_from_slice(&action_id.bits().to_be_bytes());
    }
    if let Some(by) = by {
        value.push(by.len() as u8);
        value.extend_from_slice(by.as_bytes());
    }
    value.extend_from_slice(&(text.len() as u16).to_be_bytes());
    value.extend_from_slice(text);
    value.extend_from_slice(content);
}

impl Row {
    /// The row, to be encoded.
    pub fn made(&self) -> Made<'_> {
        Made {
            revision: self.revision,
            timestamp: self.timestamp,
            committed: self.committed,
            action_id: self.action_id,
            kind: self.kind,
            by: self.by.as_deref(),
            object: &self.object,
            payload: self.payload.as_ref(),
        }
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let flags = cut.u8()?;
        let kind = match flags >> KIND_SHIFT & KIND_MASK {
            0 => None,
            number => Some(ActionKind::from_number(number.into()).ok_or(cut.damaged("no such kind of action"))?),
        };
        let revision = Revision::new(cut.u64()?);
        let timestamp = TimestampMs::new(cut.u64()?);
        let committed = match flags & COMMITTED {
            0 => timestamp,
            _ => TimestampMs::new(cut.u64()?),
        };
        if flags & COMMITTED != 0 && committed.get().abs_diff(timestamp.get()) <= COMMITTED_OFF_MS {
            return Err(cut.damaged("it tells two times that are one"));
        }
        let action_id = (flags & IDENTIFIED != 0).then(|| cut.u128()).transpose()?.map(ActionId::from_bits);
        let by = match flags & SIGNED {
            0 => None,
            _ => {
                let len = cut.u8()?;
                if usize::from(len) > BY_BYTES_MAX {
                    return Err(cut.damaged("who asked has a name beyond the bound"));
                }
                Some(cut.text(len.into())?.into())
            }
        };
        let len = cut.u16()?;
        let object = ObjectId::from_text(cut.text(len.into())?).map_err(|_| cut.damaged("its object is no object"))?;
        let payload = if flags & TOMBSTONE == 0 {
            let format = if flags & STRUCTURED == 0 { PayloadFormat::Bytes } else { PayloadFormat::Structured };
            Some(Payload::from_checked(format, bytes::Bytes::copy_from_slice(cut.rest)))
        } else {
            cut.end()?;
            None
        };
        Ok(Self { revision, timestamp, committed, action_id, kind, by, object, payload })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(shard_key: u64, number: u64) -> Place {
        Place { shard_key: ShardKey::new(shard_key), number: ObjectNumber::new(number).unwrap() }
    }

    proptest! {
        #[test]
        fn a_row_reads_back(revision: u64, at: u64, id: Option<u128>, bytes: Option<Vec<u8>>, later: Option<u32>,
                            kind in 0..=5_u64, by in proptest::option::of("[a-zü]{0,40}"),
                            version in 0..=VERSION_MAX, number in 0..1_u64 << 48) {
            let later = later.map_or(0, |later| u64::from(later) + COMMITTED_OFF_MS + 1);
            let row = Row {
                revision: Revision::new(revision),
                timestamp: TimestampMs::new(at),
                committed: TimestampMs::new(at.checked_add(later).unwrap_or(at)),
                kind: ActionKind::from_number(kind),
                by: by.map(Into::into),
                action_id: id.map(ActionId::from_bits),
                object: ObjectId::new("c", "t", "n").unwrap(),
                payload: bytes.map(|bytes| Payload::bytes(bytes).unwrap()),
            };
            let mut value = Vec::new();
            encode(&mut value, &row.made());
            prop_assert_eq!(Row::decode(&value), Ok(row));
            let parts = (place(at, number), Version::new(version));
            prop_assert_eq!(parse_key(&key(parts.0, parts.1)), Ok(parts));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Row::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }

    #[test]
    fn newer_versions_stand_first() {
        let of = |version| key(place(1, 1), Version::new(version));
        assert!(of(2) < of(1) && of(300) < of(255) && of(VERSION_MAX) < of(0));
    }
}
