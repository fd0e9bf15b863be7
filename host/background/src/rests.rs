//! Rests within long work.

use std::time::{Duration, Instant};

use crate::waits::ProcessorWaits;

/// A thread works so long at least before it rests.
const WORK_MIN: Duration = Duration::from_millis(1);
/// So many times as long as its work took, what it waited for a processor included: who waits long is in the way of many.
const REST_TO_WORK: u32 = 2;
/// A rest lasts so long at most.
const REST_MAX: Duration = Duration::from_millis(50);
/// All of them together: work that takes long is told to wait for by somebody.
const RESTS_MAX: Duration = Duration::from_secs(10);
/// From this part of the time on that it had to wait for a processor itself.
const WAITS_FROM: f64 = 0.05;

/// Long work that rests now and then, as long as others want a processor.
///
/// A thread that is idle takes no processor from anybody, but what processors share: their units, where two are one core, their
/// caches, their memory. Beside one that works without a rest requests took twice as long, on a machine of two processors.
#[derive(Debug)]
pub struct Rests {
    waits: ProcessorWaits,
    since: Instant,
    rested: Duration,
}

impl Rests {
    /// Of the calling thread, which begins its work.
    pub fn of_caller() -> Self {
        let now = Instant::now();
        Self { waits: ProcessorWaits::of_caller(now), since: now, rested: Duration::ZERO }
    }

    /// Between two parts of the work: rests, if it is time to.
    pub fn rest(&mut self) {
        let now = Instant::now();
        let took = now.saturating_duration_since(self.since);
        if took < WORK_MIN {
            return;
        }
        let rest = rest_after(took, self.waits.share(now)).min(RESTS_MAX.saturating_sub(self.rested));
        self.since = now;
        if !rest.is_zero() {
            std::thread::sleep(rest);
            self.rested += rest;
            self.since = Instant::now();
            // What passed meanwhile was no work.
            self.waits.share(self.since);
        }
    }

    /// How long it has rested so far.
    pub fn rested(&self) -> Duration {
        self.rested
    }
}

/// Where the platform does not tell how long threads wait, others may want a processor.
fn rest_after(took: Duration, waited: Option<f64>) -> Duration {
    match waited {
        Some(share) if share < WAITS_FROM => Duration::ZERO,
        _ => (took * REST_TO_WORK).min(REST_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_a_processor_rests_twice_as_long_as_its_work_took() {
        let took = Duration::from_millis(3);
        for (waited, rest) in [(Some(0.0), 0), (Some(0.04), 0), (Some(0.05), 6), (Some(1.0), 6), (None, 6)] {
            assert_eq!(rest_after(took, waited), Duration::from_millis(rest), "{waited:?}");
        }
        assert_eq!(rest_after(Duration::from_secs(3), Some(1.0)), REST_MAX);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_shares_a_processor_rests_and_not_for_ever() {
        use crate::waits::tests::{among_three, spin_for};
        let rested = among_three(|| {
            let mut rests = Rests::of_caller();
            spin_for(Duration::from_millis(200));
            rests.rest();
            let first = rests.rested();
            rests.rested = RESTS_MAX;
            spin_for(Duration::from_millis(50));
            rests.rest();
            (first, rests.rested())
        });
        assert_eq!(rested, (REST_MAX, RESTS_MAX), "it waited, or could not know");
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
