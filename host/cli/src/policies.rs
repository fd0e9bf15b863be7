//! The policies of a host: the shipped ones, or components from files in their place.

use std::path::PathBuf;
use std::sync::Arc;

use ostrakon_engine::Policies;
use ostrakon_policy::{
    Limits, Loaded, PolicyEngine, PredictionSlot, ReconciliationSlot, ShardKeySlot, SlotInfo, shipped,
};
use ostrakon_wire::PolicyKind;
use ostrakon_wire::value::{Map, Value};

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
        let kinds = || PolicyKind::ALL.map(PolicyKind::name).join(", ");
        let kind =
            PolicyKind::from_name(kind).ok_or_else(|| format!("no policy kind {kind:?}; there are {}", kinds()))?;
        Ok(Self { kind, file: file.into() })
    }
}

/// The policies of a host, in their slots.
pub(crate) struct Slots {
    pub(crate) shard_key: Arc<ShardKeySlot>,
    pub(crate) prediction: Arc<PredictionSlot>,
    pub(crate) reconciliation: Arc<ReconciliationSlot>,
}

fn file_of(files: &[KindAndFile], kind: PolicyKind) -> Option<&PathBuf> {
    files.iter().rev().find(|given| given.kind == kind).map(|given| &given.file)
}

fn load(
    engine: &PolicyEngine,
    kind: PolicyKind,
    components: &[KindAndFile],
    settings: &[KindAndFile],
) -> Result<Loaded, Failure> {
    let read =
        |file: &PathBuf| std::fs::read(file).map_err(|error| Failure::refused(format!("{}: {error}", file.display())));
    let component = file_of(components, kind);
    let settings = match file_of(settings, kind) {
        Some(file) => String::from_utf8(read(file)?)
            .map_err(|_| Failure::refused(format!("{}: settings are not UTF-8", file.display())))?,
        None => "{}".to_owned(),
    };
    let (name, loaded) = match component {
        Some(file) => (file.display().to_string(), engine.load(kind, &read(file)?, &settings)),
        None => (shipped(kind).name.to_owned(), engine.load(kind, shipped(kind).bytes, &settings)),
    };
    loaded.map_err(|error| Failure::refused(format!("the {} policy {name} is refused: {error}", kind.name())))
}

impl Slots {
    /// Loads all three.
    pub(crate) fn load(components: &[KindAndFile], settings: &[KindAndFile]) -> Result<Self, Failure> {
        let engine = PolicyEngine::new(Limits::default())
            .map_err(|error| Failure::failed(format!("policies cannot be run here: {error}")))?;
        let load = |kind| load(&engine, kind, components, settings);
        let wrong = |error: ostrakon_policy::WrongKind| Failure::failed(error.to_string());
        Ok(Self {
            shard_key: Arc::new(ShardKeySlot::new(load(PolicyKind::ShardKey)?).map_err(wrong)?),
            prediction: Arc::new(PredictionSlot::new(load(PolicyKind::Prediction)?).map_err(wrong)?),
            reconciliation: Arc::new(ReconciliationSlot::new(load(PolicyKind::Reconciliation)?).map_err(wrong)?),
        })
    }

    /// The same, as the engine takes them.
    pub(crate) fn for_engine(self: &Arc<Self>) -> Policies {
        let slots = Arc::clone(self);
        Policies {
            shard_key: Arc::clone(&self.shard_key) as _,
            prediction: Arc::clone(&self.prediction) as _,
            reconciliation: Arc::clone(&self.reconciliation) as _,
            facts: Box::new(move || slots.facts()),
        }
    }

    fn facts(&self) -> Map {
        let slots = [self.shard_key.info(), self.prediction.info(), self.reconciliation.info()];
        PolicyKind::ALL.into_iter().zip(slots).map(|(kind, info)| (kind.name().to_owned(), facts_of(&info))).collect()
    }
}

fn facts_of(info: &SlotInfo) -> Value {
    let count = |count: u64| Value::Integer(count.min(i64::MAX as u64) as i64);
    Value::Map(Map::from([
        ("name".into(), Value::Text(info.name.clone())),
        ("version".into(), Value::Text(info.version.clone())),
        ("digest".into(), Value::Text(info.digest.clone())),
        ("generation".into(), count(info.generation.get())),
        ("calls".into(), count(info.calls)),
        ("faults".into(), count(info.faults.total())),
        ("purity-checks".into(), count(info.purity_checks)),
    ]))
}
