//! Data folders on a bad day: what cannot be used is refused by name, what is whole is served.

use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Folder, Host, run};

/// Starts a host on a folder that it cannot use, and holds that it names folder and reason.
fn refused_at(data: &Path, reason: &str) {
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

#[test]
fn a_damaged_shard_keeps_the_others_from_being_served() {
    let folder = two_shards();
    flip(&keyspace(&folder.data(), "shard-0000000015"));
    let host = folder.serve();
    assert!(host.stderr().contains("shard-0000000015"), "{}", host.stderr());
    let unavailable = get(&host, "high").exits(1).json();
    assert_eq!(unavailable["error"]["code"], "shard-unavailable");
    get(&host, "low").exits(0);
    put(&host, "low", &["--if-version", "1"]);
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
