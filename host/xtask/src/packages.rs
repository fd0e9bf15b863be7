//! Debian's packages, unpacked into a private folder.
//!
//! Always holds: the machine's package state is read and never written, so no root is needed. Which mirrors are asked, the
//! machine's own sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// What to fetch, and where to.
pub(crate) struct Packages<'a> {
    pub(crate) home: &'a Path,
    /// In words, for whoever waits.
    pub(crate) what: &'a str,
    /// apt finds what they need.
    pub(crate) names: &'a [&'a str],
    pub(crate) only: Option<Only>,
}

/// A package of which not all is unpacked.
pub(crate) struct Only {
    pub(crate) package: &'static str,
    pub(crate) paths: &'static [&'static str],
}

impl Packages<'_> {
    /// The folder that they are unpacked in; fetched at the first time.
    pub(crate) fn unpacked(&self) -> Result<PathBuf> {
        let system = self.home.join("system");
        let complete = self.home.join("complete");
        let names = self.names.join(" ");
        if fs::read_to_string(&complete).ok().as_ref() != Some(&names) {
            self.fetch(&system)?;
            fs::write(&complete, names)?;
        }
        Ok(system)
    }

    fn fetch(&self, system: &Path) -> Result<()> {
        let home = self.home;
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
        eprintln!("xtask: fetching {}: {} and what they need", self.what, self.names.join(", "));
        run(apt(home).args(["install", "--download-only", "--no-install-recommends", "--yes"]).args(self.names))
            .context("apt cannot fetch them: is there a network, and do the machine's sources have them?")?;
        eprintln!("xtask: unpacking into {}", system.display());
        for entry in fs::read_dir(home.join("cache/archives"))? {
            let archive = entry?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                self.unpack(&archive, system)?;
            }
        }
        fs::remove_dir_all(home.join("cache"))?;
        Ok(())
    }

    fn unpack(&self, archive: &Path, system: &Path) -> Result<()> {
        fs::create_dir_all(system)?;
        let mut dpkg = Command::new("dpkg").arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped()).spawn()?;
        let tar_file = dpkg.stdout.take().context("dpkg has no output")?;
        let mut tar = Command::new("tar");
        tar.arg("-x").arg("-C").arg(system).stdin(tar_file);
        let is_of = |package| archive.file_name().is_some_and(|name| name.to_string_lossy().starts_with(package));
        if let Some(only) = self.only.as_ref().filter(|only| is_of(only.package)) {
            tar.arg("--wildcards").args(only.paths);
        }
        let unpacked = run(&mut tar);
        ensure!(dpkg.wait()?.success(), "dpkg cannot read {}", archive.display());
        unpacked
    }
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

fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("{name} cannot be started"))?;
    ensure!(status.success(), "{name} failed");
    Ok(())
}
