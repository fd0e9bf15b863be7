//! The accounts of a closed-loop load: what is counted, and one row a case.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde_json::{Map, Value};
use tokio::runtime::Runtime;

use crate::report::Report;
use crate::rounds::median;

/// Before anything counts: connections grow their windows, caches fill.
pub(crate) const WARM_UP: Duration = Duration::from_millis(500);

/// The longest latency told apart from longer ones.
const LATENCY_US_MAX: u64 = 60_000_000;

/// How many callers, and how many requests each keeps waiting.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
}

/// The shapes that scenarios compare when they are not told which.
pub(crate) const SHAPES: [&str; 3] = ["64x1", "8x8", "8x32"];

impl std::str::FromStr for Shape {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| text.parse().ok().filter(|number| (1..=1024).contains(number));
        let (connections, in_flight) = text.split_once('x').ok_or("two numbers with an x between them")?;
        match (number(connections), number(in_flight)) {
            (Some(connections), Some(in_flight)) => Ok(Self { connections, in_flight }),
            _ => Err("both numbers are from 1 to 1024"),
        }
    }
}

/// The stretch of time that counts.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    start: Instant,
    end: Instant,
}

impl Window {
    /// `seconds` long, after the warm-up.
    pub(crate) fn after_warm_up(seconds: u64) -> Self {
        Self::after(WARM_UP, seconds)
    }

    /// `seconds` long, after something else has come to rest.
    pub(crate) fn after(rest: Duration, seconds: u64) -> Self {
        let start = Instant::now() + rest;
        Self { start, end: start + Duration::from_secs(seconds) }
    }

    /// From now on, for as long as a load of known size may take.
    pub(crate) fn open_for(at_most: Duration) -> Self {
        let start = Instant::now();
        Self { start, end: start + at_most }
    }

    /// Whether what happens now counts.
    pub(crate) fn counts(self, now: Instant) -> bool {
        self.start <= now && now < self.end
    }

    /// Its end, while that lies ahead.
    pub(crate) fn end_after(self, now: Instant) -> Option<Instant> {
        (self.end > now).then_some(self.end)
    }

    /// How long it is.
    pub(crate) fn length(self) -> Duration {
        self.end.duration_since(self.start)
    }

    /// Whether the load may stop.
    pub(crate) fn is_over(self, now: Instant) -> bool {
        now >= self.end
    }
}

/// What one caller saw answered inside the window.
pub(crate) struct Tally {
    window: Window,
    latency_us: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new(window: Window) -> Self {
        let latency_us = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are valid");
        Self { window, latency_us }
    }

    /// One request, asked at `asked`, was answered with a commit at `answered`.
    pub(crate) fn committed(&mut self, asked: Instant, answered: Instant) {
        if self.window.start <= answered && answered < self.window.end {
            let us = answered.duration_since(asked).as_micros();
            self.latency_us.saturating_record(u64::try_from(us).unwrap_or(LATENCY_US_MAX));
        }
    }

    /// Takes in what another caller saw.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latency_us.add(&other.latency_us).expect("all tallies have the same bounds");
    }

    /// How many requests were answered.
    pub(crate) fn count(&self) -> u64 {
        self.latency_us.len()
    }

    /// The figures of one round.
    pub(crate) fn figures(&self) -> Figures {
        self.figures_over(self.window.end.duration_since(self.window.start))
    }

    /// The figures of a load of known size, which took so long.
    pub(crate) fn figures_over(&self, took: Duration) -> Figures {
        Figures {
            committed_per_s: (self.latency_us.len() as f64 / took.as_secs_f64()) as u64,
            p50_us: self.latency_us.value_at_quantile(0.50),
            p99_us: self.latency_us.value_at_quantile(0.99),
        }
    }
}

/// One round of one shape, or the medians of its rounds.
#[derive(Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) committed_per_s: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
}

impl Figures {
    pub(crate) fn median(rounds: &[Self]) -> Self {
        Self {
            committed_per_s: median(rounds, |round| round.committed_per_s),
            p50_us: median(rounds, |round| round.p50_us),
            p99_us: median(rounds, |round| round.p99_us),
        }
    }

    pub(crate) fn fields(self) -> Map<String, Value> {
        self.fields_named("committed_per_s")
    }

    /// The same, with a name for the rate.
    pub(crate) fn fields_named(self, rate: &'static str) -> Map<String, Value> {
        [(rate, self.committed_per_s), ("p50_us", self.p50_us), ("p99_us", self.p99_us)]
            .into_iter()
            .map(|(name, figure)| (name.to_owned(), figure.into()))
            .collect()
    }
}

/// One row a shape, medians of its rounds; the shape that committed least stands for all.
pub(crate) fn report(shapes: &[Shape], rounds: &[Vec<Figures>]) -> Report {
    let medians: Vec<Figures> = rounds.iter().map(|rounds| Figures::median(rounds)).collect();
    let worst = medians.iter().min_by_key(|figures| figures.committed_per_s);
    let row = |(shape, figures): (&Shape, &Figures)| {
        let mut row = figures.fields();
        row.insert("connections".into(), shape.connections.into());
        row.insert("in_flight".into(), shape.in_flight.into());
        row
    };
    Report {
        summary: worst.map_or_else(Map::new, |figures| figures.fields()),
        columns: &["connections", "in_flight", "committed_per_s", "p50_us", "p99_us"],
        rows: shapes.iter().zip(&medians).map(row).collect(),
    }
}

/// Client and server share the machine: half of it each.
pub(crate) fn runtime() -> std::io::Result<Runtime> {
    let threads = std::thread::available_parallelism()?.get().div_ceil(2);
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// xorshift64: cheap, and the same load every time.
pub(crate) struct Random(u64);

impl Random {
    /// The load that belongs to `seed`.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`, as good as evenly spread where `bound` is small.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
