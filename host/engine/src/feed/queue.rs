//! What waits in memory for one watcher.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ostrakon_store::planted::{self, Fault};
use ostrakon_wire::bounds::{WATCH_QUEUE_BYTES_MAX, WATCH_QUEUE_CHANGES_MAX};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::told::{ChangeTold, UnitTold};

/// The queue of one watcher.
pub(super) struct Queue {
    /// What the texts of its objects begin with.
    prefix: String,
    waiting: Mutex<Waiting>,
    filled: Notify,
    /// How many queues are not behind: while none is, nothing need be kept for them.
    live: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Waiting {
    units: VecDeque<Arc<UnitTold>>,
    bytes: usize,
    /// There was no room for what came then: it is in the log, and so is all that came since.
    behind: bool,
}

/// What a watcher finds in its queue.
pub(super) enum Found {
    /// The next unit.
    Unit(Arc<UnitTold>),
    /// Nothing now.
    Nothing,
    /// Nothing, and what comes next is to be read from the log.
    Behind,
}

impl Queue {
    pub(super) fn new(prefix: String, live: Arc<AtomicUsize>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self { prefix, waiting: Mutex::default(), filled: Notify::new(), live }
    }

    fn set_behind(&self, waiting: &mut Waiting) {
        if !std::mem::replace(&mut waiting.behind, true) {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Whether a change is for this watcher.
    pub(super) fn is_for(&self, change: &ChangeTold) -> bool {
        change.event.object.as_text().starts_with(&self.prefix) || planted::is(Fault::FeedFilterOff)
    }

    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Puts a unit in, if it is for this watcher and not in yet.
    pub(super) fn offer(&self, unit: &Arc<UnitTold>) {
        if !unit.changes.iter().any(|change| self.is_for(change)) {
            return;
        }
        let mut waiting = self.waiting.lock();
        if waiting.behind || waiting.units.back().is_some_and(|last| Arc::ptr_eq(last, unit)) {
            return;
        }
        let full = waiting.units.len() >= WATCH_QUEUE_CHANGES_MAX
            || waiting.bytes + unit.bytes > WATCH_QUEUE_BYTES_MAX && !waiting.units.is_empty();
        if full {
            self.set_behind(&mut waiting);
        } else {
            waiting.bytes += unit.bytes;
            waiting.units.push_back(Arc::clone(unit));
        }
        drop(waiting);
        self.filled.notify_one();
    }

    /// What comes next is not put in.
    pub(super) fn fall_behind(&self) {
        self.set_behind(&mut self.waiting.lock());
        self.filled.notify_one();
    }

    /// What comes next is put in again. What was in is told otherwise.
    pub(super) fn go_on(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.behind {
            self.live.fetch_add(1, Ordering::Relaxed);
        }
        *waiting = Waiting::default();
    }

    /// What comes next; a unit stays in until it is taken out.
    pub(super) fn next(&self) -> Found {
        let waiting = self.waiting.lock();
        match waiting.units.front() {
            Some(unit) => Found::Unit(Arc::clone(unit)),
            None if waiting.behind => Found::Behind,
            None => Found::Nothing,
        }
    }

    /// Takes the next unit out.
    pub(super) fn take(&self) {
        let mut waiting = self.waiting.lock();
        if let Some(unit) = waiting.units.pop_front() {
            waiting.bytes -= unit.bytes;
        }
    }

    /// Waits until something may have come.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if !self.waiting.get_mut().behind {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
