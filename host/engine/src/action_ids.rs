//! Which actions have had their effect: one id, one effect.
//!
//! An id is claimed before its action runs; the claim becomes the recorded outcome when the change is durable, and is
//! given back when the action comes to nothing. The log holds what is remembered across restarts.

mod remembered;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Floors, Identity, Outcome, Remembered as Stored};
use ostrakon_wire::bounds::ACTION_ID_AHEAD_MS;
use ostrakon_wire::{ActionId, ObjectId, Revision, ShardKey, TimestampMs, Version};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use remembered::Remembered;

/// What a remembered action did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) intent: u128,
    pub(crate) revision: Revision,
    /// The version that it made, or met.
    pub(crate) version: Version,
    pub(crate) shard_key: ShardKey,
    pub(crate) outcome: Outcome,
    /// Whether the log says more of it.
    pub(crate) noted: bool,
}

/// Why an id may not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdRefused {
    Reused,
    Expired,
    Ahead,
}

/// Whether an action with an id may run.
pub(crate) enum Begun {
    /// It may; the claim is to be kept until it has.
    Fresh(Claim),
    /// It did; this came of it.
    Repeat(Recorded),
    /// It does so now; answered only to those who do not wait.
    Running,
}

/// What is known of an id.
pub(crate) enum Asked {
    /// Its action came to this.
    Recorded(Recorded),
    /// It is on its way; the receiver ends when it is done.
    Running(oneshot::Receiver<()>),
    /// Nothing.
    Unknown,
}

/// A client's id: the client's part is a digest, which keeps the table small.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    client: u64,
    id: ActionId,
}

/// An action that is running, and who waits for its end.
struct Running {
    intent: u128,
    /// It is detached, and its ticket is durable.
    ticket: bool,
    waiters: Vec<oneshot::Sender<()>>,
}

/// A part of the ids. What runs is few and in use, what is remembered is many and seldom asked for: they stand apart.
#[derive(Default)]
struct Stripe {
    running: HashMap<Key, Running, foldhash::fast::RandomState>,
    remembered: Remembered,
}

const STRIPES: usize = 64;

/// The table of ids.
pub(crate) struct ActionIds {
    stripes: Vec<Mutex<Stripe>>,
    floors: RwLock<Floors>,
}

/// What an action came to.
pub(crate) struct Done {
    pub(crate) revision: Revision,
    pub(crate) version: Version,
    pub(crate) shard_key: ShardKey,
    pub(crate) outcome: Outcome,
    pub(crate) noted: bool,
}

/// The right to run an action. Dropped without an outcome, it frees the id for another try.
pub(crate) struct Claim {
    ids: Arc<ActionIds>,
    key: Key,
    identity: Identity,
    recorded: bool,
}

/// The digest of what an action is for: object, kind and body, but not the known version, the choice or the time.
pub(crate) fn intent(object: &ObjectId, kind: u64, body: &[u8]) -> u128 {
    xxh3_128_with_seed(body, object.digest() ^ kind.rotate_right(8))
}

impl Key {
    fn new(client: &str, id: ActionId) -> Self {
        Self { client: xxh3_64(client.as_bytes()), id }
    }
}

impl ActionIds {
    pub(crate) fn new(floors: Floors, remembered: Vec<Stored>) -> Self {
        let ids = Self { stripes: (0..STRIPES).map(|_| Mutex::default()).collect(), floors: RwLock::new(floors) };
        for action in remembered {
            let Some(identity) = action.entry.identity else {
                continue;
            };
            let key = Key::new(action.entry.object.client(), identity.id);
            let done = Recorded {
                intent: identity.intent,
                revision: action.revision,
                version: action.entry.version,
                shard_key: action.entry.shard_key,
                outcome: action.entry.outcome,
                noted: action.noted,
            };
            ids.stripe(key).lock().remembered.push(key, done);
        }
        ids
    }

    fn stripe(&self, key: Key) -> &Mutex<Stripe> {
        let bits = key.id.bits();
        &self.stripes[(bits as u64 ^ (bits >> 64) as u64 ^ key.client) as usize % STRIPES]
    }

    /// Claims an id, or tells what came of it. Where the same action is running, waits for its end; who does not want to
    /// `wait` is told that it runs once its ticket is durable.
    pub(crate) async fn begin(
        self: &Arc<Self>,
        client: &str,
        identity: Identity,
        now: TimestampMs,
        wait: bool,
    ) -> Result<Begun, IdRefused> {
        let key = Key::new(client, identity.id);
        loop {
            let running = {
                let mut stripe = self.stripe(key).lock();
                if let Some(done) = stripe.remembered.get(&key) {
                    return if done.intent == identity.intent {
                        Ok(Begun::Repeat(done))
                    } else {
                        Err(IdRefused::Reused)
                    };
                }
                match stripe.running.entry(key) {
                    Entry::Vacant(vacant) => {
                        self.hold_floors(client, identity.id, now)?;
                        vacant.insert(Running { intent: identity.intent, ticket: false, waiters: Vec::new() });
                        let ids = Arc::clone(self);
                        return Ok(Begun::Fresh(Claim { ids, key, identity, recorded: false }));
                    }
                    Entry::Occupied(running) if running.get().intent != identity.intent => {
                        return Err(IdRefused::Reused);
                    }
                    Entry::Occupied(_) if planted::is(Fault::RaceTheFirst) => {
                        let ids = Arc::clone(self);
                        return Ok(Begun::Fresh(Claim { ids, key, identity, recorded: false }));
                    }
                    Entry::Occupied(running) if !wait && running.get().ticket => return Ok(Begun::Running),
                    Entry::Occupied(mut running) => {
                        let (ended, waiting) = oneshot::channel();
                        running.get_mut().waiters.retain(|waiter| !waiter.is_closed());
                        running.get_mut().waiters.push(ended);
                        waiting
                    }
                }
            };
            // The sender is dropped when the claim ends, one way or the other.
            let _ = running.await;
        }
    }

    /// Claims the id of a detached action of an earlier run.
    pub(crate) fn resume(self: &Arc<Self>, client: &str, identity: Identity) -> Claim {
        let key = Key::new(client, identity.id);
        let running = Running { intent: identity.intent, ticket: true, waiters: Vec::new() };
        self.stripe(key).lock().running.insert(key, running);
        Claim { ids: Arc::clone(self), key, identity, recorded: false }
    }

    /// The ticket of a detached action is durable. Whoever waits to be told so looks again.
    pub(crate) fn ticket(&self, client: &str, id: ActionId) {
        let key = Key::new(client, id);
        if let Some(running) = self.stripe(key).lock().running.get_mut(&key) {
            running.ticket = true;
            running.waiters.clear();
        }
    }

    /// What is known of an id, whatever it was used for.
    pub(crate) fn ask(&self, client: &str, id: ActionId) -> Asked {
        let key = Key::new(client, id);
        let mut stripe = self.stripe(key).lock();
        if let Some(recorded) = stripe.remembered.get(&key) {
            return Asked::Recorded(recorded);
        }
        match stripe.running.get_mut(&key) {
            Some(running) => {
                let (ended, waiting) = oneshot::channel();
                running.waiters.retain(|waiter| !waiter.is_closed());
                running.waiters.push(ended);
                Asked::Running(waiting)
            }
            None => Asked::Unknown,
        }
    }

    fn hold_floors(&self, client: &str, id: ActionId, now: TimestampMs) -> Result<(), IdRefused> {
        if id.timestamp().get() > now.get().saturating_add(ACTION_ID_AHEAD_MS) {
            Err(IdRefused::Ahead)
        } else if self.floors.read().covers(client, id) {
            Err(IdRefused::Expired)
        } else {
            Ok(())
        }
    }

    /// Takes the floors of the store, which have just become durable.
    pub(crate) fn raise(&self, floors: &Floors) {
        self.floors.write().clone_from(floors);
    }

    /// Forgets ids that the floors cover: the oldest that are remembered, in the order of their commits.
    pub(crate) fn forget(&self, ids: &[(ObjectId, ActionId)]) {
        for (object, id) in ids {
            let key = Key::new(object.client(), *id);
            self.stripe(key).lock().remembered.pop(&key);
        }
    }

    /// Ids that are remembered or running.
    pub(crate) fn len(&self) -> usize {
        let count = |stripe: &Stripe| stripe.running.len() + stripe.remembered.len();
        self.stripes.iter().map(|stripe| count(&stripe.lock())).sum()
    }
}

impl Claim {
    pub(crate) fn identity(&self) -> Identity {
        self.identity
    }

    /// What the action came to is durable.
    pub(crate) fn record(mut self, done: Done) {
        let Done { revision, version, shard_key, outcome, noted } = done;
        let done = Recorded { intent: self.identity.intent, revision, version, shard_key, outcome, noted };
        self.recorded = true;
        let mut stripe = self.ids.stripe(self.key).lock();
        stripe.running.remove(&self.key);
        if !planted::is(Fault::ForgetId) {
            stripe.remembered.push(self.key, done);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.recorded {
            self.ids.stripe(self.key).lock().running.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(id: u128, intent: u128) -> Identity {
        Identity { id: ActionId::from_bits(id), intent }
    }

    #[tokio::test]
    async fn an_id_runs_once_and_answers_its_outcome_afterwards() {
        let ids = Arc::new(ActionIds::new(Floors::default(), Vec::new()));
        let now = TimestampMs::new(1_000);
        let Ok(Begun::Fresh(claim)) = ids.begin("a", identity(1, 7), now, true).await else {
            panic!("a fresh id runs")
        };
        assert_eq!(ids.begin("a", identity(1, 8), now, true).await.err(), Some(IdRefused::Reused));
        assert!(
            matches!(ids.begin("b", identity(1, 8), now, true).await, Ok(Begun::Fresh(_))),
            "ids are scoped to the client"
        );
        let second = tokio::spawn({
            let ids = Arc::clone(&ids);
            async move { matches!(ids.begin("a", identity(1, 7), now, true).await, Ok(Begun::Repeat(_))) }
        });
        tokio::task::yield_now().await;
        let (revision, version, shard_key) = (Revision::new(3), Version::new(1), ShardKey::new(9));
        claim.record(Done { revision, version, shard_key, outcome: Outcome::Made, noted: false });
        assert!(second.await.is_ok_and(|repeat| repeat), "a repeat that raced the first gets its outcome");
        assert_eq!(ids.begin("a", identity(1, 8), now, true).await.err(), Some(IdRefused::Reused));
    }

    #[tokio::test]
    async fn an_action_that_came_to_nothing_frees_its_id() {
        let ids = Arc::new(ActionIds::new(Floors::default(), Vec::new()));
        let now = TimestampMs::new(1_000);
        drop(ids.begin("a", identity(1, 7), now, true).await.ok());
        assert!(matches!(ids.begin("a", identity(1, 8), now, true).await, Ok(Begun::Fresh(_))));
    }

    #[tokio::test]
    async fn ids_below_the_floor_or_far_ahead_do_not_run() {
        let mut floors = Floors::default();
        floors.drop_id("a", ActionId::from_bits(500 << 80), TimestampMs::new(600));
        let ids = Arc::new(ActionIds::new(floors, Vec::new()));
        let now = TimestampMs::new(1_000);
        assert_eq!(ids.begin("a", identity(500 << 80, 1), now, true).await.err(), Some(IdRefused::Expired));
        assert!(ids.begin("a", identity(501 << 80, 1), now, true).await.is_ok());
        let ahead = u128::from(1_001 + ACTION_ID_AHEAD_MS) << 80;
        assert_eq!(ids.begin("a", identity(ahead, 1), now, true).await.err(), Some(IdRefused::Ahead));
    }
}
