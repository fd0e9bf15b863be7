//! The policies of a host: what stands in which slot, durably, and everything that is done to that.
//!
//! Who changes something does so on a thread of its own choice, off the requests: the component is read, compiled, checked
//! and tried; then what is to stand on disk is written; then the new generation is put in, in one step. What those who
//! decide have to say (a generation was given up) comes the other way round: it is in force at once, and written behind.
//!
//! Two threads serve it: the keeper gives up generations that are bad, and looks into the watched folder; the shadow asks
//! candidates beside the requests. Both give way to all others, and so does whoever compiles.

mod changes;
mod components;
mod folder;
mod history;
mod keeper;
mod kinds;
mod manifest;
mod opening;
mod report;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use ostrakon_core::policy::{PredictionPolicy, ReconciliationPolicy, ShardKeyPolicy};
use ostrakon_wire::{PolicyKind, Slot, UploadComponent};
use parking_lot::Mutex;

use crate::bounds::LOAD_PATIENCE;
use crate::compare::ShardOf;
use crate::decisions::Recording;
use crate::engine::PolicyEngine;
use crate::error::{EngineError, LoadError};
use crate::gently::gently;
use crate::load::{Loaded, Whole};
use crate::sight::Sight;
use crate::slots::{PredictionSlots, ReconciliationSlots, ShardKeySlots, Trouble};
use components::Components;
pub use components::UploadError;
use history::History;
use keeper::Mail;
use kinds::AnySlots;
pub use manifest::ManifestError;
use manifest::{Manifest, ManifestFiles};

/// A policy that is to stand in a default slot from the start on.
#[derive(Debug, Clone)]
pub struct Given {
    /// Of which kind.
    pub kind: PolicyKind,
    /// The component, and what to call it in words; `None`: the shipped one.
    pub component: Option<(String, Vec<u8>)>,
    /// The text of a JSON object; `None`: none.
    pub settings: Option<String>,
}

/// How to open a registry.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// The folder for what must last; made if it is missing.
    pub path: PathBuf,
    /// Policies that were named when the host was started.
    pub given: Vec<Given>,
    /// A folder whose components are put in as they are saved.
    pub watched: Option<PathBuf>,
    /// Which decisions are written down, in the folder `decisions` below; `None`: none.
    pub recording: Option<Recording>,
    /// Tells the time, in milliseconds since 1970.
    pub now_ms: fn() -> u64,
}

/// Why a registry does not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The policy engine does not start.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// What stands on disk cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The folder cannot be used.
    #[error("{path}: {source}")]
    Io {
        /// The folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A policy that was named is refused.
    #[error("the {} policy {name} is refused: {error}", .kind.name())]
    Refused {
        /// Its kind.
        kind: PolicyKind,
        /// What it was called.
        name: String,
        /// Why.
        error: LoadError,
    },
}

/// Why a slot is not changed. It keeps what it has.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The component or its settings are refused.
    #[error("{0}")]
    Refused(LoadError),
    /// There is no such component, slot or generation.
    #[error("{0}")]
    Unknown(String),
    /// There are as many slots as there may be.
    #[error("there are {slots_max} slots of a kind at most")]
    TooMany {
        /// The bound.
        slots_max: usize,
    },
    /// It cannot be kept on disk.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A component cannot be kept, or read.
    #[error("a component cannot be kept or read: {0}")]
    Io(#[from] std::io::Error),
}

/// The policies of a host. A clone is another handle.
#[derive(Clone)]
pub struct Registry {
    inner: Arc<Inner>,
    _threads: Arc<Threads>,
}

pub(crate) struct Inner {
    config: RegistryConfig,
    engine: PolicyEngine,
    components: Components,
    shard_key: Arc<ShardKeySlots>,
    prediction: Arc<PredictionSlots>,
    reconciliation: Arc<ReconciliationSlots>,
    /// What stands on disk. Held while something is changed, but not while a component is compiled.
    state: Mutex<State>,
    /// Held while components are read and compiled, one at a time.
    loading: Mutex<()>,
    mail: Arc<Mail>,
    shard_of: OnceLock<ShardOf>,
    /// What decisions are shown to that are to be written down.
    recorded: Option<Arc<Sight>>,
}

pub(crate) struct State {
    manifest: Manifest,
    files: ManifestFiles,
    history: History,
}

/// Stops the threads when the last handle is gone.
struct Threads {
    mail: Arc<Mail>,
    all: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.mail.stop();
        for thread in self.all.get_mut().drain(..) {
            thread.thread().unpark();
            // What panicked has said so.
            let _ = thread.join();
        }
    }
}

impl Registry {
    /// Whether policies that were named for a start would load: nothing is written.
    ///
    /// # Errors
    /// [`OpenError::Refused`] for the first that does not.
    pub fn check(engine: &PolicyEngine, given: &[Given]) -> Result<(), OpenError> {
        opening::check(engine, given)
    }

    /// Opens what stands on disk, loads it, and starts the threads.
    ///
    /// A generation that does not load any more is passed over for the last one of its slot that does; the history says so.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong. Policies that were named must load.
    pub fn open(engine: PolicyEngine, config: RegistryConfig) -> Result<Self, OpenError> {
        let inner = Arc::new(opening::open(engine, config)?);
        let mail = Arc::clone(&inner.mail);
        let started = keeper::start(&inner);
        let path = inner.config.path.display().to_string();
        let all = started.map_err(|source| OpenError::Io { path, source })?;
        Ok(Self { inner, _threads: Arc::new(Threads { mail, all: Mutex::new(all) }) })
    }

    /// Tells which shard holds which key, so that comparisons can be told in shards.
    pub fn know_shards(&self, shard_of: ShardOf) {
        // Told once, when the host is built.
        let _ = self.inner.shard_of.set(shard_of);
    }

    /// Who answers where objects live.
    pub fn shard_key(&self) -> Arc<dyn ShardKeyPolicy> {
        Arc::clone(&self.inner.shard_key) as _
    }

    /// Who foretells versions.
    pub fn prediction(&self) -> Arc<dyn PredictionPolicy> {
        Arc::clone(&self.inner.prediction) as _
    }

    /// Who judges actions that lost.
    pub fn reconciliation(&self) -> Arc<dyn ReconciliationPolicy> {
        Arc::clone(&self.inner.reconciliation) as _
    }

    /// Takes a part of a component; answers how much of it is here.
    ///
    /// # Errors
    /// [`UploadError`] says why it is not taken.
    pub fn upload(&self, upload: &UploadComponent) -> Result<u64, UploadError> {
        self.inner.components.upload(upload, self.inner.engine.limits().component_bytes_max)
    }
}

impl Inner {
    fn slots(&self, kind: PolicyKind) -> &dyn AnySlots {
        match kind {
            PolicyKind::ShardKey => &*self.shard_key,
            PolicyKind::Prediction => &*self.prediction,
            PolicyKind::Reconciliation => &*self.reconciliation,
        }
    }

    fn all_slots(&self) -> impl Iterator<Item = &dyn AnySlots> {
        PolicyKind::ALL.into_iter().map(|kind| self.slots(kind))
    }

    /// Keeps deadlines closely while somebody is on trial.
    fn look_closely(&self) {
        self.engine.watch_closely(self.all_slots().any(|slots| slots.is_on_trial()));
    }

    fn now_ms(&self) -> u64 {
        (self.config.now_ms)()
    }

    /// Reads a component and loads it, off the requests, on a thread that gives way and rests. One is compiled at a time; what was
    /// compiled before does not wait for it: a rollback is in a hurry.
    fn load(&self, kind: PolicyKind, digest: &str, settings: &str) -> Result<(Whole, Loaded), ChangeError> {
        let unknown = || ChangeError::Unknown(format!("the host has no component {digest}"));
        // Told at once, not behind a component that is compiled.
        if !self.components.has(digest) {
            return Err(unknown());
        }
        let _loading = (!self.engine.has_compiled(digest)).then(|| self.loading.lock());
        let load = || {
            let component = self.components.read(digest)?.ok_or_else(unknown)?;
            let load = || self.engine.load_whole(kind, &component, settings);
            let loaded = gently(load).map_err(ChangeError::Refused)?;
            Ok((component, loaded))
        };
        ostrakon_background::idly("policy-load", LOAD_PATIENCE, load).unwrap_or_else(|error| {
            let words = format!("no thread to load it on: {error}");
            Err(ChangeError::Refused(LoadError::Malformed(words)))
        })
    }
}

fn tell(mail: &Arc<Mail>) -> Box<dyn Fn(Trouble) + Send + Sync> {
    let mail = Arc::clone(mail);
    Box::new(move |trouble| mail.post(trouble))
}

/// The most specific slots of a name are checked as object ids are.
pub(crate) fn check_slot(slot: &Slot) -> Result<(), String> {
    use ostrakon_wire::IdPart;
    let client = slot.client.as_deref().map(|client| IdPart::Client.check(client)).transpose();
    let data_type = slot.data_type.as_deref().map(|data_type| IdPart::DataType.check(data_type)).transpose();
    client.and(data_type).map(drop).map_err(|error| error.to_string())
}
