//! What is told of slots, generations and events.

use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{ReadPolicies, Slot};

use super::manifest::{Event, GenerationRecord, SlotRecord};
use super::{ChangeError, Inner, Registry};
use crate::facts::{self, number, text};
use crate::slots::SeatInfo;

impl Registry {
    /// Tells of policies.
    ///
    /// # Errors
    /// [`ChangeError::Unknown`] for a slot that there is not, or one that tries nothing beside the requests.
    pub fn read(&self, read: &ReadPolicies) -> Result<Map, ChangeError> {
        let inner = &self.inner;
        match read {
            ReadPolicies::List => Ok(inner.list()),
            ReadPolicies::Show(slot) => {
                let known = inner.state.lock().manifest.slot(slot).is_some();
                known.then(|| inner.show(slot)).ok_or_else(|| ChangeError::Unknown(format!("there is no slot {slot}")))
            }
            ReadPolicies::History { slot, limit } => Ok(inner.history(slot.as_ref(), *limit)),
            ReadPolicies::Diff(slot) => inner.diff(slot),
        }
    }

    /// For `info`: what decides by default, by kind.
    pub fn facts(&self) -> Map {
        let infos = self.inner.all_slots().flat_map(|slots| slots.infos());
        let defaults = infos.filter(|info| info.slot.is_default());
        defaults.map(|info| (info.slot.kind.name().to_owned(), Value::Map(info.facts()))).collect()
    }
}

impl Inner {
    fn infos(&self) -> Vec<SeatInfo> {
        self.all_slots().flat_map(|slots| slots.infos()).collect()
    }

    fn list(&self) -> Map {
        let infos = self.infos();
        let state = self.state.lock();
        let manifest = &state.manifest;
        let line = |info: &SeatInfo| {
            let mut line = facts::slot(&info.slot);
            line.append(&mut facts::generation(&info.active));
            if let Some(candidate) = candidate(info, manifest.slot(&info.slot), false) {
                line.insert("candidate".into(), candidate);
            }
            Value::Map(line)
        };
        Map::from([("slots".into(), Value::Array(infos.iter().map(line).collect()))])
    }

    pub(super) fn show(&self, slot: &Slot) -> Map {
        let info = self.infos().into_iter().find(|info| info.slot == *slot);
        let state = self.state.lock();
        let manifest = &state.manifest;
        let record = manifest.slot(slot);
        let mut shown = facts::slot(slot);
        if let Some(info) = info {
            shown.append(&mut facts::generation_in_full(&info.active));
            shown.insert("on-trial".into(), Value::Bool(info.last_good.is_some()));
            if let Some(last_good) = info.last_good {
                shown.insert("last-good".into(), number(last_good.get()));
            }
            if let Some(candidate) = candidate(&info, record, true) {
                shown.insert("candidate".into(), candidate);
            }
        }
        let known = manifest.generations.iter().rev().filter(|known| {
            let decides = |record: &SlotRecord| record.active == known.number || record.before.contains(&known.number);
            known.slot.kind == slot.kind && (known.slot == *slot || record.is_some_and(decides))
        });
        shown.insert("generations".into(), Value::Array(known.map(|known| Value::Map(remembered(known))).collect()));
        shown
    }

    fn history(&self, slot: Option<&Slot>, limit: usize) -> Map {
        let state = self.state.lock();
        let of_slot = |event: &&Event| slot.is_none_or(|slot| event.slot == *slot);
        let events = state.history.latest_first().filter(of_slot).take(limit);
        Map::from([("events".into(), Value::Array(events.map(|event| Value::Map(told(event))).collect()))])
    }

    fn diff(&self, slot: &Slot) -> Result<Map, ChangeError> {
        let shadows = self.slots(slot.kind).shadows();
        let found = shadows.into_iter().find(|(of, _, _)| of == slot);
        let nothing = || ChangeError::Unknown(format!("nothing is compared in {slot}; push a candidate as a shadow"));
        let (_, candidate, shadow) = found.ok_or_else(nothing)?;
        let info = self.infos().into_iter().find(|info| info.slot == *slot).ok_or_else(nothing)?;
        let mut told = facts::slot(slot);
        told.extend([
            ("active".into(), number(info.active.generation.get())),
            ("candidate".into(), number(candidate.get())),
        ]);
        told.append(&mut shadow.facts());
        Ok(told)
    }
}

fn candidate(info: &SeatInfo, record: Option<&SlotRecord>, in_full: bool) -> Option<Value> {
    let candidate = info.candidate.as_ref()?;
    let mut told = if in_full { facts::generation_in_full(candidate) } else { facts::generation(candidate) };
    if let Some(record) = record.and_then(|record| record.candidate.as_ref()) {
        told.append(&mut facts::stage(record.stage));
    }
    Some(Value::Map(told))
}

fn remembered(record: &GenerationRecord) -> Map {
    let GenerationRecord { number: of, digest, name, version, slow_us, origin, at_ms, by, .. } = record;
    let origin = match origin {
        super::manifest::Origin::Shipped => "shipped",
        super::manifest::Origin::Given => "given",
        super::manifest::Origin::Pushed => "pushed",
        super::manifest::Origin::Folder => "folder",
    };
    let mut told = Map::from([
        ("generation".into(), number(*of)),
        ("digest".into(), text(digest.clone())),
        ("name".into(), text(name.clone())),
        ("version".into(), text(version.clone())),
        ("slow-us".into(), number((*slow_us).into())),
        ("origin".into(), text(origin)),
        ("at-ms".into(), number(*at_ms)),
    ]);
    told.extend(by.clone().map(|by| ("by".into(), Value::Text(by))));
    told
}

fn told(event: &Event) -> Map {
    let Event { at_ms, what, slot, generation, to, digest, by, why, bad } = event;
    let mut told = facts::slot(slot);
    told.extend([("at-ms".into(), number(*at_ms)), ("event".into(), text(what.name()))]);
    let numbers = [("generation", generation), ("to", to)];
    told.extend(numbers.into_iter().filter_map(|(name, it)| Some((name.to_owned(), number((*it)?)))));
    if let Some((bad_calls, took_us)) = bad {
        told.extend([("bad-calls".into(), number((*bad_calls).into())), ("took-us".into(), number(*took_us))]);
    }
    let texts = [("digest", digest), ("by", by), ("why", why)];
    told.extend(texts.into_iter().filter_map(|(name, it)| Some((name.to_owned(), Value::Text(it.clone()?)))));
    told
}
