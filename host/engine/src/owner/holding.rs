//! Holding several objects: their other writers wait, and so do the agent's turns.
//!
//! They are taken in the order of objects, so that no two holders wait for each other. Those who want to hold the same
//! object wait in a lane of it, first in first out; only the first of a lane stands against the agent's turns.

use std::collections::HashMap;
use std::sync::Arc;

use ostrakon_wire::ObjectId;
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use super::Owner;
use super::entry::{Stripe, stripe_of};

type Lane = Arc<tokio::sync::Mutex<()>>;

/// The lanes of the objects that somebody holds or wants to.
#[derive(Default)]
pub(super) struct Lanes(Arc<Mutex<HashMap<ObjectId, Lane>>>);

/// Objects that are held; dropping it gives them back.
pub(crate) struct Holding {
    stripes: Arc<[Mutex<Stripe>]>,
    objects: Vec<ObjectId>,
    // Given up behind the objects.
    lanes: Vec<InLane>,
}

/// A place in a lane, or the head of it. A lane that nobody is in is taken away.
struct InLane {
    lanes: Arc<Mutex<HashMap<ObjectId, Lane>>>,
    object: ObjectId,
    lane: Option<Lane>,
    head: Option<OwnedMutexGuard<()>>,
}

impl Lanes {
    fn join(&self, object: &ObjectId) -> InLane {
        let lane = Arc::clone(self.0.lock().entry(object.clone()).or_default());
        InLane { lanes: Arc::clone(&self.0), object: object.clone(), lane: Some(lane), head: None }
    }
}

impl InLane {
    async fn head(&mut self) {
        let lane = self.lane.clone().expect("it is in the lane");
        self.head = Some(lane.lock_owned().await);
    }
}

impl Drop for InLane {
    fn drop(&mut self) {
        self.head = None;
        let mut lanes = self.lanes.lock();
        self.lane = None;
        // Under the lock nobody joins: one that the map alone has is empty.
        if lanes.get(&self.object).is_some_and(|lane| Arc::strong_count(lane) == 1) {
            lanes.remove(&self.object);
        }
    }
}

impl Owner {
    /// Takes hold of these objects, in order and once each.
    pub(crate) async fn hold(&self, objects: &[ObjectId]) -> Holding {
        let mut holding = Holding { stripes: Arc::clone(&self.stripes), objects: Vec::new(), lanes: Vec::new() };
        for object in objects {
            let mut in_lane = self.lanes.join(object);
            in_lane.head().await;
            holding.lanes.push(in_lane);
            loop {
                let held = self.stripe(object).lock().hold(object);
                match held {
                    Ok(()) => break,
                    Err(given_back) => drop(given_back.await),
                }
            }
            holding.objects.push(object.clone());
        }
        holding
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        for object in &self.objects {
            self.stripes[stripe_of(object, self.stripes.len())].lock().give_back(object);
        }
    }
}
