//! How far changes were acknowledged: a mark beside the store, so that a log that lost its end is told from a shorter one.
//!
//! The mark is written behind each group's sync and is not synced itself. After kill -9 it is exact; after a power cut it
//! may stand lower than the truth, never higher. So the log must always reach it.
//!
//! 16 bytes: the last revision (8, little-endian), xxh3-64 of these (8).

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

use ostrakon_wire::Revision;
use xxhash_rust::xxh3::xxh3_64;

const FILE: &str = "ACKNOWLEDGED";

pub(crate) struct Acknowledged(File);

impl Acknowledged {
    /// Opens the mark of a data folder, or makes it; with what it says. A mark that is damaged says nothing.
    pub(crate) fn open(folder: &Path) -> std::io::Result<(Self, Option<Revision>)> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
        let revision = decode(&bytes);
        if revision.is_none() && !bytes.is_empty() {
            tracing::warn!(
                "the mark of what was acknowledged is damaged: a log that lost its end would not be noticed"
            );
        }
        Ok((Self(file), revision))
    }

    /// Everything up to this revision is durable.
    pub(crate) fn mark(&mut self, revision: Revision) -> std::io::Result<()> {
        self.0.seek(SeekFrom::Start(0))?;
        self.0.write_all(&encode(revision))
    }

    /// Makes the mark itself durable.
    pub(crate) fn sync(&self) -> std::io::Result<()> {
        self.0.sync_data()
    }
}

pub(crate) fn encode(revision: Revision) -> [u8; 16] {
    let number = revision.get().to_le_bytes();
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number);
    bytes[8..].copy_from_slice(&xxh3_64(&number).to_le_bytes());
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Option<Revision> {
    let (number, _) = bytes.split_first_chunk()?;
    let revision = Revision::new(u64::from_le_bytes(*number));
    (bytes == encode(revision)).then_some(revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_mark_says_something() {
        let bytes = encode(Revision::new(7));
        assert_eq!(decode(&bytes), Some(Revision::new(7)));
        assert_eq!(decode(&[]), None);
        for at in 0..bytes.len() {
            let mut flipped = bytes;
            flipped[at] ^= 16;
            assert_eq!(decode(&flipped), None, "flipped at {at}");
        }
    }
}
