//! The example policy in JavaScript, as a component: built by its own script where it is not there yet.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use ostrakon_policy::{Loaded, PolicyEngine};
use ostrakon_wire::PolicyKind;

/// The component; built at the first time, which takes some seconds and a network.
///
/// # Errors
/// Where there is no Node.js, or the build fails.
pub(crate) fn component() -> anyhow::Result<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/js-shard-key");
    let file: PathBuf = folder.join("js-shard-key.wasm");
    if !file.exists() {
        eprintln!("building the policy in JavaScript");
        let built = Command::new("sh").arg(folder.join("build.sh")).stdout(std::process::Stdio::null()).status();
        ensure!(built.context("no shell")?.success(), "examples/js-shard-key/build.sh failed");
    }
    std::fs::read(&file).with_context(|| file.display().to_string())
}

/// Loads it.
///
/// # Errors
/// Where the host would refuse it.
pub(crate) fn load(engine: &PolicyEngine, component: &[u8]) -> anyhow::Result<Loaded> {
    Ok(engine.load(PolicyKind::ShardKey, component, "{}")?)
}
