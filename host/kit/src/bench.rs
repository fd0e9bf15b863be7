//! What a call costs: on an instance that is kept, and on a fresh one.

use std::time::{Duration, Instant};

use ostrakon_core::policy::{PolicyFault, Question};
use ostrakon_policy::{EngineError, Limits, LoadError, PolicyEngine, Solo};
use ostrakon_wire::PolicyKind;

use crate::draw::Draws;
use crate::input::questions;

/// Questions that are asked in turn.
const QUESTIONS: usize = 1_024;
/// Calls before the clock runs.
const WARM_UP: usize = 256;

/// What one function costs in one way of calling it.
#[derive(Debug, Clone)]
pub struct Cost {
    /// The contract's function.
    pub function: &'static str,
    /// Whether each call has an instance of its own; its making counts.
    pub fresh: bool,
    /// Calls that were timed.
    pub calls: u64,
    /// Calls beside them without a usable answer.
    pub faults: u64,
    /// Half of them took at most so long, in nanoseconds.
    pub p50_ns: u64,
    /// 99 in 100 took at most so long, in nanoseconds.
    pub p99_ns: u64,
    /// In a second, one after the other.
    pub calls_per_second: f64,
}

/// What a policy costs.
#[derive(Debug)]
pub struct Costs {
    /// The kind.
    pub kind: PolicyKind,
    /// The name that the policy gives itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// How long the host compiles it, its first calls included.
    pub load: Duration,
    /// Of each function.
    pub functions: Vec<Cost>,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// Components cannot be run here.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A host would refuse it.
    #[error("a host would refuse the component: {0}")]
    Refused(#[from] LoadError),
    /// There is no usable answer.
    #[error("{function}: {fault}; `ostrakon policy test` shows more")]
    Fault {
        /// The function.
        function: &'static str,
        /// Why.
        fault: PolicyFault,
    },
}

/// Measures each function of a policy, each way for so long.
///
/// # Errors
/// [`BenchError`] where it cannot be loaded or does not answer.
pub fn bench(component: &[u8], kind: PolicyKind, settings: &str, each: Duration) -> Result<Costs, BenchError> {
    let engine = PolicyEngine::new(Limits::default())?;
    let begun = Instant::now();
    let loaded = engine.load(kind, component, settings)?;
    let load = begun.elapsed();
    let drawn = questions(kind, &mut Draws::new(1), QUESTIONS);
    let names: &[&str] = match kind {
        PolicyKind::ShardKey => &["get-shard-key"],
        PolicyKind::Prediction => &["predict"],
        PolicyKind::Reconciliation => &["judge", "reconcile"],
    };
    let mut functions = Vec::new();
    for name in names {
        let questions: Vec<_> = drawn.iter().filter(|question| question.function() == *name).collect();
        let Some(function) = questions.first().map(|question| question.function()) else { continue };
        let failed = |fault| BenchError::Fault { function, fault };
        let mut solo = loaded.solo().map_err(failed)?;
        for fresh in [false, true] {
            functions.push(measure(&mut solo, function, &questions, fresh, each).map_err(failed)?);
        }
    }
    let (name, version, digest) = (loaded.name().into(), loaded.version().into(), loaded.digest().into());
    Ok(Costs { kind, name, version, digest, load, functions })
}

fn measure(
    solo: &mut Solo,
    function: &'static str,
    questions: &[&Question],
    fresh: bool,
    each: Duration,
) -> Result<Cost, PolicyFault> {
    let mut ask = |question: &Question| if fresh { solo.ask_fresh(question) } else { solo.ask(question) };
    let mut turn = questions.iter().cycle();
    for question in turn.by_ref().take(if fresh { 1 } else { WARM_UP }) {
        ask(question)?;
    }
    let (mut took_ns, mut faults) = (Vec::new(), 0);
    let begun = Instant::now();
    for question in turn {
        let asked = Instant::now();
        match std::hint::black_box(ask(question)) {
            Ok(_) => took_ns.push(asked.elapsed().as_nanos() as u64),
            // One in so many is the policy's trouble, and `test` tells it; only those is no measurement.
            Err(fault) if took_ns.is_empty() => return Err(fault),
            Err(_) => faults += 1,
        }
        if begun.elapsed() >= each {
            break;
        }
    }
    let whole = begun.elapsed().as_secs_f64();
    took_ns.sort_unstable();
    let quantile = |share: f64| took_ns[((took_ns.len() - 1) as f64 * share) as usize];
    Ok(Cost {
        function,
        fresh,
        calls: took_ns.len() as u64,
        faults,
        p50_ns: quantile(0.5),
        p99_ns: quantile(0.99),
        calls_per_second: took_ns.len() as f64 / whole,
    })
}
