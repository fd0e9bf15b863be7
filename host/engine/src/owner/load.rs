//! Durable heads: looked up, or loaded from the newest view.

use std::sync::Arc;

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{ReadError, ReadView};
use ostrakon_wire::ObjectId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::entry::{self, Known, Look, Stripe};
use super::{Owner, STRIPES};

/// The step of a read that is taken under the object's lock.
enum HeadStep {
    Known(Known),
    Wait(oneshot::Receiver<()>),
    Load,
    ReadView,
}

impl Owner {
    /// The durable head of an object; `whole` with its payload, whatever its size.
    pub(crate) async fn head(&self, object: &ObjectId, whole: bool) -> Result<Known, ReadError> {
        loop {
            match self.look(object, whole) {
                HeadStep::Known(known) => return Ok(known),
                HeadStep::Wait(loaded) => drop(loaded.await),
                HeadStep::Load => return self.load(object).await,
                HeadStep::ReadView => return self.read_view(object).await,
            }
        }
    }

    fn look(&self, object: &ObjectId, whole: bool) -> HeadStep {
        let mut stripe = self.stripe(object).lock();
        match stripe.look(object) {
            Look::Known(known) if !whole || known.is_whole() => HeadStep::Known(known.clone()),
            Look::Tip(tip) if planted::is(Fault::ReadTheTip) => HeadStep::Known(tip.head.clone()),
            // Between the publishing of a view and the settling of its last change, the view alone is right: a list may have
            // shown it already.
            Look::Tip(tip) if self.is_settled() && (!whole || tip.durable.is_whole()) => {
                HeadStep::Known(tip.durable.clone())
            }
            Look::Loading => HeadStep::Wait(stripe.wait(object)),
            // A payload too large to be kept is in the newest view; a mere read keeps nobody from the object.
            Look::Tip(_) | Look::Known(_) => HeadStep::ReadView,
            Look::Nothing => {
                stripe.begin_load(object);
                HeadStep::Load
            }
        }
    }

    /// Whether the durable heads are those of the newest view. Asked under an object's lock, it holds for that object until
    /// the lock is given back.
    fn is_settled(&self) -> bool {
        self.views.position().revision <= self.settled.get()
    }

    /// Reads the object from the newest view, and ends the load that was begun. Should this future be dropped, the load
    /// ends all the same.
    pub(super) async fn load(&self, object: &ObjectId) -> Result<Known, ReadError> {
        let (stripes, views, object) = (Arc::clone(&self.stripes), self.views.clone(), object.clone());
        let reading = LoadGuard { stripes, object, known: None };
        self.on_reader(move || {
            let outcome = read_head(&views.latest(), &reading.object);
            reading.end(outcome)
        })
        .await
    }

    async fn read_view(&self, object: &ObjectId) -> Result<Known, ReadError> {
        let (views, object) = (self.views.clone(), object.clone());
        self.on_reader(move || read_head(&views.latest(), &object)).await
    }
}

/// A load that was begun; ends once, however its thread ends.
pub(super) struct LoadGuard {
    pub(super) stripes: Arc<[Mutex<Stripe>]>,
    pub(super) object: ObjectId,
    pub(super) known: Option<Known>,
}

impl LoadGuard {
    pub(super) fn end(mut self, outcome: Result<Known, ReadError>) -> Result<Known, ReadError> {
        self.known = outcome.as_ref().ok().cloned();
        outcome
    }
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        let stripe = &self.stripes[entry::stripe_of(&self.object, STRIPES)];
        stripe.lock().end_load(&self.object, self.known.as_ref());
    }
}

pub(super) fn read_head(view: &ReadView, object: &ObjectId) -> Result<Known, ReadError> {
    let Some(place) = view.locate(object)? else { return Ok(Known::absent(view.forgotten().version)) };
    match view.head(place)? {
        Some(head) => Ok(Known::stored(object.clone(), place, head)),
        None => Err(ReadError::Engine(format!("{object} has a locator and no row"))),
    }
}
