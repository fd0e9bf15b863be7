//! Waiting a little for more changes, where the machine is short of processors.
//!
//! A group costs a sync and several wake-ups, whatever is in it: of one with a few changes that is most of what it costs. While
//! the committing thread seldom waits for a processor the next group is begun at once. Where it often does, small groups take
//! processors from the requests that would fill larger ones. Clients that wait for answers before they ask again send nothing
//! while a group waits for them: so none does unless so many as are enough have been there together a moment ago.

use std::time::{Duration, Instant};

use ostrakon_background::ProcessorWaits;
use ostrakon_wire::bounds::{GROUP_ENOUGH, GROUP_WAIT_US_MAX};

/// The longest that a group waits for more.
const PATIENCE_MAX: Duration = Duration::from_micros(GROUP_WAIT_US_MAX);
/// It is looked at most so often how short processors are,
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// and what counts is the mean over about so long.
const MEAN_OVER: Duration = Duration::from_millis(100);
/// Where the committing thread waits for a processor less than this part of the time, they are not short;
const SHORT_FROM: f64 = 0.05;
/// from here on groups wait as long as they may.
const SHORT_BY: f64 = 0.1;
/// Where fewer changes would come while a group waits as long as it may, it does not wait: they are not worth the time.
const WORTH: f64 = 8.0;
/// For so long it counts that enough were there together.
const ENOUGH_FOR: Duration = Duration::from_millis(200);

/// Whether the committing thread waits for more, and how long.
pub(super) struct Gathering {
    waits: ProcessorWaits,
    looked: Instant,
    /// Changes that went since.
    gone: usize,
    mean: Mean,
    /// Changes that could not go with the last group.
    left: usize,
    /// When enough were there together last.
    enough: Option<Instant>,
}

/// How it has been of late.
#[derive(Debug, Default, Clone, Copy)]
struct Mean {
    /// What part of the time the thread waits for a processor.
    share: f64,
    /// Changes a second.
    per_s: f64,
}

impl Gathering {
    pub(super) fn of_caller(now: Instant) -> Self {
        Self {
            waits: ProcessorWaits::of_caller(now),
            looked: now,
            gone: 0,
            mean: Mean::default(),
            left: 0,
            enough: None,
        }
    }

    /// How long a group waits for more than the changes that are there. Where some are left that cannot go yet, it does not.
    pub(super) fn patience(&mut self, waiting: usize, now: Instant) -> Duration {
        self.look(now);
        let lately = |enough: Instant| now.saturating_duration_since(enough) < ENOUGH_FOR;
        let may = self.left == 0 && (1..GROUP_ENOUGH).contains(&waiting) && self.enough.is_some_and(lately);
        if may { self.mean.patience() } else { Duration::ZERO }
    }

    /// So many changes were there together, and so many of them are left.
    pub(super) fn went(&mut self, together: usize, left: usize, now: Instant) {
        if together >= GROUP_ENOUGH {
            self.enough = Some(now);
        }
        self.gone += together - left;
        self.left = left;
    }

    /// Looks how it is now, if it has not just been looked.
    fn look(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        if passed >= LOOK_EVERY {
            let share = self.waits.share(now).unwrap_or_default();
            let per_s = std::mem::take(&mut self.gone) as f64 / passed.as_secs_f64();
            self.mean.go(Mean { share, per_s }, passed.div_duration_f64(MEAN_OVER).min(1.0));
            self.looked = now;
        }
    }
}

impl Mean {
    /// Goes a part of the way to how it is now.
    fn go(&mut self, now: Self, part: f64) {
        self.share += (now.share - self.share) * part;
        self.per_s += (now.per_s - self.per_s) * part;
    }

    fn patience(self) -> Duration {
        if self.per_s * PATIENCE_MAX.as_secs_f64() < WORTH {
            return Duration::ZERO;
        }
        PATIENCE_MAX.mul_f64(((self.share - SHORT_FROM) / (SHORT_BY - SHORT_FROM)).clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where enough come.
    const MANY: f64 = 1e6;

    fn at(share: f64, per_s: f64) -> Duration {
        Mean { share, per_s }.patience()
    }

    #[test]
    fn groups_wait_where_processors_are_short_and_never_longer_than_they_may() {
        assert_eq!([0.0, SHORT_FROM].map(|share| at(share, MANY)), [Duration::ZERO; 2]);
        assert_eq!([SHORT_BY, 0.5, 1.0].map(|share| at(share, MANY)), [PATIENCE_MAX; 3]);
        let between = at((SHORT_FROM + SHORT_BY) / 2.0, MANY);
        assert!(Duration::ZERO < between && between < PATIENCE_MAX, "{between:?}");
    }

    #[test]
    fn groups_do_not_wait_for_the_few_that_come() {
        let worth = WORTH / PATIENCE_MAX.as_secs_f64();
        assert_eq!([0.0, 1.0, worth * 0.99].map(|per_s| at(1.0, per_s)), [Duration::ZERO; 3]);
        assert_eq!(at(1.0, worth * 1.01), PATIENCE_MAX);
    }

    /// Where processors are short and enough come.
    fn short(now: Instant) -> Gathering {
        Gathering { mean: Mean { share: 1.0, per_s: MANY }, ..Gathering::of_caller(now) }
    }

    #[test]
    fn groups_wait_where_so_many_never_come() {
        let began = Instant::now();
        let half = began + ENOUGH_FOR / 2;
        let at = |gathering: &mut Gathering, now| {
            gathering.looked = now;
            gathering.patience(1, now)
        };
        let mut gathering = short(began);
        gathering.went(GROUP_ENOUGH - 1, 0, began);
        assert_eq!(at(&mut gathering, began), Duration::ZERO);
        gathering.went(GROUP_ENOUGH, 0, began);
        gathering.went(1, 0, half);
        assert_eq!(at(&mut gathering, half), PATIENCE_MAX);
        assert_eq!(at(&mut gathering, began + ENOUGH_FOR), Duration::ZERO);
    }

    #[test]
    fn groups_wait_with_enough_or_nothing_or_behind_what_cannot_go() {
        let now = Instant::now();
        let mut gathering = short(now);
        gathering.went(GROUP_ENOUGH, 0, now);
        let waits = [0, 1, GROUP_ENOUGH - 1, GROUP_ENOUGH].map(|waiting| !gathering.patience(waiting, now).is_zero());
        assert_eq!(waits, [false, true, true, false]);
        gathering.went(GROUP_ENOUGH, 1, now);
        assert_eq!(gathering.patience(2, now), Duration::ZERO);
    }

    #[test]
    fn what_was_is_forgotten_over_the_time_that_counts() {
        let mut mean = Mean::default();
        for _ in 0..20 {
            mean.go(Mean { share: 1.0, per_s: MANY }, 0.2);
        }
        assert!(mean.share > 0.98 && mean.per_s > 0.98 * MANY);
        mean.go(Mean::default(), 1.0);
        assert_eq!(mean.patience(), Duration::ZERO);
    }
}
