//! Compiled components, so that one that was compiled before is ready at once.
//!
//! What was compiled is machine code, and runs whatever it says. So an entry is taken only if this host wrote it: it stands
//! in a folder that is the host's alone, and ends in a code of its bytes under a key that is made with the folder. Its name
//! holds the component's digest and what the engine is compatible with. Where anything is in doubt the component is compiled
//! again, and the entry written anew.

use std::collections::VecDeque;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hmac::{Hmac, Mac as _};
use parking_lot::Mutex;
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::bounds::COMPILED_KEPT_BYTES;
use crate::error::LoadError;
use crate::hex::hex;

type Code = Hmac<Sha256>;

const CODE_BYTES: usize = 32;
const KEY_BYTES: usize = 32;
/// A folder holds at most so many entries; the oldest make room.
const ENTRIES_MAX: usize = 64;

/// Compiled components in memory, and on disk once there is a folder.
#[derive(Default)]
pub(crate) struct Cache {
    folder: OnceLock<Folder>,
    recent: Mutex<VecDeque<Recent>>,
}

struct Folder {
    path: PathBuf,
    key: [u8; KEY_BYTES],
}

struct Recent {
    digest: String,
    bytes: usize,
    component: Component,
}

/// Why an entry is not taken.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error("it cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("it is not this user's, or others may write to it")]
    NotPrivate,
    #[error("this host did not write it")]
    Forged,
    #[error("the engine does not take it: {0}")]
    Engine(String),
}

/// Where a component came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compiled {
    Before,
    Now,
}

impl Cache {
    /// From now on in a folder as well, which is made if it is missing. Where its key is not a key, everything in it is
    /// compiled again.
    pub(crate) fn keep_in(&self, engine: &Engine, path: &Path) -> std::io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let key = key_of(&path.join("key"))?;
        let folder = self.folder.get_or_init(|| Folder { path: path.to_owned(), key });
        for Recent { digest, component, .. } in &*self.recent.lock() {
            if !folder.file(engine, digest).exists() {
                folder.write(engine, digest, component);
            }
        }
        Ok(())
    }

    /// The component of these bytes, whose digest this is.
    pub(crate) fn component(
        &self,
        engine: &Engine,
        digest: &str,
        bytes: &[u8],
    ) -> Result<(Component, Compiled), LoadError> {
        if let Some(component) = self.recent(digest) {
            return Ok((component, Compiled::Before));
        }
        if let Some((component, size)) = self.folder.get().and_then(|folder| folder.read(engine, digest)) {
            self.keep(digest, size, &component);
            return Ok((component, Compiled::Before));
        }
        let component = compile(engine, bytes)?;
        let size = match self.folder.get() {
            Some(folder) => folder.write(engine, digest, &component),
            None => bytes.len() * 4,
        };
        self.keep(digest, size, &component);
        Ok((component, Compiled::Now))
    }

    /// The component of this digest, if it is in memory; it is used now.
    pub(crate) fn recent(&self, digest: &str) -> Option<Component> {
        let mut recent = self.recent.lock();
        let at = recent.iter().position(|kept| kept.digest == digest)?;
        let kept = recent.remove(at)?;
        let component = kept.component.clone();
        recent.push_back(kept);
        Some(component)
    }

    fn keep(&self, digest: &str, bytes: usize, component: &Component) {
        let mut recent = self.recent.lock();
        recent.push_back(Recent { digest: digest.to_owned(), bytes, component: component.clone() });
        while recent.len() > 1 && recent.iter().map(|kept| kept.bytes).sum::<usize>() > COMPILED_KEPT_BYTES {
            recent.pop_front();
        }
    }
}

impl Folder {
    fn file(&self, engine: &Engine, digest: &str) -> PathBuf {
        use std::hash::{Hash as _, Hasher as _};
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.path.join(format!("{digest}-{:016x}", hasher.finish()))
    }

    /// The code of an entry: its name is a part of it, so that one entry cannot stand for another.
    fn code(&self, file: &Path, artifact: &[u8]) -> Code {
        let mut code = Code::new_from_slice(&self.key).expect("a key of any length will do");
        code.update(file.file_name().map_or(&[][..], |name| name.as_encoded_bytes()));
        code.update(artifact);
        code
    }

    fn read(&self, engine: &Engine, digest: &str) -> Option<(Component, usize)> {
        let file = self.file(engine, digest);
        let doubt = match self.read_checked(engine, &file) {
            Ok(read) => return Some(read),
            Err(Doubt::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(doubt) => doubt,
        };
        tracing::warn!(file = %file.display(), %doubt, "a compiled policy is not taken from the cache, but compiled again");
        None
    }

    fn read_checked(&self, engine: &Engine, file: &Path) -> Result<(Component, usize), Doubt> {
        if !is_private(&fs::symlink_metadata(file)?) {
            return Err(Doubt::NotPrivate);
        }
        let bytes = fs::read(file)?;
        let (artifact, code) = bytes.split_at_checked(bytes.len().saturating_sub(CODE_BYTES)).ok_or(Doubt::Forged)?;
        self.code(file, artifact).verify_slice(code).map_err(|_| Doubt::Forged)?;
        Ok((deserialize(engine, artifact).map_err(|error| Doubt::Engine(format!("{error:#}")))?, artifact.len()))
    }

    /// Writes an entry; one that cannot be written is made again the next time. Answers its size.
    fn write(&self, engine: &Engine, digest: &str, component: &Component) -> usize {
        let Ok(artifact) = component.serialize() else { return 0 };
        let file = self.file(engine, digest);
        let code = self.code(&file, &artifact).finalize().into_bytes();
        let written = self.make_room().and_then(|()| write_private(&file, &[&artifact, &code], false));
        if let Err(error) = written {
            tracing::warn!(file = %file.display(), %error, "a compiled policy cannot be kept");
        }
        artifact.len()
    }

    fn make_room(&self) -> std::io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name() != "key" {
                entries.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        entries.sort();
        let too_many = (entries.len() + 1).saturating_sub(ENTRIES_MAX);
        entries.iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

/// Compiles; a compiler that does not survive a component refuses it.
fn compile(engine: &Engine, bytes: &[u8]) -> Result<Component, LoadError> {
    let compile = || Component::from_binary(engine, bytes);
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(compile)) {
        Ok(compiled) => compiled.map_err(|error| LoadError::malformed(&error)),
        Err(_) => Err(LoadError::Malformed("the compiler cannot cope with it".to_owned())),
    }
}

/// The one place where bytes become code.
#[allow(unsafe_code, reason = "the bytes were written by this host for this engine: their code was verified")]
fn deserialize(engine: &Engine, artifact: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the caller has verified that `serialize` of this host made these bytes and that nobody changed them since; the
    // engine itself holds them against its version and configuration.
    unsafe { Component::deserialize(engine, artifact) }
}

/// Whether a file is this user's, a plain one, and nobody else may write to it.
fn is_private(metadata: &fs::Metadata) -> bool {
    let user = rustix::process::geteuid().as_raw();
    metadata.is_file() && metadata.uid() == user && metadata.mode() & 0o022 == 0
}

fn key_of(file: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    if let Ok(metadata) = fs::symlink_metadata(file)
        && is_private(&metadata)
        && let Ok(key) = <[u8; KEY_BYTES]>::try_from(fs::read(file)?)
    {
        return Ok(key);
    }
    let mut key = [0; KEY_BYTES];
    let filled = rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty())?;
    assert_eq!(filled, KEY_BYTES, "so few bytes come at once");
    write_private(file, &[&key], true)?;
    Ok(key)
}

/// Writes a file that is this user's alone. Without a sync a power cut may leave less of it, which its code shows.
fn write_private(file: &Path, parts: &[&[u8]], lasting: bool) -> std::io::Result<()> {
    let mut draft = file.as_os_str().to_owned();
    draft.push(".draft");
    let _ = fs::remove_file(&draft);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    parts.iter().try_for_each(|part| out.write_all(part))?;
    if lasting {
        out.sync_data()?;
    }
    fs::rename(&draft, file)
}

/// SHA-256 of a component, in hexadecimal.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&Sha256::digest(bytes))
}
