//! A core module to a component that keeps the contract, and what a component says that it is.
//!
//! Always holds: what leaves [`componentize`] imports nothing.

use ostrakon_wire::PolicyKind;
use wit_component::{ComponentEncoder, DecodedWasm, decode};

/// Why something is no policy's component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// No component can be made of the module.
    #[error("no component can be made of the module: {0}")]
    Encode(String),
    /// It is no component, or a damaged one.
    #[error("this is no component: {0}")]
    Decode(String),
    /// It wants something from outside.
    #[error("the component imports {0:?}, and a policy must import nothing")]
    Imports(Vec<String>),
    /// It exports no interface of a kind of policy, or those of several.
    #[error("the component exports {0:?}, which is not one kind of policy")]
    NoKind(Vec<String>),
}

/// Makes a component of a module that wit-bindgen's exports are in.
///
/// # Errors
/// [`ComponentError`] where the module exports no world, or imports something.
pub fn componentize(module: &[u8]) -> Result<Vec<u8>, ComponentError> {
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    let component = encode().map_err(|error| ComponentError::Encode(format!("{error:#}")))?;
    exports(&component)?;
    Ok(component)
}

/// The names of all that a component exports, in order of the alphabet.
///
/// # Errors
/// [`ComponentError::Imports`] where it imports anything.
pub fn exports(component: &[u8]) -> Result<Vec<String>, ComponentError> {
    let undecodable = |words: String| ComponentError::Decode(words);
    let DecodedWasm::Component(resolve, world) =
        decode(component).map_err(|error| undecodable(format!("{error:#}")))?
    else {
        return Err(undecodable("it is a package of interfaces".to_owned()));
    };
    let world = &resolve.worlds[world];
    let imports: Vec<_> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    if !imports.is_empty() {
        return Err(ComponentError::Imports(imports));
    }
    let mut exports: Vec<_> = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    exports.sort_unstable();
    Ok(exports)
}

/// The kind of policy that a component is, of whichever version of the contract.
///
/// # Errors
/// [`ComponentError`] where it is none.
pub fn kind_of(component: &[u8]) -> Result<PolicyKind, ComponentError> {
    let exports = exports(component)?;
    let exported = |kind: &PolicyKind| {
        let interface = format!("ostrakon:policy/{}", kind.name());
        exports.iter().any(|name| name.split('@').next() == Some(&interface))
    };
    let mut kinds = PolicyKind::ALL.into_iter().filter(exported);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => Ok(kind),
        _ => Err(ComponentError::NoKind(exports)),
    }
}
