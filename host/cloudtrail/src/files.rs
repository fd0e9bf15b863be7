//! Which files a list of arguments names: a file as it is, a folder's `.json` and `.json.gz` files, sorted by path.
//!
//! A folder is read with its sub-folders; links to folders inside it are not followed, so the walk always ends. Files of
//! other names inside a folder are passed over; one that is named itself is an error.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::load::LoadError;

/// Every file to read, in argument order and by path within a folder.
pub(crate) fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for path in paths {
        let metadata = fs::metadata(path).map_err(|source| unreadable(path, source))?;
        if metadata.is_dir() {
            let mut found = Vec::new();
            walk(path, &mut found)?;
            if found.is_empty() {
                return Err(LoadError::EmptyFolder { folder: path.clone() });
            }
            found.sort();
            files.append(&mut found);
        } else if metadata.is_file() && is_trail(path) {
            files.push(path.clone());
        } else {
            return Err(LoadError::Extension { file: path.clone() });
        }
    }
    Ok(files)
}

/// Whether the name ends in `.json.gz`.
pub(crate) fn is_gzip(path: &Path) -> bool {
    ends_with(path, ".json.gz")
}

fn is_trail(path: &Path) -> bool {
    is_gzip(path) || ends_with(path, ".json")
}

fn ends_with(path: &Path, end: &str) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().ends_with(end.as_bytes()))
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), LoadError> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|source| unreadable(&folder, source))? {
            let entry = entry.map_err(|source| unreadable(&folder, source))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(|source| unreadable(&path, source))?;
            if kind.is_dir() {
                folders.push(path);
            } else if is_trail(&path) && (kind.is_file() || (kind.is_symlink() && path.is_file())) {
                found.push(path);
            }
        }
    }
    Ok(())
}

fn unreadable(path: &Path, source: io::Error) -> LoadError {
    LoadError::Unreadable { path: path.to_owned(), source }
}
