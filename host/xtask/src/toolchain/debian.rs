//! Debian's own compiler for web applications, unpacked into a private folder.
//!
//! It brings the standard library's source instead of a compiled one for wasm, and no linker; that is borrowed from the
//! installed toolchain.
//!
//! Always holds: no root is needed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::{Std, Toolchain, rustup, version};
use crate::packages::{Only, Packages};
use crate::recipe::work_dir;

/// What to ask for; apt finds the rest (the compiler's libraries carry version numbers in their names).
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
/// Of the sources only the standard library is needed, a tenth of them.
const SOURCES: Only = Only { package: "rust-web-src", paths: &["./usr/lib/rustlib/src*", "./usr/src/*/library"] };

/// The unpacked compiler; fetched at the first time.
pub(super) fn unpacked(root: &Path) -> Result<Toolchain> {
    let linker = rustup::linker()?;
    let home = work_dir(root).join("debian");
    let system = home.join("system");
    let packages =
        Packages { home: &home, what: "Debian's compiler (about 140 MB)", names: &PACKAGES, only: Some(SOURCES) };
    packages.unpacked().context("Debian's compiler cannot be had")?;
    let rustc = system.join("usr/bin/rustc");
    let libraries = folder_of(&system.join("usr/lib"), "librustc_driver")?;
    let version = version(&rustc, Some(&libraries))?;
    let library = system.join("usr/lib/rustlib/src/rust/library");
    ensure!(library.is_dir(), "Debian's packages hold no standard library's source; {} may go", home.display());
    Ok(Toolchain { rustc, version, std: Std::Source(library), linker: Some(linker), libraries: Some(libraries) })
}

/// The folder, at most one level below, that holds a file of this name's beginning.
fn folder_of(within: &Path, prefix: &str) -> Result<PathBuf> {
    for entry in fs::read_dir(within)? {
        let folder = entry?.path();
        let Ok(files) = fs::read_dir(&folder) else { continue };
        if files.flatten().any(|file| file.file_name().to_string_lossy().starts_with(prefix)) {
            return Ok(folder);
        }
    }
    anyhow::bail!("no {prefix} below {}", within.display())
}
