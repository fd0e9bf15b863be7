//! Bringing an object under another key: all of its versions move, and whoever writes to it meanwhile waits for one commit.

use std::sync::Arc;

use ostrakon_store::{Place, Rekey, Unit};
use ostrakon_wire::{ObjectId, ShardKey};

use super::entry::Look;
use super::{NotWritten, Owner, durable};

impl Owner {
    /// Brings an object under a key, durably, once nothing of it is under way. `false`: it stands there already, or no such
    /// object is. Nobody writes to the object until it is done.
    pub(crate) async fn rekey(&self, object: &ObjectId, key: ShardKey) -> Result<bool, NotWritten> {
        let objects = [object.clone()];
        let _holding = self.hold(&objects).await;
        loop {
            self.settled(&objects).await?;
            // A tip is whole: what the cache leaves out is read.
            let head = self.head(object, true).await.map_err(NotWritten::Read)?;
            let Some(from) = head.place.filter(|place| place.shard_key != key) else { return Ok(false) };
            let to = Place { shard_key: key, ..from };
            self.views.serves(to).map_err(NotWritten::Read)?;
            self.can_read(from).await?;
            let pending = {
                let mut stripe = self.stripe(object).lock();
                match stripe.look(object) {
                    Look::Known(known) if (known.version, known.place) == (head.version, head.place) => {}
                    // A read has begun to load it, or it is not kept in memory: once more.
                    Look::Known(_) | Look::Loading | Look::Tip(_) | Look::Nothing => continue,
                }
                let rekey = Rekey { object: object.clone(), from, to, version: head.version };
                let pending = self.submit(Unit::Rekey(Box::new(rekey)), &mut None)?;
                stripe.advance(object.clone(), head.clone(), head.at(to));
                pending
            };
            return durable(pending).await.map(|_| true);
        }
    }

    /// Holds that every version of an object can be read: what cannot does not move.
    async fn can_read(&self, place: Place) -> Result<(), NotWritten> {
        let view = self.views.latest();
        let read = move || {
            let view = Arc::clone(&view);
            view.versions(place, None)?.try_for_each(|version| version.map(drop))
        };
        self.on_reader(read).await.map_err(NotWritten::Read)
    }
}
