//! One object that everybody changes at once: nobody comes back with the winner, the host runs each action on it. One who
//! watches is told each version, once and in order.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use ostrakon_client::json::{from_json, to_json};
use ostrakon_client::{
    Action, Client, ClientConfig, Committed, Error, Expect, ObjectId, Payload, Position, Told, Watch,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::failure::Failure;

/// Clients, each on a connection of its own.
const CLIENTS: usize = 16;
/// Actions of each, under way at the same time.
const EACH: usize = 64;

/// How long one who watches may take to be told all.
const PATIENCE: Duration = Duration::from_secs(20);

/// What came of it.
pub(super) struct Together {
    sum: i64,
    versions: u64,
    verdicts: u64,
    took: Duration,
    /// Versions that one who watches was told, each the next one.
    told: u64,
    /// When the last of them was, from the first action on.
    told_all: Duration,
}

pub(super) fn structured(json: &Value) -> Result<Payload, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Protocol(error.to_string());
    let value = from_json(json).map_err(|error| wrong(&error))?;
    Payload::from_value(&value).map_err(|error| wrong(&error))
}

/// Watches an object up to a version; how many versions it was told, each the next one.
async fn watch(client: Client, object: ObjectId, from: Position, last: u64) -> Result<(u64, Instant), Error> {
    let watch = Watch {
        data_type: Some(object.data_type().to_owned()),
        prefix: Some(object.name().to_owned()),
        from: Some(from),
        with_payloads: false,
        ..Watch::of_client(object.client())
    };
    let (mut watcher, mut told) = (client.watch(watch), 0);
    while told < last {
        let Told::Changes { changes, .. } = watcher.next().await? else { continue };
        for change in changes {
            if change.version.get() != told + 1 {
                return Err(Error::Protocol(format!("told of version {} behind {told}", change.version)));
            }
            told += 1;
        }
    }
    Ok((told, Instant::now()))
}

async fn play(config: &ClientConfig) -> Result<Together, Error> {
    let object = ObjectId::new("demo", "counter", "together").map_err(|error| Error::Protocol(error.to_string()))?;
    let addition = structured(&json!({ "/n": 1 }))?;
    let clients = try_join_all((0..CLIENTS).map(|_| Client::connect(config.clone()))).await?;
    let before = clients[0].info().await?.decided.position;
    let last = (CLIENTS * EACH) as u64 + 1;
    let watching = tokio::spawn(watch(clients[0].clone(), object.clone(), before, last));
    let first = clients[0].put(&object, structured(&json!({ "n": 0 }))?, Expect::Absent).await?;
    let begun = Instant::now();
    let adding = clients.iter().flat_map(|client| {
        let (object, addition) = (&object, &addition);
        (0..EACH).map(move |_| client.reconciled(object, Action::Add(addition.clone()), Expect::Version(first.version)))
    });
    let all: Vec<Committed> = try_join_all(adding).await?;
    let took = begun.elapsed();
    let verdicts = all.iter().map(|committed| u64::from(committed.tries)).sum();
    let lost = |error: &dyn std::fmt::Display| Error::Protocol(format!("who watches is not told: {error}"));
    let watched = timeout(PATIENCE, watching).await.map_err(|error| lost(&error))?;
    let (told, told_at) = watched.map_err(|error| lost(&error))??;
    let stands = clients[0].read(&object).await?;
    let sum = stands.payload.value().and_then(|value| to_json(&value)["n"].as_i64()).unwrap_or_default();
    for client in clients {
        client.close().await;
    }
    let told_all = told_at.duration_since(begun);
    Ok(Together { sum, versions: stands.version.get(), verdicts, took, told, told_all })
}

impl Together {
    /// Makes an object, and has everybody add to it, each for the version that was there at first.
    pub(super) async fn play(config: &ClientConfig) -> Result<Self, Failure> {
        let together = play(config).await?;
        match together.sum == (CLIENTS * EACH) as i64 {
            true => Ok(together),
            false => Err(Failure::failed(format!("{} additions of 1 make {}", CLIENTS * EACH, together.sum))),
        }
    }

    pub(super) fn line(&self) -> String {
        let Self { sum, versions, verdicts, took, told, told_all } = self;
        let all = CLIENTS * EACH;
        format!(
            "together: {CLIENTS} clients made {all} additions to one object, each for a version that was long gone. The policy \
             judged {verdicts} of them again; the sum is {sum}, version {versions}, after {} ms. One who watches was told {told} \
             versions, each once and in order, the last after {} ms",
            took.as_millis(),
            told_all.as_millis()
        )
    }

    pub(super) fn json(&self) -> Value {
        let Self { sum, versions, verdicts, took, told, told_all } = self;
        json!({
            "clients": CLIENTS, "additions": CLIENTS * EACH, "sum": sum, "version": versions, "verdicts": verdicts,
            "ms": took.as_millis() as u64, "told": told, "told_all_ms": told_all.as_millis() as u64,
        })
    }
}
