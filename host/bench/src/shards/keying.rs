//! Scenario `keying`: adaptive shard keys against each static weighting, where placement costs something.
//!
//! One journal hides where objects live. So two owners are bound here by a reconciliation policy that takes 50 us a
//! call, and every request is an action that it carries out in the lane of its object's owner: what is heaped on one
//! owner waits for that one. The load is closed and saturates, since what is asked is how much can be done. Each case
//! has a host of its own, whose planner works as it does in production, with a tenth of the usual times.
//!
//! Lists go by names and transactions are judged on threads of their own, so on one host it costs nothing where objects
//! that are used together lie apart: keys of the name alone are a weighting like others, and pay nothing for it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use ostrakon_client::ShardChange;
use ostrakon_policy::testing::{Recipe, snippets};
use ostrakon_policy::{Limits, PolicyEngine};
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{Action, ObjectId, Payload, PolicyKind};
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use super::Operator;
use super::mixed::ByShard;
use super::zipf::Zipf;
use crate::contended::{self, Next};
use crate::host::{self, Host};
use crate::load::{Figures, Random, Tally, Window};
use crate::policy_inputs::{self as inputs, Patches};
use crate::report::{Report, rounded};
use crate::rounds::{alternate, median};
use crate::{Options, folder, pipe};

const OWNERS: u32 = 2;
const CALL_US: u64 = 50;
/// Of one action: the owners are to be the bound on two cores that do all the rest as well.
const CALLS: u32 = 5;
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 32;
const CLIENTS: usize = 64;
/// The busiest client has three fifths of all requests: of those in a real CloudTrail the busiest has nine tenths.
const ZIPF: f64 = 2.0;
const TYPES: u64 = 3;
/// Objects of a client and type that are in use at a time.
const OBJECTS: u64 = 8;
/// Until the planner has done what it can.
const REST: Duration = Duration::from_secs(6);
/// How often objects give way to new ones, where the load grows.
const GROW: Duration = Duration::from_millis(250);
/// The policy's time windows: several pass in a round.
const WINDOW_MS: u64 = 1_000;
/// A tenth of the usual times, since rounds are short.
const LIMITS: &str = r#"{"sustain-ms": 500, "cold-sustain-ms": 12000, "cooldown-ms": 500, "stay-ms": 6000,
    "pause-ms": 100, "reversal-ms": 60000}"#;
const PATIENCE: Duration = Duration::from_secs(120);

const COLUMNS: &[&str] =
    &["load", "weighting", "committed_per_s", "of_adaptive", "p50_us", "p99_us", "max_over_mean", "shards"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Traffic {
    Stationary,
    Drifting,
    Growing,
}

impl Traffic {
    const ALL: [Self; 3] = [Self::Stationary, Self::Drifting, Self::Growing];

    fn name(self) -> &'static str {
        match self {
            Self::Stationary => "stationary",
            Self::Drifting => "drifting",
            Self::Growing => "growing",
        }
    }

    /// By how much the ranks of clients have shifted, and how often all objects have given way to new ones. `drift`:
    /// how often an idle client becomes the busiest, where the load drifts.
    fn after(self, elapsed: Duration, drift: Duration) -> (usize, u64) {
        let times = |each: Duration| elapsed.as_millis() / each.as_millis();
        match self {
            Self::Stationary => (0, 0),
            Self::Drifting => (times(drift) as usize, 0),
            Self::Growing => (0, times(GROW) as u64),
        }
    }
}

/// Settings of the shipped shard-key policy.
struct Weighting {
    name: &'static str,
    /// Bits of client, type and window; `None`: the default ones, by heat.
    bits: Option<[u32; 3]>,
}

/// The adaptive one first, then what it is held against. A key has one bit at least, so keys of the name alone begin
/// with one of the client.
const WEIGHTINGS: [Weighting; 7] = [
    Weighting { name: "adaptive", bits: None },
    Weighting { name: "client", bits: Some([24, 0, 0]) },
    Weighting { name: "client, type", bits: Some([24, 12, 0]) },
    Weighting { name: "client, type, window", bits: Some([24, 12, 12]) },
    Weighting { name: "type", bits: Some([0, 12, 0]) },
    Weighting { name: "window", bits: Some([0, 0, 12]) },
    Weighting { name: "name", bits: Some([1, 0, 0]) },
];

impl Weighting {
    fn settings(&self) -> Value {
        match self.bits {
            None => json!({"window-ms": WINDOW_MS}),
            Some([client, kind, window]) => json!({
                "adaptive": false, "window-ms": WINDOW_MS,
                "client-bits": client, "type-bits": kind, "window-bits": window,
            }),
        }
    }
}

/// What one round of one case came to.
struct Outcome {
    figures: Figures,
    /// Of the busiest owner, in thousandths; the mean of the seconds that count.
    max_over_mean: u64,
    shards: u64,
    failed: u64,
}

/// Measures every weighting under every load, in turn.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let folder = folder::fresh()?;
    let policy = folder.path().join("slow.wasm");
    let call_us = calibrated(&policy)?;
    let cases: Vec<(Traffic, &Weighting)> =
        Traffic::ALL.iter().flat_map(|traffic| WEIGHTINGS.iter().map(|weighting| (*traffic, weighting))).collect();
    let settings = folder.path().join("keys.json");
    let outcomes = alternate(&cases, options.rounds, |(traffic, weighting)| {
        std::fs::write(&settings, weighting.settings().to_string())?;
        let outcome = round(*traffic, &policy, &settings, options.seconds)?;
        let (figures, over) = (outcome.figures, outcome.max_over_mean);
        eprintln!("{:>10}  {:>20}  {}/s  {over}", traffic.name(), weighting.name, figures.committed_per_s);
        Ok(outcome)
    })?;
    Ok(report(&cases, &outcomes, call_us))
}

/// Writes a policy that takes so long a call here, and answers how long it took, in microseconds.
fn calibrated(file: &Path) -> anyhow::Result<f64> {
    const TURNS: u32 = 100_000;
    let engine = PolicyEngine::new(Limits::default())?;
    let turns = f64::from(TURNS) * CALL_US as f64 / call_us(&engine, &slow(TURNS))?;
    let component = slow(turns as u32);
    std::fs::write(file, &component)?;
    call_us(&engine, &component)
}

/// A policy that takes so many turns a call, wants to be asked again until it was asked often enough, and then puts an
/// empty map in place of whatever stands there.
fn slow(turns: u32) -> Vec<u8> {
    const BODY_AT: u32 = 2_048;
    const ATTEMPT_AT: u32 = 2_052;
    let [retry, replace] = [snippets::verdict(7, [0; 4]), snippets::verdict(3, [BODY_AT, 1, 0, 0])];
    let decide = format!(
        "(i32.store8 (i32.const {BODY_AT}) (i32.const 0xa0))
         (i32.store (i32.const {ATTEMPT_AT}) (i32.load offset=68 (local.get $arguments)))
         {}
         (if (result i32) (i32.lt_u (i32.load (i32.const {ATTEMPT_AT})) (i32.const {}))
           (then {retry}) (else {replace}))",
        snippets::spin("$arguments", turns),
        CALLS - 1
    );
    Recipe::new(PolicyKind::Reconciliation).decide(decide).build()
}

/// How long a call takes: the median, since the machine does other things too.
fn call_us(engine: &PolicyEngine, component: &[u8]) -> anyhow::Result<f64> {
    const SAMPLES: usize = 1_001;
    let mut solo = engine.load(PolicyKind::Reconciliation, component, "{}")?.solo()?;
    let patches = Patches::new();
    let question = inputs::question(PolicyKind::Reconciliation, &patches, 0);
    let mut took = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let began = Instant::now();
        solo.ask(&question)?;
        took.push(began.elapsed());
    }
    Ok(median(&took, |took| took.as_nanos() as u64) as f64 / 1e3)
}

fn round(traffic: Traffic, policy: &Path, settings: &Path, seconds: u64) -> anyhow::Result<Outcome> {
    let (policy, settings) =
        (format!("reconciliation={}", policy.display()), format!("shard-key={}", settings.display()));
    let owners = OWNERS.to_string();
    let arguments = ["--owners", &owners, "--policy", &policy, "--policy-settings", &settings];
    let patience = PATIENCE + Duration::from_secs(seconds);
    host::measured(&arguments, patience, async |host| measure(host, traffic, seconds).await)
}

async fn measure(host: &Host, traffic: Traffic, seconds: u64) -> anyhow::Result<Outcome> {
    let operator = Operator::of(&host.file).await?;
    operator.change(ShardChange::SetLimits(LIMITS.into())).await?;
    let (began, window, count) = (Instant::now(), Window::after(REST, seconds), Arc::new(ByShard::default()));
    let mut running = JoinSet::new();
    for (place, wire) in (1..).zip(pipe::dial(&host.file, CONNECTIONS, 0).await?) {
        let (mut used, count) = (Used::new(traffic, Duration::from_secs(seconds))?, Arc::clone(&count));
        running.spawn(async move {
            let next = |random: &mut Random| used.next(began.elapsed(), random);
            contended::drive(wire, IN_FLIGHT, Random::seeded(place), window, &*count, next).await
        });
    }
    tokio::time::sleep_until((began + REST).into()).await;
    count.take();
    let (mut ratios, mut shards) = (Vec::new(), 0);
    for second in 1..=seconds {
        tokio::time::sleep_until((began + REST + Duration::from_secs(second)).into()).await;
        let (ratio, now) = operator.max_over_mean(&count, OWNERS).await?;
        ratios.push(ratio);
        shards = now as u64;
    }
    let (mut tally, mut failed) = (Tally::new(window), 0);
    while let Some(ended) = running.join_next().await {
        let (came, given_up) = ended??;
        tally.add(&came);
        failed += given_up;
    }
    ensure!(tally.count() > 0, "nothing was done");
    Ok(Outcome {
        figures: tally.figures(),
        max_over_mean: (ratios.iter().sum::<f64>() * 1e3) as u64 / seconds,
        shards,
        failed,
    })
}

/// Which objects a connection uses; all connections use the same.
struct Used {
    traffic: Traffic,
    /// As long as what counts of a round, so that every age of a drift counts alike.
    drift: Duration,
    clients: Zipf,
    action: Action,
}

impl Used {
    fn new(traffic: Traffic, drift: Duration) -> anyhow::Result<Self> {
        let clients = Zipf::new((0..CLIENTS).collect(), CLIENTS, ZIPF);
        let body = Payload::from_value(&Field::Map(Fields::new()))?;
        Ok(Self { traffic, drift, clients, action: Action::Custom { kind: "work".to_owned(), body } })
    }

    fn next(&mut self, elapsed: Duration, random: &mut Random) -> anyhow::Result<Next> {
        let (shift, generation) = self.traffic.after(elapsed, self.drift);
        let client = self.clients.draw(shift, random);
        let (kind, number) = (random.below(TYPES), generation * OBJECTS + random.below(OBJECTS));
        let object =
            ObjectId::new(&format!("client-{client:02}"), &format!("type-{kind}"), &format!("object-{number:06}"))?;
        Ok(Next { object, action: self.action.clone(), known: 0 })
    }
}

fn report(cases: &[(Traffic, &Weighting)], outcomes: &[Vec<Outcome>], call_us: f64) -> Report {
    let figures: Vec<Figures> = outcomes
        .iter()
        .map(|rounds| Figures::median(&rounds.iter().map(|round| round.figures).collect::<Vec<_>>()))
        .collect();
    let mut summary = Map::from_iter([
        ("call_us".to_owned(), rounded(call_us)),
        ("failed".to_owned(), outcomes.iter().flatten().map(|round| round.failed).sum::<u64>().into()),
    ]);
    let mut rows = Vec::new();
    for (at, traffic) in Traffic::ALL.into_iter().enumerate() {
        let of_traffic = at * WEIGHTINGS.len()..(at + 1) * WEIGHTINGS.len();
        let rates: Vec<u64> = figures[of_traffic.clone()].iter().map(|figures| figures.committed_per_s).collect();
        let (of_best, of_worst) = of_best_and_worst(&rates);
        summary.insert(format!("of_best_{}", traffic.name()), rounded(of_best));
        summary.insert(format!("of_worst_{}", traffic.name()), rounded(of_worst));
        for at in of_traffic {
            let mut row = figures[at].fields();
            row.insert("load".into(), traffic.name().into());
            row.insert("weighting".into(), cases[at].1.name.into());
            row.insert("of_adaptive".into(), rounded(figures[at].committed_per_s as f64 / rates[0].max(1) as f64));
            row.insert(
                "max_over_mean".into(),
                rounded(median(&outcomes[at], |round| round.max_over_mean) as f64 / 1e3),
            );
            row.insert("shards".into(), median(&outcomes[at], |round| round.shards).into());
            rows.push(row);
        }
    }
    Report { summary, columns: COLUMNS, rows }
}

/// What the first rate is to the best and to the worst of the others.
fn of_best_and_worst(rates: &[u64]) -> (f64, f64) {
    let of = |other: Option<&u64>| rates[0] as f64 / other.copied().unwrap_or_default().max(1) as f64;
    (of(rates[1..].iter().max()), of(rates[1..].iter().min()))
}

#[cfg(test)]
mod tests {
    use weighted_shard_key::WeightedShardKey;

    use super::*;

    #[test]
    fn a_weighting_is_refused_by_the_policy() {
        use ostrakon_policy_sdk::shard_key::Policy as _;
        for weighting in WEIGHTINGS {
            WeightedShardKey::configure(&weighting.settings().to_string(), &[]).expect(weighting.name);
        }
    }

    #[test]
    fn a_load_does_not_move_as_its_name_says() {
        const DRIFT: Duration = Duration::from_secs(4);
        let check = |traffic: Traffic, ms, expected| {
            assert_eq!(traffic.after(Duration::from_millis(ms), DRIFT), expected, "{traffic:?}")
        };
        check(Traffic::Stationary, 60_000, (0, 0));
        check(Traffic::Drifting, 3_999, (0, 0));
        check(Traffic::Drifting, 8_000, (2, 0));
        check(Traffic::Growing, 249, (0, 0));
        check(Traffic::Growing, 1_000, (0, 4));
    }

    #[test]
    fn adaptive_keys_are_held_against_themselves() {
        assert_eq!(of_best_and_worst(&[90, 100, 60]), (0.9, 1.5));
        assert_eq!(of_best_and_worst(&[90, 45, 60]), (1.5, 2.0));
    }
}
