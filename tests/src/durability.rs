//! What was acknowledged is there after kill -9, once, and with no version missing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ostrakon_client::{Action, Client, ClientConfig, Code, Error, Expect, ObjectId, OnConflict, Perform, Version};
use serde_json::json;

use crate::harness::{Folder, Host, as_json, object, structured, target, until};

const WRITERS: u64 = 8;

/// A client that gives up soon: its host is about to be killed.
async fn hasty(host: &Host) -> Client {
    let config = ClientConfig { deadline: Duration::from_millis(1_500), ..host.config() };
    Client::connect(config).await.unwrap()
}

/// What one writer was told.
#[derive(Default)]
struct Told {
    own: u64,
    shared: Vec<u64>,
}

/// Writes its own object and the one that all share, in turn, until the host is gone.
async fn write_until_killed(client: Client, own: ObjectId, shared: ObjectId, acknowledged: Arc<AtomicU64>) -> Told {
    let mut told = Told::default();
    let first = match client.read_version(&own).await {
        Ok(stored) => stored.version.get(),
        Err(error) if error.code() == Some(Code::NotFound) => 0,
        Err(error) => panic!("{error}"),
    };
    for version in first + 1.. {
        let payload = structured(&json!({ "version": version }));
        match client.write(&own, Version::new(version), payload.clone()).await {
            Ok(done) => told.own = done.version.get(),
            Err(Error::Refused(error)) => panic!("{error}"),
            Err(_) => break,
        }
        match client.put(&shared, payload, Expect::Any).await {
            Ok(done) => told.shared.push(done.version.get()),
            Err(Error::Refused(error)) => panic!("{error}"),
            Err(_) => break,
        }
        acknowledged.fetch_add(2, Ordering::Relaxed);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_loses_an_acknowledged_write_or_a_version() {
    let folder = Folder::new();
    let shared = object("durability", "shared");
    let own = |writer| object("durability", format!("own-{writer}"));
    let mut host = folder.serve();
    let mut seen = BTreeSet::new();
    for round in 1..=3 {
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut writing = Vec::new();
        for writer in 0..WRITERS {
            let (client, own, shared) = (hasty(&host).await, own(writer), shared.clone());
            writing.push(tokio::spawn(write_until_killed(client, own, shared, Arc::clone(&acknowledged))));
        }
        until("enough writes", || (acknowledged.load(Ordering::Relaxed) >= 400).then_some(())).await;
        host.kill();
        let mut told = Vec::new();
        for writing in writing {
            told.push(writing.await.unwrap());
        }
        host = folder.serve();
        let client = host.client().await;
        for (writer, told) in (0..).zip(&told) {
            let stands = client.read(&own(writer)).await.unwrap();
            let version = stands.version.get();
            assert!((told.own..=told.own + 1).contains(&version), "{version} after {}", told.own);
            assert_eq!(as_json(&stands.payload), json!({ "version": version }), "another version's payload");
        }
        let new: Vec<u64> = told.iter().flat_map(|told| told.shared.iter().copied()).collect();
        for version in &new {
            assert!(seen.insert(*version), "version {version} was given out twice");
        }
        let stands = client.read_version(&shared).await.unwrap().version.get();
        assert!(stands >= *seen.last().unwrap(), "{stands} stands, {:?} was told", seen.last());
        let unknown = stands - seen.len() as u64;
        assert!(unknown <= round * WRITERS, "{unknown} versions were told to nobody");
    }
}

/// One addition under an id of its own.
fn addition(object: &ObjectId) -> Perform {
    Perform {
        target: target(object),
        action: Action::Add(structured(&json!({ "/n": 1 }))),
        known: None,
        action_id: Some(Client::new_action_id()),
        on_conflict: OnConflict::Reject,
    }
}

/// Adds until the host is gone; every addition, and the version it made where that was told.
async fn add_until_killed(
    client: Client,
    object: ObjectId,
    acknowledged: Arc<AtomicU64>,
) -> Vec<(Perform, Option<Version>)> {
    let mut all = Vec::new();
    loop {
        let perform = addition(&object);
        match client.perform(perform.clone()).await {
            Ok(done) => all.push((perform, Some(done.version))),
            Err(Error::Refused(error)) => panic!("{error}"),
            Err(_) => {
                all.push((perform, None));
                return all;
            }
        }
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_repeated_after_kill_9_has_a_second_effect() {
    let folder = Folder::new();
    let object = object("durability", "sum");
    let host = folder.serve();
    let zero = structured(&json!({ "n": 0 }));
    host.client().await.put(&object, zero, Expect::Absent).await.unwrap();
    let acknowledged = Arc::new(AtomicU64::new(0));
    let mut adding = Vec::new();
    for _ in 0..WRITERS {
        let client = hasty(&host).await;
        adding.push(tokio::spawn(add_until_killed(client, object.clone(), Arc::clone(&acknowledged))));
    }
    until("enough additions", || (acknowledged.load(Ordering::Relaxed) >= 200).then_some(())).await;
    host.kill();
    let mut all = Vec::new();
    for adding in adding {
        all.extend(adding.await.unwrap());
    }
    let host = folder.serve();
    let client = host.client().await;
    let mut versions = BTreeMap::new();
    for (perform, told) in &all {
        let again = client.perform(perform.clone()).await.unwrap();
        if let Some(told) = told {
            assert_eq!((again.version, again.repeated), (*told, true));
        }
        assert_eq!(versions.insert(again.version, perform.action_id), None, "two actions, one version");
    }
    let stands = client.read(&object).await.unwrap();
    assert_eq!(as_json(&stands.payload), json!({ "n": all.len() }));
    assert_eq!(stands.version.get(), all.len() as u64 + 1);

    let (first, _) = &all[0];
    let other = Perform { action: Action::Add(structured(&json!({ "/n": 2 }))), ..first.clone() };
    let error = client.perform(other).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::ActionIdReused));
}
