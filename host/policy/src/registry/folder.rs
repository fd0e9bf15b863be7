//! The watched folder: a component that is saved there takes its slot.
//!
//! `KIND.wasm` is for the default slot of a kind, with settings in `KIND.json` where there is one. For an override the slot
//! is named in full: `KIND,client=CLIENT.wasm`, `KIND,type=TYPE.wasm`, `KIND,client=CLIENT,type=TYPE.wasm`. A file is taken
//! when it has not changed between two looks; a refused one waits until it is saved again. A file that is removed changes
//! nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ostrakon_wire::{PolicyKind, Slot, Stage};

use super::Inner;
use super::changes::Push;
use super::manifest::{GenerationRecord, Origin};

/// When files were last changed, and their sizes.
type Stamp = Option<(SystemTime, u64)>;

pub(super) struct Watched {
    folder: PathBuf,
    files: HashMap<PathBuf, File>,
    /// Whether it was said that the folder cannot be read.
    complained: bool,
}

struct File {
    seen: [Stamp; 2],
    taken: bool,
    /// It was saved since the host was started.
    saved: bool,
}

impl Watched {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: HashMap::new(), complained: false }
    }

    pub(super) fn look(&mut self, inner: &Arc<Inner>) {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(folder = %self.folder.display(), %error, "the policy folder cannot be read");
                }
                return;
            }
        };
        self.complained = false;
        for path in entries.flatten().map(|entry| entry.path()) {
            let Some(slot) = slot_of(&path) else { continue };
            let settings = path.with_extension("json");
            let seen = [stamp(&path), stamp(&settings)];
            let unseen = File { seen: [None, None], taken: false, saved: false };
            let file = self.files.entry(path.clone()).or_insert(unseen);
            if file.seen != seen {
                // The first look is no save: it lay there before.
                let saved = file.seen[0].is_some();
                *file = File { seen, taken: false, saved: file.saved || saved };
            } else if !file.taken {
                file.taken = true;
                let (inner, saved) = (Arc::clone(inner), file.saved);
                // What takes long to compile keeps nobody from giving up what is bad.
                let taking = move || take(&inner, &slot, &path, &settings, saved);
                if let Err(error) = std::thread::Builder::new().name("policy-folder".into()).spawn(taking) {
                    tracing::warn!(%error, "a saved policy is not taken");
                }
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Puts a file in, unless its slot has just that.
fn take(inner: &Inner, slot: &Slot, component: &Path, settings: &Path, saved: bool) {
    let refused = |why: String| tracing::warn!(file = %component.display(), %slot, %why, "a policy is refused");
    let bytes = match std::fs::read(component) {
        Ok(bytes) => bytes,
        Err(error) => return refused(error.to_string()),
    };
    let settings = match std::fs::read_to_string(settings) {
        Ok(settings) => settings,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "{}".to_owned(),
        Err(error) => return refused(format!("{}: {error}", settings.display())),
    };
    let digest = match inner.components.keep(&bytes) {
        Ok(digest) => digest,
        Err(error) => return refused(error.to_string()),
    };
    if inner.has(slot, &digest, &settings, saved) {
        return;
    }
    let push = Push {
        digest: Some(digest),
        settings: Some(&settings),
        stage: Stage::Serve,
        slow_us: None,
        origin: Origin::Folder,
    };
    match inner.push(slot, &push, Some("policy-dir")) {
        Ok(generation) => tracing::info!(file = %component.display(), %slot, generation, "a saved policy decides"),
        Err(error) => refused(error.to_string()),
    }
}

impl Inner {
    /// Whether just this decides in a slot; or was the last that the folder put there, and somebody thought better of it
    /// since: that is not undone by a start.
    fn has(&self, slot: &Slot, digest: &str, settings: &str, saved: bool) -> bool {
        let state = self.state.lock();
        let manifest = &state.manifest;
        let is_it = |record: &GenerationRecord| record.digest == digest && record.settings == settings;
        let active = manifest.slot(slot).and_then(|record| manifest.generation(slot.kind, record.active));
        let of_folder = |record: &&GenerationRecord| record.slot == *slot && record.origin == Origin::Folder;
        let last = manifest.generations.iter().rev().find(of_folder);
        active.is_some_and(is_it) || !saved && last.is_some_and(is_it)
    }
}

/// The slot that a file is named for.
fn slot_of(path: &Path) -> Option<Slot> {
    if path.extension()? != "wasm" {
        return None;
    }
    let mut parts = path.file_stem()?.to_str()?.split(',');
    let mut slot = Slot::default_of(PolicyKind::from_name(parts.next()?)?);
    for part in parts {
        match part.split_once('=')? {
            ("client", client) => slot.client = Some(client.to_owned()),
            ("type", data_type) => slot.data_type = Some(data_type.to_owned()),
            _ => return None,
        }
    }
    Some(slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_another_slot_than_its_name_says() {
        let slot = |name: &str| slot_of(Path::new(name)).map(|slot| slot.to_string());
        assert_eq!(slot("d/shard-key.wasm").as_deref(), Some("shard-key"));
        assert_eq!(slot("prediction,client=acme.wasm").as_deref(), Some("prediction client=acme"));
        assert_eq!(
            slot("reconciliation,client=a.b,type=disk.wasm").as_deref(),
            Some("reconciliation client=a.b type=disk")
        );
        for other in ["shard-key.wat", "shard.wasm", "shard-key,clients=a.wasm", "shard-key,x.wasm", ".wasm"] {
            assert_eq!(slot(other), None, "{other}");
        }
    }
}
