//! The floors of the action ids: below them an id that is not remembered may have been used, and must not run.

use std::collections::HashMap;

use ostrakon_wire::bounds::AHEAD_CLIENTS_MAX;
use ostrakon_wire::{ActionId, TimestampMs};

/// The floors. They rise only when remembered ids are dropped.
///
/// An id's time is its maker's word. One floor for all would let a client whose clock runs ahead push the floor above
/// everybody's ids; so an id that was ahead of its own commit raises its client's floor alone, until the common
/// floor has caught up with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Floors {
    /// For every client.
    pub all: TimestampMs,
    /// For clients whose ids ran ahead of the clock.
    pub ahead: HashMap<String, TimestampMs>,
}

impl Floors {
    /// Whether an id that is not remembered may have been dropped.
    pub fn covers(&self, client: &str, id: ActionId) -> bool {
        let floor = self.ahead.get(client).map_or(self.all, |own| self.all.max(*own));
        id.timestamp() <= floor && floor != TimestampMs::default()
    }

    /// Raises the floors for an id that is dropped, which was committed at `committed`.
    pub fn drop_id(&mut self, client: &str, id: ActionId, committed: TimestampMs) {
        let at = id.timestamp().max(TimestampMs::new(1));
        if at <= committed || self.ahead.len() >= AHEAD_CLIENTS_MAX && !self.ahead.contains_key(client) {
            self.all = self.all.max(at);
        } else {
            let floor = self.ahead.entry(client.to_owned()).or_default();
            *floor = at.max(*floor);
        }
    }

    /// Forgets the clients that the common floor has caught up with.
    pub fn settle(&mut self) {
        let all = self.all;
        self.ahead.retain(|_, floor| *floor > all);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u128) -> ActionId {
        ActionId::from_bits(ms << 80 | 7)
    }

    #[test]
    fn a_clock_that_runs_ahead_raises_its_own_floor_alone() {
        let now = TimestampMs::new(1_000);
        let mut floors = Floors::default();
        assert!(!floors.covers("a", id(0)), "before anything is dropped every id may run");
        floors.drop_id("fast", id(5_000), now);
        floors.drop_id("a", id(900), now);
        assert!(floors.covers("a", id(900)) && !floors.covers("a", id(901)));
        assert!(floors.covers("fast", id(5_000)) && !floors.covers("fast", id(5_001)));
        floors.drop_id("b", id(5_000), TimestampMs::new(6_000));
        floors.settle();
        assert!(floors.ahead.is_empty() && floors.covers("fast", id(5_000)));
    }
}
