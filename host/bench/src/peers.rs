//! Stores that are measured beside the host, each as a process of its own that makes durable what it answers.

pub(crate) mod etcd;
mod redis;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::folder;
use crate::host::cargo;

/// A store that is measured beside the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Etcd,
    Redis,
}

/// A peer that runs; it ends when this is dropped.
pub(crate) struct Running {
    child: Child,
    pub(crate) port: u16,
    // Goes after the peer.
    _folder: tempfile::TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that are free now; nobody keeps them.
fn free_ports<const N: usize>() -> anyhow::Result<[u16; N]> {
    let mut listeners = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        *port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

/// Fetches the peers at the first time.
fn installed() -> anyhow::Result<PathBuf> {
    let output = Command::new(cargo()).args(["xtask", "peers"]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "the peers cannot be had");
    let said = String::from_utf8(output.stdout)?;
    Ok(said.lines().last().context("cargo xtask peers does not say where they are")?.into())
}

/// Starts a peer with nothing in it, and waits until somebody listens there.
pub(crate) fn start(peer: Peer) -> anyhow::Result<Running> {
    let system = installed()?;
    let folder = folder::fresh()?;
    let data = folder.path().join("data");
    std::fs::create_dir(&data)?;
    let (mut command, port) = match peer {
        Peer::Etcd => etcd::command(&system, &data)?,
        Peer::Redis => redis::command(&system, &data)?,
    };
    let libraries = system.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let log = std::fs::File::create(folder.path().join("log"))?;
    command.env("LD_LIBRARY_PATH", libraries).current_dir(&data).stdin(Stdio::null());
    let child = command.stdout(log.try_clone()?).stderr(log).spawn();
    let child = child.with_context(|| format!("{peer:?} cannot be started"))?;
    let running = Running { child, port, _folder: folder };
    wait_for(port)?;
    Ok(running)
}

/// Waits until somebody listens there.
fn wait_for(port: u16) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(20);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        ensure!(Instant::now() < deadline, "nobody listens on port {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The program of a peer.
fn program(system: &Path, name: &str) -> Command {
    Command::new(system.join("usr/bin").join(name))
}
