//! Scenario `reads`: reads of whole objects on a real host, of objects in its memory and of cold ones.
//!
//! A cold object is one that a host has not touched since it was started: neither its head nor its block is in the
//! host's memory, though the operating system may still have the file. Each is read once.

use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Figures, Shape, Window};
use crate::pipe::{self, Kind};
use crate::report::Report;
use crate::{Options, folder, rounds};

const OBJECTS: usize = 100_000;
const CREATE_IN_FLIGHT: usize = 64;
/// What a round may take beside the time that is measured.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy)]
struct Case {
    shape: Shape,
    cold: bool,
}

/// Runs every shape on objects in memory and on cold ones, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let cases = options.shapes.iter().flat_map(|shape| [false, true].map(|cold| Case { shape: *shape, cold }));
    let cases: Vec<Case> = cases.collect();
    let figures = rounds::alternate(&cases, options.rounds, |case| round(*case, options.seconds))?;
    let medians: Vec<Figures> = figures.iter().map(|rounds| Figures::median(rounds)).collect();
    let rows: Vec<_> = cases.iter().zip(&medians).map(|(case, figures)| row(*case, *figures)).collect();
    let worst = medians.iter().min_by_key(|figures| figures.committed_per_s);
    Ok(Report {
        summary: worst.map_or_else(Map::new, |figures| figures.fields_named("reads_per_s")),
        columns: &["connections", "in_flight", "objects", "reads_per_s", "p50_us", "p99_us"],
        rows,
    })
}

fn row(case: Case, figures: Figures) -> Map<String, Value> {
    let mut row = figures.fields_named("reads_per_s");
    row.insert("connections".into(), case.shape.connections.into());
    row.insert("in_flight".into(), case.shape.in_flight.into());
    row.insert("objects".into(), if case.cold { "cold" } else { "memory" }.into());
    row
}

fn round(case: Case, seconds: u64) -> anyhow::Result<Figures> {
    let folder = folder::fresh()?;
    let mut host = Host::start(folder.path(), &[])?;
    let runtime = load::runtime()?;
    let shape = case.shape;
    let mut callers = runtime.block_on(async {
        let callers = pipe::dial(&host.file, shape.connections, OBJECTS).await?;
        timeout(PATIENCE, pipe::create_all(callers, CREATE_IN_FLIGHT)).await?
    })?;
    if case.cold {
        drop(callers);
        host.stop()?;
        host = Host::start(folder.path(), &[])?;
        callers = runtime.block_on(pipe::dial(&host.file, shape.connections, OBJECTS))?;
        let started = Instant::now();
        let window = Window::open_for(Duration::from_secs(3600));
        let read = pipe::read_each_once(callers, shape, window);
        let tally = runtime.block_on(async { timeout(PATIENCE, read).await })??;
        ensure!(tally.count() == OBJECTS as u64, "every object is read once");
        return Ok(tally.figures_over(started.elapsed()));
    }
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let read = async { pipe::run(callers, Kind::Read, shape, Window::after_warm_up(seconds)).await };
    let tally = runtime.block_on(async { timeout(patience, read).await })??;
    Ok(tally.figures())
}
