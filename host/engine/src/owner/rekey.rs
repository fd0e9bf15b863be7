//! Bringing an object under another key: all of its versions move, and whoever writes to it meanwhile waits for one commit.

use ostrakon_store::{Place, Rekey, Unit};
use ostrakon_wire::{ObjectId, ShardKey};

use super::entry::Look;
use super::{NotWritten, Owner, Pending};

impl Owner {
    /// Queues that an object comes under a key, once nothing of it is under way. `None`: it stands there already, or no such
    /// object is.
    pub(crate) async fn rekey(&self, object: &ObjectId, key: ShardKey) -> Result<Option<Pending>, NotWritten> {
        let objects = [object.clone()];
        let _holding = self.hold(&objects).await;
        loop {
            self.settled(&objects).await?;
            self.head(object, false).await.map_err(NotWritten::Read)?;
            let mut stripe = self.stripe(object).lock();
            let head = match stripe.look(object) {
                Look::Known(known) => known.clone(),
                // A read has begun to load it, or it is not kept in memory: once more.
                Look::Loading | Look::Tip(_) | Look::Nothing => continue,
            };
            let Some(from) = head.place.filter(|place| place.shard_key != key) else { return Ok(None) };
            let to = Place { shard_key: key, ..from };
            self.views.serves(to).map_err(NotWritten::Read)?;
            let rekey = Rekey { object: object.clone(), from, to, version: head.version };
            let pending = self.submit(Unit::Rekey(Box::new(rekey)), &mut None)?;
            stripe.advance(object.clone(), head.clone(), head.at(to));
            return Ok(Some(pending));
        }
    }
}
