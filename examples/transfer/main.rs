//! Moves money between two accounts by a transaction: both change, or neither does. Whoever was faster is told about in
//! the answer, so the next try needs no extra read, and whatever happens the sum stays the same.
//!
//! ```text
//! cargo run --release -- serve --dev --data-dir /tmp/ostrakon-dev
//! cargo run -p ostrakon-examples --bin transfer -- /tmp/ostrakon-dev
//! ```

use anyhow::{Context, bail, ensure};
use ostrakon_client::value::Value;
use ostrakon_client::{
    Action, Client, ClientConfig, Code, Condition, Error, Expect, Must, ObjectId, OnConflict, Payload, Step, Target,
    Transact, Transacted, Version, json,
};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = std::env::args().nth(1).context("usage: transfer DATA_DIR (of a host that serves with --dev)")?;
    let client = Client::connect(ClientConfig::from_data_folder(folder)?).await?;
    let ann = ObjectId::new("acme", "account", "transfer-ann")?;
    let bob = ObjectId::new("acme", "account", "transfer-bob")?;
    let opened = client.put(&ann, payload(json!({"state": "open", "balance": 100}))?, Expect::Any).await?;
    client.put(&bob, payload(json!({"state": "open", "balance": 20}))?, Expect::Any).await?;

    let done = transfer(&client, &ann, &bob, 30, opened.version).await?;
    println!("30 moved in commit unit {}", done.revision);

    // Somebody who still knows the version before that is told what stands there, and goes on from it.
    match transfer(&client, &ann, &bob, 50, opened.version).await {
        Err(Error::Refused(lost)) if lost.code == Code::Conflict => {
            let failed = lost.failed.first().context("a conflict tells which conditions failed")?;
            let standing = failed.payload.as_ref().context("the account is there")?;
            println!("condition {} fails: version {} stands there", failed.index, failed.version);
            ensure!(balance_of(standing)? >= 50, "too little money to go on");
            transfer(&client, &ann, &bob, 50, failed.version).await?;
            println!("50 moved at the second try");
        }
        other => bail!("a transfer on an old version came to {other:?}"),
    }

    let closed = client.merge(&bob, payload(json!({"state": "closed"}))?, Expect::Any).await?;
    println!("{bob} is closed at version {}", closed.version);
    match transfer(&client, &ann, &bob, 10, client.read(&ann).await?.version).await {
        Err(Error::Refused(lost)) if lost.code == Code::Conflict => println!("nothing moved: {lost}"),
        other => bail!("a transfer to a closed account came to {other:?}"),
    }

    let balances = [balance_of(&client.read(&ann).await?.payload)?, balance_of(&client.read(&bob).await?.payload)?];
    println!("balances {balances:?}");
    ensure!(balances == [20, 100], "no money is made or lost");
    client.close().await;
    Ok(())
}

/// Moves an amount, if the payer's account is the one that was looked at, and both are open.
async fn transfer(
    client: &Client,
    from: &ObjectId,
    to: &ObjectId,
    amount: i64,
    looked_at: Version,
) -> Result<Transacted, Error> {
    let open = |account: &ObjectId| Condition {
        object: account.clone(),
        must: Must::Hold { pointer: "/state".into(), value: Value::Text("open".into()) },
    };
    let add = |account: &ObjectId, amount: i64| Step {
        target: Target { object: account.clone(), shard_key: None },
        action: Action::Add(payload(json!({ "/balance": amount })).expect("a number is a payload")),
    };
    let known = Condition { object: from.clone(), must: Must::BeAt(looked_at) };
    let transact = Transact {
        conditions: vec![known, open(from), open(to)],
        actions: vec![add(from, -amount), add(to, amount)],
        // A repeat under the same id, as after a lost answer, moves nothing a second time.
        action_id: Some(Client::new_action_id()),
        on_conflict: OnConflict::Reject,
    };
    client.transact(transact).await
}

fn payload(value: serde_json::Value) -> anyhow::Result<Payload> {
    Ok(Payload::from_value(&json::from_json(&value)?)?)
}

fn balance_of(account: &Payload) -> anyhow::Result<i64> {
    match account.value() {
        Some(Value::Map(map)) => match map.get("balance") {
            Some(Value::Integer(balance)) => Ok(*balance),
            _ => bail!("there is no balance"),
        },
        _ => bail!("the account is not structured"),
    }
}
