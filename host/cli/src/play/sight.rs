//! What a connection last saw of each object.

use std::collections::HashMap;

use ostrakon_client::{ObjectId, Version};

/// One look at an object, by a read, a list, or a write's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sight {
    /// The stored version.
    pub(super) version: Version,
    /// Whether a live object stood there.
    pub(super) live: bool,
}

/// The last look at each object.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<ObjectId, Sight>);

impl Sight {
    /// The version that a write which acts upon this names: 0 where nothing lives.
    pub(super) fn known(self) -> Version {
        if self.live { self.version } else { Version::ABSENT }
    }
}

impl Seen {
    /// The version that a write of this object names; `None` for an object that was never seen.
    pub(super) fn known(&self, object: &ObjectId) -> Option<Version> {
        self.0.get(object).map(|sight| sight.known())
    }

    /// Remembers a look. Answers may come in another order than the looks were taken, and the answer to a repeated
    /// action tells of an old version: the higher version is the later look.
    pub(super) fn saw(&mut self, object: &ObjectId, sight: Sight) {
        match self.0.get_mut(object) {
            Some(known) if known.version > sight.version => {}
            Some(known) => *known = sight,
            None => drop(self.0.insert(object.clone(), sight)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_older_answer_never_hides_a_newer_look() {
        let object = ObjectId::new("c", "t", "n").unwrap();
        let mut seen = Seen::default();
        let mut check = |version, live, known| {
            let version = Version::new(version);
            seen.saw(&object, Sight { version, live });
            assert_eq!(seen.known(&object), Some(Version::new(known)));
        };
        check(3, true, 3);
        check(2, true, 3);
        check(4, false, 0);
        check(3, true, 0);
        check(5, true, 5);
        assert_eq!(seen.known(&ObjectId::new("c", "t", "other").unwrap()), None);
    }
}
