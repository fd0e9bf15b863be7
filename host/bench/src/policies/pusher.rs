//! Somebody who changes policies while others are measured.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use ostrakon_client::value::Value;
use ostrakon_client::{
    ChangePolicy, Client, ClientConfig, ComponentDigest, HostFile, PolicyChange, PolicyKind, ReadPolicies, Slot, Stage,
    json,
};

/// How long one change may take.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Pusher(Client);

/// What a push came to.
pub(crate) struct Pushed {
    pub(crate) generation: u64,
    /// From the request to its answer: read, loaded, written down, published.
    pub(crate) took: Duration,
}

/// The default slot of a kind.
pub(crate) fn slot(kind: PolicyKind) -> Slot {
    Slot { kind, client: None, data_type: None }
}

impl Pusher {
    pub(crate) async fn to(host: &HostFile) -> anyhow::Result<Self> {
        let config = ClientConfig::of_host(host).context("a development host has certificates")?;
        Ok(Self(Client::connect(ClientConfig { deadline: PATIENCE, ..config }).await?))
    }

    pub(crate) async fn upload(&self, component: &[u8]) -> anyhow::Result<ComponentDigest> {
        Ok(self.0.upload_component(&Bytes::copy_from_slice(component), |_| {}).await?)
    }

    pub(crate) async fn change(&self, slot: &Slot, change: PolicyChange) -> anyhow::Result<serde_json::Value> {
        let report = self.0.change_policy(ChangePolicy { slot: slot.clone(), change }).await?;
        Ok(json::to_json(&Value::Map(report.facts)))
    }

    pub(crate) async fn push(
        &self,
        slot: &Slot,
        digest: ComponentDigest,
        settings: &str,
        stage: Stage,
    ) -> anyhow::Result<Pushed> {
        let settings = Some(settings.to_owned());
        let began = Instant::now();
        let push = PolicyChange::Push { digest: Some(digest), settings, stage, slow_us: None };
        let stands = self.change(slot, push).await?;
        let of = if stage == Stage::Serve { &stands } else { &stands["candidate"] };
        let generation = of["generation"].as_u64().with_context(|| format!("no generation: {stands}"))?;
        Ok(Pushed { generation, took: began.elapsed() })
    }

    /// The event of a generation that was given up, once there is one.
    pub(crate) async fn given_up(&self, slot: &Slot, generation: u64) -> anyhow::Result<serde_json::Value> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let read = ReadPolicies::History { slot: Some(slot.clone()), limit: 20 };
            let told = json::to_json(&Value::Map(self.0.policies(read).await?.facts));
            let events = told["events"].as_array().cloned().unwrap_or_default();
            let is_it = |event: &serde_json::Value| event["event"] == "given-up" && event["generation"] == generation;
            if let Some(event) = events.into_iter().find(is_it) {
                return Ok(event);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        bail!("generation {generation} of {slot} is never given up")
    }

    pub(crate) async fn diff(&self, slot: &Slot) -> anyhow::Result<serde_json::Value> {
        let report = self.0.policies(ReadPolicies::Diff(slot.clone())).await?;
        Ok(json::to_json(&Value::Map(report.facts)))
    }
}

/// The same component under another digest: behind it stands a section that nobody reads.
pub(crate) fn another(component: &[u8], number: u64) -> Vec<u8> {
    const NAME: &[u8] = b"unread";
    const CUSTOM: u8 = 0;
    let mut other = component.to_vec();
    let content = [&[NAME.len() as u8], NAME, &number.to_le_bytes()].concat();
    other.extend([CUSTOM, content.len() as u8]);
    other.extend(content);
    other
}
