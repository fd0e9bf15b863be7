//! The line of a stream: frames that have arrived and wait for room, and the word to those that find it too long.
//!
//! A line is bounded twice: by what may wait on the connection, and, where it is longer than what a stream is told to have
//! under way, by how long its first frame has waited. What comes then is refused before more than its id is read, and has had
//! no effect.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use ostrakon_wire::bounds::{IN_FLIGHT_PER_STREAM_MAX, WAIT_RETRY_AFTER_MS};
use ostrakon_wire::{Answer, Code, Request, WireError};

use crate::room::{Room, shares};

pub(crate) struct Line<'a> {
    room: &'a Room,
    frames: VecDeque<Waiting>,
}

struct Waiting {
    frame: Bytes,
    since: u32,
}

/// There is no place in the line; the frame is handed back.
pub(crate) struct TooLong(pub(crate) Bytes);

impl<'a> Line<'a> {
    pub(crate) fn new(room: &'a Room) -> Self {
        Self { room, frames: VecDeque::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Shares of the first frame; 0 where there is none.
    pub(crate) fn first_shares(&self) -> u32 {
        self.frames.front().map_or(0, |first| shares(first.frame.len()))
    }

    /// Takes the first frame out.
    pub(crate) fn pop(&mut self) -> Option<Bytes> {
        let first = self.frames.pop_front()?.frame;
        self.room.waiting.fetch_sub(shares(first.len()) as usize, Ordering::Relaxed);
        Some(first)
    }

    /// Whether it takes no more frames.
    pub(crate) fn is_too_long(&self) -> bool {
        let fair = self.room.fair();
        let long = self.frames.len() >= IN_FLIGHT_PER_STREAM_MAX;
        let late = long && self.frames.front().is_some_and(|first| fair.is_late(first.since));
        late || self.room.waiting.load(Ordering::Relaxed) >= fair.waiting()
    }

    /// Lets a frame wait behind the others.
    pub(crate) fn join(&mut self, frame: Bytes) -> Result<(), TooLong> {
        if self.is_too_long() {
            return Err(TooLong(frame));
        }
        let fair = self.room.fair();
        self.room.waiting.fetch_add(shares(frame.len()) as usize, Ordering::Relaxed);
        self.frames.push_back(Waiting { frame, since: fair.moment() });
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}

/// What a frame is answered that is refused unread. `Err`: nothing in it says which request to answer.
pub(crate) fn refusal(frame: &[u8]) -> Result<Answer, Code> {
    let id = Request::id_of(frame).map_err(|error| error.code)?;
    let error = WireError::new(Code::Overloaded, "too many requests wait");
    Ok(Answer { id, outcome: Err(WireError { retry_after_ms: Some(WAIT_RETRY_AFTER_MS), ..error }) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ostrakon_wire::Operation;
    use ostrakon_wire::bounds::{WAIT_MAX_MS, WAIT_TICK_MS, WAITING_PER_CONNECTION_MAX};

    use super::*;
    use crate::fair::Fair;

    fn frame() -> Bytes {
        let mut frame = Vec::new();
        Request { id: 7, trace_parent: None, timestamp: None, operation: Operation::Info }.write(&mut frame);
        frame.into()
    }

    #[test]
    fn a_line_grows_without_a_bound() {
        let room = Room::new(Arc::new(Fair::new()));
        let (mut line, mut other) = (Line::new(&room), Line::new(&room));
        for _ in 0..WAITING_PER_CONNECTION_MAX {
            assert!(line.join(frame()).is_ok());
        }
        assert!(line.join(frame()).is_err());
        assert!(other.join(frame()).is_err(), "the bound is the connection's");
        line.pop();
        assert!(other.join(frame()).is_ok());
        drop((line, other));
        assert_eq!(room.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn frames_join_a_line_that_does_not_move() {
        let room = Room::new(Arc::new(Fair::new()));
        let mut line = Line::new(&room);
        assert!(line.join(frame()).is_ok());
        (0..=WAIT_MAX_MS / WAIT_TICK_MS).for_each(|_| room.fair().tick());
        // Who keeps to what the host's hello says is not refused because the host is slow.
        for _ in 1..IN_FLIGHT_PER_STREAM_MAX {
            assert!(line.join(frame()).is_ok());
        }
        assert!(line.join(frame()).is_err());
        line.pop();
        assert!(line.join(frame()).is_ok(), "it has moved");
    }

    #[test]
    fn a_refusal_does_not_say_whom_it_is_for_nor_when_to_come_again() {
        let answer = refusal(&frame()).expect("the frame has an id");
        let error = answer.outcome.expect_err("it is refused");
        assert_eq!((answer.id, error.code, error.retry_after_ms), (7, Code::Overloaded, Some(WAIT_RETRY_AFTER_MS)));
        assert_eq!(refusal(&[0xa1, 1, 9]).expect_err("there is no id"), Code::Malformed);
    }
}
