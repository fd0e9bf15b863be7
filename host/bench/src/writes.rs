//! Scenario `writes`: conditional writes on a real host, beside the limit of the same shape.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Figures, Shape, Window};
use crate::pipe::{self, Kind};
use crate::report::{Report, rounded};
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

/// What one round of a case came to.
struct Outcome {
    figures: Figures,
    /// Processor time of the host's process a committed write.
    host_cpu_ns: Option<u64>,
}

/// Runs every shape on the limit pipe and on a host, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let shapes = &options.shapes;
    let cases: Vec<Case> = shapes.iter().flat_map(|shape| [Case::Limit(*shape), Case::Host(*shape)]).collect();
    let outcomes = rounds::alternate(&cases, options.rounds, |case| match case {
        Case::Limit(shape) => Ok(Outcome { figures: limit::round(*shape, options.seconds)?, host_cpu_ns: None }),
        Case::Host(shape) => round(*shape, options.seconds),
    })?;
    let compared = shapes.iter().zip(outcomes.chunks_exact(2)).map(|(shape, outcomes)| Compared {
        shape: *shape,
        limit: median(&outcomes[0]),
        host: median(&outcomes[1]),
        host_cpu_ns: outcomes[1]
            .iter()
            .all(|outcome| outcome.host_cpu_ns.is_some())
            .then(|| rounds::median(&outcomes[1], |outcome| outcome.host_cpu_ns.unwrap_or_default())),
    });
    Ok(report(&compared.collect::<Vec<_>>()))
}

fn median(outcomes: &[Outcome]) -> Figures {
    Figures::median(&outcomes.iter().map(|outcome| outcome.figures).collect::<Vec<_>>())
}

fn round(shape: Shape, seconds: u64) -> anyhow::Result<Outcome> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), &[])?;
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let measured = async {
        let callers = pipe::dial(&host.file, shape.connections, OBJECTS).await?;
        let callers = pipe::create_all(callers, CREATE_IN_FLIGHT).await?;
        let before = host.cpu();
        let window = Window::after_warm_up(seconds);
        let tally = pipe::run(callers, Kind::Write, shape, window).await?;
        anyhow::Ok((tally, before.zip(host.cpu())))
    };
    let (tally, cpu) = load::runtime()?.block_on(async { timeout(patience, measured).await })??;
    let figures = tally.figures();
    let host_cpu_ns = cpu.map(|(before, after)| {
        let taken = (after - before).as_secs_f64() / (Duration::from_secs(seconds) + load::WARM_UP).as_secs_f64();
        (taken * 1e9 / figures.committed_per_s.max(1) as f64) as u64
    });
    Ok(Outcome { figures, host_cpu_ns })
}

/// The medians of a shape.
struct Compared {
    shape: Shape,
    limit: Figures,
    host: Figures,
    host_cpu_ns: Option<u64>,
}

/// A row a shape: the host's figures, and its share of the limit's. The smallest share stands for all.
fn report(compared: &[Compared]) -> Report {
    let row = |Compared { shape, limit, host, host_cpu_ns }: &Compared| {
        let share = host.committed_per_s as f64 / limit.committed_per_s.max(1) as f64;
        let mut row = host.fields();
        row.insert("connections".into(), shape.connections.into());
        row.insert("in_flight".into(), shape.in_flight.into());
        row.insert("limit_committed_per_s".into(), limit.committed_per_s.into());
        row.insert("host_cpu_ns".into(), (*host_cpu_ns).into());
        row.insert("of_limit".into(), rounded(share));
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
            "host_cpu_ns",
            "limit_committed_per_s",
            "of_limit",
        ],
        rows,
    }
}
