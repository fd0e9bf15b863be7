//! Which version will this conditional write meet? See interface `prediction` in `wit/policy.wit`.

use ostrakon_wire::{ActionKind, Generation, ObjectId, OnConflict};

use super::{Decision, PolicyFault};

/// What a front end knows when it asks for a forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlook {
    /// The version the client acts upon; 0 for "no live object".
    pub known: u64,
    /// The version this front end last saw.
    pub observed: u64,
    /// How long ago, in microseconds; `u64::MAX` for never.
    pub observed_age_us: u64,
    /// How old the client's own read is, in microseconds; `u64::MAX` for not told.
    pub read_age_us: u64,
    /// Writes to the object that are on their way through this front end.
    pub queued: u32,
    /// Changes in the group that is being committed.
    pub in_group: u32,
    /// Recent writes to the object, per thousand seconds.
    pub write_millihz: u64,
    /// Share of conflicts among its recent conditional writes, in millionths.
    pub conflict_ppm: u32,
    /// How long a group takes to commit now, in microseconds.
    pub commit_us: u32,
    /// What the action does.
    pub kind: ActionKind,
    /// What the caller wants done on a conflict.
    pub choice: OnConflict,
    /// 0 for the first try.
    pub attempt: u32,
    /// Size of the action's body.
    pub payload_bytes: u32,
    /// A stable number for the object.
    pub scope: u64,
}

/// Which way to send the write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// Try it.
    Write,
    /// Expect a conflict: let the owner confirm before the write is tried.
    Reconcile,
}

impl Route {
    /// Its name, as in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Reconcile => "reconcile",
        }
    }
}

/// A forecast.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forecast {
    /// The stored version that the write will meet at its turn.
    pub version: u64,
    /// How sure, in millionths; at most 1,000,000.
    pub confidence_ppm: u32,
    /// Which way to send it.
    pub route: Route,
}

/// What became of a forecast, for a policy that learns. See interface `learning` in `wit/policy.wit`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// As the outlook told it.
    pub scope: u64,
    /// The version that was foretold.
    pub predicted: u64,
    /// The version that was met.
    pub met: u64,
    /// How old the observation was that it was foretold from, in microseconds; all ones: there was none.
    pub age_us: u64,
    /// The write was not tried: it was confirmed to be lost, or sent to the queue.
    pub aborted: bool,
}

/// What became of a write that was foretold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Met {
    /// The version that was met.
    pub version: u64,
    /// Another version than the known one stood there.
    pub conflict: bool,
    /// The version that the front end saw last.
    pub cached: Option<u64>,
    /// On a conflict the caller was saved from coming back with the winner.
    pub round_trip_saved: bool,
}

/// Foretells which version a conditional write will meet.
pub trait PredictionPolicy: Send + Sync {
    /// Makes one forecast of a write to this object. A confidence over 1,000,000 is a fault, never handed on.
    fn predict(&self, object: &ObjectId, outlook: &Outlook) -> Decision<Forecast>;

    /// Whether somebody compares policies: then [`Self::met`] is to be told.
    fn compares(&self) -> bool {
        false
    }

    /// What the write of an outlook met, and what was foretold. Decides nothing, and never waits.
    fn met(&self, _object: &ObjectId, _outlook: &Outlook, _decision: &Decision<Forecast>, _met: &Met) {}

    /// Whether it wants to be told what became of its forecasts.
    fn learns(&self) -> bool {
        false
    }

    /// Tells what became of forecasts of one generation; of another than the one that decides now they are dropped. Answers
    /// whether it was learned from. Takes its time: it is no part of any request.
    ///
    /// # Errors
    /// When the policy has no usable answer; it knows what it knew.
    fn learn(&self, _generation: Generation, _outcomes: &[Outcome]) -> Result<bool, PolicyFault> {
        Ok(false)
    }
}
