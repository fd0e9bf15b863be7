//! Which compiler builds the components: the installed one where it has (or can get) the wasm target, else Debian's.
//!
//! Always holds: nothing is changed but by `rustup target add`, which is tried once, with a bound.

mod debian;
mod rustup;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Progress;
use crate::packages::PackagesError;
use crate::process::{ProcessError, said};
use crate::recipe::TARGET;

/// A compiler for the wasm target.
#[derive(Debug)]
pub struct Toolchain {
    /// The compiler.
    pub rustc: PathBuf,
    /// What `rustc --version` says.
    pub version: String,
    /// Where the standard library comes from.
    pub std: Std,
    /// The linker, where the compiler does not bring its own.
    pub linker: Option<PathBuf>,
    /// Where the compiler's own shared libraries lie, if not where the system looks.
    pub libraries: Option<PathBuf>,
}

/// Where the wasm target's standard library comes from.
#[derive(Debug)]
pub enum Std {
    /// It lies compiled beside the compiler.
    Compiled,
    /// It is compiled along, from this `library` folder.
    Source(PathBuf),
}

/// Where to take the compiler from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The installed one; where it has no wasm target and rustup cannot fetch one, Debian's.
    Auto,
    /// The installed one, with the wasm target that rustup fetches.
    Installed,
    /// Debian's packages, unpacked into a private folder (no root needed).
    Debian,
}

/// Why there is no compiler.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    /// Another program is missing or failed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The installed compiler has not got the target.
    #[error("{version} has no {TARGET}: {cause}; type `rustup target add {TARGET}`")]
    NoTarget {
        /// The compiler's version.
        version: String,
        /// Why it could not be got.
        cause: String,
    },
    /// Debian's packages could not be had.
    #[error("Debian's compiler cannot be had: {0}")]
    Packages(#[from] PackagesError),
    /// A toolchain lacks a part.
    #[error("{0}")]
    Incomplete(String),
    /// Neither can be had.
    #[error("no compiler for the wasm target\n  installed: {installed}\n  Debian's: {debian}")]
    Neither {
        /// Why not the installed one.
        installed: Box<Self>,
        /// Why not Debian's.
        debian: Box<Self>,
    },
}

impl Toolchain {
    /// The kind of toolchain, as a manifest records it.
    pub fn kind(&self) -> &'static str {
        match self.std {
            Std::Compiled => "installed",
            Std::Source(_) => "debian",
        }
    }
}

/// A compiler. Debian's lies in the folder `home`, and is fetched there at the first time.
///
/// # Errors
/// [`ToolchainError`] says why there is none and what to type.
pub fn choose(home: &Path, choice: Choice, progress: Progress<'_>) -> Result<Toolchain, ToolchainError> {
    let installed = || rustup::installed(progress);
    let debian = || debian::unpacked(home, progress);
    match choice {
        Choice::Installed => installed(),
        Choice::Debian => debian(),
        Choice::Auto => installed().or_else(|installed| {
            progress(&format!("{installed}; trying Debian's packages"));
            debian()
                .map_err(|debian| ToolchainError::Neither { installed: Box::new(installed), debian: Box::new(debian) })
        }),
    }
}

/// Where Debian's compiler lies for projects outside a checkout: below the user's cache folder.
///
/// # Errors
/// [`ToolchainError::Incomplete`] where the user has no such folder.
pub fn cache_home() -> Result<PathBuf, ToolchainError> {
    let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = named.or_else(|| Some(std::env::home_dir()?.join(".cache")));
    let cache = cache.ok_or_else(|| ToolchainError::Incomplete("neither XDG_CACHE_HOME nor a home folder".into()))?;
    Ok(cache.join("ostrakon").join("debian"))
}

/// The first line of `rustc --version`.
fn version(rustc: &Path, libraries: Option<&Path>) -> Result<String, ProcessError> {
    said(self::rustc(rustc, libraries).arg("--version"))
}

/// A compiler that may have libraries of its own.
pub(crate) fn rustc(rustc: &Path, libraries: Option<&Path>) -> Command {
    let mut command = Command::new(rustc);
    if let Some(libraries) = libraries {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command
}
