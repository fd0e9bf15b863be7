//! Debian's own compiler for web applications, unpacked into a private folder.
//!
//! It brings the standard library's source instead of a compiled one for wasm, and no linker; that is borrowed from the
//! installed toolchain.
//!
//! Always holds: the machine's package state is read and never written, so no root is needed. Which mirrors are asked, the
//! machine's own sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Std, Toolchain, rustup, version};
use crate::recipe::work_dir;

/// What to ask for; apt finds the rest (the compiler's libraries carry version numbers in their names).
const PACKAGES: [&str; 3] = ["rustc-web", "libstd-rust-web-dev", "rust-web-src"];
/// Of the sources only the standard library is needed, a tenth of them.
const SOURCES: &str = "rust-web-src";

/// The unpacked compiler; fetched at the first time.
pub(super) fn unpacked(root: &Path) -> Result<Toolchain> {
    let linker = rustup::linker()?;
    let home = work_dir(root).join("debian");
    let system = home.join("system");
    let complete = home.join("complete");
    if !complete.is_file() {
        fetch(&home, &system)?;
        fs::write(&complete, "")?;
    }
    let rustc = system.join("usr/bin/rustc");
    let libraries = folder_of(&system.join("usr/lib"), "librustc_driver")?;
    let version = version(&rustc, Some(&libraries))?;
    let library = system.join("usr/lib/rustlib/src/rust/library");
    ensure!(library.is_dir(), "Debian's packages hold no standard library's source; {} may go", home.display());
    Ok(Toolchain { rustc, version, std: Std::Source(library), linker: Some(linker), libraries: Some(libraries) })
}

fn fetch(home: &Path, system: &Path) -> Result<()> {
    for folder in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(home.join(folder))?;
    }
    if system.exists() {
        fs::remove_dir_all(system)?;
    }
    eprintln!("xtask: reading the package lists");
    // One source that does not answer need not be the one that matters.
    if let Err(error) = run(apt(home).arg("update")) {
        eprintln!("xtask: {error:#}");
    }
    eprintln!("xtask: fetching {} and what they need (about 140 MB)", PACKAGES.join(", "));
    run(apt(home).args(["install", "--download-only", "--no-install-recommends", "--yes"]).args(PACKAGES))
        .context("apt cannot fetch Debian's compiler: is there a network, and do the machine's sources have it?")?;
    eprintln!("xtask: unpacking into {}", system.display());
    for entry in fs::read_dir(home.join("cache/archives"))? {
        let archive = entry?.path();
        if archive.extension().is_some_and(|extension| extension == "deb") {
            unpack(&archive, system)?;
        }
    }
    fs::remove_dir_all(home.join("cache"))?;
    Ok(())
}

/// apt-get with lists and archives of its own, and the machine's record of what is installed.
fn apt(home: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    let option = |name: &str, value: &Path| format!("{name}={}", value.display());
    apt.args(["-qq", "-o", "Debug::NoLocking=1", "-o", "APT::Sandbox::User=", "-o", "Dpkg::Use-Pty=0"]);
    apt.arg("-o").arg(option("Dir::State", &home.join("state")));
    apt.arg("-o").arg(option("Dir::Cache", &home.join("cache")));
    apt.arg("-o").arg("Dir::State::status=/var/lib/dpkg/status");
    apt.stdin(Stdio::null()).stdout(Stdio::null());
    apt
}

fn unpack(archive: &Path, system: &Path) -> Result<()> {
    fs::create_dir_all(system)?;
    let mut dpkg = Command::new("dpkg").arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped()).spawn()?;
    let tar_file = dpkg.stdout.take().context("dpkg has no output")?;
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(system).stdin(tar_file);
    if archive.file_name().is_some_and(|name| name.to_string_lossy().starts_with(SOURCES)) {
        tar.args(["--wildcards", "./usr/lib/rustlib/src*", "./usr/src/*/library"]);
    }
    let unpacked = run(&mut tar);
    ensure!(dpkg.wait()?.success(), "dpkg cannot read {}", archive.display());
    unpacked
}

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{name} cannot be started"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
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
