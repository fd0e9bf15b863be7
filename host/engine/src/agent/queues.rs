//! The queues: which cases wait for which object, and whose turn it is.
//!
//! An object's turns are its owner's: each owner has a lane, and a lane does one turn at a time. Whose an object is shows
//! when its turn comes; one that has come into another's lane is handed over.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use ostrakon_store::Clock;
use ostrakon_wire::ObjectId;
use ostrakon_wire::bounds::{
    RECENT_OBJECTS_MAX, RECONCILE_RUN_MAX, RECONCILING_BYTES_MAX, RECONCILING_MAX, RECONCILING_PER_OBJECT_MAX,
};
use parking_lot::{Condvar, Mutex};

use super::case::Case;
use crate::owner::Recent;

/// A shorter wait of an object that nobody waits for is forgotten.
const PAUSE_KEPT: Duration = Duration::from_millis(1);

pub(super) struct Queues {
    state: Mutex<State>,
    /// One a lane.
    filled: Box<[Condvar]>,
    clock: Clock,
}

struct State {
    objects: HashMap<ObjectId, Queue>,
    /// Objects whose turn may come, in order, of each lane.
    ready: Box<[VecDeque<ObjectId>]>,
    /// Objects that have nothing to do before a time.
    later: BinaryHeap<Reverse<(Instant, ObjectId)>>,
    cases: usize,
    bytes: usize,
    closed: bool,
}

struct Queue {
    cases: VecDeque<Case>,
    recent: Recent,
    place: Place,
    lane: usize,
    /// When it is looked at, if it is in `later`; it stands there once.
    alarm: Option<Instant>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Ready,
    Running,
    /// Until then, or until a case comes that need not wait.
    Later(Instant),
    /// Until then.
    Stalled(Instant),
}

/// The cases of an object that are due, taken out for a turn.
pub(super) struct Batch {
    pub(super) object: ObjectId,
    pub(super) cases: VecDeque<Case>,
    /// What comes again goes behind those that came meanwhile.
    pub(super) again: Vec<Case>,
    /// What the object's last turns made.
    pub(super) recent: Recent,
    /// Whose turn it is.
    pub(super) lane: usize,
    /// No turn before that.
    stalled: Option<Instant>,
    taken: usize,
    taken_bytes: usize,
}

impl Batch {
    /// Keeps the object from its next turn for so long.
    pub(super) fn stall(&mut self, now: Instant, wait: Duration) {
        self.stalled = Some(now + wait).max(self.stalled);
    }
}

impl Queues {
    pub(super) fn new(clock: Clock, lanes: usize) -> Self {
        let state = State {
            objects: HashMap::new(),
            ready: (0..lanes).map(|_| VecDeque::new()).collect(),
            later: BinaryHeap::new(),
            cases: 0,
            bytes: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), filled: (0..lanes).map(|_| Condvar::new()).collect(), clock }
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.filled.len()
    }

    /// Puts a case behind the others of its object; hands it back where there is no room.
    pub(super) fn push(&self, case: Case, bounded: bool) -> Result<(), Box<Case>> {
        let object = case.perform.target.object.clone();
        let mut state = self.state.lock();
        let State { objects, ready, cases, bytes, closed, .. } = &mut *state;
        let of_object = objects.get(&object).map_or(0, |queue| queue.cases.len());
        let full = *cases >= RECONCILING_MAX
            || *bytes + case.bytes() > RECONCILING_BYTES_MAX
            || of_object >= RECONCILING_PER_OBJECT_MAX;
        if *closed || bounded && full {
            return Err(Box::new(case));
        }
        *cases += 1;
        *bytes += case.bytes();
        let mut newly_ready = false;
        let lane = object.digest() as usize % ready.len();
        let queue = objects.entry(object.clone()).or_insert_with(|| {
            newly_ready = true;
            Queue { cases: VecDeque::new(), recent: Recent::default(), place: Place::Ready, lane, alarm: None }
        });
        queue.cases.push_back(case);
        // Those that wait for a time are not in the way of one that need not.
        if matches!(queue.place, Place::Later(_)) {
            queue.place = Place::Ready;
            newly_ready = true;
        }
        if newly_ready {
            ready[queue.lane].push_back(object);
            self.filled[queue.lane].notify_one();
        }
        Ok(())
    }

    pub(super) fn is_busy(&self, object: &ObjectId) -> bool {
        self.state.lock().objects.contains_key(object)
    }

    pub(super) fn waiting(&self) -> usize {
        self.state.lock().cases
    }

    /// The next object's cases of a lane, once there are some that are due. `None` once it is closed.
    pub(super) fn take(&self, lane: usize) -> Option<Batch> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            let now = self.clock.instant();
            state.wake(now, &self.filled);
            if let Some(batch) = state.next(lane, now) {
                return Some(batch);
            }
            match state.later.peek() {
                Some(Reverse((at, _))) => {
                    let at = *at;
                    self.filled[lane].wait_until(&mut state, at);
                }
                None => self.filled[lane].wait(&mut state),
            }
        }
    }

    /// The next object's cases, if there are some that are due.
    #[cfg(feature = "simulation")]
    pub(super) fn take_now(&self) -> Option<Batch> {
        let (mut state, now) = (self.state.lock(), self.clock.instant());
        state.wake(now, &self.filled);
        (0..self.lanes()).find_map(|lane| state.next(lane, now))
    }

    /// When the next object's turn comes, if it has not come.
    #[cfg(feature = "simulation")]
    pub(super) fn next_turn(&self) -> Option<Instant> {
        self.state.lock().later.peek().map(|Reverse((at, _))| *at)
    }

    /// Ends a turn: what is left stays at the head, what comes again joins the tail.
    pub(super) fn give_back(&self, batch: Batch) {
        let Batch { object, mut cases, again, recent, lane, stalled, taken, taken_bytes } = batch;
        let mut state = self.state.lock();
        let (left, left_bytes) = measure(cases.iter().chain(&again));
        // What waited when it was closed is not counted off.
        state.cases = (state.cases + left).saturating_sub(taken);
        state.bytes = (state.bytes + left_bytes).saturating_sub(taken_bytes);
        let (closed, busy) = (state.closed, state.objects.len());
        let queue = state.objects.get_mut(&object).expect("a queue stays while it is worked on");
        cases.append(&mut queue.cases);
        cases.extend(again);
        queue.cases = cases;
        queue.lane = lane;
        queue.recent = if busy <= RECENT_OBJECTS_MAX { recent } else { Recent::default() };
        let now = self.clock.instant();
        // One that has to wait for long waits though nobody is there: the next one must not find it gone.
        let pauses = stalled.is_some_and(|at| at > now + PAUSE_KEPT);
        if closed || queue.cases.is_empty() && !pauses {
            state.objects.remove(&object);
            return;
        }
        let next = queue.cases.iter().map(|case| case.not_before.unwrap_or(now)).min();
        match (stalled.filter(|at| *at > now), next.filter(|at| *at > now)) {
            (Some(at), _) => {
                queue.place = Place::Stalled(at);
                state.wake_at(&object, at);
            }
            (None, Some(at)) => {
                queue.place = Place::Later(at);
                state.wake_at(&object, at);
            }
            (None, None) => {
                queue.place = Place::Ready;
                state.ready[lane].push_back(object);
            }
        }
        // Somebody may wait for a later time, or for nothing.
        self.filled[lane].notify_one();
    }

    /// Takes nothing more; what waits is dropped, and those who wait for it are told by that.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting: Vec<_> = state.objects.values_mut().map(|queue| std::mem::take(&mut queue.cases)).collect();
        state.objects.retain(|_, queue| queue.place == Place::Running);
        drop(state);
        drop(waiting);
        for filled in &self.filled {
            filled.notify_all();
        }
    }
}

fn measure<'a>(cases: impl Iterator<Item = &'a Case>) -> (usize, usize) {
    cases.fold((0, 0), |(count, bytes), case| (count + 1, bytes + case.bytes()))
}

impl State {
    fn wake_at(&mut self, object: &ObjectId, at: Instant) {
        let Some(queue) = self.objects.get_mut(object) else { return };
        if queue.alarm.is_none_or(|alarm| at < alarm) {
            queue.alarm = Some(at);
            self.later.push(Reverse((at, object.clone())));
        }
    }

    /// Objects whose time has come are ready.
    fn wake(&mut self, now: Instant, filled: &[Condvar]) {
        while self.later.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((at, object))) = self.later.pop() else { break };
            let Some(queue) = self.objects.get_mut(&object).filter(|queue| queue.alarm == Some(at)) else { continue };
            queue.alarm = None;
            // It may have become ready by a newer case, and have gone through a turn since.
            match queue.place {
                Place::Later(until) | Place::Stalled(until) if until <= now => {
                    queue.place = Place::Ready;
                    self.ready[queue.lane].push_back(object);
                    filled[queue.lane].notify_one();
                }
                Place::Later(until) | Place::Stalled(until) => self.wake_at(&object, until),
                Place::Ready | Place::Running => {}
            }
        }
    }

    /// The cases of the next object of a lane that has some which are due.
    fn next(&mut self, lane: usize, now: Instant) -> Option<Batch> {
        while let Some(object) = self.ready[lane].pop_front() {
            if let Some(batch) = self.take(object, now) {
                return Some(batch);
            }
        }
        None
    }

    fn take(&mut self, object: ObjectId, now: Instant) -> Option<Batch> {
        let queue = self.objects.get_mut(&object)?;
        let (mut due, mut not_due) = (VecDeque::new(), VecDeque::new());
        while due.len() < RECONCILE_RUN_MAX
            && let Some(case) = queue.cases.pop_front()
        {
            if case.is_due(now) { due.push_back(case) } else { not_due.push_back(case) }
        }
        // What is not due has joined the tail already, and keeps its place there.
        queue.cases.extend(not_due);
        queue.place = Place::Running;
        let (taken, taken_bytes) = measure(due.iter());
        let (recent, lane) = (std::mem::take(&mut queue.recent), queue.lane);
        Some(Batch { object, cases: due, again: Vec::new(), recent, lane, stalled: None, taken, taken_bytes })
    }
}
