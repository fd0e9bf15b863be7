//! What is known in memory of the escalations: how many are open, which are settled, which are being settled.

use std::collections::{HashSet, VecDeque};

use ostrakon_wire::Revision;
use ostrakon_wire::bounds::{ESCALATIONS_OPEN_MAX, ESCALATIONS_SETTLED_MAX};

pub(super) struct Escalations {
    open: usize,
    /// Oldest first, as they were settled.
    settled: VecDeque<Revision>,
    settling: HashSet<Revision>,
}

impl Escalations {
    pub(super) fn new(open: usize, settled: VecDeque<Revision>) -> Self {
        Self { open, settled, settling: HashSet::new() }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// Takes a place for one more; `false` where there is none.
    pub(super) fn add(&mut self) -> bool {
        let free = self.open < ESCALATIONS_OPEN_MAX;
        self.open += usize::from(free);
        free
    }

    /// Gives a place back that was not used.
    pub(super) fn take_back(&mut self) {
        self.open -= 1;
    }

    pub(super) fn begin_settling(&mut self, number: Revision) -> bool {
        // What was settled a moment ago may not be durable yet.
        !self.settled.contains(&number) && self.settling.insert(number)
    }

    pub(super) fn end_settling(&mut self, number: Revision) {
        self.settling.remove(&number);
    }

    /// The one that makes room for the next that is settled, where there is none.
    pub(super) fn to_drop(&self) -> Option<Revision> {
        self.settled.front().copied().filter(|_| self.settled.len() >= ESCALATIONS_SETTLED_MAX)
    }

    /// One is settled.
    pub(super) fn settled(&mut self, number: Revision) {
        self.open = self.open.saturating_sub(1);
        self.settled.push_back(number);
        if self.settled.len() > ESCALATIONS_SETTLED_MAX {
            self.settled.pop_front();
        }
    }
}
