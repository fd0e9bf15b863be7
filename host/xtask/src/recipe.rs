//! What is built, and how: the shipped policies, an example, and the flags that their components are compiled with.
//!
//! Always holds: everything here goes into a component's input digest, so a change of the recipe asks for a rebuild.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A policy: its crate, and the interfaces that its component exports, the one of its kind first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    pub(crate) name: &'static str,
    pub(crate) interfaces: &'static [&'static str],
}

pub(crate) const POLICIES: [Policy; 4] = [
    Policy { name: "weighted-shard-key", interfaces: &["ostrakon:policy/shard-key@0.1.0"] },
    Policy {
        name: "frequency-prediction",
        interfaces: &["ostrakon:policy/prediction@0.1.0", "ostrakon:policy/learning@0.1.0"],
    },
    Policy { name: "three-way-reconciliation", interfaces: &["ostrakon:policy/reconciliation@0.1.0"] },
    Policy { name: "attach-volume", interfaces: &["ostrakon:policy/reconciliation@0.1.0"] },
];

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Speed over size: two of the shipped three are called for every request. Given on cargo's command line, so that the host's own
/// release profile is another.
pub(crate) const PROFILE: [&str; 8] = [
    "profile.release.opt-level=3",
    "profile.release.lto='fat'",
    "profile.release.codegen-units=1",
    "profile.release.panic='abort'",
    "profile.release.strip='symbols'",
    "profile.release.debug=false",
    "profile.release.overflow-checks=false",
    "profile.release.incremental=false",
];

/// An eighth of the usual stack: an instance's memory is what the host resets between calls, and nesting is bounded.
pub(crate) const RUSTFLAGS: [&str; 2] = ["-C", "link-arg=-zstack-size=131072"];

impl Policy {
    pub(crate) fn crate_dir(&self, root: &Path) -> PathBuf {
        root.join("plugins").join(self.name)
    }

    pub(crate) fn prebuilt(&self, root: &Path) -> PathBuf {
        prebuilt_dir(root).join(self.name).with_extension("wasm")
    }
}

pub(crate) fn prebuilt_dir(root: &Path) -> PathBuf {
    root.join("plugins/prebuilt")
}

/// Where everything that can be made again lies.
pub(crate) fn work_dir(root: &Path) -> PathBuf {
    root.join("target/plugins")
}

/// The checkout that this program was started in.
pub(crate) fn checkout() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or(here.to_owned(), PathBuf::from);
    let root = manifest.ancestors().nth(2).context("the crate does not lie two folders below the checkout")?;
    root.canonicalize().with_context(|| format!("no checkout at {}", root.display()))
}
