//! Shipped prediction policy: what was seen, and how fast it changes.
//!
//! Writes by others arrive at the object's recent rate (Poisson) while the latest sighting ages and while the commit runs;
//! writes that are queued here succeed as often as the object's conditional writes do. From both follow the likeliest
//! version at this write's turn and the chance that the client's known version still stands.
//!
//! Always holds: no allocation, and only arithmetic that gives the same bits natively and in a component. It learns
//! nothing: the rates are arguments.

mod chance;
mod settings;

use ostrakon_policy_sdk::prediction::{Forecast, Policy, Request, Route, UNKNOWN_AGE};
use ostrakon_policy_sdk::{About, Invalid};

use chance::{exp_negative, likeliest_events, likeliest_successes, nth_power};
use settings::Settings;

/// What a forecast for an object that nobody here has seen is worth: little, but the try costs little too.
const UNSEEN_PPM: u32 = 100_000;

/// The configured policy.
#[derive(Debug, Clone)]
pub struct FrequencyPrediction {
    settings: Settings,
}

impl Policy for FrequencyPrediction {
    fn about() -> About {
        About::new("frequency-prediction", env!("CARGO_PKG_VERSION"))
    }

    fn configure(settings: &str, _state: &[u8]) -> Result<Self, Invalid> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    fn predict(&self, ask: &Request) -> Forecast {
        let Some(sighting) = Sighting::latest(ask) else {
            return Forecast { version: ask.known, confidence_ppm: UNSEEN_PPM, route: Route::Write };
        };
        let success = 1.0 - f64::from(ask.conflict_ppm.min(1_000_000)) / 1e6;
        let foreign = sighting.foreign_writes(ask);
        let (queued, queued_chance) = likeliest_successes(ask.queued, success);
        let (others, others_chance) = likeliest_events(foreign);
        let stands = nth_power(1.0 - success, u64::from(ask.queued)) * exp_negative(foreign);
        let route = match sighting.overtaken || ppm(stands) < self.settings.abort_below_ppm {
            true => Route::Reconcile,
            false => Route::Write,
        };
        Forecast {
            version: sighting.version.saturating_add(queued).saturating_add(others),
            confidence_ppm: ppm(queued_chance * others_chance),
            route,
        }
    }
}

/// The highest version anybody told of, and how long ago it stood.
struct Sighting {
    version: u64,
    age_us: u64,
    /// The client acts upon a version that is gone for certain, as versions only grow.
    overtaken: bool,
}

impl Sighting {
    /// The front end's sighting or the client's own read, whichever saw more; none when neither tells anything.
    fn latest(ask: &Request) -> Option<Self> {
        if ask.observed_age_us == UNKNOWN_AGE {
            return None;
        }
        // A client that knows of no live object may stand before a tombstone of any version: nothing is certain.
        let overtaken = ask.known != 0 && ask.observed > ask.known;
        // A version above ours was written after we looked, so our age bounds the client's.
        let read_age_us = ask.read_age_us.min(ask.observed_age_us);
        let (version, age_us) = match ask.known >= ask.observed {
            true => (ask.known, read_age_us),
            false => (ask.observed, ask.observed_age_us),
        };
        Some(Self { version, age_us, overtaken })
    }

    /// Writes by others that are expected between the sighting and this write's turn.
    fn foreign_writes(&self, ask: &Request) -> f64 {
        const THOUSAND_SECONDS_US: f64 = 1e9;
        let span_us = self.age_us as f64 + f64::from(ask.commit_us);
        ask.write_millihz as f64 / THOUSAND_SECONDS_US * span_us
    }
}

/// A probability in parts per million; casts saturate, so rounding above 1 stays 1.
fn ppm(chance: f64) -> u32 {
    ((chance * 1e6) as u32).min(1_000_000)
}

ostrakon_policy_sdk::export_prediction!(FrequencyPrediction);

#[cfg(test)]
mod tests;
