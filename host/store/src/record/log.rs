//! Log: one record a commit group, without payloads. The feed, the action ids and a mirror's catch-up follow from it.
//!
//! Key: revision of the group's first commit unit (8 bytes, big-endian).
//! Value: tag, time of the commit (8), number of changes (4), then a change at a time: kind, flags, shard key (8), version
//! (8), action id and intent (16 each, if flagged), what it came to (1) and a note behind its length (4) (both if flagged),
//! length of the object's text (2), the text. Every change is a commit unit of its own, but for one that is flagged as
//! joined: it belongs to the unit of the change before. So the next record's key is this one's plus the number of changes
//! that are not joined.

use ostrakon_wire::{ActionId, ActionKind, ObjectId, Revision, ShardKey, TimestampMs, Version};

use super::{Cut, DamagedRecord};

const KIND: &str = "log";
const TAG: u8 = 1;
const IDENTIFIED: u8 = 1;
const TOMBSTONE: u8 = 2;
const NOTED: u8 = 4;
const JOINED: u8 = 8;

/// An action id, and a digest of what it was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The id.
    pub id: ActionId,
    /// Digest of object, kind and body.
    pub intent: u128,
}

/// What a commit unit came to. The numbers are the disk's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Outcome {
    /// A version was made. The note, if there is one, is the policy's reply.
    #[default]
    Made = 0,
    /// None was: the object showed the action's effect already. The note is the policy's reply.
    Applied = 1,
    /// None was: the action was rejected. The note is the code's number (2) and the words.
    Rejected = 2,
    /// None was: the action was given up to a person. The unit's revision is the escalation's number.
    Escalated = 3,
    /// None was yet: the action was detached.
    Detached = 4,
    /// None was: an escalation was settled.
    Settled = 5,
    /// None was: the deleted object is forgotten, rows, locator and all. The version is its last one.
    Forgotten = 6,
    /// None was: the object stands under the shard key that is told, with all of its versions. The version is its newest.
    Rekeyed = 7,
}

impl Outcome {
    /// The outcome of that number.
    pub fn from_number(number: u8) -> Option<Self> {
        let told = [Self::Made, Self::Applied, Self::Rejected, Self::Escalated, Self::Detached, Self::Settled];
        told.into_iter().chain([Self::Forgotten, Self::Rekeyed]).find(|outcome| *outcome as u8 == number)
    }
}

/// One change of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The object.
    pub object: ObjectId,
    /// The key it is recorded under.
    pub shard_key: ShardKey,
    /// The version that was made, or stood there.
    pub version: Version,
    /// What made it.
    pub kind: ActionKind,
    /// Whether that version is a tombstone.
    pub tombstone: bool,
    /// The action's id, where it had one.
    pub identity: Option<Identity>,
    /// What it came to.
    pub outcome: Outcome,
    /// What is to be said of it; see [`Outcome`].
    pub note: Vec<u8>,
    /// Whether it belongs to the commit unit of the one before.
    pub joined: bool,
}

/// One change, as it is told to the log; see [`Entry`].
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The object.
    pub object: &'a ObjectId,
    /// The key it is recorded under.
    pub shard_key: ShardKey,
    /// The version that was made, or stood there.
    pub version: Version,
    /// What made it.
    pub kind: ActionKind,
    /// Whether that version is a tombstone.
    pub tombstone: bool,
    /// The action's id, where it had one.
    pub identity: Option<Identity>,
    /// What it came to.
    pub outcome: Outcome,
    /// What is to be said of it.
    pub note: &'a [u8],
    /// Whether it belongs to the commit unit of the one before.
    pub joined: bool,
}

impl Entry {
    /// The entry, to be told again.
    pub fn told(&self) -> Told<'_> {
        let Self { object, shard_key, version, kind, tombstone, identity, outcome, note, joined } = self;
        Told {
            object,
            shard_key: *shard_key,
            version: *version,
            kind: *kind,
            tombstone: *tombstone,
            identity: *identity,
            outcome: *outcome,
            note,
            joined: *joined,
        }
    }
}

/// One commit group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was committed, by the host's clock.
    pub committed: TimestampMs,
    /// Its changes, in order.
    pub entries: Vec<Entry>,
}

/// The revision of the next change.
fn advance(revision: &mut u64, joined: bool) -> Revision {
    if !joined {
        *revision += 1;
    }
    Revision::new(*revision)
}

impl Record {
    /// How many commit units it tells.
    pub fn units(&self) -> u64 {
        self.entries.iter().filter(|entry| !entry.joined).count() as u64
    }

    /// Its changes with their revisions, where its first is `first`.
    pub fn by_revision(self, first: Revision) -> impl Iterator<Item = (Revision, Entry)> {
        let mut at = first.get() - 1;
        self.entries.into_iter().map(move |entry| (advance(&mut at, entry.joined), entry))
    }
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
    pub fn push(&mut self, entry: &Told<'_>) {
        let Told { object, shard_key, version, kind, tombstone, identity, outcome, note, joined } = *entry;
        self.count += 1;
        let noted = outcome != Outcome::Made || !note.is_empty();
        let flag = |on: bool, flag: u8| if on { flag } else { 0 };
        let flags = flag(identity.is_some(), IDENTIFIED) | flag(tombstone, TOMBSTONE) | flag(noted, NOTED);
        let flags = flags | flag(joined, JOINED);
        self.value.extend_from_slice(&[kind as u8, flags]);
        self.value.extend_from_slice(&shard_key.get().to_be_bytes());
        self.value.extend_from_slice(&version.get().to_be_bytes());
        if let Some(identity) = identity {
            self.value.extend_from_slice(&identity.id.bits().to_be_bytes());
            self.value.extend_from_slice(&identity.intent.to_be_bytes());
        }
        if noted {
            self.value.push(outcome as u8);
            self.value.extend_from_slice(&(note.len() as u32).to_be_bytes());
            self.value.extend_from_slice(note);
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
        if entries.first().is_some_and(|entry| entry.joined) {
            return Err(cut.damaged("its first change belongs to one before it"));
        }
        Ok(Self { committed, entries })
    }
}

const ENTRY_BYTES_MIN: usize = 2 + 8 + 8 + 2;

fn decode_entry(cut: &mut Cut<'_>) -> Result<Entry, DamagedRecord> {
    let kind = ActionKind::from_number(cut.u8()?.into()).ok_or(cut.damaged("no such kind of action"))?;
    let flags = cut.u8()?;
    if flags & !(IDENTIFIED | TOMBSTONE | NOTED | JOINED) != 0 {
        return Err(cut.damaged("it has flags of another format"));
    }
    let shard_key = ShardKey::new(cut.u64()?);
    let version = Version::new(cut.u64()?);
    let identity = if flags & IDENTIFIED == 0 {
        None
    } else {
        Some(Identity { id: ActionId::from_bits(cut.u128()?), intent: cut.u128()? })
    };
    let (outcome, note) = if flags & NOTED == 0 {
        (Outcome::Made, Vec::new())
    } else {
        let outcome = Outcome::from_number(cut.u8()?).ok_or(cut.damaged("no such outcome"))?;
        let len = cut.u32()? as usize;
        let note = cut.bytes(len)?.to_vec();
        if outcome == Outcome::Made && note.is_empty() {
            return Err(cut.damaged("it is flagged to say more, and says nothing"));
        }
        (outcome, note)
    };
    let len = cut.u16()?;
    let text = cut.text(len.into())?;
    let object = ObjectId::from_text(text).map_err(|_| cut.damaged("its object is no object"))?;
    let (tombstone, joined) = (flags & TOMBSTONE != 0, flags & JOINED != 0);
    Ok(Entry { object, shard_key, version, kind, tombstone, identity, outcome, note, joined })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry() -> impl Strategy<Value = Entry> {
        let identity = proptest::option::of((any::<u128>(), any::<u128>()));
        let noted = (0..=7_u8, any::<Vec<u8>>());
        let flags = (any::<bool>(), any::<bool>());
        ("[a-z]{1,9}", any::<u64>(), any::<u64>(), 1..=5_u64, flags, identity, noted).prop_map(
            |(name, key, version, kind, (tombstone, joined), identity, (outcome, note))| Entry {
                object: ObjectId::new("client", "type", &name).unwrap(),
                shard_key: ShardKey::new(key),
                version: Version::new(version),
                kind: ActionKind::from_number(kind).unwrap(),
                tombstone,
                identity: identity.map(|(id, intent)| Identity { id: ActionId::from_bits(id), intent }),
                outcome: Outcome::from_number(outcome).unwrap(),
                note,
                joined,
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_reads_back(at: u64, first in 1..u64::MAX / 2, mut entries in proptest::collection::vec(entry(), 0..9)) {
            entries.first_mut().into_iter().for_each(|entry| entry.joined = false);
            let mut builder = Builder::with_capacity(TimestampMs::new(at), entries.len());
            for e in &entries {
                builder.push(&e.told());
            }
            let record = Record { committed: TimestampMs::new(at), entries };
            prop_assert_eq!(Record::decode(&builder.finish()), Ok(record.clone()));
            let (units, last) = (record.units(), record.by_revision(Revision::new(first)).last());
            prop_assert_eq!(last.map_or(0, |(revision, _)| revision.get() - first + 1), units);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = Record::decode(&bytes);
            let _ = parse_key(&bytes);
        }
    }
}
