//! Answers of one stream that wait to be written, and how long they may.

use std::time::Duration;

use futures_util::FutureExt;
use ostrakon_wire::bounds::{ANSWER_BYTES_PER_S_MIN, GATHER_BYTES_MAX};
use ostrakon_wire::{Answer, Code, frame};
use quinn::{SendStream, WriteError};
use tokio::time::{Instant, timeout_at};

use crate::stream::Broken;

/// What is gathered and not written yet. A client that leaves it waiting has until [`Unsent::due`]: the deadline from
/// when it began to wait, and more for what it takes meanwhile, at a least rate. Nobody gets more than the deadline
/// ahead, so a client can neither stop nor trickle.
pub(crate) struct Unsent {
    bytes: Vec<u8>,
    written: usize,
    deadline: Duration,
    due: Option<Instant>,
}

impl Unsent {
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { bytes: Vec::new(), written: 0, deadline, due: None }
    }

    pub(crate) fn append(&mut self, answer: &Answer) {
        frame::append(&mut self.bytes, |out| answer.write(out));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    /// Whether no more may be gathered.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.written >= GATHER_BYTES_MAX
    }

    /// Until when all of it must have been written; `None` while nothing waits for the client.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes what the client takes at once. The rest waits for it.
    pub(crate) fn write_now(&mut self, send: &mut SendStream) -> Result<(), WriteError> {
        while !self.is_empty() {
            match send.write(&self.bytes[self.written..]).now_or_never() {
                Some(taken) => self.taken(taken?, self.due.map(|_| Instant::now())),
                None => {
                    self.due.get_or_insert_with(|| Instant::now() + self.deadline);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Waits until the client takes some of it. Safe to cancel.
    pub(crate) async fn write_some(&mut self, send: &mut SendStream) -> Result<(), WriteError> {
        let taken = send.write(&self.bytes[self.written..]).await?;
        self.taken(taken, Some(Instant::now()));
        Ok(())
    }

    /// Waits until all of it is written, or the client has had its time.
    pub(crate) async fn write_all(&mut self, send: &mut SendStream) -> Result<(), Broken> {
        while !self.is_empty() {
            let due = *self.due.get_or_insert_with(|| Instant::now() + self.deadline);
            match timeout_at(due, self.write_some(send)).await {
                Ok(written) => written?,
                Err(_) => return Err(Broken::Protocol(Code::TooSlow)),
            }
        }
        Ok(())
    }

    fn taken(&mut self, bytes: usize, now: Option<Instant>) {
        self.written += bytes;
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
            self.due = None;
            return;
        }
        if self.written >= GATHER_BYTES_MAX {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        if let (Some(due), Some(now)) = (self.due, now) {
            let earned = Duration::from_millis(bytes as u64 * 1000 / ANSWER_BYTES_PER_S_MIN);
            self.due = Some((due + earned).min(now + self.deadline));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn waiting(bytes: usize, now: Instant) -> Unsent {
        Unsent { bytes: vec![0; bytes], due: Some(now + DEADLINE), ..Unsent::new(DEADLINE) }
    }

    #[test]
    fn a_trickle_earns_no_time() {
        let begun = Instant::now();
        let mut unsent = waiting(1 << 20, begun);
        for second in 1..=20 {
            unsent.taken(1, Some(begun + Duration::from_secs(second)));
        }
        let due = unsent.due();
        assert!(due.is_some_and(|due| due < begun + DEADLINE + Duration::from_millis(10)), "{due:?}");
    }

    #[test]
    fn the_least_rate_keeps_up_and_earns_nothing_ahead() {
        let begun = Instant::now();
        let mut unsent = waiting(8 << 20, begun);
        for second in 1..=200 {
            let now = begun + Duration::from_secs(second);
            unsent.taken(ANSWER_BYTES_PER_S_MIN as usize, Some(now));
            assert_eq!(unsent.due(), Some(now + DEADLINE));
        }
        let now = begun + Duration::from_secs(201);
        unsent.taken(1 << 20, Some(now));
        assert_eq!(unsent.due(), Some(now + DEADLINE), "taken ahead");
        assert!(unsent.bytes.len() < 1 << 20, "what is written is let go");
    }

    #[test]
    fn the_clock_ends_with_the_last_byte() {
        let now = Instant::now();
        let mut unsent = waiting(10, now);
        unsent.taken(9, Some(now));
        assert!(unsent.due().is_some() && !unsent.is_empty());
        unsent.taken(1, Some(now));
        assert!(unsent.due().is_none() && unsent.is_empty());
    }
}
