//! Components in place of the shipped policies: used, or refused with the reason.

use ostrakon_client::{Expect, json};
use ostrakon_policy::testing::{When, hostile};
use ostrakon_wire::{Generation, PolicyKind};
use serde_json::json;

use crate::harness::{Folder, component_file, object, run, shard_key_of, structured, version};

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
    let facts = client.info().await.unwrap().facts;
    let facts = json::to_json(&ostrakon_client::value::Value::Map(facts));
    assert_eq!(facts["policies"]["shard-key"]["name"], "test-policy");
    assert_ne!(facts["policies"]["prediction"]["name"], "test-policy");
}

/// Words of the reason, for every component that must not load.
fn words(name: &str) -> &'static str {
    match name {
        "empty" | "not-wasm" | "wasm-text" => "not WebAssembly",
        "core-module" => "core WebAssembly module",
        "cut-off" | "damaged" | "two-memories" => "malformed",
        "too-large" => "bytes; at most",
        "imports" => "imports nothing",
        "no-exports" => "does not export the interface",
        "missing-function" => "lacks the function",
        "extra-function" | "extra-export" => "no part of the contract",
        "another-world" => "this is a prediction policy",
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

#[test]
fn a_component_that_must_not_load_lets_the_host_start() {
    let folder = Folder::new();
    for each in hostile().into_iter().filter(|each| each.when == When::Load) {
        let file = component_file(folder.beside("").as_path(), each.name, &each.bytes);
        let policy = format!("{}={}", each.kind.name(), file.display());
        let refused = folder.refused(&["--policy", &policy]).exits(6);
        assert!(refused.stderr.contains(words(each.name)), "{}: {refused:?}", each.name);
        assert!(refused.stderr.contains(file.to_str().unwrap()), "{}: {refused:?}", each.name);
    }
    assert!(!folder.data().exists(), "a start that is refused has made a folder");
    folder.serve().stop();
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

#[test]
fn a_policy_that_fails_takes_more_with_it_than_its_own_request() {
    let folder = Folder::new();
    let traps = hostile().into_iter().find(|each| each.name == "call-traps").unwrap();
    let file = component_file(folder.beside("").as_path(), traps.name, &traps.bytes);
    let host = folder.serve_with(&["--policy", &format!("shard-key={}", file.display())]);
    for round in ["first", "second"] {
        let put = |data_type| ["put", "policies", data_type, round, "--data", "{}", "--timeout", "1", "--json"];
        let failed = run(Some(host.data()), put("hostile")).exits(1).json();
        assert_eq!(failed["error"]["code"], "policy-failed", "{failed}");
        assert_eq!(failed["error"]["retryable"], true);
        run(Some(host.data()), put("volume")).exits(0);
    }
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
    let facts = client.info().await.unwrap().facts;
    let facts = json::to_json(&ostrakon_client::value::Value::Map(facts));
    assert_eq!(facts["predictions"]["faults"], 1);
    let log = host.stderr();
    assert!(log.lines().any(|line| line.contains("WARN") && line.contains(trace)), "{log}");
}
