//! What a host takes of the machine, a look at a time.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, ensure};

/// One look.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) rss_mib: u64,
    /// Open files, sockets and the like.
    pub(crate) handles: u64,
    /// What the store's journals take of the disk.
    pub(crate) journal_mib: u64,
    /// What the machine's processors have done so far.
    pub(crate) processors: Processors,
}

/// Time of all processors since the machine was started, in ticks.
#[derive(Clone, Copy, Default)]
pub(crate) struct Processors {
    all: u64,
    /// What a hypervisor gave to others while somebody here wanted to run.
    stolen: u64,
}

impl Processors {
    fn look() -> anyhow::Result<Self> {
        let stat = std::fs::read_to_string("/proc/stat")?;
        // The first eight tell each tick once: user, nice, system, idle, iowait, irq, softirq, steal.
        let ticks = stat.lines().next().unwrap_or_default().split_whitespace().skip(1).take(8);
        let ticks: Vec<u64> = ticks.map(str::parse).collect::<Result<_, _>>().context("/proc/stat")?;
        Ok(Self { all: ticks.iter().sum(), stolen: ticks.get(7).copied().unwrap_or_default() })
    }

    /// Which share of the time since then others have had.
    pub(crate) fn stolen_since(self, before: Self) -> f64 {
        self.stolen.saturating_sub(before.stolen) as f64 / self.all.saturating_sub(before.all).max(1) as f64
    }
}

const BLOCK_BYTES: u64 = 512;

/// Looks at a process whose store is in a folder.
pub(crate) fn look(process: u32, store: &Path) -> anyhow::Result<Sample> {
    Ok(Sample {
        rss_mib: rss_mib(&process.to_string())?,
        handles: std::fs::read_dir(format!("/proc/{process}/fd"))?.count() as u64,
        journal_mib: journal_bytes(store)? >> 20,
        processors: Processors::look()?,
    })
}

/// A process's resident memory; `self` is this one.
pub(crate) fn rss_mib(process: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB")).context("no VmRSS")?;
    Ok(kib.trim().parse::<u64>()? / 1024)
}

fn journal_bytes(store: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for file in std::fs::read_dir(store)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            // One that is gone since takes nothing.
            bytes += path.metadata().map_or(0, |metadata| metadata.blocks() * BLOCK_BYTES);
        }
    }
    Ok(bytes)
}

/// Ends a load before it fills the disk.
///
/// # Errors
/// When less than so much is free where the folder lies.
pub(crate) fn hold_free(folder: &Path, gib: u64) -> anyhow::Result<()> {
    let free = free_gib(folder)?;
    ensure!(free >= gib, "{free} GiB are free beside {}, and a load stops at {gib}: make room", folder.display());
    Ok(())
}

/// As `df` tells: the standard library has no call for it.
fn free_gib(folder: &Path) -> anyhow::Result<u64> {
    let told = std::process::Command::new("df").args(["-Pk", "--"]).arg(folder).output().context("df")?;
    let text = String::from_utf8(told.stdout)?;
    let kib = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(3)).context("what df says")?;
    Ok(kib.parse::<u64>()? >> 20)
}
