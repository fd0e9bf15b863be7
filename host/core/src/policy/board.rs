//! What forecasts were worth: each is judged where its write had its turn, beside what two simple rules would have said of
//! the same write.
//!
//! A forecast of conflict is an early abort: the write is not tried, but confirmed or queued. It was right if another
//! version than the known one stood there when the action had its turn. The rules: `known-is-cached` expects a conflict
//! exactly where the version that this front end saw last is not the known one; `always-write` expects none.

use std::sync::atomic::{AtomicU64, Ordering};

use ostrakon_wire::value::{Map, Value};

use super::{Forecast, Met, Route};

/// Steps of confidence that calibration is told in.
const STEPS: usize = 10;
const PPM: u64 = 1_000_000;

/// Counts of forecasts by one policy; added to by many threads.
#[derive(Debug, Default)]
pub struct Board {
    versions_right: AtomicU64,
    versions_wrong: AtomicU64,
    policy: Guesses,
    cached: Guesses,
    /// Aborts by confidence: how many, and how many of them were right.
    steps: [[AtomicU64; 2]; STEPS],
    round_trips_saved: AtomicU64,
    verdicts: AtomicU64,
}

/// Guesses of conflict, by what came.
#[derive(Debug, Default)]
struct Guesses {
    right: AtomicU64,
    wrong: AtomicU64,
    missed: AtomicU64,
    clear: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

fn number(count: u64) -> Value {
    Value::Integer(count.min(i64::MAX as u64) as i64)
}

/// A part of a whole in millionths; nothing where there is no whole.
fn share(part: u64, whole: u64) -> Value {
    (part * PPM).checked_div(whole).map_or(Value::Null, number)
}

impl Guesses {
    fn judge(&self, guessed: bool, conflict: bool) {
        add(match (guessed, conflict) {
            (true, true) => &self.right,
            (true, false) => &self.wrong,
            (false, true) => &self.missed,
            (false, false) => &self.clear,
        });
    }

    fn facts(&self) -> Map {
        let [right, wrong, missed] = [&self.right, &self.wrong, &self.missed].map(get);
        Map::from([
            ("aborts-right".into(), number(right)),
            ("aborts-wrong".into(), number(wrong)),
            ("conflicts-missed".into(), number(missed)),
            ("precision-ppm".into(), share(right, right + wrong)),
            ("recall-ppm".into(), share(right, right + missed)),
        ])
    }
}

impl Board {
    /// Judges a forecast of a write to the version `known` by what that met.
    pub fn judge(&self, forecast: &Forecast, known: u64, met: &Met) {
        let Met { version, conflict, cached, round_trip_saved } = *met;
        add(if forecast.version == version { &self.versions_right } else { &self.versions_wrong });
        let abort = forecast.route == Route::Reconcile;
        self.policy.judge(abort, conflict);
        self.cached.judge(cached.is_some_and(|cached| cached != known), conflict);
        if abort {
            let step = (u64::from(forecast.confidence_ppm) * STEPS as u64 / PPM).min(STEPS as u64 - 1);
            let [all, right] = &self.steps[step as usize];
            add(all);
            if conflict {
                add(right);
            }
        }
        if conflict && round_trip_saved {
            add(&self.round_trips_saved);
        }
    }

    /// Verdicts that were asked for where a forecast was made.
    pub fn add_verdicts(&self, verdicts: u32) {
        self.verdicts.fetch_add(verdicts.into(), Ordering::Relaxed);
    }

    /// What is told of it.
    pub fn facts(&self) -> Map {
        let mut facts = self.policy.facts();
        let [right, wrong, missed, clear] =
            [&self.policy.right, &self.policy.wrong, &self.policy.missed, &self.policy.clear].map(get);
        let calibration = self.steps.iter().enumerate().filter(|(_, [all, _])| get(all) > 0).map(|(step, counts)| {
            let [all, right] = counts.each_ref().map(get);
            let of = Map::from([("aborts".into(), number(all)), ("right-ppm".into(), share(right, all))]);
            (format!("{:02}-{:02}", step * 10, step * 10 + 10), Value::Map(of))
        });
        let always_write = Map::from([
            ("conflicts-missed".into(), number(right + missed)),
            ("recall-ppm".into(), share(0, right + missed)),
        ]);
        facts.extend([
            ("forecasts".into(), number(right + wrong + missed + clear)),
            ("versions-right-ppm".into(), {
                let [right, wrong] = [&self.versions_right, &self.versions_wrong].map(get);
                share(right, right + wrong)
            }),
            ("tries-saved".into(), number(right)),
            ("round-trips-saved".into(), number(get(&self.round_trips_saved))),
            // Every round trip saved is a forecast not asked for; in its place a verdict may have been.
            ("policy-calls-saved".into(), {
                let [forecasts, verdicts] = [&self.round_trips_saved, &self.verdicts].map(|count| get(count) as i64);
                Value::Integer(forecasts - verdicts)
            }),
            ("calibration".into(), Value::Map(calibration.collect())),
            ("known-is-cached".into(), Value::Map(self.cached.facts())),
            ("always-write".into(), Value::Map(always_write)),
        ]);
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(board: &Board, route: Route, confidence_ppm: u32, conflict: bool, cached: u64) {
        let version = if conflict { 5 } else { 4 };
        let met = Met { version, conflict, cached: Some(cached), round_trip_saved: true };
        board.judge(&Forecast { version: 5, confidence_ppm, route }, 4, &met);
    }

    #[test]
    fn forecasts_and_rules_are_judged_by_what_came() {
        let (board, other) = (Board::default(), Board::default());
        for _ in 0..3 {
            judge(&board, Route::Reconcile, 950_000, true, 5);
        }
        judge(&board, Route::Reconcile, 400_000, false, 4);
        judge(&board, Route::Write, 400_000, true, 4);
        judge(&board, Route::Write, 1_000_000, false, 5);
        judge(&other, Route::Write, 0, false, 4);
        board.add_verdicts(7);
        let (one, two) = (&board.facts(), &other.facts());
        let of = |map: &Map, name: &str| map[name].clone();
        assert_eq!((of(one, "precision-ppm"), of(one, "recall-ppm")), (number(750_000), number(750_000)));
        assert_eq!((of(one, "forecasts"), of(one, "tries-saved")), (number(6), number(3)));
        assert_eq!(of(one, "round-trips-saved"), number(4));
        assert_eq!(of(one, "policy-calls-saved"), Value::Integer(4 - 7));
        let Value::Map(cached) = &one["known-is-cached"] else { panic!("it is a map") };
        assert_eq!((of(cached, "aborts-wrong"), of(cached, "conflicts-missed")), (number(1), number(1)));
        let Value::Map(calibration) = &one["calibration"] else { panic!("it is a map") };
        assert_eq!(calibration.keys().collect::<Vec<_>>(), ["40-50", "90-100"]);
        assert_eq!(of(two, "precision-ppm"), Value::Null, "nothing was guessed");
    }
}
