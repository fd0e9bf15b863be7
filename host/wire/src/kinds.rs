//! Enumerations that both ends name by number.

/// What an action does to an object. The numbers are the wire's and the disk's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ActionKind {
    /// Replace the payload.
    Put = 1,
    /// Merge a patch into it (RFC 7396).
    Merge = 2,
    /// Add to numbers in it.
    Add = 3,
    /// Delete the object.
    Delete = 4,
    /// What the reconciliation policy makes of a kind and a body.
    Custom = 5,
}

/// The three kinds of policy. The numbers are the wire's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum PolicyKind {
    /// Where should this object live?
    ShardKey = 1,
    /// Which version will this write meet?
    Prediction = 2,
    /// What becomes of an action that lost?
    Reconciliation = 3,
}

/// What the caller wants done when its write loses. The numbers are the wire's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum OnConflict {
    /// Answer the conflict at once.
    #[default]
    Reject = 1,
    /// Run the action again on the winner, and wait for the outcome.
    Reconcile = 2,
    /// The same, but answer with a ticket now.
    Detach = 3,
}

/// How a person settles an escalation. The numbers are the wire's and the disk's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SettleHow {
    /// Run the action once more.
    Retry = 1,
    /// Store a payload in its place.
    Resolve = 2,
    /// Leave it undone.
    Discard = 3,
}

impl SettleHow {
    /// The way of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Retry, Self::Resolve, Self::Discard].into_iter().find(|how| *how as u64 == number)
    }

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Resolve => "resolve",
            Self::Discard => "discard",
        }
    }
}

impl ActionKind {
    /// The kind of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Put, Self::Merge, Self::Add, Self::Delete, Self::Custom].into_iter().find(|kind| *kind as u64 == number)
    }

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Merge => "merge",
            Self::Add => "add",
            Self::Delete => "delete",
            Self::Custom => "custom",
        }
    }
}

impl PolicyKind {
    /// Every kind, in order of number.
    pub const ALL: [Self; 3] = [Self::ShardKey, Self::Prediction, Self::Reconciliation];

    /// The kind of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u64 == number)
    }

    /// Its name, as on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ShardKey => "shard-key",
            Self::Prediction => "prediction",
            Self::Reconciliation => "reconciliation",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl OnConflict {
    /// The choice of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Reject, Self::Reconcile, Self::Detach].into_iter().find(|choice| *choice as u64 == number)
    }
}
