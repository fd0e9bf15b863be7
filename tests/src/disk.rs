//! A disk that fails or is full: writes are refused, nothing that was acknowledged goes, reads go on.

use std::path::Path;
use std::process::Command;

use ostrakon_bench::crash::shim::{EXIT_CUT, Failing, Shim};
use ostrakon_client::value::Value;
use ostrakon_client::{
    Action, Client, Code, Error, Expect, Keep, ObjectId, OnConflict, Payload, Perform, ReadHistory, SetRetention, Step,
    Transact, Version,
};
use serde_json::json;

use crate::crash::can_cut;
use crate::folders::refused_at;
use crate::harness::{Folder, Host, as_json, list_of, object, run, structured, target};

/// Objects that are acknowledged before anything fails.
const BEFORE: usize = 50;

fn name(number: usize) -> String {
    format!("object-{number}")
}

fn payload(number: usize, bytes: usize) -> Payload {
    Payload::bytes(number.to_string().into_bytes().repeat(bytes.max(1))).unwrap()
}

async fn create(client: &Client, number: usize, bytes: usize) -> Result<(), Error> {
    client.put(&object("disk", name(number)), payload(number, bytes), Expect::Absent).await.map(drop)
}

/// An object with a number in it, at version 2.
fn sum() -> ObjectId {
    object("disk", "sum")
}

async fn make_sum(client: &Client) {
    client.put(&sum(), structured(&json!({ "n": 1 })), Expect::Absent).await.unwrap();
    client.merge(&sum(), structured(&json!({ "a": 1 })), Expect::Any).await.unwrap();
}

/// Every kind of change, each with what became of it.
async fn changes(client: &Client) -> Vec<(&'static str, Result<(), Error>)> {
    let sum = &sum();
    let one = || structured(&json!({ "/n": 1 }));
    let perform = |known: u64, on_conflict| Perform {
        target: target(sum),
        action: Action::Add(one()),
        known: Some(Version::new(known)),
        action_id: Some(Client::new_action_id()),
        on_conflict,
    };
    let transact = Transact {
        conditions: Vec::new(),
        actions: [sum, &object("disk", "new")]
            .map(|object| Step { target: target(object), action: Action::Put(structured(&json!({}))) })
            .into(),
        action_id: Some(Client::new_action_id()),
        on_conflict: OnConflict::Reject,
    };
    let retention = SetRetention { data_type: None, rule: Some(Keep { versions: 7, age_ms: 86_400_000 }) };
    vec![
        ("put", client.put(sum, structured(&json!({})), Expect::Any).await.map(drop)),
        ("write", client.write(sum, Version::new(3), structured(&json!({}))).await.map(drop)),
        ("merge", client.merge(sum, structured(&json!({ "b": 1 })), Expect::Any).await.map(drop)),
        ("add", client.add(sum, one(), Expect::Any).await.map(drop)),
        ("delete", client.delete(sum, Expect::Any).await.map(drop)),
        ("reconciled", client.start(perform(1, OnConflict::Reconcile)).await.map(drop)),
        ("detached", client.start(perform(1, OnConflict::Detach)).await.map(drop)),
        ("transact", client.transact(transact).await.map(drop)),
        ("retention", client.set_retention(retention).await.map(drop)),
    ]
}

/// Holds a host whose disk has failed to what it still owes.
async fn owes(mut host: Host, client: &Client, acknowledged: usize, bytes: usize) {
    for number in acknowledged..acknowledged + 5 {
        let error = create(client, number + 1_000, 1).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::StoreFailed), "{error}");
    }
    for (what, done) in changes(client).await {
        let error = done.expect_err(what);
        assert_eq!(error.code(), Some(Code::StoreFailed), "{what}: {error}");
    }
    let facts = client.info().await.unwrap().facts;
    assert_eq!(facts.get("writable"), Some(&Value::Bool(false)));
    everything_is_there(client, acknowledged, bytes).await;
    host.signal("TERM");
    assert_eq!(host.ended(), Some(0), "{}", host.stderr());
}

async fn everything_is_there(client: &Client, acknowledged: usize, bytes: usize) {
    for number in 0..acknowledged {
        let found = client.read(&object("disk", name(number))).await.unwrap();
        assert_eq!(found.version.get(), 1);
        assert_eq!(found.payload, payload(number, bytes), "object {number}");
    }
    let stands = client.read(&sum()).await.unwrap();
    assert_eq!((stands.version.get(), as_json(&stands.payload)), (2, json!({ "n": 1, "a": 1 })));
    let read = ReadHistory { target: target(&sum()), limit: 10, token: None, with_payloads: true };
    assert_eq!(client.history(read).await.unwrap().items.len(), 2);
    // What was under way when the disk failed may have been made.
    let (listed, _) = client.list_all(list_of("disk")).await.unwrap();
    assert!(listed.len() > acknowledged, "{} of {acknowledged}", listed.len());
}

/// A restart on a disk that works again.
async fn serves_again(folder: &Folder, acknowledged: usize, bytes: usize) {
    folder.check().exits(0);
    let host = folder.serve();
    let client = host.client().await;
    everything_is_there(&client, acknowledged, bytes).await;
    create(&client, 2_000, 1).await.unwrap();
    host.stop();
    folder.check().exits(0);
}

async fn check(failing: Failing) {
    if !can_cut() {
        return;
    }
    let folder = Folder::new();
    let shim = Shim::compile(folder.all()).unwrap();
    let host = folder.serve_on(&shim);
    let client = host.client().await;
    for number in 0..BEFORE {
        create(&client, number, 10).await.unwrap();
    }
    make_sum(&client).await;
    shim.fail(failing).unwrap();
    owes(host, &client, BEFORE, 10).await;
    serves_again(&folder, BEFORE, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_that_fails_is_acknowledged_or_ends_reads() {
    check(Failing::Sync).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_is_acknowledged_or_ends_reads() {
    check(Failing::Full).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_after_a_sync_that_failed_loses_what_was_acknowledged() {
    if !can_cut() {
        return;
    }
    let folder = Folder::new();
    let shim = Shim::compile(folder.all()).unwrap();
    let mut host = folder.serve_on(&shim);
    let client = host.client().await;
    for number in 0..BEFORE {
        create(&client, number, 10).await.unwrap();
    }
    make_sum(&client).await;
    shim.fail(Failing::Sync).unwrap();
    let error = create(&client, BEFORE, 10).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::StoreFailed), "{error}");
    let undone = shim.cut(None).unwrap();
    assert!(undone.writes > 0, "what was refused was synced: {undone:?}");
    assert_eq!(host.ended(), Some(EXIT_CUT), "{}", host.stderr());
    serves_again(&folder, BEFORE, 10).await;
}

/// A small file system in memory, mounted on a folder while this value lives.
struct Small<'a>(&'a Path);

impl<'a> Small<'a> {
    fn mount(folder: &'a Path) -> Option<Self> {
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "small"]).arg(folder).output();
        let mounted = mounted.is_ok_and(|mounted| mounted.status.success());
        if !mounted {
            println!("skipped: a file system cannot be mounted here");
        }
        mounted.then_some(Self(folder))
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_what_was_acknowledged() {
    const BYTES: usize = 250_000;
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else { return };
    let folder = Folder::inside(at.path());
    let host = folder.serve();
    let client = host.client().await;
    make_sum(&client).await;
    let mut acknowledged = 0;
    let error = loop {
        match create(&client, acknowledged, BYTES).await {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
        assert!(acknowledged < 1_000, "the disk does not fill");
    };
    assert_eq!(error.code(), Some(Code::StoreFailed), "{error}");
    assert!(acknowledged > 10, "{acknowledged}");
    owes(host, &client, acknowledged, BYTES).await;
    small.remount("size=256m");
    serves_again(&folder, acknowledged, BYTES).await;
    drop(folder);
}

#[test]
fn a_folder_is_made_on_a_full_disk_or_left_half_made() {
    let at = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(at.path()) else { return };
    let folder = Folder::inside(at.path());
    let ballast = at.path().join("ballast");
    let mut file = std::fs::File::create(&ballast).unwrap();
    while std::io::Write::write_all(&mut file, &[1; 4096]).is_ok() {}
    refused_at(&folder.data(), "No space left");
    drop(file);
    std::fs::remove_file(ballast).unwrap();
    let host = folder.serve();
    run(Some(host.data()), ["put", "acme", "volume", "one", "--data", "{}"]).exits(0);
    host.stop();
}

#[test]
fn a_folder_that_can_only_be_read_is_served_or_broken() {
    let at = tempfile::tempdir().unwrap();
    let Some(small) = Small::mount(at.path()) else { return };
    let folder = Folder::inside(at.path());
    let host = folder.serve();
    run(Some(host.data()), ["put", "acme", "volume", "one", "--data", "{}"]).exits(0);
    host.stop();
    small.remount("ro");
    refused_at(&folder.data(), "Read-only file system");
    small.remount("rw");
    let host = folder.serve();
    run(Some(host.data()), ["get", "acme", "volume", "one"]).exits(0);
    host.stop();
}
