//! Numbers with a meaning: one type each, so that none is taken for another.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the plain number.
            pub const fn new(number: $inner) -> Self {
                Self(number)
            }

            /// The plain number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Version of one object: +1 at every committed change, a delete included; 0 is absent.
    Version(u64)
}
number! {
    /// Place of a commit unit in the log: +1 for every one.
    Revision(u64)
}
number! {
    /// Where an object should live, as the policy said; recorded with the object.
    ShardKey(u64)
}
number! {
    /// A shard: a contiguous range of the shard-key space. Never reused.
    ShardId(u32)
}
number! {
    /// Which shard map: +1 whenever it is replaced.
    MapEpoch(u64)
}
number! {
    /// Which loaded component in a policy slot: +1 at every swap, from 1.
    Generation(u64)
}
number! {
    /// The log a revision belongs to: drawn when a data folder is made.
    LogId(u64)
}
number! {
    /// Milliseconds since 1970-01-01 UTC.
    TimestampMs(u64)
}

impl Version {
    /// No object.
    pub const ABSENT: Self = Self(0);

    /// The version after this one; `None` at the end of the numbers.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl MapEpoch {
    /// The epoch after this one; there are enough of them for any life of a store.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Generation {
    /// The first one in a slot.
    pub const FIRST: Self = Self(1);
}
