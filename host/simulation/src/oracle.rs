//! What the host may do: every commit unit is held against the actions that were asked for, as soon as it is durable.
//!
//! - A version is made by an action that was asked for, whose effect nothing else has been, and that is still on its way.
//! - It is what the built-in action makes of the version before, where the condition holds; else what the policy's last
//!   verdict on that version makes of it. Nothing is written over a version that it was not judged on.
//! - What no version was made of has a reason: a verdict, or a refusal that anybody can repeat.
//! - After a crash everything that was seen is still there, and nothing is on its way but what has a ticket.

mod again;

use std::collections::{BTreeMap, HashMap};

use ostrakon_core::policy::Verdict;
use ostrakon_store::record::log::Entry;
use ostrakon_store::{Outcome, ReadView};
use ostrakon_wire::{ActionId, ActionKind, ObjectId, OnConflict, Payload, Revision, Version};

use crate::actions::{Condition, Sent, tag_of};
use crate::together::{Transaction, n_of};
use crate::watchers::Seen;
use crate::world::TRIES_MAX;

/// One object: its versions, from 1 on, each with its revision and what stands there.
pub(crate) struct Object {
    pub(crate) id: ObjectId,
    pub(crate) versions: Vec<(u64, Option<Payload>)>,
}

/// An escalation, by the action that it is of.
pub(crate) struct Escalated {
    pub(crate) action: usize,
    pub(crate) settled: bool,
    /// Requests to run the action again, or to write in its place, that may still do so.
    pub(crate) loose: u32,
}

/// A commit unit that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) object: usize,
    pub(crate) version: u64,
    pub(crate) outcome: Outcome,
    pub(crate) action: Option<usize>,
}

#[derive(Default)]
pub(crate) struct Oracle {
    pub(crate) objects: Vec<Object>,
    pub(crate) actions: Vec<Sent>,
    /// By revision, from 1 on; of a transaction its first change.
    pub(crate) units: Vec<Unit>,
    /// The same with all changes of each.
    pub(crate) seen: Vec<Vec<Seen>>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) transaction_ids: HashMap<(String, ActionId), usize>,
    pub(crate) escalations: BTreeMap<u64, Escalated>,
    pub(crate) ids: HashMap<(String, ActionId), usize>,
    /// The host that answers now takes no more writes.
    pub(crate) store_failed: bool,
    /// The first thing that must not be.
    pub(crate) violation: Option<String>,
}

impl Object {
    /// The newest version.
    pub(crate) fn version(&self) -> u64 {
        self.versions.len() as u64
    }

    /// What stands at a version; `None` for a tombstone and for version 0.
    pub(crate) fn at(&self, version: u64) -> Option<&Payload> {
        self.versions.get((version as usize).checked_sub(1)?)?.1.as_ref()
    }

    /// The newest version at a revision.
    pub(crate) fn version_at(&self, revision: u64) -> u64 {
        self.versions.partition_point(|(made, _)| *made <= revision) as u64
    }

    pub(crate) fn live(&self) -> Option<&Payload> {
        self.at(self.version())
    }
}

/// What must not be, in words.
pub(crate) type Wrong = Result<(), String>;

/// Verdicts after which nothing is written to a live object, or to what is none.
fn found_there(verdict: &Verdict, live: bool) -> bool {
    matches!(verdict, Verdict::AlreadyApplied(_)) || !live && matches!(verdict, Verdict::Remove(_))
}

impl Oracle {
    /// The newest revision that was seen.
    pub(crate) fn revision(&self) -> u64 {
        self.units.len() as u64
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.violation.get_or_insert(what);
    }

    /// Takes in what is durable since the last time.
    pub(crate) fn observe(&mut self, view: &ReadView) {
        if let Err(what) = self.try_observe(view) {
            self.wrong(what);
        }
    }

    fn try_observe(&mut self, view: &ReadView) -> Wrong {
        if view.position().revision.get() < self.revision() {
            return Err(format!(
                "lost: the store ends at revision {}, and {} had been seen",
                view.position().revision,
                self.revision()
            ));
        }
        let mut detached = false;
        for record in view.log_from(Revision::new(self.revision() + 1)) {
            let (first, record) = record.map_err(|error| error.to_string())?;
            if first.get() != self.revision() + 1 {
                return Err(format!("the log goes on at {first} behind {}", self.revision()));
            }
            let mut changes = record.by_revision(first).peekable();
            while let Some((revision, entry)) = changes.next() {
                let mut unit = vec![entry];
                while let Some((_, joined)) = changes.next_if(|(of, _)| *of == revision) {
                    unit.push(joined);
                }
                detached |= unit.iter().any(|entry| entry.outcome == Outcome::Detached);
                self.see(&unit)?;
                match self.transaction_of(&unit) {
                    Some(at) => self.together(view, at, &unit, revision.get())?,
                    None if unit.len() > 1 => return Err("invented: nobody has asked for these together".into()),
                    None => self.unit(view, &unit[0])?,
                }
            }
        }
        if detached {
            self.see_tickets(view)?;
        }
        Ok(())
    }

    /// Keeps what a unit tells those who watch.
    fn see(&mut self, entries: &[Entry]) -> Wrong {
        let id = entries.first().and_then(|entry| entry.identity).map(|identity| identity.id);
        let seen = entries.iter().map(|entry| {
            let (version, outcome, kind) = (entry.version.get(), entry.outcome, entry.kind);
            Ok(Seen { object: self.object_of(entry)?, version, outcome, kind, id })
        });
        let seen = seen.collect::<Result<Vec<_>, String>>()?;
        self.seen.push(seen);
        Ok(())
    }

    /// Looks which detached actions have their ticket.
    pub(crate) fn see_tickets(&mut self, view: &ReadView) -> Result<(), String> {
        for ticket in view.tickets() {
            let ticket = ticket.map_err(|error| error.to_string())?;
            let id = ticket.perform.action_id.ok_or("a ticket without an id")?;
            let action = self.action_of(ticket.perform.target.object.client(), id)?;
            self.actions[action].ticket_seen = true;
        }
        Ok(())
    }

    fn action_of(&self, client: &str, id: ActionId) -> Result<usize, String> {
        let found = self.ids.get(&(client.to_owned(), id));
        found.copied().ok_or_else(|| format!("invented: nobody has asked for action {:032x} of {client}", id.bits()))
    }

    fn unit(&mut self, view: &ReadView, entry: &Entry) -> Wrong {
        let object = self.object_of(entry)?;
        let revision = self.revision() + 1;
        let version = entry.version.get();
        let action = match entry.outcome {
            Outcome::Made => Some(self.made(view, object, entry, revision)?),
            Outcome::Applied | Outcome::Rejected | Outcome::Escalated => self.noted(view, object, entry, revision)?,
            Outcome::Detached => {
                self.hold_detached(object, entry)?;
                None
            }
            Outcome::Settled => self.discarded(entry)?,
            Outcome::Rekeyed => {
                self.hold_rekeyed(view, object, entry)?;
                None
            }
            Outcome::Forgotten => return Err(format!("{} was forgotten, and nothing is that old", entry.object)),
        };
        self.units.push(Unit { object, version, outcome: entry.outcome, action });
        Ok(())
    }

    /// An object came under another key: nothing of it is another.
    fn hold_rekeyed(&self, view: &ReadView, object: usize, entry: &Entry) -> Wrong {
        let name = &self.objects[object].id;
        if entry.version.get() != self.objects[object].version() {
            return Err(format!("{name} came under another key at version {}", entry.version));
        }
        let place =
            view.locate(&entry.object).map_err(|error| error.to_string())?.ok_or("an object without a place")?;
        match place.shard_key == entry.shard_key {
            true => Ok(()),
            false => Err(format!("{name} is recorded under {}, not {}", place.shard_key, entry.shard_key)),
        }
    }

    /// A version was made.
    fn made(&mut self, view: &ReadView, object: usize, entry: &Entry, revision: u64) -> Result<usize, String> {
        let action = match entry.identity {
            Some(identity) => self.action_of(entry.object.client(), identity.id)?,
            None => {
                let payload = self.row_of(view, object, entry)?;
                let stands = self.objects[object].live().cloned();
                self.by_tag(object, payload.as_ref(), stands.as_ref())?
            }
        };
        let settles = match entry.identity {
            Some(_) => None,
            None => self.settles(action),
        };
        self.hold_effect(action, object, entry, settles)?;
        self.made_by(view, object, entry, revision, action, settles.is_some())?;
        if let Some(escalation) = settles {
            self.settle(escalation)?;
        }
        if settles.is_none() || self.actions[action].came_to.is_none() {
            self.actions[action].came_to = Some((revision, Outcome::Made));
        }
        Ok(action)
    }

    /// Holds the version that an action has made, and takes it in.
    pub(crate) fn made_by(
        &mut self,
        view: &ReadView,
        object: usize,
        entry: &Entry,
        revision: u64,
        action: usize,
        by_hand: bool,
    ) -> Wrong {
        let payload = self.row_of(view, object, entry)?;
        let (before, stands) = (self.objects[object].version(), self.objects[object].live().cloned());
        self.hold_made(action, before, stands.as_ref(), payload.as_ref(), by_hand)?;
        self.objects[object].versions.push((revision, payload));
        Ok(())
    }

    /// What the row holds of a version that comes next.
    fn row_of(&self, view: &ReadView, object: usize, entry: &Entry) -> Result<Option<Payload>, String> {
        let version = entry.version.get();
        let name = &self.objects[object].id;
        let before = self.objects[object].version();
        if version != before + 1 {
            return Err(format!("{name}: version {version} was made behind {before}"));
        }
        let error = |error: ostrakon_store::ReadError| error.to_string();
        let place = view.locate(&entry.object).map_err(error)?.ok_or("an object without a place")?;
        let row = view.version(place, Version::new(version)).map_err(error)?;
        let payload = row.ok_or_else(|| format!("{name}: version {version} is in the log and has no row"))?.payload;
        match payload.is_none() == entry.tombstone {
            true => Ok(payload),
            false => Err(format!("{name}: the log and the row of version {version} differ")),
        }
    }

    /// The action without an id that made a payload.
    fn by_tag(&self, object: usize, payload: Option<&Payload>, stands: Option<&Payload>) -> Result<usize, String> {
        let of = |tag: u64| {
            let at = usize::try_from(tag).ok()?.checked_sub(1)?;
            self.actions.get(at).filter(|sent| sent.object == object).map(|_| at)
        };
        let tagged = payload.and_then(|payload| tag_of(payload.as_bytes()));
        let before = stands.and_then(|stands| tag_of(stands.as_bytes()));
        let added = || u64::try_from(n_of(payload?)? - n_of(stands?)?).ok();
        let tag = if tagged == before { added() } else { tagged };
        tag.and_then(of).ok_or_else(|| "invented: a version that no action has made".to_owned())
    }

    /// The escalation that an action's effect settles, where it is run again by hand or written in the place of another.
    fn settles(&self, action: usize) -> Option<u64> {
        let own = |of: &Escalated| of.loose > 0 && !of.settled;
        match self.actions[action].in_place_of {
            Some(escalation) => self.escalations.get(&escalation).filter(|of| own(of)).map(|_| escalation),
            None => {
                let mut all = self.escalations.iter();
                all.find(|(_, of)| of.action == action && own(of)).map(|(number, _)| *number)
            }
        }
    }

    fn settle(&mut self, escalation: u64) -> Wrong {
        let of = self.escalations.get_mut(&escalation).ok_or("an escalation that is none was settled")?;
        if std::mem::replace(&mut of.settled, true) {
            return Err(format!("escalation {escalation} was settled twice"));
        }
        Ok(())
    }

    /// Holds that an action may come to something now.
    fn hold_effect(&self, action: usize, object: usize, entry: &Entry, settles: Option<u64>) -> Wrong {
        let sent = &self.actions[action];
        let number = sent.number;
        if sent.object != object || sent.kind() != entry.kind {
            return Err(format!("#{number} was asked for another object or is another kind"));
        }
        match (sent.came_to, settles) {
            (Some((_, Outcome::Escalated)), Some(_)) => return Ok(()),
            (Some((revision, outcome)), _) => {
                return Err(format!("doubled: #{number} came to {outcome:?} at revision {revision} before"));
            }
            (None, _) => {}
        }
        if sent.loose == 0 {
            return Err(format!("#{number} had its effect though nobody waits for it and it has no ticket"));
        }
        Ok(())
    }

    /// Holds what an action made of what stood there.
    fn hold_made(
        &self,
        action: usize,
        before: u64,
        stands: Option<&Payload>,
        payload: Option<&Payload>,
        by_hand: bool,
    ) -> Wrong {
        let sent = &self.actions[action];
        let number = sent.number;
        let holds = sent.condition.holds(before, stands.is_some());
        if holds && sent.kind() != ActionKind::Custom {
            return match sent.applied(stands) {
                Some(expected) if expected.as_ref() == payload => Ok(()),
                _ => Err(format!("#{number} made something else of version {before} than it says")),
            };
        }
        if !holds && sent.choice == OnConflict::Reject && !by_hand {
            return Err(format!("#{number} was done though its condition does not hold on version {before}"));
        }
        if !sent.was_judged(before) {
            return Err(format!("#{number} was written on version {before}, on which it was never judged"));
        }
        let makes = |verdict: &Verdict| sent.by_verdict(verdict, stands).is_some_and(|made| made.as_ref() == payload);
        match sent.judged(before, makes) {
            true => Ok(()),
            false => {
                Err(format!("#{number} made something else of version {before} than the verdicts {:?}", sent.verdicts))
            }
        }
    }

    /// An action came to something else than a version.
    fn noted(&mut self, view: &ReadView, object: usize, entry: &Entry, revision: u64) -> Result<Option<usize>, String> {
        let stored = self.objects[object].version();
        if entry.version.get() != stored {
            return Err(format!("a note speaks of version {} where {stored} stands", entry.version));
        }
        let Some(identity) = entry.identity else {
            return self.noted_by_hand(object, entry, stored);
        };
        let action = self.action_of(entry.object.client(), identity.id)?;
        self.hold_effect(action, object, entry, None)?;
        self.hold_noted(action, entry.outcome, stored)?;
        self.actions[action].came_to = Some((revision, entry.outcome));
        if entry.outcome == Outcome::Escalated {
            let kept = view.escalation(Revision::new(revision)).map_err(|error| error.to_string())?;
            let number = self.actions[action].number;
            let kept = kept.ok_or_else(|| format!("lost: #{number} was escalated, and the escalation is not kept"))?;
            if kept.perform.action_id != Some(identity.id) || kept.perform.action != self.actions[action].action {
                return Err(format!("the escalation of #{number} is of another action"));
            }
            self.escalations.insert(revision, Escalated { action, settled: false, loose: 0 });
        }
        Ok(Some(action))
    }

    /// What was run again by hand found its effect there.
    fn noted_by_hand(&mut self, object: usize, entry: &Entry, stored: u64) -> Result<Option<usize>, String> {
        let fits = |(_, of): &(&u64, &Escalated)| {
            let sent = &self.actions[of.action];
            let live = self.objects[object].live().is_some();
            let applied = sent.judged(stored, |verdict| found_there(verdict, live));
            of.loose > 0 && !of.settled && sent.object == object && sent.kind() == entry.kind && applied
        };
        let found = self.escalations.iter().find(fits).map(|(number, of)| (*number, of.action));
        let (number, action) = found.ok_or("a note without an id that nobody has asked for")?;
        self.settle(number)?;
        Ok(Some(action))
    }

    pub(crate) fn hold_noted(&self, action: usize, outcome: Outcome, stored: u64) -> Wrong {
        let sent = &self.actions[action];
        let stands = self.objects[sent.object].live();
        let number = sent.number;
        let fits = match outcome {
            Outcome::Applied => sent.judged(stored, |verdict| found_there(verdict, stands.is_some())),
            Outcome::Escalated => {
                let tried_enough = sent.verdicts.len() >= TRIES_MAX as usize && sent.was_judged(stored);
                tried_enough || sent.judged(stored, |verdict| matches!(verdict, Verdict::Escalate(_)))
            }
            _ => {
                let holds = sent.condition.holds(stored, stands.is_some());
                let never_was = matches!(sent.condition, Condition::Known(known) if known > stored);
                let refused = |verdict: &Verdict| match verdict {
                    Verdict::Reject(_) => true,
                    Verdict::Rerun | Verdict::Patch(_) => sent.by_verdict(verdict, stands).is_none(),
                    _ => false,
                };
                never_was || holds && sent.applied(stands).is_none() || sent.judged(stored, refused)
            }
        };
        match fits {
            true => Ok(()),
            false => Err(format!("#{number} came to {outcome:?} on version {stored} for no reason")),
        }
    }

    fn hold_detached(&self, object: usize, entry: &Entry) -> Wrong {
        let is_it = |sent: &Sent| {
            sent.object == object && sent.kind() == entry.kind && sent.choice == OnConflict::Detach && sent.loose > 0
        };
        let stored = self.objects[object].version();
        match entry.version.get() == stored && self.actions.iter().rev().any(is_it) {
            true => Ok(()),
            false => Err(format!("a ticket at version {} that nobody has asked for", entry.version)),
        }
    }

    fn discarded(&mut self, entry: &Entry) -> Result<Option<usize>, String> {
        let Ok(number) = <[u8; 8]>::try_from(&entry.note[..]) else { return Ok(None) };
        let number = u64::from_be_bytes(number);
        if self.escalations.get(&number).is_none_or(|of| of.loose == 0) {
            return Err(format!("escalation {number} was discarded, and nobody has asked for that"));
        }
        self.settle(number)?;
        Ok(None)
    }
}
