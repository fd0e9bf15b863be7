//! Beginning migrations, and steering those that run.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ostrakon_core::{Moving, ShardMap};
use ostrakon_store::{Course, Does, Migration, NewShard, ReadView, Steer, Step};
use ostrakon_wire::bounds::MIGRATIONS_RUNNING_MAX;
use ostrakon_wire::{ShardId, ShardKey};

use super::{NotMoved, Shared, stepped};

/// A migration that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The keys of a shard from one on become a shard of their own; without a key: from the middle of its objects on. Without
    /// an owner it stays with the one that it has.
    Split { shard: ShardId, at: Option<ShardKey>, owner: Option<u32> },
    /// A shard and the next one become one: this one where the next one is named, else the one that holds more.
    Merge { left: ShardId, right: Option<ShardId> },
    /// A shard goes to another owner.
    Move { shard: ShardId, owner: u32 },
    /// The objects whose texts begin so come under the keys that the policy wants.
    Rekey(String),
}

impl Shared {
    /// Begins a migration; answers it as it stood then.
    pub(crate) async fn begin(&self, wanted: &Wanted, why: &str, by: &str) -> Result<Migration, NotMoved> {
        let _alone = self.beginning.lock().await;
        let view = self.owner.views().latest();
        if view.migrations().len() >= MIGRATIONS_RUNNING_MAX {
            return Err(NotMoved::Busy(format!("{MIGRATIONS_RUNNING_MAX} migrations are running, as many as may")));
        }
        let (course, new) = match wanted {
            Wanted::Split { shard, at, owner } => self.split(&view, *shard, *at, *owner).await?,
            Wanted::Merge { left, right } => (merge(&view, *left, *right)?, None),
            Wanted::Move { shard, owner } => (self.to_owner(view.map(), *shard, *owner)?, None),
            Wanted::Rekey(prefix) => (Course::Rekey { prefix: prefix.clone(), after: String::new() }, None),
        };
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut migration = Migration::new(number, course, why, by, self.owner.clock().now());
        if let Some(new) = &new {
            migration.step_us_max = new.held().as_micros().try_into().unwrap_or(u32::MAX);
        }
        if let Wanted::Move { .. } = wanted {
            migration.ended = Some(ostrakon_store::Ended::Done);
            migration.ended_at = migration.begun_at;
        }
        let made = new.as_ref().map(NewShard::shard);
        let begun = self.step(Does::Begin(migration, new)).await;
        // Where a persist has failed, the disk may name it.
        if let (Err(_), Some(shard)) = (&begun, made)
            && !self.owner.has_failed()
            && let Err(error) = self.owner.making().remove(shard)
        {
            tracing::warn!(%error, %shard, "a shard that was made for nothing stays until the next start");
        }
        let begun = begun?;
        tracing::info!(number, ?wanted, why, by, "a migration has begun");
        self.wake();
        as_stepped(&begun, number)
    }

    async fn split(
        &self,
        view: &Arc<ReadView>,
        shard: ShardId,
        at: Option<ShardKey>,
        owner: Option<u32>,
    ) -> Result<(Course, Option<NewShard>), NotMoved> {
        let map = view.map();
        let index = map.index_of(shard).ok_or_else(|| NotMoved::no_shard(shard))?;
        let at = match at {
            Some(at) => at,
            None => {
                let reading = Arc::clone(view);
                let middle = self.owner.on_reader(move || reading.middle(shard)).await?;
                let none = || NotMoved::Refused(format!("shard {shard} holds too little to be cut in its middle"));
                middle.ok_or_else(none)?
            }
        };
        let (first, last) = (map.ranges()[index].start, map.end_of(index));
        if at <= first || at > last {
            let words = format!("shard {shard} has the keys from {first} to {last}: {at} does not cut it");
            return Err(NotMoved::Refused(words));
        }
        let owner = owner.unwrap_or(map.ranges()[index].owner);
        // What could not begin is not made.
        let moving = |to| Moving { from: shard, to, start: at, last, cursor: (at, 0) };
        map.moving_also(moving(map.next_shard())).map_err(|reason| NotMoved::Refused(reason.to_string()))?;
        let (of, map) = (Arc::clone(&self.owner), Arc::clone(map));
        let made = self.owner.on_reader(move || Ok(of.making().make(&map))).await?;
        let new = made.map_err(|error| NotMoved::Refused(error.to_string()))?;
        Ok((Course::Split { moving: moving(new.shard()), owner }, Some(new)))
    }

    fn to_owner(&self, map: &ShardMap, shard: ShardId, owner: u32) -> Result<Course, NotMoved> {
        let index = map.index_of(shard).ok_or_else(|| NotMoved::no_shard(shard))?;
        let from = map.ranges()[index].owner;
        if owner >= self.owners {
            return Err(NotMoved::Refused(format!("there are {} owners, numbered from 0: no {owner}", self.owners)));
        }
        if from == owner {
            return Err(NotMoved::Refused(format!("owner {owner} has shard {shard} already")));
        }
        Ok(Course::Move { shard, from, to: owner })
    }

    /// Changes how a running migration goes on; answers it as it stood then.
    pub(crate) async fn steer(&self, number: u64, how: Steer) -> Result<Migration, NotMoved> {
        let step = self.step(Does::Steer { number, how }).await?;
        self.wake();
        as_stepped(&step, number)
    }
}

/// A migration as its step has left it: by the time somebody looks, it may have ended and been forgotten.
fn as_stepped(step: &Step, number: u64) -> Result<Migration, NotMoved> {
    let migration = stepped(step).view.migration(number)?;
    migration.ok_or_else(|| NotMoved::Unknown(format!("no migration {number} is remembered")))
}

/// The right one moves, or the one that holds less.
fn merge(view: &ReadView, left: ShardId, named: Option<ShardId>) -> Result<Course, NotMoved> {
    let map = view.map();
    let index = map.index_of(left).ok_or_else(|| NotMoved::no_shard(left))?;
    let Some(right) = map.ranges().get(index + 1).map(|range| range.shard) else {
        return Err(NotMoved::Refused(format!(
            "shard {left} has the last keys: there is no next one to merge it with"
        )));
    };
    if named.is_some_and(|named| named != right) {
        return Err(NotMoved::Refused(format!("shard {left} is followed by shard {right} now")));
    }
    let rows = |shard| view.rows_about(shard);
    let (from, to, index) =
        if named.is_none() && rows(left)? < rows(right)? { (left, right, index) } else { (right, left, index + 1) };
    let (start, last) = (map.ranges()[index].start, map.end_of(index));
    Ok(Course::Merge(Moving { from, to, start, last, cursor: (start, 0) }))
}
