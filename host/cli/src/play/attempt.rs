//! What follows from the answer to one try of a write. No I/O.

use ostrakon_client::{Code, Committed, Error, Version};

use super::sight::Sight;

/// What a write does, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Merge,
    Delete,
}

/// What the answer shows of the object, and what to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct After {
    pub(super) sight: Option<Sight>,
    pub(super) next: Next,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: this came of it.
    Done(Outcome),
    /// It lost: play it again on this version.
    Again(Version),
    /// The host does not serve: nothing can be played now.
    GiveUp,
}

/// What came of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It made a version.
    Made,
    /// An earlier request with its action id made one.
    Repeated,
    /// Nothing to delete.
    NotFound,
    /// A delete that lost to one: that is a conflict, and then nothing is left to delete.
    LostAndGone,
    /// Its action id is older than what the host remembers.
    Expired,
    /// The host will not do it.
    Refused(Code),
}

/// Reads an answer.
pub(super) fn after(change: Change, answer: &Result<Committed, Error>) -> After {
    match answer {
        Ok(committed) => After {
            sight: Some(Sight { version: committed.version, live: change == Change::Merge }),
            next: Next::Done(match committed.repeated {
                true => Outcome::Repeated,
                false => Outcome::Made,
            }),
        },
        Err(error) => after_error(change, error),
    }
}

fn after_error(change: Change, error: &Error) -> After {
    let Error::Refused(refused) = error else {
        return After { sight: None, next: Next::GiveUp };
    };
    match (refused.code, &refused.winner) {
        (Code::Conflict, Some(winner)) => {
            let sight = Sight { version: winner.version, live: winner.payload.is_some() };
            let next = match change {
                Change::Delete if !sight.live => Next::Done(Outcome::LostAndGone),
                _ => Next::Again(sight.known()),
            };
            After { sight: Some(sight), next }
        }
        (Code::NotFound, _) => After {
            sight: refused.stored.map(|version| Sight { version, live: false }),
            next: Next::Done(Outcome::NotFound),
        },
        (Code::ActionExpired, _) => done(Outcome::Expired),
        (code, _) if stops_all(code) => After { sight: None, next: Next::GiveUp },
        (code, _) => done(Outcome::Refused(code)),
    }
}

fn done(outcome: Outcome) -> After {
    After { sight: None, next: Next::Done(outcome) }
}

/// Whether the next request would fare no better. What can be retried has been, until the deadline.
pub(super) fn stops_all(code: Code) -> bool {
    matches!(code, Code::Overloaded | Code::Draining | Code::TooSlow | Code::StoreFailed | Code::UnsupportedProtocol)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ostrakon_client::{Payload, ShardKey, Winner, WireError};
    use ostrakon_wire::{Decided, Revision};

    fn lost(version: u64, live: bool) -> Result<Committed, Error> {
        let payload = live.then(|| Payload::bytes("x").unwrap());
        let version = Version::new(version);
        Err(WireError { winner: Some(Winner { version, payload }), ..WireError::new(Code::Conflict, "") }.into())
    }

    fn refused(code: Code) -> Result<Committed, Error> {
        Err(WireError::new(code, "").into())
    }

    fn committed(repeated: bool) -> Result<Committed, Error> {
        Ok(Committed {
            version: Version::new(7),
            revision: Revision::new(9),
            shard_key: ShardKey::new(1),
            repeated,
            reply: None,
            tries: 0,
            decided: Decided::default(),
        })
    }

    fn next(change: Change, answer: Result<Committed, Error>) -> Next {
        after(change, &answer).next
    }

    #[test]
    fn what_lost_is_played_again_on_the_winner() {
        assert_eq!(next(Change::Merge, lost(5, true)), Next::Again(Version::new(5)));
        assert_eq!(next(Change::Delete, lost(5, true)), Next::Again(Version::new(5)));
    }

    #[test]
    fn where_nothing_lives_a_merge_makes_it_and_a_delete_is_done() {
        assert_eq!(next(Change::Merge, lost(5, false)), Next::Again(Version::ABSENT));
        assert_eq!(next(Change::Delete, lost(5, false)), Next::Done(Outcome::LostAndGone));
        assert_eq!(next(Change::Delete, refused(Code::NotFound)), Next::Done(Outcome::NotFound));
    }

    #[test]
    fn a_repeat_makes_no_version() {
        assert_eq!(next(Change::Merge, committed(false)), Next::Done(Outcome::Made));
        assert_eq!(next(Change::Merge, committed(true)), Next::Done(Outcome::Repeated));
    }

    #[test]
    fn after_its_own_delete_a_connection_knows_that_nothing_lives() {
        let sight = after(Change::Delete, &committed(false)).sight.unwrap();
        assert_eq!(sight.known(), Version::ABSENT);
        let sight = after(Change::Merge, &committed(false)).sight.unwrap();
        assert_eq!(sight.known(), Version::new(7));
    }

    #[test]
    fn one_refused_event_does_not_end_an_import_and_a_host_that_is_away_does() {
        let too_large = Outcome::Refused(Code::PayloadTooLarge);
        assert_eq!(next(Change::Merge, refused(Code::PayloadTooLarge)), Next::Done(too_large));
        assert_eq!(next(Change::Merge, refused(Code::ActionExpired)), Next::Done(Outcome::Expired));
        assert_eq!(next(Change::Merge, refused(Code::StoreFailed)), Next::GiveUp);
        assert_eq!(next(Change::Merge, Err(Error::Deadline)), Next::GiveUp);
    }
}
