//! Shipped prediction policy: what was seen, and how fast it changes.
//!
//! Writes by others arrive at the object's recent rate (Poisson) while the latest sighting ages and while the commit runs;
//! writes that are queued here succeed as often as the object's conditional writes do. From both follow the likeliest
//! version at this write's turn and the chance that the client's known version still stands.
//!
//! Where versions were met that nothing foretold, it learns how many more to expect of that object: writers that pass by
//! another front end, and what was seen too long ago.
//!
//! Always holds: a forecast allocates nothing, and only arithmetic that gives the same bits natively and in a component.

mod chance;
mod learned;
mod settings;

use ostrakon_policy_sdk::learning::{self, Outcome};
use ostrakon_policy_sdk::prediction::{Forecast, Policy, Request, Route, UNKNOWN_AGE};
use ostrakon_policy_sdk::{About, Invalid};

use chance::{exp_negative, likeliest_events, likeliest_successes, nth_power};
use learned::Learned;
use settings::Settings;

/// What a forecast for an object that nobody here has seen is worth: little, but the try costs little too.
const UNSEEN_PPM: u32 = 100_000;

/// The configured policy.
#[derive(Debug, Clone)]
pub struct FrequencyPrediction {
    settings: Settings,
    learned: Learned,
}

impl Policy for FrequencyPrediction {
    fn about() -> About {
        About { needs_state: true, ..About::new("frequency-prediction", env!("CARGO_PKG_VERSION")) }
    }

    fn configure(settings: &str, state: &[u8]) -> Result<Self, Invalid> {
        Ok(Self { settings: Settings::parse(settings)?, learned: Learned::parse(state)? })
    }

    fn predict(&self, ask: &Request) -> Forecast {
        let unforeseen = self.learned.unforeseen(ask.scope);
        let Some(sighting) = Sighting::latest(ask) else {
            return self.unseen(ask, unforeseen.unwrap_or(0.0).max(0.0));
        };
        let success = 1.0 - f64::from(ask.conflict_ppm.min(1_000_000)) / 1e6;
        let foreign = (sighting.foreign_writes(ask) + unforeseen.unwrap_or(0.0)).max(0.0);
        let (queued, queued_chance) = likeliest_successes(ask.queued, success);
        let none = exp_negative(foreign);
        let (others, others_chance) = likeliest_events(foreign, none);
        let stands = nth_power(1.0 - success, u64::from(ask.queued)) * none;
        Forecast {
            version: sighting.version.saturating_add(queued).saturating_add(others),
            confidence_ppm: ppm(queued_chance * others_chance),
            route: self.route(sighting.overtaken, stands),
        }
    }
}

impl FrequencyPrediction {
    /// Of an object that nobody here has seen, nothing is known but what was learned of it.
    fn unseen(&self, ask: &Request, unforeseen: f64) -> Forecast {
        let none = exp_negative(unforeseen);
        let (others, chance) = likeliest_events(unforeseen, none);
        Forecast {
            version: ask.known.saturating_add(others),
            confidence_ppm: ppm(chance).min(UNSEEN_PPM),
            route: self.route(false, none),
        }
    }

    fn route(&self, overtaken: bool, stands: f64) -> Route {
        match overtaken || ppm(stands) < self.settings.abort_below_ppm {
            true => Route::Reconcile,
            false => Route::Write,
        }
    }
}

impl learning::Policy for FrequencyPrediction {
    fn learn(&self, state: &[u8], outcomes: &[Outcome]) -> Vec<u8> {
        // A state that cannot be read was not written here: what it knew is learned again.
        let mut learned = Learned::parse(state).unwrap_or_else(|_| self.learned.clone());
        learned.learn(outcomes);
        learned.state()
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

ostrakon_policy_sdk::export_learning_prediction!(FrequencyPrediction);

#[cfg(test)]
mod tests;
