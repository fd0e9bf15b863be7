//! A candidate that is asked beside the requests, on what they were asked, in instances of its own.
//!
//! One thread serves all shadows of a host. It gives way to all others; what it cannot keep up with is not compared.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use ostrakon_core::policy::{Answer, Outcome, PolicyFault, Question};
use ostrakon_wire::PolicyKind;
use ostrakon_wire::value::Map;
use parking_lot::Mutex;

use crate::bounds::{BAD_CALLS_MAX, LESSON_MAX};
use crate::compare::{Answered, Comparison, ShardOf};
use crate::facts::number;
use crate::load::Loaded;
use crate::prediction::Prediction;
use crate::sight::{Seen, Sight};
use crate::solo::Solo;

/// Decisions that are compared before another shadow has its turn.
const TURN: usize = 256;

/// One comparison: the generation that decides beside a candidate.
pub(crate) struct Shadow {
    sight: Sight,
    active: Loaded,
    candidate: Loaded,
    comparison: Mutex<Comparison>,
    ended: AtomicBool,
}

impl Shadow {
    pub(crate) fn new(active: Loaded, candidate: Loaded, share_ppm: u32) -> Self {
        let comparison = Mutex::new(Comparison::new(candidate.kind()));
        Self { sight: Sight::new(share_ppm), active, candidate, comparison, ended: AtomicBool::new(false) }
    }

    pub(crate) fn sight(&self) -> &Sight {
        &self.sight
    }

    /// Whether answers are compared when it is known what came of them.
    pub(crate) fn waits_for_outcome(&self) -> bool {
        self.candidate.kind() == PolicyKind::Prediction
    }

    pub(crate) fn facts(&self) -> Map {
        let counts = self.sight.offered();
        let mut facts = self.comparison.lock().facts();
        facts.extend([
            ("offered".into(), number(counts.offered)),
            ("dropped".into(), number(counts.dropped)),
            ("ended".into(), ostrakon_wire::value::Value::Bool(self.ended.load(Ordering::Relaxed))),
        ]);
        facts
    }
}

/// The instances of one shadow, and what its candidate is to learn.
struct Work {
    active: Option<Solo>,
    candidate: Option<Solo>,
    policy: Loaded,
    lesson: Vec<Outcome>,
}

/// What the thread of the shadows has at hand.
#[derive(Default)]
pub(crate) struct Shadows(HashMap<usize, (Arc<Shadow>, Work)>);

/// What came of a turn.
pub(crate) enum Turn {
    /// There was nothing to compare.
    Idle,
    /// Something was.
    Busy,
    /// The candidate fails too often to be asked again.
    Ended(String),
}

impl Shadows {
    /// Forgets the shadows that are none of these any more.
    pub(crate) fn keep(&mut self, shadows: &[Arc<Shadow>]) {
        self.0.retain(|_, (shadow, _)| shadows.iter().any(|kept| Arc::ptr_eq(kept, shadow)));
    }

    /// Compares a few of the decisions that wait.
    pub(crate) fn turn(&mut self, shadow: &Arc<Shadow>, shard_of: Option<&ShardOf>) -> Turn {
        if shadow.ended.load(Ordering::Relaxed) {
            return Turn::Idle;
        }
        let work = |shadow: &Arc<Shadow>| {
            let policy = shadow.candidate.clone();
            (Arc::clone(shadow), Work { active: None, candidate: None, policy, lesson: Vec::new() })
        };
        let (_, work) = self.0.entry(Arc::as_ptr(shadow) as usize).or_insert_with(|| work(shadow));
        for done in 0..TURN {
            let Some(seen) = shadow.sight.next() else {
                return if done == 0 { Turn::Idle } else { Turn::Busy };
            };
            work.compare(shadow, seen, shard_of);
            let faults = shadow.comparison.lock().candidate_faults();
            if faults >= u64::from(BAD_CALLS_MAX) * 4 {
                shadow.ended.store(true, Ordering::Relaxed);
                return Turn::Ended(format!("{faults} bad calls as a shadow"));
            }
        }
        Turn::Busy
    }
}

/// Asks, on an instance that is made when it is needed.
fn ask(solo: &mut Option<Solo>, policy: &Loaded, question: &Question) -> Answered {
    let instance = match solo {
        Some(solo) => Ok(solo),
        empty => policy.solo().map(|solo| empty.insert(solo)),
    };
    match instance {
        Ok(solo) => {
            let asked = Instant::now();
            let result = solo.ask(question);
            Answered { result, took: Some(asked.elapsed()) }
        }
        Err(fault) => Answered { result: Err(fault), took: None },
    }
}

impl Work {
    fn compare(&mut self, shadow: &Shadow, seen: Seen, shard_of: Option<&ShardOf>) {
        let Seen { question, decided, met } = seen;
        let new = decided.is_some();
        let candidate = ask(&mut self.candidate, &self.policy, &question);
        // Asked here as well, so that latencies are told of the same questions under the same conditions.
        let mut active = ask(&mut self.active, &shadow.active, &question);
        if let Some((_, result)) = decided {
            active.result = result;
        }
        if let (Question::Predict(outlook), Ok(Answer::Forecast(forecast)), Some(met)) =
            (&question, &candidate.result, &met)
        {
            self.learn(Outcome {
                scope: outlook.scope,
                predicted: forecast.version,
                met: met.version,
                age_us: outlook.observed_age_us,
                aborted: false,
            });
        }
        shadow.comparison.lock().add(&question, &active, &candidate, met.as_ref(), new, shard_of);
    }

    /// A candidate that learns is taught by what came, as it would be if it decided.
    fn learn(&mut self, outcome: Outcome) {
        if !self.policy.learns() {
            return;
        }
        self.lesson.push(outcome);
        if self.lesson.len() < LESSON_MAX {
            return;
        }
        let lesson = std::mem::take(&mut self.lesson);
        let learned = Prediction::learn(&self.policy.prepared, &lesson);
        let taught = learned.map(|state| self.policy.with_state(state));
        let fault = |fault: PolicyFault| tracing::debug!(%fault, "a shadow cannot learn");
        if let Ok(taught) = taught.map_err(fault) {
            self.policy = taught;
            self.candidate = None;
        }
    }
}
