//! Log: one record a commit group, without payloads. The feed, the action ids and a mirror's catch-up follow from it.
//!
//! Key: revision of the group's first commit unit (8 bytes, big-endian).
//! Value: tag, time of the commit (8), number of changes (4), then a change at a time: kind, flags, shard key (8), version
//! (8), action id and intent (16 each, if flagged), length of the object's text (2), the text. Every change is a commit
//! unit of its own, so the next record's key is this one's plus the number of changes.

use ostrakon_wire::{ActionId, ActionKind, ObjectId, Revision, ShardKey, TimestampMs, Version};

use super::{Cut, DamagedRecord};

const KIND: &str = "log";
const TAG: u8 = 1;
const IDENTIFIED: u8 = 1;
const TOMBSTONE: u8 = 2;

/// An action id, and a digest of what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The id.
    pub id: ActionId,
    /// Digest of object, kind and body.
    pub intent: u128,
}

/// One change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object.
    pub object: ObjectId,
    /// The key it is recorded under.
    pub shard_key: ShardKey,
    /// The version that was made.
    pub version: Version,
    /// What made it.
    pub kind: ActionKind,
    /// Whether that version is a tombstone.
    pub tombstone: bool,
    /// The action's id, where it had one.
    pub identity: Option<Identity>,
}

/// One commit group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was committed, by the host's clock.
    pub committed: TimestampMs,
    /// Its changes, in order.
    pub entries: Vec<Entry>,
}

/// The key of the record that begins with this revision.
pub fn key(first: Revision) -> [u8; 8] {
    first.get().to_be_bytes()
}

/// The revision of a key.
pub fn parse_key(key: &[u8]) -> Result<Revision, DamagedRecord> {
    let bytes = key.try_into().map_err(|_| DamagedRecord::new(KIND, "its key is not 8 bytes"))?;
    Ok(Revision::new(u64::from_be_bytes(bytes)))
}

/// Builds a record's value, a change at a time.
pub struct Builder {
    value: Vec<u8>,
    count: u32,
}

const COUNT_AT: usize = 9;
const HEAD_BYTES: usize = COUNT_AT + 4;
/// An identified change of an object with a short name.
const ENTRY_BYTES_USUAL: usize = 112;

impl Builder {
    /// Begins a record of about so many changes.
    pub fn with_capacity(committed: TimestampMs, changes: usize) -> Self {
        let mut value = Vec::with_capacity(HEAD_BYTES + changes * ENTRY_BYTES_USUAL);
        value.push(TAG);
        value.extend_from_slice(&committed.get().to_be_bytes());
        value.extend_from_slice(&0_u32.to_be_bytes());
        Self { value, count: 0 }
    }

    /// Appends a change.
    pub fn push(
        &mut self,
        object: &ObjectId,
        shard_key: ShardKey,
        version: Version,
        kind: ActionKind,
        tombstone: bool,
        identity: Option<Identity>,
    ) {
        self.count += 1;
        let flags = if identity.is_some() { IDENTIFIED } else { 0 } | if tombstone { TOMBSTONE } else { 0 };
        self.value.extend_from_slice(&[kind as u8, flags]);
        self.value.extend_from_slice(&shard_key.get().to_be_bytes());
        self.value.extend_from_slice(&version.get().to_be_bytes());
        if let Some(identity) = identity {
            self.value.extend_from_slice(&identity.id.bits().to_be_bytes());
            self.value.extend_from_slice(&identity.intent.to_be_bytes());
        }
        let text = object.as_text().as_bytes();
        self.value.extend_from_slice(&(text.len() as u16).to_be_bytes());
        self.value.extend_from_slice(text);
    }

    /// The value.
    pub fn finish(mut self) -> Vec<u8> {
        self.value[COUNT_AT..COUNT_AT + 4].copy_from_slice(&self.count.to_be_bytes());
        self.value
    }
}

impl Record {
    /// Decodes the value.
    pub fn decode(value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let committed = TimestampMs::new(cut.u64()?);
        let count = cut.u32()? as usize;
        let mut entries = Vec::with_capacity(count.min(cut.rest.len() / ENTRY_BYTES_MIN));
        for _ in 0..count {
            entries.push(decode_entry(&mut cut)?);
        }
        cut.end()?;
        Ok(Self { committed, entries })
    }
}

const ENTRY_BYTES_MIN: usize = 2 + 8 + 8 + 2;

fn decode_entry(cut: &mut Cut<'_>) -> Result<Entry, DamagedRecord> {
    let kind = ActionKind::from_number(cut.u8()?.into()).ok_or(cut.damaged("no such kind of action"))?;
    let flags = cut.u8()?;
    if flags & !(IDENTIFIED | TOMBSTONE) != 0 {
        return Err(cut.damaged("it has flags of another format"));
    }
    let shard_key = ShardKey::new(cut.u64()?);
    let version = Version::new(cut.u64()?);
    let identity = if flags & IDENTIFIED == 0 {
        None
    } else {
        Some(Identity { id: ActionId::from_bits(cut.u128()?), intent: cut.u128()? })
    };
    let len = cut.u16()?;
    let text = cut.text(len.into())?;
    let object = ObjectId::from_text(text).map_err(|_| cut.damaged("its object is no object"))?;
    Ok(Entry { object, shard_key, version, kind, tombstone: flags & TOMBSTONE != 0, identity })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let identity = proptest::option::of((any::<u128>(), any::<u128>()));
        ("[a-z]{1,9}", any::<u64>(), any::<u64>(), 1..=5_u64, any::<bool>(), identity).prop_map(
            |(name, key, version, kind, tombstone, identity)| Entry {
                object: ObjectId::new("client", "type", &name).unwrap(),
                shard_key: ShardKey::new(key),
                version: Version::new(version),
                kind: ActionKind::from_number(kind).unwrap(),
                tombstone,
                identity: identity.map(|(id, intent)| Identity { id: ActionId::from_bits(id), intent }),
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_reads_back(at: u64, entries in proptest::collection::vec(entry(), 0..9)) {
            let mut builder = Builder::with_capacity(TimestampMs::new(at), entries.len());
            for e in &entries {
                builder.push(&e.object, e.shard_key, e.version, e.kind, e.tombstone, e.identity);
            }
            let record = Record { committed: TimestampMs::new(at), entries };
            prop_assert_eq!(Record::decode(&builder.finish()), Ok(record));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }
}
