//! Is this a component of the wanted kind? Looks at bytes and types only; nothing of it runs.

use ostrakon_wire::PolicyKind;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentInstance, ComponentItem};

use crate::contract::{self, Interface, PACKAGE, VERSION};
use crate::error::LoadError;
use crate::signature;

const MAGIC: &[u8] = b"\0asm";
/// What follows the magic bytes of a core module; a component has another version and layer there.
const CORE_MODULE: &[u8] = &[1, 0, 0, 0];

/// What the exports say of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Exports {
    /// It exports the optional interface of its kind.
    pub(crate) optional: bool,
}

/// Looks at the first bytes.
pub(crate) fn header(bytes: &[u8]) -> Result<(), LoadError> {
    match bytes.strip_prefix(MAGIC) {
        None => Err(LoadError::NotWasm),
        Some(rest) if rest.starts_with(CORE_MODULE) => Err(LoadError::CoreModule),
        Some(_) => Ok(()),
    }
}

/// Looks at imports and exports.
pub(crate) fn world(engine: &Engine, component: &Component, kind: PolicyKind) -> Result<Exports, LoadError> {
    let world = component.component_type();
    let imports: Vec<String> = world.imports(engine).map(|(name, _)| name.to_owned()).collect();
    if !imports.is_empty() {
        return Err(LoadError::Imports(imports));
    }
    let required = contract::required(kind);
    let optional = contract::optional(kind);
    let named = |interface: &Interface| world.get_export(engine, &interface.export());
    let has_required = named(required).is_some();
    let mut exports = Exports { optional: false };
    for (name, item) in world.exports(engine) {
        let interface = [Some(required), optional].into_iter().flatten().find(|known| known.export() == name);
        let Some(interface) = interface else {
            return Err(stranger(name, kind, has_required));
        };
        let ComponentItem::ComponentInstance(instance) = item.ty else {
            return Err(LoadError::ExtraExport { export: name.to_owned() });
        };
        functions(engine, interface, &instance)?;
        exports.optional |= interface.name != required.name;
    }
    if has_required { Ok(exports) } else { Err(LoadError::MissingInterface { interface: required.export() }) }
}

/// Names an export that is not of this world: another version of the contract, another kind of policy, or simply too much.
fn stranger(export: &str, kind: PolicyKind, has_required: bool) -> LoadError {
    let extra = || LoadError::ExtraExport { export: export.to_owned() };
    let Some(rest) = export.strip_prefix(PACKAGE) else {
        return extra();
    };
    let (name, version) = rest.split_once('@').unwrap_or((rest, ""));
    let ours =
        name == contract::required(kind).name || contract::optional(kind).is_some_and(|known| name == known.name);
    if ours && version != VERSION {
        let export = export.to_owned();
        return if newer(version) {
            LoadError::NewerContract { export, supported: VERSION }
        } else {
            LoadError::OlderContract { export, supported: VERSION }
        };
    }
    match PolicyKind::ALL.into_iter().find(|other| contract::required(*other).name == name) {
        Some(found) if !has_required && found != kind => {
            LoadError::OtherWorld { found, wanted: kind, export: export.to_owned() }
        }
        _ => extra(),
    }
}

/// Whether a version comes after the host's. One that cannot be read comes before: the first contracts had none.
fn newer(version: &str) -> bool {
    fn triple(version: &str) -> Option<[u64; 3]> {
        let release = version.split(['-', '+']).next()?;
        let mut numbers = release.split('.').map(|number| number.parse().ok());
        Some([numbers.next()??, numbers.next()??, numbers.next()??])
    }
    triple(version) > triple(VERSION)
}

fn functions(engine: &Engine, interface: &Interface, instance: &ComponentInstance) -> Result<(), LoadError> {
    for wanted in interface.functions {
        let Some(found) = instance.get_export(engine, wanted.name) else {
            return Err(LoadError::MissingFunction {
                interface: interface.export(),
                function: wanted.name.to_owned(),
                expected: wanted.signature.to_owned(),
            });
        };
        let found = match &found.ty {
            ComponentItem::ComponentFunc(function) => signature::function(function),
            _ => "no function".to_owned(),
        };
        if found != wanted.signature {
            return Err(LoadError::WrongType {
                function: format!("{}#{}", interface.export(), wanted.name),
                expected: wanted.signature.to_owned(),
                found,
            });
        }
    }
    for (name, item) in instance.exports(engine) {
        let known = match item.ty {
            ComponentItem::Type(_) => interface.types.contains(&name),
            _ => interface.functions.iter().any(|function| function.name == name),
        };
        if !known {
            return Err(LoadError::ExtraExport { export: format!("{}#{name}", interface.export()) });
        }
    }
    Ok(())
}
