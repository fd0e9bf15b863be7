//! A connection's room: what its streams have in work, and what waits for it.
//!
//! Room is counted in shares, one a request and more for a large frame. Two limits hold: what a connection may ever have, to
//! the share; and its part among the active connections, which a frame that is let in may overrun by itself, so that a large
//! one is not kept out for good.
//!
//! A flood, which is the only one that asks for much and has many waiting, also rests after each group of its writes. A group
//! cannot be left once it is begun, and who comes meanwhile waits for its end and then for the end of the next: beside a flood
//! that always has one on its way everybody waits twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::time::Duration;

use ostrakon_wire::bounds::{
    FLOOD_MIN, FLOOD_REST_MS, IN_FLIGHT_BYTES_PER_CONNECTION_MAX, IN_FLIGHT_PER_CONNECTION_MAX,
};
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::{Instant, sleep_until};

use crate::fair::{Fair, Seat};

/// Bytes of a frame that go with one share.
const SHARE_BYTES: usize = IN_FLIGHT_BYTES_PER_CONNECTION_MAX / IN_FLIGHT_PER_CONNECTION_MAX;

pub(crate) struct Room {
    fair: Arc<Fair>,
    seat: Seat,
    in_work: Semaphore,
    /// Until when it begins nothing, should it be a flood.
    rests_until: Mutex<Option<Instant>>,
    /// Streams whose frame waits for room go in one after the other; the first of them waits to be told.
    first: tokio::sync::Mutex<()>,
    /// Whether one does: then nobody goes past it. And what tells it.
    blocked: AtomicBool,
    freed: Notify,
    /// Shares of the frames that wait in the streams.
    pub(crate) waiting: AtomicUsize,
}

/// Room that a request has while it is in work.
pub(crate) struct Permit<'a> {
    // Given back before others are told.
    _shares: SemaphorePermit<'a>,
    freed: Freed<'a>,
}

/// Why a frame is not let in now.
enum Closed {
    /// As much is in work as may be.
    Full,
    /// It rests until then.
    Resting(Instant),
}

impl Permit<'_> {
    /// The request has written something.
    pub(crate) fn has_written(&self) {
        let Freed(room) = self.freed;
        if room.asked() >= FLOOD_MIN && room.fair.is_only_greedy(&room.seat) {
            *room.rests_until.lock() = Some(Instant::now() + Duration::from_millis(FLOOD_REST_MS));
        }
    }
}

struct Freed<'a>(&'a Room);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.wake_one();
    }
}

/// What a frame takes of its connection's room.
pub(crate) fn shares(frame_bytes: usize) -> u32 {
    1 + (frame_bytes / SHARE_BYTES) as u32
}

impl Room {
    pub(crate) fn new(fair: Arc<Fair>) -> Self {
        Self {
            fair,
            seat: Seat::new(),
            in_work: Semaphore::new(IN_FLIGHT_PER_CONNECTION_MAX),
            rests_until: Mutex::new(None),
            first: tokio::sync::Mutex::new(()),
            blocked: AtomicBool::new(false),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn fair(&self) -> &Fair {
        &self.fair
    }

    /// Room for a frame that has just come, if there is some now and nobody waits for it.
    pub(crate) fn try_enter(&self, shares: u32) -> Option<Permit<'_>> {
        self.enter_beside(shares, self.asked())
    }

    /// The same for one that has waited.
    pub(crate) fn try_enter_waited(&self, shares: u32) -> Option<Permit<'_>> {
        self.enter_beside(shares, self.asked().saturating_sub(shares as usize))
    }

    fn enter_beside(&self, shares: u32, others: usize) -> Option<Permit<'_>> {
        self.fair.asks(&self.seat, others);
        if self.blocked.load(Ordering::Relaxed) || self.closed().is_some() {
            return None;
        }
        let shares = self.in_work.try_acquire_many(shares).ok()?;
        Some(Permit { _shares: shares, freed: Freed(self) })
    }

    /// Room for a frame, once there is some.
    pub(crate) async fn enter(&self, shares: u32) -> Permit<'_> {
        let _first = self.first.lock().await;
        let _blocked = Blocked::tell(self);
        while let Some(closed) = self.closed() {
            match closed {
                Closed::Full => self.freed.notified().await,
                Closed::Resting(until) => sleep_until(until).await,
            }
        }
        let shares = self.in_work.acquire_many(shares).await.expect("it is never closed");
        Permit { _shares: shares, freed: Freed(self) }
    }

    /// Shares of the requests in work.
    fn held(&self) -> usize {
        IN_FLIGHT_PER_CONNECTION_MAX - self.in_work.available_permits()
    }

    /// Shares of all that it asks for, in work and waiting.
    fn asked(&self) -> usize {
        self.held() + self.waiting.load(Ordering::Relaxed)
    }

    fn closed(&self) -> Option<Closed> {
        if self.held() >= self.fair.in_work(&self.seat) {
            return Some(Closed::Full);
        }
        if !self.fair.is_only_greedy(&self.seat) {
            return None;
        }
        let until = (*self.rests_until.lock())?;
        (until > Instant::now()).then_some(Closed::Resting(until))
    }

    /// Who frees room looks for one that waits, and who waits looks for room, each after having told: one sees the other.
    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.blocked.load(Ordering::Relaxed) {
            self.freed.notify_one();
        }
    }
}

struct Blocked<'a>(&'a Room);

impl<'a> Blocked<'a> {
    fn tell(room: &'a Room) -> Self {
        room.blocked.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(room)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use ostrakon_wire::bounds::{FRAME_BYTES_MAX, MODEST_MAX};

    use super::*;

    /// Two connections that are both active.
    fn two() -> (Room, Room) {
        let fair = Arc::new(Fair::new());
        let (one, other) = (Room::new(Arc::clone(&fair)), Room::new(fair));
        drop((one.try_enter(1), other.try_enter(1)));
        (one, other)
    }

    /// All that a flood may have, once it counts as one.
    fn fill(room: &Room) -> Vec<Permit<'_>> {
        let mut taken: Vec<_> = std::iter::from_fn(|| room.try_enter(1)).collect();
        taken.truncate(room.fair().in_work(&room.seat));
        taken
    }

    #[test]
    fn a_flood_takes_the_part_of_others() {
        let (flood, other) = two();
        let at_first: Vec<_> = std::iter::from_fn(|| flood.try_enter(1)).collect();
        assert_eq!(at_first.len(), MODEST_MAX, "from then on it counts as a flood");
        drop(at_first);
        assert_eq!(fill(&flood).len(), MODEST_MAX);
        assert!(other.try_enter(1).is_some());
    }

    #[test]
    fn a_large_frame_is_kept_out_for_good() {
        let (room, _other) = two();
        let largest = shares(FRAME_BYTES_MAX);
        assert!(largest as usize > room.fair().in_work(&room.seat));
        let large = room.try_enter(largest);
        assert!(large.is_some());
        assert!(room.try_enter(1).is_none(), "beside it there is no room");
    }

    #[test]
    fn who_waits_is_not_told_of_room() {
        let (room, _other) = two();
        let mut taken = fill(&room);
        let mut first = pin!(room.enter(1));
        let mut second = pin!(room.enter(1));
        assert!(first.as_mut().now_or_never().is_none());
        assert!(second.as_mut().now_or_never().is_none());
        taken.truncate(taken.len() - 1);
        let first = first.now_or_never().expect("one share is free");
        assert!(second.as_mut().now_or_never().is_none(), "it was one share");
        drop(first);
        assert!(second.now_or_never().is_some());
    }

    #[test]
    fn a_stream_that_gives_up_keeps_those_behind_it_out() {
        let (room, _other) = two();
        let mut taken = fill(&room);
        let mut patient = pin!(room.enter(1));
        {
            let mut hasty = pin!(room.enter(1));
            assert!(hasty.as_mut().now_or_never().is_none());
            assert!(patient.as_mut().now_or_never().is_none());
            taken.pop();
        }
        assert!(patient.now_or_never().is_some());
    }

    #[test]
    fn a_frame_that_has_just_come_goes_past_one_that_waits() {
        let (room, _other) = two();
        let mut taken = fill(&room);
        let mut first = pin!(room.enter(1));
        assert!(first.as_mut().now_or_never().is_none());
        taken.pop();
        assert!(room.try_enter(1).is_none());
        assert!(first.now_or_never().is_some());
    }

    #[test]
    fn a_frame_that_waits_counts_as_one_more_when_it_is_tried_again() {
        let (room, _other) = two();
        let _held: Vec<_> = (0..MODEST_MAX - 1).map(|_| room.try_enter(1)).collect();
        room.waiting.fetch_add(1, Ordering::Relaxed);
        drop(room.try_enter_waited(1));
        assert!(!room.fair().is_only_greedy(&room.seat), "it asks for as much as who asks for little may");
        drop(room.try_enter(1));
        assert!(room.fair().is_only_greedy(&room.seat));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn streams_that_give_up_and_come_again_are_forgotten() {
        let fair = Arc::new(Fair::new());
        let rooms = Arc::new((Room::new(Arc::clone(&fair)), Room::new(fair)));
        // Both ask, one of them for much.
        drop(rooms.1.try_enter(1));
        drop(fill(&rooms.0));
        assert!(rooms.0.fair().is_only_greedy(&rooms.0.seat));
        let streams = (0..3 * MODEST_MAX).map(|stream| {
            let rooms = Arc::clone(&rooms);
            tokio::spawn(async move {
                for turn in 0..200 {
                    let permit = loop {
                        tokio::select! {
                            biased;
                            permit = rooms.0.enter(1) => break permit,
                            () = tokio::task::yield_now(), if (turn + stream) % 3 == 0 => {}
                        }
                    };
                    tokio::task::yield_now().await;
                    drop(permit);
                }
            })
        });
        let all = futures_util::future::join_all(streams);
        let ended = tokio::time::timeout(Duration::from_secs(60), all).await.expect("somebody waits for ever");
        assert!(ended.into_iter().all(|ended| ended.is_ok()));
    }

    #[tokio::test]
    async fn a_flood_goes_on_at_once_after_a_write() {
        let (flood, other) = two();
        let mut taken = fill(&flood);
        drop(taken.pop());
        assert!(flood.try_enter(1).is_some(), "what only read lets the next one in");
        taken.pop().expect("some are left").has_written();
        assert!(flood.try_enter(1).is_some(), "it has little waiting");
        flood.waiting.fetch_add(FLOOD_MIN, Ordering::Relaxed);
        let began = Instant::now();
        taken.pop().expect("some are left").has_written();
        drop(flood.enter(1).await);
        assert!(began.elapsed() >= Duration::from_millis(FLOOD_REST_MS));
        other.try_enter(1).expect("there is room for who asks for little").has_written();
        assert!(other.try_enter(1).is_some(), "it does not rest");
    }
}
