//! Asks one policy, and keeps what that took and what went wrong.

use std::time::{Duration, Instant};

use ostrakon_core::policy::{Answer, PolicyFault, Question};
use ostrakon_policy::{Limits, Loaded, Solo};
use ostrakon_wire::PolicyKind;
use serde_json::json;

use super::Example;
use crate::codec;

/// After so many faults nothing more is asked: each may take a deadline's time, and they would all say the same.
const FAULTS_MAX: u32 = 10;

/// A policy that is asked.
pub(crate) struct Asker<'a> {
    loaded: &'a Loaded,
    solo: Option<Solo>,
    /// The deadline of a call without payloads.
    pub(super) deadline_ms: u64,
    /// How long each call took, in nanoseconds.
    pub(super) took_ns: Vec<u64>,
    /// Calls that ran into their deadline.
    pub(super) overruns: Failed,
    /// Calls without a usable answer.
    pub(super) faults: Failed,
}

/// Calls that failed in one way.
#[derive(Debug, Default)]
pub(super) struct Failed {
    pub(super) count: u32,
    pub(super) first: Option<Example>,
}

/// A call, as a fixture has it.
pub(super) fn call_of(question: &Question) -> serde_json::Value {
    json!({ "function": question.function(), "arguments": codec::arguments(question) })
}

impl<'a> Asker<'a> {
    pub(super) fn new(loaded: &'a Loaded, limits: &Limits, kind: PolicyKind) -> Self {
        let deadline_ms = match kind {
            PolicyKind::Reconciliation => limits.reconciliation_deadline_ms,
            _ => limits.hot_deadline_ms,
        };
        let (overruns, faults) = Default::default();
        Self { loaded, solo: None, deadline_ms, took_ns: Vec::new(), overruns, faults }
    }

    /// Asks the instance that is kept.
    pub(super) fn ask(&mut self, question: &Question) -> Result<Answer, PolicyFault> {
        let begun = Instant::now();
        let asked = self.solo().and_then(|solo| solo.ask(question));
        let took = begun.elapsed();
        self.note(question, asked, took)
    }

    /// Asks a fresh instance.
    pub(super) fn ask_fresh(&mut self, question: &Question) -> Result<Answer, PolicyFault> {
        let asked = self.solo().and_then(|solo| solo.ask_fresh(question));
        self.note(question, asked, Duration::ZERO)
    }

    fn solo(&mut self) -> Result<&mut Solo, PolicyFault> {
        let solo = match self.solo.take() {
            Some(solo) => solo,
            None => self.loaded.solo()?,
        };
        Ok(self.solo.insert(solo))
    }

    fn note(
        &mut self,
        question: &Question,
        asked: Result<Answer, PolicyFault>,
        took: Duration,
    ) -> Result<Answer, PolicyFault> {
        match &asked {
            Ok(_) if took.is_zero() => {}
            Ok(_) => self.took_ns.push(took.as_nanos() as u64),
            Err(fault) => {
                let failed = match fault {
                    PolicyFault::Overran { .. } => &mut self.overruns,
                    _ => &mut self.faults,
                };
                failed.count += 1;
                failed.first.get_or_insert_with(|| Example { call: call_of(question), wrong: fault.to_string() });
            }
        }
        asked
    }

    /// Whether so much went wrong that there is no use in asking on.
    pub(super) fn gave_up(&self) -> bool {
        self.overruns.count + self.faults.count >= FAULTS_MAX
    }
}
