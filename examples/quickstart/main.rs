//! Puts an object, reads it, changes it, lists it, deletes it.
//!
//! Start a host, then run this on its data folder:
//!
//! ```text
//! cargo run --release -- serve --dev --data-dir /tmp/ostrakon-dev
//! cargo run -p ostrakon-examples --bin quickstart -- /tmp/ostrakon-dev
//! ```

use anyhow::Context;
use ostrakon_client::{Client, ClientConfig, Expect, List, ObjectId, Payload, json};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("usage: quickstart DATA_DIR (of a host that serves with --dev)")?;
    let client = Client::connect(ClientConfig::from_data_folder(folder)?).await?;

    // An object is named by client id, data type and name.
    let volume = ObjectId::new("acme", "volume", "vol-quickstart")?;
    let payload = Payload::from_value(&json::from_json(&json!({"size": 10, "state": "available"}))?)?;
    let made = client.put(&volume, payload, Expect::Any).await?;
    println!("stored version {} in shard {:?}", made.version, made.decided.shard.map(|shard| shard.get()));

    // A merge changes some fields; on condition, only if nobody was faster.
    let patch = Payload::from_value(&json::from_json(&json!({"state": "in-use"}))?)?;
    let changed = client.merge(&volume, patch, Expect::Version(made.version)).await?;

    let read = client.read(&volume).await?;
    assert_eq!(read.version, changed.version);
    let value = read.payload.value().context("the payload is structured")?;
    println!("read version {}: {}", read.version, json::to_json(&value));

    let page = client
        .list(List {
            client: "acme".into(),
            data_type: Some("volume".into()),
            prefix: None,
            limit: 10,
            token: None,
            with_payloads: false,
            at: None,
        })
        .await?;
    for item in &page.items {
        println!("listed {} at version {}", item.object, item.version);
    }

    let gone = client.delete(&volume, Expect::Version(read.version)).await?;
    println!("deleted; the tombstone is version {}", gone.version);
    client.close().await;
    Ok(())
}
