//! Row: one version of one object; the newest is the object's head, the others are its history.
//!
//! Key: shard key (8 bytes), the object's text, U+0000, the version's complement (8 bytes); all big-endian. So a shard's
//! rows order by key, the versions of an object stand together, and the first of them is the head.
//! Value: tag, flags, revision (8), timestamp (8), action id (16, if flagged), payload.

use ostrakon_wire::{ActionId, ObjectId, Payload, PayloadFormat, Revision, ShardKey, TimestampMs, Version};

use super::{Cut, DamagedRecord};

const KIND: &str = "row";
const TAG: u8 = 1;
const TOMBSTONE: u8 = 1;
const STRUCTURED: u8 = 2;
const IDENTIFIED: u8 = 4;

/// One version of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The commit unit that made it.
    pub revision: Revision,
    /// When, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// The action that made it.
    pub action_id: Option<ActionId>,
    /// What the object holds; `None` for a tombstone.
    pub payload: Option<Payload>,
}

/// What the keys of all versions of an object begin with.
pub fn prefix(shard_key: ShardKey, object: &ObjectId) -> Vec<u8> {
    let text = object.as_text().as_bytes();
    let mut key = Vec::with_capacity(8 + text.len() + 1 + 8);
    key.extend_from_slice(&shard_key.get().to_be_bytes());
    key.extend_from_slice(text);
    key.push(0);
    key
}

/// The key of one version.
pub fn key(shard_key: ShardKey, object: &ObjectId, version: Version) -> Vec<u8> {
    let mut key = prefix(shard_key, object);
    key.extend_from_slice(&(!version.get()).to_be_bytes());
    key
}

/// The parts of a key.
pub fn parse_key(key: &[u8]) -> Result<(ShardKey, ObjectId, Version), DamagedRecord> {
    let damaged = |what| DamagedRecord::new(KIND, what);
    let (shard_key, rest) = key.split_first_chunk::<8>().ok_or(damaged("its key is too short"))?;
    let (rest, version) = rest.split_last_chunk::<8>().ok_or(damaged("its key is too short"))?;
    let text = rest.strip_suffix(&[0]).ok_or(damaged("its key has no separator"))?;
    let text = std::str::from_utf8(text).map_err(|_| damaged("its key is not UTF-8"))?;
    let object = ObjectId::from_text(text).map_err(|_| damaged("its key is no object"))?;
    Ok((
        ShardKey::new(u64::from_be_bytes(*shard_key)),
        object,
        Version::new(!u64::from_be_bytes(*version)),
    ))
}

impl Row {
    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let payload = self.payload.as_ref().map_or(&[][..], |payload| payload.as_bytes());
        let structured = self
            .payload
            .as_ref()
            .is_some_and(|payload| payload.format() == PayloadFormat::Structured);
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let mut value = Vec::with_capacity(2 + 8 + 8 + 16 + payload.len());
        value.push(TAG);
        value.push(
            flag(self.payload.is_none(), TOMBSTONE)
                | flag(structured, STRUCTURED)
                | flag(self.action_id.is_some(), IDENTIFIED),
        );
        value.extend_from_slice(&self.revision.get().to_be_bytes());
        value.extend_from_slice(&self.timestamp.get().to_be_bytes());
        if let Some(action_id) = self.action_id {
            value.extend_from_slice(&action_id.bits().to_be_bytes());
        }
        value.extend_from_slice(payload);
        value
    }

    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let flags = cut.u8()?;
        if flags & !(TOMBSTONE | STRUCTURED | IDENTIFIED) != 0 {
            return Err(cut.damaged("it has flags of another format"));
        }
        let revision = Revision::new(cut.u64()?);
        let timestamp = TimestampMs::new(cut.u64()?);
        let action_id = (flags & IDENTIFIED != 0)
            .then(|| cut.u128())
            .transpose()?
            .map(ActionId::from_bits);
        let payload = if flags & TOMBSTONE == 0 {
            let format = if flags & STRUCTURED == 0 {
                PayloadFormat::Bytes
            } else {
                PayloadFormat::Structured
            };
            Some(Payload::from_checked(format, bytes::Bytes::copy_from_slice(cut.rest)))
        } else {
            cut.end()?;
            None
        };
        Ok(Self {
            revision,
            timestamp,
            action_id,
            payload,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_row_reads_back(revision: u64, at: u64, id: Option<u128>, bytes: Option<Vec<u8>>, version: u64) {
            let row = Row {
                revision: Revision::new(revision),
                timestamp: TimestampMs::new(at),
                action_id: id.map(ActionId::from_bits),
                payload: bytes.map(|bytes| Payload::bytes(bytes).unwrap()),
            };
            prop_assert_eq!(Row::decode(&row.encode()), Ok(row));
            let object = ObjectId::new("c", "t", "n").unwrap();
            let parts = (ShardKey::new(at), object, Version::new(version));
            prop_assert_eq!(parse_key(&key(parts.0, &parts.1, parts.2)), Ok(parts));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Row::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }

    #[test]
    fn newer_versions_stand_first() {
        let object = ObjectId::new("c", "t", "n").unwrap();
        let of = |version| key(ShardKey::new(1), &object, Version::new(version));
        assert!(of(2) < of(1) && of(300) < of(255));
    }
}
