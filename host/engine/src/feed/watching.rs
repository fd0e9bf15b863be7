//! One watcher: where it stands, and what it is told next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use ostrakon_store::planted::{self, Fault};
use ostrakon_wire::answer::{Decided, Event, Events};
use ostrakon_wire::bounds::{FEED_FRAME_BYTES_MAX, FEED_LOOKS_MS};
use ostrakon_wire::{Code, Generations, Position, Revision, Watch, WireError};

use super::Place;
use tokio::time::timeout;

use super::catch_up::{self, CannotRead, Wanted, add_previous};
use super::queue::Found;
use super::told::{ChangeTold, UnitTold, bytes_of};
use crate::Engine;
use crate::answers::overloaded;

/// One who watches.
pub struct Watching {
    engine: Arc<Engine>,
    place: Place,
    with_payloads: bool,
    with_previous: bool,
    /// All up to here is told, or waits in `ready`.
    upto: Revision,
    /// So many changes of the unit behind that were told before.
    skip: u32,
    /// What is told next.
    ready: VecDeque<Ready>,
    /// Behind all that is told.
    told: Position,
    source: Source,
}

/// Where what comes next is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The log, up to this revision; then the queue.
    Log(Revision),
    Queue,
}

/// A change that waits to be told, and the place behind it.
struct Ready {
    event: Event,
    behind: Position,
    /// More of its unit follows.
    more: bool,
}

impl Engine {
    /// Takes one who watches.
    ///
    /// # Errors
    /// What keeps it from being told everything behind the place that it names.
    pub fn watch(self: &Arc<Self>, watch: &Watch) -> Result<Watching, WireError> {
        self.counters.count_watch();
        self.watched(watch).inspect_err(|error| self.counters.refused(error.code))
    }

    fn watched(self: &Arc<Self>, watch: &Watch) -> Result<Watching, WireError> {
        let place = self.feed.join(&watch.client, watch.text_prefix());
        let place = place.ok_or_else(|| overloaded("as many watch as may"))?;
        let handed_out = place.handed_out();
        let from = match watch.from {
            Some(from) => self.known_place(from, handed_out)?,
            None => Position::behind(self.log, handed_out),
        };
        Ok(Watching {
            engine: Arc::clone(self),
            place,
            with_payloads: watch.with_payloads,
            with_previous: watch.with_previous,
            upto: from.revision,
            skip: from.index,
            ready: VecDeque::new(),
            told: from,
            source: Source::Log(handed_out),
        })
    }

    /// Holds that a place is one of this log's, and that the log still reaches back to it.
    fn known_place(&self, from: Position, handed_out: Revision) -> Result<Position, WireError> {
        let view = self.views.latest();
        if from.log != self.log || from.revision > view.position().revision.max(handed_out) {
            return Err(self.invalid_position());
        }
        if from.revision.get() + 1 < view.log_first().get() {
            return Err(self.position_expired());
        }
        let (late, early) = (u64::from(planted::is(Fault::FeedGap)), u64::from(planted::is(Fault::FeedRepeats)));
        Ok(Position { revision: Revision::new((from.revision.get() + late).saturating_sub(early)), ..from })
    }

    pub(crate) fn invalid_position(&self) -> WireError {
        WireError::new(Code::InvalidPosition, "the place is none that this log has had")
    }

    fn position_expired(&self) -> WireError {
        let position = self.views.position();
        WireError {
            decided: Some(self.decided(None, position, Generations::default())),
            ..WireError::new(
                Code::PositionExpired,
                format!(
                    "the log no longer reaches back to this place; list, and watch from the place of the list or {position}"
                ),
            )
        }
    }
}

impl Watching {
    /// The next frame, once there is something to tell. Safe to cancel.
    ///
    /// # Errors
    /// What ends the watch: the log no longer reaches back to where it stands, or cannot be read.
    pub async fn next(&mut self) -> Result<Events, WireError> {
        loop {
            if !self.ready.is_empty() {
                self.give_way().await;
                return Ok(self.frame());
            }
            match self.source {
                Source::Log(end) if self.upto < end => self.read_log(end).await?,
                Source::Log(_) => self.source = Source::Queue,
                Source::Queue => self.read_queue().await?,
            }
        }
    }

    /// While the host has more to do than it can, what is written goes before what is told.
    async fn give_way(&self) {
        let (clock, credit) = (self.engine.owner.clock(), &self.place.shared.told.credit);
        let mut turn = None;
        while !clock.is_simulated() && credit.is_busy(clock.instant()) && !self.is_far_behind() {
            let turn = turn.get_or_insert_with(|| credit.wait(self.told.revision, self.ready.len()));
            if timeout(Duration::from_millis(FEED_LOOKS_MS), turn).await.is_ok() {
                return;
            }
        }
    }

    /// Whether half of what the log keeps has been committed since what was told last: one that waited on would lose its place.
    fn is_far_behind(&self) -> bool {
        let view = self.engine.views.latest();
        let behind = view.position().revision.get().saturating_sub(self.told.revision.get());
        behind > view.log_kept() / 2
    }

    /// Whether there is nothing to tell now, as far as is known.
    pub fn is_idle(&self) -> bool {
        self.ready.is_empty() && self.source == Source::Queue && matches!(self.place.queue.next(), Found::Nothing)
    }

    /// The place up to which there is nothing to tell, if all is told. Whoever goes on from there misses nothing.
    pub fn bookmark(&mut self) -> Option<Events> {
        let handed_out = self.place.handed_out();
        if !self.ready.is_empty() || self.source != Source::Queue {
            return None;
        }
        // Looked at behind the place: whatever came up to there is in the queue, or was told.
        let Found::Nothing = self.place.queue.next() else { return None };
        let ahead = u64::from(planted::is(Fault::FeedBookmarkAhead));
        self.advance(Revision::new(handed_out.get() + ahead));
        self.told = Position::behind(self.engine.log, self.upto);
        Some(Events { items: Vec::new(), more: false, decided: self.decided() })
    }

    /// Where it begins.
    pub fn begins(&self) -> Events {
        Events { items: Vec::new(), more: false, decided: self.decided() }
    }

    fn decided(&self) -> Decided {
        self.engine.decided(None, self.told, Generations::default())
    }

    /// What is ready, as much as goes into a frame.
    fn frame(&mut self) -> Events {
        let (mut items, mut bytes, mut more) = (Vec::new(), 0, false);
        while let Some(next) = self.ready.front() {
            bytes += bytes_of(&next.event);
            if !items.is_empty() && (bytes > FEED_FRAME_BYTES_MAX || planted::is(Fault::FeedTears)) {
                break;
            }
            let Some(Ready { event, behind, more: goes_on }) = self.ready.pop_front() else { break };
            self.told = behind;
            more = goes_on;
            items.push(event);
        }
        if planted::is(Fault::FeedDisorder) {
            items.reverse();
        }
        if planted::is(Fault::FeedResumesAhead) {
            self.told.revision = Revision::new(self.told.revision.get() + 1);
        }
        Events { items, more, decided: self.decided() }
    }

    async fn read_log(&mut self, end: Revision) -> Result<(), WireError> {
        let (views, prefix) = (self.engine.views.clone(), self.place.queue.prefix().to_owned());
        let client = self.place.client.clone();
        let (after, with_payloads, with_previous) = (self.upto, self.with_payloads, self.with_previous);
        let read = self.engine.feed.on_reader(move |segments| {
            let view = views.latest();
            let wanted = Wanted { client: &client, prefix: &prefix, with_payloads, with_previous };
            match catch_up::read(segments, &view, &wanted, after, end) {
                Ok(read) => Ok(Some(read)),
                Err(CannotRead::Read(error)) => Err(error),
                Err(CannotRead::Expired) => Ok(None),
            }
        });
        let read = read.await.map_err(|error| self.engine.unreadable(&error))?;
        let read = read.ok_or_else(|| self.engine.position_expired())?;
        for UnitTold { revision, mut changes, .. } in read.units {
            let skip = self.skipped(revision);
            changes.retain(|change| change.index >= skip);
            self.prepare(revision, changes);
        }
        self.advance(read.upto);
        Ok(())
    }

    /// All up to here is told, or is ready to be.
    fn advance(&mut self, upto: Revision) {
        if upto > self.upto {
            self.upto = upto;
            self.skip = 0;
        }
    }

    async fn read_queue(&mut self) -> Result<(), WireError> {
        match self.place.queue.next() {
            Found::Nothing => self.place.queue.filled().await,
            Found::Behind => self.source = Source::Log(self.go_on()),
            // It was read from the log already.
            Found::Unit(unit) if unit.revision <= self.upto => {
                self.place.queue.take();
            }
            Found::Unit(unit) => {
                let changes = self.with_what_is_asked(&unit).await?;
                self.place.queue.take();
                self.prepare(unit.revision, changes);
                self.advance(unit.revision);
            }
        }
        Ok(())
    }

    /// Where the log is to be read up to. While there is too much to do that is all: to be told from memory again would only
    /// fill the queue.
    fn go_on(&self) -> Revision {
        let (clock, credit) = (self.engine.owner.clock(), &self.place.shared.told.credit);
        let handed_out = self.place.handed_out();
        if credit.is_busy(clock.instant()) && handed_out > self.upto { handed_out } else { self.place.go_on() }
    }

    /// So many changes of a unit were told before.
    fn skipped(&self, revision: Revision) -> u32 {
        if revision.get() == self.upto.get() + 1 { self.skip } else { 0 }
    }

    /// The changes of a unit that are for this watcher, and were not told before.
    fn own(&self, unit: &UnitTold) -> Vec<ChangeTold> {
        let skip = self.skipped(unit.revision);
        let own = unit.changes.iter().filter(|change| change.index >= skip && self.place.queue.is_for(change));
        own.cloned().collect()
    }

    async fn with_what_is_asked(&self, unit: &UnitTold) -> Result<Vec<ChangeTold>, WireError> {
        let mut changes = self.own(unit);
        if !self.with_payloads {
            changes.iter_mut().for_each(|change| change.event.payload = None);
        }
        if !self.with_previous {
            return Ok(changes);
        }
        let views = self.engine.views.clone();
        let added = self.engine.feed.on_reader(move |_| {
            let view = views.latest();
            changes.iter_mut().try_for_each(|change| add_previous(&view, change))?;
            Ok(changes)
        });
        added.await.map_err(|error| self.engine.unreadable(&error))
    }

    /// Makes the changes of a unit ready to be told.
    fn prepare(&mut self, revision: Revision, changes: Vec<ChangeTold>) {
        let (log, last) = (self.engine.log, changes.len().saturating_sub(1));
        for (at, ChangeTold { event, index, .. }) in changes.into_iter().enumerate() {
            let more = at < last && !planted::is(Fault::FeedTears);
            let behind = if more {
                Position { log, revision: Revision::new(revision.get() - 1), index: index + 1 }
            } else {
                Position::behind(log, revision)
            };
            self.ready.push_back(Ready { event, behind, more });
        }
    }
}
