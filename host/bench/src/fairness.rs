//! Scenario `fairness`: how much a connection that floods moves the latency of others.
//!
//! Regular connections are measured alone and beside one that always has as many requests under way as a connection may.
//! Both take turns on the same host. The flood has a runtime of its own, so that it does not wait for the others' client.

use std::time::Duration;

use anyhow::Context as _;
use ostrakon_wire::bounds::IN_FLIGHT_PER_CONNECTION_MAX;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::drive::{self, Pace};
use crate::host::Host;
use crate::load::{self, Figures, Shape, WARM_UP, Window};
use crate::pipe::{self, Caller};
use crate::report::Report;
use crate::{Options, folder};

/// The regular connections.
const REGULAR: [Shape; 2] = [Shape { connections: 8, in_flight: 8 }, Shape { connections: 1, in_flight: 1 }];
const FLOOD_UNDER_WAY: usize = IN_FLIGHT_PER_CONNECTION_MAX;
const OBJECTS: usize = 100_000;
const CREATE_IN_FLIGHT: usize = 64;
/// The flood begins so long before the others.
const MARGIN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(120);

const COLUMNS: &[&str] = &[
    "connections",
    "in_flight",
    "p50_us_alone",
    "p50_us_beside",
    "p99_us_alone",
    "p99_us_beside",
    "ratio",
    "committed_per_s_alone",
    "committed_per_s_beside",
    "flood_per_s",
    "flood_refused_per_s",
];

/// Measures both shapes. The one that is moved most stands for all.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let rows = REGULAR.iter().map(|shape| case(*shape, options)).collect::<anyhow::Result<Vec<_>>>()?;
    let ratio = |row: &&Map<String, Value>| row["ratio"].as_f64().unwrap_or(f64::INFINITY);
    let worst = rows.iter().max_by(|one, other| ratio(one).total_cmp(&ratio(other))).context("there are two shapes")?;
    let summary = ["connections", "in_flight", "p99_us_alone", "p99_us_beside", "ratio"];
    let summary = summary.map(|name| (name.to_owned(), worst[name].clone())).into_iter().collect();
    Ok(Report { summary, columns: COLUMNS, rows })
}

/// What one turn came to; the flood's part is 0 where there was none.
#[derive(Clone, Copy)]
struct Turn {
    regular: Figures,
    flood_per_s: u64,
    flood_refused_per_s: u64,
}

fn case(shape: Shape, options: &Options) -> anyhow::Result<Map<String, Value>> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), &[])?;
    let (regular, flooding) = (load::runtime()?, load::runtime()?);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    let patience = PATIENCE + Duration::from_secs(options.seconds);
    let mut callers = regular.block_on(prepare(&host, shape.connections))?;
    let mut flood = flooding.block_on(prepare_flood(&host))?;
    for _ in 0..options.rounds {
        for with_flood in [false, true] {
            let seconds = options.seconds;
            let measured = with_flood.then(|| {
                let mut flood = flood.pop().expect("it is handed back after every turn");
                flooding.spawn(async move {
                    let window = Window::after(MARGIN + WARM_UP, seconds);
                    let pace = Pace::Keep { under_way: FLOOD_UNDER_WAY };
                    let driven = drive::one(&mut flood, pace, window, |_, _| {}).await?;
                    anyhow::Ok((flood, driven))
                })
            });
            let turn = async {
                tokio::time::sleep(MARGIN).await;
                let window = Window::after_warm_up(seconds);
                drive::all(callers, Pace::Keep { under_way: shape.in_flight }, window).await
            };
            let (back, driven) = regular.block_on(async { timeout(patience, turn).await })??;
            callers = back;
            let mut turn = Turn { regular: driven.tally.figures(), flood_per_s: 0, flood_refused_per_s: 0 };
            let Some(measured) = measured else {
                alone.push(turn);
                continue;
            };
            let (back, driven) = flooding.block_on(async { timeout(patience, measured).await })???;
            flood.push(back);
            turn.flood_per_s = driven.tally.figures().committed_per_s;
            turn.flood_refused_per_s = driven.overloaded / seconds;
            beside.push(turn);
        }
    }
    Ok(row(shape, &alone, &beside))
}

async fn prepare(host: &Host, connections: usize) -> anyhow::Result<Vec<Caller>> {
    let callers = pipe::dial(&host.file, connections, OBJECTS).await?;
    pipe::create_all(callers, CREATE_IN_FLIGHT).await
}

/// The flood writes to the second half of twice as many objects.
async fn prepare_flood(host: &Host) -> anyhow::Result<Vec<Caller>> {
    let mut callers = pipe::dial_from(&host.file, 1, OBJECTS, OBJECTS).await?;
    let flood = callers.pop().context("one was dialled")?;
    pipe::create_all(vec![flood], CREATE_IN_FLIGHT).await
}

fn row(shape: Shape, alone: &[Turn], beside: &[Turn]) -> Map<String, Value> {
    let of = |turns: &[Turn]| Figures::median(&turns.iter().map(|turn| turn.regular).collect::<Vec<_>>());
    let flood = |figure: fn(&Turn) -> u64| crate::rounds::median(beside, figure);
    let (regular_alone, regular_beside) = (of(alone), of(beside));
    let ratio = regular_beside.p99_us as f64 / regular_alone.p99_us.max(1) as f64;
    [
        ("connections", shape.connections.into()),
        ("in_flight", shape.in_flight.into()),
        ("p50_us_alone", regular_alone.p50_us.into()),
        ("p50_us_beside", regular_beside.p50_us.into()),
        ("p99_us_alone", regular_alone.p99_us.into()),
        ("p99_us_beside", regular_beside.p99_us.into()),
        ("ratio", ((ratio * 100.0).round() / 100.0).into()),
        ("committed_per_s_alone", regular_alone.committed_per_s.into()),
        ("committed_per_s_beside", regular_beside.committed_per_s.into()),
        ("flood_per_s", flood(|turn| turn.flood_per_s).into()),
        ("flood_refused_per_s", flood(|turn| turn.flood_refused_per_s).into()),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}
