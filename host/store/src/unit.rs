//! What is committed: a version of an object, or a note that none was made, and the cases that it opens or ends.

use std::sync::Arc;

use ostrakon_core::{ShardMap, Spot};
use ostrakon_wire::{ActionId, ActionKind, ObjectId, Payload, Revision, ShardId, ShardKey, TimestampMs, Version};

use crate::disk::{Batch, Table};
use crate::migrate::Step;
use crate::planted::{self, Fault};
use crate::record::case::{self, Escalation, Ticket};
use crate::record::locator::Place;
use crate::record::log::{self, Identity, Outcome};
use crate::record::meta::Retention;
use crate::stretch::Left;

/// One change of one object: one row, and its part of the group's log record.
#[derive(Debug, Clone)]
pub struct Change {
    /// The object.
    pub object: ObjectId,
    /// Where its rows stand, or from now on stand.
    pub place: Place,
    /// The version that is made.
    pub version: Version,
    /// What makes it.
    pub kind: ActionKind,
    /// What is stored; `None` for a tombstone.
    pub payload: Option<Payload>,
    /// When, as the client or else the host told.
    pub timestamp: TimestampMs,
    /// The action's id.
    pub identity: Option<Identity>,
    /// Who asked for it: the name in the certificate.
    pub by: Option<Arc<str>>,
    /// Whether the object has no locator yet.
    pub new_object: bool,
    /// What else is written with it.
    pub beside: Option<Box<Beside>>,
}

/// What is written beside a change.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    /// The policy's reply to the caller.
    pub reply: Vec<u8>,
    /// Cases that the change opens or ends.
    pub cases: Vec<CaseWrite>,
}

/// A commit unit that makes no version: its part of the group's log record, and cases.
#[derive(Debug, Clone)]
pub struct Note {
    /// The object.
    pub object: ObjectId,
    /// The key it is recorded under; 0 for an object that never was.
    pub shard_key: ShardKey,
    /// The version that stands there.
    pub version: Version,
    /// What the action would have done.
    pub kind: ActionKind,
    /// The action's id, where this is what it came to.
    pub identity: Option<Identity>,
    /// What it came to.
    pub outcome: Outcome,
    /// What is to be said of it; see [`Outcome`].
    pub text: Vec<u8>,
    /// Cases that it opens or ends.
    pub cases: Vec<CaseWrite>,
}

/// A deleted object of which nothing is kept any longer.
#[derive(Debug, Clone)]
pub struct Forget {
    /// The object.
    pub object: ObjectId,
    /// Where its rows stand.
    pub place: Place,
    /// Its last version, a tombstone.
    pub version: Version,
    /// The commit unit that made that.
    pub revision: Revision,
    /// What else stands there.
    pub older: Vec<Version>,
}

/// An object that comes to stand elsewhere.
#[derive(Debug, Clone)]
pub struct Rekey {
    /// The object.
    pub object: ObjectId,
    /// Where its rows stand.
    pub from: Place,
    /// Where they stand from now on; its number stays.
    pub to: Place,
    /// Its newest version, which does not change.
    pub version: Version,
}

/// What is done to the store for its own sake. It takes no revision.
#[derive(Debug, Clone)]
pub enum Upkeep {
    /// Versions that are no heads leave history.
    Drop(Vec<(Place, Version)>),
    /// These rows leave a shard that has given them away.
    Sweep(Left),
    /// From now on so much is kept.
    Retain(Arc<Retention>),
    /// A step of a migration.
    Migrate(Arc<Step>),
    /// From now on the planner goes by this; the bytes are its own.
    Planning(Arc<[u8]>),
}

/// How a case is changed.
#[derive(Debug, Clone)]
pub enum CaseWrite {
    /// A detached action waits from now on.
    OpenTicket(Box<Ticket>),
    /// It is done.
    CloseTicket {
        /// The client of its object.
        client: String,
        /// Its id.
        id: ActionId,
    },
    /// An escalation is opened; its number is the revision of its unit.
    OpenEscalation(Box<Escalation>),
    /// An escalation is settled.
    SettleEscalation(Revision, Box<Escalation>),
    /// A settled escalation is forgotten.
    DropEscalation(Revision),
}

/// One atomic step: what takes one revision.
#[derive(Debug, Clone)]
pub enum Unit {
    /// A version of an object.
    Change(Change),
    /// None.
    Note(Box<Note>),
    /// Several of these, of an object each, all or nothing; and where what they depend on stands, beside their own.
    Together(Vec<Unit>, Vec<Place>),
    /// An object is forgotten.
    Forget(Box<Forget>),
    /// An object is recorded under another key from now on, with all of its versions.
    Rekey(Box<Rekey>),
    /// Nothing that anybody reads changes.
    Upkeep(Upkeep),
}

impl Unit {
    /// The units that it is made of: itself, where it is none of several.
    pub fn parts(&self) -> &[Self] {
        match self {
            Self::Together(parts, _) => parts,
            single => std::slice::from_ref(single),
        }
    }

    /// The change that it is, if it is one.
    pub fn change(&self) -> Option<&Change> {
        match self {
            Self::Change(change) => Some(change),
            _ => None,
        }
    }

    /// The objects that it writes or says something of.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &ObjectId> {
        self.parts().iter().filter_map(|part| match part {
            Self::Change(change) => Some(&change.object),
            Self::Note(note) => Some(&note.object),
            Self::Forget(forget) => Some(&forget.object),
            Self::Rekey(rekey) => Some(&rekey.object),
            Self::Together(..) | Self::Upkeep(_) => None,
        })
    }

    /// Whether it is a commit unit of the log.
    pub(crate) fn takes_revision(&self) -> bool {
        !matches!(self, Self::Upkeep(_))
    }

    /// What it weighs in the queue.
    pub(crate) fn bytes(&self) -> usize {
        let (object, payload, cases) = match self {
            Self::Change(change) => {
                let beside = change.beside.as_ref();
                let payload = change.payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
                let reply = beside.map_or(0, |beside| beside.reply.len());
                (&change.object, payload + reply, beside.map_or(&[][..], |beside| &beside.cases[..]))
            }
            Self::Note(note) => (&note.object, note.text.len(), &note.cases[..]),
            Self::Forget(forget) => (&forget.object, forget.older.len() * DROPPED_BYTES, &[][..]),
            Self::Rekey(rekey) => (&rekey.object, 0, &[][..]),
            Self::Together(parts, _) => return parts.iter().map(Self::bytes).sum(),
            Self::Upkeep(Upkeep::Drop(versions)) => return versions.len() * DROPPED_BYTES,
            Self::Upkeep(Upkeep::Sweep(left)) => return left.keys.len() * DROPPED_BYTES,
            Self::Upkeep(Upkeep::Retain(_) | Upkeep::Migrate(_) | Upkeep::Planning(_)) => return CHANGE_OVERHEAD_BYTES,
        };
        payload + cases.iter().map(CaseWrite::bytes).sum::<usize>() + 2 * object.as_text().len() + CHANGE_OVERHEAD_BYTES
    }

    /// Where it changes rows.
    pub(crate) fn spots(&self) -> impl Iterator<Item = Spot> {
        let of = |part: &Self| match part {
            Self::Change(change) => vec![change.place],
            Self::Forget(forget) => vec![forget.place],
            Self::Rekey(rekey) => vec![rekey.from, rekey.to],
            Self::Upkeep(Upkeep::Drop(versions)) => versions.iter().map(|(place, _)| *place).collect(),
            // What is swept up stands where nobody moves anything.
            Self::Note(_) | Self::Together(..) | Self::Upkeep(_) => Vec::new(),
        };
        self.parts().iter().flat_map(of).map(|place| place.spot())
    }

    /// The cases that it opens or ends.
    pub(crate) fn cases(&self) -> &[CaseWrite] {
        match self {
            Self::Change(change) => change.beside.as_ref().map_or(&[], |beside| &beside.cases[..]),
            Self::Note(note) => &note.cases[..],
            Self::Together(..) | Self::Forget(_) | Self::Rekey(_) | Self::Upkeep(_) => &[],
        }
    }

    /// The shards that it waits with, where they are held back.
    pub(crate) fn shards<'a>(&'a self, map: &'a ShardMap) -> impl Iterator<Item = ShardId> + 'a {
        let asked = match self {
            Self::Together(_, asked) => &asked[..],
            _ => &[],
        };
        let own = self.parts().iter().flat_map(|part| match part {
            Self::Change(change) => [Some(map.holder(change.place.spot())), None],
            // A note waits with its object's changes: it says something of them.
            Self::Note(note) => {
                let mut around = map.shards_around(note.shard_key);
                [around.next(), around.next()]
            }
            Self::Rekey(rekey) => [rekey.from, rekey.to].map(|place| Some(map.holder(place.spot()))),
            // What is made under the name of a forgotten object may come to another shard: nothing overtakes this.
            Self::Forget(_) | Self::Together(..) | Self::Upkeep(_) => [None, None],
        });
        own.flatten().chain(asked.iter().map(|place| map.holder(place.spot())))
    }

    /// Its part of the group's log record, a change or note at a time.
    pub(crate) fn told(&self) -> impl Iterator<Item = log::Told<'_>> {
        let told = self.parts().iter().filter_map(Self::told_alone).enumerate();
        told.map(|(at, told)| match at {
            0 => told,
            // One id, one unit: it is told once.
            _ => log::Told { identity: None, joined: true, ..told },
        })
    }

    fn told_alone(&self) -> Option<log::Told<'_>> {
        match self {
            Self::Change(change) => Some(log::Told {
                object: &change.object,
                shard_key: change.place.shard_key,
                version: change.version,
                kind: change.kind,
                tombstone: change.payload.is_none(),
                identity: change.identity,
                outcome: Outcome::Made,
                note: change.beside.as_ref().map_or(&[], |beside| &beside.reply),
                joined: false,
            }),
            Self::Note(note) => Some(log::Told {
                object: &note.object,
                shard_key: note.shard_key,
                version: note.version,
                kind: note.kind,
                tombstone: false,
                identity: note.identity,
                outcome: note.outcome,
                note: &note.text,
                joined: false,
            }),
            Self::Forget(forget) => Some(log::Told {
                object: &forget.object,
                shard_key: forget.place.shard_key,
                version: forget.version,
                kind: ActionKind::Delete,
                tombstone: true,
                identity: None,
                outcome: Outcome::Forgotten,
                note: &[],
                joined: false,
            }),
            Self::Rekey(rekey) => Some(log::Told {
                object: &rekey.object,
                shard_key: rekey.to.shard_key,
                version: rekey.version,
                kind: ActionKind::Put,
                tombstone: false,
                identity: None,
                outcome: Outcome::Rekeyed,
                note: &[],
                joined: false,
            }),
            Self::Together(..) | Self::Upkeep(_) => None,
        }
    }
}

/// What a version weighs that is dropped.
const DROPPED_BYTES: usize = 48;

impl CaseWrite {
    fn bytes(&self) -> usize {
        let of = |payload: Option<&Payload>| payload.map_or(0, |payload| payload.as_bytes().len());
        match self {
            Self::OpenTicket(ticket) => of(ticket.perform.action.payload()),
            Self::OpenEscalation(case) | Self::SettleEscalation(_, case) => {
                of(case.perform.action.payload()) + of(case.base.as_ref()) + of(case.latest_payload.as_ref())
            }
            Self::CloseTicket { .. } | Self::DropEscalation(_) => 0,
        }
    }

    /// `revision`: that of the unit it belongs to.
    pub(crate) fn write(&self, batch: &mut Batch, meta: &Table, revision: Revision) {
        match self {
            Self::OpenTicket(_) if planted::is(Fault::DropTicket) => {}
            Self::CloseTicket { .. } if planted::is(Fault::KeepTicket) => {}
            Self::OpenEscalation(_) if planted::is(Fault::DropEscalation) => {}
            Self::OpenTicket(ticket) => {
                let id = ticket.perform.action_id.expect("a ticket's action has an id");
                batch.insert(meta, case::ticket_key(ticket.perform.target.object.client(), id), ticket.encode());
            }
            Self::CloseTicket { client, id } => batch.remove(meta, case::ticket_key(client, *id)),
            Self::OpenEscalation(escalation) => {
                batch.insert(meta, case::escalation_key(revision), escalation.encode());
            }
            Self::SettleEscalation(number, escalation) => {
                batch.insert(meta, case::escalation_key(*number), escalation.encode());
            }
            Self::DropEscalation(number) => batch.remove(meta, case::escalation_key(*number)),
        }
    }
}

/// What a change weighs beside its payload and its object's text: keys, headers, its part of the log.
const CHANGE_OVERHEAD_BYTES: usize = 160;
