//! What the committing thread hands over: the changes of a group, while somebody watches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Change, Clock, Outcome, Place, Unit};
use ostrakon_wire::answer::Event;
use ostrakon_wire::bounds::FEED_GROUPS_MAX;
use ostrakon_wire::{Payload, Revision};
use parking_lot::{Condvar, Mutex};

use super::credit::Credit;

/// A commit unit, as it is told.
#[derive(Debug)]
pub(crate) struct UnitTold {
    pub(super) revision: Revision,
    pub(super) changes: Vec<ChangeTold>,
    /// What it weighs, in a queue and in a frame.
    pub(super) bytes: usize,
}

/// One change of it.
#[derive(Debug, Clone)]
pub(crate) struct ChangeTold {
    /// Without the value before.
    pub(super) event: Event,
    /// Where the rows of the object stand; `None` for what has made no row.
    pub(super) place: Option<Place>,
    /// Its number among all that the log tells of the unit, from 0.
    pub(super) index: u32,
}

/// What is handed over at a time.
pub(super) enum Group {
    /// Units that tell something, and the last revision of the group.
    Units(Vec<Arc<UnitTold>>, Revision),
    /// Up to here nothing was kept: it is in the log.
    Lost(Revision),
}

/// The groups that wait to be handed out.
pub(crate) struct Told {
    state: Mutex<State>,
    filled: Condvar,
    clock: Clock,
    /// What those who watch may be told while there is too much to do.
    pub(super) credit: Credit,
    /// How many who watch are told from memory.
    pub(super) live: Arc<AtomicUsize>,
}

struct State {
    groups: VecDeque<Group>,
    /// The last revision that came.
    arrived: Revision,
    /// How many watch. While nobody does, nothing is kept.
    watching: usize,
    closed: bool,
}

/// A group that is being handed over.
pub(crate) struct Telling<'a> {
    told: &'a Told,
    /// `None` where nobody is told from memory.
    units: Option<Vec<Arc<UnitTold>>>,
    last: Option<Revision>,
    /// Changes in it.
    changes: usize,
}

impl UnitTold {
    pub(super) fn new(revision: Revision, changes: Vec<ChangeTold>) -> Self {
        let bytes = changes.iter().map(|change| bytes_of(&change.event)).sum();
        Self { revision, changes, bytes }
    }
}

/// What a change weighs beside its texts and its payloads.
const CHANGE_OVERHEAD_BYTES: usize = 160;

/// What a change weighs, in a queue and in a frame.
pub(super) fn bytes_of(event: &Event) -> usize {
    let payload = |payload: &Option<Payload>| payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
    let by = event.by.as_ref().map_or(0, String::len);
    CHANGE_OVERHEAD_BYTES + event.object.as_text().len() + by + payload(&event.payload) + payload(&event.previous)
}

impl ChangeTold {
    /// What the version of an object is whose row stands there, or has gone.
    pub(super) fn of_change(change: Change, revision: Revision, index: u32) -> Self {
        let Change { object, place, version, kind, payload, timestamp, identity, by, .. } = change;
        let event = Event {
            object,
            version,
            revision,
            timestamp,
            kind,
            action_id: identity.map(|identity| identity.id),
            by: by.map(|by| by.to_string()),
            deleted: payload.is_none(),
            escalated: false,
            payload: payload.map(compact),
            previous: None,
            omitted: false,
        };
        Self { event, place: Some(place), index }
    }
}

/// The payload without the frame that it came in, where that is much larger.
fn compact(payload: Payload) -> Payload {
    let bytes = bytes::Bytes::copy_from_slice(payload.as_bytes());
    Payload::from_checked(payload.format(), bytes)
}

impl Told {
    pub(crate) fn new(arrived: Revision, clock: Clock) -> Self {
        let state = State { groups: VecDeque::new(), arrived, watching: 0, closed: false };
        let credit = Credit::new(clock.instant());
        Self { state: Mutex::new(state), filled: Condvar::new(), clock, credit, live: Arc::default() }
    }

    /// A group is durable.
    pub(crate) fn begin(&self) -> Telling<'_> {
        let state = self.state.lock();
        // What there is no room for is in the log.
        let keep = self.live.load(Ordering::Relaxed) > 0 && state.groups.len() < FEED_GROUPS_MAX;
        Telling { told: self, units: keep.then(Vec::new), last: None, changes: 0 }
    }

    /// Counts one more who watches. Answers the last revision that was not kept, where nobody has watched before.
    pub(super) fn watch(&self) -> Option<Revision> {
        let mut state = self.state.lock();
        let unwatched = state.watching == 0 && state.groups.is_empty();
        state.watching += 1;
        unwatched.then_some(state.arrived)
    }

    /// One who has watched is gone.
    pub(super) fn forget(&self) {
        self.state.lock().watching -= 1;
    }

    /// The next group, once there is one; `None` once it is closed.
    pub(super) fn take(&self) -> Option<Group> {
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return None;
            }
            match state.groups.pop_front() {
                Some(group) => return Some(group),
                None => self.filled.wait(&mut state),
            }
        }
    }

    /// The next group, if there is one.
    #[cfg(feature = "simulation")]
    pub(super) fn take_now(&self) -> Option<Group> {
        self.state.lock().groups.pop_front()
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }
}

impl Telling<'_> {
    /// One unit of the group.
    pub(crate) fn add(&mut self, unit: Unit, revision: Revision) {
        self.last = self.last.max(Some(revision));
        self.changes += unit.parts().len();
        let Some(units) = &mut self.units else { return };
        let told: Vec<_> = changes(unit, revision, &self.told.clock).collect();
        if !told.is_empty() {
            units.push(Arc::new(UnitTold::new(revision, told)));
        }
    }

    /// That was the group. Waits for nobody.
    pub(crate) fn end(self) {
        let (Some(last), mut state) = (self.last, self.told.state.lock()) else { return };
        state.arrived = state.arrived.max(last);
        state.hand_over(self.units, last);
        let (watched, waits) = (state.watching > 0, !state.groups.is_empty());
        drop(state);
        // While nobody watches nothing waits: the feed's thread sleeps on.
        if waits {
            self.told.filled.notify_one();
        }
        if watched {
            self.told.credit.earn(self.changes, self.told.clock.instant());
        }
    }
}

impl State {
    fn hand_over(&mut self, units: Option<Vec<Arc<UnitTold>>>, last: Revision) {
        let room = self.groups.len() < FEED_GROUPS_MAX;
        match (units, self.groups.back_mut()) {
            (None, None) if self.watching == 0 => {}
            (Some(units), _) if room => self.groups.push_back(Group::Units(units, last)),
            // Somebody has begun to watch since the group was begun, or the feed cannot keep up.
            (_, Some(Group::Lost(lost))) => *lost = last,
            (_, _) => self.groups.push_back(Group::Lost(last)),
        }
    }
}

/// What a unit tells.
fn changes(unit: Unit, revision: Revision, clock: &Clock) -> impl Iterator<Item = ChangeTold> {
    let parts = match unit {
        Unit::Together(parts, _) => parts,
        single => vec![single],
    };
    (0..).zip(parts).filter_map(move |(index, part)| match part {
        Unit::Change(_) if planted::is(Fault::FeedSkips) && revision.get().is_multiple_of(7) => None,
        Unit::Change(change) => Some(ChangeTold::of_change(change, revision, index)),
        Unit::Note(note) if note.outcome == Outcome::Escalated => Some(ChangeTold {
            event: Event {
                object: note.object,
                version: note.version,
                revision,
                timestamp: clock.now(),
                kind: note.kind,
                action_id: note.identity.map(|identity| identity.id),
                by: None,
                deleted: false,
                escalated: true,
                payload: None,
                previous: None,
                omitted: false,
            },
            place: None,
            index,
        }),
        _ => None,
    })
}
