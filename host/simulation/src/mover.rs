//! What moves: somebody who splits, merges, moves and re-keys without need, and calls half of it off; and the steps of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ostrakon_engine::Context as Came;
use ostrakon_store::ReadView;
use ostrakon_wire::{ChangeShards, Operation, ShardChange, ShardKey};

use crate::world::{Woken, World};

/// What is being done to shards.
pub(crate) struct Mover {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

/// From here on rather less is made of shards than more.
const SHARDS_MANY: usize = 9;

impl World {
    /// One step of what moves. `false`: nothing does. `more`: something new may begin.
    pub(crate) fn move_step(&self, more: bool) -> bool {
        let mover = self.mover.borrow_mut().take();
        let Some(mut mover) = mover.or_else(|| self.next_move(more)) else { return false };
        if !mover.woken.is_set() {
            self.mover.replace(Some(mover));
            return false;
        }
        mover.woken.clear();
        let waker = Waker::from(Arc::clone(&mover.woken));
        match mover.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => drop(self.mover.replace(Some(mover))),
            Poll::Ready(()) => {
                self.tell(format_args!("moved"));
                let view = self.views().latest();
                self.oracle.borrow_mut().hold_places(&view);
            }
        }
        true
    }

    fn next_move(&self, more: bool) -> Option<Mover> {
        let (engine, view) = (self.engine(), self.views().latest());
        let future: Pin<Box<dyn Future<Output = ()>>> = if more && self.one_in(6) {
            let change = self.next_change(&view);
            self.tell(format_args!("shards: {change:?}"));
            let operation = Operation::ChangeShards(ChangeShards { change, reason: None });
            Box::pin(async move {
                // What cannot be done is refused, and nothing has happened.
                let _ = engine.handle(&operation, Came::default()).await;
            })
        } else if (engine.sweeps() || view.migrations().values().any(|migration| !migration.paused))
            && !engine.rests()
            && !self.has_failed()
        {
            Box::pin(async move { engine.migrate_once().await })
        } else {
            return None;
        };
        let woken = Arc::<Woken>::default();
        woken.wake_now();
        Some(Mover { future, woken })
    }

    fn next_change(&self, view: &ReadView) -> ShardChange {
        let map = view.map();
        let ranges = map.ranges();
        let shard = ranges[self.draw(ranges.len() as u32) as usize].shard;
        let running: Vec<u64> = view.migrations().keys().copied().collect();
        let number = match running.len() {
            0 => u64::from(self.draw(9)),
            count => running[self.draw(count as u32) as usize],
        };
        let object = |world: &Self| {
            let oracle = world.oracle.borrow();
            oracle.objects[world.draw(oracle.objects.len() as u32) as usize].id.clone()
        };
        let any_key = |world: &Self| ShardKey::new(u64::from(world.draw(u32::MAX)) << 32 | u64::from(world.draw(4)));
        match self.draw(16) {
            0..=3 if ranges.len() < SHARDS_MANY => {
                let at = self.one_in(3).then(|| any_key(self));
                ShardChange::Split { shard, at }
            }
            0..=6 => ShardChange::Merge(shard),
            7 => ShardChange::Move { shard, owner: self.draw(3) },
            8..=10 => ShardChange::RekeyObject { object: object(self), shard_key: Some(any_key(self)) },
            11 => ShardChange::Rekey { client: object(self).client().to_owned(), data_type: None },
            12 => ShardChange::Pause(self.one_in(2).then_some(number)),
            13 | 14 => ShardChange::Resume(self.one_in(2).then_some(number)),
            _ => ShardChange::Abort(number),
        }
    }
}
