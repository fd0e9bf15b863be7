//! Hosts: the real binary, serving a temporary folder.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use ostrakon_bench::crash::shim::Shim;
use ostrakon_client::{Client, ClientConfig, HostFile};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::authority::{Authority, server};
use super::run::{command, wait};
use super::{BOUND, Ran, finish, run};

/// A folder that hosts run in, one after the other. It goes when this value goes.
pub(crate) struct Folder {
    all: TempDir,
    starts: AtomicU32,
}

/// A host that serves; it is killed when this value goes.
pub(crate) struct Host {
    /// What it said about itself when it was ready.
    pub(crate) file: HostFile,
    data: PathBuf,
    stderr: PathBuf,
    child: Child,
    control: Mutex<Control>,
}

/// The lines that go to a host and come from it.
struct Control {
    stdin: ChildStdin,
    stdout: Receiver<String>,
}

impl Folder {
    /// Reads all of it, and holds it against itself.
    pub(crate) fn check(&self) -> Ran {
        run(None, ["check", "--data-dir", self.data().to_str().unwrap()])
    }

    pub(crate) fn new() -> Self {
        Self::inside(&std::env::temp_dir())
    }

    /// One inside another folder.
    pub(crate) fn inside(folder: &Path) -> Self {
        Self { all: tempfile::tempdir_in(folder).unwrap(), starts: AtomicU32::new(0) }
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.all.path().join("data")
    }

    /// The folder that it stands in.
    pub(crate) fn all(&self) -> &Path {
        self.all.path()
    }

    /// A file beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.all.path().join(name)
    }

    /// Starts a host and waits until it serves.
    pub(crate) fn serve(&self) -> Host {
        self.serve_with::<&str>(&[])
    }

    /// The same, with more arguments.
    pub(crate) fn serve_with<A: AsRef<std::ffi::OsStr>>(&self, more: &[A]) -> Host {
        let host = self.begin(more, &[]);
        host.unwrap_or_else(|ran| panic!("the host did not start: {ran:?}"))
    }

    /// Starts a host on a disk that a shim plays, and waits until it serves.
    pub(crate) fn serve_on(&self, shim: &Shim) -> Host {
        self.serve_under::<&str>(&[], &shim.variables().unwrap())
    }

    /// Starts a host with more arguments and variables, and waits until it serves.
    pub(crate) fn serve_under<A: AsRef<std::ffi::OsStr>>(&self, more: &[A], variables: &[(&str, PathBuf)]) -> Host {
        let host = self.begin(more, variables);
        host.unwrap_or_else(|ran| panic!("the host did not start: {ran:?}"))
    }

    /// A host whose deadlines are lowered, as in `hello=500,write=800` (milliseconds).
    pub(crate) fn serve_in_haste(&self, deadlines_ms: &str) -> Host {
        let host = self.begin::<&str>(&[], &[("OSTRAKON_TEST_DEADLINES_MS", deadlines_ms.into())]);
        host.unwrap_or_else(|ran| panic!("the host did not start: {ran:?}"))
    }

    /// A host with a certificate of this authority, which serves its clients.
    pub(crate) fn serve_of(&self, authority: &Authority) -> Host {
        let (cert, key) = authority.issue(server());
        let files = [("--cert", cert.pem()), ("--key", key.serialize_pem()), ("--client-ca", authority.pem())];
        let more = files.map(|(flag, content)| {
            let path = self.beside(&format!("own{flag}.pem"));
            std::fs::write(&path, content).unwrap();
            [flag.into(), path.into_os_string()]
        });
        self.serve_with(more.as_flattened())
    }

    /// How a start ends that is refused.
    pub(crate) fn refused<A: AsRef<std::ffi::OsStr>>(&self, more: &[A]) -> Ran {
        match self.begin(more, &[]) {
            Err(ran) => ran,
            Ok(_) => panic!("the host serves"),
        }
    }

    fn begin<A: AsRef<std::ffi::OsStr>>(&self, more: &[A], variables: &[(&str, PathBuf)]) -> Result<Host, Ran> {
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let ready = self.beside(&format!("ready-{start}.json"));
        let stderr = self.beside(&format!("stderr-{start}"));
        let mut child = command(arguments(&self.data(), &ready, more))
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        let due = Instant::now() + BOUND;
        while !ready.exists() {
            let ended = child.try_wait().unwrap().is_some();
            if ended || Instant::now() > due {
                let mut ran = finish(child, if ended { BOUND } else { Duration::ZERO });
                ran.stderr = std::fs::read_to_string(&stderr).unwrap();
                return Err(ran);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let file = serde_json::from_str(&std::fs::read_to_string(&ready).unwrap()).unwrap();
        let control = Mutex::new(Control::of(&mut child));
        Ok(Host { file, data: self.data(), stderr, child, control })
    }
}

fn arguments<A: AsRef<std::ffi::OsStr>>(data: &Path, ready: &Path, more: &[A]) -> Vec<OsString> {
    let mut all: Vec<OsString> = ["serve", "--data-dir"].map(Into::into).into();
    all.push(data.into());
    let has = |flag: &str| more.iter().any(|argument| argument.as_ref() == flag);
    if !has("--cert") {
        all.push("--dev".into());
    }
    if !has("--listen") {
        all.extend(["--listen".into(), "127.0.0.1:0".into()]);
    }
    all.push("--ready-file".into());
    all.push(ready.into());
    all.extend(more.iter().map(|argument| argument.as_ref().to_owned()));
    all
}

impl Control {
    fn of(child: &mut Child) -> Self {
        let (send, stdout) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { stdin: child.stdin.take().unwrap(), stdout }
    }
}

impl Host {
    /// How to connect to it as its own client.
    pub(crate) fn config(&self) -> ClientConfig {
        ClientConfig::of_host(&self.file).unwrap()
    }

    /// A connection of its own.
    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.config()).await.unwrap()
    }

    /// Its data folder.
    pub(crate) fn data(&self) -> &Path {
        &self.data
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Tells it something that only a build for tests listens to, and waits for the answer.
    pub(crate) fn control(&self, line: &Value) -> Value {
        let mut control = self.control.lock().unwrap();
        writeln!(control.stdin, "{line}").unwrap();
        loop {
            let line = control.stdout.recv_timeout(BOUND);
            let line = line.unwrap_or_else(|error| panic!("{error}: {}", self.stderr()));
            if line.starts_with('{') {
                return serde_json::from_str(&line).unwrap();
            }
        }
    }

    /// Puts a component into a slot and answers its generation.
    pub(crate) fn swap(&self, kind: &str, component: &Path) -> u64 {
        let answer = self.control(&json!({ "swap": kind, "file": component }));
        assert_eq!(answer["swapped"], kind, "{answer}");
        answer["generation"].as_u64().unwrap()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let line = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success());
    }

    /// Waits for its end; the exit code, `None` where a signal ended it.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        let code = wait(&mut self.child, BOUND);
        code.unwrap_or_else(|| panic!("the host did not end: {}", self.stderr()))
    }

    /// Stops it as an operator would, and holds it to exit code 0.
    pub(crate) fn stop(mut self) {
        self.signal("TERM");
        assert_eq!(self.ended(), Some(0), "{}", self.stderr());
    }

    /// Ends it without a warning.
    pub(crate) fn kill(self) {
        drop(self);
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the host's standard error: {:?}", self.stderr());
        }
    }
}

/// A host that several tests use at the same time, each under client ids of its own. It lives while one of them does.
pub(crate) struct Shared {
    host: Host,
    // Goes after the host.
    _folder: Folder,
}

impl Deref for Shared {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

/// The host that is shared now.
pub(crate) fn shared() -> Arc<Shared> {
    static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    shared.upgrade().unwrap_or_else(|| {
        let folder = Folder::new();
        let host = folder.serve();
        let fresh = Arc::new(Shared { host, _folder: folder });
        *shared = Arc::downgrade(&fresh);
        fresh
    })
}
