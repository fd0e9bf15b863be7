//! A real host as a process of its own, built before it is started, so that none is ever stale.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::HostFile;

/// How long a host may take until it serves.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A serving host; dropping it kills it.
pub(crate) struct Host {
    process: Child,
    /// Where it listens, and the certificates that it made.
    pub(crate) file: HostFile,
}

/// Builds the host with the same cargo that runs this, and answers the binary.
fn binary() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cli/Cargo.toml");
    let built = Command::new(cargo)
        .args(["build", "--release", "--message-format", "json-render-diagnostics", "--manifest-path"])
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
    let executable = executable.context("cargo named no executable")?;
    Ok(BINARY.get_or_init(|| executable))
}

impl Host {
    /// Starts a development host on a folder, with more arguments.
    pub(crate) fn start(folder: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let ready = folder.join("ready.json");
        // A host that ran here before left its own.
        let _ = std::fs::remove_file(&ready);
        let mut process = Command::new(binary()?)
            .args(["serve", "--dev", "--data-dir"])
            .arg(folder.join("data"))
            .arg("--ready-file")
            .arg(&ready)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the host cannot be started")?;
        let deadline = Instant::now() + START_DEADLINE;
        while !ready.exists() {
            if process.try_wait()?.is_some() || Instant::now() > deadline {
                let mut words = String::new();
                let _ = process.kill();
                process.stderr.take().context("standard error was asked for")?.read_to_string(&mut words)?;
                bail!("the host does not serve: {words}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let file = serde_json::from_slice(&std::fs::read(&ready)?).context("what the host wrote when it was ready")?;
        Ok(Self { process, file })
    }

    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    /// The processor time that it has taken so far; `None` where the system does not tell.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        const TICK: Duration = Duration::from_millis(10);
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).ok()?;
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
        let mut ticks = || fields.next()?.parse::<u32>().ok();
        Some(TICK * (ticks()? + ticks()?))
    }

    /// Stops it as an operator would, and waits for its end.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let told = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        ensure!(told.success(), "the host cannot be told to stop");
        ensure!(self.process.wait()?.success(), "the host did not stop as it should");
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // It may have ended by itself, and then there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
