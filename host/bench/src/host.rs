//! A real host as a process of its own, built before it is started, so that none is ever stale.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::HostFile;
use tokio::time::timeout;

use crate::folder;

/// How long a host may take until it serves.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(60);

/// A host's process; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    ready: PathBuf,
    stderr: PathBuf,
}

/// A serving host; dropping it kills it.
pub(crate) struct Host {
    process: Process,
    /// Where it listens, and the certificates that it made.
    pub(crate) file: HostFile,
}

/// Builds the host with the same cargo that runs this, and answers the binary.
fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let built = build(&[])?;
    sync_all();
    Ok(BINARY.get_or_init(|| built))
}

/// Brings to the disk what a build has written: the system would do that half a minute later, and whoever syncs waits for it.
fn sync_all() {
    if !Command::new("sync").status().is_ok_and(|status| status.success()) {
        eprintln!("what the build has written may be written while something is measured: `sync` cannot be run");
    }
}

/// The cargo that runs this.
pub(crate) fn cargo() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Builds the host with these features beside its usual ones.
pub(crate) fn build(features: &[&str]) -> anyhow::Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/Cargo.toml");
    let built = Command::new(cargo())
        .args(["build", "--release", "--message-format", "json-render-diagnostics", "--features", &features.join(",")])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo cannot be started to build the host")?;
    ensure!(built.status.success(), "the host cannot be built");
    let lines = String::from_utf8(built.stdout)?;
    let executable = lines.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    executable.context("cargo named no executable")
}

impl Process {
    /// Starts a development host on `folder/data`, with more arguments and variables, and waits for nothing.
    pub(crate) fn spawn(
        binary: &Path,
        folder: &Path,
        arguments: &[&str],
        variables: &[(&str, PathBuf)],
    ) -> anyhow::Result<Self> {
        let (ready, stderr) = (folder.join("ready.json"), folder.join("stderr"));
        // A host that ran here before left its own.
        let _ = std::fs::remove_file(&ready);
        let child = Command::new(binary)
            .args(["serve", "--dev", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&stderr)?)
            .spawn()
            .context("the host cannot be started")?;
        Ok(Self { child, ready, stderr })
    }

    /// Waits until it serves.
    pub(crate) fn ready(mut self) -> anyhow::Result<Host> {
        let deadline = Instant::now() + START_DEADLINE;
        while !self.ready.exists() {
            if self.child.try_wait()?.is_some() || Instant::now() > deadline {
                self.kill();
                bail!("the host does not serve: {}", self.words());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let file = serde_json::from_slice(&std::fs::read(&self.ready)?);
        Ok(Host { file: file.context("what the host wrote when it was ready")?, process: self })
    }

    /// What it has said on standard error.
    pub(crate) fn words(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Ends it without a warning, unless it has ended by itself; waits for its end.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its exit code, once it has ended; `None` where a signal ended it.
    pub(crate) fn ended(&mut self, within: Duration) -> anyhow::Result<Option<i32>> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            ensure!(Instant::now() < deadline, "the host does not end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Measures something on a host of its own, with a fresh folder, and stops the host as an operator would.
pub(crate) fn measured<T>(
    arguments: &[&str],
    patience: Duration,
    measure: impl AsyncFnOnce(&Host) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let folder = folder::fresh()?;
    let host = Host::start(folder.path(), arguments)?;
    let measured = crate::load::runtime()?.block_on(async { timeout(patience, measure(&host)).await })??;
    host.stop()?;
    Ok(measured)
}

impl Host {
    /// Builds the host, starts it on a folder, with more arguments, and waits until it serves.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        Process::spawn(binary()?, folder, arguments, &[])?.ready()
    }

    /// Its process.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// The processor time that it has taken so far; `None` where the system does not tell.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u32>().ok();
        Some(TICK * (ticks()? + ticks()?))
    }

    /// Stops it as an operator would, and waits for its end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status()?;
        ensure!(told.success(), "the host cannot be told to stop");
        let code = self.process.ended(STOP_DEADLINE)?;
        ensure!(code == Some(0), "the host did not stop as it should ({code:?}): {}", self.process.words());
        Ok(())
    }
}
