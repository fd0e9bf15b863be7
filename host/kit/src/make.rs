//! A project's sources to its component: finds the crate, compiles it, makes the component, holds it against the contract.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cargo_metadata::{CrateType, Metadata, MetadataCommand, Package};
use ostrakon_policy::{Limits, PolicyEngine};
use ostrakon_wire::PolicyKind;

use crate::compile::{CompileError, Sources, cargo_command, compile, fetch};
use crate::component::{ComponentError, componentize, kind_of};
use crate::process::ProcessError;
use crate::recipe::TARGET;
use crate::toolchain::{Choice, ToolchainError, cache_home, choose};
use crate::{Progress, sha256};

/// A component that a host would take.
#[derive(Debug)]
pub struct Made {
    /// The crate's name.
    pub package: String,
    /// The kind of policy.
    pub kind: PolicyKind,
    /// The name and version that the policy gives itself.
    pub about: (String, String),
    /// The component.
    pub component: Vec<u8>,
    /// SHA-256 of it, in hexadecimal.
    pub digest: String,
    /// The compiler.
    pub compiler: String,
    /// How long all of it took.
    pub took: Duration,
}

/// Why there is no component.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// No crate stands there.
    #[error("no Cargo.toml in {}; `ostrakon policy new NAME` makes a project", .0.display())]
    NoProject(PathBuf),
    /// Cargo cannot read the project.
    #[error("cargo cannot read the project: {0}")]
    Project(String),
    /// The crate makes no library that can be a component.
    #[error("{0} makes no `cdylib`; its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\", \"rlib\"]`")]
    NoLibrary(String),
    /// There is no compiler.
    #[error(transparent)]
    Toolchain(#[from] ToolchainError),
    /// It does not compile.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The module is no policy.
    #[error("{cause}; does the crate call one of the SDK's `export_...!` macros?")]
    Component {
        /// Why.
        cause: ComponentError,
    },
    /// A host would refuse it.
    #[error("a host would refuse the component: {0}")]
    Refused(#[from] ostrakon_policy::LoadError),
    /// Components cannot be run here.
    #[error(transparent)]
    Engine(#[from] ostrakon_policy::EngineError),
}

/// Makes the component of the project in a folder.
///
/// # Errors
/// [`MakeError`] says what is missing or wrong, and what to do.
pub fn make(folder: &Path, choice: Choice, progress: Progress<'_>) -> Result<Made, MakeError> {
    let begun = Instant::now();
    let manifest = manifest_of(folder)?;
    cargo_is_there()?;
    let toolchain = choose(&cache_home()?, choice, progress)?;
    // What is to be renamed is only known once the crates are there.
    fetch(manifest.parent().unwrap_or(folder), false, &toolchain)?;
    let sources = sources(&manifest)?;
    progress(&format!("compiling {} for {TARGET} with {}", sources.package, toolchain.version));
    let module = compile(&sources, &toolchain)?;
    let component = componentize(&module).map_err(|cause| MakeError::Component { cause })?;
    let kind = kind_of(&component).map_err(|cause| MakeError::Component { cause })?;
    let loaded = PolicyEngine::new(Limits::default())?.load(kind, &component, "{}")?;
    Ok(Made {
        package: sources.package,
        kind,
        about: (loaded.name().to_owned(), loaded.version().to_owned()),
        digest: sha256(&component),
        component,
        compiler: toolchain.version,
        took: begun.elapsed(),
    })
}

fn manifest_of(folder: &Path) -> Result<PathBuf, MakeError> {
    folder.join("Cargo.toml").canonicalize().map_err(|_| MakeError::NoProject(folder.to_owned()))
}

/// Asks cargo for its version: where it is missing, this says so best.
fn cargo_is_there() -> Result<(), MakeError> {
    let said = crate::process::said(cargo_command().arg("--version"));
    said.map(drop).map_err(|error: ProcessError| CompileError::from(error).into())
}

fn read(command: &MetadataCommand) -> Result<Metadata, MakeError> {
    command.exec().map_err(|error| MakeError::Project(error.to_string()))
}

fn package<'a>(metadata: &'a Metadata, manifest: &Path) -> Result<&'a Package, MakeError> {
    let here = |package: &&Package| package.manifest_path.as_std_path() == manifest;
    let none = || MakeError::Project(format!("{} describes a workspace and no crate", manifest.display()));
    metadata.packages.iter().find(here).ok_or_else(none)
}

/// What cargo says of the project. Crates that lie on this machine are given names instead of their folders.
fn sources(manifest: &Path) -> Result<Sources, MakeError> {
    // What other platforms need is no business of this build.
    let only = ["--filter-platform".to_owned(), TARGET.to_owned()];
    let metadata = read(MetadataCommand::new().manifest_path(manifest).other_options(only))?;
    let package = package(&metadata, manifest)?;
    let library = package.targets.iter().find(|target| target.crate_types.contains(&CrateType::CDyLib));
    let library = library.ok_or_else(|| MakeError::NoLibrary(package.name.to_string()))?;
    let mut renamed: Vec<_> = metadata
        .packages
        .iter()
        .filter(|local| local.source.is_none())
        .filter_map(|local| Some((local.manifest_path.parent()?.as_std_path().to_owned(), format!("/{}", local.name))))
        .collect();
    // From the outside in: a crate inside another's folder has its own name.
    renamed.sort_by_key(|(path, _)| path.components().count());
    Ok(Sources {
        root: package.manifest_path.parent().map_or_else(PathBuf::new, |folder| folder.as_std_path().to_owned()),
        package: package.name.to_string(),
        library: library.name.replace('-', "_"),
        target_dir: metadata.target_directory.as_std_path().join("policy"),
        locked: false,
        renamed,
    })
}
