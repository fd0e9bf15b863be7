//! What is built: the shipped policies, and an example. How is the kit's business (`ostrakon_kit::recipe`).

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ostrakon_kit::compile::Sources;

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

impl Policy {
    pub(crate) fn crate_dir(&self, root: &Path) -> PathBuf {
        root.join("plugins").join(self.name)
    }

    /// Its sources, as the kit compiles them: with the lock file of the checkout, below a fixed name.
    pub(crate) fn sources(&self, root: &Path) -> Sources {
        Sources {
            root: root.to_owned(),
            package: self.name.to_owned(),
            library: self.name.replace('-', "_"),
            target_dir: work_dir(root).join("build"),
            locked: true,
            renamed: vec![(root.to_owned(), "/ostrakon".to_owned())],
        }
    }

    pub(crate) fn prebuilt(&self, root: &Path) -> PathBuf {
        prebuilt_dir(root).join(self.name).with_extension("wasm")
    }
}

pub(crate) fn prebuilt_dir(root: &Path) -> PathBuf {
    root.join("plugins/prebuilt")
}

/// Where Debian's compiler lies.
pub(crate) fn debian_dir(root: &Path) -> PathBuf {
    work_dir(root).join("debian")
}

/// Where everything that can be made again lies.
fn work_dir(root: &Path) -> PathBuf {
    root.join("target/plugins")
}

/// The checkout that this program was started in.
pub(crate) fn checkout() -> Result<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map_or(here.to_owned(), PathBuf::from);
    let root = manifest.ancestors().nth(2).context("the crate does not lie two folders below the checkout")?;
    root.canonicalize().with_context(|| format!("no checkout at {}", root.display()))
}
