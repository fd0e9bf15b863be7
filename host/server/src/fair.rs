//! What part of the host each connection may use: a decision, and the counts behind it.
//!
//! A connection that is active alone may have as much in work as a connection ever may. While several are active each may
//! have an equal part of a fixed budget, so that one which asks for much cannot queue it up before the others' requests. While
//! some of them ask for little, the part of those who ask for much is smaller, and smallest where it is a single one: many
//! are the load, one is a flood when it has much waiting. Active is who has asked for something in this turn or the one
//! before. There is no clock here: its owner says when a tick has gone by, and some ticks make a turn.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use ostrakon_wire::bounds::{
    ACTIVE_MS, IN_FLIGHT_PER_CONNECTION_MAX, IN_WORK_BESIDE_MODEST, IN_WORK_SHARE_MIN, IN_WORK_SHARED, MODEST_MAX,
    WAIT_MAX_MS, WAIT_TICK_MS, WAITING_PER_CONNECTION_MAX, WAITING_SHARE_MIN, WAITING_SHARED,
};

const TICKS_OF_TURN: u32 = (ACTIVE_MS / WAIT_TICK_MS) as u32;
/// A wait may have begun just before a tick.
const TICKS_OF_WAIT: u32 = (WAIT_MAX_MS / WAIT_TICK_MS) as u32;

/// The counts, and the parts that follow from them. Parts are read for every request and written a few times a turn.
pub(crate) struct Fair {
    ticks: AtomicU32,
    turn: AtomicU32,
    active: Count,
    /// Those of them that ask for more than a few.
    greedy: Count,
    /// Parts: of those who ask for little, and of the others.
    in_work_of_modest: AtomicUsize,
    in_work_of_greedy: AtomicUsize,
    waiting: AtomicUsize,
    /// A single one asks for much, beside some that ask for little.
    has_only_greedy: AtomicBool,
}

/// How many connections there were of a kind, in this turn and the one before.
#[derive(Default)]
struct Count {
    now: AtomicUsize,
    before: AtomicUsize,
}

impl Count {
    fn get(&self) -> usize {
        self.now.load(Ordering::Relaxed).max(self.before.load(Ordering::Relaxed))
    }

    fn end_turn(&self) {
        self.before.store(self.now.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Counts a connection once a turn.
    fn add(&self, counted_in: &AtomicU32, turn: u32) -> bool {
        let first = counted_in.load(Ordering::Relaxed) != turn && counted_in.swap(turn, Ordering::Relaxed) != turn;
        if first {
            self.now.fetch_add(1, Ordering::Relaxed);
        }
        first
    }
}

/// What one connection remembers: the turns it last counted in.
pub(crate) struct Seat {
    active: AtomicU32,
    greedy: AtomicU32,
}

/// A turn that is neither the first one nor the one before it.
const NEVER: u32 = u32::MAX - 1;

impl Seat {
    pub(crate) fn new() -> Self {
        Self { active: AtomicU32::new(NEVER), greedy: AtomicU32::new(NEVER) }
    }
}

impl Fair {
    pub(crate) fn new() -> Self {
        let fair = Self {
            ticks: AtomicU32::new(0),
            turn: AtomicU32::new(0),
            active: Count::default(),
            greedy: Count::default(),
            in_work_of_modest: AtomicUsize::new(0),
            in_work_of_greedy: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            has_only_greedy: AtomicBool::new(false),
        };
        fair.deal();
        fair
    }

    /// A tick has gone by.
    pub(crate) fn tick(&self) {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if ticks.is_multiple_of(TICKS_OF_TURN) {
            self.active.end_turn();
            self.greedy.end_turn();
            self.turn.fetch_add(1, Ordering::Relaxed);
            self.deal();
        }
    }

    /// The connection of this seat asks for something, beside so many shares of others that it has in work and waiting.
    pub(crate) fn asks(&self, seat: &Seat, beside: usize) {
        let turn = self.turn.load(Ordering::Relaxed);
        let new = self.active.add(&seat.active, turn);
        let greedy = beside >= MODEST_MAX && self.greedy.add(&seat.greedy, turn);
        if new || greedy {
            self.deal();
        }
    }

    /// What the connection of this seat may have in work, in shares.
    pub(crate) fn in_work(&self, seat: &Seat) -> usize {
        let part = if self.is_greedy(seat) { &self.in_work_of_greedy } else { &self.in_work_of_modest };
        part.load(Ordering::Relaxed)
    }

    /// Whether the connection of this seat is the only one that asks for much, beside some that ask for little.
    pub(crate) fn is_only_greedy(&self, seat: &Seat) -> bool {
        self.has_only_greedy.load(Ordering::Relaxed) && self.is_greedy(seat)
    }

    fn is_greedy(&self, seat: &Seat) -> bool {
        self.turn.load(Ordering::Relaxed).wrapping_sub(seat.greedy.load(Ordering::Relaxed)) <= 1
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
        let (active, greedy) = (self.active.get().max(1), self.greedy.get());
        let equal = match active {
            1 => IN_FLIGHT_PER_CONNECTION_MAX,
            several => (IN_WORK_SHARED / several).max(IN_WORK_SHARE_MIN),
        };
        let has_modest = greedy < active;
        let of_greedy = if has_modest { (IN_WORK_BESIDE_MODEST * greedy).max(MODEST_MAX) } else { equal };
        let waiting = (WAITING_SHARED / active).clamp(WAITING_SHARE_MIN, WAITING_PER_CONNECTION_MAX);
        self.in_work_of_modest.store(equal, Ordering::Relaxed);
        self.in_work_of_greedy.store(equal.min(of_greedy), Ordering::Relaxed);
        self.waiting.store(waiting, Ordering::Relaxed);
        self.has_only_greedy.store(has_modest && greedy == 1, Ordering::Relaxed);
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
        for beside in [0, 1_000, 1_000, 0, 0] {
            fair.asks(&seat, beside);
            assert_eq!(fair.in_work(&seat), IN_FLIGHT_PER_CONNECTION_MAX);
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
                (0..4).for_each(|_| seats.iter().for_each(|seat| fair.asks(seat, 1_000)));
                let in_work = fair.in_work(&seats[0]);
                assert!(in_work >= IN_WORK_SHARE_MIN, "{active}: {in_work}");
                assert!(in_work == IN_WORK_SHARE_MIN || in_work * active <= IN_WORK_SHARED, "{active}: {in_work}");
                turn(&fair);
                assert_eq!(fair.in_work(&seats[0]), in_work, "{active}: the new turn forgets who was active");
            }
        }
    }

    #[test]
    fn a_connection_that_pauses_between_requests_loses_its_part() {
        let (fair, busy, quiet) = (Fair::new(), Seat::new(), Seat::new());
        fair.asks(&busy, 1_000);
        fair.asks(&quiet, 0);
        // For a whole turn after the last request there are two, whenever in its turn that came.
        (0..TICKS_OF_TURN).for_each(|_| {
            fair.tick();
            fair.asks(&busy, 1_000);
            assert_eq!((fair.in_work(&busy), fair.is_only_greedy(&busy)), (MODEST_MAX, true));
            assert!(!fair.is_only_greedy(&quiet));
            assert!(fair.in_work(&quiet) >= MODEST_MAX, "who asks for little has it");
        });
        turn(&fair);
        fair.asks(&busy, 1_000);
        assert_eq!(fair.in_work(&busy), IN_FLIGHT_PER_CONNECTION_MAX, "the other has left");
        assert!(!fair.is_only_greedy(&busy), "it is alone");
        fair.asks(&quiet, 0);
        assert_eq!((fair.in_work(&busy), fair.is_only_greedy(&busy)), (MODEST_MAX, true), "it is back at once");
    }

    #[test]
    fn many_that_ask_for_much_are_kept_as_small_as_one_beside_a_modest_one() {
        let (fair, modest) = (Fair::new(), Seat::new());
        let greedy: Vec<Seat> = (0..8).map(|_| Seat::new()).collect();
        let all_ask = |many: usize| {
            greedy[..many].iter().for_each(|seat| fair.asks(seat, MODEST_MAX));
            fair.in_work(&greedy[0])
        };
        for _ in 0..3 {
            assert_eq!(all_ask(2), IN_WORK_SHARED / 2);
            turn(&fair);
        }
        fair.asks(&modest, 0);
        assert_eq!(all_ask(3), 3 * IN_WORK_BESIDE_MODEST);
        assert_eq!(all_ask(8), 8 * IN_WORK_BESIDE_MODEST, "many are the load, and not a flood");
        assert!(!fair.is_only_greedy(&greedy[0]));
        turn(&fair);
        turn(&fair);
        fair.asks(&modest, 0);
        assert_eq!(all_ask(1), MODEST_MAX, "the others have left");
        assert!(fair.is_only_greedy(&greedy[0]));
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
