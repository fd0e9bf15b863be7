//! What the committing thread tells the owner.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ostrakon_store::{CommitError, Durable, Floors, Settled, Sink};
use ostrakon_wire::{ActionId, ObjectId, Revision};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Stripe, stripe_of};
use crate::action_ids::{ActionIds, Claim};

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

pub(crate) struct OwnerSink {
    stripes: Arc<[Mutex<Stripe>]>,
    settled: Arc<SettledUpTo>,
    ids: Arc<ActionIds>,
}

impl OwnerSink {
    pub(super) fn new(stripes: Arc<[Mutex<Stripe>]>, settled: Arc<SettledUpTo>, ids: Arc<ActionIds>) -> Self {
        Self { stripes, settled, ids }
    }
}

impl Sink for OwnerSink {
    type Token = Token;

    /// First all of the group is settled, then it is told, so that answers that travel together are woken together.
    fn settled(&self, group: Vec<Settled<Token>>) {
        let mut replies = Vec::with_capacity(group.len());
        for Settled { change, token, outcome } in group {
            let stripe = &self.stripes[stripe_of(&change.object, self.stripes.len())];
            stripe.lock().settle(&change, outcome.as_ref().ok().copied());
            if let Ok(durable) = &outcome {
                self.settled.0.fetch_max(durable.revision.get(), Ordering::Release);
                if let Some(claim) = token.claim {
                    claim.record(durable.revision, change.version, change.place.shard_key);
                }
            }
            replies.push((token.reply, outcome));
        }
        for (reply, outcome) in replies {
            // The one who asked may have gone; the change stands all the same.
            let _ = reply.send(outcome);
        }
    }

    fn floors(&self, floors: &Floors) {
        self.ids.raise(floors);
    }

    fn dropped(&self, ids: &[(ObjectId, ActionId)]) {
        self.ids.forget(ids);
    }
}
