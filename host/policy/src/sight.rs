//! What is seen of decisions by those who look on: a bounded queue that is offered a share of them.
//!
//! Whoever decides never waits: where the queue is full the decision is not seen, and counted. Nothing is copied before
//! there is room.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;
use ostrakon_core::policy::{Answer, Met, PolicyFault, Question};
use ostrakon_wire::Generation;

use crate::bounds::{SIGHT_BYTES_MAX, SIGHT_MAX};

/// A decision, or a use of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) question: Question,
    /// Who answered what; nothing where nobody was asked.
    pub(crate) decided: Option<(Generation, Result<Answer, PolicyFault>)>,
    /// What a write met that was foretold.
    pub(crate) met: Option<Met>,
}

/// The queue.
pub(crate) struct Sight {
    /// Who looks on runs when nobody else wants to, and may be stopped while it takes something: nobody waits for that.
    queue: SegQueue<Seen>,
    /// What waits in it, or is about to.
    waiting: AtomicUsize,
    bytes: AtomicUsize,
    share_ppm: u32,
    turn: AtomicU64,
    offered: AtomicU64,
    dropped: AtomicU64,
}

/// Counts of a [`Sight`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offered {
    /// Decisions that were in the share.
    pub(crate) offered: u64,
    /// Of these, those that there was no room for.
    pub(crate) dropped: u64,
}

const PPM: u64 = 1_000_000;

impl Sight {
    pub(crate) fn new(share_ppm: u32) -> Self {
        Self {
            queue: SegQueue::new(),
            waiting: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            share_ppm,
            turn: AtomicU64::new(0),
            offered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    /// Offers what `seen` makes, if it is in the share and there is room.
    pub(crate) fn offer(&self, seen: impl FnOnce() -> Seen) {
        if !self.is_in_share() {
            return;
        }
        self.offered.fetch_add(1, Ordering::Relaxed);
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if waiting >= SIGHT_MAX || self.bytes.load(Ordering::Relaxed) > SIGHT_BYTES_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let seen = seen();
        self.bytes.fetch_add(seen.question.bytes(), Ordering::Relaxed);
        self.queue.push(seen);
    }

    /// Every so many decisions one is in the share, evenly.
    fn is_in_share(&self) -> bool {
        if u64::from(self.share_ppm) >= PPM {
            return true;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let share = u64::from(self.share_ppm);
        // In 128 bits, so that the count may grow for ever.
        let upto = |turn: u64| (u128::from(turn) * u128::from(share) / u128::from(PPM)) as u64;
        upto(turn + 1) > upto(turn)
    }

    /// The next one in line.
    pub(crate) fn next(&self) -> Option<Seen> {
        let seen = self.queue.pop()?;
        self.bytes.fetch_sub(seen.question.bytes(), Ordering::Relaxed);
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(seen)
    }

    pub(crate) fn offered(&self) -> Offered {
        Offered { offered: self.offered.load(Ordering::Relaxed), dropped: self.dropped.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::calls::outlook;

    fn seen() -> Seen {
        Seen { question: Question::Predict(outlook(1)), decided: None, met: None }
    }

    #[test]
    fn a_share_is_another_one_than_was_asked_for() {
        for (share_ppm, wanted) in [(0, 0), (1_000, 10), (333_333, 3_333), (1_000_000, 10_000)] {
            let sight = Sight::new(share_ppm);
            (0..10_000).for_each(|_| sight.offer(seen));
            let Offered { offered, dropped } = sight.offered();
            assert!(offered.abs_diff(wanted) <= 1, "{offered} of 10,000 at {share_ppm} ppm");
            assert_eq!(dropped, offered.saturating_sub(SIGHT_MAX as u64));
        }
    }

    #[test]
    fn what_nobody_takes_grows_without_bound() {
        let sight = Sight::new(1_000_000);
        let large = Question::Reconcile {
            brief: crate::tests::calls::brief("volume").kept(),
            body: vec![0; 1 << 20],
            base: None,
            latest: None,
        };
        (0..1_000).for_each(|_| sight.offer(|| Seen { question: large.clone(), ..seen() }));
        let taken = std::iter::from_fn(|| sight.next()).count();
        assert!(taken << 20 <= SIGHT_BYTES_MAX + (2 << 20), "{taken} MiB");
        sight.offer(seen);
        assert_eq!(sight.next(), Some(seen()), "there is room again");
    }
}
