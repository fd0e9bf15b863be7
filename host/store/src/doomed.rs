//! What the engine will give up, kept until it has.
//!
//! The engine removes tables and journals, and lets go of memtables that were flushed, while it holds locks that every commit
//! wants. What takes time of it is to give back what they take, on the disk and in memory: tens of milliseconds for a large one.
//! Of a file that somebody has open only the name is removed, and a memtable lives as long as somebody has it: so a thread of
//! ours has them, and gives them back where nobody waits.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::{AbstractTree, Keyspace};
use lsm_tree::Memtable;
use parking_lot::Mutex;

/// Where the engine keeps a keyspace's tables, in its folder.
pub(crate) const TABLES_FOLDER: &str = "tables";
/// How its journals' names end.
const JOURNAL_EXTENSION: &str = "jnl";
/// Files that are kept open at most: others are left to the engine.
const FILES_MAX: usize = 256;

/// Such things. All clones have the same.
#[derive(Clone, Default)]
pub(crate) struct Doomed {
    files: Arc<Mutex<Vec<(PathBuf, File)>>>,
    memtables: Arc<Mutex<Vec<Arc<Memtable>>>>,
}

impl Doomed {
    /// These files will be removed sooner or later, as far as they are still there.
    pub(crate) fn add(&self, paths: impl IntoIterator<Item = PathBuf>) {
        let mut files = self.files.lock();
        for path in paths {
            if files.len() < FILES_MAX
                && !files.iter().any(|(known, _)| *known == path)
                && let Ok(file) = File::open(&path)
            {
                files.push((path, file));
            }
        }
    }

    /// A memtable that was flushed.
    pub(crate) fn add_memtable(&self, memtable: Arc<Memtable>) {
        self.memtables.lock().push(memtable);
    }

    /// The journals of a database's folder will.
    pub(crate) fn add_journals(&self, folder: &Path) {
        let is_journal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == JOURNAL_EXTENSION);
        self.add(files_in(folder).filter(is_journal));
    }

    /// All tables of a keyspace will.
    pub(crate) fn add_all(&self, keyspace: &Keyspace) {
        self.add(files_in(&keyspace.path().join(TABLES_FOLDER)));
    }

    /// The tables of a keyspace will that are no longer in it.
    pub(crate) fn add_tables(&self, keyspace: &Keyspace, before: HashSet<u64>) {
        let now = tables_of(keyspace);
        let folder = keyspace.path().join(TABLES_FOLDER);
        self.add(before.difference(&now).map(|table| folder.join(table.to_string())));
    }

    /// Gives back what the engine has given up.
    pub(crate) fn give_back(&self) {
        let is_removed = |(_, file): &(PathBuf, File)| links(file) == Some(0);
        let removed: Vec<_> = self.files.lock().extract_if(.., |one| is_removed(one)).collect();
        let left: Vec<_> = self.memtables.lock().extract_if(.., |memtable| Arc::strong_count(memtable) == 1).collect();
        drop((removed, left));
    }
}

fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The numbers of the tables that are in a keyspace now.
pub(crate) fn tables_of(keyspace: &Keyspace) -> HashSet<u64> {
    keyspace.tree.current_version().iter_tables().map(|table| table.id()).collect()
}

#[cfg(unix)]
fn links(file: &File) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    file.metadata().ok().map(|metadata| metadata.nlink())
}

/// Elsewhere it is not known whether a file that is open was removed; and one that is may not be.
#[cfg(not(unix))]
fn links(_file: &File) -> Option<u64> {
    Some(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn files_are_given_back_that_were_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [kept, removed, other] = ["1.jnl", "2.jnl", "3.txt"].map(|name| folder.path().join(name));
        [&kept, &removed, &other].into_iter().for_each(|path| std::fs::write(path, "text").unwrap());
        let doomed = Doomed::default();
        for _ in 0..2 {
            doomed.add_journals(folder.path());
        }
        let open = || doomed.files.lock().iter().map(|(path, _)| path.clone()).collect::<HashSet<_>>();
        assert_eq!((open(), doomed.files.lock().len()), (HashSet::from([kept.clone(), removed.clone()]), 2));
        std::fs::remove_file(&removed).unwrap();
        doomed.give_back();
        assert_eq!(open(), HashSet::from([kept]));
        // What is gone already cannot be opened any more.
        doomed.add([removed]);
        assert_eq!(open().len(), 1);
    }
}
