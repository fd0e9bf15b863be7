//! The slots as the engine knows policies: by the traits of `ostrakon_core::policy`.

use std::sync::Arc;

use ostrakon_core::policy::{
    Case, Decision, Forecast, Judgement, Met, Outcome, Outlook, Placement, Placing, PolicyFault, PredictionPolicy,
    ReconciliationPolicy, ShardKeyPolicy,
};
use ostrakon_wire::{Generation, ObjectId};

use super::{PredictionSlots, ReconciliationSlots, Seat, ShardKeySlots, Trial};
use crate::generation::Active;
use crate::prediction::Prediction;
use crate::reconciliation::Looking;

impl ShardKeyPolicy for ShardKeySlots {
    fn place(&self, placing: &Placing<&str>) -> Decision<Placement> {
        self.decide(placing.client, placing.data_type, |seat, active| {
            let decision = active.ask(*placing);
            seat.decided(placing, &decision);
            decision
        })
    }

    fn compares(&self) -> bool {
        self.table().seats().any(|seat| seat.shadow().is_some())
    }

    fn used(&self, placing: &Placing<&str>) {
        self.table().seat(placing.client, placing.data_type).used(placing);
    }
}

impl PredictionPolicy for PredictionSlots {
    fn predict(&self, object: &ObjectId, outlook: &Outlook) -> Decision<Forecast> {
        self.decide(object.client(), object.data_type(), |seat, active| {
            let decision = active.ask(outlook);
            seat.decided(&outlook, &decision);
            decision
        })
    }

    fn compares(&self) -> bool {
        self.table().seats().any(|seat| seat.shadow().is_some())
    }

    fn met(&self, object: &ObjectId, outlook: &Outlook, decision: &Decision<Forecast>, met: &Met) {
        self.table().seat(object.client(), object.data_type()).met(&outlook, decision, met);
    }

    fn learns(&self) -> bool {
        self.table().seats().any(|seat| candidates(seat).any(|active| active.policy.learns()))
    }

    fn learn(&self, generation: Generation, outcomes: &[Outcome]) -> Result<bool, PolicyFault> {
        let table = self.table();
        let learns = |active: &&Arc<Active<Prediction>>| active.number == generation && active.policy.learns();
        let Some(active) = table.seats().find_map(|seat| candidates(seat).find(learns)) else { return Ok(false) };
        let state =
            Prediction::learn(&active.policy.prepared, outcomes).inspect_err(|fault| active.tally.fault(fault))?;
        let mut learned = false;
        // An override may go on with what decides by default: one generation has one state.
        for seat in table.seats().filter(|seat| candidates(seat).any(|active| active.number == generation)) {
            let renewed = active.with_state(state.clone()).inspect_err(|fault| active.tally.fault(fault))?;
            self.change(&seat.slot, |now| {
                let (seat, still) = replaced(now?.clone(), renewed);
                learned |= still;
                Some(seat)
            });
        }
        Ok(learned)
    }
}

/// The generations of a seat that forecasts are made by.
fn candidates(seat: &Seat<Prediction>) -> impl Iterator<Item = &Arc<Active<Prediction>>> {
    std::iter::once(&seat.active).chain(match &seat.trial {
        Some(Trial::Canary { candidate, .. }) => Some(candidate),
        _ => None,
    })
}

/// The seat with another state of one of its generations, and whether that still was one of them. Whether it is on trial
/// is for the seat to say: that may have ended meanwhile.
fn replaced(seat: Seat<Prediction>, renewed: Active<Prediction>) -> (Seat<Prediction>, bool) {
    if seat.active.number == renewed.number {
        let active = Arc::new(renewed.tried_as(&seat.active));
        return (Seat { active, ..seat }, true);
    }
    match seat.trial {
        Some(Trial::Canary { candidate, share_ppm, watch }) if candidate.number == renewed.number => {
            let candidate = Arc::new(renewed.tried_as(&candidate));
            (Seat { trial: Some(Trial::Canary { candidate, share_ppm, watch }), ..seat }, true)
        }
        trial => (Seat { trial, ..seat }, false),
    }
}

impl ReconciliationPolicy for ReconciliationSlots {
    /// All of a case is decided by one generation: where one on trial fails, the last good one judges it from the start.
    fn judge(&self, case: &Case<'_>) -> Judgement {
        let brief = case.brief;
        let counted = std::cell::Cell::new(0);
        let decision = self.decide(brief.client, brief.data_type, |seat, active| {
            let (result, asked) = case.ask(|look| {
                let question = Looking { brief, look };
                let decision = active.ask(question);
                seat.decided(&question, &decision);
                decision.result
            });
            counted.set(counted.get() + asked);
            Decision { generation: active.number, result }
        });
        Judgement { decision, calls: counted.get() }
    }
}
