//! What the engine will give up, kept until it has.
//!
//! The engine removes tables and journals, and lets go of memtables that were flushed, while it holds locks that every commit
//! wants. What takes time of it is to give back what they take, on the disk and in memory: tens of milliseconds for a large one.
//! Of a file that somebody has open only the name is removed, and a memtable lives as long as somebody has it: so a thread of
//! ours has them, and gives them back.
//!
//! A file system with a journal frees the blocks of a file under a lock that the syncs of others wait for, those of commits too:
//! for a journal of 300 MB that grew by a group at a time 70 ms on ext4, where a sync takes 0.2. So a file goes a little at a
//! time. Nobody reads one that has no name left: the engine removes a table with the last who has it, and whoever reads rows has
//! the view that they are in.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fjall::{AbstractTree, Keyspace};
use lsm_tree::Memtable;
use parking_lot::Mutex;

/// Where the engine keeps a keyspace's tables, in its folder.
pub(crate) const TABLES_FOLDER: &str = "tables";
/// How its journals' names end.
const JOURNAL_EXTENSION: &str = "jnl";
/// Files that are kept open at most: others are left to the engine.
const FILES_MAX: usize = 256;
/// Bytes of a file that are given back at a time: syncs wait for it for about a millisecond.
const GIVE_BACK_BYTES: u64 = 1 << 20;
/// How long others have the file system for themselves then.
const GIVE_BACK_REST: Duration = Duration::from_millis(2);
/// From so many open files on there is no rest: files are removed faster than they go.
const FILES_RESTED: usize = FILES_MAX / 4;

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
                // Who is to shorten it has it open to write.
                && let Ok(file) = OpenOptions::new().write(true).open(&path)
                && is_removed(&file) == Some(false)
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

    /// Gives back the memtables that nobody has any more.
    pub(crate) fn give_back_memtables(&self) {
        let left: Vec<_> = self.memtables.lock().extract_if(.., |memtable| Arc::strong_count(memtable) == 1).collect();
        drop(left);
    }

    /// A file that the engine has removed by now, if there is one: it goes with who has this.
    pub(crate) fn removed(&self) -> Option<File> {
        let mut files = self.files.lock();
        let at = files.iter().position(|(_, file)| is_removed(file) == Some(true))?;
        Some(files.swap_remove(at).1)
    }

    /// Gives back a removed file, as long as it is to go on, and then what is left of it at once.
    pub(crate) fn give_back_file(&self, file: File, go_on: impl Fn() -> bool) {
        if let Err(error) = self.shorten(&file, go_on) {
            tracing::debug!(%error, "a removed file goes at once");
        }
    }

    fn shorten(&self, file: &File, go_on: impl Fn() -> bool) -> std::io::Result<()> {
        let mut bytes = file.metadata()?.len();
        while bytes > GIVE_BACK_BYTES && go_on() {
            // To whole blocks: of a part of one the rest would be written.
            bytes = (bytes - 1) / GIVE_BACK_BYTES * GIVE_BACK_BYTES;
            file.set_len(bytes)?;
            if self.files.lock().len() < FILES_RESTED {
                std::thread::sleep(GIVE_BACK_REST);
            }
        }
        Ok(())
    }
}

fn files_in(folder: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// The numbers of the tables that are in a keyspace now.
pub(crate) fn tables_of(keyspace: &Keyspace) -> HashSet<u64> {
    keyspace.tree.current_version().iter_tables().map(|table| table.id()).collect()
}

/// Whether a file that is open has no name left; `None` where the platform does not tell: there none are kept.
#[cfg(unix)]
fn is_removed(file: &File) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    file.metadata().ok().map(|metadata| metadata.nlink() == 0)
}

#[cfg(not(unix))]
fn is_removed(_file: &File) -> Option<bool> {
    None
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
        doomed.give_back_file(doomed.removed().unwrap(), || true);
        assert!(doomed.removed().is_none());
        assert_eq!(open(), HashSet::from([kept]));
        // What is gone already cannot be opened any more.
        doomed.add([removed]);
        assert_eq!(open().len(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_removed_file_goes_a_little_at_a_time_and_one_that_has_a_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["kept", "removed", "cut short"].map(|name| folder.path().join(name));
        let bytes = 3 * GIVE_BACK_BYTES + 1;
        let [kept, removed, cut_short] = paths.each_ref().map(|path| {
            let file = File::create(path).unwrap();
            file.set_len(bytes).unwrap();
            file
        });
        let bytes_of = |file: &File| file.metadata().unwrap().len();
        let doomed = Doomed::default();
        doomed.add(paths.clone());
        std::fs::remove_file(&paths[1]).unwrap();
        let seen = Mutex::new(Vec::new());
        let see = || {
            seen.lock().push(bytes_of(&removed));
            true
        };
        doomed.give_back_file(doomed.removed().unwrap(), see);
        assert_eq!(*seen.lock(), [bytes, 3 * GIVE_BACK_BYTES, 2 * GIVE_BACK_BYTES]);
        assert_eq!((bytes_of(&removed), bytes_of(&kept)), (GIVE_BACK_BYTES, bytes));
        std::fs::remove_file(&paths[2]).unwrap();
        doomed.give_back_file(doomed.removed().unwrap(), || false);
        assert_eq!((bytes_of(&cut_short), doomed.files.lock().len()), (bytes, 1), "it goes with who has it open");
    }
}
