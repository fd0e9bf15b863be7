//! What those who watch may be told while the host has more to do than it can: a part of what is committed, and whoever is
//! farthest behind comes first. So all of them come about equally far, and read the same parts of the log.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ostrakon_wire::Revision;
use ostrakon_wire::bounds::{FEED_CREDIT_MAX, FEED_YIELDS_AT, FEED_YIELDS_MS, FEED_YIELDS_TO};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What may be told, and who waits for it.
pub(super) struct Credit {
    state: Mutex<State>,
    began: Instant,
    /// When a group was last so large that there must be too much to do, in milliseconds from the beginning.
    busy_ms: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Changes that were committed and earn nothing yet.
    committed: usize,
    /// Changes that may be told; what the last one took beyond it is made up for first.
    changes: i64,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Tells those apart who stand at one place.
    came: u64,
}

struct Waiting {
    stands: Revision,
    came: u64,
    changes: i64,
    turn: oneshot::Sender<()>,
}

impl Credit {
    pub(super) fn new(now: Instant) -> Self {
        Self { state: Mutex::default(), began: now, busy_ms: AtomicU64::new(NEVER) }
    }

    /// Whether the host has more to do than it can, or had a moment ago.
    pub(super) fn is_busy(&self, now: Instant) -> bool {
        let busy_ms = self.busy_ms.load(Ordering::Relaxed);
        busy_ms != NEVER && self.ms(now).saturating_sub(busy_ms) < FEED_YIELDS_MS
    }

    fn ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.began).as_millis() as u64
    }

    /// A group of so many changes was committed.
    pub(super) fn earn(&self, changes: usize, now: Instant) {
        if changes >= FEED_YIELDS_AT {
            self.busy_ms.store(self.ms(now), Ordering::Relaxed);
        }
        let mut state = self.state.lock();
        state.committed += changes;
        let earned = state.committed / FEED_YIELDS_TO;
        state.committed %= FEED_YIELDS_TO;
        state.changes = (state.changes + earned as i64).min(FEED_CREDIT_MAX as i64);
        while state.changes > 0
            && let Some(Reverse(first)) = state.waiting.pop()
        {
            // Who is gone has taken nothing.
            if first.turn.send(()).is_ok() {
                state.changes -= first.changes;
            }
        }
    }

    /// A place in the line for one who stands there, to be told so many changes; the receiver ends when its turn comes.
    pub(super) fn wait(&self, stands: Revision, changes: usize) -> oneshot::Receiver<()> {
        let (turn, waiting) = oneshot::channel();
        let mut state = self.state.lock();
        state.came += 1;
        let came = state.came;
        state.waiting.push(Reverse(Waiting { stands, came, changes: changes as i64, turn }));
        waiting
    }
}

const NEVER: u64 = u64::MAX;

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.came == other.came
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.stands, self.came).cmp(&(other.stands, other.came))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_group_is_taken_for_leisure_or_keeps_all_waiting() {
        let now = Instant::now();
        let credit = Credit::new(now);
        assert!(!credit.is_busy(now));
        credit.earn(FEED_YIELDS_AT - 1, now);
        assert!(!credit.is_busy(now));
        credit.earn(FEED_YIELDS_AT, now);
        let later = |ms| now + std::time::Duration::from_millis(ms);
        assert!(credit.is_busy(now) && credit.is_busy(later(FEED_YIELDS_MS - 1)));
        assert!(!credit.is_busy(later(FEED_YIELDS_MS)));
    }

    #[test]
    fn who_is_farthest_behind_does_not_come_first_or_more_is_told_than_was_committed() {
        let now = Instant::now();
        let credit = Credit::new(now);
        let mut ahead = credit.wait(Revision::new(9), 5);
        let mut behind = credit.wait(Revision::new(3), 5);
        let gone = credit.wait(Revision::new(1), 5);
        drop(gone);
        credit.earn(2 * FEED_YIELDS_TO, now);
        assert!(behind.try_recv().is_ok() && ahead.try_recv().is_err());
        credit.earn(4 * FEED_YIELDS_TO - 1, now);
        assert!(ahead.try_recv().is_err(), "the first one has taken 5 for 2");
        credit.earn(1, now);
        assert!(ahead.try_recv().is_ok());
        credit.earn(10 * FEED_YIELDS_TO * FEED_CREDIT_MAX, now);
        let mut many: Vec<_> = (0..3).map(|at| credit.wait(Revision::new(at), FEED_CREDIT_MAX)).collect();
        credit.earn(0, now);
        assert!(many[0].try_recv().is_ok() && many[1].try_recv().is_err(), "so much is saved up, and no more");
    }
}
