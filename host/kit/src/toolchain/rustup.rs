//! The installed compiler, with the wasm target that rustup fetches for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Std, Toolchain, ToolchainError, version};
use crate::Progress;
use crate::process::{ProcessError, said};
use crate::recipe::TARGET;

/// A slow mirror gets this long; one that hangs no longer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(180);

/// The compiler that cargo would take here, once it has the wasm target.
pub(super) fn installed(progress: Progress<'_>) -> Result<Toolchain, ToolchainError> {
    let rustc = PathBuf::from("rustc");
    let version = version(&rustc, None)?;
    let sysroot = sysroot()?;
    if !has_target(&sysroot) {
        let cause = match add_target(progress) {
            Ok(()) if has_target(&sysroot) => None,
            Ok(()) => Some("rustup says it has, but it is not there".to_owned()),
            Err(cause) => Some(cause),
        };
        if let Some(cause) = cause {
            return Err(ToolchainError::NoTarget { version, cause });
        }
    }
    Ok(Toolchain { rustc, version, std: Std::Compiled, linker: None, libraries: None })
}

/// The linker that comes with the installed compiler, for a compiler that has none.
pub(super) fn linker() -> Result<PathBuf, ToolchainError> {
    let host = said(Command::new("rustc").args(["--print", "host-tuple"]))?;
    let linker = sysroot()?.join("lib/rustlib").join(host).join("bin/rust-lld");
    if !linker.is_file() {
        let words = format!("the installed toolchain has no rust-lld at {}", linker.display());
        return Err(ToolchainError::Incomplete(words));
    }
    Ok(linker)
}

fn sysroot() -> Result<PathBuf, ProcessError> {
    said(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from)
}

fn has_target(sysroot: &Path) -> bool {
    let library = sysroot.join("lib/rustlib").join(TARGET).join("lib");
    library.read_dir().is_ok_and(|mut entries| entries.next().is_some())
}

fn add_target(progress: Progress<'_>) -> Result<(), String> {
    progress(&format!("rustup target add {TARGET} (at most {} s)", FETCH_TIMEOUT.as_secs()));
    let mut command = Command::new("rustup");
    command.args(["target", "add", TARGET]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut rustup = command.spawn().map_err(|error| format!("rustup cannot be started: {error}"))?;
    let deadline = Instant::now() + FETCH_TIMEOUT;
    loop {
        match rustup.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(_)) => return Err("rustup cannot fetch it".to_owned()),
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(100)),
            Ok(None) => {
                // It may have ended meanwhile.
                let _ = rustup.kill();
                let _ = rustup.wait();
                return Err(format!("rustup did not fetch it in {} s", FETCH_TIMEOUT.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}
