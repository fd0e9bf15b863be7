//! Scenario `rollback`: how a bad generation ends that was put in under load.
//!
//! Clients make objects at a steady rate. Policies are put in that trap, never end, recurse, eat memory, answer nonsense,
//! are not pure or are slow; each is to be given up, and every request answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::ensure;
use ostrakon_client::{PolicyKind, Stage};
use ostrakon_policy::testing::{Recipe, When, hostile, snippets};
use serde_json::{Map, Value};

use super::load::{self, Latest, Pace};
use super::pusher::{Pusher, slot};
use crate::Options;
use crate::host::{self, Host};
use crate::load::Window;
use crate::report::Report;

const KIND: PolicyKind = PolicyKind::ShardKey;
const PATIENCE: Duration = Duration::from_secs(900);
/// Requests a second; an eighth of them make an object.
const PER_S: u64 = 4_000;

/// A bad policy: its name and the component.
fn bad() -> Vec<(String, Vec<u8>)> {
    // Hostile whatever it is asked: the load has one data type.
    let body = |name: &str| match name {
        "call-traps" => Some(snippets::TRAP),
        "call-loops" => Some(snippets::FOREVER),
        "call-recurses" => Some(snippets::RECURSE),
        "call-eats-memory" => Some(snippets::EAT),
        _ => None,
    };
    let always = |body: &str| {
        // Behaves for the trial call, whose client has twelve letters; a load's have fewer.
        let trial = "(i32.ne (local.get $client_len) (i32.const 12))";
        let decide = format!("(if {trial} (then {body})) {}", snippets::placement(0, 16));
        Recipe::new(KIND).decide(decide).build()
    };
    let mut all: Vec<(String, Vec<u8>)> = hostile()
        .into_iter()
        .filter(|each| each.kind == KIND && each.when == When::Call)
        .filter_map(|each| Some((each.name.to_owned(), always(body(each.name)?))))
        .collect();
    let nonsense = format!("(return (block (result i32) {}))", snippets::placement(0, 64));
    all.push(("answers nonsense".into(), always(&nonsense)));
    all.push(("is not pure".into(), Recipe::new(KIND).decide(snippets::counting_placement()).build()));
    let slow = snippets::spin("$type_len", 4_000_000);
    all.push(("is slow".into(), always(&slow)));
    all
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let (rows, failed) = host::measured(&[], PATIENCE, async |host| measure(host, options).await)?;
    let worst = |name: &str| rows.iter().filter_map(|row| row[name].as_f64()).fold(0.0, f64::max);
    let summary = Map::from_iter([
        ("bad_calls".to_owned(), worst("bad_calls").into()),
        ("ms".to_owned(), worst("ms").into()),
        ("failed".to_owned(), failed.into()),
    ]);
    Ok(Report { summary, columns: &["policy", "stage", "bad_calls", "ms"], rows })
}

async fn measure(host: &Host, options: &Options) -> anyhow::Result<(Vec<Map<String, Value>>, u64)> {
    let pusher = Pusher::to(&host.file).await?;
    let go_on = Arc::new(AtomicBool::new(true));
    let loading = {
        let (file, go_on) = (host.file.clone(), Arc::clone(&go_on));
        let window = Window::after_warm_up(options.seconds);
        let latest = Arc::<Latest>::default();
        tokio::spawn(async move { load::drive(&file, 0, Pace::PerSecond(PER_S), window, go_on, latest).await })
    };
    tokio::time::sleep(crate::load::WARM_UP * 2).await;
    let mut rows = Vec::new();
    for (name, component) in bad() {
        for (stage_name, stage) in [("serve", Stage::Serve), ("canary", Stage::Canary(1_000_000))] {
            let (mut bad_calls, mut took_us) = (0, 0);
            for _ in 0..options.rounds {
                let digest = pusher.upload(&component).await?;
                let pushed = pusher.push(&slot(KIND), digest, "{}", stage).await?;
                let event = pusher.given_up(&slot(KIND), pushed.generation).await?;
                bad_calls = bad_calls.max(event["bad-calls"].as_u64().unwrap_or_default());
                took_us = took_us.max(event["took-us"].as_u64().unwrap_or_default());
            }
            rows.push(Map::from_iter([
                ("policy".to_owned(), Value::from(name.as_str())),
                ("stage".to_owned(), Value::from(stage_name)),
                ("bad_calls".to_owned(), bad_calls.into()),
                ("ms".to_owned(), ((took_us as f64 / 10.0).round() / 100.0).into()),
            ]));
        }
    }
    go_on.store(false, Ordering::Relaxed);
    let came = loading.await??;
    ensure!(!came.placed.is_empty(), "nobody asked a bad policy");
    Ok((rows, came.failed))
}
