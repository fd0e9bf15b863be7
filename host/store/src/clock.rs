//! What time it is: by the machine's clocks, or by those of a simulation.

#[cfg(feature = "simulation")]
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ostrakon_wire::TimestampMs;

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

    /// What waits and ages are measured by. It never runs back.
    pub fn instant(&self) -> Instant {
        match &self.0 {
            Source::Machine => Instant::now(),
            #[cfg(feature = "simulation")]
            Source::Simulated(clock) => clock.instant(),
        }
    }
}
