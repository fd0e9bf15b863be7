//! Determinism, usable answers and time: what holds of every kind of policy.

use ostrakon_core::policy::Question;
use serde_json::json;

use super::asker::{Asker, call_of};
use super::{Example, Outcome, Property};
use crate::codec;

/// Asks everything twice: an instance that has answered all before, and a fresh one.
pub(super) fn determinism(asker: &mut Asker<'_>, questions: &[Question]) -> Outcome {
    let (mut compared, mut differing, mut example) = (0u64, 0u64, None);
    for question in questions {
        if asker.gave_up() {
            break;
        }
        // What has no answer says nothing of determinism; it is counted elsewhere.
        let (Ok(reused), Ok(fresh)) = (asker.ask(question), asker.ask_fresh(question)) else { continue };
        compared += 1;
        if reused != fresh {
            differing += 1;
            let [reused, fresh] = [reused, fresh].map(|answer| codec::answer(&answer));
            let wrong = format!("a reused instance answers {reused}, a fresh one {fresh}");
            example.get_or_insert_with(|| Example { call: call_of(question), wrong });
        }
    }
    let words = match differing {
        0 => format!("{compared} questions, the same answer from a reused and from a fresh instance"),
        _ => format!("{differing} of {compared} questions answered otherwise by a fresh instance"),
    };
    let figures = json!({ "inputs": compared, "differing": differing });
    Outcome::new(Property::Determinism, differing == 0 && compared > 0, words, figures).with(example)
}

/// Whether every question had a usable answer.
pub(super) fn usable(asker: &Asker<'_>) -> Outcome {
    let (answered, faults) = (asker.took_ns.len(), asker.faults.count);
    let words = match faults {
        0 => format!("{answered} answers, all within the contract"),
        _ => format!("{faults} calls without a usable answer; {answered} with one"),
    };
    let figures = json!({ "answered": answered, "faults": faults });
    Outcome::new(Property::Answers, faults == 0, words, figures).with(asker.faults.first.clone())
}

/// Whether no call ran into its deadline. The engine is the judge: it knows a slow policy from a busy machine.
pub(super) fn time(asker: &mut Asker<'_>) -> Outcome {
    asker.took_ns.sort_unstable();
    let quantile = |share: f64| {
        let at = (asker.took_ns.len() as f64 * share) as usize;
        asker.took_ns.get(at.min(asker.took_ns.len().saturating_sub(1))).copied().unwrap_or(0)
    };
    let (median, p99, worst) = (quantile(0.5), quantile(0.99), quantile(1.0));
    let (overruns, deadline_ms) = (asker.overruns.count, asker.deadline_ms);
    let us = |ns: u64| ns as f64 / 1e3;
    let spread = format!("p50 {:.1} us, p99 {:.1} us, worst {:.1} us", us(median), us(p99), us(worst));
    let words = match overruns {
        0 => format!("{spread}; the deadline is {deadline_ms} ms"),
        _ => format!("{overruns} calls ran into the deadline of {deadline_ms} ms; of the others {spread}"),
    };
    let figures = json!({
        "calls": asker.took_ns.len(), "overruns": overruns, "p50_ns": median, "p99_ns": p99, "worst_ns": worst,
        "deadline_ms": deadline_ms,
    });
    Outcome::new(Property::Time, overruns == 0, words, figures).with(asker.overruns.first.clone())
}
