//! Debian's own compiler for web applications, unpacked into a private folder.
//!
//! It brings the standard library's source instead of a compiled one for wasm, and no linker; that is borrowed from the
//! installed toolchain.
//!
//! Always holds: no root is needed.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Std, Toolchain, ToolchainError, rustup, version};
use crate::Progress;
use crate::packages::{Only, Packages};

/// What to ask for; apt finds the rest (the compiler's libraries carry version numbers in their names).
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
/// Of the sources only the standard library is needed, a tenth of them.
const SOURCES: Only = Only { package: "rust-web-src", paths: &["./usr/lib/rustlib/src*", "./usr/src/*/library"] };

/// The unpacked compiler; fetched at the first time.
pub(super) fn unpacked(home: &Path, progress: Progress<'_>) -> Result<Toolchain, ToolchainError> {
    let linker = rustup::linker()?;
    let packages = Packages { home, what: "Debian's compiler (about 140 MB)", names: &PACKAGES, only: Some(SOURCES) };
    let system = packages.unpacked(progress)?;
    let rustc = system.join("usr/bin/rustc");
    let libraries = folder_of(&system.join("usr/lib"), "librustc_driver")?;
    let version = version(&rustc, Some(&libraries))?;
    let library = system.join("usr/lib/rustlib/src/rust/library");
    if !library.is_dir() {
        let words = format!("Debian's packages hold no standard library's source; {} may go", home.display());
        return Err(ToolchainError::Incomplete(words));
    }
    Ok(Toolchain { rustc, version, std: Std::Source(library), linker: Some(linker), libraries: Some(libraries) })
}

/// The folder, at most one level below, that holds a file of this name's beginning.
fn folder_of(within: &Path, prefix: &str) -> Result<PathBuf, ToolchainError> {
    let folders = fs::read_dir(within).into_iter().flatten().flatten().map(|entry| entry.path());
    let holds = |folder: &PathBuf| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| file.file_name().to_string_lossy().starts_with(prefix))
    };
    let missing = || ToolchainError::Incomplete(format!("no {prefix} below {}", within.display()));
    folders.into_iter().find(holds).ok_or_else(missing)
}
