//! The counts of a trace: one place for every number of a summary that does not depend on the host.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use crate::play::{Play, What};

/// How many events are played as what. `events` is the sum of all others but `objects`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All events, skipped ones included.
    pub events: u64,
    /// Played as a read, failed calls included.
    pub reads: u64,
    /// Played as a list.
    pub lists: u64,
    /// Played as a merge.
    pub merges: u64,
    /// Played as a delete.
    pub deletes: u64,
    /// Not played, by [`crate::SkipReason::as_str`].
    pub skipped: BTreeMap<&'static str, u64>,
    /// Distinct objects named by any event that is played, reads and failed calls included.
    pub objects: u64,
}

/// Counts `plays`.
pub fn tally(plays: &[Play]) -> Tally {
    let mut tally = Tally { events: plays.len() as u64, ..Tally::default() };
    for play in plays {
        match &play.what {
            What::Read(_) => tally.reads += 1,
            What::List { .. } => tally.lists += 1,
            What::Merge { .. } => tally.merges += 1,
            What::Delete(_) => tally.deletes += 1,
            What::Skip(reason) => *tally.skipped.entry(reason.as_str()).or_default() += 1,
        }
    }
    let objects: HashSet<_> = plays.iter().filter_map(Play::object).collect();
    tally.objects = objects.len() as u64;
    tally
}
