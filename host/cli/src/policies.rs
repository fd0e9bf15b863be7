//! The policies of a host: what its folder remembers, and what was named when it was started.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ostrakon_engine::{Policies, PolicyKeeper};
use ostrakon_policy::{
    ChangeError, Given, Limits, OpenError, PolicyEngine, Recording, Registry, RegistryConfig, UploadError,
};
use ostrakon_wire::value::Map;
use ostrakon_wire::{ChangePolicy, Code, PolicyKind, ReadPolicies, UploadComponent, WireError};

use crate::failure::Failure;

/// A file for a kind of policy, as given on the command line.
#[derive(Debug, Clone)]
pub(crate) struct KindAndFile {
    kind: PolicyKind,
    file: PathBuf,
}

impl std::str::FromStr for KindAndFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (kind, file) = text.split_once('=').ok_or("expected KIND=FILE")?;
        Ok(Self { kind: kind_of(kind)?, file: file.into() })
    }
}

/// Stands for the component that the host brings.
const SHIPPED: &str = "shipped";

/// The kind of that name.
pub(crate) fn kind_of(name: &str) -> Result<PolicyKind, String> {
    let kinds = || PolicyKind::ALL.map(PolicyKind::name).join(", ");
    PolicyKind::from_name(name).ok_or_else(|| format!("no policy kind {name:?}; there are {}", kinds()))
}

/// What was named for policies when a host was started.
#[derive(Debug, Clone, Default)]
pub(crate) struct PolicyFiles {
    pub(crate) components: Vec<KindAndFile>,
    pub(crate) settings: Vec<KindAndFile>,
    /// A folder whose components are put in as they are saved.
    pub(crate) watched: Option<PathBuf>,
    /// Which decisions are written down.
    pub(crate) recording: Option<Recording>,
}

impl PolicyFiles {
    fn file_of(files: &[KindAndFile], kind: PolicyKind) -> Option<&PathBuf> {
        files.iter().rev().find(|given| given.kind == kind).map(|given| &given.file)
    }

    /// What was named for one kind, read.
    fn given(&self, kind: PolicyKind) -> Result<Option<Given>, Failure> {
        let unreadable = |file: &Path, error: std::io::Error| Failure::refused(format!("{}: {error}", file.display()));
        let named = Self::file_of(&self.components, kind);
        let component = named.filter(|file| file.as_os_str() != SHIPPED).map(|file| {
            let bytes = std::fs::read(file).map_err(|error| unreadable(file, error))?;
            Ok::<_, Failure>((file.display().to_string(), bytes))
        });
        let settings = Self::file_of(&self.settings, kind).map(|file| read_settings(file));
        let (component, settings) = (component.transpose()?, settings.transpose()?);
        Ok((named.is_some() || settings.is_some()).then_some(Given { kind, component, settings }))
    }

    /// Reads and loads what was named, so that a start can be refused before anything is written.
    pub(crate) fn read(self) -> Result<NamedPolicies, Failure> {
        let given = PolicyKind::ALL.into_iter().filter_map(|kind| self.given(kind).transpose());
        let given: Vec<_> = given.collect::<Result<_, _>>()?;
        if let Some(watched) = self.watched.as_ref().filter(|watched| !watched.is_dir()) {
            return Err(Failure::usage(format!("--policy-dir: {} is no folder", watched.display())));
        }
        let engine = PolicyEngine::new(Limits::default()).map_err(|error| cannot_run(&error))?;
        Registry::check(&engine, &given).map_err(open_failure)?;
        Ok(NamedPolicies { engine, given, watched: self.watched, recording: self.recording })
    }
}

/// Policies that were named for a start, and would load.
pub(crate) struct NamedPolicies {
    engine: PolicyEngine,
    given: Vec<Given>,
    watched: Option<PathBuf>,
    recording: Option<Recording>,
}

impl NamedPolicies {
    /// Opens the policies of a data folder, which is this process's alone.
    pub(crate) fn open(self, data_dir: &Path) -> Result<Registry, Failure> {
        let Self { engine, given, watched, recording } = self;
        let config = RegistryConfig { path: data_dir.join("policies"), given, watched, recording, now_ms };
        Registry::open(engine, config).map_err(open_failure)
    }
}

fn cannot_run(error: &dyn std::fmt::Display) -> Failure {
    Failure::failed(format!("policies cannot be run here: {error}"))
}

fn open_failure(error: OpenError) -> Failure {
    match error {
        OpenError::Refused { .. } => Failure::refused(error.to_string()),
        error => cannot_run(&error),
    }
}

/// The text of a settings file.
pub(crate) fn read_settings(file: &Path) -> Result<String, Failure> {
    let bytes = std::fs::read(file).map_err(|error| Failure::refused(format!("{}: {error}", file.display())))?;
    String::from_utf8(bytes).map_err(|_| Failure::refused(format!("{}: settings are not UTF-8", file.display())))
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// The policies, as the engine takes them.
pub(crate) fn for_engine(registry: &Registry) -> Policies {
    Policies {
        shard_key: registry.shard_key(),
        prediction: registry.prediction(),
        reconciliation: registry.reconciliation(),
        keeper: Arc::new(Keeper(registry.clone())),
    }
}

/// A registry, in the words of the wire.
struct Keeper(Registry);

impl PolicyKeeper for Keeper {
    fn upload(&self, upload: &UploadComponent) -> Result<u64, WireError> {
        self.0.upload(upload).map_err(|error| {
            let code = match error {
                UploadError::Io(_) => Code::StoreFailed,
                _ => Code::PolicyRefused,
            };
            WireError::new(code, error.to_string())
        })
    }

    fn change(&self, change: &ChangePolicy, by: Option<&str>) -> Result<Map, WireError> {
        self.0.change(change, by).map_err(changed_not)
    }

    fn read(&self, read: &ReadPolicies) -> Result<Map, WireError> {
        self.0.read(read).map_err(changed_not)
    }

    fn facts(&self) -> Map {
        self.0.facts()
    }
}

fn changed_not(error: ChangeError) -> WireError {
    let code = match error {
        ChangeError::Refused(_) | ChangeError::TooMany { .. } => Code::PolicyRefused,
        ChangeError::Unknown(_) => Code::UnknownPolicy,
        ChangeError::Manifest(_) | ChangeError::Io(_) => Code::StoreFailed,
    };
    WireError::new(code, error.to_string())
}
