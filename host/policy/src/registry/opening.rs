//! From what stands on disk to slots that decide.

use std::fs;
use std::sync::{Arc, OnceLock};

use ostrakon_wire::{Generation, PolicyKind, Slot};
use parking_lot::Mutex;

use super::changes::clipped;
use super::components::Components;
use super::history::{FILE as HISTORY, History};
use super::keeper::Mail;
use super::manifest::{Event, GenerationRecord, Manifest, ManifestFiles, Origin, SlotRecord, What};
use super::{Given, Inner, OpenError, RegistryConfig, State, tell};
use crate::cache::digest_of;
use crate::engine::PolicyEngine;
use crate::generation::Active;
use crate::load::Loaded;
use crate::prepared::Policy;
use crate::shipped::shipped;
use crate::sight::Sight;
use crate::slots::{Guarded, Seat, Slots, Trial};
use crate::watch::{Watch, slow_us_default};

/// Loads what was named, so that it can be refused before anything is written.
pub(super) fn check(engine: &PolicyEngine, given: &[Given]) -> Result<(), OpenError> {
    for Given { kind, component, settings } in given {
        let (name, bytes) = match component {
            Some((name, bytes)) => (name.as_str(), bytes.as_slice()),
            None => (shipped(*kind).name, shipped(*kind).bytes),
        };
        let loaded = engine.load(*kind, bytes, settings.as_deref().unwrap_or("{}"));
        loaded.map_err(|error| OpenError::Refused { kind: *kind, name: name.to_owned(), error })?;
    }
    Ok(())
}

struct Opening<'a> {
    engine: &'a PolicyEngine,
    components: &'a Components,
    manifest: Manifest,
    now_ms: u64,
    recorded: Option<Arc<Sight>>,
    /// What happened so far.
    events: Vec<Event>,
}

pub(super) fn open(engine: PolicyEngine, config: RegistryConfig) -> Result<Inner, OpenError> {
    let io = |source| OpenError::Io { path: config.path.display().to_string(), source };
    fs::create_dir_all(&config.path).map_err(io)?;
    engine.keep_compiled_in(&config.path.join("cache"))?;
    let components = Components::open(&config.path).map_err(io)?;
    let (mut files, manifest) = ManifestFiles::open(&config.path)?;
    let mut history = History::open(&config.path.join(HISTORY), manifest.last.as_ref()).map_err(io)?;
    let recorded = config.recording.map(|recording| Arc::new(Sight::new(recording.share_ppm)));
    let mut opening = Opening {
        engine: &engine,
        components: &components,
        manifest: manifest.clone(),
        now_ms: (config.now_ms)(),
        recorded: recorded.clone(),
        events: Vec::new(),
    };
    for kind in PolicyKind::ALL {
        opening.settle_default(kind, config.given.iter().rev().find(|given| given.kind == kind))?;
    }
    let mail = Arc::<Mail>::default();
    let shard_key = Arc::new(opening.slots(&mail)?);
    let prediction = Arc::new(opening.slots(&mail)?);
    let reconciliation = Arc::new(opening.slots(&mail)?);
    let Opening { manifest: mut opened, events, .. } = opening;
    opened.last = events.last().cloned().or(opened.last);
    if opened != manifest {
        files.write(&opened)?;
    }
    events.into_iter().for_each(|event| history.add(event));
    Ok(Inner {
        engine,
        components,
        shard_key,
        prediction,
        reconciliation,
        state: Mutex::new(State { manifest: opened, files, history }),
        loading: Mutex::new(()),
        mail,
        shard_of: OnceLock::new(),
        recorded,
        config,
    })
}

impl Opening<'_> {
    /// Sees to it that the default slot of a kind has what was named for it, or else what it had; a shipped policy is the
    /// one that this host brings.
    fn settle_default(&mut self, kind: PolicyKind, given: Option<&Given>) -> Result<(), OpenError> {
        let slot = Slot::default_of(kind);
        let had = self.manifest.slot(&slot).and_then(|record| self.manifest.generation(kind, record.active)).cloned();
        let brought = shipped(kind);
        let (origin, name, bytes, settings) = match (given, &had) {
            (Some(Given { component: Some((name, bytes)), settings, .. }), _) => {
                (Origin::Given, name.as_str(), bytes.as_slice(), settings.as_deref().unwrap_or("{}"))
            }
            (Some(Given { component: None, settings, .. }), _) => {
                (Origin::Given, brought.name, brought.bytes, settings.as_deref().unwrap_or("{}"))
            }
            (None, Some(had)) if had.origin != Origin::Shipped => return Ok(()),
            (None, had) => {
                let settings = had.as_ref().map_or("{}", |had| had.settings.as_str());
                (Origin::Shipped, brought.name, brought.bytes, settings)
            }
        };
        if had.as_ref().is_some_and(|had| had.digest == digest_of(bytes) && had.settings == settings) {
            return Ok(());
        }
        let refused = |error| OpenError::Refused { kind, name: name.to_owned(), error };
        let loaded = self.engine.load(kind, bytes, settings).map_err(refused)?;
        let digest = self.components.keep(bytes);
        let digest = digest.map_err(|source| OpenError::Io { path: name.to_owned(), source })?;
        let number = self.manifest.take_number(kind);
        self.manifest.generations.push(GenerationRecord::of(&slot, number, &loaded, origin, self.now_ms));
        match self.manifest.slot_mut(&slot) {
            Some(record) => {
                record.before.push(record.active);
                // Named at a start, where nothing is in flight that another one could answer.
                *record =
                    SlotRecord { active: number, proved: true, last_good: None, candidate: None, ..record.clone() };
            }
            None => self.manifest.slots.push(SlotRecord {
                slot: slot.clone(),
                active: number,
                before: Vec::new(),
                proved: true,
                last_good: None,
                candidate: None,
            }),
        }
        self.add_event(What::Served, &slot, Some(number), None, Some(digest), None);
        Ok(())
    }

    fn add_event(
        &mut self,
        what: What,
        slot: &Slot,
        generation: Option<u64>,
        to: Option<u64>,
        digest: Option<String>,
        why: Option<String>,
    ) {
        let (at_ms, slot, why) = (self.now_ms, slot.clone(), why.map(clipped));
        self.events.push(Event { at_ms, what, slot, generation, to, digest, by: None, why, bad: None });
    }

    /// The slots of a kind, from their records.
    fn slots<P: Policy>(&mut self, mail: &Arc<Mail>) -> Result<Slots<P>, OpenError> {
        let records = self.manifest.slots.iter().filter(|record| record.slot.kind == P::KIND);
        let records: Vec<SlotRecord> = records.cloned().collect();
        let (mut default, mut others) = (None, Vec::new());
        for record in records {
            let is_default = record.slot.is_default();
            match self.seat::<P>(record)? {
                Some(seat) if is_default => default = Some(seat),
                Some(seat) => others.push(seat),
                None => {}
            }
        }
        let default = default.expect("the default slot was settled");
        Ok(Slots::with_seats(default, others, tell(mail)))
    }

    /// A seat with the generation that decided last, or the latest before it that still loads. An override of which none
    /// does is passed over; in place of a default the shipped policy decides.
    fn seat<P: Policy>(&mut self, mut record: SlotRecord) -> Result<Option<Seat<P>>, OpenError> {
        let (slot, wanted) = (record.slot.clone(), record.active);
        let mut loaded = None;
        let mut why = None;
        let tried: Vec<u64> = std::iter::once(wanted).chain(record.before.iter().rev().copied()).collect();
        for number in tried {
            match self.load(P::KIND, number) {
                Ok(policy) => {
                    loaded = Some((number, policy));
                    break;
                }
                Err(words) => drop(why.get_or_insert(words)),
            }
        }
        if loaded.is_none() && !slot.is_default() {
            self.not_loaded(&slot, wanted, None, why);
            return Ok(None);
        }
        let (number, policy) = match loaded {
            Some(loaded) => loaded,
            None => {
                let refused = |error| OpenError::Refused { kind: P::KIND, name: shipped(P::KIND).name.into(), error };
                let policy = self.engine.load(P::KIND, shipped(P::KIND).bytes, "{}").map_err(refused)?;
                (self.shipped_number(&slot, &policy), policy)
            }
        };
        if number != wanted {
            self.not_loaded(&slot, wanted, Some(number), why);
            // What was wanted stays where it can be put in again.
            record.before.retain(|before| *before != number);
            record.proved = true;
            record.last_good = None;
        }
        if !slot.is_default() {
            policy.prepared.drop_spares();
        }
        record.active = number;
        let (guarded, trial) = self.on_trial::<P>(&mut record, &policy);
        if let Some(kept) = self.manifest.slot_mut(&slot) {
            *kept = record;
        }
        let number = Generation::new(number);
        let active = if guarded.is_some() { Active::on_trial(number, policy) } else { Active::new(number, policy) };
        let active = Arc::new(active);
        Ok(Some(Seat { slot, active, guarded, trial, recording: self.recorded.clone() }))
    }

    fn shipped_number(&mut self, slot: &Slot, policy: &Loaded) -> u64 {
        let number = self.manifest.take_number(slot.kind);
        let record = GenerationRecord::of(slot, number, policy, Origin::Shipped, self.now_ms);
        self.manifest.generations.push(record);
        number
    }

    fn not_loaded(&mut self, slot: &Slot, wanted: u64, to: Option<u64>, why: Option<String>) {
        let why = why.unwrap_or_default();
        tracing::error!(%slot, generation = wanted, %why, serving = to, "a policy does not load any more");
        self.add_event(What::NotLoaded, slot, Some(wanted), to, None, Some(why));
    }

    /// What was on trial goes on being so, from the beginning.
    fn on_trial<P: Policy>(
        &mut self,
        record: &mut SlotRecord,
        active: &Loaded,
    ) -> (Option<Guarded<P>>, Option<Trial<P>>) {
        let slow_us =
            |number| self.manifest.generation(P::KIND, number).map_or(slow_us_default(P::KIND), |it| it.slow_us);
        let guarded = record.last_good.filter(|_| !record.proved).and_then(|good| {
            let policy = self.load(P::KIND, good).ok()?;
            policy.prepared.drop_spares();
            let last_good = Arc::new(Active::new(Generation::new(good), policy));
            Some(Guarded { last_good, watch: Arc::new(Watch::new(slow_us(record.active))) })
        });
        let Some(candidate) = record.candidate.clone() else { return (guarded, None) };
        let policy = match self.load(P::KIND, candidate.generation) {
            Ok(policy) => policy,
            Err(why) => {
                record.candidate = None;
                self.not_loaded(&record.slot, candidate.generation, Some(record.active), Some(why));
                return (guarded, None);
            }
        };
        policy.prepared.drop_spares();
        let (number, slow_us) = (Generation::new(candidate.generation), slow_us(candidate.generation));
        let trial = Trial::of(candidate.stage, number, policy, slow_us, active);
        (guarded, trial)
    }

    fn load(&self, kind: PolicyKind, number: u64) -> Result<Loaded, String> {
        let record = self.manifest.generation(kind, number).ok_or("nothing is known of it")?;
        let component = self.components.read(&record.digest).map_err(|error| error.to_string())?;
        let component = component.ok_or("its component is gone")?;
        self.engine.load_whole(kind, &component, &record.settings).map_err(|error| error.to_string())
    }
}
