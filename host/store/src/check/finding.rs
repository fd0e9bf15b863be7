//! What can disagree in a folder, and the words for it.

use std::fmt::Write as _;

use ostrakon_wire::{ActionId, ObjectId, Revision, ShardId, Version};

use crate::record::DamagedRecord;

/// One disagreement.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A record cannot be read.
    #[error("{keyspace}, key {key}: {what}")]
    Damaged {
        /// Where it stands.
        keyspace: String,
        /// Its key, in hexadecimal.
        key: String,
        /// What is wrong.
        what: String,
    },
    /// A shard is not there: its files were damaged, and set aside.
    #[error("shard {shard} is set aside")]
    NoShard {
        /// The shard.
        shard: ShardId,
    },
    /// An object has a locator and no version.
    #[error("{} has a locator and no version", object.readable())]
    NoRow {
        /// The object.
        object: ObjectId,
    },
    /// A version of an object that no locator leads to.
    #[error("version {version} of {} stands in shard {shard}, and no locator leads to it", object.readable())]
    NoLocator {
        /// The object.
        object: ObjectId,
        /// Its version.
        version: Version,
        /// Where it stands.
        shard: ShardId,
    },
    /// A version stands elsewhere than the locator of its object says.
    #[error("version {version} of {} does not stand where its locator says", object.readable())]
    OtherPlace {
        /// The object.
        object: ObjectId,
        /// Its version.
        version: Version,
    },
    /// A version stands where its locator says, and once more.
    #[error("version {version} of {} stands there twice", object.readable())]
    VersionTwice {
        /// The object.
        object: ObjectId,
        /// Its version.
        version: Version,
    },
    /// A version is missing between two others.
    #[error("of {}, version {found} comes after version {above} where version {} belongs", object.readable(), above.get() - 1)]
    VersionGap {
        /// The object.
        object: ObjectId,
        /// The version above the gap.
        above: Version,
        /// The version below it.
        found: Version,
    },
    /// A number stands for two objects.
    #[error("one number stands for {} and for {}", one.readable(), other.readable())]
    NumberTwice {
        /// One object.
        one: ObjectId,
        /// The other.
        other: ObjectId,
    },
    /// A number is in use that may be given out once more.
    #[error("the number of {} may be given out again", object.readable())]
    NumberNotGiven {
        /// The object.
        object: ObjectId,
    },
    /// The log does not go on where it should.
    #[error("the log has a hole: revision {found} stands where {expected} belongs")]
    LogHole {
        /// What must come next.
        expected: Revision,
        /// What comes next.
        found: Revision,
    },
    /// The log ends before what was acknowledged.
    #[error("the log ends with revision {last}, and revision {acknowledged} was acknowledged")]
    LogShort {
        /// Its last change.
        last: Revision,
        /// What it must reach at least.
        acknowledged: Revision,
    },
    /// An action id stands in the log twice: it had two effects.
    #[error("action {id} of {} is in the log twice, the second time as revision {revision}", object.client())]
    IdTwice {
        /// The id.
        id: ActionId,
        /// The object of the second effect.
        object: ObjectId,
        /// The second effect.
        revision: Revision,
    },
    /// The log tells a change whose version history should hold.
    #[error("the log says that revision {revision} made version {version} of {}, which is not there", object.readable())]
    ChangeWithoutRow {
        /// The object.
        object: ObjectId,
        /// Its version.
        version: Version,
        /// The change.
        revision: Revision,
    },
    /// A row's change is not in the log, though the log reaches back to it.
    #[error("version {version} of {} was made by revision {revision}, which is not in the log", object.readable())]
    RowWithoutChange {
        /// The object.
        object: ObjectId,
        /// Its version.
        version: Version,
        /// The change.
        revision: Revision,
    },
    /// A row and its change in the log tell different things.
    #[error("version {version} of {} and revision {revision} in the log differ in {what}", object.readable())]
    Differs {
        /// The object.
        object: ObjectId,
        /// Its version, as the row says.
        version: Version,
        /// The change.
        revision: Revision,
        /// In what.
        what: &'static str,
    },
}

impl Finding {
    pub(super) fn damaged(keyspace: &str, key: &[u8], damage: &DamagedRecord) -> Self {
        let mut hexadecimal = String::with_capacity(2 * key.len());
        for byte in key {
            write!(hexadecimal, "{byte:02x}").expect("a string takes all that is written to it");
        }
        Self::Damaged { keyspace: keyspace.into(), key: hexadecimal, what: damage.to_string() }
    }

    /// What its kind is called.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "damaged",
            Self::NoShard { .. } => "no-shard",
            Self::NoRow { .. } => "no-row",
            Self::NoLocator { .. } => "no-locator",
            Self::OtherPlace { .. } => "other-place",
            Self::VersionTwice { .. } => "version-twice",
            Self::VersionGap { .. } => "version-gap",
            Self::NumberTwice { .. } => "number-twice",
            Self::NumberNotGiven { .. } => "number-not-given",
            Self::LogHole { .. } => "log-hole",
            Self::LogShort { .. } => "log-short",
            Self::IdTwice { .. } => "id-twice",
            Self::ChangeWithoutRow { .. } => "change-without-row",
            Self::RowWithoutChange { .. } => "row-without-change",
            Self::Differs { .. } => "differs",
        }
    }
}
