//! A candidate on decisions that were made before, away from any host.
//!
//! The engine is to be one that counts fuel ([`PolicyEngine::deterministic`](crate::PolicyEngine::deterministic)), so that
//! a call ends at the same instruction everywhere: the same decisions get the same answers on every machine, which the
//! digest of all answers shows.

use ostrakon_core::policy::{Answer, PolicyFault, Question};
use ostrakon_wire::value::Map;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::compare::{Answered, Comparison, ShardOf, shown};
use crate::decisions::Recorded;
use crate::facts::{number, text};
use crate::generation::is_checked;
use crate::load::Loaded;

/// What came of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Replayed {
    /// Decisions that were asked again.
    pub decisions: u64,
    /// Those that the candidate answered otherwise.
    pub differ: u64,
    /// Those that it had no usable answer to.
    pub faults: u64,
    /// Those that a fresh instance answered otherwise than one that had answered others.
    pub impure: u64,
    /// A digest of all its answers, in their order.
    pub answers: u64,
    /// All that and more, as a diff of a shadow tells it.
    pub facts: Map,
}

/// Asks a policy all of these, on a few threads, each with an instance of its own. Some of them are asked again on fresh
/// instances: an answer that differs then is the fault of an impure policy.
pub fn answer_all<'a>(
    policy: &Loaded,
    questions: impl ExactSizeIterator<Item = &'a Question>,
) -> Vec<Result<Answer, PolicyFault>> {
    let questions: Vec<&Question> = questions.collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = questions.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let parts: Vec<_> = questions.chunks(part).map(|part| scope.spawn(|| answer_part(policy, part))).collect();
        parts
            .into_iter()
            .flat_map(|part| part.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    })
}

fn answer_part(policy: &Loaded, questions: &[&Question]) -> Vec<Result<Answer, PolicyFault>> {
    let every = policy.prepared.limits().purity_every;
    let mut solo = None;
    let mut answers = Vec::with_capacity(questions.len());
    for (call, question) in (1_u32..).zip(questions) {
        let instance = match &mut solo {
            Some(solo) => Ok(solo),
            empty => policy.solo().map(|solo| empty.insert(solo)),
        };
        answers.push(instance.and_then(|solo| {
            let answer = solo.ask(question)?;
            if is_checked(call, every) && solo.ask_fresh(question).as_ref() != Ok(&answer) {
                return Err(PolicyFault::Impure);
            }
            Ok(answer)
        }));
    }
    answers
}

/// Runs decisions through a candidate and compares.
pub fn replay(candidate: &Loaded, decisions: &[Recorded], shard_of: Option<&ShardOf>) -> Replayed {
    let answers = answer_all(candidate, decisions.iter().map(|decision| &decision.question));
    let mut comparison = Comparison::new(candidate.kind());
    let (mut digest, mut impure) = (0, 0);
    for (decision, result) in decisions.iter().zip(answers) {
        impure += u64::from(result == Err(PolicyFault::Impure));
        digest = digest_of(digest, &result);
        let active = Answered { result: decision.answer.clone(), took: None };
        let candidate = Answered { result, took: None };
        comparison.add(&decision.question, &active, &candidate, None, true, shard_of);
    }
    let mut facts = comparison.facts();
    facts.remove("latency");
    facts.remove("scoreboards");
    facts.remove("traffic");
    facts.insert("impure".into(), number(impure));
    facts.insert("answers".into(), text(format!("{digest:016x}")));
    Replayed {
        decisions: decisions.len() as u64,
        differ: comparison.differ(),
        faults: comparison.candidate_faults(),
        impure,
        answers: digest,
        facts,
    }
}

/// The digest of all answers so far, and one more.
fn digest_of(before: u64, result: &Result<Answer, PolicyFault>) -> u64 {
    match result {
        Ok(Answer::Placement(placement)) => {
            xxh3_64_with_seed(&placement.key.to_le_bytes(), before ^ u64::from(placement.bits))
        }
        Ok(Answer::Forecast(forecast)) => {
            let route = u64::from(forecast.route == ostrakon_core::policy::Route::Reconcile);
            let seed = before ^ (u64::from(forecast.confidence_ppm) << 1 | route);
            xxh3_64_with_seed(&forecast.version.to_le_bytes(), seed)
        }
        Ok(Answer::Verdict(verdict)) => xxh3_64_with_seed(format!("{verdict:?}").as_bytes(), before),
        fault => xxh3_64_with_seed(shown(fault).as_bytes(), before),
    }
}
