//! Scenario `contention`: many clients change few objects, each knowing a version that may be stale.
//!
//! A client has one action under way: an addition or a merge, in turn, of an object drawn from so many. It acts on the
//! version that its connection last saw; one that it has not seen for a while it asks for first. In the mode `cas-loop` a
//! conflict comes back, and the client tries again on the winner after a wait with full jitter. In `queue` and
//! `predicted` the host reconciles: tried first, or sent to the queue where a conflict is foreseen. At the end the folder
//! is checked: every version must be in history.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::HostFile;
use ostrakon_policy::testing::{Recipe, snippets};
use ostrakon_wire::bounds::RETRY_AFTER_MS;
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{
    Action, ActionId, Answer, Code, ObjectId, OnConflict, Operation, Payload, Perform, PolicyKind, Reply, Target,
    Version,
};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::host::Host;
use crate::load::{self, Random, Tally, Window};
use crate::pipe::{self, Caller};
use crate::report::Report;
use crate::rounds::{self, median};
use crate::{Options, folder};

const CONNECTIONS: usize = 32;
const CLIENTS: usize = 256;
const KEYS: [usize; 3] = [1, 16, 100_000];
/// A version that was seen longer ago is asked for before it is acted on.
const TRUSTED: Duration = Duration::from_millis(100);
/// The first wait of the client's own loop is drawn below this; every further one below twice as much.
const BACK_OFF: Duration = Duration::from_micros(500);
const BACK_OFF_DOUBLINGS: u32 = 7;
/// Members of an object that merges set.
const MEMBERS: usize = 16;
const CREATE_IN_FLIGHT: usize = 64;
/// All versions that a round makes.
const HISTORY: &str = "1000000";
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    CasLoop,
    Queue,
    Predicted,
}

impl Mode {
    const ALL: [Self; 3] = [Self::CasLoop, Self::Queue, Self::Predicted];

    fn name(self) -> &'static str {
        match self {
            Self::CasLoop => "cas-loop",
            Self::Queue => "queue",
            Self::Predicted => "predicted",
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

const COLUMNS: &[&str] =
    &["mode", "keys", "clients", "committed_per_s", "attempts_per_commit", "p50_us", "p99_us", "slowest_client_share"];

/// Measures every mode with every number of keys, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let cases: Vec<(Mode, usize)> =
        KEYS.iter().flat_map(|keys| Mode::ALL.iter().map(move |mode| (*mode, *keys))).collect();
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

/// Ages of what predictions see, in milliseconds, that they are judged at.
const LAGS_MS: [u64; 3] = [0, 1, 10];
/// Objects that the forecasts are about.
const FORETOLD_KEYS: usize = 16;

const FORETOLD_COLUMNS: &[&str] =
    &["lag_ms", "rule", "precision", "recall", "aborts_wrong", "conflicts_missed", "versions_right"];

/// Scenario `predictions`: what forecasts are worth beside two simple rules, on what a front end saw so long ago.
pub(crate) fn predictions(options: &Options) -> anyhow::Result<Report> {
    let rounds = rounds::alternate(&LAGS_MS, options.rounds, |lag_ms| {
        round(Mode::Predicted, FORETOLD_KEYS, options.seconds, *lag_ms).map(|outcome| outcome.scoreboard)
    })?;
    let mut rows = Vec::new();
    for (lag_ms, boards) in LAGS_MS.iter().zip(&rounds) {
        for rule in ["predictor", "known-is-cached", "always-write"] {
            rows.push(foretold_row(*lag_ms, rule, boards));
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
    Ok(Report { summary, columns: FORETOLD_COLUMNS, rows })
}

fn foretold_row(lag_ms: u64, rule: &str, boards: &[Fields]) -> Map<String, Value> {
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

fn round(mode: Mode, keys: usize, seconds: u64, lag_ms: u64) -> anyhow::Result<Outcome> {
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
    wire.ask(0, Operation::Info);
    wire.flush().await?;
    let answer = loop {
        if let Some(answer) = wire.answer()? {
            break answer;
        }
        wire.fill().await?;
    };
    let Ok(Reply::Info(info)) = answer.outcome else { bail!("the host does not tell what it has done") };
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
    let mut tally = Tally::new(window);
    let (mut clients, mut requests, mut committed) = (Vec::new(), 0, 0);
    while let Some(ended) = running.join_next().await {
        let driven = ended??;
        tally.add(&driven.tally);
        clients.extend(driven.clients);
        requests += driven.requests;
        committed += driven.committed;
    }
    let after = counted(host).await?;
    let attempts = requests + (after.verdicts - before.verdicts) + (after.tried - before.tried);
    let figures = tally.figures();
    let mean = clients.iter().sum::<u64>() as f64 / clients.len() as f64;
    let slowest = clients.iter().min().copied().unwrap_or_default();
    let outcome = Outcome {
        committed_per_s: figures.committed_per_s,
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
        attempts_per_commit: 1_000 * attempts / committed.max(1),
        slowest_client_share: (1_000.0 * slowest as f64 / mean.max(1.0)) as u64,
        scoreboard: after.scoreboard,
    };
    Ok((outcome, committed))
}

fn object(key: usize) -> anyhow::Result<ObjectId> {
    Ok(ObjectId::new("contention", "counter", &format!("key-{key:06}"))?)
}

fn fields(pairs: impl IntoIterator<Item = (String, i64)>) -> anyhow::Result<Payload> {
    let map: Fields = pairs.into_iter().map(|(name, number)| (name, Field::Integer(number))).collect();
    Ok(Payload::from_value(&Field::Map(map))?)
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
            let perform =
                perform(object(asked)?, Action::Put(payload.clone()), Some(0), OnConflict::Reject, asked as u128 + 1);
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

fn perform(object: ObjectId, action: Action, known: Option<u64>, on_conflict: OnConflict, seed: u128) -> Perform {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_millis();
    Perform {
        target: Target { object, shard_key: None },
        action,
        known: known.map(Version::new),
        action_id: Some(ActionId::from_bits(now << 80 | seed & ((1 << 80) - 1))),
        on_conflict,
    }
}

/// A client: one action under way.
struct Client {
    number: usize,
    key: usize,
    action: Option<Action>,
    /// The action's id, the same for every try.
    seed: u128,
    begun: Instant,
    tries: u32,
    made: u64,
    /// Commits inside the window.
    counted: u64,
    reading: bool,
}

struct Driven {
    tally: Tally,
    /// Commits of each client inside the window.
    clients: Vec<u64>,
    requests: u64,
    committed: u64,
}

struct Driver {
    wire: Caller,
    mode: Mode,
    keys: usize,
    random: Random,
    clients: Vec<Client>,
    /// The version of each object that came by last, and when.
    seen: HashMap<usize, (u64, Instant)>,
    later: BinaryHeap<Reverse<(Instant, usize)>>,
    driven: Driven,
    window: Window,
    under_way: usize,
}

async fn drive(wire: Caller, place: usize, mode: Mode, keys: usize, window: Window) -> anyhow::Result<Driven> {
    let of_connection = CLIENTS / CONNECTIONS;
    let clients = (0..of_connection).map(|client| Client {
        number: place * of_connection + client,
        key: 0,
        action: None,
        seed: 0,
        begun: Instant::now(),
        tries: 0,
        made: 0,
        counted: 0,
        reading: false,
    });
    let mut driver = Driver {
        wire,
        mode,
        keys,
        random: Random::seeded(place as u64 + 1),
        clients: clients.collect(),
        seen: HashMap::new(),
        later: BinaryHeap::new(),
        driven: Driven { tally: Tally::new(window), clients: Vec::new(), requests: 0, committed: 0 },
        window,
        under_way: 0,
    };
    for client in 0..of_connection {
        driver.begin(client)?;
    }
    loop {
        driver.wire.flush().await?;
        if driver.under_way == 0 && driver.later.is_empty() {
            driver.driven.clients = driver.clients.iter().map(|client| client.counted).collect();
            return Ok(driver.driven);
        }
        let due = driver.later.peek().map(|Reverse((at, _))| *at);
        tokio::select! {
            filled = driver.wire.fill() => filled?,
            () = sleep_until(due) => {}
        }
        let now = Instant::now();
        while driver.later.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, client))) = driver.later.pop() else { break };
            driver.act(client)?;
        }
        while let Some(answer) = driver.wire.answer()? {
            driver.answered(answer)?;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// The client's next action, unless the window is over.
    fn begin(&mut self, place: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.window.is_over(now) {
            return Ok(());
        }
        let key = self.random.below(self.keys as u64) as usize;
        let client = &mut self.clients[place];
        client.made += 1;
        client.action = Some(if client.made.is_multiple_of(2) {
            Action::Add(fields([("/n".to_owned(), 1)])?)
        } else {
            // No other client sets the same: nothing is found to be done already.
            let value = (client.number as i64) << 32 | client.made as i64;
            Action::Merge(fields([(format!("f{}", client.number % MEMBERS), value)])?)
        });
        client.seed = u128::from(self.random.next());
        (client.key, client.begun, client.tries) = (key, now, 0);
        self.act(place)
    }

    /// Tries the client's action on the version that it knows, or asks for one.
    fn act(&mut self, place: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[place];
        let object = object(client.key)?;
        let known = self.seen.get(&client.key).filter(|(_, at)| at.elapsed() < TRUSTED).map(|(version, _)| *version);
        client.reading = known.is_none();
        let operation = match known {
            None => Operation::ReadVersion(Target { object, shard_key: None }),
            Some(_) => {
                let choice = if self.mode == Mode::CasLoop { OnConflict::Reject } else { OnConflict::Reconcile };
                let action = client.action.clone().context("a client has an action")?;
                client.tries += 1;
                Operation::Perform(perform(object, action, known, choice, client.seed))
            }
        };
        self.driven.requests += 1;
        self.under_way += 1;
        self.wire.ask(place as u64, operation);
        Ok(())
    }

    fn saw(&mut self, key: usize, version: u64) {
        let seen = self.seen.entry(key).or_insert((version, Instant::now()));
        *seen = (seen.0.max(version), Instant::now());
    }

    fn answered(&mut self, answer: Answer) -> anyhow::Result<()> {
        let place = answer.id as usize;
        self.under_way -= 1;
        let now = Instant::now();
        let (key, begun, tries) = {
            let client = &self.clients[place];
            (client.key, client.begun, client.tries)
        };
        match answer.outcome {
            Ok(Reply::Version(stored)) => {
                self.saw(key, stored.version.get());
                self.act(place)
            }
            Ok(Reply::Committed(committed)) => {
                self.saw(key, committed.version.get());
                self.driven.committed += 1;
                self.driven.tally.committed(begun, now);
                if self.window.counts(now) {
                    self.clients[place].counted += 1;
                }
                self.begin(place)
            }
            Err(error) if error.code == Code::Conflict && self.mode == Mode::CasLoop => {
                let winner = error.winner.context("a conflict names the winner")?;
                self.saw(key, winner.version.get());
                let spread = BACK_OFF * (1 << tries.min(BACK_OFF_DOUBLINGS));
                let wait = Duration::from_nanos(self.random.below(spread.as_nanos() as u64));
                self.later.push(Reverse((now + wait, place)));
                Ok(())
            }
            Err(error) if error.code == Code::Overloaded => {
                let wait = error.retry_after_ms.unwrap_or(RETRY_AFTER_MS);
                self.later.push(Reverse((now + Duration::from_millis(wait.into()), place)));
                Ok(())
            }
            Err(error) => Err(error).context("an action was refused"),
            Ok(other) => bail!("answer {} to an action", other.number()),
        }
    }
}
