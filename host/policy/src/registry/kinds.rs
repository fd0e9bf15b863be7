//! The slots of all kinds, for those who change them without knowing which kind it is.

use std::any::Any;
use std::sync::Arc;

use ostrakon_wire::{Generation, Slot, Stage};

use crate::generation::Active;
use crate::load::Loaded;
use crate::prepared::Policy;
use crate::shadow::Shadow;
use crate::slots::{Guarded, Seat, SeatInfo, Slots, Trial};
use crate::watch::Watch;

/// A loaded policy that is to stand in a slot.
pub(crate) struct Generated {
    pub(crate) number: Generation,
    pub(crate) policy: Loaded,
    pub(crate) slow_us: u32,
}

/// What can be done to the slots of a kind. Everything is done in one step.
pub(crate) trait AnySlots: Send + Sync {
    /// A new generation decides. Until it has proved good, the one before it is asked where it fails. Answers what that
    /// leaves behind: whoever drops it gives the memory back, which is nothing for a request to do.
    fn serve(&self, slot: &Slot, next: Generated) -> Box<dyn Any + Send>;
    /// The generation decides that was tried; answers whether it was.
    fn promote(&self, slot: &Slot, candidate: Generation, slow_us: u32) -> bool;
    /// A generation decides that was good before. What is tried, is no longer.
    fn put_back(&self, slot: &Slot, good: Generated);
    /// A new generation is tried.
    fn try_out(&self, slot: &Slot, candidate: Generated, stage: Stage);
    /// Nothing is tried.
    fn end_trial(&self, slot: &Slot);
    /// An override ends.
    fn remove(&self, slot: &Slot);
    /// Gives up what is bad; answers whether something is in doubt.
    fn look_after(&self) -> bool;
    /// Whether any generation is on trial.
    fn is_on_trial(&self) -> bool;
    /// Slots whose active generation has proved good, and no longer needs the one before it.
    fn end_trials(&self) -> Vec<(Slot, Generation)>;
    /// The generation to go back to, were another one put in now.
    fn last_good(&self, slot: &Slot) -> Generation;
    /// What stands where.
    fn infos(&self) -> Vec<SeatInfo>;
    /// The shadows that are asked.
    fn shadows(&self) -> Vec<(Slot, Generation, Arc<Shadow>)>;
}

impl<P: Policy> Slots<P> {
    /// The seat of a slot, or one that goes on with what decides there now.
    fn seat_or_inherited(&self, slot: &Slot) -> Seat<P> {
        let table = self.table();
        if let Some(seat) = table.get(slot) {
            return Seat::clone(seat);
        }
        let inherited = table.seat(slot.client.as_deref().unwrap_or(""), slot.data_type.as_deref().unwrap_or(""));
        Seat {
            slot: slot.clone(),
            active: Arc::clone(&inherited.active),
            guarded: inherited.guarded.clone(),
            trial: None,
            recording: inherited.recording.clone(),
        }
    }
}

/// The generation to go back to: the active one, unless that is new itself and has done nothing good yet.
fn last_good<P: Policy>(seat: &Seat<P>) -> Arc<Active<P>> {
    match &seat.guarded {
        Some(guarded) if !guarded.watch.is_good_so_far() => Arc::clone(&guarded.last_good),
        _ => Arc::new(seat.active.at_rest()),
    }
}

impl<P: Policy> AnySlots for Slots<P> {
    fn serve(&self, slot: &Slot, next: Generated) -> Box<dyn Any + Send> {
        let before = self.seat_or_inherited(slot);
        let left = before.clone();
        if !slot.is_default() {
            next.policy.prepared.drop_spares();
        }
        let active = Arc::new(Active::on_trial(next.number, next.policy));
        self.change(slot, |now| {
            let seat = now.cloned().unwrap_or(before);
            let guarded = Some(Guarded { last_good: last_good(&seat), watch: Arc::new(Watch::new(next.slow_us)) });
            Some(Seat { active, guarded, trial: None, ..seat })
        });
        Box::new(left)
    }

    fn promote(&self, slot: &Slot, candidate: Generation, slow_us: u32) -> bool {
        let mut promoted = false;
        self.change(slot, |now| {
            let seat = now?.clone();
            let tried = seat.trial.as_ref().map(Trial::candidate).filter(|it| it.number == candidate);
            let Some(active) = tried.cloned() else { return Some(seat) };
            promoted = true;
            let guarded = Some(Guarded { last_good: last_good(&seat), watch: Arc::new(Watch::new(slow_us)) });
            Some(Seat { active, guarded, trial: None, ..seat })
        });
        promoted
    }

    fn put_back(&self, slot: &Slot, good: Generated) {
        let before = self.seat_or_inherited(slot);
        self.change(slot, |now| {
            let seat = now.cloned().unwrap_or(before);
            // One that is still here goes on counting.
            let kept = seat.guarded.as_ref().map(|it| &it.last_good).filter(|kept| kept.number == good.number).cloned();
            let active = kept.unwrap_or_else(|| Arc::new(Active::new(good.number, good.policy)));
            Some(Seat { active, guarded: None, trial: None, ..seat })
        });
    }

    fn try_out(&self, slot: &Slot, candidate: Generated, stage: Stage) {
        let before = self.seat_or_inherited(slot);
        let Generated { number, policy, slow_us } = candidate;
        policy.prepared.drop_spares();
        self.change(slot, |now| {
            let seat = now.cloned().unwrap_or(before);
            let trial = Trial::of(stage, number, policy, slow_us, &seat.active.policy);
            Some(Seat { trial, ..seat })
        });
    }

    fn end_trial(&self, slot: &Slot) {
        self.change(slot, |now| Some(Seat { trial: None, ..now?.clone() }));
    }

    fn remove(&self, slot: &Slot) {
        self.change(slot, |_| None);
    }

    fn look_after(&self) -> bool {
        Self::look_after(self)
    }

    fn is_on_trial(&self) -> bool {
        self.table().seats().any(|seat| seat.on_trial().next().is_some())
    }

    fn end_trials(&self) -> Vec<(Slot, Generation)> {
        Self::end_trials(self)
    }

    fn last_good(&self, slot: &Slot) -> Generation {
        last_good(&self.seat_or_inherited(slot)).number
    }

    fn infos(&self) -> Vec<SeatInfo> {
        self.table().seats().map(|seat| seat.info()).collect()
    }

    fn shadows(&self) -> Vec<(Slot, Generation, Arc<Shadow>)> {
        let table = self.table();
        let of = |seat: &Arc<Seat<P>>| {
            let candidate = seat.trial.as_ref()?.candidate().number;
            Some((seat.slot.clone(), candidate, Arc::clone(seat.shadow()?)))
        };
        table.seats().filter_map(of).collect()
    }
}
