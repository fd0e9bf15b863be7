//! Bringing objects under the keys that the policy wants now, one by one.

use std::time::Duration;

use ostrakon_core::policy::Heat;
use ostrakon_store::{CommitError, Does, Migration, Moved, ReadError, Steer};
use ostrakon_wire::bounds::REKEY_STEP_OBJECTS;
use ostrakon_wire::{ObjectId, ShardKey, TimestampMs};

use super::{NotMoved, Shared};
use crate::owner::NotWritten;
use crate::policies::{ask, placing};

impl Shared {
    /// Brings one object under a key, or under the one that the policy wants; answers the key that it has then, and whether it
    /// had another before. `None`: there is no such object.
    pub(crate) async fn rekey_object(
        &self,
        object: &ObjectId,
        wanted: Option<ShardKey>,
    ) -> Result<Option<(ShardKey, bool)>, NotMoved> {
        let known = self.owner.head(object, true).await?;
        let Some(recorded) = known.shard_key() else { return Ok(None) };
        let wanted = match (wanted, known.live()) {
            (Some(key), _) => key,
            (None, Some(live)) => {
                let failed = || NotMoved::Refused("the shard-key policy gave no usable answer".into());
                self.wanted_key(object, live.timestamp, recorded).ok_or_else(failed)?
            }
            (None, None) => return Ok(None),
        };
        let moved = self.owner.rekey(object, wanted).await.map_err(NotMoved::Failed)?;
        Ok(Some((wanted, moved)))
    }

    /// The key that the policy wants for an object which has one.
    fn wanted_key(&self, object: &ObjectId, timestamp: TimestampMs, recorded: ShardKey) -> Option<ShardKey> {
        let heat = self.heated.for_policy(object, timestamp, &self.owner.map());
        self.wanted_of(object, timestamp, recorded, heat)
    }

    /// The same, where this is what is known of its use.
    pub(super) fn wanted_of(
        &self,
        object: &ObjectId,
        timestamp: TimestampMs,
        recorded: ShardKey,
        heat: Heat,
    ) -> Option<ShardKey> {
        let placing = placing(object, timestamp, recorded.get(), heat);
        let (_, wanted) = ask(&self.policies, &self.counters, &placing);
        wanted.inspect_err(|fault| tracing::warn!(%fault, "the key of an object stays, since the policy failed")).ok()
    }

    /// The next objects of a re-key; answers how long that took of others.
    pub(super) async fn rekey_some(
        &self,
        migration: &Migration,
        prefix: &str,
        after: &str,
    ) -> Result<Duration, NotMoved> {
        let started = self.owner.clock().instant();
        let behind = (!after.is_empty()).then(|| ObjectId::from_text(after)).transpose();
        let behind = behind.map_err(|error| NotMoved::Refused(error.to_string()))?;
        let (view, prefix) = (self.owner.views().latest(), prefix.to_owned());
        let read = move || {
            let objects = view.places(&prefix, behind.as_ref()).take(REKEY_STEP_OBJECTS);
            objects.map(|found| found.map(|(object, place)| (object, place, view.head(place)))).collect()
        };
        let found: Vec<_> = match self.owner.on_reader(read).await {
            Err(error @ ReadError::Busy) => return Err(error.into()),
            // Where objects cannot even be found somebody has to look.
            Err(error) => return Err(NotMoved::Refused(error.to_string())),
            Ok(found) => found,
        };
        let Some(last) = found.last().map(|(object, ..)| object.as_text().to_owned()) else {
            self.end(migration).await?;
            return Ok(Duration::ZERO);
        };
        let mut moved = Moved::default();
        for (object, place, head) in &found {
            let timestamp = match head {
                Ok(Some(head)) if head.row.payload.is_some() => head.row.timestamp,
                Ok(_) => continue,
                Err(error) => {
                    tracing::warn!(%error, "an object that cannot be read keeps its key");
                    continue;
                }
            };
            let wanted = self.wanted_key(object, timestamp, place.shard_key);
            let Some(wanted) = wanted.filter(|wanted| *wanted != place.shard_key) else { continue };
            match self.owner.rekey(object, wanted).await {
                Ok(has_moved) => moved.objects += u64::from(has_moved),
                Err(reason @ (NotWritten::Read(_) | NotWritten::Commit(CommitError::Fenced))) => {
                    tracing::warn!(?reason, "an object that cannot be moved keeps its key");
                }
                Err(reason) => return Err(NotMoved::Failed(reason)),
            }
        }
        self.step(Does::Steer { number: migration.number, how: Steer::Past(last, moved) }).await?;
        let took = self.owner.clock().instant().duration_since(started);
        // Each object waits for a commit of its own.
        let commits = u32::try_from(moved.objects).unwrap_or(u32::MAX).max(1);
        self.met(took / commits);
        // Most of it is waiting for commits that others have part in.
        Ok(took / 4)
    }
}
