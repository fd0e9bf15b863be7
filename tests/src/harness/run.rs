//! Runs the binary to its end, with a bound, and keeps what it said.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::ostrakon;

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The exit code; `None` where a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The one line of JSON on standard output.
    pub(crate) fn json(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "one object on one line: {self:?}");
        lines.into_iter().next().unwrap()
    }

    /// Every line of standard output, as JSON.
    pub(crate) fn lines(&self) -> Vec<Value> {
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {self:?}"));
        self.stdout.lines().map(read).collect()
    }

    /// The same run, held to an exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// The binary with arguments, without what the environment of the tests may say.
pub(crate) fn command<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(ostrakon());
    command
        .args(args)
        .env_remove("OSTRAKON_DATA_DIR")
        .env_remove("OSTRAKON_LOG")
        .env_remove("OTEL_EXPORTER_OTLP_ENDPOINT")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs the binary with arguments; `data_dir` goes into the environment.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(data_dir: Option<&Path>, args: impl IntoIterator<Item = A>) -> Ran {
    let mut command = command(args);
    if let Some(folder) = data_dir {
        command.env("OSTRAKON_DATA_DIR", folder);
    }
    finish(command.spawn().unwrap(), Duration::from_secs(90))
}

/// Waits for the end of a process whose output is piped; ends it itself when it takes too long.
pub(crate) fn finish(mut child: Child, bound: Duration) -> Ran {
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let status = wait(&mut child, bound);
    let said = |collecting: Option<JoinHandle<String>>| collecting.map_or(String::new(), |text| text.join().unwrap());
    let (stdout, stderr) = (said(stdout), said(stderr));
    let Some(code) = status else {
        panic!("not ended within {bound:?}; it said {stdout:?} and {stderr:?}");
    };
    Ran { code, stdout, stderr }
}

/// The exit code; `None` when the process had to be ended.
pub(crate) fn wait(child: &mut Child, bound: Duration) -> Option<Option<i32>> {
    let due = Instant::now() + bound;
    while Instant::now() < due {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status.code());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

fn collect(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
