//! One object that everybody changes at once: nobody comes back with the winner, the host runs each action on it.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use ostrakon_client::json::{from_json, to_json};
use ostrakon_client::{Action, Client, ClientConfig, Committed, Error, Expect, ObjectId, Payload};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Clients, each on a connection of its own.
const CLIENTS: usize = 16;
/// Actions of each, under way at the same time.
const EACH: usize = 64;

/// What came of it.
pub(super) struct Together {
    sum: i64,
    versions: u64,
    verdicts: u64,
    took: Duration,
}

fn structured(json: &Value) -> Result<Payload, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Protocol(error.to_string());
    let value = from_json(json).map_err(|error| wrong(&error))?;
    Payload::from_value(&value).map_err(|error| wrong(&error))
}

async fn play(config: &ClientConfig) -> Result<Together, Error> {
    let object = ObjectId::new("demo", "counter", "together").map_err(|error| Error::Protocol(error.to_string()))?;
    let addition = structured(&json!({ "/n": 1 }))?;
    let clients = try_join_all((0..CLIENTS).map(|_| Client::connect(config.clone()))).await?;
    let first = clients[0].put(&object, structured(&json!({ "n": 0 }))?, Expect::Absent).await?;
    let begun = Instant::now();
    let adding = clients.iter().flat_map(|client| {
        let (object, addition) = (&object, &addition);
        (0..EACH).map(move |_| client.reconciled(object, Action::Add(addition.clone()), Expect::Version(first.version)))
    });
    let all: Vec<Committed> = try_join_all(adding).await?;
    let took = begun.elapsed();
    let verdicts = all.iter().map(|committed| u64::from(committed.tries)).sum();
    let stands = clients[0].read(&object).await?;
    let sum = stands.payload.value().and_then(|value| to_json(&value)["n"].as_i64()).unwrap_or_default();
    for client in clients {
        client.close().await;
    }
    Ok(Together { sum, versions: stands.version.get(), verdicts, took })
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
        let Self { sum, versions, verdicts, took } = self;
        let all = CLIENTS * EACH;
        format!(
            "together: {CLIENTS} clients made {all} additions to one object, each for a version that was long gone. The policy \
             judged {verdicts} of them again; the sum is {sum}, version {versions}, after {} ms",
            took.as_millis()
        )
    }

    pub(super) fn json(&self) -> Value {
        let Self { sum, versions, verdicts, took } = self;
        json!({
            "clients": CLIENTS, "additions": CLIENTS * EACH, "sum": sum, "version": versions, "verdicts": verdicts,
            "ms": took.as_millis() as u64,
        })
    }
}
