//! How commands fail: the exit code says what happened, and so does the error, as JSON where that was asked for.

use std::net::UdpSocket;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::{Folder, run, shared};

/// Fails with `--json` and without; the error, as JSON.
fn fails(data: Option<&Path>, args: &[&str], exit: i32) -> Value {
    let plain = run(data, args).exits(exit);
    assert!(plain.stderr.starts_with("error:"), "{plain:?}");
    assert_eq!(plain.stdout, "", "{args:?}");
    let ran = run(data, args.iter().copied().chain(["--json"])).exits(exit);
    let mut answer = ran.json();
    let error = answer["error"].take();
    for field in ["code", "number", "retryable", "message"] {
        assert!(!error[field].is_null(), "no {field}: {error}");
    }
    error
}

#[test]
fn a_conflict_does_not_exit_3_or_hides_the_winner() {
    let host = shared();
    let data = Some(host.data());
    let put = ["put", "cli-errors", "volume", "v-1", "--data", r#"{"size":1}"#];
    run(data, put).exits(0);
    run(data, put).exits(0);
    for condition in [["--if-version", "1"], ["--if-version", "0"], ["--if-version", "7"], ["--new-version", "2"]] {
        let error = fails(data, &[&put[..], &condition].concat(), 3);
        assert_eq!(
            [&error["code"], &error["number"], &error["retryable"]],
            [&json!("conflict"), &json!(11), &json!(false)]
        );
        assert_eq!(error["winner"], json!({ "version": 2, "payload": { "size": 1 } }), "{condition:?}");
    }
    let shown = run(data, [&put[..], &["--if-version", "1"]].concat()).exits(3);
    assert!(shown.stderr.contains("version 2") && shown.stderr.contains("size"), "{shown:?}");
    for command in ["merge", "add"] {
        let change = [command, "cli-errors", "volume", "v-1", "--data", r#"{"/size":1}"#, "--if-version", "1"];
        fails(data, &change, 3);
    }
    fails(data, &["delete", "cli-errors", "volume", "v-1", "--if-version", "1"], 3);
}

#[test]
fn what_is_not_there_does_not_exit_4() {
    let host = shared();
    let data = Some(host.data());
    let put = ["put", "cli-errors", "volume", "gone", "--data", "{}"];
    run(data, put).exits(0);
    run(data, ["delete", "cli-errors", "volume", "gone"]).exits(0);
    for command in ["get", "version", "delete"] {
        let error = fails(data, &[command, "cli-errors", "volume", "gone"], 4);
        assert_eq!((&error["code"], &error["stored"]), (&json!("not-found"), &json!(2)), "{command}");
        let error = fails(data, &[command, "cli-errors", "volume", "never"], 4);
        assert_eq!(error["stored"], 0, "{command}");
    }
}

#[test]
fn what_the_host_refuses_does_not_exit_6() {
    let host = shared();
    let data = Some(host.data());
    run(data, ["put", "cli-errors", "kind", "map", "--data", r#"{"n":9223372036854775807}"#]).exits(0);
    let file = Folder::new();
    std::fs::write(file.beside("bytes"), "x").unwrap();
    let bytes = file.beside("bytes");
    run(data, ["put", "cli-errors", "kind", "bytes", "--bytes", bytes.to_str().unwrap()]).exits(0);
    let check = |args: &[&str], code: &str| {
        let error = fails(data, args, 6);
        assert_eq!(error["code"], code, "{args:?}");
        error
    };
    let object = |name| ["cli-errors", "kind", name];
    let on = |command: &'static str, name, more: &[&'static str]| [&[command], &object(name)[..], more].concat();
    let gap = check(&on("put", "map", &["--data", "{}", "--new-version", "9"]), "version-gap");
    assert_eq!(gap["stored"], 1);
    check(&on("put", "map", &["--data", "{}", "--new-version", "0"]), "invalid-version");
    check(&on("merge", "bytes", &["--data", r#"{"a":1}"#]), "not-structured");
    check(&on("add", "bytes", &["--data", r#"{"/a":1}"#]), "not-structured");
    check(&on("add", "map", &["--data", r#"{"/n":1}"#]), "number-overflow");
    check(&on("add", "map", &["--data", r#"{"/none":1}"#]), "invalid-pointer");
    let wrong = check(&on("get", "map", &["--shard-key", "1"]), "wrong-shard-key");
    assert!(wrong["shard_key"].is_u64());
    check(&["get", "", "kind", "map"], "invalid-id");
    check(&["get", "cli-errors", "a\u{7}", "map"], "invalid-id");
    check(&["list", ""], "invalid-id");
    check(&on("put", "map", &["--data", "[1]"]), "invalid-payload");
    check(&on("put", "map", &["--data", r#"{"n":18446744073709551615}"#]), "invalid-payload");
    let id = "01890000-0000-7000-8000-000000000002";
    run(data, on("put", "once", &["--data", "{}", "--action-id", id])).exits(0);
    check(&on("put", "once", &["--data", r#"{"a":1}"#, "--action-id", id]), "action-id-reused");
    let ahead = "fffe0000-0000-7000-8000-000000000003";
    check(&on("put", "once", &["--data", "{}", "--action-id", ahead]), "action-id-ahead");
    std::fs::write(&bytes, vec![0; (1 << 20) + 1]).unwrap();
    let large = ["put", "cli-errors", "kind", "large", "--bytes", bytes.to_str().unwrap()];
    check(&large, "payload-too-large");
}

#[test]
fn a_host_that_is_not_there_does_not_exit_5() {
    let folder = Folder::new();
    let get = ["get", "a", "b", "c", "--timeout", "1"];
    let error = fails(Some(&folder.data()), &get, 5);
    assert_eq!(error["retryable"], true);

    let host = folder.serve();
    let tls = |name: &str| host.data().join("tls").join(name).display().to_string();
    let (cert, key, ca) = (tls("client.pem"), tls("client.key"), tls("ca.pem"));
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let server = silent.local_addr().unwrap().to_string();
    let named = ["--server", &server, "--cert", &cert, "--key", &key, "--ca", &ca];
    fails(None, &[&get[..], &named].concat(), 5);

    let other = shared();
    let foreign = other.data().join("tls/ca.pem").display().to_string();
    let server = host.file.quic.to_string();
    let named = ["--server", &server, "--cert", &cert, "--key", &key, "--ca", &foreign];
    fails(None, &[&get[..], &named].concat(), 5);

    // Nobody takes the file of a host that was killed away.
    let data = host.data().to_owned();
    host.kill();
    assert!(data.join("host.json").exists());
    fails(Some(&data), &get, 5);
}

#[test]
fn what_makes_no_sense_does_not_exit_2() {
    let host = shared();
    let data = Some(host.data());
    let check = |data: Option<&Path>, args: &[&str]| {
        let ran = run(data, args).exits(2);
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
        let json = run(data, args.iter().copied().chain(["--json"])).exits(2);
        assert_eq!(json.json()["error"]["code"], "usage", "{args:?}");
    };
    check(None, &["get", "a", "b", "c"]);
    check(None, &["info"]);
    check(data, &["get", "a", "b"]);
    check(data, &["put", "a", "b", "c"]);
    check(data, &["put", "a", "b", "c", "--data", "{"]);
    check(data, &["put", "a", "b", "c", "--data", "{}", "--bytes", "x"]);
    check(data, &["put", "a", "b", "c", "--data", "@/no/such/file"]);
    check(data, &["put", "a", "b", "c", "--data", "{}", "--if-version", "-1"]);
    check(data, &["put", "a", "b", "c", "--data", "{}", "--action-id", "x"]);
    check(data, &["get", "a", "b", "c", "--server", "127.0.0.1"]);
    check(data, &["get", "a", "b", "c", "--server", "127.0.0.1:1"]);
    check(data, &["list", "a", "--prefix", "x"]);
    check(data, &["get", "a", "b", "c", "--timeout", "0"]);
    check(data, &["get", "a", "b", "c", "--traceparent", "x"]);
}
