//! The policies as a front end uses them, and requests about policies.

use std::sync::Arc;

use ostrakon_core::keys;
use ostrakon_core::policy::{Heat, Placing, PolicyFault, PredictionPolicy, ReconciliationPolicy, ShardKeyPolicy};
use ostrakon_wire::answer::{PolicyReport, Uploaded};
use ostrakon_wire::bounds::POLICY_REQUESTS_MAX;
use ostrakon_wire::value::Map;
use ostrakon_wire::{
    ChangePolicy, Code, Generation, Generations, ObjectId, ReadPolicies, ShardKey, TimestampMs, UploadComponent,
    WireError,
};
use tokio::sync::Semaphore;

use crate::answers::overloaded;
use crate::counters::Counters;
use crate::{Context, Engine};

/// The policies that decide, and who keeps them.
pub struct Policies {
    /// Where a new object should live.
    pub shard_key: Arc<dyn ShardKeyPolicy>,
    /// Which version a conditional write will meet.
    pub prediction: Arc<dyn PredictionPolicy>,
    /// What becomes of an action that lost a race.
    pub reconciliation: Arc<dyn ReconciliationPolicy>,
    /// Who keeps them.
    pub keeper: Arc<dyn PolicyKeeper>,
}

/// Who keeps policies: takes components, changes what decides where, and tells of it. Calls take their time; none is part
/// of another request.
pub trait PolicyKeeper: Send + Sync {
    /// Takes a part of a component; answers how much of it is here.
    fn upload(&self, upload: &UploadComponent) -> Result<u64, WireError>;

    /// Changes a slot, on behalf of somebody; answers what stands there.
    fn change(&self, change: &ChangePolicy, by: Option<&str>) -> Result<Map, WireError>;

    /// Tells of policies.
    fn read(&self, read: &ReadPolicies) -> Result<Map, WireError>;

    /// What `info` shows under `policies`.
    fn facts(&self) -> Map;
}

/// Nobody: the policies stay what they are.
pub struct Unkept;

impl PolicyKeeper for Unkept {
    fn upload(&self, _upload: &UploadComponent) -> Result<u64, WireError> {
        Err(WireError::new(Code::Unsupported, "this host's policies stay what they are"))
    }

    fn change(&self, _change: &ChangePolicy, _by: Option<&str>) -> Result<Map, WireError> {
        Err(WireError::new(Code::Unsupported, "this host's policies stay what they are"))
    }

    fn read(&self, _read: &ReadPolicies) -> Result<Map, WireError> {
        Err(WireError::new(Code::Unsupported, "this host's policies stay what they are"))
    }

    fn facts(&self) -> Map {
        Map::new()
    }
}

/// Asks the policy where a new object should live.
pub(crate) fn place(
    policies: &Policies,
    counters: &Counters,
    object: &ObjectId,
    timestamp: TimestampMs,
    heat: Heat,
    generations: &mut Generations,
) -> Result<ShardKey, WireError> {
    let (generation, key) = ask(policies, counters, &placing(object, timestamp, 0, heat));
    generations.shard_key = Some(generation);
    key.map_err(|fault| WireError::new(Code::PolicyFailed, format!("the shard-key policy failed: {fault}")))
}

/// Asks the policy, and counts its faults.
pub(crate) fn ask(
    policies: &Policies,
    counters: &Counters,
    placing: &Placing<&str>,
) -> (Generation, Result<ShardKey, PolicyFault>) {
    let decision = policies.shard_key.place(placing);
    let key = decision.result.map(|placement| keys::fill(placement, placing.name));
    if key.is_err() {
        counters.shard_key_faults.add();
    }
    (decision.generation, key)
}

pub(crate) fn placing(object: &ObjectId, timestamp: TimestampMs, current: u64, heat: Heat) -> Placing<&str> {
    Placing {
        client: object.client(),
        data_type: object.data_type(),
        name: object.name(),
        timestamp_ms: timestamp.get(),
        current,
        heat,
    }
}

/// How many requests about policies are in work.
pub(crate) struct InWork(Arc<Semaphore>);

impl Default for InWork {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(POLICY_REQUESTS_MAX)))
    }
}

impl Engine {
    /// Asks the policy where a new object should live.
    pub(crate) fn place(
        &self,
        object: &ObjectId,
        timestamp: TimestampMs,
        generations: &mut Generations,
    ) -> Result<ShardKey, WireError> {
        let heat = self.heated.for_policy(object, timestamp, &self.owner.map());
        place(&self.policies, &self.counters, object, timestamp, heat, generations)
    }

    /// An object that exists was used: shown where shard-key policies are compared.
    pub(crate) fn used(&self, object: &ObjectId, recorded: ShardKey) {
        if self.policies.shard_key.compares() {
            let now = self.owner.clock().now();
            let heat = self.heated.for_policy(object, now, &self.owner.map());
            self.policies.shard_key.used(&placing(object, now, recorded.get(), heat));
        }
    }

    pub(crate) async fn upload_component(&self, upload: &UploadComponent) -> Result<Uploaded, WireError> {
        let upload = upload.clone();
        let received = self.with_keeper(move |keeper| keeper.upload(&upload)).await?;
        let decided = self.decided(None, self.views.position(), Generations::default());
        Ok(Uploaded { received, decided })
    }

    pub(crate) async fn change_policy(
        &self,
        change: &ChangePolicy,
        context: Context,
    ) -> Result<PolicyReport, WireError> {
        let change = change.clone();
        let facts = self.with_keeper(move |keeper| keeper.change(&change, context.by.as_deref())).await?;
        Ok(self.report(facts))
    }

    pub(crate) async fn read_policies(&self, read: &ReadPolicies) -> Result<PolicyReport, WireError> {
        let read = read.clone();
        let facts = self.with_keeper(move |keeper| keeper.read(&read)).await?;
        Ok(self.report(facts))
    }

    fn report(&self, facts: Map) -> PolicyReport {
        PolicyReport { facts, decided: self.decided(None, self.views.position(), Generations::default()) }
    }

    /// Asks the keeper on a thread that serves nobody meanwhile.
    async fn with_keeper<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&dyn PolicyKeeper) -> Result<T, WireError> + Send + 'static,
    ) -> Result<T, WireError> {
        let place = Arc::clone(&self.in_work.0).try_acquire_owned();
        let place = place.map_err(|_| overloaded("too much is being done to policies"))?;
        let keeper = Arc::clone(&self.policies.keeper);
        let asked = tokio::task::spawn_blocking(move || {
            // Given back when the work is done, even if nobody waits for it any more.
            let _place = place;
            ask(&*keeper)
        });
        asked.await.unwrap_or_else(|_| Err(WireError::new(Code::PolicyFailed, "what was done to a policy panicked")))
    }
}
