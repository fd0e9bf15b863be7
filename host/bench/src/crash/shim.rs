//! Power cuts and failing disks, played to a host by a shim that is preloaded into it (see `shim/power.c`, where the model
//! stands).

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// How long the host may take until the shim listens.
const LISTEN_DEADLINE: Duration = Duration::from_secs(10);
/// How long a sync takes: enough that some group is always between its write and the end of its sync.
const SYNC_US: u32 = 1_000;

/// With which code a host ends at a cut.
pub const EXIT_CUT: i32 = 86;

/// What fails from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    /// Syncs, with an error of the device.
    Sync,
    /// Writes and new files, as on a full disk.
    Full,
}

/// What a cut has undone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Undone {
    /// Writes that were not synced.
    pub writes: u64,
    /// Pages of them that survived all the same.
    pub pages: u64,
    /// Names that were not synced.
    pub names: u64,
}

/// A shim that was compiled, for the hosts of one folder, one after the other.
pub struct Shim {
    library: PathBuf,
    socket: PathBuf,
    graves: PathBuf,
    root: PathBuf,
}

impl Shim {
    /// Compiles the shim into `folder`, for hosts whose data is in `folder/data`.
    ///
    /// # Errors
    /// On other systems than Linux on x86-64, and without a C compiler.
    pub fn compile(folder: &Path) -> anyhow::Result<Self> {
        ensure!(
            cfg!(all(target_os = "linux", target_arch = "x86_64")),
            "power cuts can be played on Linux on x86-64 alone"
        );
        let folder = folder.canonicalize()?;
        let library = folder.join("power.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("shim/power.c");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let compiled = Command::new(&compiler)
            .args(["-O2", "-shared", "-fPIC", "-pthread", "-o"])
            .arg(&library)
            .arg(source)
            .status()
            .with_context(|| {
                format!("power cuts need a C compiler, and {compiler:?} cannot be started (CC names another)")
            })?;
        ensure!(compiled.success(), "the shim for power cuts does not compile");
        Ok(Self {
            library,
            socket: folder.join("power.sock"),
            graves: folder.join("graves"),
            root: folder.join("data"),
        })
    }

    /// Makes ready for the next host; answers the variables that it must be started with.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub fn variables(&self) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        // A host that ran here before left its own.
        let _ = std::fs::remove_file(&self.socket);
        let _ = std::fs::remove_dir_all(&self.graves);
        std::fs::create_dir(&self.graves)?;
        Ok(vec![
            ("LD_PRELOAD", self.library.clone()),
            ("POWER_ROOT", self.root.clone()),
            ("POWER_GRAVE", self.graves.clone()),
            ("POWER_SOCKET", self.socket.clone()),
            ("POWER_SYNC_US", SYNC_US.to_string().into()),
        ])
    }

    /// Cuts the power; the host then ends by itself, with [`EXIT_CUT`]. With a seed, some of what was not synced survives.
    ///
    /// # Errors
    /// When the shim does not answer: the host has ended before.
    pub fn cut(&self, torn: Option<u64>) -> anyhow::Result<Undone> {
        let answer = self.tell(&torn.map_or("cut".into(), |seed| format!("torn {seed}")))?;
        let numbers: Vec<u64> = answer.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [writes, pages, names] = numbers[..] else { bail!("the shim answers {answer:?}") };
        Ok(Undone { writes, pages, names })
    }

    /// Makes calls of a kind fail from now on.
    ///
    /// # Errors
    /// When the shim does not answer.
    pub fn fail(&self, failing: Failing) -> anyhow::Result<()> {
        const EIO: i32 = 5;
        const ENOSPC: i32 = 28;
        let answer = self.tell(&match failing {
            Failing::Sync => format!("fail sync {EIO}"),
            Failing::Full => format!("fail write {ENOSPC}"),
        })?;
        ensure!(answer == "ok", "the shim answers {answer:?}");
        Ok(())
    }

    fn tell(&self, command: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + LISTEN_DEADLINE;
        let mut stream = loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => return Err(error).context("the shim does not listen"),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        };
        stream.set_read_timeout(Some(LISTEN_DEADLINE))?;
        writeln!(stream, "{command}")?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        ensure!(answer.ends_with('\n'), "the shim answers {answer:?}");
        Ok(answer.trim_end().to_owned())
    }
}
