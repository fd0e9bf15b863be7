//! The components that a host was given, by digest, and those that are on their way to it.
//!
//! `components/DIGEST.wasm` is whole: it was written under another name and held against its digest before; when it is
//! read it is held against it again. `uploads/`
//! holds a few that are half here; the one that waited longest makes room.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use ostrakon_wire::UploadComponent;
use parking_lot::Mutex;

use crate::bounds::{UNNAMED_KEPT_S, UPLOADS_MAX};
use crate::cache::digest_of;
use crate::hex::hex;
use crate::load::Whole;
use crate::shipped::shipped_as;

/// Why a part of a component is not taken.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The component is larger than one may be.
    #[error("the component has {bytes} bytes; at most {bytes_max} are allowed")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The bound.
        bytes_max: usize,
    },
    /// The part reaches beyond the component's end.
    #[error("a part that reaches beyond the component's {size} bytes")]
    BeyondEnd {
        /// The size that was told.
        size: u64,
    },
    /// The parts together are not what was announced.
    #[error("the parts together have another digest than the one announced; send them again")]
    OtherDigest,
    /// The folder cannot be used.
    #[error("the component cannot be kept: {0}")]
    Io(#[from] std::io::Error),
}

pub(crate) struct Components {
    whole: PathBuf,
    uploads: PathBuf,
    /// Held while a part is written.
    writing: Mutex<()>,
}

impl Components {
    pub(crate) fn open(folder: &Path) -> std::io::Result<Self> {
        let (whole, uploads) = (folder.join("components"), folder.join("uploads"));
        fs::create_dir_all(&whole)?;
        fs::create_dir_all(&uploads)?;
        Ok(Self { whole, uploads, writing: Mutex::new(()) })
    }

    fn file(&self, digest: &str) -> PathBuf {
        self.whole.join(digest).with_extension("wasm")
    }

    fn is_here(&self, digest: &str, size: u64) -> bool {
        fs::metadata(self.file(digest)).is_ok_and(|it| it.len() == size)
    }

    /// Whether the component of this digest is here.
    pub(crate) fn has(&self, digest: &str) -> bool {
        shipped_as(digest).is_some() || self.file(digest).exists()
    }

    /// The component of this digest, if it is here, and is what it was.
    pub(crate) fn read(&self, digest: &str) -> std::io::Result<Option<Whole>> {
        if let Some(shipped) = shipped_as(digest) {
            return Ok(Some(Whole { digest: digest.to_owned(), bytes: shipped.bytes.into() }));
        }
        let bytes = match fs::read(self.file(digest)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if digest_of(&bytes) == digest {
            return Ok(Some(Whole { digest: digest.to_owned(), bytes: bytes.into() }));
        }
        tracing::error!(digest, "a component's file is damaged, and removed: it can be sent again");
        fs::remove_file(self.file(digest))?;
        Ok(None)
    }

    /// Keeps a component; answers its digest.
    pub(crate) fn keep(&self, bytes: &[u8]) -> std::io::Result<String> {
        let digest = digest_of(bytes);
        self.keep_as(&digest, bytes)?;
        Ok(digest)
    }

    /// Keeps a component whose digest this is, if it is not here.
    pub(crate) fn keep_as(&self, digest: &str, bytes: &[u8]) -> std::io::Result<()> {
        if self.is_here(digest, bytes.len() as u64) {
            return Ok(());
        }
        let _writing = self.writing.lock();
        let draft = self.uploads.join(format!("{digest}.draft"));
        let mut out = fs::File::create(&draft)?;
        out.write_all(bytes)?;
        self.put(&out, &draft, digest)
    }

    /// One sync for content and name: each has the file system write its own journal, which commits of objects wait for.
    /// What a power cut leaves of it no manifest names yet, and its digest shows.
    fn put(&self, out: &fs::File, draft: &Path, digest: &str) -> std::io::Result<()> {
        fs::rename(draft, self.file(digest))?;
        out.sync_all()
    }

    /// Takes a part; answers how much of the component is here, from its beginning on.
    pub(crate) fn upload(&self, upload: &UploadComponent, bytes_max: usize) -> Result<u64, UploadError> {
        let UploadComponent { digest, size, offset, part } = upload;
        if *size > bytes_max as u64 {
            return Err(UploadError::TooLarge { bytes: *size, bytes_max });
        }
        if offset.checked_add(part.len() as u64).is_none_or(|end| end > *size) {
            return Err(UploadError::BeyondEnd { size: *size });
        }
        let digest = hex(digest);
        let _writing = self.writing.lock();
        if self.is_here(&digest, *size) {
            return Ok(*size);
        }
        let draft = self.uploads.join(format!("{digest}.part"));
        let mut here = fs::metadata(&draft).map_or(0, |it| it.len());
        // All of it may be here and not held against its digest: the host was ended then.
        let is_all_here = here == *size;
        // A part that was sent twice, or out of turn: the answer says where to go on.
        if !is_all_here && (part.is_empty() || *offset != here) {
            return Ok(here);
        }
        self.make_room(&draft)?;
        let mut out = OpenOptions::new().create(true).truncate(false).write(true).open(&draft)?;
        if !is_all_here {
            out.seek(SeekFrom::Start(here))?;
            out.write_all(part)?;
            here += part.len() as u64;
        }
        if here == *size {
            if digest_of(&fs::read(&draft)?) != digest {
                fs::remove_file(&draft)?;
                return Err(UploadError::OtherDigest);
            }
            self.put(&out, &draft, &digest)?;
        }
        Ok(here)
    }

    fn make_room(&self, draft: &Path) -> std::io::Result<()> {
        let mut waiting = Vec::new();
        for entry in fs::read_dir(&self.uploads)? {
            let entry = entry?;
            if entry.path() != draft {
                waiting.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        waiting.sort();
        let too_many = (waiting.len() + 1).saturating_sub(UPLOADS_MAX);
        waiting.iter().take(too_many).try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Removes the components that are none of these, but for those that have just come. What cannot be removed stays.
    pub(crate) fn retain(&self, needed: &HashSet<String>) {
        let _writing = self.writing.lock();
        let entries = fs::read_dir(&self.whole).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            let named = path.file_stem().and_then(|stem| stem.to_str());
            let age = fs::metadata(&path).and_then(|it| it.modified()).ok().and_then(|at| at.elapsed().ok());
            let is_old = age.is_some_and(|age| age.as_secs() >= UNNAMED_KEPT_S);
            if is_old && named.is_some_and(|digest| !needed.contains(digest)) {
                let _ = fs::remove_file(path);
            }
        }
    }
}
