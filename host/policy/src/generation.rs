//! One generation: a loaded policy with its number, its kept instances and its counters.

use std::sync::Arc;
use std::time::Instant;

use ostrakon_core::policy::{Decision, PolicyFault};
use ostrakon_wire::Generation;

use crate::bounds::Limits;
use crate::instance::is_no_instance;
use crate::lanes::{Kept, Lanes, Place};
use crate::load::Loaded;
use crate::prepared::{Policy, Prepared};
use crate::tally::Tally;

/// Every how many calls of an instance one is timed: reading the clock twice takes a fifth of a short call.
const TIMED_EVERY: u32 = 8;

/// A generation that can decide.
pub(crate) struct Active<P: Policy> {
    pub(crate) number: Generation,
    pub(crate) policy: Loaded,
    pub(crate) tally: Arc<Tally>,
    /// The bounds of its calls while it is on trial.
    trial: Option<Limits>,
    lanes: Lanes<P>,
}

impl<P: Policy> Active<P> {
    pub(crate) fn new(number: Generation, policy: Loaded) -> Self {
        let tally = Arc::new(Tally::new(policy.prepared.limits().lanes));
        Self::with_tally(number, policy, tally)
    }

    fn with_tally(number: Generation, policy: Loaded, tally: Arc<Tally>) -> Self {
        let lanes = Lanes::new(policy.prepared.limits().lanes);
        Self { number, tally, trial: None, lanes, policy }
    }

    /// The same, on trial.
    pub(crate) fn on_trial(number: Generation, policy: Loaded) -> Self {
        let trial = Some(policy.prepared.limits().on_trial());
        Self { trial, ..Self::new(number, policy) }
    }

    /// The same, on trial as another one is.
    pub(crate) fn tried_as(self, other: &Self) -> Self {
        Self { trial: other.trial.clone(), ..self }
    }

    /// The same generation, on trial no more. What its instances were is made anew.
    pub(crate) fn proved(&self) -> Self {
        Self::with_tally(self.number, self.policy.clone(), Arc::clone(&self.tally))
    }

    /// The same generation, with none of its instances: what it takes to decide again, and no more.
    pub(crate) fn at_rest(&self) -> Self {
        self.policy.prepared.drop_spares();
        self.proved()
    }

    /// The same generation with another state. Its instances are made before anybody asks them, and have been asked a
    /// first question.
    ///
    /// # Errors
    /// When the policy does not take the state.
    pub(crate) fn with_state(&self, state: Vec<u8>) -> Result<Self, PolicyFault> {
        let renewed = Self::with_tally(self.number, self.policy.with_state(state), Arc::clone(&self.tally));
        let prepared = &renewed.policy.prepared;
        for (place, calls) in renewed.lanes.all().zip(self.lanes.calls()) {
            let mut kept = fresh::<P>(prepared)?;
            // The sampled check goes on where it was.
            kept.calls = calls;
            P::trial(&mut kept.ready, prepared.limits()).map_err(|(_, fault)| fault)?;
            *place.lock() = Some(kept);
        }
        Ok(renewed)
    }

    /// What its kept instances hold, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.lanes.memory_bytes()
    }

    /// Asks, counts, and names this generation in the answer.
    #[inline]
    pub(crate) fn ask(&self, question: P::Question<'_>) -> Decision<P::Answer> {
        self.tally.call();
        let lane = if P::keeps_instance(&question) { self.lanes.enter() } else { None };
        let result = match lane {
            Some(lane) => self.ask_kept(lane, question),
            None => self.ask_fresh(question),
        };
        if let Err(fault) = &result {
            self.tally.fault(fault);
        }
        Decision { generation: self.number, result }
    }

    #[inline]
    fn ask_kept(&self, mut lane: Place<'_, P>, question: P::Question<'_>) -> Result<P::Answer, PolicyFault> {
        let prepared = &*self.policy.prepared;
        let limits = self.trial.as_ref().unwrap_or_else(|| prepared.limits());
        let kept = match &mut *lane {
            Some(kept) => kept,
            empty => {
                let ready = prepared.start_or_spare().map_err(|error| error.into_fault())?;
                empty.insert(Kept::new(ready))
            }
        };
        let calls = &mut kept.calls[P::function(&question)];
        *calls = calls.wrapping_add(1);
        let calls = *calls;
        let mut result = if calls.is_multiple_of(TIMED_EVERY) {
            let asked = Instant::now();
            let result = P::ask(&mut kept.ready, question, limits);
            self.tally.took(asked.elapsed());
            result
        } else {
            P::ask(&mut kept.ready, question, limits)
        };
        if is_checked(calls, limits.purity_every) {
            result = result.and_then(|answer| self.repeat(prepared, question, answer));
        }
        if result.is_err() || kept.is_spent(self.policy.prepared.memory_bytes_max()) {
            *lane = None;
        }
        result
    }

    fn ask_fresh(&self, question: P::Question<'_>) -> Result<P::Answer, PolicyFault> {
        let prepared = &*self.policy.prepared;
        let asked = Instant::now();
        let mut kept = fresh::<P>(prepared)?;
        let result = P::ask(&mut kept.ready, question, prepared.limits());
        self.tally.took(asked.elapsed());
        result
    }

    /// Asks a fresh instance the same; the answer must be the same.
    #[cold]
    fn repeat(
        &self,
        prepared: &Prepared,
        question: P::Question<'_>,
        answer: P::Answer,
    ) -> Result<P::Answer, PolicyFault> {
        self.tally.purity_check();
        let repeated = fresh::<P>(prepared).and_then(|mut kept| P::ask(&mut kept.ready, question, prepared.limits()));
        match repeated {
            Ok(repeated) if repeated == answer => Ok(answer),
            // A busy machine can make any call overrun, and have no room for one more: that says nothing of the answer.
            Err(PolicyFault::Overran { .. }) => Ok(answer),
            Err(fault) if is_no_instance(&fault) => Ok(answer),
            _ => Err(PolicyFault::Impure),
        }
    }
}

/// Which calls of an instance's function are repeated: of the first ones more (2, 8, 32, 128, 512), since a generation that
/// is new is the one in doubt.
#[inline]
pub(crate) fn is_checked(calls: u32, every: u32) -> bool {
    let is_early = || calls < every && calls.is_power_of_two() && calls.trailing_zeros() % 2 == 1;
    every != 0 && (calls.is_multiple_of(every) || is_early())
}

#[cold]
pub(crate) fn fresh<P: Policy>(prepared: &Prepared) -> Result<Kept<P>, PolicyFault> {
    let ready = prepared.start().map_err(|error| error.into_fault())?;
    Ok(Kept::new(ready))
}
