//! Who gets in: places for connections, fewer of them for those that have not said hello.
//!
//! A peer that says nothing must not keep others out. So connections without a hello have a bound of their own, and a
//! newcomer that finds it reached takes the place of the oldest of them. Only clients that have said hello, and so have
//! shown a certificate, can fill the host.

use std::collections::BTreeMap;
use std::sync::Arc;

use ostrakon_wire::bounds::{CONNECTIONS_MAX, UNGREETED_CONNECTIONS_MAX};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The places of a host.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    /// Those that have not said hello, oldest first, and how each is told to leave.
    ungreeted: BTreeMap<u64, oneshot::Sender<()>>,
    greeted: usize,
}

/// What becomes of a newcomer.
pub(crate) enum Admission {
    /// It comes in.
    In(Place),
    /// It must show first that it owns its address: it costs nothing until then.
    ProveAddress,
    /// Everybody here has said hello, and there are as many as there may be.
    Full,
}

/// A place. It is free again when this value goes.
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    greeted: bool,
    told_to_leave: oneshot::Receiver<()>,
}

impl Places {
    /// Gives a newcomer a place, if need be that of the oldest connection that has not said hello.
    pub(crate) fn admit(self: &Arc<Self>, address_proved: bool) -> Admission {
        let mut taken = self.0.lock();
        let ungreeted = taken.ungreeted.len();
        let all = taken.greeted + ungreeted;
        if !address_proved && (all >= CONNECTIONS_MAX / 2 || ungreeted >= UNGREETED_CONNECTIONS_MAX / 2) {
            return Admission::ProveAddress;
        }
        if all >= CONNECTIONS_MAX || ungreeted >= UNGREETED_CONNECTIONS_MAX {
            match taken.ungreeted.pop_first() {
                // It may be leaving already.
                Some((_, oldest)) => drop(oldest.send(())),
                None => return Admission::Full,
            }
        }
        let (leave, told_to_leave) = oneshot::channel();
        let number = taken.next;
        taken.next += 1;
        taken.ungreeted.insert(number, leave);
        Admission::In(Place { places: Arc::clone(self), number, greeted: false, told_to_leave })
    }
}

impl Place {
    /// Waits until somebody else gets this place. Never, once its holder has said hello.
    pub(crate) async fn lost(&mut self) {
        if (&mut self.told_to_leave).await.is_err() {
            std::future::pending().await
        }
    }

    /// Its holder has said hello. `false`: too late, somebody else has the place.
    pub(crate) fn greeted(&mut self) -> bool {
        let mut taken = self.places.0.lock();
        self.greeted = taken.ungreeted.remove(&self.number).is_some();
        taken.greeted += usize::from(self.greeted);
        self.greeted
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock();
        if self.greeted {
            taken.greeted -= 1;
        } else {
            taken.ungreeted.remove(&self.number);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn place(places: &Arc<Places>) -> Place {
        match places.admit(true) {
            Admission::In(place) => place,
            _ => panic!("kept out"),
        }
    }

    #[test]
    fn the_oldest_of_the_silent_makes_room() {
        let places = Arc::new(Places::default());
        let mut silent: Vec<_> = (0..UNGREETED_CONNECTIONS_MAX).map(|_| place(&places)).collect();
        assert!(silent.iter_mut().all(|place| place.lost().now_or_never().is_none()));
        let mut newcomer = place(&places);
        assert!(silent[0].lost().now_or_never().is_some(), "the oldest stays");
        assert!(silent[1].lost().now_or_never().is_none(), "one too many has to go");
        assert!(!silent[0].greeted(), "its place is another's");
        assert!(newcomer.greeted());
        // The place that is left by the newcomer's hello is free.
        let _next = place(&places);
        assert!(silent[1].lost().now_or_never().is_none());
    }

    #[test]
    fn those_who_have_said_hello_stay() {
        let places = Arc::new(Places::default());
        let mut here: Vec<_> = (0..CONNECTIONS_MAX - 1)
            .map(|_| {
                let mut place = place(&places);
                assert!(place.greeted());
                place
            })
            .collect();
        let mut silent = place(&places);
        let mut last = place(&places);
        assert!(silent.lost().now_or_never().is_some());
        assert!(last.greeted());
        assert!(matches!(places.admit(true), Admission::Full));
        assert!(here.iter_mut().all(|place| place.lost().now_or_never().is_none()));
        here.pop();
        place(&places);
    }

    #[test]
    fn an_address_is_to_be_proved_once_half_of_the_places_are_taken() {
        let places = Arc::new(Places::default());
        let mut silent: Vec<_> = (0..UNGREETED_CONNECTIONS_MAX / 2 - 1).map(|_| place(&places)).collect();
        assert!(matches!(places.admit(false), Admission::In(_)));
        silent.push(place(&places));
        assert!(matches!(places.admit(false), Admission::ProveAddress));
        silent.pop();
        assert!(matches!(places.admit(false), Admission::In(_)));
    }
}
