//! What is done to a slot: push, activate, roll back, remove.

use std::collections::HashSet;

use ostrakon_wire::value::Map;
use ostrakon_wire::{ChangePolicy, ComponentDigest, Generation, PolicyChange, Slot, Stage};

use super::kinds::Generated;
use super::manifest::{CandidateRecord, Event, GenerationRecord, Manifest, Origin, SlotRecord, What};
use super::{ChangeError, Inner, Registry, State, check_slot};
use crate::bounds::{SLOTS_MAX, WHY_BYTES_MAX};
use crate::error::LoadError;
use crate::hex::hex;
use crate::watch::slow_us_default;

/// A component that is to be pushed.
pub(super) struct Push<'a> {
    pub(super) digest: Option<String>,
    pub(super) settings: Option<&'a str>,
    pub(super) stage: Stage,
    pub(super) slow_us: Option<u32>,
    pub(super) origin: Origin,
}

impl Registry {
    /// Changes a slot, on this thread: it takes as long as a component takes to compile. Answers what stands there then.
    ///
    /// # Errors
    /// [`ChangeError`] says why nothing was changed.
    pub fn change(&self, change: &ChangePolicy, by: Option<&str>) -> Result<Map, ChangeError> {
        let ChangePolicy { slot, change } = change;
        check_slot(slot).map_err(ChangeError::Unknown)?;
        let inner = &self.inner;
        match change {
            PolicyChange::Push { digest, settings, stage, slow_us } => {
                let digest = digest.as_ref().map(|digest: &ComponentDigest| hex(digest));
                let settings = settings.as_deref();
                let push = Push { digest, settings, stage: *stage, slow_us: *slow_us, origin: Origin::Pushed };
                inner.push(slot, &push, by).map(drop)?;
            }
            PolicyChange::Activate(number) => inner.activate(slot, number.get(), by)?,
            PolicyChange::RollBack => inner.roll_back(slot, by)?,
            PolicyChange::Remove => inner.remove(slot, by)?,
        }
        Ok(inner.show(slot))
    }
}

impl Registry {
    /// Puts a component into a slot, as it lies here; answers the number of its generation.
    ///
    /// # Errors
    /// [`ChangeError`] says why nothing was changed.
    pub fn put(&self, slot: &Slot, component: &[u8], settings: &str, stage: Stage) -> Result<Generation, ChangeError> {
        check_slot(slot).map_err(ChangeError::Unknown)?;
        let digest = Some(self.inner.components.keep(component)?);
        let push = Push { digest, settings: Some(settings), stage, slow_us: None, origin: Origin::Pushed };
        self.inner.push(slot, &push, None).map(Generation::new)
    }
}

impl Inner {
    /// Puts a new generation in, or on trial; answers its number.
    pub(super) fn push(&self, slot: &Slot, push: &Push<'_>, by: Option<&str>) -> Result<u64, ChangeError> {
        let (digest, settings) = self.wanted(slot, push)?;
        let loaded = self.load(slot.kind, &digest, &settings);
        if let Err(ChangeError::Refused(error)) = &loaded {
            self.refuse(slot, &digest, error, by);
        }
        let (component, policy) = loaded?;
        let slow_us = push.slow_us.unwrap_or_else(|| slow_us_default(slot.kind));
        let mut state = self.state.lock();
        // What nobody named yet may have been tidied up meanwhile.
        self.components.keep_as(&digest, &component.bytes)?;
        let good = self.slots(slot.kind).last_good(slot);
        let mut next = state.manifest.clone();
        let number = next.take_number(slot.kind);
        let made = GenerationRecord::of(slot, number, &policy, push.origin, self.now_ms());
        next.generations.push(GenerationRecord { slow_us, by: by.map(str::to_owned), ..made });
        let record = self.own_slot(&mut next, slot)?;
        let what = match push.stage {
            Stage::Serve => {
                record.serve(number, good.get());
                What::Served
            }
            Stage::Shadow(_) | Stage::Canary(_) => {
                record.candidate = Some(CandidateRecord { generation: number, stage: push.stage });
                if matches!(push.stage, Stage::Shadow(_)) { What::Shadowed } else { What::Canaried }
            }
        };
        let event = self.event(what, slot, Some(number), by).with_digest(digest);
        let generated = Generated { number: Generation::new(number), policy, slow_us };
        self.write(&mut state, next, Some(event))?;
        match push.stage {
            Stage::Serve => self.mail.leave(self.slots(slot.kind).serve(slot, generated)),
            stage => self.slots(slot.kind).try_out(slot, generated, stage),
        }
        self.look_closely();
        Ok(number)
    }

    /// Which component with which settings: those in force, where nothing else is said.
    fn wanted(&self, slot: &Slot, push: &Push<'_>) -> Result<(String, String), ChangeError> {
        let state = self.state.lock();
        let manifest = &state.manifest;
        let deciding = manifest.deciding(slot).and_then(|record| manifest.generation(slot.kind, record.active));
        let deciding = deciding.ok_or_else(|| ChangeError::Unknown(format!("nothing decides in {slot}")))?;
        let settings = |of: &str| push.settings.unwrap_or(of).to_owned();
        Ok(match &push.digest {
            Some(digest) => (digest.clone(), settings("{}")),
            None => (deciding.digest.clone(), settings(&deciding.settings)),
        })
    }

    /// The record of a slot; one that there was not yet goes on with what decided in its place.
    fn own_slot<'a>(&self, manifest: &'a mut Manifest, slot: &Slot) -> Result<&'a mut SlotRecord, ChangeError> {
        if manifest.slot(slot).is_none() {
            let of_kind = manifest.slots.iter().filter(|record| record.slot.kind == slot.kind).count();
            if of_kind >= SLOTS_MAX {
                return Err(ChangeError::TooMany { slots_max: SLOTS_MAX });
            }
            let deciding = manifest.deciding(slot).expect("there is always a default").clone();
            manifest.slots.push(SlotRecord { slot: slot.clone(), before: Vec::new(), candidate: None, ..deciding });
        }
        Ok(manifest.slot_mut(slot).expect("it was just seen to"))
    }

    fn activate(&self, slot: &Slot, number: u64, by: Option<&str>) -> Result<(), ChangeError> {
        let record = self.remembered(slot, number)?;
        let (_, policy) = self.load(slot.kind, &record.digest, &record.settings)?;
        let mut state = self.state.lock();
        if state.manifest.generation(slot.kind, number).is_none() {
            return Err(ChangeError::Unknown(format!("generation {number} was forgotten meanwhile")));
        }
        let now = state.manifest.slot(slot);
        if now.is_some_and(|now| now.active == number) {
            return Ok(());
        }
        let was_tried = now.and_then(|now| now.candidate.as_ref()).is_some_and(|it| it.generation == number);
        let good = self.slots(slot.kind).last_good(slot);
        let mut next = state.manifest.clone();
        self.own_slot(&mut next, slot)?.serve(number, good.get());
        let event = self.event(What::Activated, slot, Some(number), by);
        self.write(&mut state, next, Some(event))?;
        let (slots, number) = (self.slots(slot.kind), Generation::new(number));
        // One that was tried and is no longer was given up: that is still to be written down, and undoes this.
        if !slots.promote(slot, number, record.slow_us) && !was_tried {
            self.mail.leave(slots.serve(slot, Generated { number, policy, slow_us: record.slow_us }));
        }
        self.look_closely();
        Ok(())
    }

    /// A generation that may decide in a slot: one that was made for it, or for one that decides in its place.
    fn remembered(&self, slot: &Slot, number: u64) -> Result<GenerationRecord, ChangeError> {
        let state = self.state.lock();
        let manifest = &state.manifest;
        let unknown = || ChangeError::Unknown(format!("no generation {number} of {} is remembered", slot.kind.name()));
        manifest.generation(slot.kind, number).cloned().ok_or_else(unknown)
    }

    /// Ends what is tried; where nothing is, the generation before decides again.
    fn roll_back(&self, slot: &Slot, by: Option<&str>) -> Result<(), ChangeError> {
        let no_slot = || ChangeError::Unknown(format!("there is no slot {slot}"));
        let now = self.state.lock().manifest.slot(slot).cloned().ok_or_else(no_slot)?;
        if let Some(candidate) = &now.candidate {
            let mut state = self.state.lock();
            let mut next = state.manifest.clone();
            let record = next.slot_mut(slot).ok_or_else(no_slot)?;
            if record.candidate.as_ref() != Some(candidate) {
                return Err(changed_meanwhile(slot));
            }
            record.candidate = None;
            let event = self.event(What::Ended, slot, Some(candidate.generation), by);
            self.write(&mut state, next, Some(event))?;
            self.slots(slot.kind).end_trial(slot);
            return Ok(());
        }
        let nothing = || ChangeError::Unknown(format!("nothing decided in {slot} before"));
        let to = *now.before.last().ok_or_else(nothing)?;
        let record = self.remembered(slot, to)?;
        let (_, policy) = self.load(slot.kind, &record.digest, &record.settings)?;
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        if next.slot(slot) != Some(&now) || next.generation(slot.kind, to).is_none() {
            return Err(changed_meanwhile(slot));
        }
        next.slot_mut(slot).ok_or_else(no_slot)?.go_back(to);
        let event = self.event(What::RolledBack, slot, Some(now.active), by);
        let event = Event { to: Some(to), ..event };
        self.write(&mut state, next, Some(event))?;
        let good = Generated { number: Generation::new(to), policy, slow_us: record.slow_us };
        self.slots(slot.kind).put_back(slot, good);
        Ok(())
    }

    fn remove(&self, slot: &Slot, by: Option<&str>) -> Result<(), ChangeError> {
        if slot.is_default() {
            return Err(ChangeError::Unknown("the default slot cannot be removed".to_owned()));
        }
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        let before = next.slots.len();
        next.slots.retain(|record| record.slot != *slot);
        if next.slots.len() == before {
            return Err(ChangeError::Unknown(format!("there is no slot {slot}")));
        }
        let event = self.event(What::Removed, slot, None, by);
        self.write(&mut state, next, Some(event))?;
        self.slots(slot.kind).remove(slot);
        Ok(())
    }

    /// Remembers that a component was refused. Nothing has changed, so nothing is synced.
    fn refuse(&self, slot: &Slot, digest: &str, error: &LoadError, by: Option<&str>) {
        let event = self.event(What::Refused, slot, None, by).with_digest(digest.to_owned());
        self.state.lock().history.add(Event { why: Some(clipped(error.to_string())), ..event });
    }

    pub(super) fn event(&self, what: What, slot: &Slot, generation: Option<u64>, by: Option<&str>) -> Event {
        let (at_ms, slot, by) = (self.now_ms(), slot.clone(), by.map(str::to_owned));
        Event { at_ms, what, slot, generation, to: None, digest: None, by, why: None, bad: None }
    }

    /// Writes what is to stand on disk, and what that is about, where it is to be told; from then on it is what stands there.
    pub(super) fn write(&self, state: &mut State, mut next: Manifest, event: Option<Event>) -> Result<(), ChangeError> {
        let State { manifest, files, history } = state;
        if event.is_some() {
            next.last.clone_from(&event);
        }
        let forgot = next.forget();
        files.write(&next)?;
        *manifest = next;
        event.into_iter().for_each(|event| history.add(event));
        if forgot {
            let needed: HashSet<String> = manifest.generations.iter().map(|it| it.digest.clone()).collect();
            self.components.retain(&needed);
        }
        Ok(())
    }
}

/// Words that are kept: a component may make a reason as long as it likes.
pub(super) fn clipped(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(WHY_BYTES_MAX));
    words
}

fn changed_meanwhile(slot: &Slot) -> ChangeError {
    ChangeError::Unknown(format!("somebody changed {slot} meanwhile: look again"))
}

impl SlotRecord {
    /// Another generation decides; the one before it can be gone back to.
    pub(super) fn serve(&mut self, number: u64, last_good: u64) {
        if self.active != number {
            self.before.retain(|before| *before != number);
            self.before.push(self.active);
        }
        self.active = number;
        self.proved = false;
        self.last_good = Some(last_good);
        self.candidate = None;
    }

    /// A generation decides again that did before; those after it are forgotten.
    pub(super) fn go_back(&mut self, to: u64) {
        if let Some(at) = self.before.iter().rposition(|before| *before == to) {
            self.before.truncate(at);
        }
        self.active = to;
        self.proved = true;
        self.last_good = None;
        self.candidate = None;
    }
}

impl Event {
    fn with_digest(self, digest: String) -> Self {
        Self { digest: Some(digest), ..self }
    }
}
