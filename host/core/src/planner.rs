//! The planner: the map, the load and the owners in, decisions out. Somebody else carries them out.
//!
//! It knows no clock, no randomness and no I/O; the same arguments give the same decisions. All that it must keep from call to
//! call is its [`Memory`], which is handed in. What it decided it takes for under way until the map shows it as done (or
//! [`Memory::failed`] tells that it was given up), and counts it as done when it weighs what else to do.
//!
//! Owners get shards by consistent hashing with bounded loads ([`homes`] for a first map, [`home`] for a shard whose owner is
//! down). A move on top of that is an exception that costs something: it is made when an owner has been over its bound, and
//! brings relief. What always holds:
//!
//! - A shard is split only where both sides get relief; where there is cause and no such place, the refusal says why.
//! - Nothing is taken back within [`Limits::reversal_ms`]: no boundary goes that a split has made, none comes back that a merge
//!   has taken away, no shard goes back where it was moved from.
//! - A condition has to last, shards rest after a decision, and few decisions are under way at a time; only what an owner
//!   that is down leaves behind does not wait for any of that.
//! - Pinned shards and those that do not serve are left alone.

mod apply;
mod balance;
mod cold;
mod cut;
mod decision;
mod evacuate;
mod home;
mod hot;
mod limits;
mod memory;
mod scene;
#[cfg(test)]
mod tests;

pub use apply::{Stale, apply};
pub use decision::{ALTERNATIVES_MAX, Alternative, Decision, Instead, Reason, What, Why};
pub use home::{Seat, home, homes, rank};
pub use limits::Limits;
pub use memory::Memory;

use crate::load::ShardLoad;
use crate::shard_map::ShardMap;
use scene::Scene;

/// An owner as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OwnerState {
    /// Who.
    pub owner: u32,
    /// Whether it serves. One that the list does not name counts as down.
    pub up: bool,
    /// What share of the work it should have, against the others'; what is not above 0 counts as 1.
    pub weight: f64,
}

impl OwnerState {
    /// One that serves, like any other.
    pub fn up(owner: u32) -> Self {
        Self { owner, up: true, weight: 1.0 }
    }
}

/// What is to be done now. Call it about every second, with loads as new; `now_ms` never goes back.
///
/// Whoever carries the decisions out gives up what is for an owner that has gone down meanwhile, and calls [`Memory::failed`].
/// The decisions of one call are about different shards, and all fit the map that was given ([`apply`]). A refusal is told once
/// in [`Limits::refusal_ms`].
pub fn plan(
    map: &ShardMap,
    loads: &[ShardLoad],
    owners: &[OwnerState],
    limits: &Limits,
    memory: &mut Memory,
    now_ms: u64,
) -> Vec<Decision> {
    let paused = memory.decided_ms.is_some_and(|decided_ms| now_ms.saturating_sub(decided_ms) < limits.pause_ms);
    let mut scene = Scene::new(map, loads, owners, limits, memory, now_ms);
    evacuate::evacuate(&mut scene);
    // Hot shards before owners: what they are cut into is what can be moved.
    hot::split_hot(&mut scene, paused);
    balance::relieve(&mut scene, paused);
    balance::fill(&mut scene, paused);
    cold::merge_cold(&mut scene, paused);
    scene.into_decisions()
}
