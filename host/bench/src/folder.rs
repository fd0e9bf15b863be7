//! A fresh folder for one round, on a disk: a sync to a file system in memory measures nothing.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

/// A new folder under the system's temporary folder (`TMPDIR`), removed when dropped.
///
/// # Errors
/// When it cannot be made, or lies in memory.
pub(crate) fn fresh() -> anyhow::Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("ostrakon-bench-").tempdir().context("no temporary folder")?;
    let path = folder.path().canonicalize()?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = file_system(&mounts, &path).unwrap_or_default();
    ensure!(
        !matches!(kind, "tmpfs" | "ramfs"),
        "{} is in memory ({kind}): set TMPDIR to a folder on a disk",
        path.display()
    );
    Ok(folder)
}

/// The kind of file system that `path` lies in: that of the deepest mount point above it, the latest where several
/// were mounted at the same place.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    mounts
        .lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - ")?;
            let point = PathBuf::from(before.split(' ').nth(4)?.replace("\\040", " "));
            path.starts_with(&point).then_some((point.components().count(), after.split(' ').next()?))
        })
        .max_by_key(|(depth, _)| *depth)
        .map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_in_memory_is_taken_for_a_disk() {
        let mounts = "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      30 22 0:26 / /tmp rw,nosuid shared:5 - tmpfs tmpfs rw\n\
                      31 30 254:1 / /tmp/a\\040disk rw - xfs /dev/vdb rw\n";
        for (path, expected) in
            [("/var/x", "ext4"), ("/tmp/x", "tmpfs"), ("/tmpfile", "ext4"), ("/tmp/a disk/x", "xfs")]
        {
            assert_eq!(file_system(mounts, Path::new(path)), Some(expected), "{path}");
        }
    }
}
