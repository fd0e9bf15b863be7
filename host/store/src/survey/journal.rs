//! Walks the engine's journals as it will itself, and tells what it would not: where acknowledged changes are damaged.
//!
//! The engine takes whatever it cannot read for the torn end of the last write, cuts the file there and goes on without a
//! word. So a journal is read here first, under stricter rules. Its format (little-endian, batches back to back from the
//! file's beginning, zeros behind the last):
//!
//! ```text
//! start  01, items (4), seqno (8)
//! item   02, value type (1), compression (1), keyspace (8), key length (2), value length (4), stored length (4), key, value
//! clear  04, keyspace (8)
//! end    03, xxh3-64 of all items (8), "FJL" 03
//! ```
//!
//! Every batch is synced before the next one is begun. So only the last one can be torn, and whatever is unreadable
//! before it was acknowledged, in this journal or in one before.

use ostrakon_wire::Revision;
use xxhash_rust::xxh3::xxh3_64;

use crate::record::log;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8; 4] = b"FJL\x03";
/// Value, tombstone, weak tombstone.
const VALUE_TYPES: [u8; 3] = [0, 1, 2];
const VALUE: u8 = 0;
const UNCOMPRESSED: u8 = 0;

/// So many of the engine's numbers at most lie between a batch and the next.
const NUMBERS_BETWEEN: u64 = 1 << 24;

/// What a journal holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Walk {
    /// Where its last whole batch ends, in bytes.
    pub(crate) end: usize,
    /// The engine's number of that batch.
    pub(crate) seqno: Option<u64>,
    /// The last revision that its log records hold.
    pub(crate) revision: Option<Revision>,
    /// What stands behind the last whole batch.
    pub(crate) rest: Rest,
}

/// What stands behind the last whole batch of a journal.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing, or the zeros that the file was made with.
    #[default]
    Nothing,
    /// Bytes that may be a write that was cut off.
    Torn(&'static str),
    /// Bytes behind which a whole batch stands: they were whole once.
    Damaged(&'static str),
}

/// Reads a journal; `log_keyspace` tells the log's records apart, `after` is the last number of the journal before.
pub(crate) fn walk(bytes: &[u8], log_keyspace: u64, after: Option<u64>) -> Walk {
    let mut walk = Walk { seqno: after, ..Walk::default() };
    loop {
        let rest = &bytes[walk.end..];
        match Batch::parse(rest, log_keyspace) {
            Ok(batch) if walk.seqno.is_none_or(|before| before < batch.seqno) => {
                walk.end += batch.bytes;
                walk.seqno = Some(batch.seqno);
                walk.revision = batch.revision.or(walk.revision);
            }
            // Numbers are under no checksum; one out of order would have the engine skip the batch.
            Ok(_) => {
                walk.rest = Rest::Damaged("a batch has a number out of order");
                return walk;
            }
            Err(_) if rest.iter().all(|byte| *byte == 0) => return walk,
            Err(fault) if holds_batch(&rest[1..], log_keyspace, walk.seqno) => {
                walk.rest = Rest::Damaged(fault);
                return walk;
            }
            Err(fault) => {
                walk.rest = Rest::Torn(fault);
                return walk;
            }
        }
    }
}

/// Whether a whole batch begins anywhere that may have followed the one with that number: payloads hold what they like, and
/// that may be the batches of an earlier journal.
fn holds_batch(bytes: &[u8], log_keyspace: u64, before: Option<u64>) -> bool {
    let starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == START);
    let may_follow = |seqno: u64| {
        before.is_none_or(|before| seqno.checked_sub(before).is_some_and(|on| (1..=NUMBERS_BETWEEN).contains(&on)))
    };
    let batch = |at| Batch::parse(&bytes[at..], log_keyspace).is_ok_and(|batch| may_follow(batch.seqno));
    starts.into_iter().any(|(at, _)| batch(at))
}

struct Batch {
    bytes: usize,
    seqno: u64,
    revision: Option<Revision>,
}

impl Batch {
    fn parse(bytes: &[u8], log_keyspace: u64) -> Result<Self, &'static str> {
        let mut cut = Cut(bytes);
        if cut.u8()? != START {
            return Err("no batch begins there");
        }
        let (items, seqno) = (cut.u32()?, cut.u64()?);
        if items == 0 {
            return Err("a batch holds nothing");
        }
        let body = cut.0;
        let mut revision = None;
        for _ in 0..items {
            match cut.u8()? {
                ITEM => {
                    let item = Item::parse(&mut cut)?;
                    if item.keyspace == log_keyspace && item.value_type == VALUE {
                        // One that cannot be read is whole all the same; who reads the log says so.
                        revision = item.last_revision().or(revision);
                    }
                }
                CLEAR => drop(cut.u64()?),
                _ => return Err("an item has an unknown tag"),
            }
        }
        let body = &body[..body.len() - cut.0.len()];
        if cut.u8()? != END {
            return Err("a batch has more items than it says");
        }
        if cut.u64()? != xxh3_64(body) {
            return Err("a batch does not match its checksum");
        }
        if cut.bytes(TRAILER.len())? != TRAILER {
            return Err("a batch has no trailer");
        }
        Ok(Self { bytes: bytes.len() - cut.0.len(), seqno, revision })
    }
}

struct Item<'a> {
    value_type: u8,
    keyspace: u64,
    key: &'a [u8],
    value: &'a [u8],
}

impl<'a> Item<'a> {
    fn parse(cut: &mut Cut<'a>) -> Result<Self, &'static str> {
        let (value_type, compression, keyspace) = (cut.u8()?, cut.u8()?, cut.u64()?);
        if !VALUE_TYPES.contains(&value_type) || compression != UNCOMPRESSED {
            return Err("an item is of an unknown type");
        }
        let (key, plain, stored) = (cut.u16()?, cut.u32()?, cut.u32()?);
        if plain != stored {
            return Err("an item has two lengths");
        }
        let (key, value) = (cut.bytes(key.into())?, cut.bytes(stored as usize)?);
        Ok(Self { value_type, keyspace, key, value })
    }

    fn last_revision(&self) -> Option<Revision> {
        let first = log::parse_key(self.key).ok()?;
        let record = log::Record::decode(self.value).ok()?;
        Some(Revision::new((first.get() + record.entries.len() as u64).saturating_sub(1)))
    }
}

/// Takes little-endian numbers and bytes off the front.
struct Cut<'a>(&'a [u8]);

impl<'a> Cut<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], &'static str> {
        let (piece, rest) = self.0.split_at_checked(len).ok_or("a batch ends too early")?;
        self.0 = rest;
        Ok(piece)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (piece, rest) = self.0.split_first_chunk().ok_or("a batch ends too early")?;
        self.0 = rest;
        Ok(*piece)
    }

    fn u8(&mut self) -> Result<u8, &'static str> {
        self.fixed().map(u8::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, &'static str> {
        self.fixed().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, &'static str> {
        self.fixed().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, &'static str> {
        self.fixed().map(u64::from_le_bytes)
    }
}
