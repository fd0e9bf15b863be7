//! When a call has had its time.
//!
//! Deadlines are told in ticks of the clock on the wall, which cost a call nothing. But a machine that runs more than it
//! has cores for may let a call wait for most of its ticks. So once they are over, the time that the processor gave to the
//! call is asked for: as long as it gets little, the call goes on, a bounded number of times.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::bounds::DEADLINES_WAITED_MAX;

/// What a call that is over its deadline has left.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    deadline: Duration,
    /// The processor's time of this thread when the deadline passed first.
    since: Option<Duration>,
    waited: u32,
}

impl Patience {
    /// For a call that begins now.
    pub(crate) fn new(deadline_ms: u64) -> Self {
        Self { deadline: Duration::from_millis(deadline_ms), since: None, waited: 0 }
    }

    /// The deadline, in milliseconds.
    pub(crate) fn deadline_ms(&self) -> u64 {
        self.deadline.as_millis() as u64
    }

    /// Whether the call may go on for another deadline, one having passed. Asked on the thread that runs the call.
    pub(crate) fn is_left(&mut self) -> bool {
        self.is_left_at(thread_time())
    }

    fn is_left_at(&mut self, now: Duration) -> bool {
        let got_its_time = self.since.is_some_and(|since| now.saturating_sub(since) >= self.deadline / 2);
        self.since.get_or_insert(now);
        self.waited += 1;
        !got_its_time && self.waited < DEADLINES_WAITED_MAX
    }
}

// As the store's clock tells it; neither layer may import the other.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_call_that_runs_goes_on_after_its_second_deadline() {
        let mut patience = Patience::new(20);
        assert!(patience.is_left_at(ms(1_000)));
        assert!(!patience.is_left_at(ms(1_020)));
    }

    #[test]
    fn a_call_that_is_kept_waiting_runs_out_of_time() {
        let mut patience = Patience::new(20);
        assert!(patience.is_left_at(ms(1_000)));
        assert!(patience.is_left_at(ms(1_002)));
        assert!(patience.is_left_at(ms(1_003)));
        assert!(!patience.is_left_at(ms(1_011)), "by now it has run");
    }

    #[test]
    fn a_call_is_waited_for_without_a_bound() {
        let mut patience = Patience::new(20);
        let waits = (0..1_000).take_while(|_| patience.is_left_at(ms(5))).count();
        assert_eq!(waits, DEADLINES_WAITED_MAX as usize - 1);
    }
}
