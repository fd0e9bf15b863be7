//! The installed compiler, with the wasm target that rustup fetches for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::{Std, Toolchain, said, version};
use crate::recipe::TARGET;

/// A slow mirror gets this long; one that hangs no longer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(180);

/// The compiler that this very program was built with, once it has the wasm target.
pub(super) fn installed() -> Result<Toolchain> {
    let rustc = PathBuf::from("rustc");
    let version = version(&rustc, None)?;
    let sysroot = sysroot()?;
    if !has_target(&sysroot) {
        add_target().with_context(|| format!("{version} has no {TARGET}"))?;
        ensure!(has_target(&sysroot), "{version} still has no {TARGET} after rustup added it");
    }
    Ok(Toolchain { rustc, version, std: Std::Compiled, linker: None, libraries: None })
}

/// The linker that comes with the installed compiler, for a compiler that has none.
pub(super) fn linker() -> Result<PathBuf> {
    let host = said(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let linker = sysroot()?.join("lib/rustlib").join(host).join("bin/rust-lld");
    ensure!(linker.is_file(), "the installed toolchain has no rust-lld at {}", linker.display());
    Ok(linker)
}

fn sysroot() -> Result<PathBuf> {
    said(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

fn has_target(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    library.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

fn add_target() -> Result<()> {
    eprintln!("xtask: rustup target add {TARGET} (at most {} s)", FETCH_TIMEOUT.as_secs());
    let mut rustup = Command::new("rustup")
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .context("rustup cannot be started")?;
    let deadline = Instant::now() + FETCH_TIMEOUT;
    loop {
        if let Some(status) = rustup.try_wait()? {
            ensure!(status.success(), "rustup cannot fetch {TARGET}");
            return Ok(());
        }
        if Instant::now() >= deadline {
            rustup.kill()?;
            rustup.wait()?;
            bail!("rustup did not fetch {TARGET} in {} s", FETCH_TIMEOUT.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
