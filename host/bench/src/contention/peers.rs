//! The same contention in etcd and in Redis: each change is read, made by the client, and written if nobody was before it
//! there; who was too late tries again on what won, after a wait with full jitter.
//!
//! What they do not do: keep every version, and remember which action made it.

mod etcd;
mod redis;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::clients::{CLIENTS, CONNECTIONS, Driven, MEMBERS, TRUSTED, back_off};
use super::{Outcome, PATIENCE};
use crate::load::{self, Random, Window};
use crate::peers::{self, Peer};

/// How a change ended that was tried once.
enum Tried {
    Made,
    /// Somebody was there before; what won, where it was told.
    Lost,
}

/// A client's way to the peer.
trait Wire: Send + 'static {
    /// Tries one change of an object. Answers how many requests it took.
    fn change(&mut self, key: usize, change: &Change) -> impl Future<Output = anyhow::Result<(Tried, u64)>> + Send;
}

/// An addition or a merge.
enum Change {
    Add,
    Merge { member: usize, value: i64 },
}

impl Change {
    fn apply(&self, object: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut object: Value = serde_json::from_slice(object)?;
        match self {
            Self::Add => object["n"] = (object["n"].as_i64().context("a counter counts")? + 1).into(),
            Self::Merge { member, value } => object[format!("f{member}")] = (*value).into(),
        }
        Ok(serde_json::to_vec(&object)?)
    }
}

fn key_name(key: usize) -> String {
    format!("contention/counter/key-{key:06}")
}

/// What every object holds at first.
fn first() -> anyhow::Result<Vec<u8>> {
    let members = (0..MEMBERS).map(|member| (format!("f{member}"), Value::from(0))).chain([("n".into(), 0.into())]);
    Ok(serde_json::to_vec(&Value::Object(members.collect()))?)
}

/// What the clients of one connection saw last: the revision and the object.
type Seen = Arc<Mutex<HashMap<usize, (i64, Vec<u8>, Instant)>>>;

pub(super) fn round(peer: Peer, keys: usize, seconds: u64) -> anyhow::Result<Outcome> {
    let running = peers::start(peer)?;
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let port = running.port;
    let measuring = async {
        match peer {
            Peer::Etcd => {
                etcd::create(port, keys).await?;
                measure(etcd::dial(port).await?, keys, seconds).await
            }
            Peer::Redis => {
                redis::create(port, keys).await?;
                measure(redis::dial(port).await?, keys, seconds).await
            }
        }
    };
    load::runtime()?.block_on(async { timeout(patience, measuring).await })?
}

async fn measure<W: Wire>(wires: Vec<W>, keys: usize, seconds: u64) -> anyhow::Result<Outcome> {
    ensure!(wires.len() == CLIENTS, "every client has its way to the peer");
    let window = Window::after_warm_up(seconds);
    let mut running = JoinSet::new();
    for (number, wire) in wires.into_iter().enumerate() {
        running.spawn(drive(wire, number, keys, window));
    }
    let Driven { tally, clients, requests, committed } = Driven::of_all(running, window).await?;
    Ok(Outcome::of(&tally, &clients, requests, committed))
}

async fn drive<W: Wire>(mut wire: W, number: usize, keys: usize, window: Window) -> anyhow::Result<Driven> {
    let mut random = Random::seeded(number as u64 + 1);
    let (mut driven, mut counted, mut made) = (Driven::new(window), 0, 0_u64);
    'actions: loop {
        let begun = Instant::now();
        if window.is_over(begun) {
            break;
        }
        made += 1;
        let change = match made.is_multiple_of(2) {
            true => Change::Add,
            false => Change::Merge { member: number % MEMBERS, value: (number as i64) << 32 | made as i64 },
        };
        let key = random.below(keys as u64) as usize;
        for tries in 1.. {
            let (tried, requests) = wire.change(key, &change).await?;
            // What is written is tried once beside the requests, as in the host.
            driven.requests += requests + 1;
            match tried {
                Tried::Made => break,
                Tried::Lost if window.is_over(Instant::now()) => break 'actions,
                Tried::Lost => tokio::time::sleep(back_off(&mut random, tries)).await,
            }
        }
        let now = Instant::now();
        driven.committed += 1;
        driven.tally.committed(begun, now);
        counted += u64::from(window.counts(now));
    }
    driven.clients.push(counted);
    Ok(driven)
}

/// So many clients share a connection.
const OF_CONNECTION: usize = CLIENTS / CONNECTIONS;
