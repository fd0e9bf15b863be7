//! Policies from text, as files.

use std::path::{Path, PathBuf};

use ostrakon_policy::testing::{Recipe, snippets};
use ostrakon_wire::PolicyKind;

/// A shard-key policy whose keys all begin with these 16 bits.
pub(crate) fn shard_key_of(high_bits: u16) -> Vec<u8> {
    let body = snippets::placement(u64::from(high_bits) << 48, 16);
    Recipe::new(PolicyKind::ShardKey).decide(body).build()
}

/// A prediction policy that foresees the known version, this sure, and never a conflict.
pub(crate) fn prediction_of(confidence_ppm: u32) -> Vec<u8> {
    let body = snippets::forecast(confidence_ppm, 0);
    Recipe::new(PolicyKind::Prediction).decide(body).build()
}

/// Writes a component into a folder.
pub(crate) fn component_file(folder: &Path, name: &str, component: &[u8]) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, component).unwrap();
    path
}
