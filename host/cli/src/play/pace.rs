//! How fast a trace is played: as its times say, so many times faster, or as fast as the host answers.

use std::str::FromStr;
use std::time::Duration;

use ostrakon_cloudtrail::Play;
use tokio::time::{Instant, sleep_until};

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Speed {
    /// As fast as the host answers.
    Max,
    /// So many times faster than the trace's own times.
    Times(f64),
}

/// When each second of a trace is due.
#[derive(Debug)]
pub(super) struct Pace {
    speed: Speed,
    begun: Instant,
    first_second: u64,
}

impl FromStr for Speed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.parse::<f64>()) {
            ("max", _) => Ok(Self::Max),
            ("real", _) => Ok(Self::Times(1.0)),
            (_, Ok(times)) if times > 0.0 && times.is_finite() => Ok(Self::Times(times)),
            _ => Err("it is real, max, or a number above 0: so many times faster than real"),
        }
    }
}

impl Speed {
    /// Starts the clock with the first event that is played.
    pub(super) fn start(self, first: Option<&Play>) -> Pace {
        Pace { speed: self, begun: Instant::now(), first_second: first.map_or(0, |play| play.second) }
    }
}

impl Pace {
    /// Waits until a second of the trace is due.
    pub(super) async fn wait(&self, second: u64) {
        if let Speed::Times(times) = self.speed {
            let after = due(second.saturating_sub(self.first_second), times);
            sleep_until(self.begun + after).await;
        }
    }
}

/// A wait that no clock could hold is cut to a year.
fn due(seconds: u64, times: f64) -> Duration {
    const YEAR_S: f64 = 365.0 * 86_400.0;
    Duration::from_secs_f64((seconds as f64 / times).min(YEAR_S))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_read_as_they_are_documented() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("real".parse(), Ok(Speed::Times(1.0)));
        assert_eq!("2.5".parse(), Ok(Speed::Times(2.5)));
        for text in ["", "0", "-1", "nan", "inf", "fast"] {
            assert!(text.parse::<Speed>().is_err(), "{text}");
        }
        assert_eq!(due(10, 2.0), Duration::from_secs(5));
        assert!(due(u64::MAX, 1e-300) <= Duration::from_secs(366 * 86_400));
    }
}
