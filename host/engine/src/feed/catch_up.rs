//! Reading the feed from the log: for who has been away, or was too slow.

use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Entry, Outcome, Place, ReadError, ReadView};
use ostrakon_wire::answer::Event;
use ostrakon_wire::bounds::{FEED_EXAMINED_MAX, FEED_FRAME_BYTES_MAX};
use ostrakon_wire::{Payload, Revision, TimestampMs, Version};

use super::told::{CHANGE_OVERHEAD_BYTES, ChangeTold, UnitTold};

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

/// What the log tells behind `after`, up to `end` at most, of objects whose text begins so. Stops early rather than look at
/// too much at a time.
pub(super) fn read(
    view: &ReadView,
    prefix: &str,
    after: Revision,
    end: Revision,
    with_payloads: bool,
) -> Result<Read, CannotRead> {
    let mut read = Read { units: Vec::new(), upto: after };
    let next = Revision::new(after.get() + 1);
    if next < view.log_first() {
        return Err(CannotRead::Expired);
    }
    let (mut examined, mut bytes) = (0, 0);
    for record in view.log_around(next)? {
        let (first, record) = record?;
        let committed = record.committed;
        let mut units =
            record.by_revision(first).filter(|(revision, _)| *revision > after && *revision <= end).peekable();
        while let Some((revision, entry)) = units.next() {
            let mut of_unit = vec![entry];
            while let Some((_, joined)) = units.next_if(|(other, _)| *other == revision) {
                of_unit.push(joined);
            }
            examined += of_unit.len();
            let told = unit(view, prefix, revision, committed, of_unit, with_payloads)?;
            bytes += told.bytes;
            if !told.changes.is_empty() {
                read.units.push(told);
            }
            read.upto = revision;
            if examined >= FEED_EXAMINED_MAX || bytes >= FEED_FRAME_BYTES_MAX {
                return Ok(read);
            }
        }
        if first > end {
            break;
        }
    }
    read.upto = end.min(view.position().revision).max(after);
    Ok(read)
}

fn unit(
    view: &ReadView,
    prefix: &str,
    revision: Revision,
    committed: TimestampMs,
    entries: Vec<Entry>,
    with_payloads: bool,
) -> Result<UnitTold, ReadError> {
    let mut changes = Vec::new();
    // The first change of a transaction tells the id of all.
    let identity = entries.first().and_then(|entry| entry.identity);
    for (index, entry) in (0..).zip(entries) {
        let entry = Entry { identity, ..entry };
        let tells = matches!(entry.outcome, Outcome::Made | Outcome::Escalated);
        if tells && entry.object.as_text().starts_with(prefix) {
            changes.push(change(view, revision, index, committed, entry, with_payloads)?);
        }
    }
    Ok(UnitTold::new(revision, changes))
}

/// One change. What its row would say beside the log is left out where history no longer holds it.
fn change(
    view: &ReadView,
    revision: Revision,
    index: u32,
    committed: TimestampMs,
    entry: Entry,
    with_payloads: bool,
) -> Result<ChangeTold, ReadError> {
    let Entry { object, version, kind, tombstone, identity, outcome, .. } = entry;
    let escalated = outcome == Outcome::Escalated;
    let place = if escalated { None } else { view.locate(&object)? };
    let row = match place {
        Some(place) => view.version(place, version)?.filter(|row| row.revision == revision),
        None => None,
    };
    let omitted = with_payloads && row.is_none() && !tombstone && !escalated;
    let (timestamp, by, payload) = match row {
        Some(row) => (row.timestamp, row.by, row.payload.filter(|_| with_payloads)),
        None => (committed, None, None),
    };
    let event = Event {
        object,
        version,
        revision,
        timestamp,
        kind,
        action_id: identity.map(|identity| identity.id),
        by: by.map(|by| by.to_string()),
        deleted: tombstone,
        escalated,
        payload,
        previous: None,
        omitted,
    };
    Ok(ChangeTold { event, place, index })
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
    let Some(place) = change.place else { return Ok(Before::Nothing) };
    let first = match view.locate_first(&change.event.object)? {
        Some((found, first)) if found == place => first,
        // The object is forgotten.
        _ => return Ok(Before::Gone),
    };
    if change.event.version <= first {
        return Ok(Before::Nothing);
    }
    let behind = if planted::is(Fault::FeedPreviousOff) { 0 } else { 1 };
    let version = Version::new(change.event.version.get() - behind);
    Ok(match of_version(view, place, version)? {
        Some(Some(payload)) => Before::Value(payload),
        Some(None) => Before::Nothing,
        None => Before::Gone,
    })
}

fn of_version(view: &ReadView, place: Place, version: Version) -> Result<Option<Option<Payload>>, ReadError> {
    Ok(view.version(place, version)?.map(|row| row.payload))
}

/// What a change weighs in a frame.
pub(super) fn bytes_of(event: &Event) -> usize {
    let payload = |payload: &Option<Payload>| payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
    let by = event.by.as_ref().map_or(0, String::len);
    CHANGE_OVERHEAD_BYTES + event.object.as_text().len() + by + payload(&event.payload) + payload(&event.previous)
}
