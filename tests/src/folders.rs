//! Data folders on a bad day: what cannot be used is refused by name, what is whole is served.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Folder, Host, run};

/// Starts a host on a folder that it cannot use, and holds that it names folder and reason.
pub(crate) fn refused_at(data: &Path, reason: &str) {
    let refused =
        run(None, ["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]).exits(1);
    assert!(refused.stderr.contains(reason), "{refused:?}");
    assert!(refused.stderr.contains(data.to_str().unwrap()), "{refused:?}");
}

#[test]
fn a_folder_that_cannot_be_written_is_not_named() {
    let folder = Folder::new();
    let file = folder.beside("file");
    fs::write(&file, "years of work").unwrap();
    refused_at(&file, "exists");
    refused_at(&file.join("data"), "Not a directory");
    assert_eq!(fs::read_to_string(&file).unwrap(), "years of work");
    // A file system that takes no new folders, also from the superuser.
    if Path::new("/proc/self").exists() {
        refused_at(Path::new("/proc/self/data"), "No such file");
    }
}

/// A stopped host's folder with an object in its first and one in its last shard.
fn two_shards() -> Folder {
    let folder = Folder::new();
    let host = folder.serve();
    for (name, key) in [("low", "1"), ("high", "18446744073709551615")] {
        put(&host, name, &["--shard-key", key]);
    }
    host.stop();
    folder
}

fn keyspace(host_data: &Path, name: &str) -> PathBuf {
    let roster = fs::read_to_string(host_data.join("KEYSPACES")).unwrap();
    let number = roster.lines().find_map(|line| line.strip_suffix(name)?.strip_suffix(' ').map(str::to_owned));
    host_data.join("store/keyspaces").join(number.unwrap())
}

/// Changes one byte in the middle of a keyspace's table.
fn flip(keyspace: &Path) {
    let table = fs::read_dir(keyspace.join("tables")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&table).unwrap();
    let middle = bytes.len() / 3;
    bytes[middle] ^= 0x10;
    fs::write(table, bytes).unwrap();
}

fn put(host: &Host, name: &str, more: &[&str]) {
    run(Some(host.data()), ["put", "acme", "volume", name, "--data", "{}"].iter().chain(more)).exits(0);
}

fn get(host: &Host, name: &str) -> crate::harness::Ran {
    run(Some(host.data()), ["get", "acme", "volume", name, "--json"])
}

/// A host that serves one shard and not the other, which is spoiled.
fn serves_one(spoil: impl FnOnce(&Path)) -> (Folder, Host) {
    let folder = two_shards();
    spoil(&keyspace(&folder.data(), "shard-0000000015"));
    let host = folder.serve();
    assert!(host.stderr().contains("shard-0000000015"), "{}", host.stderr());
    let unavailable = get(&host, "high").exits(1).json();
    assert_eq!(unavailable["error"]["code"], "shard-unavailable");
    get(&host, "low").exits(0);
    put(&host, "low", &["--if-version", "1"]);
    (folder, host)
}

#[test]
fn a_damaged_shard_keeps_the_others_from_being_served() {
    let (folder, host) = serves_one(flip);
    let info = run(Some(host.data()), ["info", "--json"]).exits(0).json();
    assert_eq!(info["shards-set-aside"], 1, "{info}");
    host.stop();
    assert!(folder.data().join("set-aside/shard-0000000015/keyspace").is_dir(), "what is damaged is kept");
    folder.serve().stop();
}

#[test]
fn damage_to_the_whole_store_is_not_refused_by_name() {
    let check = |spoil: &dyn Fn(&Path), words: &str| {
        let folder = two_shards();
        spoil(&folder.data());
        let refused = folder.refused::<&str>(&[]).exits(1);
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
        assert!(refused.stderr.contains(folder.data().to_str().unwrap()), "{refused:?}");
    };
    check(&|data| flip(&keyspace(data, "locator")), "(keyspace locator)");
    check(&|data| flip(&keyspace(data, "log")), "(keyspace log)");
    check(&|data| fs::remove_dir_all(data.join("store/keyspaces/0")).unwrap(), "store/keyspaces/0/current");
    check(&|data| fs::remove_dir_all(data.join("store")).unwrap(), "store/version");
}

#[test]
fn a_hole_in_the_log_lets_the_host_start() {
    let folder = two_shards();
    {
        let database = fjall::Database::builder(folder.data().join("store")).open().unwrap();
        let log = database.keyspace("log", fjall::KeyspaceCreateOptions::default).unwrap();
        log.remove(1_u64.to_be_bytes()).unwrap();
        database.persist(fjall::PersistMode::SyncAll).unwrap();
    }
    let refused = folder.refused::<&str>(&[]).exits(1);
    let words = "the log has a hole: revision 2 stands where 1 belongs";
    assert!(refused.stderr.contains(words), "{refused:?}");
    assert!(refused.stderr.contains(folder.data().to_str().unwrap()), "{refused:?}");
}

#[test]
fn a_shard_whose_files_are_gone_keeps_the_others_from_being_served() {
    let (_folder, host) = serves_one(|keyspace| fs::remove_dir_all(keyspace).unwrap());
    host.stop();
}

/// The folder of a host that was killed, its journal, and how many bytes of that were written.
fn killed() -> (Folder, PathBuf, usize) {
    let folder = Folder::new();
    let host = folder.serve();
    (0..5).for_each(|number| put(&host, &format!("object-{number}"), &[]));
    host.kill();
    let files = fs::read_dir(folder.data().join("store")).unwrap().map(|entry| entry.unwrap().path());
    let journal = files.filter(|file| file.extension().is_some_and(|extension| extension == "jnl")).max().unwrap();
    let written = fs::read(&journal).unwrap().iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (folder, journal, written)
}

#[test]
fn a_journal_that_is_damaged_or_lost_its_end_lets_the_host_start() {
    let check = |spoil: &dyn Fn(&mut Vec<u8>, usize), words: &dyn Fn(&Path) -> Vec<String>| {
        let (folder, journal, written) = killed();
        let whole = fs::read(&journal).unwrap();
        let mut bytes = whole.clone();
        spoil(&mut bytes, written);
        fs::write(&journal, bytes).unwrap();
        let refused = folder.refused::<&str>(&[]).exits(1);
        for words in words(&journal).into_iter().chain([folder.data().display().to_string()]) {
            assert!(refused.stderr.contains(&words), "{words}: {refused:?}");
        }
        // Nothing was made worse: what comes back from a backup is served.
        fs::write(&journal, whole).unwrap();
        let host = folder.serve();
        get(&host, "object-4").exits(0);
        host.stop();
    };
    let named = |journal: &Path| {
        let file = journal.file_name().unwrap().to_str().unwrap();
        vec![format!("store/{file} is damaged"), "at byte".to_owned()]
    };
    check(&|bytes, written| bytes[written / 2] ^= 0x10, &named);
    check(&|bytes, written| bytes.truncate(written - 5), &named);
    check(&|bytes, _| bytes.clear(), &|_| vec!["acknowledged".to_owned()]);
}

#[test]
fn a_write_that_was_cut_off_keeps_the_host_from_serving() {
    let (folder, journal, written) = killed();
    let mut bytes = fs::read(&journal).unwrap();
    bytes[written..written + 6].copy_from_slice(b"\x01 torn");
    fs::write(&journal, bytes).unwrap();
    let host = folder.serve();
    assert!(host.stderr().contains("cut off before it was acknowledged"), "{}", host.stderr());
    get(&host, "object-4").exits(0);
    put(&host, "object-4", &["--if-version", "1"]);
    host.stop();
    let host = folder.serve();
    assert_eq!(get(&host, "object-4").exits(0).json()["version"], 2);
    host.stop();
}
