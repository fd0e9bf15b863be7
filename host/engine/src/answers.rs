//! How decisions become answers and errors: the one place that maps causes to codes.

use ostrakon_core::action::ActionError;
use ostrakon_store::{CommitError, ReadError};
use ostrakon_wire::bounds::{ACTION_ID_AHEAD_MS, RETRY_AFTER_MS};
use ostrakon_wire::{Code, Decided, Generations, Position, Revision, ShardKey, Winner, WireError};

use crate::Engine;
use crate::action_ids::IdRefused;
use crate::owner::{Known, NotWritten, Refusal};

pub(crate) fn overloaded(message: impl Into<String>) -> WireError {
    WireError { retry_after_ms: Some(RETRY_AFTER_MS), ..WireError::new(Code::Overloaded, message) }
}

pub(crate) fn id_refused(refused: IdRefused) -> WireError {
    match refused {
        IdRefused::Reused => {
            WireError::new(Code::ActionIdReused, "the action id was used for another object, kind or body")
        }
        IdRefused::Expired => WireError::new(
            Code::ActionExpired,
            "the action id is older than what the host remembers; the action did not run",
        ),
        IdRefused::Ahead => WireError::new(
            Code::ActionIdAhead,
            format!("the action id's time lies more than {} s ahead of the host's clock", ACTION_ID_AHEAD_MS / 1000),
        ),
    }
}

impl Engine {
    /// What an answer names: the shard of a key, the map in force, a place.
    ///
    /// The place of a read is taken before the read: whoever follows the feed from there may meet the state that was read
    /// again, and misses nothing.
    pub(crate) fn decided(&self, shard_key: Option<ShardKey>, position: Position, generations: Generations) -> Decided {
        let map = self.owner.map();
        Decided { shard: shard_key.map(|key| map.shard_of(key)), epoch: map.epoch(), position, generations }
    }

    /// The same, at the place of a commit.
    pub(crate) fn decided_at(&self, shard_key: ShardKey, revision: Revision, generations: Generations) -> Decided {
        let position = Position::behind(self.log, revision);
        self.decided(Some(shard_key), position, generations)
    }

    pub(crate) fn unreadable(&self, error: &ReadError) -> WireError {
        if matches!(error, ReadError::Busy) {
            return overloaded(error.to_string());
        }
        match error {
            // Said once, at the start.
            ReadError::NoShard(_) => tracing::debug!(%error, "an object cannot be read"),
            _ => tracing::error!(%error, "an object cannot be read"),
        }
        WireError::new(Code::ShardUnavailable, error.to_string())
    }

    pub(crate) fn wrong_key(&self, recorded: ShardKey, position: Position) -> WireError {
        WireError {
            shard_key: Some(recorded),
            decided: Some(self.decided(Some(recorded), position, Generations::default())),
            ..WireError::new(Code::WrongShardKey, format!("the object is recorded under shard key {recorded}"))
        }
    }

    pub(crate) fn not_found(&self, known: &Known, position: Position) -> WireError {
        WireError {
            stored: Some(known.version),
            decided: Some(self.decided(known.shard_key(), position, Generations::default())),
            ..WireError::new(Code::NotFound, "no such live object")
        }
    }

    pub(crate) fn not_written(&self, reason: NotWritten, position: Position, generations: Generations) -> WireError {
        match reason {
            NotWritten::Refused { refusal, stands } => self.refused(refusal, &stands, position, generations),
            NotWritten::NoKey => WireError::new(Code::PolicyFailed, "no shard key could be had for the new object"),
            NotWritten::NoRoom => overloaded("too many escalations wait for a person"),
            NotWritten::Full => overloaded("too much is waiting to be committed"),
            NotWritten::Commit(error @ CommitError::Fenced) => {
                WireError::new(Code::ShardUnavailable, error.to_string())
            }
            NotWritten::Commit(error @ CommitError::Failed) => WireError::new(Code::StoreFailed, error.to_string()),
            NotWritten::Commit(error @ CommitError::Stopped) => WireError::new(Code::StoreFailed, error.to_string()),
            NotWritten::Read(error) => self.unreadable(&error),
        }
    }

    fn refused(&self, refusal: Refusal, stands: &Known, position: Position, generations: Generations) -> WireError {
        let error = match refusal {
            Refusal::WrongKey => return self.wrong_key(stands.shard_key().unwrap_or_default(), position),
            Refusal::Conflict => {
                let payload = stands.live().map(|live| live.payload.clone());
                let message = match (&payload, stands.version.get()) {
                    (Some(_), stored) => format!("the object is at version {stored}"),
                    (None, 0) => "there is no such object".to_owned(),
                    (None, stored) => format!("the object was deleted at version {stored}"),
                };
                let winner = Some(Winner { version: stands.version, payload });
                WireError { winner, ..WireError::new(Code::Conflict, message) }
            }
            Refusal::Gap => WireError {
                stored: Some(stands.version),
                ..WireError::new(Code::VersionGap, format!("the stored version is {}", stands.version))
            },
            Refusal::VersionsSpent => WireError::new(Code::InvalidVersion, "the object has had its last version"),
            Refusal::NotFound => {
                WireError { stored: Some(stands.version), ..WireError::new(Code::NotFound, "no such live object") }
            }
            Refusal::Action(error) => action_error(error),
        };
        WireError { decided: Some(self.decided(stands.shard_key(), position, generations)), ..error }
    }
}

/// Why an action is not done, for those who are told without what stands there.
pub(crate) fn words_of(refusal: &Refusal) -> (Code, String) {
    match refusal {
        Refusal::WrongKey => (Code::WrongShardKey, "the object is recorded under another shard key".into()),
        Refusal::Conflict => (Code::Conflict, "the version that the action was made for never was".into()),
        Refusal::Gap => (Code::VersionGap, "the new version is not the next one".into()),
        Refusal::VersionsSpent => (Code::InvalidVersion, "the object has had its last version".into()),
        Refusal::NotFound => (Code::NotFound, "no such live object".into()),
        Refusal::Action(error) => (code_of(error), error.to_string()),
    }
}

fn action_error(error: ActionError) -> WireError {
    WireError::new(code_of(&error), error.to_string())
}

fn code_of(error: &ActionError) -> Code {
    match error {
        ActionError::NotStructured => Code::NotStructured,
        ActionError::MalformedPointer(_) | ActionError::PointsToNothing(_) | ActionError::PointsToNoNumber(_) => {
            Code::InvalidPointer
        }
        ActionError::AddendNoNumber(_) => Code::InvalidPayload,
        ActionError::Overflow(_) => Code::NumberOverflow,
        ActionError::Result(_) => Code::PayloadTooLarge,
    }
}
