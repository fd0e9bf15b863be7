//! What the planner keeps to, and by what it takes a shard for hot, cold or out of place.

use std::collections::BTreeSet;

use ostrakon_wire::ShardId;

/// What the planner keeps to. Shares are parts of 1.
///
/// An owner's *fair part* is what it would have if the work stood evenly on all owners, by their weights; what nothing can
/// take apart (one object, a pinned shard) and is more than that is left out of the sum, and its owner with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// The fewest shards that merges leave.
    pub shards_min: usize,
    /// The most shards that splits make.
    pub shards_max: usize,
    /// Shards that nothing is done to.
    pub pinned: BTreeSet<ShardId>,

    /// A shard with more work than this is split, however the owners stand. As [`crate::load::ShardLoad::work`].
    pub split_work: f64,
    /// So is one that has more than this share of an owner's fair part, where there are several owners.
    pub alone_share: f64,
    /// An owner over its bound that no move relieves has a shard split if that has at least this share of a fair part.
    pub split_share: f64,
    /// What each side of a split gets of the shard's work, at least.
    pub side_share_min: f64,
    /// A shard of whose work one object has more than this share is not split.
    pub object_share_max: f64,
    /// A shard whose load moves along the keys by more than this (see [`crate::load::ShardLoad::trend`]), either way, is not split.
    pub trend_max: f64,
    /// Samples that a split is decided by, at least.
    pub samples_min: usize,

    /// Two neighbours are merged if they have no more work together than this,
    pub merge_work: f64,
    /// no more than this share of an owner's fair part,
    pub merge_share: f64,
    /// and no more bytes.
    pub merge_bytes: u64,

    /// While an owner's fair part is less work than this, owners are not balanced: little is left to share out.
    pub idle_work: f64,
    /// An owner with more than this times its fair part is over its bound.
    pub over: f64,
    /// One with less than this times its fair part is given shards.
    pub under: f64,
    /// How full, in fair parts, an owner may get by a move.
    pub full: f64,
    /// What a move or split must bring, in fair parts: by so much the fuller of the two owners gets emptier.
    pub gain_min: f64,
    /// Bytes that cost as much to move as the change of the map itself.
    pub move_bytes: u64,

    /// For how long a shard must be hot or an owner out of its bounds.
    pub sustain_ms: u64,
    /// For how long two neighbours must be cold.
    pub cold_sustain_ms: u64,
    /// For how long a shard is let alone after a decision about it has been carried out.
    pub cooldown_ms: u64,
    /// For how long a shard that was moved is not moved again, but off an owner that is down.
    pub stay_ms: u64,
    /// The least time between two calls that decide anything, but to empty an owner that is down.
    pub pause_ms: u64,
    /// For how long nothing is taken back: what was split is not merged, what was merged is not split, and what was moved
    /// does not go back.
    pub reversal_ms: u64,
    /// For how long the same refusal is not told again.
    pub refusal_ms: u64,
    /// How long an owner that has come up must stay so before it is given anything; doubled each time that it goes down
    /// again within `reversal_ms`, up to sixteen times.
    pub settle_ms: u64,

    /// Decisions that are carried out at a time. What leaves an owner that is down counts, but does not wait.
    pub moves_at_a_time: usize,
    /// Shards that are on their way to one owner at a time.
    pub arrivals_at_a_time: usize,
    /// The share of the key space that may be in motion. One decision at a time is allowed whatever its share, so that
    /// a map of one shard can be cut.
    pub motion_max: f64,
}

impl Limits {
    /// For so many owners.
    pub fn for_owners(owners: usize) -> Self {
        let owners = owners.max(1);
        Self {
            shards_min: 4 * owners,
            shards_max: (16 * owners).max(256),
            pinned: BTreeSet::new(),
            split_work: 300_000.0,
            alone_share: 0.6,
            split_share: 0.1,
            side_share_min: 0.25,
            object_share_max: 0.6,
            trend_max: 0.7,
            samples_min: 16,
            merge_work: 30_000.0,
            merge_share: 0.04,
            merge_bytes: 1 << 30,
            idle_work: 10_000.0,
            over: 1.10,
            under: 0.80,
            full: 1.05,
            gain_min: 0.02,
            move_bytes: 256 << 20,
            sustain_ms: 5_000,
            cold_sustain_ms: 120_000,
            cooldown_ms: 5_000,
            stay_ms: 60_000,
            pause_ms: 1_000,
            reversal_ms: 600_000,
            refusal_ms: 600_000,
            settle_ms: 15_000,
            moves_at_a_time: 4 + owners / 4,
            arrivals_at_a_time: 2,
            motion_max: 0.09,
        }
    }
}

impl Default for Limits {
    /// For a host with eight owners.
    fn default() -> Self {
        Self::for_owners(8)
    }
}
