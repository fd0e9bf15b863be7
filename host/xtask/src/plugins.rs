//! The shipped policies' components: make them, or check that what lies there is what the sources make.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use ostrakon_kit::compile::{compile, fetch};
use ostrakon_kit::component::{componentize, exports};
use ostrakon_kit::sha256;
use ostrakon_kit::toolchain::{Choice, Toolchain, choose};

use crate::inputs::Workspace;
use crate::manifest::{Compiler, Entry, Manifest};
use crate::progress;
use crate::recipe::{POLICIES, Policy, debian_dir, prebuilt_dir};
use crate::recorded::repeat;

/// Makes every component and the manifest anew.
pub(crate) fn build(root: &Path, choice: Choice) -> Result<()> {
    let toolchain = choose(&debian_dir(root), choice, &progress)?;
    fetch(root, true, &toolchain)?;
    let workspace = Workspace::read(root)?;
    let mut entries = BTreeMap::new();
    let mut components = Vec::new();
    for policy in &POLICIES {
        let component = make(root, policy, &toolchain)?;
        let calls = repeat(root, policy, &component).with_context(|| {
            format!(
                "{} answers otherwise than its native code did; OSTRAKON_RECORD=1 cargo test -p {0} records",
                policy.name
            )
        })?;
        println!("{}: {} bytes, {calls} recorded answers repeated", policy.name, component.len());
        entries.insert(
            policy.name.to_owned(),
            Entry {
                interfaces: policy.interfaces.iter().map(|name| (*name).to_owned()).collect(),
                inputs_digest: workspace.digest(policy)?,
                toolchain: Compiler::of(&toolchain),
                component_digest: sha256(&component),
                component_bytes: component.len(),
            },
        );
        components.push((policy, component));
    }
    std::fs::create_dir_all(prebuilt_dir(root))?;
    for (policy, component) in components {
        std::fs::write(policy.prebuilt(root), component)?;
    }
    Manifest::new(entries).write(root)
}

/// Fails, naming every mismatch, unless the sources make the components that lie there.
pub(crate) fn check(root: &Path, choice: Choice) -> Result<()> {
    let toolchain = choose(&debian_dir(root), choice, &progress)
        .context("the components cannot be made again, so they are not checked")?;
    fetch(root, true, &toolchain)?;
    let workspace = Workspace::read(root)?;
    let manifest = Manifest::read(root)?;
    let mut mismatches = 0;
    for policy in &POLICIES {
        match check_one(root, policy, &workspace, &manifest, &toolchain) {
            Ok(found) => println!("{}: {found}", policy.name),
            Err(mismatch) => {
                mismatches += 1;
                eprintln!("{}: {mismatch:#}", policy.name);
            }
        }
    }
    match mismatches {
        0 => Ok(()),
        _ => bail!("{mismatches} of {} components are not what the sources make", POLICIES.len()),
    }
}

const REMAKE: &str = "`cargo xtask plugins` makes it anew";

fn check_one(
    root: &Path,
    policy: &Policy,
    workspace: &Workspace<'_>,
    manifest: &Manifest,
    toolchain: &Toolchain,
) -> Result<String> {
    let entry = manifest.policies.get(policy.name).with_context(|| format!("not in the manifest; {REMAKE}"))?;
    if workspace.digest(policy)? != entry.inputs_digest {
        bail!("its sources or what they depend on changed since the component was made; {REMAKE}");
    }
    let prebuilt = std::fs::read(policy.prebuilt(root)).with_context(|| format!("no component; {REMAKE}"))?;
    if sha256(&prebuilt) != entry.component_digest || prebuilt.len() != entry.component_bytes {
        bail!("the component is not the one in the manifest; {REMAKE}");
    }
    verify(policy, &prebuilt)?;
    let calls = repeat(root, policy, &prebuilt).context("the component that lies there")?;
    let remade = make(root, policy, toolchain)?;
    if remade == prebuilt {
        return Ok(format!("the same {} bytes, {calls} recorded answers repeated", prebuilt.len()));
    }
    let compiler = Compiler::of(toolchain);
    if compiler == entry.toolchain {
        bail!("the same compiler makes another component of the same sources; {REMAKE}");
    }
    repeat(root, policy, &remade).context("the component made now")?;
    Ok(format!(
        "bytes not compared: made by {} ({}), here is {} ({}); both repeat {calls} recorded answers",
        entry.toolchain.rustc, entry.toolchain.kind, compiler.rustc, compiler.kind
    ))
}

fn make(root: &Path, policy: &Policy, toolchain: &Toolchain) -> Result<Vec<u8>> {
    progress(&format!("building {} with {} ({})", policy.name, toolchain.version, toolchain.kind()));
    let component = componentize(&compile(&policy.sources(root), toolchain)?)?;
    verify(policy, &component)?;
    Ok(component)
}

/// Refuses a component with imports, or with other exports than the policy's interfaces.
fn verify(policy: &Policy, component: &[u8]) -> Result<()> {
    let exports = exports(component)?;
    let mut expected = policy.interfaces.to_vec();
    expected.sort_unstable();
    ensure!(exports == expected, "{}: the component exports {exports:?}", policy.name);
    Ok(())
}
