//! Policies under change: a candidate that is asked beside the requests, and swaps while clients wait for verdicts.

use std::time::Duration;

use ostrakon_client::json::to_json;
use ostrakon_client::value::Value as Structured;
use ostrakon_client::{ChangePolicy, Client, Error, PolicyChange, PolicyKind, ReadPolicies, Slot, Stage};
use ostrakon_wire::bounds::SHARE_PPM_MAX;
use serde_json::{Value, json};

/// Places by type before anything else, where the shipped policy places by client.
const CANDIDATE: &str = r#"{"client-bits":0,"type-bits":24,"window-bits":12}"#;
const SWAPS: u32 = 10;

/// What came of it.
pub(super) struct Candidates {
    diff: Value,
    swaps: u32,
}

fn slot(kind: PolicyKind) -> Slot {
    Slot { kind, client: None, data_type: None }
}

async fn push(client: &Client, kind: PolicyKind, settings: &str, stage: Stage) -> Result<(), Error> {
    let settings = Some(settings.to_owned());
    let change = PolicyChange::Push { digest: None, settings, stage, slow_us: None };
    client.change_policy(ChangePolicy { slot: slot(kind), change }).await.map(drop)
}

/// Has a shard-key candidate asked beside everything that follows.
pub(super) async fn shadow(client: &Client) -> Result<(), Error> {
    push(client, PolicyKind::ShardKey, CANDIDATE, Stage::Shadow(SHARE_PPM_MAX)).await
}

/// Puts other settings for reconciliation in, again and again.
pub(super) async fn swap(client: &Client) -> Result<u32, Error> {
    for swap in 0..SWAPS {
        let settings = json!({ "max-attempts": 5 + swap % 2 }).to_string();
        push(client, PolicyKind::Reconciliation, &settings, Stage::Serve).await?;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    Ok(SWAPS)
}

impl Candidates {
    /// Ends the comparison.
    pub(super) async fn end(client: &Client, swaps: u32) -> Result<Self, Error> {
        let diff = client.policies(ReadPolicies::Diff(slot(PolicyKind::ShardKey))).await?;
        let end = ChangePolicy { slot: slot(PolicyKind::ShardKey), change: PolicyChange::RollBack };
        client.change_policy(end).await?;
        Ok(Self { diff: to_json(&Structured::Map(diff.facts)), swaps })
    }

    pub(super) fn line(&self) -> String {
        let share = |of: &str| self.diff[of]["elsewhere-ppm"].as_f64().unwrap_or(0.0) / 10_000.0;
        format!(
            "a candidate for shard keys was asked beside {} decisions: {:.0}% of the objects and {:.0}% of their uses would \
             live on another shard (nothing was moved)\nreconciliation was swapped {} times meanwhile, and no request failed",
            self.diff["compared"],
            share("objects"),
            share("traffic"),
            self.swaps
        )
    }

    pub(super) fn json(&self) -> Value {
        let of = |name: &str| self.diff[name].clone();
        json!({
            "compared": of("compared"), "differ": of("differ"), "objects": of("objects"), "traffic": of("traffic"),
            "swaps": self.swaps,
        })
    }
}
