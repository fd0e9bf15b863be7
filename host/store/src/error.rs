//! What can go wrong with the store, an operation at a time.

use std::path::PathBuf;

use ostrakon_wire::{Revision, ShardId};

use crate::record::DamagedRecord;

/// Why a data folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another host has it open.
    #[error("{} is in use by another host", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder or a file in it cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It was written by a later release.
    #[error("{} has format {found}; this release reads format {known} and older", path.display())]
    NewerFormat {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format of this release.
        known: u32,
    },
    /// What stands in it under the names that a host uses is not a host's.
    #[error("{} is no data folder: it holds a FORMAT file or a store folder that no host made", path.display())]
    NotADataFolder {
        /// The folder.
        path: PathBuf,
    },
    /// No host ever stored anything in it.
    #[error("{} holds no store: no host has run on it", path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
    },
    /// A keyspace that every folder has is gone.
    #[error("{}: the keyspace {name} is missing", path.display())]
    MissingKeyspace {
        /// The folder.
        path: PathBuf,
        /// Its name.
        name: &'static str,
    },
    /// The log has a hole: commits that were acknowledged are gone.
    #[error("{}: the log has a hole: revision {found} stands where {expected} belongs", path.display())]
    LogHole {
        /// The folder.
        path: PathBuf,
        /// What must come next.
        expected: Revision,
        /// What comes next.
        found: Revision,
    },
    /// The log ends before what was acknowledged.
    #[error("{}: the log ends at revision {found}; changes up to revision {acknowledged} were acknowledged", path.display())]
    LostEnd {
        /// The folder.
        path: PathBuf,
        /// What the log must reach.
        acknowledged: Revision,
        /// What it reaches.
        found: Revision,
    },
    /// A file of the store is damaged or gone.
    #[error("{}: {} is damaged: {what}", path.display(), file.strip_prefix(path).unwrap_or(file).display())]
    DamagedFile {
        /// The folder.
        path: PathBuf,
        /// The file.
        file: PathBuf,
        /// How.
        what: String,
    },
    /// A record is damaged.
    #[error("{}: {source}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// Which one, and how.
        source: DamagedRecord,
    },
    /// The engine below cannot read its files.
    #[error("{}: the files of the store are damaged: {source}", path.display())]
    Engine {
        /// The folder.
        path: PathBuf,
        /// What it says.
        source: fjall::Error,
    },
}

/// Why something that is stored cannot be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// A record is damaged.
    #[error(transparent)]
    Damaged(#[from] DamagedRecord),
    /// The engine below cannot read its files.
    #[error("the files of the store cannot be read: {0}")]
    Engine(String),
    /// As many reads wait as may.
    #[error("too many reads are waiting")]
    Busy,
    /// A shard that is to be copied cannot keep up with what is written: some other time.
    #[error("shard {0} is held back until its flushes have kept up")]
    Held(ShardId),
    /// The shard is set aside.
    #[error("shard {0} is set aside: its files were damaged or gone when the host started")]
    NoShard(ShardId),
}

impl From<fjall::Error> for ReadError {
    fn from(error: fjall::Error) -> Self {
        Self::Engine(error.to_string())
    }
}

/// Why a change is not durable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Its shard is not served here, or what was to be moved cannot be read; it was not written.
    #[error("the shard is not served, or cannot be read")]
    Fenced,
    /// A persist failed, now or before; nothing is written until the host is restarted.
    #[error("the store takes no writes since a persist failed; whether this change was made is known after a restart")]
    Failed,
    /// The committing thread is gone.
    #[error("the committing thread is gone; whether this change was made is known after a restart")]
    Stopped,
}
