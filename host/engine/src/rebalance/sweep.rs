//! Sweeping up what shards have given away and still hold. Nobody reads it: it only takes room, so there is time.

use std::collections::VecDeque;
use std::time::Duration;

use ostrakon_store::{Left, Upkeep};
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::SWEEP_ROWS;
use tokio::runtime::Runtime;

use super::Shared;
use super::run::IDLE;
use crate::owner::durable;

/// What removing so many rows takes of others, about: in the log, and later, where tables are merged.
const SWEEP_TOOK: Duration = Duration::from_millis(32);

/// The shards that may hold something, each with what was found in it last.
pub(super) type Sweeping = VecDeque<(ShardId, Option<Left>)>;

impl Shared {
    /// Removes some at a time, and rests.
    pub(super) fn sweep(&self, runtime: &Runtime) {
        loop {
            let rests = self.is_halted() || self.owner.has_failed();
            let swept = if rests { None } else { runtime.block_on(self.sweep_some()) };
            if !self.rest_until_stop(swept.map_or(IDLE, |took| self.rest_after(took))) {
                return;
            }
        }
    }

    /// These may have given something away.
    pub(super) fn sweep_up(&self, shards: impl Iterator<Item = ShardId>) {
        self.sweeping.lock().extend(shards.map(|shard| (shard, None)));
    }

    /// Whether there may be something to sweep up.
    #[cfg(feature = "simulation")]
    pub(crate) fn sweeps(&self) -> bool {
        !self.sweeping.lock().is_empty()
    }

    /// Removes the next rows; answers what that took of others, or `None` where there is nothing.
    pub(crate) async fn sweep_some(&self) -> Option<Duration> {
        let (shard, after) = self.sweeping.lock().pop_front()?;
        let view = self.owner.views().latest();
        if view.migrations().values().any(|migration| migration.shards().any(|other| other == shard)) {
            // It comes here again once that has ended.
            return Some(Duration::ZERO);
        }
        let left = match view.left_behind(shard, after.as_ref(), SWEEP_ROWS) {
            Ok(left) if left.is_empty() => return Some(Duration::ZERO),
            Ok(left) => left,
            Err(error) => {
                tracing::debug!(%error, %shard, "what a shard has given away stays in it");
                return Some(Duration::ZERO);
            }
        };
        let gone = match self.owner.upkeep(Upkeep::Sweep(left.clone())) {
            Ok(pending) => durable(pending).await.is_ok(),
            Err(_) => false,
        };
        // What could not be done now is tried again.
        self.sweeping.lock().push_front((shard, if gone { Some(left) } else { after }));
        Some(SWEEP_TOOK)
    }
}
