//! Debian's packages, unpacked into a private folder.
//!
//! Always holds: the machine's package state is read and never written, so no root is needed. Which mirrors are asked, the
//! machine's own sources say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Progress;
use crate::process::{ProcessError, run};

/// What to fetch, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Packages<'a> {
    /// The folder that is theirs.
    pub home: &'a Path,
    /// In words, for whoever waits.
    pub what: &'a str,
    /// apt finds what they need.
    pub names: &'a [&'a str],
    /// A package of which not all is wanted.
    pub only: Option<Only>,
}

/// A package of which not all is unpacked.
#[derive(Debug, Clone, Copy)]
pub struct Only {
    /// Its name.
    pub package: &'static str,
    /// What is, as tar's patterns.
    pub paths: &'static [&'static str],
}

/// Why packages could not be had.
#[derive(Debug, thiserror::Error)]
pub enum PackagesError {
    /// A folder could not be written.
    #[error("{path}: {cause}")]
    Io {
        /// Where.
        path: String,
        /// What the system says.
        cause: std::io::Error,
    },
    /// apt did not fetch them.
    #[error("apt cannot fetch them ({0}): is there a network, and do the machine's sources have them?")]
    Fetch(ProcessError),
    /// What was fetched could not be unpacked.
    #[error(transparent)]
    Unpack(#[from] ProcessError),
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> PackagesError {
    let path = path.display().to_string();
    move |cause| PackagesError::Io { path, cause }
}

impl Packages<'_> {
    /// The folder that they are unpacked in; fetched at the first time.
    ///
    /// # Errors
    /// [`PackagesError`] where apt has no network or no such packages, or the folder cannot be written.
    pub fn unpacked(&self, progress: Progress<'_>) -> Result<PathBuf, PackagesError> {
        let system = self.home.join("system");
        let complete = self.home.join("complete");
        let names = self.names.join(" ");
        if fs::read_to_string(&complete).ok().as_ref() != Some(&names) {
            self.fetch(&system, progress)?;
            fs::write(&complete, names).map_err(at(&complete))?;
        }
        Ok(system)
    }

    fn fetch(&self, system: &Path, progress: Progress<'_>) -> Result<(), PackagesError> {
        let home = self.home;
        for folder in ["state/lists/partial", "cache/archives/partial"] {
            let folder = home.join(folder);
            fs::create_dir_all(&folder).map_err(at(&folder))?;
        }
        if system.exists() {
            fs::remove_dir_all(system).map_err(at(system))?;
        }
        progress("reading the package lists");
        // One source that does not answer need not be the one that matters.
        if let Err(error) = run(apt(home).arg("update")) {
            progress(&error.to_string());
        }
        progress(&format!("fetching {}: {} and what they need", self.what, self.names.join(", ")));
        run(apt(home).args(["install", "--download-only", "--no-install-recommends", "--yes"]).args(self.names))
            .map_err(PackagesError::Fetch)?;
        progress(&format!("unpacking into {}", system.display()));
        let archives = home.join("cache/archives");
        for entry in fs::read_dir(&archives).map_err(at(&archives))? {
            let archive = entry.map_err(at(&archives))?.path();
            if archive.extension().is_some_and(|extension| extension == "deb") {
                self.unpack(&archive, system)?;
            }
        }
        fs::remove_dir_all(home.join("cache")).map_err(at(home))
    }

    fn unpack(&self, archive: &Path, system: &Path) -> Result<(), PackagesError> {
        fs::create_dir_all(system).map_err(at(system))?;
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--fsys-tarfile").arg(archive).stdout(Stdio::piped());
        let mut unpacking = dpkg.spawn().map_err(ProcessError::start(&dpkg))?;
        let mut tar = Command::new("tar");
        tar.arg("-x").arg("-C").arg(system);
        tar.stdin(unpacking.stdout.take().map_or_else(Stdio::null, Stdio::from));
        let is_of = |package| archive.file_name().is_some_and(|name| name.to_string_lossy().starts_with(package));
        if let Some(only) = self.only.as_ref().filter(|only| is_of(only.package)) {
            tar.arg("--wildcards").args(only.paths);
        }
        let unpacked = run(&mut tar);
        if !unpacking.wait().map_err(at(archive))?.success() {
            let words = format!("it cannot read {}", archive.display());
            return Err(ProcessError::Failed { program: "dpkg".to_owned(), words }.into());
        }
        Ok(unpacked?)
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
