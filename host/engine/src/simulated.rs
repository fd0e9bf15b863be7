//! An engine without threads: whatever a thread would do next, a simulation does when it pleases.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use ostrakon_store::{Driver, Recovered, Store};

use crate::owner::{Owner, OwnerSink};
use crate::rebalance::Moves;
use crate::{Engine, Policies, StartError, remembered};

/// What works for a simulated engine.
pub struct Machinery {
    owner: Arc<Owner>,
    committing: RefCell<Driver<OwnerSink>>,
}

impl Engine {
    /// An engine on a store that a simulation made, whose commit queue takes so many changes.
    ///
    /// # Errors
    /// None that a simulated store knows.
    pub fn simulated(
        (store, mut recovered): (Store, Recovered),
        policies: Policies,
        tries_max: u32,
        changes_max: usize,
        observe_lag: Duration,
    ) -> Result<(Self, Machinery), StartError> {
        let ids = remembered(&mut recovered);
        // What is simulated takes no time: steps are as small as they can be.
        let moves = Moves { owners: store.owners().max(1), step_objects: Some(1) };
        let (owner, committing) = Owner::driven(store, Arc::clone(&ids), changes_max)?;
        let owner = Arc::new(owner);
        let machinery = Machinery { owner: Arc::clone(&owner), committing: RefCell::new(committing) };
        Ok((Self::of(owner, ids, policies, recovered, tries_max, observe_lag, moves), machinery))
    }

    /// Gives one object its turn with the agent. `false`: none is due.
    pub fn reconcile_once(&self) -> bool {
        self.agent.work_once()
    }

    /// Makes a step of each migration that runs, and sweeps up some of what others have left.
    pub async fn migrate_once(&self) {
        self.rebalancer.shared().work_once().await;
        self.rebalancer.shared().sweep_some().await;
    }

    /// Whether there may be something to sweep up behind migrations.
    pub fn sweeps(&self) -> bool {
        self.rebalancer.shared().sweeps()
    }

    /// Whether all migrations rest.
    pub fn rests(&self) -> bool {
        self.rebalancer.shared().is_halted()
    }

    /// Hands one group out to those who watch. `false`: none waits.
    pub fn hand_out_once(&self) -> bool {
        self.feed.hand_out_one()
    }

    /// Does one of the reads of those who watch. `false`: none waits.
    pub fn read_feed_once(&self, choice: usize) -> bool {
        self.feed.read_one(choice)
    }

    /// Asks about one action of a transaction. `false`: none waits.
    pub fn judge_once(&self, choice: usize) -> bool {
        self.judges.judge_one(choice)
    }

    /// How many microseconds pass until the agent has something to do, if it has nothing now and will have.
    pub fn next_turn_us(&self) -> Option<u64> {
        let at = self.agent.next_turn()?;
        Some(at.saturating_duration_since(self.owner.clock().instant()).as_micros() as u64)
    }

    /// Cases, tickets and open escalations that the engine counts.
    pub fn counted(&self) -> (usize, usize, usize) {
        (self.agent.waiting(), self.agent.tickets(), self.agent.escalations_open())
    }
}

impl Machinery {
    /// Commits a group of at most so many changes. `false`: nothing waits.
    pub fn commit_once(&self, changes_max: usize) -> bool {
        self.committing.borrow_mut().commit(changes_max)
    }

    /// Whether a persist has failed.
    pub fn has_failed(&self) -> bool {
        self.owner.has_failed()
    }

    /// Does one of the reads that wait. `false`: none does.
    pub fn read_once(&self, choice: usize) -> bool {
        self.owner.read_one(choice)
    }
}
