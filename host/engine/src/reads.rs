//! Reading one object: its key, its version, the whole.

use ostrakon_wire::answer::{Object, Placed, Stored};
use ostrakon_wire::{Generations, Position, ShardKey, Target, WireError};

use crate::owner::Known;
use crate::{Context, Engine};

impl Engine {
    /// The durable head, once the key that the client believes in is held against the recorded one.
    async fn located(&self, target: &Target, whole: bool, position: Position) -> Result<Known, WireError> {
        let known = self.owner.head(&target.object, whole).await.map_err(|error| self.unreadable(&error))?;
        if known.version.get() > 0 {
            self.observed.saw(target.object.digest(), known.version);
        }
        if let Some(recorded) = known.shard_key() {
            self.used(&target.object, recorded);
        }
        match (target.shard_key, known.shard_key()) {
            (Some(claimed), Some(recorded)) if claimed != recorded => Err(self.wrong_key(recorded, position)),
            _ => Ok(known),
        }
    }

    pub(crate) async fn get_shard_key(&self, target: &Target, context: Context) -> Result<Placed, WireError> {
        let position = self.views.position();
        let known = self.located(target, false, position).await?;
        let mut generations = Generations::default();
        let (shard_key, recorded): (ShardKey, bool) = match known.shard_key() {
            Some(recorded) => (recorded, true),
            None => {
                let timestamp = self.timestamp(&context);
                (self.place(&target.object, timestamp, &mut generations)?, false)
            }
        };
        Ok(Placed { shard_key, recorded, decided: self.decided(Some(shard_key), position, generations) })
    }

    pub(crate) async fn read_version(&self, target: &Target) -> Result<Stored, WireError> {
        let position = self.views.position();
        let known = self.located(target, false, position).await?;
        match (known.shard_key(), known.live_revision()) {
            (Some(shard_key), Some(revision)) => Ok(Stored {
                version: known.version,
                revision,
                shard_key,
                decided: self.decided(Some(shard_key), position, Generations::default()),
            }),
            _ => Err(self.not_found(&known, position)),
        }
    }

    pub(crate) async fn read(&self, target: &Target) -> Result<Object, WireError> {
        let position = self.views.position();
        let known = self.located(target, true, position).await?;
        match (known.shard_key(), known.live()) {
            (Some(shard_key), Some(live)) => Ok(Object {
                version: known.version,
                revision: live.revision,
                timestamp: live.timestamp,
                shard_key,
                action_id: live.action_id,
                payload: live.payload.clone(),
                decided: self.decided(Some(shard_key), position, Generations::default()),
            }),
            _ => Err(self.not_found(&known, position)),
        }
    }
}
