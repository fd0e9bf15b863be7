//! Whether an action may be done to what stands there, and what it makes of it.

use ostrakon_core::action::{self, ActionError};
use ostrakon_store::planted::{self, Fault};
use ostrakon_wire::bounds::VERSION_MAX;
use ostrakon_wire::{Action, Payload, ShardKey, Version};

use super::{Intent, Known};

/// What a client asks of the stored version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing.
    None,
    /// The write must make exactly this version.
    Makes(Version),
    /// This version must stand there, live; 0: no live object may.
    Known(Version),
}

/// Why an action is not done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Refusal {
    /// The object is recorded under another key.
    WrongKey,
    /// Another version stands there.
    Conflict,
    /// The version to be made is not the next one.
    Gap,
    /// There are no versions left.
    VersionsSpent,
    /// No live object to do it to.
    NotFound,
    /// What stands there does not allow it.
    Action(ActionError),
}

pub(super) enum Judged {
    Write { shard_key: ShardKey, version: Version, payload: Option<Payload> },
    Refused(Refusal),
    NoKey,
}

impl Condition {
    /// That of an action which was made for a version, or for none.
    pub(crate) fn of(known: Option<Version>) -> Self {
        known.map_or(Self::None, Self::Known)
    }

    /// The version that the client acts upon, where it says one.
    pub(crate) fn known(self) -> Option<Version> {
        match self {
            Self::None => None,
            Self::Makes(version) => Some(Version::new(version.get().saturating_sub(1))),
            Self::Known(version) => Some(version),
        }
    }

    pub(crate) fn check(self, stored: Version, live: bool) -> Option<Refusal> {
        match self {
            Self::None => None,
            Self::Makes(version) if Some(version) == stored.next() => None,
            Self::Makes(version) if version > stored => Some(Refusal::Gap),
            Self::Known(Version::ABSENT) if !live => None,
            Self::Known(version) if live && version == stored => None,
            Self::Makes(_) | Self::Known(_) => Some(Refusal::Conflict),
        }
    }
}

/// Whether the key or the condition forbids it, whatever the action.
pub(super) fn check(intent: &Intent<'_>, head: &Known) -> Option<Refusal> {
    match (intent.claimed_key, head.shard_key()) {
        (Some(claimed), Some(recorded)) if claimed != recorded => Some(Refusal::WrongKey),
        _ if planted::is(Fault::SkipPrecondition) => None,
        _ => intent.condition.check(head.version, head.is_live()),
    }
}

pub(super) fn judge(intent: &Intent<'_>, head: &Known) -> Judged {
    if let Some(refusal) = check(intent, head) {
        return Judged::Refused(refusal);
    }
    let payload = match apply(intent.action, head) {
        Ok(payload) => payload,
        Err(refusal) => return Judged::Refused(refusal),
    };
    let version = match head.next_version() {
        Ok(version) => version,
        Err(refusal) => return Judged::Refused(refusal),
    };
    match head.shard_key().or(intent.claimed_key).or(intent.new_key) {
        Some(shard_key) => Judged::Write { shard_key, version, payload },
        None => Judged::NoKey,
    }
}

impl Known {
    /// The version that a change of it makes.
    pub(super) fn next_version(&self) -> Result<Version, Refusal> {
        self.version.next().filter(|version| version.get() <= VERSION_MAX).ok_or(Refusal::VersionsSpent)
    }
}

/// What a built-in action makes of what stands there.
pub(super) fn apply(action: &Action, head: &Known) -> Result<Option<Payload>, Refusal> {
    let stored = head.live().map(|live| live.payload);
    let made = match action {
        Action::Put(payload) => Ok(payload.clone()),
        Action::Merge(patch) => action::merge(stored, patch),
        Action::Add(additions) => action::add(stored.ok_or(Refusal::NotFound)?, additions),
        Action::Delete if head.is_live() => return Ok(None),
        Action::Delete => return Err(Refusal::NotFound),
        Action::Custom { .. } => unreachable!("what a custom action makes is the policy's to say"),
    };
    made.map(Some).map_err(Refusal::Action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conditional_write_commits_only_the_next_version() {
        let makes = |version, stored| Condition::Makes(Version::new(version)).check(Version::new(stored), true);
        assert_eq!(makes(4, 3), None);
        assert_eq!(makes(3, 3), Some(Refusal::Conflict));
        assert_eq!(makes(5, 3), Some(Refusal::Gap));
        assert_eq!(makes(1, 0), None);
        assert_eq!(makes(u64::MAX, u64::MAX), Some(Refusal::Conflict));
    }

    #[test]
    fn known_version_0_means_no_live_object_whatever_is_stored() {
        let known = |version, stored, live| Condition::Known(Version::new(version)).check(Version::new(stored), live);
        assert_eq!(known(0, 0, false), None);
        assert_eq!(known(0, 7, false), None);
        assert_eq!(known(0, 7, true), Some(Refusal::Conflict));
        assert_eq!(known(7, 7, true), None);
        assert_eq!(known(7, 7, false), Some(Refusal::Conflict), "a tombstone is not the object that was known");
        assert_eq!(known(6, 7, true), Some(Refusal::Conflict));
    }
}
