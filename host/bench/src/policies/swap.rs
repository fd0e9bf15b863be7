//! Scenario `swap`: what a request notices of policies that are swapped under it.
//!
//! One host serves a load at 60 % of what it can do, which is measured before each round. Runs without swaps, with swaps
//! between components that were compiled before, and with swaps to components that are new each time and compiled meanwhile,
//! take turns. Every key that was made is held against what the named generation makes natively, and every generation that an
//! answer names against those that were in while its request was under way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use ostrakon_client::{ComponentDigest, PolicyKind, Stage};
use ostrakon_core::keys;
use ostrakon_core::policy::Placement;
use ostrakon_policy::shipped;
use ostrakon_policy_sdk::shard_key::{Heat, Policy as _, Request};
use serde_json::{Map, Value};
use weighted_shard_key::WeightedShardKey;

use super::load::{self, Came, Latest, Pace, Placed};
use super::pusher::{Pushed, Pusher, another, slot};
use crate::Options;
use crate::host::{self, Host};
use crate::load::Window;
use crate::report::{Report, rounded};
use crate::rounds::median;
use crate::sample::rss_mib;

/// Swaps of all rounds together, at least.
const SWAPS: u64 = 1_000;
/// Swaps between two looks at the host's memory.
const SWAPS_FOR_MEMORY: u64 = 300;
const PATIENCE: Duration = Duration::from_secs(900);
/// Of what the host can do, in hundredths.
const LOAD_PERCENT: u64 = 60;
/// Runs of the load in a round: as fast as can be, and each way of swapping.
const RUNS_OF_ROUND: u64 = 1 + Swapping::ALL.len() as u64;

/// Settings that take turns; none makes keys that depend on the time, or on the heat, which nobody else knows.
const SETTINGS: [[&str; 2]; 3] = [
    [
        r#"{"client-bits":24,"type-bits":12,"window-bits":0,"adaptive":false}"#,
        r#"{"client-bits":12,"type-bits":24,"window-bits":0,"adaptive":false}"#,
    ],
    [r#"{"abort-below-ppm":300000}"#, r#"{"abort-below-ppm":290000}"#],
    [r#"{"max-attempts":5}"#, r#"{"max-attempts":6}"#],
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Swapping {
    Nothing,
    CompiledBefore,
    New,
}

impl Swapping {
    const ALL: [Self; 3] = [Self::Nothing, Self::CompiledBefore, Self::New];

    fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::CompiledBefore => "compiled before",
            Self::New => "new each time",
        }
    }
}

struct Outcome {
    p50_us: u64,
    p99_us: u64,
    requests: u64,
    swaps: u64,
    publish: Vec<Duration>,
}

/// What is pushed, and what each generation of the shard-key slot was told.
struct Swapper {
    pusher: Pusher,
    digests: [[ComponentDigest; 2]; 3],
    latest: Arc<Latest>,
    settings: HashMap<u64, &'static str>,
    done: u64,
}

impl Swapper {
    async fn new(host: &Host) -> anyhow::Result<Self> {
        let pusher = Pusher::to(&host.file).await?;
        let mut digests = [[[0; 32]; 2]; 3];
        for (kind, digests) in PolicyKind::ALL.into_iter().zip(&mut digests) {
            for (number, digest) in (0..).zip(digests) {
                *digest = pusher.upload(&another(shipped(kind).bytes, number)).await?;
            }
        }
        let settings = HashMap::new();
        Ok(Self { pusher, digests, latest: Arc::default(), settings, done: 0 })
    }

    /// Swaps the next kind; the component was compiled before, or is new.
    async fn next(&mut self, new: bool) -> anyhow::Result<Pushed> {
        let at = (self.done % 3) as usize;
        let which = (self.done / 3 % 2) as usize;
        self.done += 1;
        let kind = PolicyKind::ALL[at];
        let digest = match new {
            true => self.pusher.upload(&another(shipped(kind).bytes, 1_000 + self.done)).await?,
            false => self.digests[at][which],
        };
        let settings = SETTINGS[at][which];
        let pushed = self.pusher.push(&slot(kind), digest, settings, Stage::Serve).await?;
        self.latest.set(at, pushed.generation);
        if kind == PolicyKind::ShardKey {
            self.settings.insert(pushed.generation, settings);
        }
        Ok(pushed)
    }

    /// Keys that another generation than the named one must have made.
    fn wrong(&self, placed: &[Placed]) -> anyhow::Result<u64> {
        let mut policies = HashMap::new();
        for settings in SETTINGS[0] {
            let policy = WeightedShardKey::configure(settings, &[]);
            policies.insert(settings, policy.map_err(|error| anyhow::anyhow!("{error}"))?);
        }
        let mut wrong = 0;
        for Placed { object, key, generation } in placed {
            let settings = self.settings.get(generation).context("a generation that was never pushed")?;
            let heat =
                Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: 0, shards: 0 };
            let (client, data_type, name) = (object.client(), object.data_type(), object.name());
            let ask = Request { client, data_type, name, timestamp_ms: 0, current: 0, heat };
            let placement = policies[settings].place(&ask);
            let expected = keys::fill(Placement { key: placement.key, bits: placement.bits }, name);
            wrong += u64::from(expected != *key);
        }
        Ok(wrong)
    }
}

/// Measures rounds in turn on one host.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    host::measured(&[], PATIENCE, async |host| measure(host, options).await)
}

async fn measure(host: &Host, options: &Options) -> anyhow::Result<Report> {
    let mut swapper = Swapper::new(host).await?;
    // Every slot has a generation whose settings are known, before anything is placed.
    for _ in 0..6 {
        swapper.next(false).await?;
    }
    let each = SWAPS.div_ceil(options.rounds.into());
    let mut outcomes: [Vec<Outcome>; 3] = Default::default();
    let (mut failed, mut mixed, mut placed, mut peaks) = (0, 0, Vec::new(), Vec::new());
    for round in 0..u64::from(options.rounds) {
        // Each round is a part of what the host can do then: machines are not always as fast.
        let run = 1 + round * RUNS_OF_ROUND;
        let peak = peak(host, &swapper, run, options.seconds).await?;
        peaks.push(peak);
        let pace = Pace::PerSecond(peak * LOAD_PERCENT / 100);
        for (at, swapping) in Swapping::ALL.into_iter().enumerate() {
            let (outcome, came) =
                one(host, &mut swapper, run + 1 + at as u64, swapping, pace, each, options.seconds).await?;
            failed += came.failed;
            mixed += came.mixed;
            placed.extend(came.placed);
            outcomes[at].push(outcome);
        }
    }
    mixed += swapper.wrong(&placed)?;
    let rss_growth = rss_growth(host, &mut swapper).await?;
    ensure!(!placed.is_empty(), "no key was held against its generation");
    Ok(report(&outcomes, &peaks, failed, mixed, placed.len(), rss_growth))
}

async fn peak(host: &Host, swapper: &Swapper, run: u64, seconds: u64) -> anyhow::Result<u64> {
    let window = Window::after_warm_up(seconds);
    let go_on = Arc::new(AtomicBool::new(false));
    let came = load::drive(&host.file, run, Pace::Saturate, window, go_on, Arc::clone(&swapper.latest)).await?;
    Ok(came.tally.figures().committed_per_s)
}

async fn one(
    host: &Host,
    swapper: &mut Swapper,
    run: u64,
    swapping: Swapping,
    pace: Pace,
    swaps: u64,
    seconds: u64,
) -> anyhow::Result<(Outcome, Came)> {
    let window = Window::after_warm_up(seconds);
    let go_on = Arc::new(AtomicBool::new(swapping == Swapping::CompiledBefore));
    let file = host.file.clone();
    let loading = {
        let (go_on, latest) = (Arc::clone(&go_on), Arc::clone(&swapper.latest));
        tokio::spawn(async move { load::drive(&file, run, pace, window, go_on, latest).await })
    };
    tokio::time::sleep(crate::load::WARM_UP).await;
    let mut publish = Vec::new();
    let every = Duration::from_secs(seconds) / swaps.max(1) as u32;
    let mut due = Instant::now();
    loop {
        let done = publish.len() as u64;
        let enough = match swapping {
            Swapping::Nothing => true,
            Swapping::CompiledBefore => done >= swaps,
            Swapping::New => window.is_over(Instant::now()),
        };
        if enough {
            break;
        }
        publish.push(swapper.next(swapping == Swapping::New).await?.took);
        due += every;
        tokio::time::sleep_until(due.into()).await;
    }
    go_on.store(false, Ordering::Relaxed);
    let came = loading.await??;
    let figures = came.tally.figures();
    let outcome = Outcome {
        p50_us: figures.p50_us,
        p99_us: figures.p99_us,
        requests: came.requests,
        swaps: publish.len() as u64,
        publish,
    };
    Ok((outcome, came))
}

/// How much more memory the host holds after many swaps, as a part of what it held. Nothing else asks it anything.
async fn rss_growth(host: &Host, swapper: &mut Swapper) -> anyhow::Result<f64> {
    for _ in 0..SWAPS_FOR_MEMORY / 5 {
        swapper.next(false).await?;
    }
    let before = rss_mib(&host.pid().to_string())?;
    for _ in 0..SWAPS_FOR_MEMORY {
        swapper.next(false).await?;
    }
    let after = rss_mib(&host.pid().to_string())?;
    Ok(after.saturating_sub(before) as f64 / before.max(1) as f64)
}

fn report(
    outcomes: &[Vec<Outcome>; 3],
    peaks: &[u64],
    failed: u64,
    mixed: u64,
    keys_checked: usize,
    rss_growth: f64,
) -> Report {
    let p99 = |at: usize| median(&outcomes[at], |outcome| outcome.p99_us);
    let ratio = |at: usize| p99(at) as f64 / p99(0).max(1) as f64;
    let publish_ms = |at: usize| {
        let mut all: Vec<_> = outcomes[at].iter().flat_map(|outcome| &outcome.publish).collect();
        all.sort_unstable();
        let last = all.len().saturating_sub(1);
        all.get(last * 99 / 100).map_or(0.0, |took| took.as_secs_f64() * 1e3)
    };
    let sum = |of: fn(&Outcome) -> u64| outcomes.iter().flatten().map(of).sum::<u64>();
    let summary = Map::from_iter([
        ("swaps".to_owned(), sum(|outcome| outcome.swaps).into()),
        ("requests".to_owned(), sum(|outcome| outcome.requests).into()),
        ("failed".to_owned(), failed.into()),
        ("mixed".to_owned(), mixed.into()),
        ("keys_checked".to_owned(), keys_checked.into()),
        ("publish_ms_p99".to_owned(), rounded(publish_ms(1))),
        ("p99_ratio".to_owned(), rounded(ratio(1))),
        ("p99_ratio_cold".to_owned(), rounded(ratio(2))),
        ("rss_growth".to_owned(), rounded(rss_growth)),
        ("peak_per_s".to_owned(), median(peaks, |peak| *peak).into()),
    ]);
    let row = |(at, swapping): (usize, Swapping)| {
        let rounds = &outcomes[at];
        Map::from_iter([
            ("swapping".to_owned(), Value::from(swapping.name())),
            ("swaps".to_owned(), rounds.iter().map(|outcome| outcome.swaps).sum::<u64>().into()),
            ("requests".to_owned(), rounds.iter().map(|outcome| outcome.requests).sum::<u64>().into()),
            ("p50_us".to_owned(), median(rounds, |outcome| outcome.p50_us).into()),
            ("p99_us".to_owned(), p99(at).into()),
            ("p99_ratio".to_owned(), rounded(ratio(at))),
            ("publish_ms_p99".to_owned(), rounded(publish_ms(at))),
        ])
    };
    Report {
        summary,
        columns: &["swapping", "swaps", "requests", "p50_us", "p99_us", "p99_ratio", "publish_ms_p99"],
        rows: Swapping::ALL.into_iter().enumerate().map(row).collect(),
    }
}
