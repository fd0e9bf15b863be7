//! One generation: a loaded policy with its number, its kept instances and its counters.

use std::sync::Arc;

use ostrakon_core::policy::{Decision, PolicyFault};
use ostrakon_wire::Generation;

use crate::bounds::Limits;
use crate::lanes::{Kept, Lanes};
use crate::load::Loaded;
use crate::prepared::{Policy, Prepared, Ready};
use crate::tally::Tally;

/// A policy whose instances are reused.
pub(crate) trait Hot: Policy {
    /// What is asked.
    type Question<'a>: Copy;
    /// What is answered.
    type Answer: PartialEq;

    /// Asks one question and checks the answer's bounds.
    fn ask(ready: &mut Ready<Self>, question: Self::Question<'_>, limits: &Limits)
    -> Result<Self::Answer, PolicyFault>;
}

/// The generation that decides in a slot.
pub(crate) struct Active<P: Policy> {
    pub(crate) number: Generation,
    pub(crate) policy: Loaded,
    pub(crate) tally: Arc<Tally>,
    lanes: Lanes<P>,
}

impl<P: Policy> Active<P> {
    pub(crate) fn new(number: Generation, policy: Loaded) -> Self {
        let lanes = policy.prepared.limits().lanes;
        Self { number, tally: Arc::new(Tally::new(lanes)), lanes: Lanes::new(lanes), policy }
    }

    /// Counts one call and names this generation in its answer.
    #[inline]
    pub(crate) fn decide<T>(&self, call: impl FnOnce(&Prepared) -> Result<T, PolicyFault>) -> Decision<T> {
        self.tally.call();
        let result = call(&self.policy.prepared);
        if let Err(fault) = &result {
            self.tally.fault(fault);
        }
        Decision { generation: self.number, result }
    }
}

impl<P: Hot> Active<P> {
    /// The same generation with another state. Its instances are made before anybody asks them, and have been asked a
    /// first question.
    ///
    /// # Errors
    /// When the policy does not take the state.
    pub(crate) fn with_state(&self, state: Vec<u8>) -> Result<Self, PolicyFault> {
        let policy = self.policy.with_state(state);
        let lanes = Lanes::new(policy.prepared.limits().lanes);
        for (place, calls) in lanes.all().zip(self.lanes.calls()) {
            let mut kept = fresh::<P>(&policy.prepared)?;
            // The sampled check goes on where it was.
            kept.calls = calls;
            P::trial(&mut kept.ready, policy.prepared.limits()).map_err(|(_, fault)| fault)?;
            *place.lock() = Some(kept);
        }
        Ok(Self { number: self.number, tally: Arc::clone(&self.tally), lanes, policy })
    }

    /// Asks a kept instance.
    #[inline]
    pub(crate) fn ask(&self, question: P::Question<'_>) -> Decision<P::Answer> {
        self.decide(|prepared| {
            let limits = prepared.limits();
            let mut lane = self.lanes.enter();
            let kept = match &mut *lane {
                Some(kept) => kept,
                empty => empty.insert(fresh(prepared)?),
            };
            kept.calls = kept.calls.wrapping_add(1);
            let mut result = P::ask(&mut kept.ready, question, limits);
            if limits.purity_every != 0 && kept.calls.is_multiple_of(limits.purity_every) {
                result = result.and_then(|answer| self.repeat(prepared, question, answer));
            }
            if result.is_err() {
                *lane = None;
            }
            result
        })
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
            // A busy machine can make any call overrun: that says nothing of the answer.
            Err(PolicyFault::Overran { .. }) => Ok(answer),
            _ => Err(PolicyFault::Impure),
        }
    }
}

#[cold]
fn fresh<P: Policy>(prepared: &Prepared) -> Result<Kept<P>, PolicyFault> {
    let ready = prepared.start().map_err(|error| error.into_fault())?;
    Ok(Kept { ready, calls: 0 })
}
