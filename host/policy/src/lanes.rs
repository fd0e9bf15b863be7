//! Instances that are kept from call to call, one for each thread as far as they reach.

use parking_lot::{Mutex, MutexGuard};

use crate::prepared::{Policy, Ready};
use crate::tally::thread_index;

/// Functions of a kind that answer.
pub(crate) const FUNCTIONS_MAX: usize = 2;

/// A kept instance.
pub(crate) struct Kept<P: Policy> {
    pub(crate) ready: Ready<P>,
    /// Calls that it answered, of each function.
    pub(crate) calls: [u32; FUNCTIONS_MAX],
    /// What its memories held at first, in bytes.
    began_bytes: usize,
}

impl<P: Policy> Kept<P> {
    pub(crate) fn new(ready: Ready<P>) -> Self {
        let began_bytes = ready.instance.memory_bytes();
        Self { ready, calls: [0; FUNCTIONS_MAX], began_bytes }
    }

    /// Whether it has grown so near to its bound that the next call may not fit. Some languages' run-times leave a little
    /// behind with every call and tidy up late; a new instance costs less than a failed call.
    #[inline]
    pub(crate) fn is_spent(&self, memory_bytes_max: usize) -> bool {
        let bytes = self.ready.instance.memory_bytes();
        bytes > self.began_bytes && bytes > memory_bytes_max / 4 * 3
    }
}

#[repr(align(128))]
struct Lane<P: Policy>(Mutex<Option<Kept<P>>>);

/// A place for a kept instance, while a call has it.
pub(crate) type Place<'a, P> = MutexGuard<'a, Option<Kept<P>>>;

/// The kept instances of one generation.
pub(crate) struct Lanes<P: Policy>(Box<[Lane<P>]>);

impl<P: Policy> Lanes<P> {
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count.max(1)).map(|_| Lane(Mutex::new(None))).collect())
    }

    /// Every place.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Mutex<Option<Kept<P>>>> {
        self.0.iter().map(|lane| &lane.0)
    }

    /// The calls of each instance, up to the last that there is.
    pub(crate) fn calls(&self) -> Vec<[u32; FUNCTIONS_MAX]> {
        let mut calls: Vec<_> = self.all().map(|place| place.lock().as_ref().map(|kept| kept.calls)).collect();
        while calls.len() > 1 && calls.pop_if(|last| last.is_none()).is_some() {}
        calls.into_iter().map(Option::unwrap_or_default).collect()
    }

    /// What the instances' memories hold together, in bytes; of those that are not busy now.
    pub(crate) fn memory_bytes(&self) -> usize {
        let bytes =
            |place: &Mutex<Option<Kept<P>>>| place.try_lock()?.as_ref().map(|kept| kept.ready.instance.memory_bytes());
        self.all().filter_map(bytes).sum()
    }

    /// A place for one call: this thread's own, else any free one. Where there is none the call waits for its own, or goes
    /// without: so there are never more kept instances than places, however many threads call.
    #[inline]
    pub(crate) fn enter(&self) -> Option<Place<'_, P>> {
        let own = thread_index() % self.0.len();
        self.0[own].0.try_lock().or_else(|| self.enter_contended(own))
    }

    #[cold]
    fn enter_contended(&self, own: usize) -> Option<Place<'_, P>> {
        let (before, from) = self.0.split_at(own);
        let free = from.iter().chain(before).find_map(|lane| lane.0.try_lock());
        free.or_else(|| P::WAITS.then(|| self.0[own].0.lock()))
    }
}
