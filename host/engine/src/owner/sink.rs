//! What the committing thread tells the owner.
//!
//! The thread hands whole groups over and goes on to the next one; a task of the runtime settles them, in order, and wakes
//! those who wait.

use std::sync::Arc;

use ostrakon_store::{CommitError, Durable, Floors, Settled, Sink};
use ostrakon_wire::bounds::GROUPS_TO_SETTLE_MAX;
use ostrakon_wire::{ActionId, ObjectId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::entry::{Stripe, stripe_of};
use crate::action_ids::{ActionIds, Claim};

/// What travels with a change through the commit queue.
pub(crate) struct Token {
    pub(super) claim: Option<Claim>,
    pub(super) reply: oneshot::Sender<Result<Durable, CommitError>>,
}

type Group = Vec<Settled<Token>>;

pub(crate) struct OwnerSink {
    groups: mpsc::Sender<Group>,
    ids: Arc<ActionIds>,
}

impl OwnerSink {
    /// Starts the settling task on the runtime that this is called on.
    pub(super) fn start(stripes: Arc<[Mutex<Stripe>]>, ids: Arc<ActionIds>) -> Self {
        let (groups, mut waiting) = mpsc::channel(GROUPS_TO_SETTLE_MAX);
        tokio::spawn(async move {
            while let Some(group) = waiting.recv().await {
                settle(&stripes, group);
            }
        });
        Self { groups, ids }
    }
}

/// Settles a group: first all of it, then it is told, so that answers that travel together are woken together.
fn settle(stripes: &[Mutex<Stripe>], group: Group) {
    let mut replies = Vec::with_capacity(group.len());
    for Settled { change, token, outcome } in group {
        let stripe = &stripes[stripe_of(&change.object, stripes.len())];
        stripe.lock().settle(&change, outcome.as_ref().ok().copied());
        if let (Some(claim), Ok(durable)) = (token.claim, &outcome) {
            claim.record(durable.revision, change.version, change.place.shard_key);
        }
        replies.push((token.reply, outcome));
    }
    for (reply, outcome) in replies {
        // The one who asked may have gone; the change stands all the same.
        let _ = reply.send(outcome);
    }
}

impl Sink for OwnerSink {
    type Token = Token;

    fn settled(&self, group: Group) {
        // The task ends with its runtime, and with it everybody who could wait for an answer.
        let _ = self.groups.blocking_send(group);
    }

    fn floors(&self, floors: &Floors) {
        self.ids.raise(floors);
    }

    fn dropped(&self, ids: &[(ObjectId, ActionId)]) {
        self.ids.forget(ids);
    }
}
