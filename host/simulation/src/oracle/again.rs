//! What still stands later: after a crash, after migrations, at the end.

use std::collections::BTreeMap;

use ostrakon_store::ReadView;
use ostrakon_wire::Revision;

use super::{Oracle, Wrong};
use crate::watchers::Seen;
use crate::world::HISTORY_KEPT;

impl Oracle {
    /// A crash: whoever waited is gone. What has a ticket, as the newest view says, is still on its way.
    pub(crate) fn restarted(&mut self, view: &ReadView) {
        let Self { actions, objects, .. } = self;
        let mut had_ticket = Vec::new();
        for (at, sent) in actions.iter_mut().enumerate() {
            if sent.ticket_seen && sent.came_to.is_none() {
                had_ticket.push(at);
            }
            (sent.loose, sent.ticket_seen) = (0, false);
            // What was judged on a version that is gone says nothing of the next one with its number.
            let stands = objects[sent.object].version();
            sent.verdicts.retain(|(version, _)| *version <= stands);
        }
        for of in self.escalations.values_mut() {
            of.loose = 0;
        }
        for transaction in &mut self.transactions {
            transaction.loose = 0;
        }
        if let Err(what) = self.see_tickets(view) {
            self.wrong(what);
        }
        for sent in self.actions.iter_mut().filter(|sent| sent.ticket_seen) {
            sent.loose = 1;
        }
        for at in had_ticket {
            let sent = &self.actions[at];
            if !sent.ticket_seen && sent.came_to.is_none() {
                let number = sent.number;
                self.wrong(format!("lost: #{number} had a ticket before the crash"));
            }
        }
        if let Err(what) = self.hold_again(view) {
            self.wrong(what);
        }
    }

    /// What the log still holds is what was seen; every object stands where it stood.
    pub(crate) fn hold_again(&self, view: &ReadView) -> Wrong {
        for record in view.log_from(Revision::default()) {
            let (first, record) = record.map_err(|error| error.to_string())?;
            for (revision, entry) in record.by_revision(first) {
                let unit = self.seen.get(revision.get() as usize - 1);
                let is_it = |seen: &Seen| {
                    self.objects[seen.object].id == entry.object
                        && (seen.version, seen.outcome) == (entry.version.get(), entry.outcome)
                };
                let same = unit.is_some_and(|unit| unit.iter().any(is_it));
                if !same {
                    return Err(format!("the log's unit {revision} is another than it was: {unit:?}, {entry:?}"));
                }
            }
        }
        let error = |error: ostrakon_store::ReadError| error.to_string();
        for object in self.objects.iter().filter(|object| object.version() > 0) {
            let place = view.locate(&object.id).map_err(error)?;
            let place = place.ok_or_else(|| format!("lost: {} has no place", object.id))?;
            let head = view.head(place).map_err(error)?.ok_or_else(|| format!("lost: {} has no row", object.id))?;
            if (head.version.get(), head.row.payload.as_ref()) != (object.version(), object.live()) {
                return Err(format!("{} stands at version {}, not {}", object.id, head.version, object.version()));
            }
        }
        let mut open: Vec<u64> = Vec::new();
        for escalation in view.escalations(Revision::default()) {
            let (number, escalation) = escalation.map_err(error)?;
            if escalation.settled.is_none() {
                open.push(number.get());
            }
        }
        let expected: Vec<u64> =
            self.escalations.iter().filter(|(_, of)| !of.settled).map(|(number, _)| *number).collect();
        match open == expected {
            true => Ok(()),
            false => Err(format!("{} escalations are open, not {}", open.len(), expected.len())),
        }
    }

    /// Each row is in the shard that the map says, under the key that the locator says, and of each object as many versions
    /// as history keeps.
    pub(crate) fn hold_places(&mut self, view: &ReadView) {
        if let Err(what) = self.try_hold_places(view) {
            self.wrong(what);
        }
    }

    fn try_hold_places(&self, view: &ReadView) -> Result<(), String> {
        let error = |error: ostrakon_store::ReadError| error.to_string();
        if let Some(stopped) = view.migrations().values().find(|migration| !migration.trouble.is_empty()) {
            return Err(format!("migration {} has stopped: {}", stopped.number, stopped.trouble));
        }
        let mut counted: BTreeMap<&str, u64> = BTreeMap::new();
        let mut objects = BTreeMap::new();
        for object in &self.objects {
            objects.insert(object.id.as_text(), view.locate(&object.id).map_err(error)?);
        }
        for shard in view.map().shards() {
            for row in view.rows(shard).map_err(error)? {
                let (place, version, row) = row.map_err(error)?;
                let name = &row.object;
                // What a shard has given away and kept is nobody's.
                if view.map().holder(place.spot()) != shard {
                    continue;
                }
                let located = objects.get_key_value(name.as_text());
                let Some((text, Some(located))) = located else {
                    return Err(format!("{name}: version {version} stands in shard {shard} and has no place"));
                };
                if *located != place {
                    return Err(format!("{name}: version {version} stands under {place:?}, not under {located:?}"));
                }
                *counted.entry(text).or_default() += 1;
            }
        }
        for object in self.objects.iter().filter(|object| object.version() > 0) {
            let kept = counted.get(object.id.as_text()).copied().unwrap_or_default();
            let wanted = object.version().min(HISTORY_KEPT.into());
            if kept != wanted {
                return Err(format!("{}: {kept} versions are kept of {}, not {wanted}", object.id, object.version()));
            }
        }
        Ok(())
    }
}
