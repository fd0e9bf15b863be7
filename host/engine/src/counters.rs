//! What the engine counts, for `info`.

use std::sync::atomic::{AtomicU64, Ordering};

use ostrakon_core::policy::{Forecast, Route};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{Code, Operation, Version};

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn add_many(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    fn value(&self) -> Value {
        Value::Integer(self.0.load(Ordering::Relaxed) as i64)
    }
}

/// Of a watch, which is counted when it is taken up.
const WATCH: usize = 19;
const OPERATIONS: [&str; 24] = [
    "get-shard-key",
    "read-version",
    "read",
    "list",
    "perform-conditional-write",
    "perform-control-plane-action",
    "reconcile-control-plane-action",
    "shard-map",
    "info",
    "ask-ticket",
    "list-escalations",
    "read-escalation",
    "settle-escalation",
    "transact",
    "read-history",
    "read-past",
    "retention",
    "set-retention",
    "watch",
    "upload-component",
    "change-policy",
    "read-policies",
    "change-shards",
    "read-shards",
];

/// What a request is called.
pub(crate) fn name_of(operation: &Operation) -> &'static str {
    OPERATIONS[operation.number() as usize - 1]
}

/// The counters of one engine, since it started.
#[derive(Default)]
pub(crate) struct Counters {
    requests: [Counter; OPERATIONS.len()],
    refusals: Refusals,
    /// Changes that became durable, objects that were created among them.
    pub(crate) committed: Counter,
    /// Writes that were brought to an owner, whatever became of them.
    pub(crate) tried: Counter,
    pub(crate) created: Counter,
    pub(crate) repeated: Counter,
    /// Forecasts: the version was met, or was not.
    right: Counter,
    wrong: Counter,
    /// Forecasts of a conflict: the owner confirmed it, or the write went ahead after all.
    aborts_confirmed: Counter,
    aborts_refuted: Counter,
    /// Calls of a policy without a usable answer.
    pub(crate) shard_key_faults: Counter,
    pub(crate) prediction_faults: Counter,
    /// Batches that the prediction policy has learned from.
    pub(crate) lessons: Counter,
    pub(crate) reconciliation_faults: Counter,
    /// Cases that were asked of the reconciliation policy, every try counted.
    pub(crate) verdicts: Counter,
    /// What reconciliation came to.
    pub(crate) reconciled: Counter,
    pub(crate) applied: Counter,
    pub(crate) rejected: Counter,
    pub(crate) escalated: Counter,
}

/// A counter a code.
struct Refusals([Counter; Code::ALL.len()]);

impl Default for Refusals {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Counter::default()))
    }
}

impl Counters {
    pub(crate) fn count(&self, operation: &Operation) {
        self.requests[operation.number() as usize - 1].add();
    }

    /// A watch was taken up.
    pub(crate) fn count_watch(&self) {
        self.requests[WATCH - 1].add();
    }

    pub(crate) fn refused(&self, code: Code) {
        self.refusals.0[usize::from(code.number()) - 1].add();
    }

    /// Judges a forecast by the version that its write met.
    pub(crate) fn judge(&self, forecast: Forecast, met: Version, conflict: bool) {
        if forecast.version == met.get() {
            self.right.add()
        } else {
            self.wrong.add()
        }
        if forecast.route == Route::Reconcile {
            if conflict { self.aborts_confirmed.add() } else { self.aborts_refuted.add() }
        }
    }

    pub(crate) fn requests(&self) -> Map {
        OPERATIONS.iter().zip(&self.requests).map(|(name, count)| ((*name).to_owned(), count.value())).collect()
    }

    pub(crate) fn refusals(&self) -> Map {
        let counted =
            Code::ALL.iter().zip(&self.refusals.0).map(|(code, count)| (code.name().to_owned(), count.value()));
        counted.filter(|(_, count)| *count != Value::Integer(0)).collect()
    }

    pub(crate) fn changes(&self) -> Map {
        Map::from([
            ("committed".into(), self.committed.value()),
            ("created".into(), self.created.value()),
            ("tried".into(), self.tried.value()),
            ("repeated".into(), self.repeated.value()),
        ])
    }

    pub(crate) fn predictions(&self) -> Map {
        Map::from([
            ("right".into(), self.right.value()),
            ("wrong".into(), self.wrong.value()),
            ("aborts-confirmed".into(), self.aborts_confirmed.value()),
            ("aborts-refuted".into(), self.aborts_refuted.value()),
            ("faults".into(), self.prediction_faults.value()),
            ("lessons".into(), self.lessons.value()),
        ])
    }

    pub(crate) fn reconciliation(&self) -> Map {
        Map::from([
            ("verdicts".into(), self.verdicts.value()),
            ("faults".into(), self.reconciliation_faults.value()),
            ("reconciled".into(), self.reconciled.value()),
            ("already-applied".into(), self.applied.value()),
            ("rejected".into(), self.rejected.value()),
            ("escalated".into(), self.escalated.value()),
        ])
    }

    pub(crate) fn shard_key_faults(&self) -> Value {
        self.shard_key_faults.value()
    }
}
