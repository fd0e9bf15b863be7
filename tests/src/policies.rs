//! Components in place of the shipped policies: used, or refused with the reason.

use ostrakon_client::Expect;
use ostrakon_policy::testing::{Hostile, When, hostile};
use ostrakon_wire::{Action, Code, Generation, ObjectId, OnConflict, Operation, Perform, PolicyKind, Target};
use serde_json::json;

use crate::harness::{Folder, Host, Raw, component_file, info, object, shard_key_of, structured, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_component_in_place_of_a_shipped_policy_does_not_decide() {
    let folder = Folder::new();
    let file = component_file(folder.beside("").as_path(), "mine", &shard_key_of(0xbeef));
    let host = folder.serve_with(&["--policy", &format!("shard-key={}", file.display())]);
    let client = host.client().await;
    let object = object("policies", "mine");
    let would = client.shard_key(&object).await.unwrap();
    assert_eq!(would.shard_key.get() >> 48, 0xbeef);
    assert!(!would.recorded);
    assert_eq!(would.decided.generations.shard_key, Some(Generation::FIRST));
    let made = client.put(&object, structured(&json!({})), Expect::Absent).await.unwrap();
    assert_eq!(made.shard_key, would.shard_key);
    assert_eq!(made.decided.generations.shard_key, Some(Generation::FIRST));
    assert_eq!(made.decided.generations.prediction, Some(Generation::FIRST));
    let facts = info(&client).await;
    assert_eq!(facts["policies"]["shard-key"]["name"], "test-policy");
    assert_ne!(facts["policies"]["prediction"]["name"], "test-policy");
}

/// Words of the reason, for every component that must not load.
pub(crate) fn words(kind: PolicyKind, name: &str) -> &'static str {
    match name {
        "empty" | "not-wasm" | "wasm-text" => "not WebAssembly",
        "core-module" => "core WebAssembly module",
        "cut-off" | "damaged" | "two-memories" => "malformed",
        "too-large" => "bytes; at most",
        "imports" => "imports nothing",
        "no-exports" => "does not export the interface",
        "missing-function" => "lacks the function",
        "extra-function" | "extra-export" => "no part of the contract",
        "another-world" => match kind {
            PolicyKind::ShardKey => "this is a prediction policy",
            PolicyKind::Prediction => "this is a reconciliation policy",
            PolicyKind::Reconciliation => "this is a shard-key policy",
        },
        "newer-contract" => "newer contract",
        "older-contract" => "older contract",
        "wrong-type" => "wrong type",
        "configure-refuses" => "too heavy",
        "much-memory" | "start-traps" | "start-loops" => "while it was instantiated",
        _ if name.starts_with("describe") => "in `describe`",
        _ if name.starts_with("configure") => "in `configure`",
        _ => "in a trial call",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_must_not_load_lets_the_host_start() {
    let folder = Folder::new();
    for each in hostile().into_iter().filter(|each| each.when == When::Load) {
        let file = component_file(folder.beside("").as_path(), each.name, &each.bytes);
        let policy = format!("{}={}", each.kind.name(), file.display());
        let refused = folder.refused(&["--policy", &policy]).exits(6);
        assert!(refused.stderr.contains(words(each.kind, each.name)), "{policy}: {refused:?}");
        assert!(refused.stderr.contains(file.to_str().unwrap()), "{policy}: {refused:?}");
    }
    assert!(!folder.data().exists(), "a start that is refused has made a folder");
    let host = folder.serve();
    host.client().await.put(&object("policies", "after"), structured(&json!({})), Expect::Absent).await.unwrap();
    host.stop();
}

#[test]
fn a_component_of_another_kind_or_no_file_at_all_lets_the_host_start() {
    let folder = Folder::new();
    let check = |kind: PolicyKind, file: &str, settings: Option<&str>, words: &str| {
        let mut args = vec!["--policy".to_owned(), format!("{}={file}", kind.name())];
        if let Some(settings) = settings {
            let path = folder.beside("settings.json");
            std::fs::write(&path, settings).unwrap();
            args.extend(["--policy-settings".into(), format!("{}={}", kind.name(), path.display())]);
        }
        let refused = folder.refused(&args).exits(6);
        assert!(refused.stderr.contains(words), "{refused:?}");
    };
    let file = component_file(folder.beside("").as_path(), "good", &shard_key_of(1));
    let good = file.to_str().unwrap();
    check(PolicyKind::Prediction, good, None, "this is a shard-key policy");
    check(PolicyKind::Reconciliation, good, None, "this is a shard-key policy");
    check(PolicyKind::ShardKey, "/no/such/file.wasm", None, "/no/such/file.wasm");
    check(PolicyKind::ShardKey, good, Some("[]"), "the settings are refused");
    check(PolicyKind::ShardKey, good, Some("{\"weights\":"), "the settings are refused");
}

/// Words of the fault, for every component whose call goes wrong.
fn fault(name: &str) -> &'static str {
    match name {
        "call-traps" => "unreachable",
        "call-loops" => "20 ms",
        "call-recurses" => "call stack exhausted",
        "call-eats-memory" => "16777216 bytes",
        "call-too-many-bits" => "64 meaningful bits",
        _ => "the shard-key policy failed",
    }
}

/// A host whose policy this is from the start on: no other one answers where it fails.
fn serving(policy: &Hostile) -> (Folder, Host) {
    let folder = Folder::new();
    let file = component_file(folder.beside("").as_path(), policy.name, &policy.bytes);
    let host = folder.serve_with(&["--policy", &format!("{}={}", policy.kind.name(), file.display())]);
    (folder, host)
}

/// Asked over a bare stream: a client library would ask again.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_takes_more_with_it_than_its_own_request() {
    let all = hostile().into_iter();
    let calls: Vec<_> = all.filter(|each| each.when == When::Call && each.kind == PolicyKind::ShardKey).collect();
    assert!(calls.len() >= 6, "{}", calls.len());
    for each in calls {
        let (_folder, host) = serving(&each);
        let (_raw, mut stream) = Raw::greet(&host).await;
        let put = |data_type| {
            Operation::Perform(Perform {
                target: Target { object: ObjectId::new("policies", data_type, each.name).unwrap(), shard_key: None },
                action: Action::Put(structured(&json!({}))),
                known: None,
                action_id: None,
                on_conflict: OnConflict::Reject,
            })
        };
        let failed = stream.ask(put("hostile")).await.unwrap_err();
        assert_eq!(failed.code, Code::PolicyFailed, "{}: {}", each.name, failed.message);
        assert!(failed.code.retryable());
        assert!(failed.message.contains(fault(each.name)), "{}: {}", each.name, failed.message);
        stream.ask(put("volume")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_that_fails_holds_up_its_write() {
    let all = hostile().into_iter();
    let calls: Vec<_> = all.filter(|each| each.when == When::Call && each.kind == PolicyKind::Prediction).collect();
    assert!(calls.len() >= 3, "{}", calls.len());
    for each in calls {
        let (_folder, host) = serving(&each);
        let client = host.client().await;
        let object = object("policies", each.name);
        for next in 1..=9 {
            client.write(&object, version(next), structured(&json!({}))).await.unwrap();
        }
        let facts = info(&client).await;
        assert_eq!(facts["predictions"]["faults"], 1, "{}", each.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_answers_differently_the_second_time_goes_unnoticed() {
    // Every so many calls of an instance one is repeated on a fresh instance; there are a few instances.
    const CREATIONS_MAX: usize = 20_000;
    const BATCH: usize = 250;
    let (_folder, host) = serving(&hostile().into_iter().find(|each| each.when == When::Sample).unwrap());
    let client = host.client().await;
    // The client library asks again after a fault, and every object is made in the end.
    for n in 0..CREATIONS_MAX / BATCH {
        let create = |m| {
            let object = object("impure", format!("{n}-{m}"));
            let client = &client;
            async move { client.put(&object, structured(&json!({})), Expect::Absent).await.map(drop) }
        };
        futures_util::future::try_join_all((0..BATCH).map(create)).await.unwrap();
        let facts = info(&client).await;
        if facts["shard-key-faults"].as_u64().unwrap() > 0 {
            let policy = &facts["policies"]["shard-key"];
            assert_eq!(policy["faults"], facts["shard-key-faults"], "{facts}");
            assert!(policy["purity-checks"].as_u64().unwrap() >= 1, "{facts}");
            return;
        }
    }
    panic!("no repeated call was compared");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forecast_that_fails_fails_its_write_or_hides_its_trace() {
    let folder = Folder::new();
    // Fails where version 7 is known.
    let traps = hostile().into_iter().find(|each| each.name == "forecast-traps").unwrap();
    let file = component_file(folder.beside("").as_path(), traps.name, &traps.bytes);
    let host = folder.serve_with(&["--log", "debug", "--policy", &format!("prediction={}", file.display())]);
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let client = host.client().await.with_trace_parent(format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap());
    let object = object("policies", "forecast");
    for next in 1..=9 {
        let done = client.write(&object, version(next), structured(&json!({}))).await.unwrap();
        assert_eq!(done.decided.generations.prediction, Some(Generation::FIRST));
    }
    let facts = info(&client).await;
    assert_eq!(facts["predictions"]["faults"], 1);
    let log = host.stderr();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains(trace)), "{log}");
}
