//! Files of decisions: their first line, their records, and what becomes of one that is cut off.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::Recorded;

/// The first line of a file; another format has another one.
const HEADER: &[u8] = b"ostrakon decisions 1\n";
/// What the names of files end in.
pub(super) const EXTENSION: &str = "decisions";
/// Longest content of a record: a whole case with its payloads.
const CONTENT_BYTES_MAX: usize = 8 << 20;

/// Why a file of decisions cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecisionsError {
    /// It cannot be read at all.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is none.
    #[error("{}: this is no file of decisions, or one of a later release", file.display())]
    NoDecisions {
        /// The file.
        file: PathBuf,
    },
    /// A record of it is damaged.
    #[error("{}: the record at byte {at} is damaged", file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where the record begins.
        at: usize,
    },
}

/// A file that is written.
pub(super) struct Out {
    file: std::io::BufWriter<File>,
    bytes: u64,
    content: Vec<u8>,
}

impl Out {
    pub(super) fn create(path: &Path) -> std::io::Result<Self> {
        let mut file = std::io::BufWriter::new(File::create(path)?);
        file.write_all(HEADER)?;
        Ok(Self { file, bytes: HEADER.len() as u64, content: Vec::new() })
    }

    pub(super) fn add(&mut self, recorded: &Recorded) -> std::io::Result<()> {
        self.content.clear();
        recorded.write(&mut self.content);
        let len = u32::try_from(self.content.len()).expect("a question has a bound");
        self.file.write_all(&len.to_le_bytes())?;
        self.file.write_all(&checksum(&self.content).to_le_bytes())?;
        self.file.write_all(&self.content)?;
        self.bytes += 8 + u64::from(len);
        Ok(())
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn checksum(content: &[u8]) -> u32 {
    xxh3_64(content) as u32
}

/// The decisions of a file, or of all files of a folder in the order in which they were written. A record that was cut off
/// at the end of a file is passed over.
///
/// # Errors
/// [`DecisionsError`] names the file.
pub fn read_decisions(path: &Path) -> Result<Vec<Recorded>, DecisionsError> {
    let io = |file: &Path, source| DecisionsError::Io { file: file.to_owned(), source };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        let entries = std::fs::read_dir(path).map_err(|error| io(path, error))?;
        files = entries.flatten().map(|entry| entry.path()).collect();
        files.retain(|file| file.extension().is_some_and(|extension| extension == EXTENSION));
        files.sort();
    }
    let mut all = Vec::new();
    for file in files {
        let mut bytes = Vec::new();
        let read = File::open(&file).and_then(|mut open| open.read_to_end(&mut bytes));
        read.map_err(|error| io(&file, error))?;
        read_file(&file, &bytes, &mut all)?;
    }
    Ok(all)
}

fn read_file(file: &Path, bytes: &[u8], all: &mut Vec<Recorded>) -> Result<(), DecisionsError> {
    let no_decisions = || DecisionsError::NoDecisions { file: file.to_owned() };
    let mut rest = bytes.strip_prefix(HEADER).ok_or_else(no_decisions)?;
    loop {
        let damaged = || DecisionsError::Damaged { file: file.to_owned(), at: bytes.len() - rest.len() };
        let Some((head, behind)) = rest.split_first_chunk::<8>() else { return Ok(()) };
        let [len, sum] = [&head[..4], &head[4..]].map(|half| u32::from_le_bytes(half.try_into().expect("four bytes")));
        if len as usize > CONTENT_BYTES_MAX {
            return Err(damaged());
        }
        let Some((content, behind)) = behind.split_at_checked(len as usize) else { return Ok(()) };
        if checksum(content) != sum {
            return Err(damaged());
        }
        all.push(Recorded::read(content).map_err(|_| damaged())?);
        rest = behind;
    }
}
