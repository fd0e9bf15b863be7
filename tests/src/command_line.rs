//! What the commands answer when they can do what they are asked.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Folder, Host, Ran, run, shared};

/// Runs a command with `--json` on a host's folder.
fn ask(host: &Host, args: &[&str]) -> Ran {
    run(Some(host.data()), args.iter().copied().chain(["--json"]))
}

fn answer(host: &Host, args: &[&str]) -> Value {
    let ran = ask(host, args).exits(0);
    assert_eq!(ran.stderr, "", "{args:?}");
    ran.json()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

const STORED: [&str; 7] = ["client", "type", "name", "version", "revision", "shard", "shard_key"];

fn with<'a>(more: &[&'a str]) -> BTreeSet<&'a str> {
    STORED.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn the_answers_of_commands_lack_what_scripts_need() {
    let host = shared();
    let changed = with(&["repeated", "position", "epoch", "generations"]);
    let check = |args: &[&str], version: u64| {
        let done = answer(&host, args);
        assert_eq!(keys(&done), changed, "{args:?}");
        assert_eq!(
            [&done["client"], &done["type"], &done["name"], &done["version"], &done["repeated"]],
            [&json!("cli"), &json!("volume"), &json!("v-1"), &json!(version), &json!(false)],
            "{args:?}"
        );
    };
    let object = ["cli", "volume", "v-1"];
    let on = |command: &'static str, more: &[&'static str]| [&[command], &object[..], more].concat();
    check(&on("put", &["--data", r#"{"size":10}"#, "--if-version", "0"]), 1);
    check(&on("merge", &["--data", r#"{"state":"in-use","tags":{"a":null}}"#]), 2);
    check(&on("add", &["--data", r#"{"/size":-3}"#, "--if-version", "2"]), 3);
    check(&on("put", &["--data", r#"{"size":7,"state":"free"}"#, "--new-version", "4"]), 4);

    let got = answer(&host, &on("get", &[]));
    assert!(keys(&got).is_superset(&with(&["payload"])), "{got}");
    assert_eq!((&got["version"], &got["payload"]), (&json!(4), &json!({ "size": 7, "state": "free" })));
    let version = answer(&host, &on("version", &[]));
    assert_eq!(keys(&version), with(&[]));
    let shard_key = answer(&host, &on("shard-key", &[]));
    assert_eq!(shard_key, json!({ "shard_key": got["shard_key"], "shard": got["shard"], "recorded": true }));
    for field in STORED {
        assert_eq!(version[field], got[field], "{field}");
    }

    check(&on("delete", &["--if-version", "4"]), 5);
    check(&on("put", &["--data", "{}"]), 6);
}

#[test]
fn a_repeat_on_the_command_line_has_a_second_effect() {
    let host = shared();
    let id = "01890000-0000-7000-8000-000000000001";
    let add = ["add", "cli", "counter", "c-1", "--data", r#"{"/n":1}"#, "--action-id", id];
    answer(&host, &["put", "cli", "counter", "c-1", "--data", r#"{"n":0}"#]);
    let first = answer(&host, &add);
    let again = answer(&host, &add);
    assert_eq!((&first["repeated"], &again["repeated"]), (&json!(false), &json!(true)));
    assert_eq!((&first["version"], &first["revision"]), (&again["version"], &again["revision"]));
    assert_eq!(answer(&host, &["get", "cli", "counter", "c-1"])["payload"], json!({ "n": 1 }));
}

#[test]
fn a_payload_comes_back_as_another() {
    let host = shared();
    let folder = Folder::new();
    let payload = json!({
        "text": "Ελληνικά \u{1f3fa} \"quoted\" \n", "large": i64::MAX, "small": i64::MIN, "half": 0.5, "none": null,
        "yes": true, "list": [1, [2, { "three": 3 }], []], "": "an empty key",
    });
    let file = folder.beside("payload.json");
    std::fs::write(&file, payload.to_string()).unwrap();
    answer(&host, &["put", "cli", "payload", "json", "--data", &format!("@{}", file.display())]);
    assert_eq!(answer(&host, &["get", "cli", "payload", "json"])["payload"], payload);

    std::fs::write(&file, [0, 0xff, b'x']).unwrap();
    answer(&host, &["put", "cli", "payload", "bytes", "--bytes", file.to_str().unwrap()]);
    assert_eq!(answer(&host, &["get", "cli", "payload", "bytes"])["payload"], json!({ "$base64": "AP94" }));
}

#[test]
fn a_list_prints_something_else_than_an_object_a_line() {
    let host = shared();
    for (data_type, name) in [("b", "2"), ("b", "10"), ("a", "1"), ("b", "3-gone")] {
        answer(&host, &["put", "cli-list", data_type, name, "--data", r#"{"n":1}"#]);
    }
    answer(&host, &["delete", "cli-list", "b", "3-gone"]);
    let list = |args: &[&str], expected: &[(&str, &str)]| {
        let lines = ask(&host, &[&["list", "cli-list"], args].concat()).exits(0).lines();
        let names: Vec<_> =
            lines.iter().map(|line| (line["type"].as_str().unwrap(), line["name"].as_str().unwrap())).collect();
        assert_eq!(names, expected, "{args:?}");
        lines
    };
    let lines = list(&[], &[("a", "1"), ("b", "10"), ("b", "2")]);
    assert!(lines.iter().all(|line| keys(line) == with(&[])), "{lines:?}");
    list(&["b"], &[("b", "10"), ("b", "2")]);
    list(&["b", "--prefix", "1"], &[("b", "10")]);
    list(&["--limit", "2"], &[("a", "1"), ("b", "10")]);
    list(&["c"], &[]);
    let lines = list(&["a", "--payloads"], &[("a", "1")]);
    assert_eq!(lines[0]["payload"], json!({ "n": 1 }));
}

#[test]
fn info_and_the_shard_map_disagree() {
    let host = shared();
    let info = answer(&host, &["info"]);
    let map = answer(&host, &["shard-map"]);
    assert_eq!(info["shards"], map["shards"].as_array().unwrap().len());
    assert_eq!(info["epoch"], map["epoch"]);
    assert_eq!(info["protocol"], 1);
    for kind in ["shard-key", "prediction", "reconciliation"] {
        let policy = &info["policies"][kind];
        assert_eq!(policy["generation"], 1);
        assert_eq!(policy["digest"].as_str().unwrap().len(), 64);
    }
}

#[test]
fn a_host_is_not_found_by_its_address_or_its_folder() {
    let host = shared();
    let tls = |name: &str| host.data().join("tls").join(name).display().to_string();
    let (cert, key, ca) = (tls("client.pem"), tls("client.key"), tls("ca.pem"));
    let server = host.file.quic.to_string();
    let named = ["--server", &server, "--cert", &cert, "--key", &key, "--ca", &ca, "--json"];
    let put = ["put", "cli", "way", "address", "--data", "{}"];
    run(None, put.iter().chain(&named)).exits(0).json();
    // What is named goes before the folder of the environment.
    let elsewhere = Folder::new();
    run(Some(&elsewhere.data()), ["get", "cli", "way", "address"].iter().chain(&named)).exits(0);
    let data = host.data().to_str().unwrap();
    let got = run(None, ["get", "cli", "way", "address", "--data-dir", data]).exits(0);
    assert!(got.stdout.contains("version 1"), "{got:?}");
}

#[test]
fn the_time_given_to_a_command_is_not_the_objects() {
    let host = shared();
    let put = ["put", "cli", "time", "t", "--data", "{}", "--timestamp", "1700000000000"];
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    answer(&host, &[&put[..], &["--traceparent", parent]].concat());
    assert_eq!(answer(&host, &["get", "cli", "time", "t"])["timestamp_ms"], 1_700_000_000_000_u64);
}

#[test]
fn answers_for_people_are_empty() {
    let host = shared();
    let check = |args: &[&str], word: &str| {
        let ran = run(Some(host.data()), args).exits(0);
        assert!(ran.stdout.contains(word), "{ran:?}");
        // A list says where it was made, for who watches from there.
        let place = args[0] == "list" && ran.stderr.starts_with("listed at ") && ran.stderr.lines().count() == 1;
        assert!(ran.stderr.is_empty() || place, "{ran:?}");
    };
    check(&["put", "cli", "people", "p", "--data", r#"{"size":10}"#], "version 1");
    check(&["get", "cli", "people", "p"], "\"size\": 10");
    check(&["version", "cli", "people", "p"], "1");
    check(&["list", "cli", "people"], "VERSION");
    check(&["shard-key", "cli", "people", "p"], "recorded");
    check(&["shard-map"], "OWNER");
    check(&["info"], "revision");
    check(&["delete", "cli", "people", "p"], "version 2");
}
