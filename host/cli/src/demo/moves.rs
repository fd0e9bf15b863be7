//! Shards under change: the fullest one is split and joined again while clients transfer between objects.

use std::time::{Duration, Instant};

use ostrakon_client::json::to_json;
use ostrakon_client::value::Value as Structured;
use ostrakon_client::{ChangeShards, Client, Error, ReadShards, ShardChange, ShardId};
use serde_json::{Value, json};

/// How long a migration may take.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);

/// What was moved.
pub(super) struct Moves {
    objects: u64,
    migrations: usize,
    step_us_max: u64,
}

impl Moves {
    pub(super) async fn play(client: &Client) -> Result<Self, Error> {
        let told = to_json(&Structured::Map(client.shards(ReadShards::Shards).await?.facts));
        let shards = told["shards"].as_array().into_iter().flatten();
        let fullest = shards.max_by_key(|shard| shard["rows"].as_u64());
        let shard = fullest.and_then(|shard| shard["shard"].as_u64()).unwrap_or_default();
        let shard = ShardId::new(u32::try_from(shard).unwrap_or_default());
        let mut moves = Self { objects: 0, migrations: 0, step_us_max: 0 };
        for change in [ShardChange::Split { shard, at: None }, ShardChange::Merge(shard)] {
            let change = ChangeShards { change, reason: Some("to show it".to_owned()) };
            match client.change_shards(change).await {
                Ok(begun) => moves.ended(client, &to_json(&Structured::Map(begun.facts))["migration"]).await?,
                // A shard that holds too little is not cut.
                Err(Error::Refused(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(moves)
    }

    async fn ended(&mut self, client: &Client, number: &Value) -> Result<(), Error> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let told = client.shards(ReadShards::Migrations { limit: 8 }).await?;
            let told = to_json(&Structured::Map(told.facts));
            let it = told["migrations"].as_array().into_iter().flatten().find(|it| it["migration"] == *number);
            if let Some(it) = it.filter(|it| it["state"] == "done") {
                self.objects += it["objects"].as_u64().unwrap_or_default();
                self.migrations += 1;
                self.step_us_max = self.step_us_max.max(it["step-us-max"].as_u64().unwrap_or_default());
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    pub(super) fn line(&self) -> String {
        format!(
            "meanwhile the fullest shard was split and joined again: {} objects moved, no commit waited longer than {:.1} ms for it",
            self.objects,
            self.step_us_max as f64 / 1_000.0
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({ "objects": self.objects, "migrations": self.migrations, "step_us_max": self.step_us_max })
    }
}
