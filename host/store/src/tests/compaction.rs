//! Tables that are merged beside those who write.

use std::path::{Path, PathBuf};
use std::time::Instant;

use fjall::AbstractTree;

use super::stretches::Bench;
use super::*;
use crate::check;

const OBJECTS: u64 = 40;
const PATIENCE: Duration = Duration::from_secs(20);

impl Bench {
    /// A flush of the only shard, to the end.
    fn flush(&self) {
        let view = self.views.latest();
        let keyspace = view.keyspaces.shards.values().next().unwrap().keyspace();
        keyspace.rotate_memtable().unwrap();
        wait(|| keyspace.tree.sealed_memtable_count() == 0);
    }

    /// Tables in the first level of the only shard.
    fn unmerged(&self) -> usize {
        let view = self.views.latest();
        view.keyspaces.shards.values().next().unwrap().keyspace().l0_table_count()
    }

    /// Writes a version of every object, and flushes.
    fn write_all(&self, version: u64) {
        for number in 0..OBJECTS {
            self.submit(super::stretches::change(number, version, Some("text")));
        }
        self.flush();
    }
}

fn wait(until: impl Fn() -> bool) {
    let patience = Instant::now() + PATIENCE;
    while !until() {
        assert!(Instant::now() < patience, "it does not come to pass");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The tables of a folder, biggest first.
fn tables_of(folder: &Path) -> Vec<PathBuf> {
    let (mut tables, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let is_table = entry.path().parent().is_some_and(|parent| parent.ends_with("tables"));
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false if is_table => tables.push(entry.path()),
                false => {}
            }
        }
    }
    tables.sort_by_key(|table| std::cmp::Reverse(table.metadata().unwrap().len()));
    tables
}

#[test]
fn tables_are_merged_and_hold_what_they_held() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 1, history_versions: Some(3), ..config(&folder) };
    for start in 0..2 {
        let bench = Bench::open(&config);
        for version in 6 * start + 1..=6 * start + 6 {
            bench.write_all(version);
        }
        wait(|| bench.unmerged() < 4);
    }
    let report = check(&config.path).unwrap();
    assert_eq!((report.findings, report.objects, report.rows), (vec![], OBJECTS, 3 * OBJECTS));
}

#[test]
fn after_a_merge_that_failed_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let config = StoreConfig { shards: 1, ..config(&folder) };
    let bench = Bench::open(&config);
    bench.write_all(1);
    // Its first block: what reads it is told that it is damaged.
    for table in tables_of(&config.path) {
        let mut bytes = std::fs::read(&table).unwrap();
        bytes[100] ^= 1;
        std::fs::write(&table, bytes).unwrap();
    }
    for version in 2..=5 {
        bench.write_all(version);
    }
    let refused = || {
        assert!(bench.committer.submit(super::stretches::change(OBJECTS, 1, Some("text")), 0).is_ok());
        let outcome = bench.outcomes.recv_timeout(PATIENCE).unwrap().1;
        matches!(outcome, Err(CommitError::Failed))
    };
    wait(refused);
}
