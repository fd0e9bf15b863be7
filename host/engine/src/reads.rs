//! Reading one object: its key, its version, the whole.

use ostrakon_wire::answer::{Object, Placed, Stored};
use ostrakon_wire::{Generations, Position, ShardKey, Target, WireError};
use tracing::Instrument;

use crate::owner::Known;
use crate::trace::{self, Trace};
use crate::{Context, Engine};

impl Engine {
    /// The durable head, once the key that the client believes in is held against the recorded one.
    async fn located(
        &self,
        target: &Target,
        whole: bool,
        position: Position,
        trace: &Trace,
    ) -> Result<Known, WireError> {
        let span = trace.locate();
        let known = self.owner.head(&target.object, whole).instrument(span.clone()).await;
        let known = known.map_err(|error| self.unreadable(&error))?;
        trace::looked(&span, known.shard_key().is_some());
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
        let known = self.located(target, false, position, &context.trace).await?;
        let mut generations = Generations::default();
        let (shard_key, recorded): (ShardKey, bool) = match known.shard_key() {
            Some(recorded) => (recorded, true),
            None => {
                let timestamp = self.timestamp(&context);
                let span = context.trace.locate();
                let placed = span.in_scope(|| self.place(&target.object, timestamp, &mut generations));
                trace::asked(&span);
                (placed?, false)
            }
        };
        Ok(Placed { shard_key, recorded, decided: self.decided(Some(shard_key), position, generations) })
    }

    pub(crate) async fn read_version(&self, target: &Target, trace: &Trace) -> Result<Stored, WireError> {
        let position = self.views.position();
        let known = self.located(target, false, position, trace).await?;
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

    pub(crate) async fn read(&self, target: &Target, trace: &Trace) -> Result<Object, WireError> {
        let position = self.views.position();
        let known = self.located(target, true, position, trace).await?;
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
