//! Scenario `feed`: how soon those who watch are told, and what they cost those who write.
//!
//! Many watch a hundred client ids. In the case `paced` writers make so many changes a second, spread evenly, and a delivery
//! takes from when its write was sent to when the watcher has it, the write included. In the others the writers are as fast
//! as they can be, without watchers and with them. Every watcher holds what it is told against the versions that come next,
//! and in the end against all that was committed.

mod told;
mod watchers;

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::time::{interval, timeout};

use crate::drive::{self, Pace};
use crate::host::Host;
use crate::load::{self, Figures, Shape, Window};
use crate::pipe::{self, CLIENT_IDS, Caller};
use crate::report::Report;
use crate::rounds::{self, median};
use crate::{Options, folder, sample};
use watchers::{Counts, Lag, Watchers};

/// Watchers when the command does not say.
pub(crate) const WATCHERS: u16 = 1_000;
const OBJECTS: usize = 320 * CLIENT_IDS;
const CREATE_IN_FLIGHT: usize = 64;
const WRITERS: Shape = Shape { connections: 8, in_flight: 32 };
/// Of all writers together, in the case `paced`.
const CHANGES_PER_S: f64 = 5_000.0;
/// How long nothing happens before the host's memory is looked at.
const QUIET: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long each thousand of watchers may take to catch up; what has not come by then is skipped.
const CATCH_UP: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Paced,
    Without,
    With,
}

impl Case {
    const ALL: [Self; 3] = [Self::Paced, Self::Without, Self::With];

    fn name(self) -> &'static str {
        match self {
            Self::Paced => "paced",
            Self::Without => "without",
            Self::With => "with",
        }
    }

    fn pace(self) -> Pace {
        match self {
            Self::Paced => Pace::Open { per_s: CHANGES_PER_S / WRITERS.connections as f64 },
            Self::Without | Self::With => Pace::Keep { under_way: WRITERS.in_flight },
        }
    }
}

/// What one round of a case came to.
struct Outcome {
    writes: Figures,
    /// Processor time of the host a change; 0 where the system does not tell.
    host_cpu_ns: u64,
    /// Before anybody watched, and while it was written to.
    rss_mib_before: u64,
    rss_mib_max: u64,
    told: Option<Told>,
}

/// What the watchers of a round saw.
struct Told {
    deliveries: Figures,
    counts: Counts,
    lag: Lag,
    /// While they watched and nothing happened.
    rss_mib_idle: u64,
}

const COLUMNS: &[&str] = &[
    "case",
    "watchers",
    "committed_per_s",
    "write_p50_us",
    "write_p99_us",
    "host_cpu_ns",
    "deliveries_per_s",
    "delivery_p50_us",
    "delivery_p99_us",
    "skipped",
    "repeated",
    "omitted",
    "behind_max",
    "caught_up_s",
    "host_rss_mib_before",
    "host_rss_mib_idle",
    "host_rss_mib_max",
];

/// Measures every case in turn, on a new host each round.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let watchers = usize::from(options.watchers);
    let outcomes = rounds::alternate(&Case::ALL, options.rounds, |case| round(*case, watchers, options.seconds))?;
    let rows: Vec<_> = Case::ALL.iter().zip(&outcomes).map(|(case, rounds)| row(*case, watchers, rounds)).collect();
    let of = |case: Case, name: &str| {
        rows.iter().find(|row| row["case"] == case.name()).map_or(Value::Null, |row| row[name].clone())
    };
    let per_s = |case: Case| of(case, "committed_per_s").as_f64().unwrap_or_default();
    // What is lost or told twice counts wherever it happens.
    let of_both = |name: &str| {
        let both = [Case::Paced, Case::With].map(|case| of(case, name).as_u64().unwrap_or_default());
        Value::from(both.iter().sum::<u64>())
    };
    let summary = [
        ("watchers", watchers.into()),
        ("delivery_p50_us", of(Case::Paced, "delivery_p50_us")),
        ("delivery_p99_us", of(Case::Paced, "delivery_p99_us")),
        ("deliveries_per_s", of(Case::Paced, "deliveries_per_s")),
        ("skipped", of_both("skipped")),
        ("repeated", of_both("repeated")),
        ("writers_ratio", thousandths((1_000.0 * per_s(Case::With) / per_s(Case::Without).max(1.0)) as u64)),
        ("writers_per_s_with", of(Case::With, "committed_per_s")),
        ("writers_per_s_without", of(Case::Without, "committed_per_s")),
        ("behind_max", of(Case::With, "behind_max")),
        ("caught_up_s", of(Case::With, "caught_up_s")),
        ("host_rss_mib_idle", of(Case::Paced, "host_rss_mib_idle")),
        ("host_rss_mib_max", of(Case::Paced, "host_rss_mib_max")),
    ];
    let summary = summary.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect();
    Ok(Report { summary, columns: COLUMNS, rows })
}

fn thousandths(figure: u64) -> Value {
    (figure as f64 / 1_000.0).into()
}

fn row(case: Case, watchers: usize, rounds: &[Outcome]) -> Map<String, Value> {
    let of = |figure: fn(&Outcome) -> u64| median(rounds, figure);
    let told: Vec<&Told> = rounds.iter().filter_map(|round| round.told.as_ref()).collect();
    let middle = |figure: fn(&Told) -> u64| (!told.is_empty()).then(|| median(&told, |told| figure(told)));
    let sum = |figure: fn(&Told) -> u64| (!told.is_empty()).then(|| told.iter().map(|told| figure(told)).sum::<u64>());
    [
        ("case", case.name().into()),
        ("watchers", if told.is_empty() { 0 } else { watchers }.into()),
        ("committed_per_s", of(|round| round.writes.committed_per_s).into()),
        ("write_p50_us", of(|round| round.writes.p50_us).into()),
        ("write_p99_us", of(|round| round.writes.p99_us).into()),
        ("host_cpu_ns", of(|round| round.host_cpu_ns).into()),
        ("deliveries_per_s", middle(|told| told.deliveries.committed_per_s).into()),
        ("delivery_p50_us", middle(|told| told.deliveries.p50_us).into()),
        ("delivery_p99_us", middle(|told| told.deliveries.p99_us).into()),
        ("skipped", sum(|told| told.counts.skipped + told.lag.missing).into()),
        ("repeated", sum(|told| told.counts.repeated).into()),
        ("omitted", sum(|told| told.counts.omitted).into()),
        ("behind_max", middle(|told| told.lag.changes_max).into()),
        ("behind_deliveries", middle(|told| told.lag.deliveries).into()),
        ("caught_up_s", middle(|told| told.lag.took.as_millis() as u64).map_or(Value::Null, thousandths)),
        ("host_rss_mib_before", of(|round| round.rss_mib_before).into()),
        ("host_rss_mib_idle", middle(|told| told.rss_mib_idle).into()),
        ("host_rss_mib_max", of(|round| round.rss_mib_max).into()),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}

fn round(case: Case, watchers: usize, seconds: u64) -> anyhow::Result<Outcome> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), &[])?;
    let catch_up = CATCH_UP * watchers.div_ceil(1_000) as u32;
    let patience = Duration::from_secs(seconds) + catch_up + PATIENCE;
    let measuring = measure(&host, case, watchers, seconds, catch_up);
    let outcome = load::runtime()?.block_on(async { timeout(patience, measuring).await })??;
    host.stop()?;
    Ok(outcome)
}

async fn measure(
    host: &Host,
    case: Case,
    watchers: usize,
    seconds: u64,
    catch_up: Duration,
) -> anyhow::Result<Outcome> {
    let rss_mib = || sample::rss_mib(&host.pid().to_string());
    let since = Instant::now();
    let mut callers = pipe::dial(&host.file, WRITERS.connections, OBJECTS).await?;
    callers.iter_mut().for_each(|caller| caller.stamped_since = Some(since));
    let callers = pipe::create_all(callers, CREATE_IN_FLIGHT).await?;
    let rss_mib_before = rss_mib()?;
    let mut watching = match case {
        Case::Without => None,
        Case::Paced | Case::With => Some(Watchers::attach(&host.file, watchers, OBJECTS, since).await?),
    };
    tokio::time::sleep(QUIET).await;
    let rss_mib_idle = rss_mib()?;

    let window = Window::after_warm_up(seconds);
    if let Some(watching) = &watching {
        watching.count_inside(window);
    }
    let cpu_before = host.cpu();
    let writing = async {
        let (callers, driven) = drive::all(callers, case.pace(), window).await?;
        let (committed, cpu_after) = (committed(&callers)?, host.cpu());
        let lag = match &mut watching {
            Some(watching) => Some(watching.catch_up(&committed, catch_up).await?),
            None => None,
        };
        let taken = cpu_before.zip(cpu_after).map_or(Duration::ZERO, |(before, after)| after - before);
        let host_cpu_ns = taken.as_nanos() as u64 / committed.iter().sum::<u64>().max(1);
        anyhow::Ok((driven.tally.figures(), host_cpu_ns, lag))
    };
    let (written, rss_mib_max) = highest_while(writing, rss_mib).await?;
    let (writes, host_cpu_ns, lag) = written?;
    let told = watching.zip(lag).map(|(watching, lag)| Told {
        deliveries: watching.tally(window).figures(),
        counts: watching.counts(),
        lag,
        rss_mib_idle,
    });
    Ok(Outcome { writes, host_cpu_ns, rss_mib_before, rss_mib_max, told })
}

/// Changes of each client id since the objects were made.
fn committed(callers: &[Caller]) -> anyhow::Result<Vec<u64>> {
    let mut committed = vec![0; CLIENT_IDS];
    for (object, version) in callers.iter().flat_map(Caller::stored) {
        committed[pipe::object_number(object.name())? % CLIENT_IDS] += version.get() - 1;
    }
    Ok(committed)
}

/// Does something, and looks at a figure meanwhile; answers the highest.
async fn highest_while<T>(
    work: impl Future<Output = T>,
    look: impl Fn() -> anyhow::Result<u64>,
) -> anyhow::Result<(T, u64)> {
    let mut work = std::pin::pin!(work);
    let (mut highest, mut ticks) = (0, interval(LOOK_EVERY));
    loop {
        tokio::select! {
            done = &mut work => return Ok((done, highest)),
            _ = ticks.tick() => highest = highest.max(look()?),
        }
    }
}
