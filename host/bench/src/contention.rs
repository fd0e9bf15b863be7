//! Scenario `contention`: many clients change few objects, each knowing a version that may be stale.
//!
//! A client has one action under way: an addition or a merge, in turn, of an object drawn from so many. It acts on the
//! version that its connection last saw; one that it has not seen for a while it asks for first. In the mode `cas-loop` a
//! conflict comes back, and the client tries again on the winner after a wait with full jitter. In `queue` and
//! `predicted` the host reconciles: tried first, or sent to the queue where a conflict is foreseen. At the end the folder
//! is checked: every version must be in history.

mod clients;
#[cfg(feature = "peers")]
mod peers;
mod predictions;

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::HostFile;
use ostrakon_policy::testing::{Recipe, snippets};
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{Action, OnConflict, Operation, PolicyKind, Reply};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Tally, Window};
#[cfg(feature = "peers")]
use crate::peers::Peer;
use crate::pipe;
use crate::report::Report;
use crate::rounds::{self, median};
use crate::{Options, folder};
use clients::{CLIENTS, CONNECTIONS, Driven, MEMBERS, drive, fields, object};
pub(crate) use predictions::run as predictions;

const KEYS: [usize; 3] = [1, 16, 100_000];
const CREATE_IN_FLIGHT: usize = 64;
/// All versions that a round makes.
const HISTORY: &str = "1000000";
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    CasLoop,
    Queue,
    Predicted,
    #[cfg(feature = "peers")]
    Peer(Peer),
}

impl Mode {
    const OWN: [Self; 3] = [Self::CasLoop, Self::Queue, Self::Predicted];
    #[cfg(feature = "peers")]
    const PEERS: &[Self] = &[Self::Peer(Peer::Etcd), Self::Peer(Peer::Redis)];
    #[cfg(not(feature = "peers"))]
    const PEERS: &[Self] = &[];

    fn wanted(options: &Options) -> anyhow::Result<Vec<Self>> {
        let peers = if options.with_peers()? { Self::PEERS } else { &[] };
        Ok([&Self::OWN, peers].concat())
    }

    fn name(self) -> &'static str {
        match self {
            Self::CasLoop => "cas-loop",
            Self::Queue => "queue",
            Self::Predicted => "predicted",
            #[cfg(feature = "peers")]
            Self::Peer(Peer::Etcd) => "etcd",
            #[cfg(feature = "peers")]
            Self::Peer(Peer::Redis) => "redis",
        }
    }
}

/// What one round of a case came to.
struct Outcome {
    committed_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    /// In thousandths.
    attempts_per_commit: u64,
    /// In thousandths of the mean.
    slowest_client_share: u64,
    scoreboard: Fields,
}

impl Outcome {
    /// `clients`: what each of them committed inside the window.
    fn of(tally: &Tally, clients: &[u64], attempts: u64, committed: u64) -> Self {
        let figures = tally.figures();
        let mean = clients.iter().sum::<u64>() as f64 / clients.len() as f64;
        let slowest = clients.iter().min().copied().unwrap_or_default();
        Self {
            committed_per_s: figures.committed_per_s,
            p50_us: figures.p50_us,
            p99_us: figures.p99_us,
            attempts_per_commit: 1_000 * attempts / committed.max(1),
            slowest_client_share: (1_000.0 * slowest as f64 / mean.max(1.0)) as u64,
            scoreboard: Fields::new(),
        }
    }
}

const COLUMNS: &[&str] =
    &["mode", "keys", "clients", "committed_per_s", "attempts_per_commit", "p50_us", "p99_us", "slowest_client_share"];

/// Measures every mode with every number of keys, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let modes = Mode::wanted(options)?;
    let cases: Vec<(Mode, usize)> = KEYS.iter().flat_map(|keys| modes.iter().map(move |mode| (*mode, *keys))).collect();
    let outcomes = rounds::alternate(&cases, options.rounds, |(mode, keys)| round(*mode, *keys, options.seconds, 0))?;
    let rows: Vec<_> = cases.iter().zip(&outcomes).map(|((mode, keys), rounds)| row(*mode, *keys, rounds)).collect();
    let of = |mode: Mode, keys: usize, name: &str| {
        let row = rows.iter().find(|row| row["mode"] == mode.name() && row["keys"] == keys);
        row.and_then(|row| row[name].as_f64()).unwrap_or_default()
    };
    let hot = |name: &str| of(Mode::Predicted, 1, name);
    let ratio = |of: f64, to: f64| Value::from((1_000.0 * of / to.max(1.0)).round() / 1_000.0);
    let spread = of(Mode::Predicted, KEYS[2], "committed_per_s");
    let summary = [
        ("one_key_of_spread", ratio(hot("committed_per_s"), spread)),
        ("p99_of_p50", ratio(hot("p99_us"), hot("p50_us"))),
        ("slowest_client_share", hot("slowest_client_share").into()),
        ("predicted_of_queue", ratio(hot("committed_per_s"), of(Mode::Queue, 1, "committed_per_s"))),
        ("predicted_of_cas_loop", ratio(hot("committed_per_s"), of(Mode::CasLoop, 1, "committed_per_s"))),
    ];
    let summary = summary.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect();
    Ok(Report { summary, columns: COLUMNS, rows })
}

fn row(mode: Mode, keys: usize, rounds: &[Outcome]) -> Map<String, Value> {
    let of = |figure: fn(&Outcome) -> u64| median(rounds, figure);
    [
        ("mode", mode.name().into()),
        ("keys", keys.into()),
        ("clients", CLIENTS.into()),
        ("committed_per_s", of(|round| round.committed_per_s).into()),
        ("attempts_per_commit", (of(|round| round.attempts_per_commit) as f64 / 1_000.0).into()),
        ("p50_us", of(|round| round.p50_us).into()),
        ("p99_us", of(|round| round.p99_us).into()),
        ("slowest_client_share", (of(|round| round.slowest_client_share) as f64 / 1_000.0).into()),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}

fn round(mode: Mode, keys: usize, seconds: u64, lag_ms: u64) -> anyhow::Result<Outcome> {
    #[cfg(feature = "peers")]
    if let Mode::Peer(peer) = mode {
        return peers::round(peer, keys, seconds);
    }
    let folder = folder::fresh()?;
    // What a merge lost is set again, as the client's own loop does.
    let settings = folder.path().join("ours.json");
    std::fs::write(&settings, r#"{"on-overlap": "ours"}"#)?;
    let settings = format!("reconciliation={}", settings.display());
    let lag_ms = lag_ms.to_string();
    let mut arguments = vec!["--history", HISTORY, "--policy-settings", &settings, "--observe-lag-ms", &lag_ms];
    let never = folder.path().join("never.wasm");
    let policy = format!("prediction={}", never.display());
    if mode == Mode::Queue {
        let forecast = snippets::forecast(500_000, 0);
        std::fs::write(&never, Recipe::new(PolicyKind::Prediction).decide(forecast).build())?;
        arguments.extend(["--policy", &policy]);
    }
    let host = Host::start(folder.path(), &arguments)?;
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let measuring = measure(&host.file, mode, keys, seconds);
    let (outcome, committed) = load::runtime()?.block_on(async { timeout(patience, measuring).await })??;
    host.stop()?;
    hold_history(&folder.path().join("data"), keys, committed)?;
    Ok(outcome)
}

/// Every commit that was answered must be a version in history, and nothing else.
fn hold_history(data: &std::path::Path, keys: usize, committed: u64) -> anyhow::Result<()> {
    let report = ostrakon_store::check(data)?;
    ensure!(report.findings.is_empty(), "the folder disagrees with itself: {:?}", report.findings);
    let expected = keys as u64 + committed;
    ensure!(report.rows == expected, "history holds {} versions, {expected} were answered", report.rows);
    Ok(())
}

/// What the host has counted.
struct Counted {
    verdicts: u64,
    tried: u64,
    /// What forecasts of the first generation were worth.
    scoreboard: Fields,
}

async fn counted(host: &HostFile) -> anyhow::Result<Counted> {
    let mut wires = pipe::dial(host, 1, 0).await?;
    let wire = wires.first_mut().context("there is a connection")?;
    let Reply::Info(info) = wire.ask_one(Operation::Info).await? else {
        bail!("the host does not tell what it has done")
    };
    let count = |group: &str, name: &str| match info.facts.get(group) {
        Some(Field::Map(facts)) => match facts.get(name) {
            Some(Field::Integer(count)) => Ok(*count as u64),
            _ => bail!("the host does not count {group}.{name}"),
        },
        _ => bail!("the host does not count {group}"),
    };
    let scoreboard = match info.facts.get("scoreboard") {
        Some(Field::Map(boards)) => match boards.get("1") {
            Some(Field::Map(board)) => board.clone(),
            _ => Fields::new(),
        },
        _ => bail!("the host keeps no scoreboard"),
    };
    let (verdicts, tried) = (count("reconciliation", "verdicts")?, count("changes", "tried")?);
    Ok(Counted { verdicts, tried, scoreboard })
}

async fn measure(host: &HostFile, mode: Mode, keys: usize, seconds: u64) -> anyhow::Result<(Outcome, u64)> {
    create(host, keys).await?;
    let before = counted(host).await?;
    let window = Window::after_warm_up(seconds);
    let mut running = JoinSet::new();
    for (place, wire) in pipe::dial(host, CONNECTIONS, 0).await?.into_iter().enumerate() {
        running.spawn(drive(wire, place, mode, keys, window));
    }
    let Driven { tally, clients, requests, committed } = Driven::of_all(running, window).await?;
    let after = counted(host).await?;
    let attempts = requests + (after.verdicts - before.verdicts) + (after.tried - before.tried);
    let outcome = Outcome { scoreboard: after.scoreboard, ..Outcome::of(&tally, &clients, attempts, committed) };
    Ok((outcome, committed))
}

/// Makes every object, with all its members.
async fn create(host: &HostFile, keys: usize) -> anyhow::Result<()> {
    let mut wires = pipe::dial(host, 1, 0).await?;
    let wire = wires.first_mut().context("there is a connection")?;
    let members = (0..MEMBERS).map(|member| (format!("f{member}"), 0)).chain([("n".to_owned(), 0)]);
    let payload = fields(members)?;
    let (mut asked, mut done) = (0, 0);
    while done < keys {
        while asked < keys && asked - done < CREATE_IN_FLIGHT {
            let (action, id) = (Action::Put(payload.clone()), pipe::action_id((asked as u64) << 2));
            let perform = pipe::perform(object(asked)?, action, 0, id, OnConflict::Reject);
            wire.ask(asked as u64, Operation::Perform(perform));
            asked += 1;
        }
        wire.flush().await?;
        wire.fill().await?;
        while let Some(answer) = wire.answer()? {
            answer.outcome?;
            done += 1;
        }
    }
    Ok(())
}
