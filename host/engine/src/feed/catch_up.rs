//! Reading the feed from the log: for who has been away, or was too slow.

use std::cmp::Ordering;

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Entry, Outcome, ReadError, ReadView};
use ostrakon_wire::answer::Event;
use ostrakon_wire::bounds::{FEED_EXAMINED_MAX, FEED_FRAME_BYTES_MAX, PAGE_BYTES_MAX};
use ostrakon_wire::{Payload, Revision, Version};

use super::segments::{Logged, Segments};
use super::told::{ChangeTold, UnitTold, bytes_of};

/// A part of the log, as it is told.
pub(super) struct Read {
    /// The units in it that have something for the watcher.
    pub(super) units: Vec<UnitTold>,
    /// All up to here was looked at.
    pub(super) upto: Revision,
}

/// Why it cannot be read.
pub(super) enum CannotRead {
    /// The log no longer reaches back so far.
    Expired,
    Read(ReadError),
}

impl From<ReadError> for CannotRead {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

/// What a watcher wants of it.
pub(super) struct Wanted<'a> {
    pub(super) client: &'a str,
    /// What the texts of its objects begin with.
    pub(super) prefix: &'a str,
    pub(super) with_payloads: bool,
    pub(super) with_previous: bool,
}

/// What the log tells behind `after`, up to `end` at most, of objects of a client whose text begins so. Stops early rather
/// than make too much ready at a time.
pub(super) fn read(
    segments: &Segments,
    view: &ReadView,
    wanted: &Wanted<'_>,
    after: Revision,
    end: Revision,
) -> Result<Read, CannotRead> {
    if after.get() + 1 < view.log_first().get() {
        return Err(CannotRead::Expired);
    }
    let mut read = Read { units: Vec::new(), upto: after };
    let segment = segments.behind(view, after, end)?;
    // It may have been read later than this view, and the log been cut meanwhile.
    if after.get() + 1 < segment.log_first.get() {
        return Err(CannotRead::Expired);
    }
    let mut changes = segment.of(wanted.client, after).iter().take_while(|logged| logged.revision <= end).peekable();
    let (mut examined, mut bytes) = (0, 0);
    while let Some(first) = changes.next() {
        let revision = first.revision;
        let mut of_unit = Vec::new();
        let mut next = Some(first);
        while let Some(logged) = next {
            examined += 1;
            let tells = matches!(logged.entry.outcome, Outcome::Made | Outcome::Escalated);
            if tells && logged.entry.object.as_text().starts_with(wanted.prefix) {
                let mut change = change(view, logged, wanted.with_payloads)?;
                if wanted.with_previous {
                    add_previous(view, &mut change)?;
                }
                of_unit.push(change);
            }
            next = changes.next_if(|logged| logged.revision == revision);
        }
        read.upto = revision;
        if !of_unit.is_empty() {
            let unit = UnitTold::new(revision, of_unit);
            bytes += unit.bytes;
            read.units.push(unit);
        }
        if examined >= FEED_EXAMINED_MAX || bytes >= FEED_FRAME_BYTES_MAX {
            return Ok(read);
        }
    }
    read.upto = segment.upto.min(end).max(after);
    Ok(read)
}

/// One change. What its row would say beside the log is left out where history no longer holds it.
fn change(view: &ReadView, logged: &Logged, with_payloads: bool) -> Result<ChangeTold, ReadError> {
    let Entry { object, version, kind, tombstone, identity, outcome, .. } = &logged.entry;
    let escalated = *outcome == Outcome::Escalated;
    let (place, row) = if escalated { (None, None) } else { logged.row(view)? };
    let omitted = with_payloads && row.is_none() && !tombstone && !escalated;
    let (timestamp, by, payload) = match row {
        Some(row) => (row.timestamp, row.by, row.payload.filter(|_| with_payloads)),
        None => (logged.committed, None, None),
    };
    let event = Event {
        object: object.clone(),
        version: *version,
        revision: logged.revision,
        timestamp,
        kind: *kind,
        action_id: identity.map(|identity| identity.id),
        by: by.map(|by| by.to_string()),
        deleted: *tombstone,
        escalated,
        payload,
        previous: None,
        omitted,
    };
    Ok(ChangeTold { event, place, index: logged.index })
}

/// What a change has replaced.
pub(super) enum Before {
    /// This.
    Value(Payload),
    /// Nothing.
    Nothing,
    /// History no longer holds it.
    Gone,
}

/// What stood there before a change.
pub(super) fn before(view: &ReadView, change: &ChangeTold) -> Result<Before, ReadError> {
    if change.event.escalated {
        return Ok(Before::Nothing);
    }
    let (place, first) = match (change.place, view.locate_first(&change.event.object)?) {
        // It may have come under another key since.
        (Some(place), Some((found, first))) if found.number == place.number => (found, first),
        // The object is forgotten.
        _ => return Ok(Before::Gone),
    };
    match change.event.version.cmp(&first) {
        Ordering::Equal => return Ok(Before::Nothing),
        // It was another of that name, which is forgotten.
        Ordering::Less => return Ok(Before::Gone),
        Ordering::Greater => {}
    }
    let behind = if planted::is(Fault::FeedPreviousOff) { 0 } else { 1 };
    let version = Version::new(change.event.version.get() - behind);
    Ok(match view.version(place, version)?.map(|row| row.payload) {
        Some(Some(payload)) => Before::Value(payload),
        Some(None) => Before::Nothing,
        None => Before::Gone,
    })
}

/// Adds what stood there before a change, where it is known and fits into a frame beside the rest.
pub(super) fn add_previous(view: &ReadView, change: &mut ChangeTold) -> Result<(), ReadError> {
    match before(view, change)? {
        Before::Value(payload) if bytes_of(&change.event) + payload.as_bytes().len() <= PAGE_BYTES_MAX => {
            change.event.previous = Some(payload);
        }
        Before::Value(_) | Before::Gone => change.event.omitted = true,
        Before::Nothing => {}
    }
    Ok(())
}
