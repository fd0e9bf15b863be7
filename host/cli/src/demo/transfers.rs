//! Transfers between accounts: two objects at a time, both or neither, on the versions that the client has seen.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use ostrakon_client::json::to_json;
use ostrakon_client::{
    Action, Client, ClientConfig, Code, Condition, Error, Expect, List, Must, ObjectId, OnConflict, Step, Target,
    Transact, Version,
};
use serde_json::{Value, json};

use super::together::structured;
use crate::failure::Failure;

/// Clients, each on a connection of its own.
const CLIENTS: usize = 8;
/// Transfers of each, one after the other.
const EACH: usize = 32;
const ACCOUNTS: usize = 6;
/// What each account has at first.
const FIRST: i64 = 1_000;

/// What came of it.
pub(super) struct Transfers {
    conflicts: u64,
    sum: i64,
    took: Duration,
}

fn account(number: usize) -> Result<ObjectId, Error> {
    let name = format!("account-{number}");
    ObjectId::new("demo", "account", &name).map_err(|error| Error::Protocol(error.to_string()))
}

/// Makes so many transfers; how often it lost and tried again.
async fn transfer(client: &Client, number: usize) -> Result<u64, Error> {
    let (mut known, mut conflicts) = ([1_u64; ACCOUNTS], 0);
    for round in 0..EACH {
        let from = (number + round) % ACCOUNTS;
        let to = (from + 1 + round % (ACCOUNTS - 1)) % ACCOUNTS;
        let amount = (round % 7) as i64 + 1;
        loop {
            let pair = [(from, -amount), (to, amount)];
            let (mut conditions, mut actions) = (Vec::new(), Vec::new());
            for (at, more) in pair {
                let object = account(at)?;
                conditions.push(Condition { object: object.clone(), must: Must::BeAt(Version::new(known[at])) });
                let action = Action::Add(structured(&json!({ "/balance": more }))?);
                actions.push(Step { target: Target { object, shard_key: None }, action });
            }
            let action_id = Some(Client::new_action_id());
            match client.transact(Transact { conditions, actions, action_id, on_conflict: OnConflict::Reject }).await {
                Ok(done) => {
                    for ((at, _), made) in pair.into_iter().zip(done.made) {
                        known[at] = made.version.get();
                    }
                    break;
                }
                Err(Error::Refused(error)) if error.code == Code::Conflict => {
                    conflicts += 1;
                    for failed in error.failed {
                        known[pair[failed.index as usize].0] = failed.version.get();
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(conflicts)
}

async fn play(config: &ClientConfig) -> Result<Transfers, Error> {
    let clients = try_join_all((0..CLIENTS).map(|_| Client::connect(config.clone()))).await?;
    for number in 0..ACCOUNTS {
        clients[0].put(&account(number)?, structured(&json!({ "balance": FIRST }))?, Expect::Absent).await?;
    }
    let begun = Instant::now();
    let moving = clients.iter().enumerate().map(|(number, client)| transfer(client, number));
    let conflicts = try_join_all(moving).await?.into_iter().sum();
    let took = begun.elapsed();
    let list = List {
        client: "demo".into(),
        data_type: Some("account".into()),
        prefix: None,
        limit: ACCOUNTS,
        token: None,
        with_payloads: true,
        at: None,
    };
    let (accounts, _) = clients[0].list_all(list).await?;
    let balance = |value| to_json(&value)["balance"].as_i64();
    let balances = accounts.iter().map(|item| item.payload.as_ref()?.value().and_then(balance));
    let sum = balances.map(Option::unwrap_or_default).sum();
    for client in clients {
        client.close().await;
    }
    Ok(Transfers { conflicts, sum, took })
}

impl Transfers {
    /// Makes accounts, and has everybody move amounts between them.
    pub(super) async fn play(config: &ClientConfig) -> Result<Self, Failure> {
        let transfers = play(config).await?;
        match transfers.sum == FIRST * ACCOUNTS as i64 {
            true => Ok(transfers),
            false => Err(Failure::failed(format!("after the transfers the accounts have {} together", transfers.sum))),
        }
    }

    pub(super) fn line(&self) -> String {
        let Self { conflicts, sum, took } = self;
        format!(
            "transfers: {CLIENTS} clients made {} transfers between {ACCOUNTS} accounts, two objects at a time on the versions \
             that they had seen; {conflicts} lost and were made anew; together the accounts have {sum} as before, after {} ms",
            CLIENTS * EACH,
            took.as_millis()
        )
    }

    pub(super) fn json(&self) -> Value {
        let Self { conflicts, sum, took } = self;
        json!({
            "clients": CLIENTS, "transfers": CLIENTS * EACH, "accounts": ACCOUNTS, "conflicts": conflicts, "sum": sum,
            "ms": took.as_millis() as u64,
        })
    }
}
