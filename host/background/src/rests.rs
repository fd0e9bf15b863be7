//! Rests within long work.

use std::time::{Duration, Instant};

use crate::waits::ProcessorWaits;

/// A thread works so long at least before it rests.
const WORK_MIN: Duration = Duration::from_millis(1);
/// So many times as long as it has worked.
const RESTS: u32 = 2;
/// From this part of the time on that it had to wait for a processor itself.
const WAITS_FROM: f64 = 0.05;

/// Long work that rests now and then, as long as others want a processor.
///
/// A thread that is idle takes no processor from anybody, but what processors share: their units, where two are one core, their
/// caches, their memory. Whoever works beside it without a rest is slowed down, on a machine of two by a third.
#[derive(Debug)]
pub struct Rests {
    waits: ProcessorWaits,
    since: Instant,
}

impl Rests {
    /// Of the calling thread, which begins its work.
    pub fn of_caller() -> Self {
        let now = Instant::now();
        Self { waits: ProcessorWaits::of_caller(now), since: now }
    }

    /// Between two parts of the work: rests, if it is time to.
    pub fn rest(&mut self) {
        let now = Instant::now();
        let worked = now.saturating_duration_since(self.since);
        if worked < WORK_MIN {
            return;
        }
        let rest = rest_after(worked, self.waits.share(now));
        if !rest.is_zero() {
            std::thread::sleep(rest);
        }
        self.since = Instant::now();
        // What passed meanwhile was no work.
        self.waits.share(self.since);
    }
}

/// Where the platform does not tell how long threads wait, others may want a processor.
fn rest_after(worked: Duration, waited: Option<f64>) -> Duration {
    if waited.is_none_or(|share| share >= WAITS_FROM) { worked * RESTS } else { Duration::ZERO }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_processor_rests_twice_as_long_as_it_has_worked() {
        let worked = Duration::from_millis(3);
        for (waited, rest) in [(Some(0.0), 0), (Some(0.04), 0), (Some(0.05), 6), (Some(1.0), 6), (None, 6)] {
            assert_eq!(rest_after(worked, waited), Duration::from_millis(rest), "{waited:?}");
        }
    }

    #[test]
    fn short_work_does_not_rest() {
        let mut rests = Rests::of_caller();
        let since = rests.since;
        rests.rest();
        // Unless this machine has stood still meanwhile.
        assert!(rests.since == since || since.elapsed() >= WORK_MIN);
        std::thread::sleep(WORK_MIN);
        rests.rest();
        assert!(rests.since > since, "what it has worked is counted from here");
    }
}
