//! The other process of a scenario: this binary again, with a hidden subcommand.
//!
//! It says one JSON line when it is ready and lives until its standard input ends, so it outlives neither the guard nor
//! this process, however that ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A running child; dropping it kills it and waits for its end.
pub(crate) struct Running(Child);

/// This binary with `subcommand`, to be given its arguments.
///
/// # Errors
/// When the binary cannot be found.
pub(crate) fn command(subcommand: &str) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("this program's own path")?);
    command.arg(subcommand);
    Ok(command)
}

impl Running {
    /// Starts `command`; answers what it said once it was ready.
    ///
    /// # Errors
    /// When it cannot be started, or ended without a word.
    pub(crate) fn start<S: DeserializeOwned>(command: &mut Command) -> anyhow::Result<(Self, S)> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut running = Self(child.with_context(|| format!("cannot start {command:?}"))?);
        let stdout = running.0.stdout.take().context("standard output was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let said = serde_json::from_str(&line).with_context(|| format!("{command:?} said {line:?}"))?;
        Ok((running, said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to kill.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In the child: says `line` to whoever started it.
pub(crate) fn say(line: &impl Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(line)?);
    Ok(())
}

/// In the child: waits until whoever started it is gone.
pub(crate) fn until_parent_ends() {
    let _ = std::io::stdin().lock().read_to_end(&mut Vec::new());
}
