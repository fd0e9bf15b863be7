//! A connection's room: what its streams have in work, and what waits for it.
//!
//! Room is counted in shares, one a request and more for a large frame. Two limits hold: what a connection may ever have, to
//! the share; and its part among the active connections, which a frame that is let in may overrun by itself, so that a large
//! one is not kept out for good.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use ostrakon_wire::bounds::{IN_FLIGHT_BYTES_PER_CONNECTION_MAX, IN_FLIGHT_PER_CONNECTION_MAX};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use crate::fair::{Fair, Seat};

/// Bytes of a frame that go with one share.
const SHARE_BYTES: usize = IN_FLIGHT_BYTES_PER_CONNECTION_MAX / IN_FLIGHT_PER_CONNECTION_MAX;

pub(crate) struct Room {
    fair: Arc<Fair>,
    seat: Seat,
    in_work: Semaphore,
    /// Streams that wait for [`Room::enter`], and what wakes them.
    blocked: AtomicUsize,
    freed: Notify,
    /// Shares of the frames that wait in the streams.
    pub(crate) waiting: AtomicUsize,
}

/// Room that a request has while it is in work.
pub(crate) struct Permit<'a> {
    // Given back before others are told.
    _shares: SemaphorePermit<'a>,
    _freed: Freed<'a>,
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
            blocked: AtomicUsize::new(0),
            freed: Notify::new(),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn fair(&self) -> &Fair {
        &self.fair
    }

    /// Room for a frame, if there is some now.
    pub(crate) fn try_enter(&self, shares: u32) -> Option<Permit<'_>> {
        self.fair.asks(&self.seat, self.held() + self.waiting.load(Ordering::Relaxed));
        if self.is_full() {
            return None;
        }
        let shares = self.in_work.try_acquire_many(shares).ok()?;
        Some(Permit { _shares: shares, _freed: Freed(self) })
    }

    /// Room for a frame, once there is some.
    pub(crate) async fn enter(&self, shares: u32) -> Permit<'_> {
        let blocked = Blocked::count(self);
        while self.is_full() {
            self.freed.notified().await;
        }
        let shares = self.in_work.acquire_many(shares).await.expect("it is never closed");
        drop(blocked);
        // More may have been freed than this frame takes.
        self.wake_one();
        Permit { _shares: shares, _freed: Freed(self) }
    }

    /// Shares of the requests in work.
    fn held(&self) -> usize {
        IN_FLIGHT_PER_CONNECTION_MAX - self.in_work.available_permits()
    }

    fn is_full(&self) -> bool {
        self.held() >= self.fair.in_work(&self.seat)
    }

    /// Who frees room looks for those who wait, and who waits looks for room, each after having told: one sees the other.
    fn wake_one(&self) {
        fence(Ordering::SeqCst);
        if self.blocked.load(Ordering::Relaxed) > 0 {
            self.freed.notify_one();
        }
    }
}

struct Blocked<'a>(&'a Room);

impl<'a> Blocked<'a> {
    fn count(room: &'a Room) -> Self {
        room.blocked.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Self(room)
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.blocked.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt as _;
    use ostrakon_wire::bounds::{FRAME_BYTES_MAX, IN_WORK_BESIDE_MODEST, MODEST_MAX};

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
        assert_eq!(fill(&flood).len(), IN_WORK_BESIDE_MODEST);
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
    fn a_stream_that_gives_up_takes_the_word_of_free_room_along() {
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
}
