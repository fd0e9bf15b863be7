//! Stopping a host: everything that was taken is answered, and the exit code says so.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::{Duration, Instant};

use ostrakon_client::{Action, Code, Expect, List, OnConflict, Operation, Perform};
use serde_json::json;

use crate::harness::{Folder, Host, Raw, Stream, command, finish, list_of, object, structured, target, until, within};

const STREAMS: u64 = 6;
/// Enough that most still wait in the stream when the stop comes.
const WRITES: u64 = 2_000;

fn name(stream: u64, id: u64) -> String {
    format!("{stream}-{id:04}")
}

fn create(stream: u64, id: u64) -> Operation {
    Operation::Perform(Perform {
        target: target(&object("stop", name(stream, id))),
        action: Action::Put(structured(&json!({ "id": id }))),
        known: None,
        action_id: None,
        on_conflict: OnConflict::Reject,
    })
}

/// Sends many writes at once and collects what is answered until the stream ends: true for each that was done.
async fn pour(mut stream: Stream, number: u64, begun: tokio::sync::mpsc::Sender<()>) -> BTreeMap<String, bool> {
    let all: Vec<u8> = (1..=WRITES).flat_map(|id| stream.request(create(number, id)).1).collect();
    // The host may have said that it takes no more before all of it is written.
    let _ = within("a write", stream.send.write_all(&all)).await;
    let mut answered = BTreeMap::new();
    while let Ok(answer) = stream.answer_or_end().await {
        let done = match answer.outcome {
            Ok(_) => true,
            Err(error) if error.code == Code::Draining => false,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(answered.insert(name(number, answer.id), done), None, "answered twice");
        let _ = begun.try_send(());
    }
    answered
}

/// A stop while many writes are under way.
async fn check(signal: &str) {
    let folder = Folder::new();
    let mut host = folder.serve();
    let (begun, mut first) = tokio::sync::mpsc::channel(1);
    let mut pouring = Vec::new();
    for number in 0..STREAMS {
        let (raw, stream) = Raw::greet(&host).await;
        let begun = begun.clone();
        // The connection goes when its stream has ended.
        pouring.push(tokio::spawn(async move { (pour(stream, number, begun).await, raw).0 }));
    }
    first.recv().await.unwrap();
    let begun = Instant::now();
    host.signal(signal);
    let mut answered = BTreeMap::new();
    for pouring in pouring {
        answered.extend(pouring.await.unwrap());
    }
    assert_eq!(host.ended(), Some(0), "{}", host.stderr());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10), "it took {took:?}");
    let done = answered.values().filter(|done| **done).count();
    println!("{signal}: {done} of {} done, {} refused", STREAMS * WRITES, answered.len() - done);
    let there = names_on(&folder.serve()).await;
    let done: BTreeSet<_> = answered.into_iter().filter_map(|(name, done)| done.then_some(name)).collect();
    let told: Vec<_> = done.difference(&there).collect();
    assert!(told.is_empty(), "answered and not there: {told:?}");
    let untold: Vec<_> = there.difference(&done).collect();
    assert!(untold.is_empty(), "there and not answered: {untold:?}");
}

/// Every object that was made.
async fn names_on(host: &Host) -> BTreeSet<String> {
    let client = host.client().await;
    let mut names = BTreeSet::new();
    let mut list = List { limit: 1_000, with_payloads: false, ..list_of("stop") };
    loop {
        let page = client.list(list.clone()).await.unwrap();
        names.extend(page.items.iter().map(|item| item.object.name().to_owned()));
        match page.token {
            Some(token) => list.token = Some(token),
            None => return names,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_leaves_what_was_done_unanswered() {
    check("TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_leaves_what_was_done_unanswered() {
    check("INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_idle_holds_up_a_stop() {
    let folder = Folder::new();
    let mut host = folder.serve();
    let client = host.client().await;
    client.info().await.unwrap();
    let (_raw, _stream) = Raw::greet(&host).await;
    let begun = Instant::now();
    host.signal("TERM");
    assert_eq!(host.ended(), Some(0), "{}", host.stderr());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert_eq!(host.stderr(), "", "nothing had to be cut off");
}

#[test]
fn a_signal_at_the_moment_of_readiness_kills_the_host() {
    let folder = Folder::new();
    for _ in 0..5 {
        let mut host = folder.serve();
        host.signal("TERM");
        assert_eq!(host.ended(), Some(0), "{}", host.stderr());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_output_nobody_reads_breaks_down() {
    let folder = Folder::new();
    let data = folder.data();
    let ready = folder.beside("ready.json");
    let paths = [&data, &ready].map(|path| path.to_str().unwrap());
    let mut child = command(["serve", "--dev", "--data-dir", paths[0], "--ready-file", paths[1]])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let pid = child.id();
    until("the host is ready or has ended", || (ready.exists() || child.try_wait().unwrap().is_some()).then_some(()))
        .await;
    let _ = std::process::Command::new("sh").args(["-c", &format!("kill -TERM {pid} 2>/dev/null")]).status();
    finish(child, Duration::from_secs(20)).exits(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_its_host_makes_a_client_useless() {
    let folder = Folder::new();
    let first = folder.serve();
    let address = first.file.quic.to_string();
    let client = first.client().await;
    let object = object("stop", "restart");
    client.put(&object, structured(&json!({ "n": 1 })), Expect::Absent).await.unwrap();
    first.stop();
    let second = folder.serve_with(&["--listen", &address]);
    let read = client.read(&object).await.unwrap();
    assert_eq!(read.version.get(), 1);
    drop(second);
}
