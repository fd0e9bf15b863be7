//! A place in the feed.

use std::fmt;

use bytes::Buf;

use crate::numbers::{LogId, Revision};

/// A place in the feed: log, revision, index of the change inside the commit unit. To clients it is an opaque token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// The log.
    pub log: LogId,
    /// The commit unit.
    pub revision: Revision,
    /// The change inside it.
    pub index: u32,
}

/// Bytes of a position on the wire.
pub const POSITION_BYTES: usize = 20;

/// The text is not one that a position printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is 40 hexadecimal digits, as an answer gave it out")]
pub struct InvalidPosition;

impl Position {
    /// The place behind a whole commit unit.
    pub const fn behind(log: LogId, revision: Revision) -> Self {
        Self { log, revision, index: 0 }
    }

    /// The token on the wire.
    pub fn to_bytes(self) -> [u8; POSITION_BYTES] {
        let mut bytes = [0; POSITION_BYTES];
        bytes[..8].copy_from_slice(&self.log.get().to_be_bytes());
        bytes[8..16].copy_from_slice(&self.revision.get().to_be_bytes());
        bytes[16..].copy_from_slice(&self.index.to_be_bytes());
        bytes
    }

    /// Reads a token.
    pub fn from_bytes(bytes: [u8; POSITION_BYTES]) -> Self {
        let mut rest = &bytes[..];
        Self { log: LogId::new(rest.get_u64()), revision: Revision::new(rest.get_u64()), index: rest.get_u32() }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 2 * POSITION_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidPosition);
        }
        let mut bytes = [0; POSITION_BYTES];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| InvalidPosition)?;
        }
        Ok(Self::from_bytes(bytes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_the_same_place() {
        let position =
            Position { log: LogId::new(0x0102_0304_0506_0708), revision: Revision::new(u64::MAX - 1), index: 77 };
        assert_eq!(Position::from_bytes(position.to_bytes()), position);
        assert_eq!(position.to_string().parse(), Ok(position));
    }
}
