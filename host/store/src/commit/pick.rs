//! Which of the changes that wait make the next group.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;

use ostrakon_wire::bounds::GROUP_BYTES_MAX;
use ostrakon_wire::{ObjectId, ShardId};

use super::{Queued, Sink, Thread};
use crate::unit::{Unit, Upkeep};

/// Re-keys of a group at most: each moves all versions of an object.
const REKEYS_OF_GROUP_MAX: usize = 16;

impl<S: Sink> Thread<S> {
    /// Moves the next group's changes over, in order; those of a shard that is held back stay, all of them, and those of
    /// the ones that somebody has alone.
    pub(super) fn pick(
        &self,
        backlog: &mut VecDeque<Queued<S::Token>>,
        group: &mut Vec<Queued<S::Token>>,
        alone: &[ShardId],
    ) {
        let mut bytes = 0;
        let mut rekeyed = HashSet::new();
        let fits = |bytes: usize, group: &Vec<Queued<_>>, rekeyed: &HashSet<ObjectId>, next: &Unit| {
            // What follows a re-key may write where it has put something: it waits for the next batch.
            let waits = !rekeyed.is_empty() && next.objects().any(|object| rekeyed.contains(object));
            bytes < GROUP_BYTES_MAX && group.len() < self.group_max && rekeyed.len() < REKEYS_OF_GROUP_MAX && !waits
        };
        let rekeys = |unit: &Unit| match unit {
            Unit::Rekey(rekey) => Some(rekey.object.clone()),
            _ => None,
        };
        // Nobody is held back from being told that nothing is written any more, nor when the host stops.
        let hold = !self.stats.failed.load(Ordering::Relaxed) && !self.queue.is_closed();
        let held = self.flusher.as_ref().map(|flusher| flusher.tables().held()).filter(|held| hold && held.any_is());
        if held.is_none() && alone.is_empty() {
            while let Some(queued) = backlog.pop_front_if(|next| fits(bytes, group, &rekeyed, &next.unit)) {
                bytes += queued.bytes;
                rekeyed.extend(rekeys(&queued.unit));
                group.push(queued);
            }
            return;
        }
        let is_held = |shard| alone.contains(&shard) || held.is_some_and(|held| held.is_held(shard));
        let map = &self.store.map;
        let writes_there =
            |unit: &Unit| !alone.is_empty() && unit.spots().any(|spot| alone.contains(&map.holder(spot)));
        // What is dropped has no order, and is found again.
        let has_order = |unit: &Unit| !matches!(unit, Unit::Upkeep(Upkeep::Drop(_)));
        // Whether a shard is held can change at any moment: once one of its changes is kept, all later ones are.
        let mut skipped = HashSet::new();
        let mut kept = VecDeque::with_capacity(backlog.len());
        // What does not wait with a shard, since nothing may overtake it, ends the group where it would write to one alone.
        let mut ended = false;
        for queued in backlog.drain(..) {
            let mut shards = queued.unit.shards(map);
            let waits = shards.any(|shard| skipped.contains(&shard) || is_held(shard));
            let may = !waits && !writes_there(&queued.unit);
            ended |= !waits && !may && has_order(&queued.unit);
            if !ended && may && fits(bytes, group, &rekeyed, &queued.unit) {
                drop(shards);
                bytes += queued.bytes;
                rekeyed.extend(rekeys(&queued.unit));
                group.push(queued);
            } else {
                drop(shards);
                skipped.extend(queued.unit.shards(map));
                kept.push_back(queued);
            }
        }
        *backlog = kept;
    }
}
