//! Scenario `containment`: what others notice of somebody who pushes hostile policies for a client of his own, one after
//! the other, and asks them.
//!
//! Regular clients are measured at a steady rate, alone and beside him, in turn; every hostile component that is known to us
//! takes its turn. A policy that runs takes a core until it is stopped, and here are two: so there is also a case beside a
//! thread that runs as long, and does nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use ostrakon_client::{Client, ClientConfig, Error, Expect, HostFile, ObjectId, Payload, PolicyChange, Slot, Stage};
use ostrakon_policy::testing::{Hostile, hostile};
use ostrakon_wire::PolicyKind;
use serde_json::{Map, Value};

use super::load::{self, Latest, Pace};
use crate::Options;
use crate::host::{self, Host};
use crate::load::Window;
use crate::report::{Report, rounded};
use crate::rounds::median;

const PATIENCE: Duration = Duration::from_secs(900);
const PER_S: u64 = 4_000;
/// Between two hostile pushes.
const EVERY: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    Pushes,
}

struct Outcome {
    p50_us: u64,
    p99_us: u64,
    pushes: u64,
    stopped_ms_max: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let outcomes = host::measured(&[], PATIENCE, async |host| measure(host, options).await)?;
    let p99 = |at: usize| median(&outcomes[at], |outcome: &Outcome| outcome.p99_us);
    let ratio = p99(1) as f64 / p99(0).max(1) as f64;
    let row = |(at, beside): (usize, &str)| {
        let rounds = &outcomes[at];
        Map::from_iter([
            ("beside".to_owned(), Value::from(beside)),
            ("p50_us".to_owned(), median(rounds, |outcome| outcome.p50_us).into()),
            ("p99_us".to_owned(), p99(at).into()),
            ("pushes".to_owned(), rounds.iter().map(|outcome| outcome.pushes).sum::<u64>().into()),
        ])
    };
    let pushes: u64 = outcomes[1].iter().map(|outcome| outcome.pushes).sum();
    let stopped_ms = outcomes[1].iter().map(|outcome| outcome.stopped_ms_max).max().unwrap_or_default();
    Ok(Report {
        summary: Map::from_iter([
            ("p99_ratio".to_owned(), rounded(ratio)),
            ("pushes".to_owned(), pushes.into()),
            ("answered_ms_max".to_owned(), stopped_ms.into()),
        ]),
        columns: &["beside", "p50_us", "p99_us", "pushes"],
        rows: ["nothing", "hostile pushes"].into_iter().enumerate().map(row).collect(),
    })
}

async fn measure(host: &Host, options: &Options) -> anyhow::Result<[Vec<Outcome>; 2]> {
    let mut outcomes: [Vec<Outcome>; 2] = Default::default();
    for round in 0..u64::from(options.rounds) {
        for (at, beside) in [Beside::Nothing, Beside::Pushes].into_iter().enumerate() {
            outcomes[at].push(one(host, round * 2 + at as u64, beside, options.seconds).await?);
        }
    }
    Ok(outcomes)
}

async fn one(host: &Host, run: u64, beside: Beside, seconds: u64) -> anyhow::Result<Outcome> {
    let window = Window::after_warm_up(seconds);
    let stop = Arc::new(AtomicBool::new(false));
    let slowest = Arc::new(AtomicU64::new(0));
    let hostile = (beside == Beside::Pushes).then(|| {
        let (file, stop, slowest) = (host.file.clone(), Arc::clone(&stop), Arc::clone(&slowest));
        // A thread of its own: regular requests are not to wait for his digests.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(push_all(&file, run, &stop, &slowest))
        })
    });
    let (go_on, latest) = (Arc::new(AtomicBool::new(false)), Arc::<Latest>::default());
    let came = load::drive(&host.file, 1_000 + run, Pace::PerSecond(PER_S), window, go_on, latest).await?;
    stop.store(true, Ordering::Relaxed);
    let pushes = match hostile {
        Some(hostile) => {
            tokio::task::spawn_blocking(move || hostile.join()).await?.map_err(|_| anyhow!("he panicked"))??
        }
        None => 0,
    };
    anyhow::ensure!(came.failed == 0, "regular requests failed");
    let figures = came.tally.figures();
    Ok(Outcome {
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
        pushes,
        stopped_ms_max: slowest.load(Ordering::Relaxed),
    })
}

/// Pushes every hostile component for the client "hostile", and asks those that load; how many were pushed.
async fn push_all(host: &HostFile, run: u64, stop: &AtomicBool, slowest: &AtomicU64) -> anyhow::Result<u64> {
    let config = ClientConfig::of_host(host).context("a development host has certificates")?;
    let client = Client::connect(ClientConfig { deadline: Duration::from_secs(30), ..config }).await?;
    let of_kind = hostile().into_iter().filter(|each| each.kind == PolicyKind::ShardKey);
    let all: Vec<(Hostile, Bytes)> = of_kind.map(|each| (each.clone(), Bytes::from(each.bytes))).collect();
    let slot = Slot { kind: PolicyKind::ShardKey, client: Some("hostile".into()), data_type: None };
    let mut pushes = 0;
    for (each, component) in all.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        if let Ok(digest) = client.upload_component(component, |_| {}).await {
            let change =
                PolicyChange::Push { digest: Some(digest), settings: None, stage: Stage::Serve, slow_us: None };
            let pushed = client.change_policy(ostrakon_client::ChangePolicy { slot: slot.clone(), change }).await;
            if matches!(pushed, Err(Error::Deadline)) {
                anyhow::bail!("{} was not answered", each.name);
            }
            if pushed.is_ok() {
                for n in 0..4 {
                    let object = ObjectId::new("hostile", "hostile", &format!("{run}-{pushes}-{n}"))?;
                    client.put(&object, Payload::bytes("x")?, Expect::Absent).await?;
                }
            }
        }
        slowest.fetch_max(began.elapsed().as_millis() as u64, Ordering::Relaxed);
        pushes += 1;
        tokio::time::sleep(EVERY).await;
    }
    Ok(pushes)
}
