//! What time it is: by the machine's clocks, or by those of a simulation.

#[cfg(feature = "simulation")]
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostrakon_wire::TimestampMs;
use rustix::time::{ClockId, clock_gettime};

/// The clocks that a host goes by. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    Machine,
    #[cfg(feature = "simulation")]
    Simulated(Arc<crate::simulated::SimulatedClock>),
}

impl Clock {
    #[cfg(feature = "simulation")]
    pub(crate) fn simulated(clock: &Arc<crate::simulated::SimulatedClock>) -> Self {
        Self(Source::Simulated(Arc::clone(clock)))
    }

    /// Whether nothing passes by itself.
    pub fn is_simulated(&self) -> bool {
        !matches!(self.0, Source::Machine)
    }

    /// The time of day, as it is told to clients. It may jump.
    pub fn now(&self) -> TimestampMs {
        match &self.0 {
            Source::Machine => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                TimestampMs::new(since.as_millis() as u64)
            }
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => clock.now(),
        }
    }

    /// The time that the processor has given to this thread.
    pub fn thread_time(&self) -> Duration {
        match &self.0 {
            Source::Machine => {
                let time = clock_gettime(ClockId::ThreadCPUTime);
                Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
            }
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => Duration::from_micros(clock.passed()),
        }
    }

    /// What waits and ages are measured by. It never runs back.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::Machine => Instant::now(),
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => clock.instant(),
        }
    }
}
