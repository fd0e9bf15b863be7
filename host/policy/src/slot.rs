//! A slot holds the generation that decides now, behind one pointer.
//!
//! A call takes the pointer once, at its start: it decides with that generation whatever is swapped in meanwhile, and the
//! last call of an old generation gives its memory back.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ostrakon_core::policy::{
    Brief, Decision, Forecast, Outcome, Outlook, Placement, Placing, PolicyFault, PredictionPolicy,
    ReconciliationPolicy, ShardKeyPolicy, Verdict,
};
use ostrakon_wire::{Generation, PolicyKind};
use parking_lot::Mutex;

use crate::error::WrongKind;
use crate::generation::Active;
use crate::load::Loaded;
use crate::prediction::Prediction;
use crate::prepared::Policy;
use crate::reconciliation::{OnPatches, Reconciliation};
use crate::shard_key::ShardKeys;
use crate::tally::FaultCounts;

/// What stands in a slot, and what it did since it was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotInfo {
    /// The slot's kind.
    pub kind: PolicyKind,
    /// The generation that decides.
    pub generation: Generation,
    /// The policy's name.
    pub name: String,
    /// The policy's version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Its settings: the text of a JSON object.
    pub settings: String,
    /// Calls of this generation.
    pub calls: u64,
    /// Faults among them.
    pub faults: FaultCounts,
    /// Calls that were repeated on a fresh instance.
    pub purity_checks: u64,
}

pub(crate) struct Slot<P: Policy> {
    current: ArcSwap<Active<P>>,
    /// Held while a generation is replaced, so that none gets another's number.
    swapping: Mutex<()>,
}

impl<P: Policy> Slot<P> {
    pub(crate) fn new(policy: Loaded) -> Result<Self, WrongKind> {
        check_kind::<P>(&policy)?;
        let first = Active::new(Generation::FIRST, policy);
        Ok(Self { current: ArcSwap::from_pointee(first), swapping: Mutex::new(()) })
    }

    pub(crate) fn swap(&self, policy: Loaded) -> Result<Generation, WrongKind> {
        check_kind::<P>(&policy)?;
        let _swapping = self.swapping.lock();
        let next = Generation::new(self.current.load().number.get() + 1);
        self.current.store(Arc::new(Active::new(next, policy)));
        Ok(next)
    }

    /// Replaces what decides by another state of its generation, unless a swap came first.
    fn renew(&self, of: &Active<P>, renewed: Active<P>) -> bool {
        let _swapping = self.swapping.lock();
        let still = self.current.load().number == of.number;
        if still {
            self.current.store(Arc::new(renewed));
        }
        still
    }

    #[inline]
    pub(crate) fn current(&self) -> Guard<Arc<Active<P>>> {
        self.current.load()
    }

    pub(crate) fn info(&self) -> SlotInfo {
        let active = self.current.load();
        SlotInfo {
            kind: P::KIND,
            generation: active.number,
            name: active.policy.name().to_owned(),
            version: active.policy.version().to_owned(),
            digest: active.policy.digest().to_owned(),
            settings: active.policy.settings().to_owned(),
            calls: active.tally.calls(),
            faults: active.tally.faults(),
            purity_checks: active.tally.purity_checks(),
        }
    }
}

fn check_kind<P: Policy>(policy: &Loaded) -> Result<(), WrongKind> {
    if policy.kind() == P::KIND { Ok(()) } else { Err(WrongKind { offered: policy.kind(), slot: P::KIND }) }
}

macro_rules! slot {
    ($(#[$doc:meta])* $name:ident, $policy:ty) => {
        $(#[$doc])*
        pub struct $name(pub(crate) Slot<$policy>);

        impl $name {
            /// A slot with its first generation.
            ///
            /// # Errors
            /// [`WrongKind`] for a policy of another kind.
            pub fn new(policy: Loaded) -> Result<Self, WrongKind> {
                Slot::new(policy).map(Self)
            }

            /// Puts the next generation in, in one step, and answers its number. Calls that began before end on the old
            /// one.
            ///
            /// # Errors
            /// [`WrongKind`] for a policy of another kind; the slot keeps what it has.
            pub fn swap(&self, policy: Loaded) -> Result<Generation, WrongKind> {
                self.0.swap(policy)
            }

            /// What stands in the slot now.
            pub fn info(&self) -> SlotInfo {
                self.0.info()
            }
        }
    };
}

slot! {
    /// Holds the shard-key policy.
    ShardKeySlot, ShardKeys
}
slot! {
    /// Holds the prediction policy.
    PredictionSlot, Prediction
}
slot! {
    /// Holds the reconciliation policy. Every call on whole payloads gets an instance of its own.
    ReconciliationSlot, Reconciliation
}

impl ShardKeyPolicy for ShardKeySlot {
    fn place(&self, placing: &Placing<'_>) -> Decision<Placement> {
        self.0.current().ask(*placing)
    }
}

impl PredictionPolicy for PredictionSlot {
    fn predict(&self, outlook: &Outlook) -> Decision<Forecast> {
        self.0.current().ask(outlook)
    }

    fn learns(&self) -> bool {
        self.0.current().policy.learns()
    }

    fn learn(&self, generation: Generation, outcomes: &[Outcome]) -> Result<bool, PolicyFault> {
        let active = Arc::clone(&self.0.current());
        if active.number != generation || !active.policy.learns() {
            return Ok(false);
        }
        let learned = Prediction::learn(&active.policy.prepared, outcomes);
        let renewed = learned.and_then(|state| active.with_state(state));
        let renewed = renewed.inspect_err(|fault| active.tally.fault(fault))?;
        Ok(self.0.renew(&active, renewed))
    }
}

impl ReconciliationPolicy for ReconciliationSlot {
    fn judge(&self, brief: &Brief<'_>, ours: &[u8], theirs: Option<&[u8]>) -> Decision<Verdict> {
        self.0.current().ask(OnPatches { brief, ours, theirs })
    }

    fn reconcile(
        &self,
        brief: &Brief<'_>,
        body: &[u8],
        base: Option<&[u8]>,
        latest: Option<&[u8]>,
    ) -> Decision<Verdict> {
        self.0.current().decide(|prepared| {
            let mut ready = prepared.start().map_err(|error| error.into_fault())?;
            Reconciliation::reconcile(&mut ready, prepared.limits(), brief, body, base, latest)
        })
    }
}
