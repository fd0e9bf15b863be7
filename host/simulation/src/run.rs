//! One run: from a seed to what became of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Once;

use ostrakon_store::Outcome;
use ostrakon_store::planted::{Fault, plant};

use crate::world::World;

/// What to run.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// Requests that clients make.
    pub requests: u64,
    /// The fault that is planted into the host.
    pub fault: Option<Fault>,
    /// Whether the whole trace is kept.
    pub keep_trace: bool,
}

/// What happened in a run that went well.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Requests that clients made.
    pub requests: u64,
    /// Actions among them, each counted once.
    pub actions: u64,
    /// Versions that were made.
    pub versions: u64,
    /// Versions that the policy was asked for.
    pub reconciled: u64,
    /// Actions that found their effect there.
    pub applied: u64,
    /// Actions that were rejected.
    pub rejected: u64,
    /// Actions that were given up to a person.
    pub escalated: u64,
    /// Detached actions that had a ticket.
    pub tickets: u64,
    /// Conflicts that were answered.
    pub conflicts: u64,
    /// Requests that found a queue full.
    pub overloaded: u64,
    /// Times that the host was killed and started again.
    pub crashes: u64,
    /// Persists that failed.
    pub failed_persists: u64,
    /// Clients that were gone before their answer.
    pub vanished: u64,
    /// Jumps of the clock.
    pub jumps: u64,
    /// Lines of the trace.
    pub steps: u64,
    /// Digest of the whole trace.
    pub digest: u128,
    /// The trace, if it was to be kept.
    pub trace: Option<String>,
}

/// What must not be.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The seed that leads to it.
    pub seed: u64,
    /// The line of the trace that it was found at.
    pub step: u64,
    /// What it is.
    pub what: String,
    /// What went before.
    pub tail: Vec<String>,
    /// The trace up to there, if it was to be kept.
    pub trace: Option<String>,
}

thread_local! {
    /// What a panic on this thread said, while a simulation runs on it.
    static PANICKED: RefCell<Option<Option<String>>> = const { RefCell::new(None) };
}

/// Panics of what is simulated are findings, not noise.
fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let otherwise = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let mine = PANICKED.with_borrow_mut(|panicked| match panicked {
                Some(said) => {
                    said.get_or_insert_with(|| info.to_string());
                    true
                }
                None => false,
            });
            if !mine {
                otherwise(info);
            }
        }));
    });
}

/// Runs until all requests are answered and nothing is on its way, or until something is wrong.
pub fn run(settings: &Settings) -> Result<Summary, Box<Violation>> {
    catch_panics();
    PANICKED.set(Some(None));
    plant(settings.fault);
    let world = RefCell::new(None);
    let ended = catch_unwind(AssertUnwindSafe(|| {
        let begun = World::begin(settings.seed, settings.keep_trace);
        world.replace(Some(Rc::clone(&begun)));
        drive(&begun, settings.requests)
    }));
    plant(None);
    let panicked = PANICKED.take().flatten();
    let outcome = match (ended, panicked) {
        (_, Some(said)) => Err(format!("panicked: {said}")),
        (Ok(outcome), None) => outcome,
        (Err(_), None) => Err("panicked".to_owned()),
    };
    let Some(world) = world.take() else {
        let what = outcome.err().unwrap_or_default();
        return Err(Box::new(Violation { seed: settings.seed, step: 0, what, tail: Vec::new(), trace: None }));
    };
    let outcome = match outcome {
        Ok(()) => Ok(summary(&world)),
        Err(what) => {
            let mut trace = world.trace.borrow_mut();
            let (seed, step, tail, trace) = (settings.seed, trace.lines(), trace.tail(), trace.take_whole());
            Err(Box::new(Violation { seed, step, what, tail, trace }))
        }
    };
    // What is left may panic once more under a planted fault.
    let _ = catch_unwind(AssertUnwindSafe(|| world.end()));
    outcome
}

fn found(world: &World) -> Result<(), String> {
    let panicked = PANICKED.with_borrow(|panicked| panicked.as_ref().and_then(Clone::clone));
    if let Some(said) = panicked {
        return Err(format!("panicked: {said}"));
    }
    match &world.oracle.borrow().violation {
        Some(what) => Err(what.clone()),
        None => Ok(()),
    }
}

fn drive(world: &World, requests: u64) -> Result<(), String> {
    while world.counts.get().requests < requests {
        if !world.step(true) {
            world.pass_until_next();
        }
        world.mishap();
        found(world)?;
    }
    // Everything is answered that was asked for; and what a crash leaves comes to an end by itself.
    drain(world)?;
    world.crash("last restart");
    drain(world)?;
    at_the_end(world)
}

/// Goes on until nothing waits for anything but new requests.
fn drain(world: &World) -> Result<(), String> {
    world.calm_down();
    for _ in 0..1_000_000 {
        found(world)?;
        if !world.step(false) && !world.pass_until_next() {
            return match world.is_busy() {
                true => Err("a request is never answered".into()),
                false => Ok(()),
            };
        }
    }
    Err("what is on its way does not come to an end".into())
}

fn at_the_end(world: &World) -> Result<(), String> {
    world.hold_again()?;
    world.all_told()?;
    found(world)?;
    let oracle = world.oracle.borrow();
    let open = oracle.escalations.values().filter(|of| !of.settled).count();
    if world.counted() != (0, 0, open) {
        return Err(format!(
            "the host counts {:?} cases, tickets and open escalations, not {:?}",
            world.counted(),
            (0, 0, open)
        ));
    }
    let lost = |sent: &&crate::actions::Sent| sent.ticket_told && sent.came_to.is_none();
    match oracle.actions.iter().find(lost) {
        Some(sent) => Err(format!("#{} has a ticket and comes to nothing", sent.number)),
        None => Ok(()),
    }
}

fn summary(world: &World) -> Summary {
    let (oracle, counts) = (world.oracle.borrow(), world.counts.get());
    let came_to = |wanted: Outcome| {
        oracle.actions.iter().filter(|sent| sent.came_to.is_some_and(|(_, outcome)| outcome == wanted)).count() as u64
    };
    let judged = |sent: &&crate::actions::Sent| {
        !sent.verdicts.is_empty() && sent.came_to.is_some_and(|(_, outcome)| outcome == Outcome::Made)
    };
    let mut trace = world.trace.borrow_mut();
    Summary {
        requests: counts.requests,
        actions: oracle.actions.len() as u64,
        versions: oracle.units.iter().filter(|unit| unit.outcome == Outcome::Made).count() as u64,
        reconciled: oracle.actions.iter().filter(judged).count() as u64,
        applied: came_to(Outcome::Applied),
        rejected: came_to(Outcome::Rejected),
        escalated: oracle.escalations.len() as u64,
        tickets: oracle.actions.iter().filter(|sent| sent.ticket_told).count() as u64,
        conflicts: counts.conflicts,
        overloaded: counts.overloaded,
        crashes: counts.crashes,
        failed_persists: counts.failed_persists,
        vanished: counts.vanished,
        jumps: counts.jumps,
        steps: trace.lines(),
        digest: trace.digest(),
        trace: trace.take_whole(),
    }
}
