//! Why a request was not done.

use ostrakon_wire::{Code, Winner, WireError};

use crate::config::ConfigError;

/// Why a request was not done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The host answered an error.
    #[error(transparent)]
    Refused(#[from] Box<WireError>),
    /// The host cannot be reached; nothing was asked.
    #[error("the host cannot be reached: {0}")]
    Unreachable(String),
    /// The connection ended before the answer, and no repeat brought it in time. Whether a write happened is not known;
    /// the same action id will tell.
    #[error("the answer was lost: {0}")]
    Lost(String),
    /// There was no answer within the deadline. Whether a write happened is not known; the same action id will tell.
    #[error("no answer within the deadline")]
    Deadline,
    /// The host does not speak the protocol as it should.
    #[error("the host broke the protocol: {0}")]
    Protocol(String),
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(std::sync::Arc<ConfigError>),
}

impl Error {
    /// The code of an answered error.
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(error) => Some(error.code),
            _ => None,
        }
    }

    /// What stands there, where a condition lost.
    pub fn winner(&self) -> Option<&Winner> {
        match self {
            Self::Refused(error) => error.winner.as_ref(),
            _ => None,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    pub fn retryable(&self) -> bool {
        match self {
            Self::Refused(error) => error.code.retryable(),
            Self::Unreachable(_) | Self::Lost(_) | Self::Deadline => true,
            Self::Protocol(_) | Self::Config(_) => false,
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        Self::Refused(Box::new(error))
    }
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        Self::Config(std::sync::Arc::new(error))
    }
}
