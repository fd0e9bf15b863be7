//! A turn at an object: its writers wait, and one after the other is done on the tip that the one before made.

use std::collections::VecDeque;
use std::sync::Arc;

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Beside, CommitError, Note, ReadError};
use ostrakon_wire::bounds::RECENT_BYTES_MAX;
use ostrakon_wire::{Action, ActionKind, ObjectId, Payload, ShardKey, TimestampMs, Version};
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::entry::{Look, Stripe};
use super::judge;
use super::{Known, Made, Making, NotWritten, Owner, Pending, Refusal, read_head};
use crate::action_ids::Claim;

/// What is written in a turn.
pub(crate) struct Writing {
    pub(crate) kind: ActionKind,
    pub(crate) payload: Option<Payload>,
    /// The key for an object that has none recorded.
    pub(crate) new_key: Option<ShardKey>,
    pub(crate) timestamp: TimestampMs,
    pub(crate) by: Option<Arc<str>>,
    pub(crate) beside: Option<Box<Beside>>,
}

/// Versions that an object's last turns made: most of what waits was made for one of them.
#[derive(Default)]
pub(crate) struct Recent {
    versions: VecDeque<(Version, Payload)>,
    bytes: usize,
}

/// What a version takes beside its payload.
const RECENT_OVERHEAD_BYTES: usize = 64;

impl Recent {
    fn made(&mut self, version: Version, payload: Option<&Payload>) {
        let Some(payload) = payload else { return };
        let weigh = |payload: &Payload| payload.as_bytes().len() + RECENT_OVERHEAD_BYTES;
        self.bytes += weigh(payload);
        self.versions.push_back((version, payload.clone()));
        while self.bytes > RECENT_BYTES_MAX
            && let Some((_, oldest)) = self.versions.pop_front()
        {
            self.bytes -= weigh(&oldest);
        }
    }

    fn get(&self, version: Version) -> Option<&Payload> {
        let place = self.versions.binary_search_by_key(&version, |(version, _)| *version).ok()?;
        self.versions.get(place).map(|(_, payload)| payload)
    }
}

/// The right to be the only writer of an object. Blocks the thread where it has to wait.
pub(crate) struct Turn<'a> {
    owner: &'a Owner,
    object: ObjectId,
    tip: Known,
    /// What stood there durable when it was looked at last.
    durable: Known,
    recent: Recent,
    /// Bytes that were queued.
    written_bytes: usize,
    /// Whether the object is given back.
    ended: bool,
}

impl<'a> Turn<'a> {
    /// Takes the turn, once the object's tip is known. `None`: a transaction has the object.
    pub(crate) fn take(owner: &'a Owner, object: &ObjectId, recent: Recent) -> Result<Option<Self>, ReadError> {
        if owner.stripe(object).lock().hold(object).is_err() {
            return Ok(None);
        }
        let (tip, durable) = (Known::absent(Version::ABSENT), Known::absent(Version::ABSENT));
        let mut turn = Self { owner, object: object.clone(), tip, durable, recent, written_bytes: 0, ended: false };
        turn.tip = turn.look()?;
        turn.durable = turn.tip.clone();
        Ok(Some(turn))
    }

    fn look(&self) -> Result<Known, ReadError> {
        loop {
            let waiting = {
                let mut stripe = self.owner.stripe(&self.object).lock();
                match stripe.look(&self.object) {
                    Look::Known(known) if known.is_whole() => return Ok(known.clone()),
                    Look::Tip(tip) => return Ok(tip.head.clone()),
                    Look::Loading => stripe.wait(&self.object),
                    // No writer is let in, and nothing is on its way: the newest view holds what stands there.
                    Look::Known(_) | Look::Nothing => break,
                }
            };
            self.owner.readers.wait(waiting);
        }
        read_head(&self.owner.views().latest(), &self.object)
    }

    /// A version that the last turns made.
    pub(crate) fn recently(&self, version: Version) -> Option<&Payload> {
        self.recent.get(version)
    }

    /// Ends the turn. What it knows is for the next one; whether other writers have waited for the end.
    pub(crate) fn end(mut self) -> (Recent, bool) {
        self.ended = true;
        let others_wait = self.owner.stripe(&self.object).lock().give_back(&self.object);
        (std::mem::take(&mut self.recent), others_wait)
    }

    /// Bytes of the payloads that were queued in this turn.
    pub(crate) fn written_bytes(&self) -> usize {
        self.written_bytes
    }

    /// What stands there, or will once what is queued is durable. Whole.
    pub(crate) fn tip(&self) -> &Known {
        &self.tip
    }

    /// What a built-in action makes of it.
    pub(crate) fn apply(&self, action: &Action) -> Result<Option<Payload>, Refusal> {
        judge::apply(action, if planted::is(Fault::IgnoreTheTip) { &self.durable } else { &self.tip })
    }

    /// Queues a change on top of the tip.
    pub(crate) fn write(&mut self, writing: Writing, claim: &mut Option<Claim>) -> Result<(Made, Pending), NotWritten> {
        let Writing { kind, payload, new_key, timestamp, by, beside } = writing;
        let spent = |refusal| NotWritten::Refused { refusal, stands: self.tip.clone() };
        let version = self.tip.next_version().map_err(spent)?;
        let shard_key = self.tip.shard_key().or(new_key).ok_or(NotWritten::NoKey)?;
        let making = Making { shard_key, version, kind, payload, timestamp, by, beside };
        let change = self.owner.change(&self.object, &self.tip, making, claim.as_ref())?;
        let tip = Known::of_change(&change);
        let mut stripe = self.lock()?;
        let queued = self.owner.queue(&mut stripe, change, self.durable.clone(), tip.clone(), claim)?;
        self.written_bytes += tip.live().map_or(0, |live| live.payload.as_bytes().len());
        self.recent.made(version, tip.live().map(|live| live.payload));
        self.tip = tip;
        Ok(queued)
    }

    /// Queues a note behind what made the tip.
    pub(crate) fn note(&self, note: Note, claim: &mut Option<Claim>) -> Result<Pending, NotWritten> {
        self.owner.note(note, claim)
    }

    /// The object's lock, once nobody loads the object and its durable head is known, or a tip is on its way.
    fn lock(&mut self) -> Result<MutexGuard<'a, Stripe>, NotWritten> {
        let owner = self.owner;
        loop {
            let mut stripe = owner.stripe(&self.object).lock();
            let loading = match stripe.look(&self.object) {
                Look::Tip(_) => return Ok(stripe),
                Look::Known(known) if known.version == self.tip.version => {
                    self.durable = known.clone();
                    return Ok(stripe);
                }
                Look::Known(_) | Look::Nothing if self.durable.version == self.tip.version => return Ok(stripe),
                // What was queued is durable, and no longer kept: what is told of the object is read again.
                Look::Known(_) | Look::Nothing => None,
                // A reader that loads the object must not find a tip in its place.
                Look::Loading => Some(stripe.wait(&self.object)),
            };
            drop(stripe);
            match loading {
                Some(loaded) => owner.readers.wait(loaded),
                None => {
                    self.durable = read_head(&owner.views().latest(), &self.object).map_err(NotWritten::Read)?;
                    // It is not on its way and not there: it never will be.
                    if self.durable.version != self.tip.version {
                        return Err(NotWritten::Commit(CommitError::Failed));
                    }
                }
            }
        }
    }

    /// Waits for what is queued, if anything is: the receiver ends when the tip is durable.
    pub(crate) fn settled(&self) -> Option<oneshot::Receiver<()>> {
        let mut stripe = self.owner.stripe(&self.object).lock();
        let in_flight = matches!(stripe.look(&self.object), Look::Tip(_));
        in_flight.then(|| stripe.wait_settled(&self.object))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.owner.stripe(&self.object).lock().give_back(&self.object);
        }
    }
}
