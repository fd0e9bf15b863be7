//! How long a peer may take for what. Plain data; nothing may wait longer than `wire::bounds` says.

use std::time::Duration;

use ostrakon_wire::bounds::{
    DRAIN_DEADLINE_MS, FRAME_DEADLINE_MS, HELLO_DEADLINE_MS, IDLE_TIMEOUT_MS, WRITE_DEADLINE_MS,
};

/// The deadlines of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    pub(crate) hello: Duration,
    pub(crate) frame: Duration,
    pub(crate) write: Duration,
    pub(crate) idle: Duration,
    pub(crate) drain: Duration,
}

/// Why a deadline cannot be so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDeadline {
    /// There is none of that name.
    #[error("no deadline is called {0:?}")]
    Unknown(String),
    /// Zero, or above the bound.
    #[error("the deadline {name:?} has 1 to {ms_max} ms, not {ms}")]
    OutOfRange {
        /// Which.
        name: String,
        /// What was asked for.
        ms: u64,
        /// The bound.
        ms_max: u64,
    },
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            hello: Duration::from_millis(HELLO_DEADLINE_MS),
            frame: Duration::from_millis(FRAME_DEADLINE_MS),
            write: Duration::from_millis(WRITE_DEADLINE_MS),
            idle: Duration::from_millis(IDLE_TIMEOUT_MS),
            drain: Duration::from_millis(DRAIN_DEADLINE_MS),
        }
    }
}

impl Deadlines {
    /// The same with one of them lowered: `hello`, `frame`, `write`, `idle` or `drain`. None can be raised over its
    /// bound.
    pub fn lowered(mut self, name: &str, ms: u64) -> Result<Self, InvalidDeadline> {
        let (deadline, ms_max) = match name {
            "hello" => (&mut self.hello, HELLO_DEADLINE_MS),
            "frame" => (&mut self.frame, FRAME_DEADLINE_MS),
            "write" => (&mut self.write, WRITE_DEADLINE_MS),
            "idle" => (&mut self.idle, IDLE_TIMEOUT_MS),
            "drain" => (&mut self.drain, DRAIN_DEADLINE_MS),
            unknown => return Err(InvalidDeadline::Unknown(unknown.to_owned())),
        };
        if ms == 0 || ms > ms_max {
            return Err(InvalidDeadline::OutOfRange { name: name.to_owned(), ms, ms_max });
        }
        *deadline = Duration::from_millis(ms);
        Ok(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_lowered_and_never_raised() {
        let all = Deadlines::default();
        let lower = all.lowered("write", 70).unwrap();
        assert_eq!(lower, Deadlines { write: Duration::from_millis(70), ..all });
        assert_eq!(all.lowered("idle", IDLE_TIMEOUT_MS), Ok(all));
        for (name, ms) in [("idle", IDLE_TIMEOUT_MS + 1), ("hello", 0), ("drain", u64::MAX)] {
            assert!(matches!(all.lowered(name, ms), Err(InvalidDeadline::OutOfRange { .. })), "{name} {ms}");
        }
        assert_eq!(all.lowered("lunch", 1), Err(InvalidDeadline::Unknown("lunch".into())));
    }
}
