//! What was done to slots and what happened to them, as told by `policy history`: lines of JSON, the latest last.
//!
//! Lines are appended and not synced: the last one also stands in the manifest, which is, and is written again where it is
//! missing. Once there are twice as many as are kept the older half goes.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::manifest::Event;
use crate::bounds::EVENTS_KEPT;

/// Its name, in the policies' folder.
pub(super) const FILE: &str = "history.jsonl";

pub(super) struct History {
    path: PathBuf,
    file: File,
    /// Lines in the file.
    lines: usize,
    events: VecDeque<Event>,
}

impl History {
    /// Opens the file, and adds the last event where that is missing. A line that cannot be read, as one that was cut off, is
    /// passed over.
    pub(super) fn open(path: &Path, last: Option<&Event>) -> std::io::Result<Self> {
        let text = match std::fs::read(path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let events: VecDeque<Event> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let mut history = Self { path: path.to_owned(), file, lines: text.lines().count(), events };
        if !text.is_empty() && !text.ends_with('\n') {
            history.file.write_all(b"\n")?;
        }
        if let Some(last) = last.filter(|last| !history.events.contains(last)) {
            history.add(last.clone());
        }
        Ok(history)
    }

    /// Adds an event. One that cannot be written is remembered as long as the host runs.
    pub(super) fn add(&mut self, event: Event) {
        self.events.push_back(event);
        let too_many = self.events.len().saturating_sub(EVENTS_KEPT);
        self.events.drain(..too_many);
        let written = if self.lines >= 2 * EVENTS_KEPT { self.rewrite() } else { self.append() };
        if let Err(error) = written {
            tracing::warn!(file = %self.path.display(), %error, "what was done to policies cannot be written down");
        }
    }

    /// The events, the latest first.
    pub(super) fn latest_first(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().rev()
    }

    fn append(&mut self) -> std::io::Result<()> {
        let Some(event) = self.events.back() else { return Ok(()) };
        self.lines += 1;
        self.file.write_all(&line(event))
    }

    fn rewrite(&mut self) -> std::io::Result<()> {
        let draft = self.path.with_extension("draft");
        let all: Vec<u8> = self.events.iter().flat_map(line).collect();
        std::fs::write(&draft, all)?;
        std::fs::rename(&draft, &self.path)?;
        self.file = OpenOptions::new().append(true).open(&self.path)?;
        self.lines = self.events.len();
        Ok(())
    }
}

fn line(event: &Event) -> Vec<u8> {
    let mut line = serde_json::to_vec(event).expect("names and numbers can be written as JSON");
    line.push(b'\n');
    line
}
