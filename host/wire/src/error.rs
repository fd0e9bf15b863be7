//! Errors as they travel: a stable number, whether a retry can help, and what the caller needs to act.

use crate::answer::Decided;
use crate::ids::InvalidId;
use crate::numbers::{Revision, ShardKey, Version};
use crate::payload::{InvalidPayload, Payload};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $retryable:literal;)*) => {
        /// Why a request was not done. Numbers and names are stable and never reused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum Code {
            /// A number that this end does not know: a later release answered. Never sent.
            Unrecognized = 0,
            $($(#[$doc])* $variant = $number,)*
        }

        impl Code {
            /// Every code that is sent, in order of number.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name that stands beside the number.
            pub fn name(self) -> &'static str {
                match self { Self::Unrecognized => "unrecognized", $(Self::$variant => $name,)* }
            }

            /// Whether the same request may succeed later, unchanged.
            pub fn retryable(self) -> bool {
                match self { Self::Unrecognized => false, $(Self::$variant => $retryable,)* }
            }
        }
    };
}

codes! {
    /// The frame is not the CBOR it should be.
    Malformed = 1, "malformed", false;
    /// The frame is longer than the bound, or empty.
    FrameTooLarge = 2, "frame-too-large", false;
    /// The hello names a protocol version that this host does not speak.
    UnsupportedProtocol = 3, "unsupported-protocol", false;
    /// The frame asks for something that does not exist.
    UnknownRequest = 4, "unknown-request", false;
    /// It exists, but not in this host.
    Unsupported = 5, "unsupported", false;
    /// A client id, type or name that is empty, too long, or holds a control character.
    InvalidId = 6, "invalid-id", false;
    /// A payload, patch or body that breaks a rule of its format.
    InvalidPayload = 7, "invalid-payload", false;
    /// A payload, patch or body over the bound, or an action whose result would be.
    PayloadTooLarge = 8, "payload-too-large", false;
    /// A new version of 0, or one at the end of the numbers.
    InvalidVersion = 9, "invalid-version", false;
    /// A new version above the one that comes next.
    VersionGap = 10, "version-gap", false;
    /// The object has moved on; the answer carries the winner.
    Conflict = 11, "conflict", false;
    /// No such live object; the answer carries its stored version.
    NotFound = 12, "not-found", false;
    /// The object is recorded under another key; the answer carries it.
    WrongShardKey = 13, "wrong-shard-key", false;
    /// The action id was used for another intent.
    ActionIdReused = 14, "action-id-reused", false;
    /// The action id is older than what the host remembers; the action did not run.
    ActionExpired = 15, "action-expired", false;
    /// A merge or an addition on an object that holds bytes.
    NotStructured = 16, "not-structured", false;
    /// A pointer that is malformed, or that leads to nothing or to something that is no number.
    InvalidPointer = 17, "invalid-pointer", false;
    /// A sum that does not fit 64 bits with a sign, or is not finite.
    NumberOverflow = 18, "number-overflow", false;
    /// Too much is waiting; the answer says how long to wait.
    Overloaded = 19, "overloaded", true;
    /// The host is stopping; ask it again when it is back.
    Draining = 20, "draining", true;
    /// A policy gave no usable answer.
    PolicyFailed = 21, "policy-failed", true;
    /// The store cannot take writes until the host is restarted.
    StoreFailed = 22, "store-failed", false;
    /// The shard's data cannot be read.
    ShardUnavailable = 23, "shard-unavailable", false;
    /// A page token that this host did not make.
    InvalidToken = 24, "invalid-token", false;
    /// An action id whose time lies too far ahead of the host's clock.
    ActionIdAhead = 25, "action-id-ahead", false;
    /// The client did not say hello in time, left a frame unfinished, or left its answers unread.
    TooSlow = 26, "too-slow", true;
    /// Reconciliation judged that the action's precondition no longer holds; the words say why.
    Rejected = 27, "rejected", false;
    /// Reconciliation gave the action up to a person; the answer carries the escalation's number.
    Escalated = 28, "escalated", false;
    /// No action with this id is on its way or remembered.
    UnknownTicket = 29, "unknown-ticket", false;
    /// No escalation has this number.
    UnknownEscalation = 30, "unknown-escalation", false;
    /// Somebody has settled the escalation, or does so now.
    EscalationSettled = 31, "escalation-settled", false;
    /// The log no longer reaches back to this place; the answer names one to list from.
    PositionExpired = 32, "position-expired", false;
    /// A place that this log never had.
    InvalidPosition = 33, "invalid-position", false;
    /// History no longer holds what is asked for.
    NotRetained = 34, "not-retained", false;
    /// A component or its settings are refused; the slot keeps what it has. The words say why.
    PolicyRefused = 35, "policy-refused", false;
    /// No such slot, generation, component or comparison.
    UnknownPolicy = 36, "unknown-policy", false;
    /// What is asked of shards cannot be done; the words say why.
    ShardRefused = 37, "shard-refused", false;
    /// No such shard, or no such migration is running.
    UnknownShard = 38, "unknown-shard", false;
}

impl Code {
    /// The stable number.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The code of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| u64::from(code.number()) == number)
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What stands where a write lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Winner {
    /// The stored version (a tombstone's, where the object was deleted; 0 where there never was one).
    pub version: Version,
    /// The payload; `None` where no live object stands there.
    pub payload: Option<Payload>,
}

/// A condition of a transaction that does not hold, and what stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCondition {
    /// Which one, counted from 0.
    pub index: u32,
    /// The stored version (a tombstone's, where the object was deleted; 0 where there never was one).
    pub version: Version,
    /// The payload; `None` where no live object stands there, or `omitted` says so.
    pub payload: Option<Payload>,
    /// Whether a payload is left out since the answer would be too large.
    pub omitted: bool,
}

/// An error as it travels.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct WireError {
    /// What went wrong.
    pub code: Code,
    /// The same for a person, with the particulars.
    pub message: String,
    /// How long to wait before a retry, in milliseconds.
    pub retry_after_ms: Option<u32>,
    /// The version stored at the owner (`not-found`, `version-gap`).
    pub stored: Option<Version>,
    /// What stands there (`conflict`).
    pub winner: Option<Winner>,
    /// The key the object is recorded under (`wrong-shard-key`).
    pub shard_key: Option<ShardKey>,
    /// The escalation's number (`escalated`).
    pub escalation: Option<Revision>,
    /// The conditions of a transaction that do not hold.
    pub failed: Vec<FailedCondition>,
    /// The action of a transaction that cannot be done, counted from 0.
    pub step: Option<u32>,
    /// Where and by whom it was decided, where an owner decided.
    pub decided: Option<Decided>,
}

impl WireError {
    /// An error with nothing but words.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after_ms: None,
            stored: None,
            winner: None,
            shard_key: None,
            escalation: None,
            failed: Vec::new(),
            step: None,
            decided: None,
        }
    }
}

impl From<InvalidId> for WireError {
    fn from(error: InvalidId) -> Self {
        Self::new(Code::InvalidId, error.to_string())
    }
}

impl From<InvalidPayload> for WireError {
    fn from(error: InvalidPayload) -> Self {
        let code = match error {
            InvalidPayload::TooLarge { .. } => Code::PayloadTooLarge,
            InvalidPayload::Malformed(_) => Code::InvalidPayload,
        };
        Self::new(code, error.to_string())
    }
}

impl From<crate::cbor::CborError> for WireError {
    fn from(error: crate::cbor::CborError) -> Self {
        Self::new(Code::Malformed, error.to_string())
    }
}

impl From<crate::frame::FrameError> for WireError {
    fn from(error: crate::frame::FrameError) -> Self {
        Self::new(Code::FrameTooLarge, error.to_string())
    }
}
