//! The slots of one kind: which generation decides for whom, behind one pointer.
//!
//! A decision takes the pointer once, at its start, and ends on the generation that it found, whatever is swapped in
//! meanwhile; the last call of an old generation gives its memory back. The table behind the pointer is never changed:
//! every change puts another one in its place.

mod deciding;
mod seat;
mod table;

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use ostrakon_core::policy::Decision;
use ostrakon_wire::{Generation, PolicyKind, Slot};
use parking_lot::Mutex;
use std::time::Instant;

use crate::error::WrongKind;
use crate::generation::Active;
use crate::load::Loaded;
use crate::prediction::Prediction;
use crate::prepared::Policy;
use crate::reconciliation::Reconciliation;
use crate::shard_key::ShardKeys;
use crate::watch::Finding;

pub use seat::{GenerationInfo, SeatInfo};
pub(crate) use seat::{Guarded, Seat, Trial};
use table::Table;

/// What those who keep the slots are told by those who decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// A generation on trial had a bad call: look at it again soon.
    InDoubt,
    /// One was given up.
    GaveUp {
        /// Where.
        slot: Slot,
        /// Which.
        from: Generation,
        /// The one that decides now.
        to: Generation,
        /// Why.
        why: String,
        /// Bad calls that it had.
        bad_calls: u32,
        /// From its first bad call on, in microseconds.
        took_us: u64,
    },
}

type Tell = Box<dyn Fn(Trouble) + Send + Sync>;

/// The slots of one kind.
pub(crate) struct Slots<P: Policy> {
    table: ArcSwap<Table<P>>,
    /// Held while the table is replaced.
    changing: Mutex<()>,
    tell: Tell,
}

/// The slots of shard-key policies.
pub(crate) type ShardKeySlots = Slots<ShardKeys>;
/// The slots of prediction policies.
pub(crate) type PredictionSlots = Slots<Prediction>;
/// The slots of reconciliation policies.
pub(crate) type ReconciliationSlots = Slots<Reconciliation>;

impl<P: Policy> Slots<P> {
    /// Slots with nothing but a default, of the first generation.
    ///
    /// # Errors
    /// [`WrongKind`] for a policy of another kind.
    pub(crate) fn new(policy: Loaded) -> Result<Self, WrongKind> {
        check_kind::<P>(&policy)?;
        let seat = Seat::of(Slot::default_of(P::KIND), Active::new(Generation::FIRST, policy));
        Ok(Self::with_seats(seat, Vec::new(), Box::new(|_| {})))
    }

    /// Slots with a default and others, and who is told of trouble.
    pub(crate) fn with_seats(default: Seat<P>, others: Vec<Seat<P>>, tell: Tell) -> Self {
        let others = others.into_iter().map(Arc::new).collect();
        Self { table: ArcSwap::from_pointee(Table::new(Arc::new(default), others)), changing: Mutex::new(()), tell }
    }

    #[cfg(test)]
    /// Puts the next generation into the default slot, in one step, and answers its number. Calls that began before end on
    /// the old one.
    ///
    /// # Errors
    /// [`WrongKind`] for a policy of another kind; the slot keeps what it has.
    pub(crate) fn swap(&self, policy: Loaded) -> Result<Generation, WrongKind> {
        check_kind::<P>(&policy)?;
        let slot = Slot::default_of(P::KIND);
        let mut number = Generation::FIRST;
        self.change(&slot, |seat| {
            let seat = seat.expect("there is always a default");
            number = Generation::new(seat.active.number.get() + 1);
            Some(Seat { active: Arc::new(Active::new(number, policy)), ..seat.clone() })
        });
        Ok(number)
    }

    #[cfg(test)]
    /// What stands in the default slot now.
    pub(crate) fn info(&self) -> SeatInfo {
        self.table.load().default().info()
    }

    #[inline]
    pub(crate) fn table(&self) -> Guard<Arc<Table<P>>> {
        self.table.load()
    }

    /// Replaces one seat by what `make` makes of it; nothing ends an override.
    pub(crate) fn change(&self, slot: &Slot, make: impl FnOnce(Option<&Seat<P>>) -> Option<Seat<P>>) {
        let _changing = self.changing.lock();
        let table = self.table.load_full();
        let made = make(table.get(slot).map(|seat| &**seat));
        self.table.store(Arc::new(table.with(slot, made.map(Arc::new))));
    }

    /// Gives up a generation that is on trial, unless it is so no longer; answers whether it did.
    fn give_up(&self, slot: &Slot, number: Generation, why: String) -> bool {
        let mut gave_up = None;
        self.change(slot, |seat| {
            let seat = seat?;
            let (better, watch) =
                seat.without(number).map_or((seat.clone(), None), |(seat, watch)| (seat, Some(watch)));
            gave_up = watch.map(|watch| (better.active.number, watch));
            Some(better)
        });
        let Some((to, watch)) = gave_up else { return false };
        let took_us = watch.bad_for_us();
        let bad_calls = watch.bad_calls();
        (self.tell)(Trouble::GaveUp { slot: slot.clone(), from: number, to, why, bad_calls, took_us });
        true
    }

    /// Looks at the generations on trial that had a bad call. Answers whether one is still in doubt.
    pub(crate) fn look_after(&self) -> bool {
        let table = self.table.load_full();
        let mut in_doubt = false;
        for seat in table.seats() {
            for (number, watch) in seat.on_trial() {
                match watch.overdue() {
                    Some(why) => drop(self.give_up(&seat.slot, number, why)),
                    None => in_doubt |= watch.is_in_doubt(),
                }
            }
        }
        in_doubt
    }

    /// Lets go of last good generations that are needed no longer, since those after them have proved good; answers where.
    pub(crate) fn end_trials(&self) -> Vec<(Slot, Generation)> {
        let table = self.table.load_full();
        let mut proved = Vec::new();
        for seat in table.seats().filter(|seat| seat.guarded.as_ref().is_some_and(|it| it.watch.is_passed())) {
            let passed = seat.active.number;
            self.change(&seat.slot, |now| {
                let now = now?;
                if now.active.number != passed {
                    return Some(now.clone());
                }
                Some(Seat { active: Arc::new(now.active.proved()), guarded: None, ..now.clone() })
            });
            proved.push((seat.slot.clone(), passed));
        }
        proved
    }

    /// Decides by the generation whose turn it is; where that is on trial and has no usable answer, by the last good one.
    #[inline]
    pub(crate) fn decide<T>(
        &self,
        client: &str,
        data_type: &str,
        ask: impl Fn(&Seat<P>, &Active<P>) -> Decision<T>,
    ) -> Decision<T> {
        let table = self.table.load();
        let seat = table.seat(client, data_type);
        if seat.is_settled() {
            return ask(seat, &seat.active);
        }
        self.decide_on_trial(seat, client, ask)
    }

    fn decide_on_trial<T>(
        &self,
        seat: &Seat<P>,
        client: &str,
        ask: impl Fn(&Seat<P>, &Active<P>) -> Decision<T>,
    ) -> Decision<T> {
        let Some((tried, watch, good)) = seat.tried_for(client) else {
            return ask(seat, &seat.active);
        };
        let asked = Instant::now();
        let decision = ask(seat, tried);
        let finding = match &decision.result {
            Ok(_) => watch.answered(asked.elapsed()),
            Err(fault) => watch.failed(fault),
        };
        match finding {
            Finding::Nothing => {}
            Finding::First => (self.tell)(Trouble::InDoubt),
            Finding::GiveUp(why) => drop(self.give_up(&seat.slot, tried.number, why)),
        }
        if decision.result.is_ok() { decision } else { ask(seat, good) }
    }
}

fn check_kind<P: Policy>(policy: &Loaded) -> Result<(), WrongKind> {
    if policy.kind() == P::KIND { Ok(()) } else { Err(WrongKind { offered: policy.kind(), slot: P::KIND }) }
}

impl<P: Policy> std::fmt::Debug for Slots<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind: PolicyKind = P::KIND;
        f.debug_struct("Slots").field("kind", &kind).field("seats", &self.table.load().seats().count()).finish()
    }
}
