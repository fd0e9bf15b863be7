//! A turn at an object: its writers wait, and one after the other is done on the tip that the one before made.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use ostrakon_store::{Beside, Change, CommitError, Durable, Note, Place, ReadError, Unit};
use ostrakon_wire::bounds::{RECENT_BYTES_MAX, VERSION_MAX};
use ostrakon_wire::{Action, ActionKind, ObjectId, Payload, ShardKey, TimestampMs, Version};
use tokio::sync::oneshot;

use super::entry::Look;
use super::judge;
use super::sink::Token;
use super::{Known, Made, NotWritten, Owner, Refusal, read_head};
use crate::action_ids::Claim;

/// What tells whether a unit is durable.
pub(crate) type Pending = oneshot::Receiver<Result<Durable, CommitError>>;

/// What is written in a turn.
pub(crate) struct Writing<'a> {
    pub(crate) kind: ActionKind,
    pub(crate) payload: Option<Payload>,
    /// The key for an object that has none recorded.
    pub(crate) new_key: Option<ShardKey>,
    pub(crate) timestamp: TimestampMs,
    pub(crate) claim: &'a mut Option<Claim>,
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
    /// Whether the object is given back.
    ended: bool,
}

impl<'a> Turn<'a> {
    /// Takes the turn, once the object's tip is known.
    pub(crate) fn take(owner: &'a Owner, object: &ObjectId, recent: Recent) -> Result<Self, ReadError> {
        owner.stripe(object).lock().hold(object);
        let (tip, durable) = (Known::absent(), Known::absent());
        let mut turn = Self { owner, object: object.clone(), tip, durable, recent, ended: false };
        turn.tip = turn.look()?;
        turn.durable = turn.tip.clone();
        Ok(turn)
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
            let _ = waiting.blocking_recv();
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

    /// What stands there, or will once what is queued is durable. Whole.
    pub(crate) fn tip(&self) -> &Known {
        &self.tip
    }

    /// What a built-in action makes of it.
    pub(crate) fn apply(&self, action: &Action) -> Result<Option<Payload>, Refusal> {
        judge::apply(action, &self.tip)
    }

    /// Queues a change on top of the tip.
    pub(crate) fn write(&mut self, writing: Writing<'_>) -> Result<(Made, Pending), NotWritten> {
        let Writing { kind, payload, new_key, timestamp, claim, beside } = writing;
        let refused = |refusal| NotWritten::Refused { refusal, stands: self.tip.clone() };
        let version = self.tip.version.next().filter(|version| version.get() <= VERSION_MAX);
        let version = version.ok_or_else(|| refused(Refusal::VersionsSpent))?;
        let shard_key = self.tip.shard_key().or(new_key).ok_or(NotWritten::NoKey)?;
        let number = self.tip.place.map(|place| place.number).or_else(|| self.owner.numbers.draw());
        let number = number.ok_or(NotWritten::Full)?;
        let map = self.owner.views.map();
        let shard = map.shard_of(shard_key);
        let created = self.tip.place.is_none();
        if created {
            self.owner.views.serves(shard).map_err(NotWritten::Read)?;
        }
        let change = Change {
            object: self.tip.object().unwrap_or(&self.object).clone(),
            place: Place { shard_key, number },
            shard,
            epoch: map.epoch(),
            version,
            kind,
            payload,
            timestamp,
            identity: claim.as_ref().map(Claim::identity),
            new_object: created,
            beside,
        };
        let tip = Known::of_change(&change);
        let pending = self.submit(Unit::Change(change), claim, Some(&tip))?;
        self.recent.made(version, tip.live().map(|live| live.payload));
        self.tip = tip;
        Ok((Made { shard_key, version, created }, pending))
    }

    /// Queues a note behind what made the tip.
    pub(crate) fn note(&mut self, note: Note, claim: &mut Option<Claim>) -> Result<Pending, NotWritten> {
        self.submit(Unit::Note(Box::new(note)), claim, None)
    }

    fn submit(&mut self, unit: Unit, claim: &mut Option<Claim>, makes: Option<&Known>) -> Result<Pending, NotWritten> {
        // Nothing is built on a tip that never became durable.
        if self.owner.committer.stats().failed.load(Ordering::Relaxed) {
            return Err(NotWritten::Commit(CommitError::Failed));
        }
        let (reply, pending) = oneshot::channel();
        let token = Token { claim: claim.take(), reply };
        let mut stripe = loop {
            let mut stripe = self.owner.stripe(&self.object).lock();
            let waiting = match stripe.look(&self.object) {
                _ if makes.is_none() => break stripe,
                Look::Tip(_) => break stripe,
                Look::Known(known) if known.version == self.tip.version => {
                    self.durable = known.clone();
                    break stripe;
                }
                // What was queued is durable, and no longer kept: what is told of the object is read again.
                Look::Known(_) | Look::Nothing if self.durable.version == self.tip.version => break stripe,
                Look::Known(_) | Look::Nothing => None,
                // A reader that loads the object must not find a tip in its place.
                Look::Loading => Some(stripe.wait(&self.object)),
            };
            drop(stripe);
            match waiting {
                Some(loaded) => drop(loaded.blocking_recv()),
                None => match read_head(&self.owner.views().latest(), &self.object) {
                    Ok(durable) => self.durable = durable,
                    Err(error) => {
                        *claim = token.claim;
                        return Err(NotWritten::Read(error));
                    }
                },
            }
        };
        match self.owner.committer.submit(unit, token) {
            Ok(()) => {
                if let Some(tip) = makes {
                    let object = tip.object().unwrap_or(&self.object).clone();
                    stripe.advance(object, self.durable.clone(), tip.clone());
                }
                Ok(pending)
            }
            Err((token, _full)) => {
                *claim = token.claim;
                let failed = self.owner.committer.stats().failed.load(Ordering::Relaxed);
                Err(if failed { NotWritten::Commit(CommitError::Failed) } else { NotWritten::Full })
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
