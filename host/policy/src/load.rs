//! From bytes to a policy that may decide: size, form, world, name, settings, one trial call, in that order.

use std::borrow::Cow;
use std::sync::Arc;

use ostrakon_core::policy::{PolicyFault, PredictionPolicy, ReconciliationPolicy, ShardKeyPolicy};
use ostrakon_wire::PolicyKind;

use crate::abi::{About, Invalid};
use crate::bounds::{NAME_BYTES_MAX, SPARES, TEXT_BYTES_MAX};
use crate::cache::{Cache, digest_of};
use crate::check;
use crate::engine::PolicyEngine;
use crate::error::{LoadError, Stage, WrongKind, printable};
use crate::prediction::Prediction;
use crate::prepared::{Policy, Prepared, StartError};
use crate::reconciliation::Reconciliation;
use crate::shard_key::ShardKeys;
use crate::slots::{PredictionSlots, ReconciliationSlots, ShardKeySlots};
use crate::solo::Solo;

/// A policy that passed every check. A clone is the same policy; it takes no slot by itself.
#[derive(Clone)]
pub struct Loaded {
    pub(crate) prepared: Arc<Prepared>,
    identity: Arc<Identity>,
}

/// A component, and the digest that it was held against.
pub(crate) struct Whole {
    pub(crate) digest: String,
    pub(crate) bytes: Cow<'static, [u8]>,
}

/// Who a loaded policy is.
#[derive(Debug)]
struct Identity {
    kind: PolicyKind,
    name: String,
    version: String,
    digest: String,
    needs_state: bool,
    learns: bool,
}

impl Loaded {
    /// Its kind.
    pub fn kind(&self) -> PolicyKind {
        self.identity.kind
    }

    /// The name it gives itself; at most 128 bytes, no control characters.
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// The version it gives itself; as [`Self::name`].
    pub fn version(&self) -> &str {
        &self.identity.version
    }

    /// SHA-256 of the component, in hexadecimal.
    pub fn digest(&self) -> &str {
        &self.identity.digest
    }

    /// The settings it was given: the text of a JSON object.
    pub fn settings(&self) -> &str {
        self.prepared.settings()
    }

    /// An instance for whoever asks, out of the way of requests.
    ///
    /// # Errors
    /// When no instance can be made.
    pub fn solo(&self) -> Result<Solo, PolicyFault> {
        Solo::new(self.clone())
    }

    /// The policy as one that decides alone: without a registry, and for ever.
    ///
    /// # Errors
    /// [`WrongKind`] for a policy of another kind.
    pub fn into_shard_key(self) -> Result<Arc<dyn ShardKeyPolicy>, WrongKind> {
        Ok(Arc::new(ShardKeySlots::new(self)?))
    }

    /// See [`Self::into_shard_key`].
    ///
    /// # Errors
    /// [`WrongKind`] for a policy of another kind.
    pub fn into_prediction(self) -> Result<Arc<dyn PredictionPolicy>, WrongKind> {
        Ok(Arc::new(PredictionSlots::new(self)?))
    }

    /// See [`Self::into_shard_key`].
    ///
    /// # Errors
    /// [`WrongKind`] for a policy of another kind.
    pub fn into_reconciliation(self) -> Result<Arc<dyn ReconciliationPolicy>, WrongKind> {
        Ok(Arc::new(ReconciliationSlots::new(self)?))
    }

    /// Whether it wants the state that the host keeps for it.
    pub fn needs_state(&self) -> bool {
        self.identity.needs_state
    }

    /// Whether it exports the interface `learning`.
    pub fn learns(&self) -> bool {
        self.identity.learns
    }
}

impl Loaded {
    /// The same policy with another state.
    pub(crate) fn with_state(&self, state: Vec<u8>) -> Self {
        Self { prepared: Arc::new(self.prepared.with_state(state)), identity: Arc::clone(&self.identity) }
    }
}

impl std::fmt::Debug for Loaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.identity.fmt(f)
    }
}

pub(crate) fn load(
    engine: &PolicyEngine,
    cache: &Cache,
    kind: PolicyKind,
    bytes: &[u8],
    digest: Option<&str>,
    settings: &str,
) -> Result<Loaded, LoadError> {
    let bytes_max = engine.limits().component_bytes_max;
    if bytes.len() > bytes_max {
        return Err(LoadError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    check::header(bytes)?;
    check_settings(settings, engine.limits().settings_bytes_max)?;
    let digest = digest.map_or_else(|| digest_of(bytes), str::to_owned);
    let (component, _) = cache.component(engine.wasm(), &digest, bytes)?;
    let exports = check::world(engine.wasm(), &component, kind)?;
    let prepared = Prepared::new(engine, &component, kind, settings, &[])?;
    let about = prepared.describe().map_err(|(stage, fault)| LoadError::Fault { stage, fault })?;
    check_about(&about)?;
    match kind {
        PolicyKind::ShardKey => first_call::<ShardKeys>(&prepared)?,
        PolicyKind::Prediction => first_call::<Prediction>(&prepared)?,
        PolicyKind::Reconciliation => first_call::<Reconciliation>(&prepared)?,
    }
    let identity = Identity {
        kind,
        name: about.name,
        version: about.version,
        digest,
        needs_state: about.needs_state,
        learns: exports.optional,
    };
    Ok(Loaded { prepared: Arc::new(prepared), identity: Arc::new(identity) })
}

fn check_settings(settings: &str, bytes_max: usize) -> Result<(), LoadError> {
    let refused = |message| LoadError::Settings { path: String::new(), message };
    if settings.len() > bytes_max {
        return Err(refused(format!("they have {} bytes; at most {bytes_max} are allowed", settings.len())));
    }
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(settings) {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(format!("not a JSON object: {error}"))),
    }
}

fn check_about(about: &About) -> Result<(), LoadError> {
    for (what, text) in [("name", &about.name), ("version", &about.version)] {
        let wrong = match text.len() {
            0 => Some(format!("an empty {what}")),
            bytes if bytes > NAME_BYTES_MAX => {
                Some(format!("a {what} of {bytes} bytes; at most {NAME_BYTES_MAX} are allowed"))
            }
            _ if text.chars().any(char::is_control) => Some(format!("a {what} with control characters")),
            _ => None,
        };
        if let Some(wrong) = wrong {
            return Err(LoadError::Fault { stage: Stage::Describe, fault: PolicyFault::Impossible(wrong) });
        }
    }
    Ok(())
}

/// Configures an instance and asks it one question.
fn first_call<P: Policy>(prepared: &Prepared) -> Result<(), LoadError> {
    let mut ready = prepared.start::<P>().map_err(|error| match error {
        StartError::Fault(stage, fault) => LoadError::Fault { stage, fault },
        StartError::Refused(invalid) => refusal(invalid),
    })?;
    let fault = |(function, fault)| LoadError::Fault { stage: Stage::Call(function), fault };
    P::trial(&mut ready, prepared.limits()).map_err(fault)?;
    prepared.spare(ready);
    // The rest is a courtesy to the first calls: what is wrong with it they will find out themselves.
    for _ in 1..SPARES.min(prepared.limits().lanes) {
        let Ok(mut more) = prepared.start::<P>() else { break };
        if P::trial(&mut more, prepared.limits()).is_err() {
            break;
        }
        prepared.spare(more);
    }
    Ok(())
}

/// A policy's own words about its settings, if they are short enough to be words.
fn refusal(invalid: Invalid) -> LoadError {
    for (what, text) in [("path", &invalid.path), ("message", &invalid.message)] {
        if text.len() > TEXT_BYTES_MAX {
            let wrong = format!("a {what} of {} bytes; at most {TEXT_BYTES_MAX} are allowed", text.len());
            return LoadError::Fault { stage: Stage::Configure, fault: PolicyFault::Impossible(wrong) };
        }
    }
    LoadError::Settings { path: printable(&invalid.path), message: printable(&invalid.message) }
}
