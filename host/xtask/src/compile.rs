//! A shipped policy's sources to a core module, the same bytes wherever the checkout lies.
//!
//! Always holds: no folder of this machine is left in the module. Panic messages name source files, so the checkout, the
//! standard library's sources and the registry's unpacked crates are given fixed names.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::recipe::{PROFILE, Policy, RUSTFLAGS, TARGET, work_dir};
use crate::toolchain::{Std, Toolchain};

/// Compiles one policy. Each is a build of its own: built together, one's features would reach into another.
pub(crate) fn compile(root: &Path, policy: &Policy, toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target_dir = work_dir(root).join("build");
    let mut cargo = cargo(root, toolchain);
    cargo.args(["build", "--release", "--locked", "--target", TARGET, "--package", policy.name]);
    cargo.arg("--target-dir").arg(&target_dir);
    cargo.args(PROFILE.iter().flat_map(|setting| ["--config", setting]));
    if let Std::Source(_) = toolchain.std {
        cargo.arg("-Zbuild-std=std,panic_abort");
    }
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(root, toolchain)?);
    let status = cargo.status().context("cargo cannot be started")?;
    ensure!(status.success(), "{} does not build for {TARGET} with {}", policy.name, toolchain.version);
    let module = target_dir.join(TARGET).join("release").join(policy.name.replace('-', "_")).with_extension("wasm");
    std::fs::read(&module).with_context(|| format!("cargo left no {}", module.display()))
}

/// Fetches what the lock file names, so that the registry's folders are there to be renamed.
pub(crate) fn fetch(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let status = cargo(root, toolchain).args(["fetch", "--quiet", "--locked"]).status()?;
    ensure!(status.success(), "cargo cannot fetch what Cargo.lock names");
    Ok(())
}

/// Cargo with this compiler, and without whatever around us would change the outcome.
fn cargo(root: &Path, toolchain: &Toolchain) -> Command {
    const MEDDLING: [&str; 6] =
        ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_INCREMENTAL", "RUSTC", "LD_LIBRARY_PATH"];
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
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

fn rustflags(root: &Path, toolchain: &Toolchain) -> Result<OsString> {
    let mut flags: Vec<OsString> = RUSTFLAGS.iter().map(OsString::from).collect();
    // Where several prefixes match, the last one counts: from the outside in.
    let mut renamed = vec![(root.to_owned(), "/ostrakon")];
    if let Std::Source(library) = &toolchain.std {
        renamed.push((library.clone(), "/rustc/library"));
        renamed.push((library.canonicalize()?, "/rustc/library"));
    }
    for home in cargo_homes()? {
        renamed.push((home.clone(), "/cargo"));
        // The folder's name is a hash of the registry's address, which a mirror changes.
        for registry in folders(&home.join("registry/src"))? {
            renamed.push((registry, "/registry"));
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
fn cargo_homes() -> Result<Vec<PathBuf>> {
    let home = match std::env::var_os("CARGO_HOME") {
        Some(home) => PathBuf::from(home),
        None => std::env::home_dir().context("neither CARGO_HOME nor a home folder")?.join(".cargo"),
    };
    let real = home.canonicalize().with_context(|| format!("no cargo home at {}", home.display()))?;
    Ok(if real == home { vec![home] } else { vec![home, real] })
}

fn folders(within: &Path) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(within) else {
        return Ok(Vec::new());
    };
    let mut found = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    found.sort();
    Ok(found)
}
