//! Scenario `isolation`: what one object that is hard to reconcile costs the others.
//!
//! Regular clients have actions reconciled on a few objects, alone and beside one more object on which the policy never
//! comes to an end, traps, or meets a payload of 1 MiB. A policy that runs takes a core, and here are two: so there is also
//! a row beside a thread that does nothing but run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use ostrakon_policy::testing::{Recipe, snippets};
use ostrakon_wire::bounds::PAYLOAD_BYTES_MAX;
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{Action, ObjectId, OnConflict, Operation, Payload, PolicyKind};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::contended::{self, Next};
use crate::host::Host;
use crate::load::{self, Figures, Random, Tally, Window};
use crate::pipe::{self, Caller, action_id, perform};
use crate::report::Report;
use crate::{Options, folder, rounds};

const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 8;
const OBJECTS: usize = 16;
/// Actions under way on the object that is hard.
const HARD_IN_FLIGHT: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);
/// The base of every action stays in history.
const HISTORY: &str = "1000000";

const COLUMNS: &[&str] =
    &["beside", "committed_per_s", "p50_us", "p99_us", "p99_of_alone", "committed_of_alone", "hard_per_s"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Thread,
    Endless,
    Trap,
    Large,
}

impl Beside {
    const ALL: [Self; 5] = [Self::Nothing, Self::Thread, Self::Endless, Self::Trap, Self::Large];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Thread => "a thread that runs",
            Self::Endless => "a policy that never ends",
            Self::Trap => "a policy that traps",
            Self::Large => "a payload of 1 MiB",
        }
    }

    /// The object that is hard, if there is one. The policy goes wrong where the type has seven letters.
    fn object(self) -> anyhow::Result<Option<ObjectId>> {
        Ok(match self {
            Self::Nothing | Self::Thread => None,
            Self::Endless | Self::Trap => Some(ObjectId::new("isolation", "hostile", "one")?),
            Self::Large => Some(ObjectId::new("isolation", "document", "one")?),
        })
    }
}

/// What one round came to.
struct Outcome {
    regular: Figures,
    /// Actions on the hard object that came to an end.
    hard_per_s: u64,
}

/// Measures every case in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let outcomes = rounds::alternate(&Beside::ALL, options.rounds, |beside| round(*beside, options.seconds))?;
    let figures = |rounds: &[Outcome]| Figures::median(&rounds.iter().map(|round| round.regular).collect::<Vec<_>>());
    let alone = figures(&outcomes[0]);
    let rows: Vec<Map<String, Value>> = Beside::ALL
        .iter()
        .zip(&outcomes)
        .map(|(beside, rounds)| row(*beside, figures(rounds), alone, rounds::median(rounds, |round| round.hard_per_s)))
        .collect();
    let of = |beside: Beside, name: &str| {
        let row = rows.iter().find(|row| row["beside"] == beside.name());
        row.and_then(|row| row[name].as_f64()).unwrap_or_default()
    };
    let worst = [Beside::Endless, Beside::Trap, Beside::Large].map(|beside| of(beside, "p99_of_alone"));
    let summary = [
        ("p99_of_alone", worst.into_iter().fold(0.0, f64::max).into()),
        ("p99_of_alone_beside_a_thread", of(Beside::Thread, "p99_of_alone").into()),
    ];
    let summary = summary.map(|(name, figure)| (name.to_owned(), figure)).into_iter().collect();
    Ok(Report { summary, columns: COLUMNS, rows })
}

fn row(beside: Beside, figures: Figures, alone: Figures, hard_per_s: u64) -> Map<String, Value> {
    let ratio = |of: u64, to: u64| Value::from((100.0 * of as f64 / to.max(1) as f64).round() / 100.0);
    [
        ("beside", beside.name().into()),
        ("committed_per_s", figures.committed_per_s.into()),
        ("p50_us", figures.p50_us.into()),
        ("p99_us", figures.p99_us.into()),
        ("p99_of_alone", ratio(figures.p99_us, alone.p99_us)),
        ("committed_of_alone", ratio(figures.committed_per_s, alone.committed_per_s)),
        ("hard_per_s", hard_per_s.into()),
    ]
    .map(|(name, figure): (&str, Value)| (name.to_owned(), figure))
    .into_iter()
    .collect()
}

fn round(beside: Beside, seconds: u64) -> anyhow::Result<Outcome> {
    let folder = folder::fresh()?;
    let component = folder.path().join("rerun.wasm");
    let body = if beside == Beside::Endless { snippets::FOREVER } else { snippets::TRAP };
    std::fs::write(&component, Recipe::new(PolicyKind::Reconciliation).triggered(body).build())?;
    let policy = format!("reconciliation={}", component.display());
    let host = Host::start(folder.path(), &["--history", HISTORY, "--policy", &policy])?;
    let stop = Arc::new(AtomicBool::new(false));
    let thread = (beside == Beside::Thread).then(|| {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop()
            }
        })
    });
    let patience = PATIENCE + Duration::from_secs(seconds);
    let measured = load::runtime()?.block_on(async { timeout(patience, measure(&host, beside, seconds)).await });
    stop.store(true, Ordering::Relaxed);
    if let Some(thread) = thread {
        let _ = thread.join();
    }
    let outcome = measured??;
    host.stop()?;
    Ok(outcome)
}

async fn measure(host: &Host, beside: Beside, seconds: u64) -> anyhow::Result<Outcome> {
    let mut wires = pipe::dial(&host.file, CONNECTIONS + 1, 0).await?;
    let mut last = wires.pop().context("one more was dialled")?;
    let objects: Vec<ObjectId> =
        (0..OBJECTS).map(|at| ObjectId::new("isolation", "gauge", &format!("{at:02}"))).collect::<Result<_, _>>()?;
    for object in &objects {
        create(&mut last, object, 0).await?;
    }
    let hard = beside.object()?;
    if let Some(object) = &hard {
        create(&mut last, object, if beside == Beside::Large { PAYLOAD_BYTES_MAX - 1_024 } else { 0 }).await?;
    }
    let window = Window::after_warm_up(seconds);
    let mut running = JoinSet::new();
    for (place, wire) in wires.into_iter().enumerate() {
        let objects = objects.clone();
        running.spawn(add(wire, objects, IN_FLIGHT, Random::seeded(place as u64 + 1), window));
    }
    let mut hard_running = JoinSet::new();
    if let Some(object) = hard {
        hard_running.spawn(add(last, vec![object], HARD_IN_FLIGHT, Random::seeded(99), window));
    }
    let mut regular = Tally::new(window);
    while let Some(ended) = running.join_next().await {
        let (tally, given_up) = ended??;
        ensure!(given_up == 0, "an action on a regular object was given up");
        regular.add(&tally);
    }
    let mut hard_done = 0;
    while let Some(ended) = hard_running.join_next().await {
        let (tally, given_up) = ended??;
        hard_done += tally.count() + given_up;
    }
    Ok(Outcome { regular: regular.figures(), hard_per_s: hard_done / seconds.max(1) })
}

async fn create(wire: &mut Caller, object: &ObjectId, filler_bytes: usize) -> anyhow::Result<()> {
    let filler = Field::Text("x".repeat(filler_bytes));
    let payload = Payload::from_value(&Field::Map(Fields::from([
        ("n".to_owned(), Field::Integer(0)),
        ("filler".to_owned(), filler),
    ])))?;
    let id = action_id(object.digest());
    wire.ask_one(Operation::Perform(perform(object.clone(), Action::Put(payload), 0, id, OnConflict::Reject))).await?;
    Ok(())
}

/// Keeps so many additions under way, each made for the first version.
async fn add(
    wire: Caller,
    objects: Vec<ObjectId>,
    in_flight: usize,
    random: Random,
    window: Window,
) -> anyhow::Result<(Tally, u64)> {
    let addition = Payload::from_value(&Field::Map(Fields::from([("/n".to_owned(), Field::Integer(1))])))?;
    let next = |random: &mut Random| {
        let object = objects[random.below(objects.len() as u64) as usize].clone();
        Ok(Next { object, action: Action::Add(addition.clone()), known: 1 })
    };
    contended::drive(wire, in_flight, random, window, &(), next).await
}
