//! Scenario `balance`: how soon, and how well, the planner shares out among eight owners what ten thousand clients ask for.
//!
//! The clients' requests are Zipf-distributed (1.1), over several types and objects each, and due at times of their own. Load
//! is work a window: what each answer's shard is worth, given to the owner that has the shard in the map at the window's end.
//! First the planner is paused, then it works, then other clients become the busy ones.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ostrakon_client::{ObjectId, ReadShards, ShardChange};
use serde_json::{Map, Value};

use super::Operator;
use super::mixed::{ByShard, Choice, Load};
use super::zipf::Zipf;
use crate::Options;
use crate::host::{self, Host};
use crate::load::{Random, Window};
use crate::report::{Report, rounded};
use crate::rounds::median;

const OWNERS: u32 = 8;
const CLIENTS: usize = 10_000;
const TYPES: usize = 3;
const OBJECTS_OF_TYPE: usize = 3;
const ZIPF: f64 = 1.1;
const CONNECTIONS: usize = 8;
const WRITES_PERCENT: u64 = 30;
/// Of what the host can do, in hundredths.
const LOAD_PERCENT: u64 = 40;
const WINDOW: Duration = Duration::from_secs(5);
/// Windows while the planner is paused, and of each phase while it works.
const STATIC_WINDOWS: usize = 5;
const WINDOWS: usize = 24;
/// Balanced is what so many windows in a row are at most this much over the mean.
const BALANCED: f64 = 1.25;
const IN_A_ROW: usize = 3;
const PATIENCE: Duration = Duration::from_secs(1_800);

struct Outcome {
    static_ratio: f64,
    /// With the planner at work: the first busy clients, then others.
    phases: Vec<Phase>,
    moved: u64,
    splits: u64,
    merges: u64,
    moves: u64,
    reversals: u64,
    refused: u64,
    failed: u64,
    requests: u64,
}

/// One phase with the planner at work.
struct Phase {
    ratios: Vec<f64>,
    seconds: Option<u64>,
}

impl Phase {
    fn of(ratios: Vec<f64>) -> Self {
        let balanced = |from: &usize| ratios[*from..].iter().take(IN_A_ROW).all(|ratio| *ratio <= BALANCED);
        let first = (0..=ratios.len().saturating_sub(IN_A_ROW)).find(balanced);
        let seconds = first.map(|first| (first as u64 + 1) * WINDOW.as_secs());
        Self { ratios, seconds }
    }

    /// The median ratio once it was balanced, or of the second half.
    fn after(&self) -> f64 {
        let from = self.seconds.map_or(self.ratios.len() / 2, |seconds| (seconds / WINDOW.as_secs()) as usize - 1);
        let mut after = self.ratios[from..].to_vec();
        after.sort_by(f64::total_cmp);
        after[after.len() / 2]
    }
}

/// Objects of a connection's clients, the busy ones more often.
struct Busy {
    clients: Zipf,
    shift: Arc<AtomicUsize>,
}

impl Choice for Busy {
    fn next(&mut self, random: &mut Random) -> usize {
        let at = self.clients.draw(self.shift.load(Ordering::Relaxed), random);
        let each = (TYPES * OBJECTS_OF_TYPE) as u64;
        at * each as usize + random.below(each) as usize
    }
}

fn clients_of(connection: usize) -> Vec<usize> {
    (connection..CLIENTS).step_by(CONNECTIONS).collect()
}

fn objects_of(clients: &[usize]) -> anyhow::Result<Vec<ObjectId>> {
    let of_client = |client: usize| {
        (0..TYPES).flat_map(move |kind| {
            (0..OBJECTS_OF_TYPE).map(move |number| {
                ObjectId::new(&format!("client-{client:05}"), &format!("type-{kind}"), &format!("object-{number}"))
            })
        })
    };
    Ok(clients.iter().flat_map(|client| of_client(*client)).collect::<Result<_, _>>()?)
}

/// Measures a new host each round.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let mut outcomes = Vec::new();
    for _ in 0..options.rounds {
        let owners = OWNERS.to_string();
        let measured = async |host: &Host| measure(host, options.seconds).await;
        outcomes.push(host::measured(&["--owners", &owners], PATIENCE, measured)?);
    }
    Ok(report(&outcomes))
}

async fn measure(host: &Host, seconds: u64) -> anyhow::Result<Outcome> {
    let operator = Operator::of(&host.file).await?;
    operator.change(ShardChange::Pause(None)).await?;
    let shift = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..CONNECTIONS).map(clients_of).collect();
    let objects = clients.iter().map(|clients| objects_of(clients)).collect::<anyhow::Result<Vec<_>>>()?;
    let total = objects.iter().map(Vec::len).sum::<usize>();
    let busy = |clients: &Vec<usize>| Zipf::new(clients.clone(), CLIENTS, ZIPF);
    let choices = clients.iter().map(|clients| Busy { clients: busy(clients), shift: Arc::clone(&shift) }).collect();
    let load = Load::begin(&host.file, objects, choices, |_| None).await?;
    let count = Arc::new(ByShard::default());
    let window = Window::after_warm_up(seconds);
    let (mut load, peak) = load.drive(None, WRITES_PERCENT, window, &count).await?;
    let per_s = peak.tally.figures().committed_per_s * LOAD_PERCENT / 100;
    eprintln!("{total} objects; {per_s} requests a second");
    let (mut failed, mut requests, mut phases, mut static_ratio) = (0, 0, Vec::new(), 0.0);
    for phase in 0..3 {
        shift.store(if phase == 2 { CLIENTS / 2 } else { 0 }, Ordering::Relaxed);
        let weights = clients.iter().map(|clients| busy(clients).weight(shift.load(Ordering::Relaxed)));
        load.share(weights.collect());
        if phase > 0 {
            operator.change(ShardChange::Resume(None)).await?;
        }
        let windows = if phase == 0 { STATIC_WINDOWS } else { WINDOWS };
        let window = Window::open_for(WINDOW * windows as u32);
        count.take();
        let driving = {
            let count = Arc::clone(&count);
            tokio::spawn(async move { load.drive(Some(per_s), WRITES_PERCENT, window, &count).await })
        };
        let ratios = watch(&operator, &count, windows).await?;
        let (driven, came) = driving.await??;
        load = driven;
        failed += came.failed + came.stale;
        requests += came.requests;
        match phase {
            0 => static_ratio = Phase::of(ratios).after(),
            _ => phases.push(Phase::of(ratios)),
        }
    }
    let migrations = operator.migrations(256).await?;
    let of_kind = |kind: &str| migrations.iter().filter(|it| it["kind"] == kind).count() as u64;
    let decisions = operator.told(ReadShards::Decisions { limit: 256 }).await?;
    let refused =
        decisions["decisions"].as_array().map_or(0, |all| all.iter().filter(|it| it["decision"] == "refuse").count());
    Ok(Outcome {
        static_ratio,
        phases,
        moved: migrations.iter().filter_map(|it| it["objects"].as_u64()).sum::<u64>() * 1_000 / total as u64,
        splits: of_kind("split"),
        merges: of_kind("merge"),
        moves: of_kind("move"),
        reversals: reversals(&migrations),
        refused: refused as u64,
        failed,
        requests,
    })
}

/// The ratios of the busiest owner to the mean, a window at a time.
async fn watch(operator: &Operator, count: &ByShard, windows: usize) -> anyhow::Result<Vec<f64>> {
    let (began, mut ratios) = (Instant::now(), Vec::new());
    for window in 1..=windows {
        tokio::time::sleep_until((began + WINDOW * window as u32).into()).await;
        let (ratio, shards) = operator.max_over_mean(count, OWNERS).await?;
        eprintln!("{:>4} s  {shards} shards  {ratio:.2}", began.elapsed().as_secs());
        ratios.push(ratio);
    }
    Ok(ratios)
}

/// Boundaries that were made and taken away again, and shards that went back to whom they came from.
fn reversals(newest_first: &[Value]) -> u64 {
    let (mut made, mut came_from, mut reversals) = (BTreeSet::new(), BTreeMap::new(), 0);
    for it in newest_first.iter().rev() {
        match it["kind"].as_str() {
            Some("split") => drop(made.insert(it["start"].to_string())),
            Some("merge") => reversals += u64::from(made.remove(&it["start"].to_string())),
            Some("move") => {
                let (from, to) = (it["from-owner"].to_string(), it["to-owner"].to_string());
                let before = came_from.insert(it["shard"].to_string(), from);
                reversals += u64::from(before == Some(to));
            }
            _ => {}
        }
    }
    reversals
}

fn report(outcomes: &[Outcome]) -> Report {
    let thousandths = |of: &dyn Fn(&Outcome) -> f64| median(outcomes, |it| (of(it) * 1_000.0) as u64) as f64 / 1_000.0;
    let worst = |of: fn(&Phase) -> f64| move |it: &Outcome| it.phases.iter().map(of).fold(0.0, f64::max);
    let seconds = |phase: &Phase| phase.seconds.unwrap_or_default() as f64;
    let to_balance = thousandths(&worst(seconds));
    let never = outcomes.iter().flat_map(|it| &it.phases).any(|phase| phase.seconds.is_none());
    let sum = |of: fn(&Outcome) -> u64| Value::from(outcomes.iter().map(of).sum::<u64>());
    let summary = Map::from_iter([
        ("seconds_to_balance".to_owned(), if never { Value::Null } else { rounded(to_balance) }),
        ("max_over_mean_after".to_owned(), rounded(thousandths(&worst(Phase::after)))),
        ("max_over_mean_static".to_owned(), rounded(thousandths(&|it| it.static_ratio))),
        ("moved_share".to_owned(), rounded(median(outcomes, |it| it.moved) as f64 / 1_000.0)),
        ("reversals".to_owned(), sum(|it| it.reversals)),
        ("failed".to_owned(), sum(|it| it.failed)),
        ("requests".to_owned(), sum(|it| it.requests)),
    ]);
    let row = |it: &Outcome| {
        let seconds = |at: usize| it.phases[at].seconds.map_or(Value::Null, Value::from);
        Map::from_iter([
            ("static".to_owned(), rounded(it.static_ratio)),
            ("seconds".to_owned(), seconds(0)),
            ("after".to_owned(), rounded(it.phases[0].after())),
            ("seconds_shifted".to_owned(), seconds(1)),
            ("after_shifted".to_owned(), rounded(it.phases[1].after())),
            ("moved_share".to_owned(), rounded(it.moved as f64 / 1_000.0)),
            ("splits".to_owned(), it.splits.into()),
            ("merges".to_owned(), it.merges.into()),
            ("moves".to_owned(), it.moves.into()),
            ("reversals".to_owned(), it.reversals.into()),
            ("refused".to_owned(), it.refused.into()),
        ])
    };
    Report {
        summary,
        columns: &[
            "static",
            "seconds",
            "after",
            "seconds_shifted",
            "after_shifted",
            "moved_share",
            "splits",
            "merges",
            "moves",
            "reversals",
            "refused",
        ],
        rows: outcomes.iter().map(row).collect(),
    }
}
