//! Migration: what moves between shards, between owners, or to other keys; durable at every step.
//!
//! Key: `migration/` number (8, big-endian) while it runs, `migrated/` number once it has ended.
//! Value: tag, course (1), flags (1: it goes back, 2: paused), how it ended (1, 0 while it runs), begun (8), ended (8), steps
//! (4), longest step (4), objects, rows, bytes and checksum of what has moved (8 each); then of a split or merge its two
//! shards (4 each), first and last key (8 each) and cursor (16), and of a split the new owner (4); of a move its shard and the two owners (4 each); of a re-key
//! the text that its objects begin with and the one it has come to, each behind its length (2). Then what is wrong, why and
//! by whom, each behind its length (2).

use ostrakon_core::Moving;
use ostrakon_wire::{ShardId, ShardKey, TimestampMs};

use super::{Cut, DamagedRecord};

const KIND: &str = "migration";
const TAG: u8 = 1;
const BACK: u8 = 1;
const PAUSED: u8 = 2;
/// What the keys of those begin with that run.
pub const RUNNING_PREFIX: &str = "migration/";
/// What the keys of those begin with that have ended.
pub const ENDED_PREFIX: &str = "migrated/";
/// Longest reason, and longest name of who asked, that are kept, in bytes.
pub const WORDS_BYTES_MAX: usize = 512;

/// What moves where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Course {
    /// A part of a shard becomes one of its own.
    Split {
        /// What moves.
        moving: Moving,
        /// Who owns it once it is one of its own.
        owner: u32,
    },
    /// A shard joins its neighbour, or gives it a part.
    Merge(Moving),
    /// A shard goes to another owner; no row moves.
    Move {
        /// The shard.
        shard: ShardId,
        /// Who had it.
        from: u32,
        /// Who has it.
        to: u32,
    },
    /// Objects come to stand under the keys that the policy wants now, one by one.
    Rekey {
        /// What the texts of the objects begin with.
        prefix: String,
        /// The object that was looked at last; empty at the beginning.
        after: String,
    },
}

/// How one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Ended {
    /// As it was meant.
    Done = 1,
    /// It was called off, and all is where it was.
    Undone = 2,
}

/// What has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Moved {
    /// Objects, deleted ones included.
    pub objects: u64,
    /// Their versions.
    pub rows: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Sum of the digests of the rows.
    pub checksum: u64,
}

impl Moved {
    /// With more.
    pub fn and(self, more: Self) -> Self {
        Self {
            objects: self.objects + more.objects,
            rows: self.rows + more.rows,
            bytes: self.bytes + more.bytes,
            checksum: self.checksum.wrapping_add(more.checksum),
        }
    }
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number; they count up.
    pub number: u64,
    /// What moves where.
    pub course: Course,
    /// It was called off and goes back.
    pub back: bool,
    /// It rests until somebody lets it go on.
    pub paused: bool,
    /// How it ended.
    pub ended: Option<Ended>,
    /// When it began.
    pub begun_at: TimestampMs,
    /// When it ended; 0 while it runs.
    pub ended_at: TimestampMs,
    /// Steps that were made.
    pub steps: u32,
    /// The longest of them, in microseconds, making the new shard among them: so long other writes had to wait at most. 0 for
    /// a re-key, whose objects go with the commits of others.
    pub step_us_max: u32,
    /// What has moved, there or back.
    pub moved: Moved,
    /// What is wrong, where it rests for that; empty where nothing is.
    pub trouble: String,
    /// Why.
    pub why: String,
    /// Who asked for it.
    pub by: String,
}

impl Migration {
    /// One that has just begun.
    pub fn new(number: u64, course: Course, why: &str, by: &str, now: TimestampMs) -> Self {
        Self {
            number,
            course,
            back: false,
            paused: false,
            ended: None,
            begun_at: now,
            ended_at: TimestampMs::default(),
            steps: 0,
            step_us_max: 0,
            moved: Moved::default(),
            trouble: String::new(),
            why: words(why),
            by: words(by),
        }
    }

    /// What moves of the shard map, if rows do.
    pub fn moving(&self) -> Option<&Moving> {
        match &self.course {
            Course::Split { moving, .. } | Course::Merge(moving) => Some(moving),
            Course::Move { .. } | Course::Rekey { .. } => None,
        }
    }

    pub(crate) fn moving_mut(&mut self) -> Option<&mut Moving> {
        match &mut self.course {
            Course::Split { moving, .. } | Course::Merge(moving) => Some(moving),
            Course::Move { .. } | Course::Rekey { .. } => None,
        }
    }

    /// The shards that have part in it.
    pub fn shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let [one, other] = match &self.course {
            Course::Split { moving, .. } | Course::Merge(moving) => [Some(moving.from), Some(moving.to)],
            Course::Move { shard, .. } => [Some(*shard), None],
            Course::Rekey { .. } => [None, None],
        };
        one.into_iter().chain(other)
    }

    /// The shard that has given what moved, there or back, once it has ended.
    pub fn gave(&self) -> Option<ShardId> {
        let back = self.ended? == Ended::Undone;
        Some(self.moving()?.gives_and_takes(back).0)
    }

    /// The key of its record.
    pub fn key(&self) -> Vec<u8> {
        let prefix = if self.ended.is_some() { ENDED_PREFIX } else { RUNNING_PREFIX };
        key_of(prefix, self.number)
    }

    /// Encodes the value.
    pub fn encode(&self) -> Vec<u8> {
        let number = match &self.course {
            Course::Split { .. } => 1,
            Course::Merge(_) => 2,
            Course::Move { .. } => 3,
            Course::Rekey { .. } => 4,
        };
        let flags = if self.back { BACK } else { 0 } | if self.paused { PAUSED } else { 0 };
        let mut value = vec![TAG, number, flags, self.ended.map_or(0, |ended| ended as u8)];
        value.extend_from_slice(&self.begun_at.get().to_be_bytes());
        value.extend_from_slice(&self.ended_at.get().to_be_bytes());
        value.extend_from_slice(&self.steps.to_be_bytes());
        value.extend_from_slice(&self.step_us_max.to_be_bytes());
        let Moved { objects, rows, bytes, checksum } = self.moved;
        for number in [objects, rows, bytes, checksum] {
            value.extend_from_slice(&number.to_be_bytes());
        }
        let push = |value: &mut Vec<u8>, text: &str| {
            value.extend_from_slice(&(text.len() as u16).to_be_bytes());
            value.extend_from_slice(text.as_bytes());
        };
        match &self.course {
            Course::Split { moving, .. } | Course::Merge(moving) => {
                let Moving { from, to, start, last, cursor } = moving;
                value.extend_from_slice(&from.get().to_be_bytes());
                value.extend_from_slice(&to.get().to_be_bytes());
                for number in [start.get(), last.get(), cursor.0.get(), cursor.1] {
                    value.extend_from_slice(&number.to_be_bytes());
                }
                if let Course::Split { owner, .. } = &self.course {
                    value.extend_from_slice(&owner.to_be_bytes());
                }
            }
            Course::Move { shard, from, to } => {
                for number in [shard.get(), *from, *to] {
                    value.extend_from_slice(&number.to_be_bytes());
                }
            }
            Course::Rekey { prefix, after } => {
                push(&mut value, prefix);
                push(&mut value, after);
            }
        }
        push(&mut value, &self.trouble);
        push(&mut value, &self.why);
        push(&mut value, &self.by);
        value
    }

    /// Decodes key and value.
    pub fn decode(key: &[u8], value: &[u8]) -> Result<Self, DamagedRecord> {
        let mut cut = Cut::new(KIND, value, TAG)?;
        let prefix = [RUNNING_PREFIX, ENDED_PREFIX].into_iter().find_map(|prefix| key.strip_prefix(prefix.as_bytes()));
        let number = prefix.and_then(|number| number.try_into().ok()).map(u64::from_be_bytes);
        let number = number.ok_or(cut.damaged("its key has no number"))?;
        let (course, flags, ended) = (cut.u8()?, cut.u8()?, cut.u8()?);
        if flags & !(BACK | PAUSED) != 0 {
            return Err(cut.damaged("it has flags of another format"));
        }
        let ended = match ended {
            0 => None,
            1 => Some(Ended::Done),
            2 => Some(Ended::Undone),
            _ => return Err(cut.damaged("no such end")),
        };
        let (begun_at, ended_at) = (TimestampMs::new(cut.u64()?), TimestampMs::new(cut.u64()?));
        let (steps, step_us_max) = (cut.u32()?, cut.u32()?);
        let moved = Moved { objects: cut.u64()?, rows: cut.u64()?, bytes: cut.u64()?, checksum: cut.u64()? };
        let course = match course {
            1 => Course::Split { moving: moving(&mut cut)?, owner: cut.u32()? },
            2 => Course::Merge(moving(&mut cut)?),
            3 => Course::Move { shard: ShardId::new(cut.u32()?), from: cut.u32()?, to: cut.u32()? },
            4 => Course::Rekey { prefix: text(&mut cut)?, after: text(&mut cut)? },
            _ => return Err(cut.damaged("no such course")),
        };
        let (trouble, why, by) = (text(&mut cut)?, text(&mut cut)?, text(&mut cut)?);
        cut.end()?;
        let (back, paused) = (flags & BACK != 0, flags & PAUSED != 0);
        Ok(Self {
            number,
            course,
            back,
            paused,
            ended,
            begun_at,
            ended_at,
            steps,
            step_us_max,
            moved,
            trouble,
            why,
            by,
        })
    }
}

/// As much of a text as is kept.
pub(crate) fn words(text: &str) -> String {
    text[..text.floor_char_boundary(WORDS_BYTES_MAX)].to_owned()
}

/// The key of a record under a prefix.
pub fn key_of(prefix: &str, number: u64) -> Vec<u8> {
    [prefix.as_bytes(), &number.to_be_bytes()].concat()
}

fn moving(cut: &mut Cut<'_>) -> Result<Moving, DamagedRecord> {
    let (from, to) = (ShardId::new(cut.u32()?), ShardId::new(cut.u32()?));
    let (start, last) = (ShardKey::new(cut.u64()?), ShardKey::new(cut.u64()?));
    Ok(Moving { from, to, start, last, cursor: (ShardKey::new(cut.u64()?), cut.u64()?) })
}

fn text(cut: &mut Cut<'_>) -> Result<String, DamagedRecord> {
    let len = cut.u16()?;
    Ok(cut.text(len.into())?.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn courses() -> impl Strategy<Value = Course> {
        let moving = any::<(u32, u32, u64, u64, (u64, u64))>().prop_map(|(from, to, start, last, cursor)| Moving {
            from: ShardId::new(from),
            to: ShardId::new(to),
            start: ShardKey::new(start),
            last: ShardKey::new(last),
            cursor: (ShardKey::new(cursor.0), cursor.1),
        });
        prop_oneof![
            (moving.clone(), any::<u32>()).prop_map(|(moving, owner)| Course::Split { moving, owner }),
            moving.prop_map(Course::Merge),
            any::<(u32, u32, u32)>().prop_map(|(shard, from, to)| Course::Move {
                shard: ShardId::new(shard),
                from,
                to
            }),
            ("[a-z\0]{0,30}", ".{0,30}").prop_map(|(prefix, after)| Course::Rekey { prefix, after }),
        ]
    }

    proptest! {
        #[test]
        fn a_migration_reads_back(number: u64, course in courses(), flags: (bool, bool), end in 0..3_usize, moved: [u64; 4],
                                  at: (u64, u64), steps: (u32, u32), why in ".{0,40}", by in ".{0,9}") {
            let migration = Migration {
                back: flags.0,
                paused: flags.1,
                ended: [None, Some(Ended::Done), Some(Ended::Undone)][end],
                ended_at: TimestampMs::new(at.1),
                steps: steps.0,
                step_us_max: steps.1,
                moved: Moved { objects: moved[0], rows: moved[1], bytes: moved[2], checksum: moved[3] },
                ..Migration::new(number, course, &why, &by, TimestampMs::new(at.0))
            };
            prop_assert_eq!(Migration::decode(&migration.key(), &migration.encode()), Ok(migration));
        }

        #[test]
        fn no_bytes_make_it_panic(key: Vec<u8>, bytes: Vec<u8>) {
            let _ = Migration::decode(&key, &bytes);
            let _ = Migration::decode(&key_of(RUNNING_PREFIX, 1), &bytes);
        }
    }
}
