//! Which version a conditional write will meet: the one last seen, and what others have written since then.
//!
//! Others write at the object's recent rate; the older what was seen is, the more they will have written, and the less sure
//! is the forecast.

use ostrakon_policy_sdk::prediction::{Forecast, Policy, Request, Route, UNKNOWN_AGE};
use ostrakon_policy_sdk::{About, Invalid, settings};
use serde::Deserialize;

/// What an operator may set, as JSON: `{"write-above-ppm": 300000}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// The chance, in millionths, above which a write is tried; below it a conflict is expected.
    write_above_ppm: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { write_above_ppm: 300_000 }
    }
}

/// One, in the millionths in which shares are told.
const WHOLE_PPM: u64 = 1_000_000;

/// The configured policy.
#[derive(Debug)]
pub struct ByRate {
    settings: Settings,
}

impl Policy for ByRate {
    fn about() -> About {
        About::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn configure(text: &str, _state: &[u8]) -> Result<Self, Invalid> {
        let settings: Settings = settings::parse(text)?;
        settings::within("/write-above-ppm", settings.write_above_ppm, 0..=1_000_000)?;
        Ok(Self { settings })
    }

    fn predict(&self, ask: &Request) -> Forecast {
        if ask.observed_age_us == UNKNOWN_AGE {
            // Nothing is known: believe the client.
            return Forecast { version: ask.known, confidence_ppm: 500_000, route: Route::Write };
        }
        let ahead = u64::from(ask.queued);
        let unseen_ppm = unseen_writes_ppm(ask);
        let version = ask.observed.saturating_add(ahead).saturating_add(unseen_ppm / WHOLE_PPM);
        let confidence_ppm = (WHOLE_PPM * WHOLE_PPM / (WHOLE_PPM + unseen_ppm)) as u32;
        let expected = version == ask.known && confidence_ppm >= self.settings.write_above_ppm;
        Forecast { version, confidence_ppm, route: if expected { Route::Write } else { Route::Reconcile } }
    }
}

/// How many writes of others to expect since the object was seen, in millionths of a write.
fn unseen_writes_ppm(ask: &Request) -> u64 {
    // Writes in a thousand seconds, times microseconds: a thousand millionths of a millionth each.
    let since_us = ask.observed_age_us.saturating_add(u64::from(ask.commit_us));
    let unseen = u128::from(ask.write_millihz) * u128::from(since_us) / 1_000;
    // Far beyond what any forecast is good for, and small enough for the sums above.
    unseen.min(1 << 40) as u64
}

ostrakon_policy_sdk::export_prediction!(ByRate);

#[cfg(test)]
mod tests {
    use ostrakon_policy_sdk::prediction::{Kind, OnConflict};

    use super::*;

    fn ask(observed: u64, observed_age_us: u64, write_millihz: u64) -> Request {
        Request {
            known: 7,
            observed,
            observed_age_us,
            read_age_us: UNKNOWN_AGE,
            queued: 0,
            in_group: 0,
            write_millihz,
            conflict_ppm: 0,
            commit_us: 0,
            kind: Kind::Put,
            choice: OnConflict::Reconcile,
            attempt: 0,
            payload_bytes: 100,
            scope: 1,
        }
    }

    fn predict(ask: &Request) -> Forecast {
        ByRate::configure("{}", &[]).expect("no settings are settings").predict(ask)
    }

    #[test]
    fn what_was_just_seen_stands() {
        assert_eq!(predict(&ask(7, 0, 1_000)), Forecast { version: 7, confidence_ppm: 1_000_000, route: Route::Write });
        assert_eq!(predict(&ask(9, 0, 1_000)).route, Route::Reconcile);
    }

    #[test]
    fn a_busy_object_moves_on() {
        // Ten writes in a second, a second ago.
        let Forecast { version, confidence_ppm, route } = predict(&ask(7, 1_000_000, 10_000));
        assert_eq!((version, confidence_ppm, route), (17, 90_909, Route::Reconcile));
    }

    #[test]
    fn a_share_above_one_is_refused() {
        let refused = ByRate::configure(r#"{"write-above-ppm": 1000001}"#, &[]).expect_err("more than all");
        assert_eq!(refused.path, "/write-above-ppm");
    }
}
