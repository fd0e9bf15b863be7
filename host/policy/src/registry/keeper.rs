//! The threads of the registry: one that gives up what is bad and looks into the watched folder, one that asks candidates.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use ostrakon_wire::{Generation, Slot};
use parking_lot::Mutex;

use super::Inner;
use super::folder::Watched;
use super::manifest::{Event, What};
use crate::bounds::{BAD_WAIT_MS, FOLDER_EVERY_MS};
use crate::decisions::Recorder;
use crate::shadow::{Shadows, Turn};
use crate::slots::Trouble;

/// What was replaced and is not dropped yet: its instances are missing elsewhere.
const LEFT_MAX: usize = 4;
/// How long the shadow rests where there is nothing to compare.
const IDLE: Duration = Duration::from_millis(2);
/// How long it rests while there is no shadow.
const NO_SHADOW: Duration = Duration::from_millis(50);

/// What those who decide tell the keeper.
#[derive(Default)]
pub(super) struct Mail {
    troubles: Mutex<Vec<Trouble>>,
    keeper: Mutex<Option<Thread>>,
    stop: AtomicBool,
    /// What was replaced, until the last call that began before has certainly let go of it.
    left: Mutex<Vec<(Instant, Box<dyn Any + Send>)>>,
}

impl Mail {
    /// Keeps what was replaced for a while.
    pub(super) fn leave(&self, left: Box<dyn Any + Send>) {
        let mut all = self.left.lock();
        all.push((Instant::now(), left));
        let too_many = all.len().saturating_sub(LEFT_MAX);
        let gone: Vec<_> = all.drain(..too_many).collect();
        drop(all);
        drop(gone);
    }

    /// Drops what was replaced long enough ago.
    fn clear_up(&self) {
        let long_ago = |since: &Instant| since.elapsed() >= Duration::from_millis(FOLDER_EVERY_MS);
        let gone: Vec<_> = self.left.lock().extract_if(.., |(since, _)| long_ago(since)).collect();
        drop(gone);
    }

    pub(super) fn post(&self, trouble: Trouble) {
        self.troubles.lock().push(trouble);
        if let Some(keeper) = &*self.keeper.lock() {
            keeper.unpark();
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

pub(super) fn start(inner: &Arc<Inner>) -> std::io::Result<Vec<JoinHandle<()>>> {
    let named = |name: &str| std::thread::Builder::new().name(name.into());
    let keeping = Arc::clone(inner);
    let keeper = named("policy-keeper").spawn(move || keep(&keeping))?;
    *inner.mail.keeper.lock() = Some(keeper.thread().clone());
    let shadowing = Arc::clone(inner);
    let shadow = named("policy-shadow").spawn(move || {
        ostrakon_background::give_way_to_all();
        shadow(&shadowing);
    })?;
    Ok(vec![keeper, shadow])
}

fn keep(inner: &Arc<Inner>) {
    let mut watched = inner.config.watched.as_deref().map(Watched::new);
    let mut looked = Instant::now();
    let mut in_doubt = false;
    while !inner.mail.is_stopped() {
        let rest = if in_doubt { BAD_WAIT_MS / 5 } else { FOLDER_EVERY_MS };
        std::thread::park_timeout(Duration::from_millis(rest));
        // Let go of at once: those who serve post here.
        let troubles = std::mem::take(&mut *inner.mail.troubles.lock());
        for trouble in troubles {
            match trouble {
                Trouble::InDoubt => in_doubt = true,
                Trouble::GaveUp { slot, from, to, why, bad_calls, took_us } => {
                    inner.gave_up(&slot, from, to, why, (bad_calls, took_us));
                }
            }
        }
        if in_doubt {
            in_doubt = inner.all_slots().fold(false, |in_doubt, slots| slots.look_after() | in_doubt);
        }
        if looked.elapsed() < Duration::from_millis(FOLDER_EVERY_MS) {
            continue;
        }
        looked = Instant::now();
        inner.mail.clear_up();
        inner.end_trials();
        inner.look_closely();
        if let Some(watched) = &mut watched {
            watched.look(inner);
        }
    }
}

fn shadow(inner: &Inner) {
    let mut shadows = Shadows::default();
    let mut recorder = recorder(inner);
    while !inner.mail.is_stopped() {
        let all: Vec<_> = inner.all_slots().flat_map(|slots| slots.shadows()).collect();
        let kept: Vec<_> = all.iter().map(|(_, _, shadow)| Arc::clone(shadow)).collect();
        shadows.keep(&kept);
        let mut busy = false;
        if let Some(recording) = &mut recorder {
            match recording.turn() {
                Ok(wrote) => busy = wrote,
                Err(error) => {
                    tracing::error!(%error, "decisions are not written down any more");
                    recorder = None;
                }
            }
        }
        for (slot, candidate, shadow) in &all {
            match shadows.turn(shadow, inner.shard_of.get()) {
                Turn::Idle => {}
                Turn::Busy => busy = true,
                Turn::Ended(why) => inner.shadow_ended(slot, *candidate, why),
            }
        }
        if !busy {
            let nobody = all.is_empty() && recorder.is_none();
            std::thread::park_timeout(if nobody { NO_SHADOW } else { IDLE });
        }
    }
}

/// Who writes decisions down, where that is wanted.
fn recorder(inner: &Inner) -> Option<Recorder> {
    let (recording, sight) = (inner.config.recording?, inner.recorded.clone()?);
    let opened = Recorder::open(&inner.config.path.join("decisions"), recording, sight);
    opened.inspect_err(|error| tracing::error!(%error, "decisions cannot be written down")).ok()
}

impl Inner {
    /// Writes down that a generation was given up.
    fn gave_up(&self, slot: &Slot, from: Generation, to: Generation, why: String, bad: (u32, u64)) {
        tracing::warn!(%slot, %from, %to, %why, "a policy was given up");
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        if let Some(record) = next.slot_mut(slot) {
            if record.candidate.as_ref().is_some_and(|it| it.generation == from.get()) {
                record.candidate = None;
            }
            record.before.retain(|before| *before != from.get());
            // Somebody may have changed the slot meanwhile.
            if record.active == from.get() {
                record.go_back(to.get());
            } else if record.last_good == Some(from.get()) {
                record.last_good = Some(to.get());
            }
        }
        let event = self.event(What::GivenUp, slot, Some(from.get()), None);
        let event = Event { to: Some(to.get()), why: Some(why), bad: Some(bad), ..event };
        if let Err(error) = self.write(&mut state, next, Some(event)) {
            tracing::error!(%error, "that a policy was given up cannot be written down");
        }
    }

    /// Writes down that a shadow is not asked any more. It stays to be looked at until somebody ends it.
    fn shadow_ended(&self, slot: &Slot, candidate: Generation, why: String) {
        tracing::warn!(%slot, %candidate, %why, "a shadow is not asked any more");
        let mut state = self.state.lock();
        let next = state.manifest.clone();
        let event = self.event(What::Ended, slot, Some(candidate.get()), None);
        let event = Event { why: Some(why), ..event };
        if let Err(error) = self.write(&mut state, next, Some(event)) {
            tracing::error!(%error, "that a shadow has ended cannot be written down");
        }
    }

    /// Lets go of generations that nobody needs to go back to.
    fn end_trials(&self) {
        let proved: Vec<_> = self.all_slots().flat_map(|slots| slots.end_trials()).collect();
        if proved.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        let mut next = state.manifest.clone();
        for (slot, number) in &proved {
            if let Some(record) = next.slot_mut(slot).filter(|record| record.active == number.get()) {
                record.proved = true;
                record.last_good = None;
            }
        }
        if let Err(error) = self.write(&mut state, next, None) {
            tracing::warn!(%error, "that a policy has proved good cannot be written down");
        }
    }
}
