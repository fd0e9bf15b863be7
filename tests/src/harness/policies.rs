//! Policies of a host that serves, changed over the wire as operators do.

use std::time::Duration;

use bytes::Bytes;
use ostrakon_client::value::{Map, Value};
use ostrakon_client::{
    ChangePolicy, Client, ClientConfig, Error, PolicyChange, PolicyKind, ReadPolicies, Slot, Stage, json,
};

use super::Host;

/// The default slot of a kind.
pub(crate) fn slot(kind: PolicyKind) -> Slot {
    Slot { kind, client: None, data_type: None }
}

/// An override.
pub(crate) fn slot_of(kind: PolicyKind, client: Option<&str>, data_type: Option<&str>) -> Slot {
    Slot { kind, client: client.map(str::to_owned), data_type: data_type.map(str::to_owned) }
}

pub(crate) fn facts_json(facts: Map) -> serde_json::Value {
    json::to_json(&Value::Map(facts))
}

/// Somebody who changes policies, and waits as long as that may take.
pub(crate) struct Pushes(pub(crate) Client);

impl Pushes {
    pub(crate) async fn to(host: &Host) -> Self {
        let config = ClientConfig { deadline: Duration::from_secs(60), ..host.config() };
        Self(Client::connect(config).await.unwrap())
    }

    pub(crate) async fn change(&self, slot: &Slot, change: PolicyChange) -> Result<serde_json::Value, Error> {
        let change = ChangePolicy { slot: slot.clone(), change };
        Ok(facts_json(self.0.change_policy(change).await?.facts))
    }

    /// Sends a component and puts it in; what stands in the slot then.
    pub(crate) async fn try_push(
        &self,
        slot: &Slot,
        component: &[u8],
        settings: Option<&str>,
        stage: Stage,
    ) -> Result<serde_json::Value, Error> {
        let digest = self.0.upload_component(&Bytes::copy_from_slice(component), |_| {}).await?;
        let settings = settings.map(str::to_owned);
        self.change(slot, PolicyChange::Push { digest: Some(digest), settings, stage, slow_us: None }).await
    }

    /// The same; its generation.
    pub(crate) async fn push(&self, slot: &Slot, component: &[u8], stage: Stage) -> u64 {
        let stands = self.try_push(slot, component, None, stage).await.unwrap();
        let of = if stage == Stage::Serve { &stands } else { &stands["candidate"] };
        of["generation"].as_u64().unwrap_or_else(|| panic!("{stands}"))
    }

    pub(crate) async fn read(&self, read: ReadPolicies) -> serde_json::Value {
        facts_json(self.0.policies(read).await.unwrap().facts)
    }

    pub(crate) async fn show(&self, slot: &Slot) -> serde_json::Value {
        self.read(ReadPolicies::Show(slot.clone())).await
    }

    pub(crate) async fn diff(&self, slot: &Slot) -> serde_json::Value {
        self.read(ReadPolicies::Diff(slot.clone())).await
    }

    /// The events of a slot, newest first.
    pub(crate) async fn events(&self, slot: &Slot) -> Vec<serde_json::Value> {
        let told = self.read(ReadPolicies::History { slot: Some(slot.clone()), limit: 200 }).await;
        told["events"].as_array().unwrap().clone()
    }
}
