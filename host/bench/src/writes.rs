//! Scenario `writes`: conditional writes on a real host, beside the limit of the same shape.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Figures, SHAPES, Shape, Window};
use crate::pipe::{self, Kind};
use crate::report::Report;
use crate::{Options, folder, limit, rounds};

/// Objects that are written to; each exists before anything is measured.
const OBJECTS: usize = 100_000;
/// Requests in flight a connection while the objects are made.
const CREATE_IN_FLIGHT: usize = 64;
/// What a round may take beside the time that is measured.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
enum Case {
    Limit(Shape),
    Host(Shape),
}

/// Runs every shape on the limit pipe and on a host, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let cases: Vec<Case> = SHAPES.iter().flat_map(|shape| [Case::Limit(*shape), Case::Host(*shape)]).collect();
    let figures = rounds::alternate(&cases, options.rounds, |case| match case {
        Case::Limit(shape) => limit::round(*shape, options.seconds),
        Case::Host(shape) => round(*shape, options.seconds),
    })?;
    let of = |index: usize| Figures::median(&figures[index]);
    let compared = SHAPES.iter().enumerate().map(|(index, shape)| (*shape, of(2 * index + 1), of(2 * index)));
    Ok(report(&compared.collect::<Vec<_>>()))
}

fn round(shape: Shape, seconds: u64) -> anyhow::Result<Figures> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), &[])?;
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let measured = async {
        let callers = pipe::dial(&host.file, shape.connections, OBJECTS).await?;
        let callers = pipe::create_all(callers, CREATE_IN_FLIGHT).await?;
        pipe::run(callers, Kind::Write, shape, Window::after_warm_up(seconds)).await
    };
    let tally = load::runtime()?.block_on(async { timeout(patience, measured).await })??;
    Ok(tally.figures())
}

/// A row a shape: the host's figures, and its share of the limit's. The smallest share stands for all.
fn report(compared: &[(Shape, Figures, Figures)]) -> Report {
    let row = |(shape, host, limit): &(Shape, Figures, Figures)| {
        let share = host.committed_per_s as f64 / limit.committed_per_s.max(1) as f64;
        let mut row = host.fields();
        row.insert("connections".into(), shape.connections.into());
        row.insert("in_flight".into(), shape.in_flight.into());
        row.insert("limit_committed_per_s".into(), limit.committed_per_s.into());
        row.insert("of_limit".into(), ((share * 1000.0).round() / 1000.0).into());
        row
    };
    let rows: Vec<Map<String, Value>> = compared.iter().map(row).collect();
    let share = |row: &&Map<String, Value>| row.get("of_limit").and_then(Value::as_f64).unwrap_or_default();
    let worst = rows.iter().min_by(|a, b| share(a).total_cmp(&share(b)));
    let summary = ["committed_per_s", "p50_us", "p99_us", "of_limit"].into_iter().filter_map(|name| {
        let figure = worst.and_then(|row| row.get(name))?;
        Some((name.to_owned(), figure.clone()))
    });
    Report {
        summary: summary.collect(),
        columns: &[
            "connections",
            "in_flight",
            "committed_per_s",
            "p50_us",
            "p99_us",
            "limit_committed_per_s",
            "of_limit",
        ],
        rows,
    }
}
