//! What the committing thread tells the owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ostrakon_store::{CaseWrite, CommitError, Durable, Floors, Outcome, Settled, Sink, Unit};
use ostrakon_wire::{ActionId, ObjectId, Revision};
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot;

use super::entry::{Stripe, stripe_of};
use crate::action_ids::{ActionIds, Claim, Done};
use crate::feed::Told;

/// What travels with a change through the commit queue.
pub(crate) struct Token {
    pub(super) claim: Option<Claim>,
    pub(super) reply: oneshot::Sender<Result<Durable, CommitError>>,
}

/// Up to which revision the owner's durable heads are those of the newest read view.
pub(super) struct SettledUpTo(AtomicU64);

impl SettledUpTo {
    pub(super) fn new(revision: Revision) -> Self {
        Self(AtomicU64::new(revision.get()))
    }

    pub(super) fn get(&self) -> Revision {
        Revision::new(self.0.load(Ordering::Acquire))
    }
}

/// The ticket that a unit opens.
fn opened(unit: &Unit) -> Option<(&str, ActionId)> {
    let Unit::Note(note) = unit else { return None };
    note.cases.iter().find_map(|case| match case {
        CaseWrite::OpenTicket(ticket) => Some((ticket.perform.target.object.client(), ticket.perform.action_id?)),
        _ => None,
    })
}

/// What a unit's action came to.
fn done(unit: &Unit, revision: Revision) -> Done {
    match &unit.parts()[0] {
        Unit::Change(change) => Done {
            revision,
            version: change.version,
            shard_key: change.place.shard_key,
            outcome: Outcome::Made,
            noted: change.beside.as_ref().is_some_and(|beside| !beside.reply.is_empty()),
        },
        Unit::Note(note) => Done {
            revision,
            version: note.version,
            shard_key: note.shard_key,
            outcome: note.outcome,
            noted: !note.text.is_empty(),
        },
        Unit::Together(..) | Unit::Forget(_) | Unit::Rekey(_) | Unit::Upkeep(_) => {
            unreachable!("it is nobody's action")
        }
    }
}

pub(crate) struct OwnerSink {
    stripes: Arc<[Mutex<Stripe>]>,
    settled: Arc<SettledUpTo>,
    told: Arc<Told>,
    ids: Arc<ActionIds>,
}

impl OwnerSink {
    pub(super) fn new(
        stripes: Arc<[Mutex<Stripe>]>,
        settled: Arc<SettledUpTo>,
        told: Arc<Told>,
        ids: Arc<ActionIds>,
    ) -> Self {
        Self { stripes, settled, told, ids }
    }

    fn stripe(&self, object: &ObjectId) -> MutexGuard<'_, Stripe> {
        self.stripes[stripe_of(object, self.stripes.len())].lock()
    }

    /// The owner's heads are those that the unit leaves.
    fn settle(&self, unit: &Unit, durable: Option<Durable>) {
        for part in unit.parts() {
            match part {
                Unit::Change(change) => self.stripe(&change.object).settle(change, durable),
                Unit::Forget(forget) => self.stripe(&forget.object).forgotten(forget, durable),
                Unit::Rekey(rekey) => self.stripe(&rekey.object).rekeyed(rekey, durable.is_some()),
                Unit::Note(_) | Unit::Together(..) | Unit::Upkeep(_) => {}
            }
        }
    }
}

impl Sink for OwnerSink {
    type Token = Token;

    /// First all of the group is settled, then it is told, so that answers that travel together are woken together.
    fn settled(&self, group: Vec<Settled<Token>>) {
        let mut replies = Vec::with_capacity(group.len());
        let mut telling = self.told.begin();
        for Settled { unit, token, outcome } in group {
            self.settle(&unit, outcome.as_ref().ok().copied());
            if let Ok(durable) = &outcome {
                self.settled.0.fetch_max(durable.revision.get(), Ordering::Release);
                if let Some(claim) = token.claim {
                    claim.record(done(&unit, durable.revision));
                } else if let Some((client, id)) = opened(&unit) {
                    self.ids.ticket(client, id);
                }
            }
            if let Ok(durable) = &outcome {
                telling.add(unit, durable.revision);
            }
            replies.push((token.reply, outcome));
        }
        for (reply, outcome) in replies {
            // The one who asked may have gone; the change stands all the same.
            let _ = reply.send(outcome);
        }
        telling.end();
    }

    fn floors(&self, floors: &Floors) {
        self.ids.raise(floors);
    }

    fn dropped(&self, ids: &[(ObjectId, ActionId)]) {
        self.ids.forget(ids);
    }
}
