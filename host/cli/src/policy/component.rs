//! Which component a command is about: a file, or the one that was built in a project's folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use ostrakon_kit::component::kind_of;
use ostrakon_wire::PolicyKind;

use crate::failure::Failure;

/// A component, and the folder that it belongs to.
pub(crate) struct Component {
    pub(crate) file: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) bytes: Vec<u8>,
}

/// A kind of policy, by its name.
pub(crate) fn kind() -> impl TypedValueParser<Value = PolicyKind> {
    let known = |name: String| PolicyKind::from_name(&name).ok_or("no such kind");
    PossibleValuesParser::new(PolicyKind::ALL.map(PolicyKind::name)).try_map(known)
}

impl Component {
    /// Reads the file, or the one component in a folder.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let (file, folder) = if path.is_dir() {
            (built_in(path)?, path.to_owned())
        } else {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (path.to_owned(), parent.unwrap_or(Path::new(".")).to_owned())
        };
        let bytes = fs::read(&file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))?;
        if path.is_dir() && older_than_sources(&file, path) {
            let file = file.display();
            eprintln!("the sources are newer than {file}; `ostrakon policy build` makes it anew");
        }
        Ok(Self { file, folder, bytes })
    }

    /// The kind that was given, or the one that its exports say.
    pub(crate) fn kind(&self, given: Option<PolicyKind>) -> Result<PolicyKind, Failure> {
        let read = || kind_of(&self.bytes);
        let failed = |error| Failure::failed(format!("{}: {error}", self.file.display()));
        given.map_or_else(|| read().map_err(failed), Ok)
    }
}

/// Settings from a file, or none.
pub(crate) fn settings(file: Option<&Path>) -> Result<String, Failure> {
    let Some(file) = file else { return Ok("{}".to_owned()) };
    fs::read_to_string(file).map_err(|error| Failure::failed(format!("{}: {error}", file.display())))
}

/// The one component in a folder.
fn built_in(folder: &Path) -> Result<PathBuf, Failure> {
    let shown = folder.display();
    let entries = fs::read_dir(folder).map_err(|error| Failure::failed(format!("{shown}: {error}")))?;
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    found.sort();
    match found.as_slice() {
        [one] => Ok(one.clone()),
        [] if folder.join("Cargo.toml").is_file() => {
            Err(Failure::failed(format!("no component in {shown} yet; `ostrakon policy build {shown}` makes it")))
        }
        [] => Err(Failure::failed(format!("no component (*.wasm) in {shown}"))),
        several => {
            let names: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
            Err(Failure::usage(format!("several components in {shown}, name one: {}", names.join(", "))))
        }
    }
}

/// Whether a source of the project was changed after the component was made.
fn older_than_sources(component: &Path, folder: &Path) -> bool {
    let changed = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let sources = fs::read_dir(folder.join("src")).into_iter().flatten().flatten().map(|entry| entry.path());
    let newest: Option<SystemTime> = sources.chain([folder.join("Cargo.toml")]).filter_map(|path| changed(&path)).max();
    changed(component).zip(newest).is_some_and(|(made, newest)| newest > made)
}
