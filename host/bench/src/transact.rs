//! Scenario `transact`: several objects changed together, or none.
//!
//! A client has one transaction under way: it puts two objects, or eight, if all of them stand at the versions that it was
//! told last, by an answer or by a conflict; it reads nothing. One that lost is tried again at once on the versions that won:
//! after a wait, who has just won would win again while the others wait. In the case `spread` each client draws from objects
//! of its own, so nobody is in its way; in `contended` all draw from the same few. In `transfers` they add to those few
//! without a condition, and the sum stays. In the end every object is read: the versions must add up to what was answered.

mod clients;
#[cfg(feature = "peers")]
mod etcd;
mod own;

use std::time::Duration;

use anyhow::ensure;
use serde_json::{Map, Value};
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Figures};
#[cfg(feature = "peers")]
use crate::peers::{self, Peer};
use crate::report::Report;
use crate::rounds::{self, median};
use crate::{Options, folder};
use clients::Driven;

/// Each has a connection of its own.
const CLIENTS: usize = 64;
const SPREAD: usize = 100_000;
const CONTENDED: usize = 16;
/// Objects of a transaction.
const TOGETHER: [usize; 2] = [2, 8];
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum System {
    Ostrakon,
    #[cfg(feature = "peers")]
    Etcd,
}

impl System {
    #[cfg(feature = "peers")]
    const PEERS: &[Self] = &[Self::Etcd];
    #[cfg(not(feature = "peers"))]
    const PEERS: &[Self] = &[];

    fn name(self) -> &'static str {
        match self {
            Self::Ostrakon => "ostrakon",
            #[cfg(feature = "peers")]
            Self::Etcd => "etcd",
        }
    }

    /// What it can be asked for.
    fn loads(self) -> &'static [Load] {
        match self {
            Self::Ostrakon => &[Load::Spread, Load::Contended, Load::Transfers],
            #[cfg(feature = "peers")]
            Self::Etcd => &[Load::Spread, Load::Contended],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Load {
    Spread,
    Contended,
    Transfers,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Contended => "contended",
            Self::Transfers => "transfers",
        }
    }

    fn objects(self) -> usize {
        match self {
            Self::Spread => SPREAD,
            Self::Contended | Self::Transfers => CONTENDED,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Case {
    system: System,
    load: Load,
    /// Objects of a transaction.
    objects: usize,
}

impl Case {
    fn all(with_peers: bool) -> Vec<Self> {
        let peers = if with_peers { System::PEERS } else { &[] };
        let mut cases = Vec::new();
        for objects in TOGETHER {
            for system in [&[System::Ostrakon], peers].concat() {
                cases.extend(system.loads().iter().map(|load| Self { system, load: *load, objects }));
            }
        }
        cases
    }

    /// The numbers of the objects that a client draws from.
    fn objects_of(self, client: usize) -> impl Iterator<Item = usize> {
        let (from, step) = match self.load {
            Load::Spread => (client, CLIENTS),
            Load::Contended | Load::Transfers => (0, 1),
        };
        (from..self.load.objects()).step_by(step)
    }

    /// Every object was made once, and changed once by every transaction of it that was answered.
    fn hold(self, versions: u64, committed: u64) -> anyhow::Result<()> {
        let expected = self.load.objects() as u64 + committed * self.objects as u64;
        ensure!(versions == expected, "{self:?}: the versions add up to {versions}, answered were {expected}");
        Ok(())
    }
}

/// What one round of a case came to.
struct Outcome {
    figures: Figures,
    /// In thousandths.
    conflicts_per_commit: u64,
    longest_us: u64,
    /// In thousandths of the mean.
    slowest_client_share: u64,
}

const COLUMNS: &[&str] = &[
    "system",
    "case",
    "objects",
    "clients",
    "committed_per_s",
    "p50_us",
    "p99_us",
    "longest_us",
    "conflicts_per_commit",
    "slowest_client_share",
];

/// Measures every case in turn, each on a new host. The case of the host's that committed least stands for all.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let cases = Case::all(options.with_peers()?);
    let outcomes = rounds::alternate(&cases, options.rounds, |case| round(*case, options.seconds))?;
    let rows: Vec<_> = cases.iter().zip(&outcomes).map(|(case, rounds)| row(*case, rounds)).collect();
    let own = rows.iter().filter(|row| row["system"] == System::Ostrakon.name());
    let worst = own.min_by_key(|row| row["committed_per_s"].as_u64());
    let summary = ["committed_per_s", "p50_us", "p99_us", "conflicts_per_commit"].into_iter().filter_map(|name| {
        let figure = worst.and_then(|row| row.get(name))?;
        Some((name.to_owned(), figure.clone()))
    });
    Ok(Report { summary: summary.collect(), columns: COLUMNS, rows })
}

fn row(case: Case, rounds: &[Outcome]) -> Map<String, Value> {
    let figures = Figures::median(&rounds.iter().map(|round| round.figures).collect::<Vec<_>>());
    let mut row = figures.fields();
    row.insert("system".into(), case.system.name().into());
    row.insert("case".into(), case.load.name().into());
    row.insert("objects".into(), case.objects.into());
    row.insert("clients".into(), CLIENTS.into());
    row.insert("longest_us".into(), median(rounds, |round| round.longest_us).into());
    let thousandths = |figure: fn(&Outcome) -> u64| Value::from(median(rounds, figure) as f64 / 1_000.0);
    row.insert("conflicts_per_commit".into(), thousandths(|round| round.conflicts_per_commit));
    row.insert("slowest_client_share".into(), thousandths(|round| round.slowest_client_share));
    row
}

fn round(case: Case, seconds: u64) -> anyhow::Result<Outcome> {
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let driven = match case.system {
        System::Ostrakon => {
            let folder = folder::fresh()?;
            let host = Host::start(folder.path(), &[])?;
            let measuring = own::measure(&host.file, case, seconds);
            let driven = load::runtime()?.block_on(async { timeout(patience, measuring).await })??;
            host.stop()?;
            driven
        }
        #[cfg(feature = "peers")]
        System::Etcd => {
            let running = peers::start(Peer::Etcd)?;
            let measuring = etcd::measure(running.port, case, seconds);
            load::runtime()?.block_on(async { timeout(patience, measuring).await })??
        }
    };
    Ok(Outcome::of(&driven))
}

impl Outcome {
    fn of(driven: &Driven) -> Self {
        let commits = driven.tally.count().max(1);
        Self {
            figures: driven.tally.figures(),
            conflicts_per_commit: 1_000 * driven.conflicts / commits,
            longest_us: driven.longest.as_micros() as u64,
            slowest_client_share: 1_000 * driven.fewest * CLIENTS as u64 / commits,
        }
    }
}
