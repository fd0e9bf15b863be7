//! Actions that the reconciliation policy decides about: a connection keeps so many under way, whatever they are.

use std::time::Instant;

use anyhow::{Context as _, bail};
use ostrakon_wire::{Action, ObjectId, OnConflict, Operation, Reply};

use crate::load::{Random, Tally, Window};
use crate::pipe::{Caller, action_id, perform};
use crate::shards::Count;

/// The action that comes next, the object that it is for, and the version that it is made for.
pub(crate) struct Next {
    pub(crate) object: ObjectId,
    pub(crate) action: Action,
    pub(crate) known: u64,
}

/// Keeps so many actions under way until the window is over. Answers what was committed, and how many were given up.
pub(crate) async fn drive(
    mut wire: Caller,
    in_flight: usize,
    mut random: Random,
    window: Window,
    count: &impl Count,
    mut next: impl FnMut(&mut Random) -> anyhow::Result<Next>,
) -> anyhow::Result<(Tally, u64)> {
    let (mut tally, mut given_up, mut under_way) = (Tally::new(window), 0, 0);
    let mut begun = vec![Instant::now(); in_flight];
    let mut free: Vec<usize> = (0..in_flight).collect();
    loop {
        if !window.is_over(Instant::now()) {
            for place in free.drain(..) {
                let Next { object, action, known } = next(&mut random)?;
                begun[place] = Instant::now();
                under_way += 1;
                let perform = perform(object, action, known, action_id(random.next()), OnConflict::Reconcile);
                wire.ask(place as u64, Operation::Perform(perform));
            }
        }
        if under_way == 0 {
            return Ok((tally, given_up));
        }
        wire.flush().await?;
        wire.fill().await?;
        while let Some(answer) = wire.answer()? {
            let (place, now) = (answer.id as usize, Instant::now());
            under_way -= 1;
            free.push(place);
            match answer.outcome {
                Ok(Reply::Committed(committed)) => {
                    count.answered(committed.decided.shard, true);
                    tally.committed(begun[place], now);
                }
                Err(error) if error.escalation.is_some() => given_up += u64::from(window.counts(now)),
                Err(error) => return Err(error).context("an action was refused"),
                Ok(other) => bail!("answer {} to an action", other.number()),
            }
        }
    }
}
