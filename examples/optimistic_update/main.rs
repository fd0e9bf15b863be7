//! Several writers change one object on condition, and every one of them wins in the end: the answer to a lost write
//! carries what won, so the next try needs no extra read.
//!
//! ```text
//! cargo run --release -- serve --dev --data-dir /tmp/ostrakon-dev
//! cargo run -p ostrakon-examples --bin optimistic_update -- /tmp/ostrakon-dev
//! ```

use anyhow::{Context, ensure};
use ostrakon_client::value::Value;
use ostrakon_client::{Client, ClientConfig, Expect, ObjectId, Payload, Version, json};
use serde_json::json;
use tokio::task::JoinSet;

const WRITERS: i64 = 8;
const CHANGES_EACH: i64 = 25;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder =
        std::env::args().nth(1).context("usage: optimistic_update DATA_DIR (of a host that serves with --dev)")?;
    let config = ClientConfig::from_data_folder(folder)?;
    let counter = ObjectId::new("acme", "counter", "optimistic-update")?;
    let client = Client::connect(config.clone()).await?;
    client.put(&counter, with_count(0)?, Expect::Any).await?;

    let mut writers = JoinSet::new();
    for _ in 0..WRITERS {
        let (config, counter) = (config.clone(), counter.clone());
        writers.spawn(async move {
            let client = Client::connect(config).await?;
            let mut conflicts = 0;
            for _ in 0..CHANGES_EACH {
                conflicts += increment(&client, &counter).await?;
            }
            anyhow::Ok(conflicts)
        });
    }
    let mut conflicts = 0;
    while let Some(lost) = writers.join_next().await {
        conflicts += lost??;
    }

    let count = count_of(&client.read(&counter).await?.payload)?;
    println!("{} changes by {WRITERS} writers, {conflicts} conflicts, count {count}", WRITERS * CHANGES_EACH);
    ensure!(count == WRITERS * CHANGES_EACH, "no change is lost");
    client.close().await;
    Ok(())
}

/// Adds one to the count by reading it and writing it back on condition; answers how many tries lost.
async fn increment(client: &Client, counter: &ObjectId) -> anyhow::Result<u64> {
    let read = client.read(counter).await?;
    let (mut version, mut count, mut conflicts): (Version, _, _) = (read.version, count_of(&read.payload)?, 0);
    loop {
        match client.put(counter, with_count(count + 1)?, Expect::Version(version)).await {
            Ok(_) => return Ok(conflicts),
            Err(error) => {
                let winner = error.winner().with_context(|| error.to_string())?;
                version = winner.version;
                count = count_of(winner.payload.as_ref().context("the counter was deleted")?)?;
                conflicts += 1;
            }
        }
    }
}

fn with_count(count: i64) -> anyhow::Result<Payload> {
    Ok(Payload::from_value(&json::from_json(&json!({ "count": count }))?)?)
}

fn count_of(payload: &Payload) -> anyhow::Result<i64> {
    match payload.value() {
        Some(Value::Map(map)) => match map.get("count") {
            Some(Value::Integer(count)) => Ok(*count),
            _ => anyhow::bail!("there is no count"),
        },
        _ => anyhow::bail!("the counter is not structured"),
    }
}
