//! What part of the host each connection may use: a decision, and the counts behind it.
//!
//! A connection that is active alone may have as much in work as a connection ever may. While several are active each may
//! have an equal part of a fixed budget, so that one which asks for much cannot queue it up before the others' requests.
//! Active is who has asked for something in this turn or the one before. There is no clock here: its owner says when a tick
//! has gone by, and some ticks make a turn.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use ostrakon_wire::bounds::{
    ACTIVE_MS, IN_FLIGHT_PER_CONNECTION_MAX, IN_WORK_SHARE_MIN, IN_WORK_SHARED, WAIT_MAX_MS, WAIT_TICK_MS,
    WAITING_PER_CONNECTION_MAX, WAITING_SHARE_MIN, WAITING_SHARED,
};

const TICKS_OF_TURN: u32 = (ACTIVE_MS / WAIT_TICK_MS) as u32;
/// A wait may have begun just before a tick.
const TICKS_OF_WAIT: u32 = (WAIT_MAX_MS / WAIT_TICK_MS) as u32;

/// The counts, and the parts that follow from them. Parts are read for every request and written a few times a turn.
pub(crate) struct Fair {
    ticks: AtomicU32,
    turn: AtomicU32,
    active_now: AtomicUsize,
    active_before: AtomicUsize,
    in_work: AtomicUsize,
    waiting: AtomicUsize,
}

/// What one connection remembers: the turn it last counted in.
pub(crate) struct Seat(AtomicU32);

impl Seat {
    pub(crate) fn new() -> Self {
        Self(AtomicU32::new(u32::MAX))
    }
}

impl Fair {
    pub(crate) fn new() -> Self {
        let fair = Self {
            ticks: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            active_now: AtomicUsize::new(0),
            active_before: AtomicUsize::new(0),
            in_work: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
        };
        fair.deal();
        fair
    }

    /// A tick has gone by.
    pub(crate) fn tick(&self) {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if ticks.is_multiple_of(TICKS_OF_TURN) {
            self.active_before.store(self.active_now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
            self.turn.fetch_add(1, Ordering::Relaxed);
            self.deal();
        }
    }

    /// The connection of this seat asks for something.
    pub(crate) fn asks(&self, seat: &Seat) {
        let turn = self.turn.load(Ordering::Relaxed);
        if seat.0.load(Ordering::Relaxed) != turn && seat.0.swap(turn, Ordering::Relaxed) != turn {
            self.active_now.fetch_add(1, Ordering::Relaxed);
            self.deal();
        }
    }

    /// What a connection may have in work, in shares.
    pub(crate) fn in_work(&self) -> usize {
        self.in_work.load(Ordering::Relaxed)
    }

    /// What may wait for a connection's turn, in shares.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The number of this moment, to tell waits by.
    pub(crate) fn moment(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Whether what has waited since that moment has waited for too long.
    pub(crate) fn is_late(&self, since: u32) -> bool {
        self.moment().wrapping_sub(since) > TICKS_OF_WAIT
    }

    fn deal(&self) {
        let before = self.active_before.load(Ordering::Relaxed);
        let active = self.active_now.load(Ordering::Relaxed).max(before).max(1);
        let in_work = match active {
            1 => IN_FLIGHT_PER_CONNECTION_MAX,
            several => (IN_WORK_SHARED / several).max(IN_WORK_SHARE_MIN),
        };
        let waiting = (WAITING_SHARED / active).clamp(WAITING_SHARE_MIN, WAITING_PER_CONNECTION_MAX);
        self.in_work.store(in_work, Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(fair: &Fair) {
        (0..TICKS_OF_TURN).for_each(|_| fair.tick());
    }

    #[test]
    fn a_connection_that_is_alone_may_not_have_everything() {
        let (fair, seat) = (Fair::new(), Seat::new());
        for _ in 0..5 {
            fair.asks(&seat);
            assert_eq!(fair.in_work(), IN_FLIGHT_PER_CONNECTION_MAX);
            turn(&fair);
        }
    }

    #[test]
    fn several_connections_may_have_more_than_their_part() {
        for active in [2, 3, 9, 64, 4096] {
            let fair = Fair::new();
            let seats: Vec<Seat> = (0..active).map(|_| Seat::new()).collect();
            for _ in 0..3 {
                // However often each asks.
                (0..4).for_each(|_| seats.iter().for_each(|seat| fair.asks(seat)));
                let in_work = fair.in_work();
                assert!(in_work >= IN_WORK_SHARE_MIN, "{active}: {in_work}");
                assert!(in_work == IN_WORK_SHARE_MIN || in_work * active <= IN_WORK_SHARED, "{active}: {in_work}");
                turn(&fair);
                assert_eq!(fair.in_work(), in_work, "{active}: the new turn forgets who was active");
            }
        }
    }

    #[test]
    fn a_connection_that_pauses_between_requests_loses_its_part() {
        let (fair, busy, quiet) = (Fair::new(), Seat::new(), Seat::new());
        fair.asks(&busy);
        fair.asks(&quiet);
        // For a whole turn after the last request there are two, whenever in its turn that came.
        (0..TICKS_OF_TURN).for_each(|_| {
            fair.tick();
            fair.asks(&busy);
            assert_eq!(fair.in_work(), IN_WORK_SHARED / 2);
        });
        turn(&fair);
        fair.asks(&busy);
        assert_eq!(fair.in_work(), IN_FLIGHT_PER_CONNECTION_MAX, "it has left");
        fair.asks(&quiet);
        assert_eq!(fair.in_work(), IN_WORK_SHARED / 2, "it is back at once");
    }

    #[test]
    fn a_wait_is_late_too_soon_or_never() {
        let fair = Fair::new();
        fair.tick();
        let since = fair.moment();
        for _ in 0..TICKS_OF_WAIT {
            fair.tick();
            assert!(!fair.is_late(since));
        }
        fair.tick();
        assert!(fair.is_late(since));
    }
}
