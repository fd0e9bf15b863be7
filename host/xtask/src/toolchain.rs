//! Which compiler builds the components: the installed one where it has (or can get) the wasm target, else Debian's.
//!
//! Always holds: nothing is changed but by `rustup target add`, which is tried once, with a bound.

mod debian;
mod rustup;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

/// A compiler for the wasm target.
#[derive(Debug)]
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    /// What `rustc --version` says.
    pub(crate) version: String,
    pub(crate) std: Std,
    /// The linker, where the compiler does not bring its own.
    pub(crate) linker: Option<PathBuf>,
    /// Where the compiler's own shared libraries lie, if not where the system looks.
    pub(crate) libraries: Option<PathBuf>,
}

/// Where the wasm target's standard library comes from.
#[derive(Debug)]
pub(crate) enum Std {
    /// It lies compiled beside the compiler.
    Compiled,
    /// It is compiled along, from this `library` folder.
    Source(PathBuf),
}

/// Where to take the compiler from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Choice {
    /// The installed one; where it has no wasm target and rustup cannot fetch one, Debian's.
    Auto,
    /// The installed one, with the wasm target that rustup fetches.
    Installed,
    /// Debian's packages, unpacked below target/ (no root needed).
    Debian,
}

impl Toolchain {
    /// The kind of toolchain, as the manifest records it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.std {
            Std::Compiled => "installed",
            Std::Source(_) => "debian",
        }
    }
}

/// A compiler, or why there is none.
pub(crate) fn choose(root: &Path, choice: Choice) -> Result<Toolchain> {
    let installed = || rustup::installed();
    let debian = || debian::unpacked(root);
    match choice {
        Choice::Installed => installed(),
        Choice::Debian => debian(),
        Choice::Auto => installed().or_else(|no_installed| {
            eprintln!("xtask: {no_installed:#}; trying Debian's packages");
            debian().or_else(|no_debian| {
                bail!("no compiler for the wasm target\n  installed: {no_installed:#}\n  Debian's: {no_debian:#}")
            })
        }),
    }
}

/// The first line of `rustc --version`.
fn version(rustc: &Path, libraries: Option<&Path>) -> Result<String> {
    let mut command = Command::new(rustc);
    command.arg("--version");
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    said(&mut command)
}

/// What a command prints, when it succeeds.
fn said(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("{name} cannot be started"))?;
    ensure!(output.status.success(), "{name} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
