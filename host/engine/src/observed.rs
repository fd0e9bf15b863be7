//! What this front end has seen of the objects: the newest version that passed through it, and how busy the object is.
//!
//! A table of fixed size; an object that falls on another's slot takes its place. What is wrong here makes a forecast
//! wrong, never an answer: the owner confirms.

use std::time::{Duration, Instant};

use ostrakon_store::Clock;
use ostrakon_wire::Version;
use ostrakon_wire::bounds::OBSERVED_OBJECTS;
use parking_lot::Mutex;

/// What a front end knows of one object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Seen {
    /// The version last seen, and how many microseconds ago; `None` for never.
    pub(crate) version: Option<(Version, u64)>,
    /// Writes on their way through here.
    pub(crate) queued: u32,
    /// Recent writes per thousand seconds.
    pub(crate) write_millihz: u64,
    /// Share of conflicts among recent conditional writes, in millionths.
    pub(crate) conflict_ppm: u32,
}

#[derive(Default)]
struct Slot {
    object: u64,
    version: Option<Version>,
    seen_us: u64,
    /// The version that was the newest the lag ago or a little longer, and the one that takes its place in time.
    aged: Option<(Version, u64)>,
    ageing: Option<(Version, u64)>,
    queued: u32,
    /// Writes, fading by half every [`HALF_LIFE_US`].
    writes: f32,
    faded_us: u64,
    conflict_ppm: u32,
}

const HALF_LIFE_US: f32 = 1_000_000.0;
const LN_2: f32 = std::f32::consts::LN_2;

/// The table.
pub(crate) struct Observed {
    slots: Box<[Mutex<Slot>]>,
    clock: Clock,
    started: Instant,
    /// What is told is at least so old.
    lag_us: u64,
}

/// A conditional write on its way; counts as queued until it is dropped.
pub(crate) struct OnItsWay<'a> {
    observed: &'a Observed,
    object: u64,
}

impl Observed {
    pub(crate) fn new(clock: Clock, lag: Duration) -> Self {
        let slots = (0..OBSERVED_OBJECTS).map(|_| Mutex::default()).collect();
        Self { slots, started: clock.instant(), clock, lag_us: lag.as_micros() as u64 }
    }

    fn now_us(&self) -> u64 {
        self.clock.instant().duration_since(self.started).as_micros() as u64
    }

    fn slot(&self, object: u64) -> &Mutex<Slot> {
        &self.slots[object as usize % OBSERVED_OBJECTS]
    }

    /// What is known of an object, and a mark that one more write to it is on its way.
    pub(crate) fn look(&self, object: u64) -> (Seen, OnItsWay<'_>) {
        let now = self.now_us();
        let mut slot = self.slot(object).lock();
        slot.claim(object, now);
        slot.fade(now);
        let seen = Seen {
            version: slot.told(now, self.lag_us).map(|(version, at)| (version, now.saturating_sub(at))),
            queued: slot.queued,
            write_millihz: (slot.writes * LN_2 / (HALF_LIFE_US / 1e6) * 1e3) as u64,
            conflict_ppm: slot.conflict_ppm,
        };
        slot.queued += 1;
        (seen, OnItsWay { observed: self, object })
    }

    /// A version of an object was written through here, without a condition.
    pub(crate) fn wrote(&self, object: u64, version: Version) {
        let now = self.now_us();
        let mut slot = self.slot(object).lock();
        slot.claim(object, now);
        slot.saw(version, now);
        slot.wrote(now);
    }

    /// A version of an object was read through here.
    pub(crate) fn saw(&self, object: u64, version: Version) {
        let now = self.now_us();
        let mut slot = self.slot(object).lock();
        slot.claim(object, now);
        slot.saw(version, now);
    }
}

impl Slot {
    /// Takes the slot for an object, from another if need be.
    fn claim(&mut self, object: u64, now_us: u64) {
        if self.object != object {
            *self = Self { object, faded_us: now_us, ..Self::default() };
        }
    }

    /// The version that is told, and when it was the newest.
    fn told(&mut self, now_us: u64, lag_us: u64) -> Option<(Version, u64)> {
        let newest = self.version.map(|version| (version, self.seen_us));
        if lag_us == 0 {
            return newest;
        }
        if self.ageing.is_some_and(|(_, at)| at + lag_us <= now_us) {
            self.aged = self.ageing.take();
        }
        if self.ageing.is_none() {
            self.ageing = newest.map(|(version, _)| (version, now_us));
        }
        self.aged
    }

    fn wrote(&mut self, now_us: u64) {
        self.fade(now_us);
        self.writes += 1.0;
    }

    fn saw(&mut self, version: Version, now_us: u64) {
        if self.version.is_none_or(|seen| seen <= version) {
            self.version = Some(version);
            self.seen_us = now_us;
        }
    }

    fn fade(&mut self, now_us: u64) {
        let age_us = now_us.saturating_sub(self.faded_us) as f32;
        self.writes *= (-age_us / HALF_LIFE_US * LN_2).exp();
        self.faded_us = now_us;
    }
}

impl OnItsWay<'_> {
    /// The object that is written to.
    pub(crate) fn object(&self) -> u64 {
        self.object
    }

    /// The write ended on an object of this version, its own if it was `written`.
    pub(crate) fn ended(&self, version: Version, written: bool, conflict: bool) {
        let now = self.observed.now_us();
        let mut slot = self.observed.slot(self.object).lock();
        slot.claim(self.object, now);
        let latest = if conflict { 1_000_000 / 8 } else { 0 };
        slot.conflict_ppm = slot.conflict_ppm / 8 * 7 + latest;
        slot.saw(version, now);
        if written {
            slot.wrote(now);
        }
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        let mut slot = self.observed.slot(self.object).lock();
        if slot.object == self.object {
            slot.queued = slot.queued.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_end_remembers_the_newest_version_and_who_is_on_the_way() {
        let observed = Observed::new(Clock::default(), Duration::ZERO);
        let (seen, first) = observed.look(5);
        assert_eq!((seen.version, seen.queued), (None, 0));
        first.ended(Version::new(7), true, false);
        observed.saw(5, Version::new(6));
        let (seen, _second) = observed.look(5);
        assert_eq!((seen.version.map(|(version, _)| version), seen.queued), (Some(Version::new(7)), 1));
        assert!(seen.write_millihz > 0);
        drop(first);
        assert_eq!(observed.look(5).0.queued, 1);
        let (other, _way) = observed.look(5 + OBSERVED_OBJECTS as u64);
        assert_eq!(other.version, None, "another object in the same slot starts afresh");
    }

    #[test]
    fn a_front_end_with_a_lag_is_told_the_newest_version() {
        let mut slot = Slot::default();
        let (newer, lag) = (|slot: &mut Slot, version, now| slot.saw(Version::new(version), now), 1_000);
        newer(&mut slot, 1, 0);
        assert_eq!(slot.told(0, lag), None);
        newer(&mut slot, 2, 400);
        assert_eq!(slot.told(999, lag), None);
        assert_eq!(slot.told(1_000, lag), Some((Version::new(1), 0)));
        newer(&mut slot, 3, 1_500);
        assert_eq!(slot.told(2_100, lag), Some((Version::new(2), 1_000)));
        assert_eq!(slot.told(2_100, 0), Some((Version::new(3), 1_500)));
    }
}
