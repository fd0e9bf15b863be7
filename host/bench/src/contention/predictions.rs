//! Scenario `predictions`: what forecasts are worth beside two simple rules, on what a front end saw so long ago.

use ostrakon_wire::value::{Map as Fields, Value as Field};
use serde_json::{Map, Value};

use super::{Mode, round};
use crate::Options;
use crate::report::Report;
use crate::rounds::{self, median};

/// Ages of what predictions see, in milliseconds, that they are judged at.
const LAGS_MS: [u64; 3] = [0, 1, 10];
/// Objects that the forecasts are about.
const KEYS: usize = 16;

const COLUMNS: &[&str] =
    &["lag_ms", "rule", "precision", "recall", "aborts_wrong", "conflicts_missed", "versions_right"];

/// Measures every age with the same load.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let rounds = rounds::alternate(&LAGS_MS, options.rounds, |lag_ms| {
        round(Mode::Predicted, KEYS, options.seconds, *lag_ms).map(|outcome| outcome.scoreboard)
    })?;
    let mut rows = Vec::new();
    for (lag_ms, boards) in LAGS_MS.iter().zip(&rounds) {
        for rule in ["predictor", "known-is-cached", "always-write"] {
            rows.push(row(*lag_ms, rule, boards));
        }
    }
    let of = |lag_ms: u64, rule: &str, name: &str| {
        let row = rows.iter().find(|row| row["lag_ms"] == lag_ms && row["rule"] == rule);
        row.map_or(Value::Null, |row| row[name].clone())
    };
    let summary = [
        ("precision", of(10, "predictor", "precision")),
        ("recall", of(10, "predictor", "recall")),
        ("precision_known_is_cached", of(10, "known-is-cached", "precision")),
        ("recall_known_is_cached", of(10, "known-is-cached", "recall")),
    ];
    let summary = summary.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect();
    Ok(Report { summary, columns: COLUMNS, rows })
}

fn row(lag_ms: u64, rule: &str, boards: &[Fields]) -> Map<String, Value> {
    let of = |board: &Fields, name: &str| {
        let board = match board.get(rule) {
            Some(Field::Map(of_rule)) => of_rule,
            _ => board,
        };
        match board.get(name) {
            Some(Field::Integer(count)) => *count as u64,
            _ => 0,
        }
    };
    let middle = |name: &str| median(boards, |board| of(board, name));
    let share = |name: &str| Value::from(middle(name) as f64 / 1e6);
    let versions = if rule == "predictor" { share("versions-right-ppm") } else { Value::Null };
    [
        ("lag_ms", lag_ms.into()),
        ("rule", rule.into()),
        ("precision", share("precision-ppm")),
        ("recall", share("recall-ppm")),
        ("aborts_wrong", middle("aborts-wrong").into()),
        ("conflicts_missed", middle("conflicts-missed").into()),
        ("versions_right", versions),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}
