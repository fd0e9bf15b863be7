//! A policy's sources to a core module, the same bytes wherever they lie.
//!
//! Always holds: no folder of this machine is left in the module. Panic messages name source files, so the sources, the
//! standard library's and the registry's unpacked crates are given fixed names.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::process::{ProcessError, run};
use crate::recipe::{PROFILE, RUSTFLAGS, TARGET};
use crate::toolchain::{Std, Toolchain, rustc};

/// What to compile.
#[derive(Debug, Clone)]
pub struct Sources {
    /// The folder that cargo is started in.
    pub root: PathBuf,
    /// The crate, and its library as cargo names the file.
    pub package: String,
    /// The library's name.
    pub library: String,
    /// Where the build's own files go.
    pub target_dir: PathBuf,
    /// Whether the lock file must be there and fit.
    pub locked: bool,
    /// Folders of sources, and what the module is to call them; where several match, the last one counts.
    pub renamed: Vec<(PathBuf, String)>,
}

/// Why there is no module.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// Cargo is missing.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Cargo cannot get the crates that the sources need.
    #[error(
        "cargo cannot fetch what {} needs; with the crates at hand, CARGO_NET_OFFLINE=true does without a network",
        root.display()
    )]
    Fetch {
        /// Where they lie.
        root: PathBuf,
    },
    /// The sources do not compile; the compiler has said why.
    #[error("{package} does not build for {TARGET} with {version}{}", linker_advice(*.linker_missing))]
    Build {
        /// The crate.
        package: String,
        /// The compiler.
        version: String,
        /// Crates that run at build time need a linker for this machine.
        linker_missing: bool,
    },
    /// A file is not where it should be.
    #[error("{path}: {cause}")]
    Io {
        /// Which.
        path: String,
        /// What the system says.
        cause: io::Error,
    },
    /// There is no place for cargo's own files.
    #[error("neither CARGO_HOME nor a home folder")]
    NoCargoHome,
}

fn linker_advice(missing: bool) -> &'static str {
    if missing { "; the C linker `cc` is missing here: on Debian, `apt-get install gcc libc6-dev`" } else { "" }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> CompileError {
    let path = path.display().to_string();
    move |cause| CompileError::Io { path, cause }
}

/// Compiles one policy. Each is a build of its own: built together, one's features would reach into another.
///
/// # Errors
/// [`CompileError`]; what is wrong with the sources the compiler has written to standard error.
pub fn compile(sources: &Sources, toolchain: &Toolchain) -> Result<Vec<u8>, CompileError> {
    let mut cargo = cargo(&sources.root, toolchain);
    cargo.args(["build", "--release", "--target", TARGET, "--package", &sources.package, "--lib"]);
    cargo.args(sources.locked.then_some("--locked"));
    cargo.arg("--target-dir").arg(&sources.target_dir);
    cargo.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
    if let Std::Source(_) = toolchain.std {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(sources, toolchain)?);
    run(&mut cargo).map_err(|error| match error {
        ProcessError::Failed { .. } => CompileError::Build {
            package: sources.package.clone(),
            version: toolchain.version.clone(),
            linker_missing: linker_missing(),
        },
        start => start.into(),
    })?;
    let module = sources.target_dir.join(TARGET).join("release").join(&sources.library).with_extension("wasm");
    std::fs::read(&module).map_err(at(&module))
}

/// Fetches what the sources in a folder need, so that the registry's folders are there to be renamed. `locked`: the lock file
/// must be there and fit.
///
/// # Errors
/// [`CompileError::Fetch`] where it cannot be had.
pub fn fetch(root: &Path, locked: bool, toolchain: &Toolchain) -> Result<(), CompileError> {
    let mut cargo = cargo(root, toolchain);
    cargo.args(["fetch", "--quiet"]).args(locked.then_some("--locked"));
    // What is needed elsewhere alone need not come.
    for target in host(toolchain).iter().map(String::as_str).chain([TARGET]) {
        cargo.args(["--target", target]);
    }
    run(&mut cargo).map_err(|error| match error {
        ProcessError::Failed { .. } => CompileError::Fetch { root: root.to_owned() },
        start => start.into(),
    })
}

/// The platform that the compiler runs on, where it says so: procedural macros are built for it.
fn host(toolchain: &Toolchain) -> Option<String> {
    let mut rustc = rustc(&toolchain.rustc, toolchain.libraries.as_deref());
    let told = String::from_utf8(rustc.arg("-vV").output().ok()?.stdout).ok()?;
    told.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned)
}

/// Cargo, the one that started us if one did.
pub(crate) fn cargo_command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Cargo with this compiler, and without whatever around us would change the outcome.
fn cargo(root: &Path, toolchain: &Toolchain) -> Command {
    const MEDDLING: [&str; 6] =
        ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_INCREMENTAL", "RUSTC", "LD_LIBRARY_PATH"];
    let mut cargo = cargo_command();
    for (name, _) in std::env::vars_os() {
        let meddles =
            |name: &str| name.ends_with("RUSTFLAGS") || MEDDLING.iter().any(|prefix| name.starts_with(prefix));
        if name.to_str().is_some_and(meddles) {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(root).env("RUSTC", &toolchain.rustc);
    if let Some(linker) = &toolchain.linker {
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
    }
    if let Some(libraries) = &toolchain.libraries {
        cargo.env("LD_LIBRARY_PATH", libraries);
    }
    if let Std::Source(_) = toolchain.std {
        cargo.env("RUSTC_BOOTSTRAP", "1");
    }
    cargo
}

fn linker_missing() -> bool {
    let started = Command::new("cc").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    started.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

fn rustflags(sources: &Sources, toolchain: &Toolchain) -> Result<OsString, CompileError> {
    let mut flags: Vec<OsString> = RUSTFLAGS.iter().map(OsString::from).collect();
    // Where several prefixes match, the last one counts: from the outside in.
    let mut renamed = sources.renamed.clone();
    if let Std::Source(library) = &toolchain.std {
        renamed.push((library.clone(), "/rustc/library".into()));
        renamed.push((library.canonicalize().map_err(at(library))?, "/rustc/library".into()));
    }
    for home in cargo_homes()? {
        renamed.push((home.clone(), "/cargo".into()));
        // The folder's name is a hash of the registry's address, which a mirror changes.
        for registry in folders(&home.join("registry/src")) {
            renamed.push((registry, "/registry".into()));
        }
    }
    for (from, to) in renamed {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(from);
        flag.push("=");
        flag.push(to);
        flags.push(flag);
    }
    Ok(flags.join(&OsString::from("\x1f")))
}

/// Cargo's home as it is named and as it is.
fn cargo_homes() -> Result<Vec<PathBuf>, CompileError> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().ok_or(CompileError::NoCargoHome)?.join(".cargo"),
    };
    let real = home.canonicalize().map_err(at(&home))?;
    Ok(if real == home { vec![home] } else { vec![home, real] })
}

fn folders(within: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(within).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}
