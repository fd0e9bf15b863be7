//! The contract's records and enumerations as the component model passes them.
//!
//! Field and case names are the contract's: the runtime compares them with the component's when a function is looked up.

use ostrakon_core::policy::{self, Forecast, Placement};
use ostrakon_wire::{ActionKind, OnConflict};
use wasmtime::component::{ComponentType, Lift, Lower};

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) version: String,
    #[component(name = "needs-state")]
    pub(crate) needs_state: bool,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Invalid {
    pub(crate) path: String,
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Heat {
    #[component(name = "client-ppm")]
    client_ppm: u32,
    #[component(name = "type-ppm")]
    type_ppm: u32,
    #[component(name = "window-ppm")]
    window_ppm: u32,
    #[component(name = "write-ppm")]
    write_ppm: u32,
    callers: u32,
    #[component(name = "idle-ms")]
    idle_ms: u64,
    shards: u32,
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub(crate) struct PlacementRecord {
    key: u64,
    bits: u8,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Kind {
    #[component(name = "put")]
    Put,
    #[component(name = "merge")]
    Merge,
    #[component(name = "add")]
    Add,
    #[component(name = "delete")]
    Delete,
    #[component(name = "custom")]
    Custom,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum Choice {
    #[component(name = "reject")]
    Reject,
    #[component(name = "reconcile")]
    Reconcile,
    #[component(name = "detach")]
    Detach,
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
#[expect(dead_code, reason = "the runtime makes the cases from their numbers")]
pub(crate) enum Route {
    #[component(name = "write")]
    Write,
    #[component(name = "reconcile")]
    Reconcile,
}

#[derive(Debug, Clone, Copy, ComponentType, Lift)]
#[component(record)]
pub(crate) struct ForecastRecord {
    version: u64,
    #[component(name = "confidence-ppm")]
    confidence_ppm: u32,
    route: Route,
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Brief<'a> {
    client: &'a str,
    #[component(name = "data-type")]
    data_type: &'a str,
    name: &'a str,
    kind: Kind,
    #[component(name = "custom-kind")]
    custom_kind: &'a str,
    known: u64,
    #[component(name = "base-kept")]
    base_kept: bool,
    latest: u64,
    exists: bool,
    attempt: u32,
    #[component(name = "now-ms")]
    now_ms: u64,
    #[component(name = "shard-key")]
    shard_key: u64,
    #[component(name = "latest-bytes")]
    latest_bytes: u32,
}

#[derive(Debug, ComponentType, Lift)]
#[component(record)]
pub(crate) struct Change {
    body: Vec<u8>,
    reply: Vec<u8>,
}

#[derive(Debug, ComponentType, Lift)]
#[component(variant)]
pub(crate) enum Verdict {
    #[component(name = "rerun")]
    Rerun,
    #[component(name = "need-payloads")]
    NeedPayloads,
    #[component(name = "patch")]
    Patch(Change),
    #[component(name = "replace")]
    Replace(Change),
    #[component(name = "remove")]
    Remove(Vec<u8>),
    #[component(name = "already-applied")]
    AlreadyApplied(Vec<u8>),
    #[component(name = "reject")]
    Reject(String),
    #[component(name = "retry-after-ms")]
    RetryAfterMs(u32),
    #[component(name = "escalate")]
    Escalate(String),
}

#[derive(Debug, Clone, Copy, ComponentType, Lower)]
#[component(record)]
pub(crate) struct Outcome {
    scope: u64,
    predicted: u64,
    met: u64,
    #[component(name = "age-us")]
    age_us: u64,
    aborted: bool,
}

impl From<policy::Outcome> for Outcome {
    fn from(outcome: policy::Outcome) -> Self {
        let policy::Outcome { scope, predicted, met, age_us, aborted } = outcome;
        Self { scope, predicted, met, age_us, aborted }
    }
}

impl From<policy::Heat> for Heat {
    fn from(heat: policy::Heat) -> Self {
        let policy::Heat { client_ppm, type_ppm, window_ppm, write_ppm, callers, idle_ms, shards } = heat;
        Self { client_ppm, type_ppm, window_ppm, write_ppm, callers, idle_ms, shards }
    }
}

impl From<PlacementRecord> for Placement {
    fn from(record: PlacementRecord) -> Self {
        Self { key: record.key, bits: record.bits }
    }
}

impl From<ActionKind> for Kind {
    fn from(kind: ActionKind) -> Self {
        match kind {
            ActionKind::Put => Self::Put,
            ActionKind::Merge => Self::Merge,
            ActionKind::Add => Self::Add,
            ActionKind::Delete => Self::Delete,
            ActionKind::Custom => Self::Custom,
        }
    }
}

impl From<OnConflict> for Choice {
    fn from(choice: OnConflict) -> Self {
        match choice {
            OnConflict::Reject => Self::Reject,
            OnConflict::Reconcile => Self::Reconcile,
            OnConflict::Detach => Self::Detach,
        }
    }
}

impl From<ForecastRecord> for Forecast {
    fn from(record: ForecastRecord) -> Self {
        let route = match record.route {
            Route::Write => policy::Route::Write,
            Route::Reconcile => policy::Route::Reconcile,
        };
        Self { version: record.version, confidence_ppm: record.confidence_ppm, route }
    }
}

impl<'a> From<&policy::Brief<&'a str>> for Brief<'a> {
    fn from(brief: &policy::Brief<&'a str>) -> Self {
        Self {
            client: brief.client,
            data_type: brief.data_type,
            name: brief.name,
            kind: brief.kind.into(),
            custom_kind: brief.custom_kind,
            known: brief.known,
            base_kept: brief.base_kept,
            latest: brief.latest,
            exists: brief.exists,
            attempt: brief.attempt,
            now_ms: brief.now_ms,
            shard_key: brief.shard_key,
            latest_bytes: brief.latest_bytes,
        }
    }
}

impl From<Change> for policy::Change {
    fn from(change: Change) -> Self {
        Self { body: change.body, reply: change.reply }
    }
}

impl From<Verdict> for policy::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Rerun => Self::Rerun,
            Verdict::NeedPayloads => Self::NeedPayloads,
            Verdict::Patch(change) => Self::Patch(change.into()),
            Verdict::Replace(change) => Self::Replace(change.into()),
            Verdict::Remove(reply) => Self::Remove(reply),
            Verdict::AlreadyApplied(reply) => Self::AlreadyApplied(reply),
            Verdict::Reject(words) => Self::Reject(words),
            Verdict::RetryAfterMs(ms) => Self::RetryAfterMs(ms),
            Verdict::Escalate(words) => Self::Escalate(words),
        }
    }
}
