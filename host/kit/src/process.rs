//! Runs other programs, and says which one failed and what to do about it.

use std::io;
use std::process::Command;

/// Why another program did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there, or may not be run.
    #[error("{program} cannot be started: {cause}{}", advice(program, cause))]
    Start {
        /// What was to be run.
        program: String,
        /// What the system says.
        cause: io::Error,
    },
    /// It ended with an error.
    #[error("{program} failed{}", told(words))]
    Failed {
        /// What was run.
        program: String,
        /// What it said, where that was not seen already.
        words: String,
    },
}

impl ProcessError {
    pub(crate) fn start(command: &Command) -> impl FnOnce(io::Error) -> Self {
        let program = name(command);
        move |cause| Self::Start { program, cause }
    }
}

/// What to type where the usual ones are missing.
fn advice(program: &str, cause: &io::Error) -> &'static str {
    match program.rsplit('/').next() {
        _ if cause.kind() != io::ErrorKind::NotFound => "",
        Some("cargo" | "rustc" | "rustup") => {
            "\n  Rust is needed here: install it as https://rustup.rs says, then `rustup target add wasm32-unknown-unknown`"
        }
        Some("apt-get" | "dpkg") => " (only on Debian and its kin)",
        _ => "",
    }
}

fn told(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(": {words}") }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// Runs to the end; what the program says goes where ours does.
pub(crate) fn run(command: &mut Command) -> Result<(), ProcessError> {
    let status = command.status().map_err(ProcessError::start(command))?;
    if status.success() { Ok(()) } else { Err(ProcessError::Failed { program: name(command), words: String::new() }) }
}

/// What a program prints, when it succeeds.
pub(crate) fn said(command: &mut Command) -> Result<String, ProcessError> {
    let output = command.output().map_err(ProcessError::start(command))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(ProcessError::Failed { program: name(command), words: text(&output.stderr) })
    }
}
