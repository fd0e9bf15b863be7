//! The binary under test: built from this workspace once a run, with the features that let a test control the host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use cargo_metadata::Message;

use super::root;

/// What a test tells the host to do: on its standard input, or wrong, by its environment.
const FEATURES: &str = "ostrakon-cli/test-control,ostrakon-cli/planted-faults";

/// The path of the binary under test.
pub(crate) fn ostrakon() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| keep(&build()))
}

/// Of the whole workspace, as the tests usually are: the same features, so what both depend on is built once.
fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--workspace", "--bin", "ostrakon", "--features", FEATURES])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // Build scripts that look at these would run again, for nothing.
    for name in std::env::vars_os().map(|(name, _)| name).filter(told_to_tests_alone) {
        command.env_remove(name);
    }
    let mut building = command.spawn().unwrap();
    let messages = std::io::BufReader::new(building.stdout.take().unwrap());
    let executables = Message::parse_stream(messages).filter_map(|message| match message.unwrap() {
        Message::CompilerArtifact(artifact) if artifact.target.name == "ostrakon" => artifact.executable,
        _ => None,
    });
    let executable = executables.last();
    assert!(building.wait().unwrap().success(), "the binary under test does not build");
    executable.expect("a build that succeeds names its executable").into()
}

/// What `cargo test` tells the tests it runs about their package.
fn told_to_tests_alone(name: &OsString) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name.starts_with("CARGO_BIN_")
}

/// A copy that no other build replaces while the tests run.
fn keep(built: &Path) -> PathBuf {
    let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ostrakon");
    let draft = kept.with_extension(std::process::id().to_string());
    std::fs::copy(built, &draft).unwrap();
    std::fs::rename(&draft, &kept).unwrap();
    kept
}
