//! What the planner decides and why, in types, and in words for who reads the list of decisions.

use std::fmt;

use ostrakon_wire::{ShardId, ShardKey};

/// A decision, and what was weighed against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What is to be done.
    pub what: What,
    /// What made the planner look.
    pub reason: Reason,
    /// What it brings, in fair parts of an owner, by what it costs: see [`Alternative::score`].
    pub score: f64,
    /// What else there was, the best first. Never longer than [`ALTERNATIVES_MAX`].
    pub alternatives: Vec<Alternative>,
}

/// The most alternatives that a decision tells.
pub const ALTERNATIVES_MAX: usize = 4;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum What {
    /// Cut a shard in two: it keeps the keys below `at`, a new shard gets the others.
    Split {
        /// The shard.
        shard: ShardId,
        /// The first key of the new shard.
        at: ShardKey,
        /// Who owns the new shard.
        owner: u32,
    },
    /// Make one shard, the left one, with its owner, of two neighbours.
    Merge {
        /// The lower one, which stays.
        left: ShardId,
        /// The upper one, which goes.
        right: ShardId,
    },
    /// Give a shard to another owner.
    Move {
        /// The shard.
        shard: ShardId,
        /// Its new owner.
        to: u32,
    },
    /// Nothing, though there was cause.
    Refuse {
        /// The shard.
        shard: ShardId,
        /// Why not.
        why: Why,
    },
}

impl What {
    /// Its name, in kebab case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Split { .. } => "split",
            Self::Merge { .. } => "merge",
            Self::Move { .. } => "move",
            Self::Refuse { .. } => "refuse",
        }
    }

    /// The shard that it is about; of two, the one that stays.
    pub fn shard(&self) -> ShardId {
        match *self {
            Self::Split { shard, .. } | Self::Move { shard, .. } | Self::Refuse { shard, .. } => shard,
            Self::Merge { left, .. } => left,
        }
    }
}

/// What made the planner look.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Reason {
    /// The shard's work, in microseconds a second, is over the setting.
    Hot {
        /// Its work.
        work: f64,
    },
    /// The shard alone has this share of an owner's fair part, so that no assignment balances the owners.
    Large {
        /// In fair parts.
        share: f64,
    },
    /// The shard's owner has been over its bound.
    OwnerOver {
        /// Who.
        owner: u32,
        /// How many times its fair part it has.
        ratio: f64,
    },
    /// Another owner has had too little.
    OwnerUnder {
        /// Who.
        owner: u32,
        /// How many times its fair part it has.
        ratio: f64,
    },
    /// The shard's owner is down.
    OwnerDown {
        /// Who.
        owner: u32,
    },
    /// Two neighbours have little work together.
    Cold {
        /// Their work, in microseconds a second.
        work: f64,
    },
}

/// Why nothing is done about a shard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Why {
    /// One object has too much of its work.
    OneObject {
        /// The object's digest.
        object: u64,
        /// Its share of the shard's work.
        share: f64,
    },
    /// Its load moves along the keys.
    Moving {
        /// Up (towards 1) or down (towards -1).
        trend: f64,
    },
    /// Too little is known of where its work falls.
    FewSamples {
        /// How many there are.
        samples: usize,
        /// How many there must be.
        wanted: usize,
    },
    /// There is no key between two objects that gives both sides enough.
    NoCut,
    /// There are as many shards as there may be.
    ShardsMax {
        /// How many.
        shards: usize,
    },
    /// It was merged a short time ago.
    JustMerged {
        /// How long ago.
        ago_ms: u64,
    },
    /// It is pinned.
    Pinned,
    /// It does not serve.
    Unavailable,
    /// There is no owner that it could go to.
    NoOwner,
    /// Its owner is over its bound, but neither a move nor a split would relieve it.
    NoRelief,
}

impl Why {
    /// Its name, in kebab case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::OneObject { .. } => "one-object",
            Self::Moving { .. } => "moving",
            Self::FewSamples { .. } => "few-samples",
            Self::NoCut => "no-cut",
            Self::ShardsMax { .. } => "shards-max",
            Self::JustMerged { .. } => "just-merged",
            Self::Pinned => "pinned",
            Self::Unavailable => "unavailable",
            Self::NoOwner => "no-owner",
            Self::NoRelief => "no-relief",
        }
    }
}

/// Something else that could have been done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alternative {
    /// What.
    pub what: Instead,
    /// By how many fair parts the fuller of the two owners would get emptier, or the emptier fuller where that is the cause,
    /// divided by the cost: 1 for the change of the map, and 1 for as many bytes as the setting says. A split's whose halves
    /// stay together: how much more can be moved by itself, for the cost. A merge's: one shard fewer, for the cost. Off an
    /// owner that is down: the work that is served again, in fair parts, for the cost.
    pub score: f64,
}

/// What could have been done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Instead {
    /// Leave it as it is.
    Nothing,
    /// Move this shard there.
    Move {
        /// The shard.
        shard: ShardId,
        /// Its owner then.
        to: u32,
    },
    /// Split it as decided, and leave the new shard with this owner.
    KeepWith {
        /// Who.
        owner: u32,
    },
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let What::Refuse { .. } = self.what {
            return write!(f, "{} ({})", self.what, self.reason);
        }
        write!(f, "{}: {}; score {:.3}", self.what, self.reason, self.score)?;
        for (index, other) in self.alternatives.iter().enumerate() {
            let lead = if index == 0 { "; instead of: " } else { ", " };
            write!(f, "{lead}{} {:.3}", other.what, other.score)?;
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Split { shard, at, owner } => {
                write!(f, "split shard {shard} at key {:016x}, the upper half to owner {owner}", at.get())
            }
            Self::Merge { left, right } => write!(f, "merge shard {right} into its lower neighbour {left}"),
            Self::Move { shard, to } => write!(f, "move shard {shard} to owner {to}"),
            Self::Refuse { shard, why } => write!(f, "shard {shard} {why}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hot { work } => write!(f, "it has {:.0} ms of work a second", work / 1_000.0),
            Self::Large { share } => write!(f, "it alone has {share:.2} times an owner's fair part"),
            Self::OwnerOver { owner, ratio } => write!(f, "owner {owner} has {ratio:.2} times its fair part"),
            Self::OwnerUnder { owner, ratio } => write!(f, "owner {owner} has only {ratio:.2} times its fair part"),
            Self::OwnerDown { owner } => write!(f, "owner {owner} is down"),
            Self::Cold { work } => write!(f, "together they have only {:.1} ms of work a second", work / 1_000.0),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OneObject { share, .. } => write!(f, "not split: one object has {:.0} % of its work", share * 100.0),
            Self::Moving { trend } => {
                let way = if *trend > 0.0 { "up" } else { "down" };
                write!(f, "not split: its load moves {way} the keys, both halves would not get relief")
            }
            Self::FewSamples { samples, wanted } => {
                write!(f, "not split: only {samples} samples say where its work falls, {wanted} are wanted")
            }
            Self::NoCut => f.write_str("not split: no key between two objects gives both halves enough of its work"),
            Self::ShardsMax { shards } => write!(f, "not split: there are {shards} shards, as many as there may be"),
            Self::JustMerged { ago_ms } => write!(f, "not split: it was merged {} s ago", ago_ms / 1_000),
            Self::Pinned => f.write_str("left alone: it is pinned"),
            Self::Unavailable => f.write_str("left alone: it does not serve"),
            Self::NoOwner => f.write_str("not moved: there is no owner that it could go to"),
            Self::NoRelief => f.write_str("left where it is: neither a move nor a split would relieve its owner"),
        }
    }
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("leaving it"),
            Self::Move { shard, to } => write!(f, "moving shard {shard} to owner {to}"),
            Self::KeepWith { owner } => write!(f, "leaving both halves with owner {owner}"),
        }
    }
}
