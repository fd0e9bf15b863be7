//! Forgetting a deleted object, and what else is done for the store's own sake.

use std::sync::Arc;

use ostrakon_store::{Forget, ReadError, Unit, Upkeep};
use ostrakon_wire::ObjectId;

use super::entry::Look;
use super::{Known, LoadGuard, NotWritten, Owner, Pending, read_head};

/// What became of a wish to forget an object.
pub(crate) enum Forgetting {
    /// It is on its way.
    Queued(Pending),
    /// Somebody uses the object, or it is another by now: some other time.
    Busy,
}

impl Owner {
    /// Queues what is done for the store's own sake.
    pub(crate) fn upkeep(&self, upkeep: Upkeep) -> Result<Pending, NotWritten> {
        self.submit(Unit::Upkeep(upkeep), &mut None)
    }

    /// Queues that an object is forgotten, if its last version still stands there. Blocks the thread where it has to read.
    pub(crate) fn forget(&self, forget: &Forget) -> Result<Forgetting, NotWritten> {
        let object = &forget.object;
        if !self.loads(object).map_err(NotWritten::Read)? {
            return Ok(Forgetting::Busy);
        }
        let mut stripe = self.stripe(object).lock();
        if stripe.wait_held(object).is_some() {
            return Ok(Forgetting::Busy);
        }
        let head = match stripe.look(object) {
            Look::Known(known)
                if known.version == forget.version && !known.is_live() && known.place == Some(forget.place) =>
            {
                known.clone()
            }
            _ => return Ok(Forgetting::Busy),
        };
        let pending = self.submit(Unit::Forget(Box::new(forget.clone())), &mut None)?;
        stripe.advance(object.clone(), head, Known::absent(forget.version));
        Ok(Forgetting::Queued(pending))
    }

    /// Sees to it that what stands there is known. `false`: somebody else does so now.
    fn loads(&self, object: &ObjectId) -> Result<bool, ReadError> {
        {
            let mut stripe = self.stripe(object).lock();
            match stripe.look(object) {
                Look::Known(_) => return Ok(true),
                Look::Loading | Look::Tip(_) => return Ok(false),
                Look::Nothing => stripe.begin_load(object),
            }
        }
        let loading = LoadGuard { stripes: Arc::clone(&self.stripes), object: object.clone(), known: None };
        let outcome = read_head(&self.views.latest(), object);
        loading.end(outcome).map(|_| true)
    }
}
