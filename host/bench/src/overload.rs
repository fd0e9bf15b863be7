//! Scenario `overload`: twice what the host can do, and how soon it is itself again.
//!
//! First the peak is measured, with a number of requests always under way. Then requests come at twice that rate whatever
//! becomes of them, beside a probe with one request under way, which goes on until the host is as it was.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::drive::{self, Pace};
use crate::host::Host;
use crate::load::{self, Shape, Window};
use crate::pipe;
use crate::report::Report;
use crate::rounds::{self, median};
use crate::{Options, folder};

const OBJECTS: usize = 100_000;
const CREATE_IN_FLIGHT: usize = 64;
/// What the peak is measured with, and over how many connections the load comes.
const PEAK: Shape = Shape { connections: 8, in_flight: 32 };
const TIMES_PEAK: f64 = 2.0;
/// How long the probe is watched before the load, and after it.
const PROBE: Duration = Duration::from_secs(2);
const AFTER: Duration = Duration::from_secs(5);
/// The probe's latency is judged a window at a time.
const PROBE_WINDOW: Duration = Duration::from_millis(100);
/// The host is itself again when the probe's p99 is at most this much above what it was.
const NORMAL: f64 = 1.5;
const PATIENCE: Duration = Duration::from_secs(120);

/// What one round came to.
struct Outcome {
    peak_per_s: u64,
    /// Requests whose time came, and those of them that the host let come: QUIC holds the others back, and they are late.
    due_per_s: u64,
    sent_per_s: u64,
    committed_per_s: u64,
    overloaded_per_s: u64,
    retry_after_seen: bool,
    p99_us: u64,
    probe_p99_us_before: u64,
    probe_p99_us_beside: u64,
    /// `None`: not before the probe ended.
    recovered_ms: Option<u64>,
}

const COLUMNS: &[&str] = &[
    "peak_per_s",
    "due_per_s",
    "sent_per_s",
    "committed_per_s",
    "of_peak",
    "overloaded_per_s",
    "retry_after_seen",
    "p99_us",
    "probe_p99_us_before",
    "probe_p99_us_beside",
    "recovered_ms",
];

/// Measures the peak, the overload and the recovery, on a new host each round.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let outcomes = rounds::alternate(&[()], options.rounds, |()| round(options.seconds))?;
    let row = row(&outcomes[0]);
    Ok(Report { summary: row.clone(), columns: COLUMNS, rows: vec![row] })
}

fn row(rounds: &[Outcome]) -> Map<String, Value> {
    let of = |figure: fn(&Outcome) -> u64| Value::from(median(rounds, figure));
    let of_peak = median(rounds, |round| 1_000 * round.committed_per_s / round.peak_per_s.max(1));
    // A round that did not recover counts as one that took for ever.
    let recovered_ms = median(rounds, |round| round.recovered_ms.unwrap_or(u64::MAX));
    [
        ("peak_per_s", of(|round| round.peak_per_s)),
        ("due_per_s", of(|round| round.due_per_s)),
        ("sent_per_s", of(|round| round.sent_per_s)),
        ("committed_per_s", of(|round| round.committed_per_s)),
        ("of_peak", (of_peak as f64 / 1_000.0).into()),
        ("overloaded_per_s", of(|round| round.overloaded_per_s)),
        ("retry_after_seen", rounds.iter().all(|round| round.retry_after_seen).into()),
        ("p99_us", of(|round| round.p99_us)),
        ("probe_p99_us_before", of(|round| round.probe_p99_us_before)),
        ("probe_p99_us_beside", of(|round| round.probe_p99_us_beside)),
        ("recovered_ms", Some(recovered_ms).filter(|ms| *ms != u64::MAX).into()),
    ]
    .map(|(name, figure)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}

fn round(seconds: u64) -> anyhow::Result<Outcome> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), &[])?;
    let patience = Duration::from_secs(2 * seconds) + PATIENCE;
    load::runtime()?.block_on(async { timeout(patience, measure(&host, Duration::from_secs(seconds))).await })?
}

async fn measure(host: &Host, length: Duration) -> anyhow::Result<Outcome> {
    let callers = pipe::dial(&host.file, PEAK.connections + 1, OBJECTS).await?;
    let mut callers = pipe::create_all(callers, CREATE_IN_FLIGHT).await?;
    let mut probe = callers.pop().context("one more than the load has")?;

    let window = Window::after_warm_up(length.as_secs());
    let (callers, peak) = drive::all(callers, Pace::Keep { under_way: PEAK.in_flight }, window).await?;
    let peak_per_s = peak.tally.figures().committed_per_s;

    let begin = Instant::now() + PROBE;
    let end = begin + length;
    let probing = tokio::spawn(async move {
        let mut seen = Vec::new();
        let window = Window::open_for(PROBE + length + AFTER);
        drive::one(&mut probe, Pace::Keep { under_way: 1 }, window, |due, answered| seen.push((answered, due))).await?;
        anyhow::Ok(seen)
    });
    tokio::time::sleep_until(begin.into()).await;
    let per_s = TIMES_PEAK * peak_per_s as f64 / PEAK.connections as f64;
    let window = Window::open_for(end.saturating_duration_since(Instant::now()));
    let (callers, driven) = drive::all(callers, Pace::Open { per_s }, window).await?;
    let seen = probing.await??;
    drop(callers);

    let of_load = |count: u64| (count as f64 / window.length().as_secs_f64()) as u64;
    let figures = driven.tally.figures();
    let before = p99(&seen, begin - PROBE, begin).context("the probe was not answered before the load")?;
    Ok(Outcome {
        peak_per_s,
        due_per_s: (per_s * PEAK.connections as f64) as u64,
        sent_per_s: of_load(driven.sent),
        committed_per_s: figures.committed_per_s,
        overloaded_per_s: of_load(driven.overloaded),
        retry_after_seen: driven.retry_after_seen,
        p99_us: figures.p99_us,
        probe_p99_us_before: before,
        probe_p99_us_beside: p99(&seen, begin, end).unwrap_or(u64::MAX),
        recovered_ms: recovered(&seen, end, (before as f64 * NORMAL) as u64).map(|after| after.as_millis() as u64),
    })
}

/// The 99th percentile of what was answered between two instants, in microseconds.
fn p99(seen: &[(Instant, Instant)], from: Instant, to: Instant) -> Option<u64> {
    let inside = seen.iter().filter(|(answered, _)| (from..to).contains(answered));
    let mut latencies: Vec<u64> =
        inside.map(|(answered, due)| answered.duration_since(*due).as_micros() as u64).collect();
    latencies.sort_unstable();
    latencies.get((latencies.len() * 99).div_ceil(100).checked_sub(1)?).copied()
}

/// How long after the load's end the first window begins in which the probe is as fast as it was.
fn recovered(seen: &[(Instant, Instant)], end: Instant, normal_us: u64) -> Option<Duration> {
    let windows = AFTER.as_millis() / PROBE_WINDOW.as_millis();
    (0..windows as u32).map(|window| PROBE_WINDOW * window).find(|after| {
        let from = end + *after;
        p99(seen, from, from + PROBE_WINDOW).is_some_and(|p99| p99 <= normal_us)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_without_answers_counts_as_recovered() {
        let end = Instant::now();
        let at = |ms: u64, took_ms: u64| {
            let answered = end + Duration::from_millis(ms);
            (answered, answered - Duration::from_millis(took_ms))
        };
        // Nothing in the first window, late in the second, well in the third.
        let seen = [at(150, 120), at(180, 1), at(250, 2), at(299, 1)];
        assert_eq!(recovered(&seen, end, 2_000), Some(Duration::from_millis(200)));
        assert_eq!(recovered(&seen, end, 500), None);
    }
}
