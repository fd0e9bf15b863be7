//! `plugins/prebuilt/manifest.json`: what each component was made of, by what, and what came out.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use ostrakon_kit::toolchain::Toolchain;
use serde::{Deserialize, Serialize};

use crate::recipe::prebuilt_dir;

/// The format that this program reads and writes.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// By the policy's name.
    pub(crate) policies: BTreeMap<String, Entry>,
}

/// One component. Digests are SHA-256, in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) interfaces: Vec<String>,
    pub(crate) inputs_digest: String,
    pub(crate) toolchain: Compiler,
    pub(crate) component_digest: String,
    pub(crate) component_bytes: usize,
}

/// The compiler of a component: bytes are comparable only between builds by the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Compiler {
    pub(crate) kind: String,
    pub(crate) rustc: String,
}

impl Compiler {
    pub(crate) fn of(toolchain: &Toolchain) -> Self {
        Self { kind: toolchain.kind().to_owned(), rustc: toolchain.version.clone() }
    }
}

impl Manifest {
    pub(crate) fn new(policies: BTreeMap<String, Entry>) -> Self {
        Self { format: FORMAT, policies }
    }

    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = prebuilt_dir(root).join("manifest.json");
        let text = std::fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        let manifest: Self = serde_json::from_slice(&text).with_context(|| format!("in {}", path.display()))?;
        ensure!(manifest.format == FORMAT, "{} has format {}, not {FORMAT}", path.display(), manifest.format);
        Ok(manifest)
    }

    pub(crate) fn write(&self, root: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        Ok(std::fs::write(prebuilt_dir(root).join("manifest.json"), text)?)
    }
}
