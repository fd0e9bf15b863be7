//! What a request that is traced tells of itself: a span for the whole of it, and one for each of its steps.
//!
//! Whether a request is traced is decided once, before it comes here. One that is not has no span, makes none, and pays
//! for none. Spans tell neither names of objects nor payloads. OPERATIONS.md lists them all.

use std::time::Instant;

use ostrakon_core::policy::{Decision, Forecast, Route};
use ostrakon_wire::answer::Generations;
use ostrakon_wire::{Code, Generation, Operation, Reply, WireError};
use tracing::field::Empty;
use tracing::{Span, info_span};

use crate::counters::name_of;
use crate::owner::Written;
use crate::reconciled::Reconciled;

/// The target of these spans alone: who exports them knows them by it, and no log shows them.
pub const TRACE: &str = "ostrakon::trace";

/// The span of a request, where it is traced.
#[derive(Debug, Clone)]
pub struct Trace(Span);

impl Default for Trace {
    fn default() -> Self {
        Self(Span::none())
    }
}

impl Trace {
    /// Begins to trace a request. Its parent is for the caller to set, before it is handed on.
    pub fn begin(operation: &Operation) -> Self {
        let object = object_of(operation);
        Self(info_span!(
            target: TRACE,
            parent: None,
            "request",
            otel.name = name_of(operation),
            otel.kind = "server",
            otel.status_code = Empty,
            error.type = Empty,
            ostrakon.client = object.map(|(client, _)| client),
            ostrakon.data_type = object.and_then(|(_, data_type)| data_type),
            ostrakon.shard = Empty,
            ostrakon.epoch = Empty,
            ostrakon.revision = Empty,
            ostrakon.generation.shard_key = Empty,
            ostrakon.generation.prediction = Empty,
            ostrakon.generation.reconciliation = Empty,
            ostrakon.route = Empty,
        ))
    }

    /// The span of the whole request.
    pub fn span(&self) -> &Span {
        &self.0
    }

    pub(crate) fn is_on(&self) -> bool {
        !self.0.is_disabled()
    }

    /// A step, where the request is traced.
    fn step(&self, begin: impl FnOnce(&Span) -> Span) -> Span {
        if self.is_on() { begin(&self.0) } else { Span::none() }
    }

    /// The object's shard key is looked for, or a policy asked for one.
    pub(crate) fn locate(&self) -> Span {
        self.step(|parent| info_span!(target: TRACE, parent: parent, "locate", ostrakon.shard_key_from = Empty))
    }

    pub(crate) fn predict(&self) -> Span {
        self.step(|parent| {
            info_span!(
                target: TRACE,
                parent: parent,
                "predict",
                ostrakon.forecast.version = Empty,
                ostrakon.forecast.confidence_ppm = Empty,
                ostrakon.forecast.route = Empty,
                ostrakon.generation.prediction = Empty,
                error.type = Empty,
            )
        })
    }

    pub(crate) fn write(&self) -> Span {
        self.step(|parent| {
            info_span!(
                target: TRACE,
                parent: parent,
                "write",
                ostrakon.version = Empty,
                ostrakon.queue_us = Empty,
                ostrakon.commit_us = Empty,
                error.type = Empty,
            )
        })
    }

    pub(crate) fn reconcile(&self) -> Span {
        self.step(|parent| {
            info_span!(
                target: TRACE,
                parent: parent,
                "reconcile",
                ostrakon.verdict = Empty,
                ostrakon.tries = Empty,
                ostrakon.version = Empty,
                error.type = Empty,
            )
        })
    }

    /// Which way the request went in the end.
    pub(crate) fn went(&self, route: Route) {
        self.0.record("ostrakon.route", route.name());
    }

    /// What is answered, and by whom it was decided.
    pub(crate) fn answered(&self, outcome: &Result<Reply, WireError>) {
        if !self.is_on() {
            return;
        }
        let span = &self.0;
        let decided = match outcome {
            Ok(reply) => Some(reply.decided()),
            Err(error) => {
                span.record("error.type", error.code.name());
                if is_of_the_host(error.code) {
                    span.record("otel.status_code", "error");
                }
                error.decided.as_ref()
            }
        };
        let Some(decided) = decided else { return };
        let revision = match outcome {
            Ok(Reply::Committed(made)) => made.revision,
            _ => decided.position.revision,
        };
        span.record("ostrakon.epoch", decided.epoch.get() as i64);
        span.record("ostrakon.revision", revision.get() as i64);
        if let Some(shard) = decided.shard {
            span.record("ostrakon.shard", i64::from(shard.get()));
        }
        let Generations { shard_key, prediction, reconciliation } = decided.generations;
        let had_a_say = [
            ("ostrakon.generation.shard_key", shard_key),
            ("ostrakon.generation.prediction", prediction),
            ("ostrakon.generation.reconciliation", reconciliation),
        ];
        for (field, generation) in had_a_say {
            if let Some(generation) = generation {
                span.record(field, number(generation));
            }
        }
    }
}

/// Where the shard key is from: recorded with the object, or none is.
pub(crate) fn looked(locate: &Span, recorded: bool) {
    locate.record("ostrakon.shard_key_from", if recorded { "recorded" } else { "none" });
}

/// The policy was asked for the shard key.
pub(crate) fn asked(locate: &Span) {
    locate.record("ostrakon.shard_key_from", "policy");
}

pub(crate) fn foretold(predict: &Span, decision: &Decision<Forecast>) {
    if predict.is_disabled() {
        return;
    }
    predict.record("ostrakon.generation.prediction", number(decision.generation));
    match &decision.result {
        Ok(forecast) => {
            predict.record("ostrakon.forecast.version", forecast.version as i64);
            predict.record("ostrakon.forecast.confidence_ppm", i64::from(forecast.confidence_ppm));
            predict.record("ostrakon.forecast.route", forecast.route.name());
        }
        Err(_) => drop(predict.record("error.type", Code::PolicyFailed.name())),
    }
}

/// A write is durable: `began` when it was brought to its owner, `now` when it is answered.
pub(crate) fn wrote(write: &Span, written: &Written, began: Instant, now: Instant) {
    let taken = written.durable.taken;
    write.record("ostrakon.version", written.version.get() as i64);
    write.record("ostrakon.queue_us", taken.saturating_duration_since(began).as_micros() as i64);
    write.record("ostrakon.commit_us", now.saturating_duration_since(taken).as_micros() as i64);
}

/// A step came to nothing.
pub(crate) fn failed(step: &Span, code: Code) {
    step.record("error.type", code.name());
}

pub(crate) fn reconciled(reconcile: &Span, reconciled: &Reconciled) {
    if reconcile.is_disabled() {
        return;
    }
    let verdict = match &reconciled.reply {
        Ok(Reply::Committed(made)) => {
            reconcile.record("ostrakon.tries", i64::from(made.tries));
            reconcile.record("ostrakon.version", made.version.get() as i64);
            if reconciled.wrote { "made" } else { "already-applied" }
        }
        Ok(_) => "detached",
        Err(error) => {
            reconcile.record("ostrakon.tries", i64::from(reconciled.verdicts));
            reconcile.record("error.type", error.code.name());
            match error.code {
                Code::Rejected => "rejected",
                Code::Escalated => "escalated",
                _ => "none",
            }
        }
    };
    reconcile.record("ostrakon.verdict", verdict);
}

/// The client and the type that a request is about, where it is about one.
fn object_of(operation: &Operation) -> Option<(&str, Option<&str>)> {
    let target = match operation {
        Operation::GetShardKey(target) | Operation::ReadVersion(target) | Operation::Read(target) => target,
        Operation::ConditionalWrite(write) => &write.target,
        Operation::Perform(perform) | Operation::Reconcile(perform) => &perform.target,
        Operation::Transact(transact) => return Some((transact.actions.first()?.target.object.client(), None)),
        Operation::List(list) => return Some((&list.client, list.data_type.as_deref())),
        Operation::AskTicket(ask) => return Some((&ask.client, None)),
        _ => return None,
    };
    Some((target.object.client(), Some(target.object.data_type())))
}

/// Whether the error is the host's own, and not what the request met.
fn is_of_the_host(code: Code) -> bool {
    matches!(code, Code::PolicyFailed | Code::StoreFailed | Code::ShardUnavailable | Code::Overloaded)
}

fn number(generation: Generation) -> i64 {
    generation.get() as i64
}
