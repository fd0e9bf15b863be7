//! Parts of the log in memory, for those who read the feed from it: what one has read, others need not read again.
//!
//! When the host has more to do than it can, all who watch fall behind at the same time and read the same part of the log.
//! A segment is so many revisions of it, divided by client; small rows are kept with it once somebody has looked at them.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use ostrakon_store::{Entry, Place, ReadError, ReadView, Row};
use ostrakon_wire::bounds::{FEED_SEGMENT_CHANGES, FEED_SEGMENT_REVISIONS, FEED_SEGMENT_ROW_BYTES, FEED_SEGMENTS};
use ostrakon_wire::{Revision, TimestampMs};
use parking_lot::Mutex;

/// The segments that were read last.
#[derive(Default)]
pub(super) struct Segments(Mutex<VecDeque<Arc<Segment>>>);

/// A part of the log.
pub(super) struct Segment {
    /// Everything behind this revision is in it,
    after: Revision,
    /// up to this one.
    pub(super) upto: Revision,
    /// It ends here since it has as many changes as one may.
    full: bool,
    /// Where the log began when it was read.
    pub(super) log_first: Revision,
    by_client: HashMap<String, Vec<Logged>>,
}

/// One change in it.
pub(super) struct Logged {
    pub(super) revision: Revision,
    pub(super) committed: TimestampMs,
    /// Its number in the commit unit.
    pub(super) index: u32,
    pub(super) entry: Entry,
    row: OnceLock<Found>,
}

/// What stands on disk of a change: where, and its row if history still holds it.
pub(super) type Found = (Option<Place>, Option<Row>);

impl Logged {
    /// What stands on disk of it.
    pub(super) fn row(&self, view: &ReadView) -> Result<Found, ReadError> {
        if let Some(found) = self.row.get() {
            return Ok(found.clone());
        }
        let place = view.locate(&self.entry.object)?;
        let row = match place {
            Some(place) => view.version(place, self.entry.version)?.filter(|row| row.revision == self.revision),
            None => None,
        };
        let found = (place, row);
        let bytes = |row: &Row| row.payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
        // What is gone stays gone, and what is small is kept.
        if found.1.as_ref().is_none_or(|row| bytes(row) <= FEED_SEGMENT_ROW_BYTES) {
            let _ = self.row.set(found.clone());
        }
        Ok(found)
    }
}

impl Segment {
    /// The changes of a client behind a revision, in order.
    pub(super) fn of(&self, client: &str, after: Revision) -> &[Logged] {
        let all = self.by_client.get(client).map_or(&[][..], Vec::as_slice);
        &all[all.partition_point(|logged| logged.revision <= after)..]
    }

    fn add(&mut self, logged: Logged) {
        match self.by_client.get_mut(logged.entry.object.client()) {
            Some(of_client) => of_client.push(logged),
            None => drop(self.by_client.insert(logged.entry.object.client().to_owned(), vec![logged])),
        }
    }

    fn read(view: &ReadView, after: Revision) -> Result<Self, ReadError> {
        let end = Revision::new(after.get() + FEED_SEGMENT_REVISIONS);
        let upto = end.min(view.position().revision);
        let (log_first, by_client) = (view.log_first(), HashMap::new());
        let mut segment = Self { after, upto, full: false, log_first, by_client };
        let mut changes = 0;
        for record in view.log_around(Revision::new(after.get() + 1))? {
            let (first, record) = record?;
            if first > end {
                break;
            }
            let committed = record.committed;
            let (mut of_unit, mut index, mut identity) = (Revision::default(), 0, None);
            for (revision, entry) in record.by_revision(first) {
                if revision != of_unit {
                    if changes >= FEED_SEGMENT_CHANGES {
                        // The unit before is the last one.
                        (segment.upto, segment.full) = (of_unit, true);
                        return Ok(segment);
                    }
                    // The first change of a transaction tells the id of all.
                    (of_unit, index, identity) = (revision, 0, entry.identity);
                }
                if revision > after && revision <= end {
                    let entry = Entry { identity, note: Vec::new(), ..entry };
                    changes += 1;
                    segment.add(Logged { revision, committed, index, entry, row: OnceLock::new() });
                }
                index += 1;
            }
        }
        Ok(segment)
    }
}

impl Segments {
    /// The segment that goes on behind a revision, and holds what is durable of it up to `end`.
    pub(super) fn behind(&self, view: &ReadView, after: Revision, end: Revision) -> Result<Arc<Segment>, ReadError> {
        let begins = Revision::new(after.get() / FEED_SEGMENT_REVISIONS * FEED_SEGMENT_REVISIONS);
        let reaches = |segment: &Arc<Segment>| {
            let whole = segment.full || segment.upto.get() == begins.get() + FEED_SEGMENT_REVISIONS;
            segment.after == begins && (whole || segment.upto >= end)
        };
        let found = {
            let mut kept = self.0.lock();
            let at = kept.iter().position(reaches);
            at.and_then(|at| kept.remove(at)).inspect(|segment| kept.push_front(Arc::clone(segment)))
        };
        let segment = match found {
            Some(segment) => segment,
            None => self.keep(Segment::read(view, begins)?),
        };
        // Behind one that had to end early there is more, which nobody shares.
        if segment.full && segment.upto <= after { Segment::read(view, after).map(Arc::new) } else { Ok(segment) }
    }

    fn keep(&self, segment: Segment) -> Arc<Segment> {
        let (begins, segment) = (segment.after, Arc::new(segment));
        let mut kept = self.0.lock();
        kept.retain(|other| other.after != begins);
        kept.push_front(Arc::clone(&segment));
        kept.truncate(FEED_SEGMENTS);
        segment
    }
}
