//! What the committing thread tells the owner.

use std::sync::Arc;

use ostrakon_store::{Change, CommitError, Durable, Floors, Sink};
use ostrakon_wire::{ActionId, ObjectId};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{Stripe, stripe_of};
use crate::action_ids::{ActionIds, Claim};

/// What travels with a change through the commit queue.
pub(crate) struct Token {
    pub(super) claim: Option<Claim>,
    pub(super) reply: oneshot::Sender<Result<Durable, CommitError>>,
}

pub(crate) struct OwnerSink {
    stripes: Arc<[Mutex<Stripe>]>,
    ids: Arc<ActionIds>,
}

impl OwnerSink {
    pub(super) fn new(stripes: Arc<[Mutex<Stripe>]>, ids: Arc<ActionIds>) -> Self {
        Self { stripes, ids }
    }
}

impl Sink for OwnerSink {
    type Token = Token;

    fn done(&self, token: Token, change: &Change, outcome: Result<Durable, CommitError>) {
        let stripe = &self.stripes[stripe_of(&change.object, self.stripes.len())];
        stripe.lock().settle(change, outcome.as_ref().ok().copied());
        if let (Some(claim), Ok(durable)) = (token.claim, &outcome) {
            claim.record(durable.revision, change.version, change.place.shard_key);
        }
        // The one who asked may have gone; the change stands all the same.
        let _ = token.reply.send(outcome);
    }

    fn floors(&self, floors: &Floors) {
        self.ids.raise(floors);
    }

    fn dropped(&self, ids: &[(ObjectId, ActionId)]) {
        self.ids.forget(ids);
    }
}
