//! One digest for everything that a component is made of.
//!
//! Always holds: it covers the policy's and the SDK's manifests and sources, the contract, the recipe, and the locked name,
//! version and checksum of every crate that either needs to build. Paths enter it relative to the checkout.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use ostrakon_kit::recipe::{PROFILE, RUSTFLAGS, TARGET};
use ostrakon_kit::sha256;

use crate::recipe::Policy;

/// The resolved workspace, read once for all policies.
pub(crate) struct Workspace<'a> {
    root: &'a Path,
    metadata: Metadata,
    /// Checksums by name and version.
    checksums: BTreeMap<(String, String), String>,
}

impl<'a> Workspace<'a> {
    pub(crate) fn read(root: &'a Path) -> Result<Self> {
        let metadata = MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .other_options(vec!["--locked".to_owned()])
            .exec()
            .context("cargo metadata --locked failed")?;
        let lock = std::fs::read_to_string(root.join("Cargo.lock")).context("no Cargo.lock")?;
        Ok(Self { root, metadata, checksums: checksums(&lock) })
    }

    /// The input digest of one policy.
    pub(crate) fn digest(&self, policy: &Policy) -> Result<String> {
        let mut lines: Vec<String> =
            PROFILE.iter().chain(&RUSTFLAGS).chain([&TARGET]).map(|&line| line.into()).collect();
        for part in [&policy.crate_dir(self.root), &self.root.join("plugins/sdk")] {
            self.add_files(&part.join("src"), &mut lines)?;
            self.add_file(&part.join("Cargo.toml"), &mut lines)?;
        }
        self.add_files(&self.root.join("wit"), &mut lines)?;
        lines.extend(self.locked(policy.name)?);
        lines.sort();
        Ok(sha256(lines.join("\n").as_bytes()))
    }

    fn add_files(&self, folder: &Path, lines: &mut Vec<String>) -> Result<()> {
        for entry in std::fs::read_dir(folder).with_context(|| format!("no folder {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                self.add_files(&path, lines)?;
            } else {
                self.add_file(&path, lines)?;
            }
        }
        Ok(())
    }

    fn add_file(&self, path: &PathBuf, lines: &mut Vec<String>) -> Result<()> {
        let content = std::fs::read(path).with_context(|| format!("no file {}", path.display()))?;
        lines.push(format!("{} {}", path.strip_prefix(self.root)?.display(), sha256(&content)));
        Ok(())
    }

    /// What the crate needs to build, as locked: not what only its tests need.
    fn locked(&self, name: &str) -> Result<Vec<String>> {
        let resolve = self.metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
        let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
        let package = self.metadata.workspace_packages().into_iter().find(|package| *package.name == name);
        let mut waiting = vec![&package.with_context(|| format!("no crate {name} in the workspace"))?.id];
        let mut found = BTreeSet::new();
        while let Some(id) = waiting.pop() {
            if !found.insert(id) {
                continue;
            }
            let needed =
                |kinds: &[cargo_metadata::DepKindInfo]| kinds.iter().any(|it| it.kind != DependencyKind::Development);
            let dependencies = &nodes.get(id).with_context(|| format!("{id} is not resolved"))?.deps;
            waiting.extend(dependencies.iter().filter(|it| needed(&it.dep_kinds)).map(|it| &it.pkg));
        }
        let line = |id: &&PackageId| {
            let package = &self.metadata[id];
            let key = (package.name.to_string(), package.version.to_string());
            let checksum = self.checksums.get(&key).map_or("", String::as_str);
            format!("{} {} {checksum}", key.0, key.1)
        };
        Ok(found.iter().map(line).collect())
    }
}

/// The checksums in a lock file; crates of the workspace have none.
fn checksums(lock: &str) -> BTreeMap<(String, String), String> {
    let value = |block: &str, key: &str| {
        let line = block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))?;
        Some(line.trim_matches('"').to_owned())
    };
    lock.split("[[package]]")
        .filter_map(|block| Some(((value(block, "name")?, value(block, "version")?), value(block, "checksum")?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_gives_its_checksums() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"s\"\nchecksum = \"c0\"\n\
            dependencies = [\n \"b\",\n]\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n";
        assert_eq!(checksums(lock), BTreeMap::from([(("a".into(), "1.0.0".into()), "c0".into())]));
    }
}
