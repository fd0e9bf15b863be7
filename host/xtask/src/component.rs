//! A core module to a component that keeps the contract.
//!
//! Always holds: what leaves here imports nothing and exports exactly the interfaces that it should.

use anyhow::{Context, Result, bail, ensure};
use wit_component::{ComponentEncoder, DecodedWasm, decode};

use crate::recipe::Policy;

pub(crate) fn componentize(policy: &Policy, module: &[u8]) -> Result<Vec<u8>> {
    let encode = || ComponentEncoder::default().validate(true).module(module)?.encode();
    let component = encode().with_context(|| format!("{}: no component can be made of the module", policy.name))?;
    verify(policy, &component)?;
    Ok(component)
}

/// Refuses a component with imports, or with other exports than the policy's interfaces.
pub(crate) fn verify(policy: &Policy, component: &[u8]) -> Result<()> {
    let DecodedWasm::Component(resolve, world) = decode(component)? else { bail!("{}: no component", policy.name) };
    let world = &resolve.worlds[world];
    let names = |items: Vec<_>| items.into_iter().map(|key| resolve.name_world_key(key)).collect::<Vec<_>>();
    let (imports, mut exports) = (names(world.imports.keys().collect()), names(world.exports.keys().collect()));
    ensure!(imports.is_empty(), "{}: the component imports {imports:?}, and a policy must import nothing", policy.name);
    let mut expected = policy.interfaces.to_vec();
    expected.sort_unstable();
    exports.sort_unstable();
    ensure!(exports == expected, "{}: the component exports {exports:?}", policy.name);
    Ok(())
}
