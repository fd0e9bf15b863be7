//! Files and folders to events in the order they are played: by `eventTime`, then argument order, then place in the file.
//!
//! Everything is parsed before anything is returned, and the first bad file ends it by name: nobody plays half an import.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use serde_json::Value;
use thiserror::Error;

use crate::{
    bounds::FILE_BYTES_MAX,
    event::{Event, RecordError},
    files::{files, is_gzip},
};

/// Why nothing was loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A path that cannot be opened or read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file named on its own that is no `.json` or `.json.gz` file.
    #[error("{}: not a .json or .json.gz file", file.display())]
    Extension {
        /// The file.
        file: PathBuf,
    },
    /// A folder without any such file.
    #[error("{}: no .json or .json.gz file in this folder", folder.display())]
    EmptyFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// A `.json.gz` file that is damaged or cut off.
    #[error("{}: damaged gzip data: {source}", file.display())]
    Gzip {
        /// The file.
        file: PathBuf,
        /// What the decoder said.
        source: io::Error,
    },
    /// A file above the bound on its decompressed size.
    #[error("{}: larger than {FILE_BYTES_MAX} bytes", file.display())]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
    /// A file that is not JSON.
    #[error("{}: not JSON: {source}", file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// Where and why.
        source: serde_json::Error,
    },
    /// JSON without `{"Records": [...]}`.
    #[error("{}: no \"Records\" array", file.display())]
    NoRecords {
        /// The file.
        file: PathBuf,
    },
    /// A record that is not what CloudTrail writes.
    #[error("{}: record {index}: {source}", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Place in `Records`, from 0.
        index: usize,
        /// Why.
        source: RecordError,
    },
}

/// How far a load is, told after every file.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The file just read.
    pub file: &'a Path,
    /// Files read so far, this one included.
    pub files_done: usize,
    /// Files to read.
    pub files: usize,
    /// Events read so far.
    pub events: usize,
}

/// Reads files and folders; see [`load_with`].
pub fn load(paths: &[PathBuf]) -> Result<Vec<Event>, LoadError> {
    load_with(paths, |_| {})
}

/// Reads files and folders (recursive, sorted by path) and tells `progress` after each file. The events come in the order
/// they are to be played.
pub fn load_with(paths: &[PathBuf], mut progress: impl FnMut(Progress<'_>)) -> Result<Vec<Event>, LoadError> {
    let files = files(paths)?;
    let mut events = Vec::new();
    for (done, file) in files.iter().enumerate() {
        events.append(&mut read_file(file)?);
        progress(Progress { file, files_done: done + 1, files: files.len(), events: events.len() });
    }
    events.sort_by_key(|event| event.time_ns);
    Ok(events)
}

fn read_file(path: &Path) -> Result<Vec<Event>, LoadError> {
    let file = || path.to_owned();
    let bytes = read_bounded(path, FILE_BYTES_MAX)?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|source| LoadError::Json { file: file(), source })?;
    drop(bytes);
    let Value::Object(mut json) = json else {
        return Err(LoadError::NoRecords { file: file() });
    };
    let Some(Value::Array(records)) = json.get_mut("Records").map(Value::take) else {
        return Err(LoadError::NoRecords { file: file() });
    };
    let checked = |(index, record)| {
        Event::from_record(record).map_err(|source| LoadError::Record { file: file(), index, source })
    };
    records.into_iter().enumerate().map(checked).collect()
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    if is_gzip(path) {
        let damaged = |source| LoadError::Gzip { file: path.to_owned(), source };
        let mut decoder = MultiGzDecoder::new(file).take(bytes_max + 1);
        decoder.read_to_end(&mut bytes).map_err(damaged)?;
    } else {
        file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 > bytes_max {
        return Err(LoadError::TooLarge { file: path.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_and_not_past_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.json");
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read_bounded(&file, 5).unwrap(), b"12345");
        assert!(matches!(read_bounded(&file, 4), Err(LoadError::TooLarge { .. })));
    }
}
