//! Damaged folders: nothing that was acknowledged goes without a word, and what is whole is served.

use std::path::{Path, PathBuf};

use ostrakon_wire::{Revision, ShardId};

use super::{Put, config, object, put, put_in_groups};
use crate::{OpenError, ReadError, Store, StoreConfig};

/// A store with few keyspaces, so that it opens quickly.
fn small(folder: &tempfile::TempDir) -> StoreConfig {
    StoreConfig { shards: 2, ..config(folder) }
}

const CHANGES: [Put<'static>; 6] = [
    ("a", 1, Some("one")),
    ("b", 1, Some("two")),
    ("a", 2, Some("three")),
    ("b", 2, None),
    ("c", 1, Some("four")),
    ("a", 3, Some("five")),
];

/// Zeros left behind a journal's batches in copies; the engine makes 64 MiB of them.
const ZEROS: usize = 100;

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target);
        } else if path.extension().is_some_and(|extension| extension == "jnl") {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes.truncate(used(&bytes) + ZEROS);
            std::fs::write(target, bytes).unwrap();
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

fn used(journal: &[u8]) -> usize {
    journal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

/// A folder as a kill leaves it, with all changes in one journal; each a group of its own.
pub(super) fn killed() -> (tempfile::TempDir, StoreConfig) {
    let live = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let config = small(&live);
    put_in_groups(&config, &CHANGES, 1, || copy_folder(&config.path, &copy.path().join("data")));
    let config = small(&copy);
    (copy, config)
}

/// The same folder again, for another try.
fn fresh(config: &StoreConfig) -> (tempfile::TempDir, StoreConfig) {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&config.path, &folder.path().join("data"));
    let config = StoreConfig { path: folder.path().join("data"), ..config.clone() };
    (folder, config)
}

fn journal(config: &StoreConfig) -> PathBuf {
    let files = std::fs::read_dir(config.path.join("store")).unwrap().map(|entry| entry.unwrap().path());
    let mut journals: Vec<_> = files.filter(|path| path.extension().is_some_and(|it| it == "jnl")).collect();
    journals.sort();
    let [journal] = &journals[..] else { panic!("one journal is expected: {journals:?}") };
    journal.clone()
}

/// The revision that a folder comes back with.
fn revision(config: &StoreConfig) -> Result<u64, OpenError> {
    let (store, recovered) = Store::open(config.clone())?;
    let view = store.views().latest();
    let revision = view.position().revision;
    assert_eq!(recovered.remembered.len() as u64, revision.get(), "log and ids agree");
    for (index, (name, version, payload)) in CHANGES.iter().enumerate().take(revision.get() as usize) {
        let place = view.locate(&object(name)).unwrap().expect("what is in the log has a place");
        let row = view.version(place, ostrakon_wire::Version::new(*version)).unwrap().expect("and a row");
        assert_eq!(row.payload.as_ref().map(|payload| &payload.as_bytes()[..]), payload.map(str::as_bytes));
        assert_eq!(row.revision, Revision::new(index as u64 + 1));
    }
    Ok(revision.get())
}

/// The mark of a power cut: it says less than the truth.
fn unmark(config: &StoreConfig) {
    std::fs::remove_file(config.path.join("ACKNOWLEDGED")).unwrap();
}

/// Every batch's end in a journal.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let trailer = b"FJL\x03";
    (trailer.len()..=bytes.len()).filter(|end| bytes[..*end].ends_with(trailer)).collect()
}

/// A folder's journal, and where its last batch begins and ends.
fn last_batch(config: &StoreConfig) -> (Vec<u8>, usize, usize) {
    let bytes = std::fs::read(journal(config)).unwrap();
    let ends = ends(&bytes);
    (bytes, ends[ends.len() - 2], ends[ends.len() - 1])
}

#[test]
fn a_journal_that_lost_its_end_comes_back_with_less_than_was_acknowledged() {
    let (_keep, whole) = killed();
    assert_eq!(revision(&fresh(&whole).1).unwrap(), 6);
    let bytes = std::fs::read(journal(&whole)).unwrap();
    let end = *ends(&bytes).last().unwrap();
    for cut in 0..bytes.len() {
        let (_folder, config) = fresh(&whole);
        std::fs::write(journal(&config), &bytes[..cut]).unwrap();
        match revision(&config) {
            Ok(6) => assert!(cut >= end, "acknowledged changes are cut off at {cut}"),
            Err(OpenError::LostEnd { acknowledged, .. }) => {
                assert!(cut < end && acknowledged.get() == 6, "cut at {cut}")
            }
            Err(OpenError::DamagedFile { file, .. }) => assert!(cut < end && file == journal(&config), "cut at {cut}"),
            other => panic!("cut at {cut}: {other:?}"),
        }
    }
}

#[test]
fn a_write_that_was_cut_off_before_it_was_acknowledged_keeps_the_host_from_starting() {
    let (_keep, whole) = killed();
    let (bytes, before, end) = last_batch(&whole);
    for cut in before..end {
        let (_folder, config) = fresh(&whole);
        unmark(&config);
        std::fs::write(journal(&config), &bytes[..cut]).unwrap();
        assert_eq!(revision(&config).unwrap(), 5, "cut at {cut}");
        assert_eq!(revision(&config).unwrap(), 5, "and once more");
    }
    // Pages that did not reach the disk read as zeros, also inside a value whose end did.
    for hole in (before..end).step_by(7) {
        let (_folder, config) = fresh(&whole);
        unmark(&config);
        let mut torn = bytes.clone();
        torn[hole..(hole + 16).min(end)].fill(0);
        if torn == bytes {
            continue;
        }
        std::fs::write(journal(&config), torn).unwrap();
        assert_eq!(revision(&config).unwrap(), 5, "hole at {hole}");
        put(&config, &[("d", 1, Some("six"))]);
    }
}

#[test]
fn a_write_that_was_cut_off_stands_before_a_journal_that_nothing_was_written_to() {
    let (_keep, whole) = killed();
    let (bytes, before, end) = last_batch(&whole);
    let opened = |torn: &[u8], next: &[u8]| {
        let (_folder, config) = fresh(&whole);
        unmark(&config);
        let first = journal(&config);
        let number: u64 = first.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        std::fs::write(&first, torn).unwrap();
        std::fs::write(first.with_file_name(format!("{}.jnl", number + 1)), next).unwrap();
        revision(&config).map_err(|error| match error {
            OpenError::DamagedFile { file, .. } => file == first,
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(opened(&bytes[..end - 3], &[0; ZEROS]), Ok(5));
    // What has something behind it was synced before that was begun.
    assert_eq!(opened(&bytes[..before - 3], &bytes[before..end]), Err(true));
    assert_eq!(opened(&bytes[..before - 3], b"neither zeros nor a batch"), Err(true));
}

#[test]
fn a_payload_that_holds_batches_is_taken_for_what_was_acknowledged() {
    let (_keep, whole) = killed();
    let (bytes, before, end) = last_batch(&whole);
    let (bytes, numbers) = (&bytes[..end], before + 5..before + 13);
    let last = u64::from_le_bytes(bytes[numbers.clone()].try_into().unwrap());
    let opened = |value: &[u8]| {
        let (_folder, config) = fresh(&whole);
        unmark(&config);
        let mut torn = bytes.to_vec();
        let length = (value.len() as u32).to_le_bytes();
        torn.extend([&[1][..], &1_u32.to_le_bytes(), &(last + 1).to_le_bytes()].concat());
        torn.extend(
            [&[2, 0, 0][..], &7_u64.to_le_bytes(), &1_u16.to_le_bytes(), &length, &length, b"k", value].concat(),
        );
        std::fs::write(journal(&config), torn).unwrap();
        revision(&config)
    };
    assert_eq!(opened(bytes).unwrap(), 6, "batches from before this one");
    // One that may have followed was acknowledged, as far as anybody can tell.
    let mut follows = bytes.to_vec();
    follows[numbers].copy_from_slice(&(last + 2).to_le_bytes());
    assert!(matches!(opened(&follows), Err(OpenError::DamagedFile { .. })));
}

#[test]
fn what_was_cut_off_fills_the_disk() {
    let (_keep, whole) = killed();
    let (_folder, config) = fresh(&whole);
    for _ in 0..20 {
        let path = journal(&config);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.truncate(used(&bytes));
        bytes.extend(b"\x01 torn");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(revision(&config).unwrap(), 6);
    }
    assert_eq!(std::fs::read_dir(config.path.join("set-aside")).unwrap().count(), 16);
}

#[test]
fn a_flipped_byte_in_a_journal_goes_unnoticed() {
    let (_keep, whole) = killed();
    let bytes = std::fs::read(journal(&whole)).unwrap();
    let end = *ends(&bytes).last().unwrap();
    for at in 0..end {
        let (_folder, config) = fresh(&whole);
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x10;
        std::fs::write(journal(&config), flipped).unwrap();
        match revision(&config) {
            // A batch's number is under no checksum; one that still rises harms nothing.
            Ok(revision) => assert_eq!(revision, 6, "flipped at {at}"),
            Err(OpenError::DamagedFile { file, .. }) => assert_eq!(file, journal(&config), "flipped at {at}"),
            other => panic!("flipped at {at}: {other:?}"),
        }
        assert!(std::fs::read(journal(&config)).unwrap().len() >= end, "a refused start changes nothing");
    }
}

/// A folder whose changes all stand in tables.
pub(super) fn flushed() -> (tempfile::TempDir, StoreConfig) {
    let folder = tempfile::tempdir().unwrap();
    let config = small(&folder);
    put(&config, &CHANGES);
    (folder, config)
}

/// The folders of the keyspaces, by name.
pub(super) fn keyspaces(config: &StoreConfig) -> Vec<(String, PathBuf)> {
    let text = std::fs::read_to_string(config.path.join("KEYSPACES")).unwrap();
    let lines = text.lines().skip(1).filter_map(|line| line.split_once(' ')).filter(|(word, _)| *word != "checksum");
    let of_engine = [("0", "engine")].into_iter();
    let folder = |number: &str| config.path.join("store/keyspaces").join(number);
    of_engine.chain(lines).map(|(number, name)| (name.to_owned(), folder(number))).collect()
}

/// Bytes that are flipped in a file, one at a time.
const FLIPS_PER_FILE: usize = 3;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Holds that a damaged shard is set aside and the other is served, that one nobody has yet is not missed, and that damage
/// anywhere else refuses the start.
fn check_damage(name: &str, config: &StoreConfig, what: &str) {
    let opened = Store::open(config.clone());
    let Some(damaged) = name.strip_prefix("spare-").unwrap_or(name).strip_prefix("shard-") else {
        let Err(OpenError::DamagedFile { file, .. }) = opened else { panic!("{what}: the start was not refused") };
        assert!(file.starts_with(config.path.join("store/keyspaces")), "{what}: {}", file.display());
        return;
    };
    let damaged: u32 = damaged.parse().unwrap();
    let (store, _) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
    let view = store.views().latest();
    for name in ["a", "b", "c"] {
        let place = view.locate(&object(name)).unwrap().unwrap();
        let shard = view.map().shard_of(place.shard_key);
        match view.head(place) {
            Ok(head) => assert!(head.is_some() && shard != ShardId::new(damaged), "{what}"),
            Err(ReadError::NoShard(unserved)) => {
                assert_eq!((unserved, shard), (shard, ShardId::new(damaged)), "{what}")
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
    drop((store, view));
    Store::open(config.clone()).unwrap_or_else(|error| panic!("{what}, a second time: {error}"));
}

#[test]
fn a_flipped_byte_in_a_table_takes_more_than_its_shard() {
    let (_keep, whole) = flushed();
    for (name, folder) in keyspaces(&whole) {
        for path in files(&folder) {
            let relative = path.strip_prefix(&whole.path).unwrap();
            let bytes = std::fs::read(&path).unwrap();
            if !is_current(&folder, &path) {
                // A version before the one in force is left over, and looked at by nobody.
                continue;
            }
            for at in (0..bytes.len()).step_by((bytes.len() / FLIPS_PER_FILE).max(1)) {
                let (_folder, config) = fresh(&whole);
                let mut flipped = bytes.clone();
                flipped[at] ^= 0x10;
                std::fs::write(config.path.join(relative), flipped).unwrap();
                let what = format!("{name}: {} flipped at {at}", relative.display());
                check_damage(&name, &config, &what);
            }
        }
    }
}

/// Whether a file belongs to the version that is in force.
fn is_current(folder: &Path, path: &Path) -> bool {
    let current = std::fs::read(folder.join("current")).unwrap();
    let number = u64::from_le_bytes(current[..8].try_into().unwrap());
    let name = path.file_name().unwrap().to_str().unwrap();
    !name.starts_with('v') || name == format!("v{number}")
}

#[test]
fn a_missing_keyspace_or_file_of_one_takes_more_than_its_shard() {
    let (_keep, whole) = flushed();
    for (name, folder) in keyspaces(&whole) {
        let relative = folder.strip_prefix(&whole.path).unwrap();
        let (_folder, config) = fresh(&whole);
        std::fs::remove_dir_all(config.path.join(relative)).unwrap();
        check_damage(&name, &config, &format!("{name} is gone"));
        for path in files(&folder).into_iter().filter(|path| is_current(&folder, path)) {
            let relative = path.strip_prefix(&whole.path).unwrap();
            let (_folder, config) = fresh(&whole);
            std::fs::remove_file(config.path.join(relative)).unwrap();
            check_damage(&name, &config, &format!("{} is gone", relative.display()));
        }
    }
}

#[test]
fn a_missing_or_foreign_file_of_the_whole_store_is_made_anew_or_deleted() {
    let (_keep, whole) = flushed();
    let refused = |config: &StoreConfig, file: &str| {
        let Err(OpenError::DamagedFile { file: named, .. }) = Store::open(config.clone()) else {
            panic!("{file}: the start was not refused")
        };
        assert!(named.ends_with(file), "{file}: {}", named.display());
    };
    for file in ["store/version", "store/lock"] {
        let (_folder, config) = fresh(&whole);
        std::fs::remove_file(config.path.join(file)).unwrap();
        refused(&config, file);
    }
    let (_folder, config) = fresh(&whole);
    std::fs::remove_dir_all(config.path.join("store")).unwrap();
    refused(&config, "store/version");
    let (_folder, config) = fresh(&whole);
    std::fs::remove_file(config.path.join("KEYSPACES")).unwrap();
    refused(&config, "KEYSPACES");
    std::fs::remove_file(config.path.join("store/version")).unwrap();
    std::fs::remove_file(config.path.join("ACKNOWLEDGED")).unwrap();
    refused(&config, "KEYSPACES");
    assert!(config.path.join("store/keyspaces/4").exists(), "nothing is taken away");
    let (_folder, config) = fresh(&whole);
    std::fs::remove_file(journal(&config)).unwrap();
    refused(&config, "store");
    let (_folder, config) = fresh(&whole);
    std::fs::create_dir(config.path.join("store/keyspaces/notes")).unwrap();
    refused(&config, "store/keyspaces/notes");
    let (_folder, config) = fresh(&whole);
    std::fs::write(config.path.join("KEYSPACES"), "ostrakon keyspaces, format 1\n").unwrap();
    refused(&config, "KEYSPACES");
}

#[test]
fn a_making_that_was_cut_off_keeps_the_host_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let config = small(&folder);
    std::fs::create_dir_all(config.path.join("store/keyspaces")).unwrap();
    std::fs::write(config.path.join("FORMAT"), "ostrakon data folder, format 2\n").unwrap();
    std::fs::write(config.path.join("store/0.jnl"), [0; 64]).unwrap();
    put(&config, &CHANGES);
    assert_eq!(revision(&config).unwrap(), 6);
}

#[test]
fn a_folder_of_the_format_before_is_refused_or_stays_unsurveyed() {
    let (_keep, config) = flushed();
    std::fs::remove_file(config.path.join("KEYSPACES")).unwrap();
    std::fs::write(config.path.join("FORMAT"), "ostrakon data folder, format 1\n").unwrap();
    assert_eq!(revision(&config).unwrap(), 6);
    assert!(std::fs::read_to_string(config.path.join("FORMAT")).unwrap().ends_with("format 6\n"));
    assert!(config.path.join("KEYSPACES").exists());
    assert_eq!(revision(&config).unwrap(), 6);
}

#[test]
fn all_shards_are_set_aside_at_once() {
    let (_keep, config) = flushed();
    for (_, folder) in keyspaces(&config).into_iter().filter(|(name, _)| name.starts_with("shard-")) {
        std::fs::write(folder.join("current"), "?").unwrap();
    }
    assert!(matches!(Store::open(config), Err(OpenError::DamagedFile { .. })));
}
