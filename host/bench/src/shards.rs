//! What shards cost and bring that follow the load: a mixed load that knows what it must read, two scenarios of it, and
//! one of what keys are worth to the owners.

pub(crate) mod balance;
pub(crate) mod keying;
mod mixed;
pub(crate) mod reshard;
mod zipf;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ostrakon_client::json::to_json;
use ostrakon_client::value::Value as Structured;
use ostrakon_client::{ChangeShards, Client, ClientConfig, Code, Error, HostFile, ReadShards, ShardChange};
use serde_json::Value;

use mixed::ByShard;
pub(crate) use mixed::Count;

/// How long a migration may take.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(120);
/// How often it is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(5);

/// An operator of a host. Clones share a connection.
#[derive(Clone)]
pub(crate) struct Operator(Client);

impl Operator {
    pub(crate) async fn of(host: &HostFile) -> anyhow::Result<Self> {
        let config = ClientConfig::of_host(host).context("a development host has certificates")?;
        Ok(Self(Client::connect(config).await?))
    }

    pub(crate) fn client(&self) -> &Client {
        &self.0
    }

    /// Changes shards; `None` where that is refused.
    pub(crate) async fn change(&self, change: ShardChange) -> anyhow::Result<Option<Value>> {
        loop {
            match self.0.change_shards(ChangeShards { change: change.clone(), reason: None }).await {
                Ok(report) => return Ok(Some(to_json(&Structured::Map(report.facts)))),
                Err(Error::Refused(error)) if error.code.retryable() => tokio::time::sleep(LOOK).await,
                Err(Error::Refused(error)) if error.code == Code::ShardRefused => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }

    pub(crate) async fn told(&self, read: ReadShards) -> anyhow::Result<Value> {
        Ok(to_json(&Structured::Map(self.0.shards(read).await?.facts)))
    }

    /// What moves, and so many that have moved, newest first.
    pub(crate) async fn migrations(&self, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut told = self.told(ReadShards::Migrations { limit }).await?;
        match told["migrations"].take() {
            Value::Array(all) => Ok(all),
            other => bail!("migrations are told as {other}"),
        }
    }

    /// The work of the busiest of so many owners to the mean, of what was counted since the last look, given to those
    /// who own the shards now; and how many shards there are.
    pub(crate) async fn max_over_mean(&self, count: &ByShard, owners: u32) -> anyhow::Result<(f64, usize)> {
        let (work, map) = (count.take(), self.0.shard_map().await?);
        let mut by_owner: BTreeMap<u32, f64> = (0..owners).map(|owner| (owner, 0.0)).collect();
        for range in &map.shards {
            *by_owner.entry(range.owner).or_default() += work.get(&range.shard).copied().unwrap_or_default();
        }
        let mean = by_owner.values().sum::<f64>() / f64::from(owners);
        Ok((by_owner.values().copied().fold(0.0, f64::max) / mean.max(1e-9), map.shards.len()))
    }

    /// Begins a migration and waits for its end; tells of it then. `None` where it is refused.
    pub(crate) async fn migrate(&self, change: ShardChange) -> anyhow::Result<Option<Value>> {
        let Some(begun) = self.change(change).await? else { return Ok(None) };
        if begun["state"] == "done" {
            return Ok(Some(begun));
        }
        let deadline = Instant::now() + MIGRATION_PATIENCE;
        loop {
            let all = self.migrations(8).await?;
            let it = all.into_iter().find(|it| it["migration"] == begun["migration"]).context("a migration is lost")?;
            match it["state"].as_str() {
                Some("done") => return Ok(Some(it)),
                Some("running") if Instant::now() < deadline => tokio::time::sleep(LOOK).await,
                _ => bail!("a migration does not end: {it}"),
            }
        }
    }
}
