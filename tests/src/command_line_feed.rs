//! What the commands tell of what was, of what comes, and of several changes at once.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, channel};

use ostrakon_client::{Action, Client, ObjectId, OnConflict, Step, Transact};
use serde_json::{Value, json};

use crate::harness::{BOUND, Folder, Host, Ran, command, finish, run, shared, structured, target};

fn answer(host: &Host, args: &[&str]) -> Value {
    answers(host, args).pop().unwrap()
}

/// One JSON object a line.
fn answers(host: &Host, args: &[&str]) -> Vec<Value> {
    let ran = run(Some(host.data()), args.iter().copied().chain(["--json"])).exits(0);
    assert_eq!(ran.stderr, "", "{args:?}");
    ran.lines()
}

/// What a command fails with.
fn fails(host: &Host, args: &[&str], exit: i32) -> Value {
    let plain = run(Some(host.data()), args).exits(exit);
    assert!(plain.stderr.starts_with("error:"), "{plain:?}");
    run(Some(host.data()), args.iter().copied().chain(["--json"])).exits(exit).lines().pop().unwrap()["error"].take()
}

fn put(host: &Host, client: &str, name: &str, data: &str) -> Value {
    answer(host, &["put", client, "volume", name, "--data", data])
}

/// Writes a transaction into a file and does it.
fn transaction(folder: &Folder, content: &Value) -> String {
    let file = folder.beside("transaction.json");
    std::fs::write(&file, content.to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

/// A watch under way.
struct Watching {
    child: Child,
    lines: Receiver<String>,
}

impl Watching {
    fn begin(data: &Path, args: &[&str]) -> Self {
        let mut child = command([&["watch"], args].concat()).env("OSTRAKON_DATA_DIR", data).spawn().unwrap();
        let (send, lines) = channel();
        let read = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || read.map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(BOUND).unwrap()
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.line()).unwrap()
    }

    fn ends(self) -> Ran {
        finish(self.child, BOUND).exits(0)
    }
}

#[test]
fn a_watch_misses_repeats_or_disorders_changes() {
    let (host, folder) = (shared(), Folder::new());
    let client = "cli-watch";
    put(&host, client, "v-1", r#"{"n":1}"#);
    put(&host, client, "other", r#"{"n":0}"#);
    let watching = Watching::begin(host.data(), &[client, "volume", "v-", "--list", "--json", "--changes", "5"]);
    let standing = watching.next();
    assert_eq!(
        [&standing["event"], &standing["name"], &standing["version"], &standing["payload"]],
        [&json!("object"), &json!("v-1"), &json!(1), &json!({ "n": 1 })]
    );
    let bookmark = watching.next();
    assert_eq!(bookmark["event"], "bookmark");

    let id = "01890000-0000-7000-8000-000000000011";
    answer(&host, &["merge", client, "volume", "v-1", "--data", r#"{"m":2}"#, "--action-id", id]);
    put(&host, client, "other", r#"{"n":1}"#);
    let content = json!({ "actions": [
        { "object": [client, "volume", "v-1"], "add": { "/n": 1 } },
        { "object": [client, "volume", "other"], "put": {} },
        { "object": [client, "volume", "v-2"], "put_bytes": "AP94" },
    ]});
    let transacted = answer(&host, &["transact", &transaction(&folder, &content)]);
    answer(&host, &["delete", client, "volume", "v-2"]);
    put(&host, client, "v-2", r#"{"n":2}"#);

    let told: Vec<_> = (0..5).map(|_| watching.next()).collect();
    let of = |field: &str| told.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert!(told.iter().all(|line| line["event"] == "change" && line["client"] == client && !line["by"].is_null()));
    assert_eq!(of("name"), ["v-1", "v-1", "v-2", "v-2", "v-2"]);
    assert_eq!(of("version"), [2, 3, 1, 2, 3]);
    assert_eq!(of("kind"), ["merge", "add", "put", "delete", "put"]);
    assert_eq!(of("deleted"), [false, false, false, true, false]);
    let payloads = [
        json!({ "n": 1, "m": 2 }),
        json!({ "n": 2, "m": 2 }),
        json!({ "$base64": "AP94" }),
        Value::Null,
        json!({ "n": 2 }),
    ];
    assert_eq!(of("payload"), payloads);
    assert_eq!(told[0]["action_id"], id);
    assert_eq!([&told[1]["revision"], &told[2]["revision"]], [&transacted["revision"]; 2]);
    let place: Vec<_> = told.iter().map(|line| line["position"].is_string()).collect();
    assert_eq!(place, [true, false, true, true, true], "only the end of a unit is a place to go on from");
    assert_eq!(watching.ends().stderr, "");

    let place = |at: usize| told[at]["position"].as_str().unwrap();
    let again = |from: &str, more: &[&str]| {
        let watch = ["watch", client, "volume", "v-", "--from", from, "--changes"];
        answers(&host, &[&watch[..], more].concat())
    };
    assert_eq!(again(bookmark["position"].as_str().unwrap(), &["5"]), told);
    assert_eq!(again(place(0), &["1"]), told[1..3], "a transaction is cut");
    let lines = again(place(0), &["4", "--no-payloads", "--previous"]);
    let before: Vec<_> = lines.iter().map(|line| [&line["payload"], &line["previous"]]).collect();
    let none = &Value::Null;
    assert_eq!(before, [[none, &payloads[0]], [none, none], [none, &payloads[2]], [none, none]]);
}

#[test]
fn a_watch_that_is_told_to_stop_has_failed() {
    let folder = Folder::new();
    let host = folder.serve();
    for signal in ["INT", "TERM"] {
        let watching = Watching::begin(host.data(), &["cli", "--bookmarks", "--bookmark-ms", "100"]);
        assert!(watching.line().starts_with("bookmark "));
        put(&host, "cli", "v", r#"{"n":1}"#);
        let change = watching.line();
        for word in ["put", "cli volume v", "version", r#"{"n":1}"#] {
            assert!(change.contains(word), "{change}");
        }
        let kill = format!("kill -{signal} {}", watching.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        let ran = watching.ends();
        assert!(ran.stderr.starts_with("watched up to "), "{ran:?}");
    }
}

#[test]
fn a_change_behind_a_new_retention_is_not_watched() {
    let folder = Folder::new();
    let host = folder.serve();
    let first = put(&host, "cli", "v", "{}");
    answer(&host, &["retention", "--set", "--type", "kept", "--versions", "2", "--age", "1d"]);
    let watch = ["cli", "--json", "--bookmarks", "--bookmark-ms", "100", "--changes", "1"];
    let watching = Watching::begin(host.data(), &watch);
    assert_eq!(watching.next()["position"], first["position"], "a rule is no change, and has no place of its own");
    let second = put(&host, "cli", "v", "{}");
    assert_eq!(watching.next()["position"], second["position"]);
    watching.ends();
}

#[test]
fn a_watch_does_not_outlive_a_restart_of_its_host() {
    let folder = Folder::new();
    let host = folder.serve();
    let address = host.file.quic.to_string();
    let watching = Watching::begin(host.data(), &["cli", "--list", "--json", "--changes", "2"]);
    assert_eq!(watching.next()["event"], "bookmark");
    put(&host, "cli", "before", "{}");
    assert_eq!(watching.next()["name"], "before");
    host.stop();
    let host = folder.serve_with(&["--listen", &address]);
    put(&host, "cli", "behind", "{}");
    assert_eq!(watching.next()["name"], "behind");
    watching.ends();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_the_log_has_left_is_watched_from() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--action-ids", "1000", "--log-changes", "1000"]);
    let first = put(&host, "cli", "v", "{}");
    let watch = ["watch", "cli", "--changes", "1", "--from", first["position"].as_str().unwrap()];
    let client = host.client().await;
    for _ in 0..48 {
        let step = |n| Step {
            target: target(&ObjectId::new("cli", "many", &format!("{n}")).unwrap()),
            action: Action::Put(structured(&json!({}))),
        };
        let actions = (0..64).map(step).collect();
        let action_id = Some(Client::new_action_id());
        let all = Transact { conditions: Vec::new(), actions, action_id, on_conflict: OnConflict::Reject };
        client.transact(all).await.unwrap();
    }
    let error = fails(&host, &watch, 6);
    assert_eq!(error["code"], "position-expired");
    let from = error["position"].as_str().unwrap().to_owned();
    answer(&host, &["list", "cli", "--at", &from, "--limit", "1"]);
    put(&host, "cli", "v", r#"{"n":1}"#);
    assert_eq!(answer(&host, &["watch", "cli", "--from", &from, "--changes", "1"])["payload"], json!({ "n": 1 }));
}

#[test]
fn the_past_is_not_told() {
    let host = shared();
    let client = "cli-past";
    let first = put(&host, client, "v", r#"{"n":1}"#);
    put(&host, client, "v", r#"{"n":2}"#);
    let gone = answer(&host, &["delete", client, "volume", "v"]);
    put(&host, client, "v", r#"{"n":4}"#);
    put(&host, client, "w", r#"{"n":1}"#);

    let history = answers(&host, &["history", client, "volume", "v"]);
    let of = |field: &str| history.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("version"), [4, 3, 2, 1]);
    assert_eq!(of("kind"), ["put", "delete", "put", "put"]);
    assert_eq!(of("payload"), [json!({ "n": 4 }), Value::Null, json!({ "n": 2 }), json!({ "n": 1 })]);
    assert_eq!([&history[3]["revision"], &history[3]["position"]], [&first["revision"], &first["position"]]);
    assert!(history.iter().all(|line| line["committed_ms"].as_u64().unwrap() > 1_700_000_000_000));
    let few = answers(&host, &["history", client, "volume", "v", "--limit", "2", "--no-payloads"]);
    let versions: Vec<_> = few.iter().map(|line| [&line["version"], &line["payload"]]).collect();
    assert_eq!(versions, [[&json!(4), &Value::Null], [&json!(3), &Value::Null]]);
    let table = run(Some(host.data()), ["history", client, "volume", "v"]).exits(0).stdout;
    for word in ["COMMITTED", "Z  put", "(deleted)", r#"{"n":4}"#, first["position"].as_str().unwrap()] {
        assert!(table.contains(word), "{word}: {table}");
    }

    let get = ["get", client, "volume", "v"];
    let [first, gone] = [&first, &gone].map(|answer| answer["position"].as_str().unwrap());
    for (past, n) in [(["--version", "1"], 1), (["--version", "2"], 2), (["--at", first], 1)] {
        assert_eq!(answer(&host, &[&get[..], &past].concat())["payload"], json!({ "n": n }), "{past:?}");
    }
    for past in [["--version", "3"], ["--at", gone]] {
        assert_eq!(fails(&host, &[&get[..], &past].concat(), 4)["code"], "not-found", "{past:?}");
    }
    let names = |at: &str| {
        let lines = answers(&host, &["list", client, "--at", at]);
        lines.iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(first), ["v"]);
    assert_eq!(names(gone), [""; 0]);
    let listed = run(Some(host.data()), ["list", client]).exits(0);
    let at = listed.stderr.trim().strip_prefix("listed at ").unwrap();
    assert_eq!(names(at), ["v", "w"]);
}

#[test]
fn how_long_versions_are_kept_cannot_be_said() {
    let host = shared();
    let rules = answers(&host, &["retention"]);
    assert_eq!(rules[0], json!({ "type": null, "versions": 16, "age_ms": 2_592_000_000_u64 }));
    let set = ["retention", "--set", "--type", "cli-kept", "--versions", "1", "--age", "36h"];
    let rule = json!({ "type": "cli-kept", "versions": 1, "age_ms": 129_600_000 });
    assert!(answers(&host, &set).contains(&rule));
    assert!(answers(&host, &["retention"]).contains(&rule));
    let table = run(Some(host.data()), ["retention"]).exits(0).stdout;
    assert!(table.contains("VERSIONS") && table.contains("(all others)") && table.contains("36h"), "{table}");

    for n in ["1", "2"] {
        answer(&host, &["put", "cli", "cli-kept", "v", "--data", &format!("{{\"n\":{n}}}")]);
    }
    let error = fails(&host, &["get", "cli", "cli-kept", "v", "--version", "1"], 4);
    assert_eq!(error["code"], "not-retained");
    assert!(!answers(&host, &["retention", "--type", "cli-kept", "--clear"]).contains(&rule));
}

#[test]
fn a_transaction_is_done_in_part_or_hides_why_it_is_not() {
    let (host, folder) = (shared(), Folder::new());
    let client = "cli-transact";
    put(&host, client, "a", r#"{"state":"open","balance":10}"#);
    put(&host, client, "b", r#"{"state":"closed","balance":0}"#);
    let of = |name: &str| json!([client, "volume", name]);
    let content = |state: &str| {
        let conditions = json!([
            { "object": of("a"), "version": 1 },
            { "object": of("b"), "at": "/state", "equals": state },
            { "object": of("c"), "absent": true },
        ]);
        let actions = json!([
            { "object": of("a"), "add": { "/balance": -5 } },
            { "object": of("b"), "merge": { "balance": 5 } },
            { "object": of("c"), "put": { "amount": 5 } },
        ]);
        transaction(&folder, &json!({ "conditions": conditions, "actions": actions }))
    };
    let error = fails(&host, &["transact", &content("open")], 3);
    let stands = json!({ "state": "closed", "balance": 0 });
    assert_eq!(error["code"], "conflict");
    assert_eq!(error["failed"], json!([{ "index": 1, "version": 1, "payload": stands, "omitted": false }]));
    let shown = run(Some(host.data()), ["transact", &content("open")]).exits(3);
    assert!(shown.stderr.contains("conditions[1]") && shown.stderr.contains("closed"), "{shown:?}");
    fails(&host, &["get", client, "volume", "c"], 4);

    let file = content("closed");
    let id = ["--action-id", "01890000-0000-7000-8000-000000000012"];
    let done = answer(&host, &["transact", &file, id[0], id[1]]);
    let made: Vec<_> = done["made"].as_array().unwrap().iter().map(|made| [&made["name"], &made["version"]]).collect();
    assert_eq!(
        made,
        [["a".into(), json!(2)], ["b".into(), json!(2)], ["c".into(), json!(1)]].each_ref().map(|m| m.each_ref())
    );
    assert_eq!([&done["repeated"], &done["tries"]], [&json!(false), &json!(0)]);
    let again = run(Some(host.data()), ["transact", &file, id[0], id[1]]).exits(0);
    assert_eq!(again.stdout.matches("done before").count(), 3, "{again:?}");
    assert_eq!(answer(&host, &["get", client, "volume", "a"])["payload"], json!({ "state": "open", "balance": 5 }));

    let file = transaction(
        &folder,
        &json!({ "actions": [
            { "object": of("a"), "delete": true },
            { "object": of("b"), "add": { "/none": 1 } },
        ]}),
    );
    let error = fails(&host, &["transact", &file], 6);
    assert_eq!([&error["code"], &error["step"]], [&json!("invalid-pointer"), &json!(1)]);
    answer(&host, &["get", client, "volume", "a"]);
}

#[test]
fn a_mistake_in_a_transaction_is_told_without_its_place() {
    let (host, folder) = (shared(), Folder::new());
    let check = |content: Value, words: &str| {
        let ran = run(Some(host.data()), ["transact", &transaction(&folder, &content)]).exits(2);
        assert!(ran.stderr.contains(words), "{words}: {ran:?}");
    };
    let object = json!(["cli", "volume", "mistaken"]);
    let act = json!({ "object": object, "put": {} });
    let condition = |condition: Value, words| {
        let mut whole = json!({ "object": object });
        whole.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
        check(json!({ "conditions": [whole], "actions": [act] }), words);
    };
    check(json!([]), "expected a JSON object");
    check(json!({ "action": [] }), "no member \"action\"");
    check(json!({}), "actions: ");
    check(json!({ "actions": [] }), "actions: a transaction has at least one action");
    check(json!({ "actions": {} }), "actions: expected an array");
    check(json!({ "actions": vec![act.clone(); 65] }), "actions: a transaction has at most 64");
    check(json!({ "actions": [act, 7] }), "actions[1]: expected a JSON object");
    check(json!({ "actions": [act, act] }), "actions[1]: a transaction acts once");
    check(json!({ "actions": [{ "put": {} }] }), "actions[0].object: expected [CLIENT, TYPE, NAME]");
    check(json!({ "actions": [{ "object": ["a", "b", 3], "put": {} }] }), "actions[0].object");
    check(json!({ "actions": [{ "object": object }] }), "actions[0]: expected one of put");
    check(json!({ "actions": [{ "object": object, "put": {}, "add": {} }] }), "actions[0]: expected one of put");
    check(json!({ "actions": [{ "object": object, "act": {} }] }), "actions[0]: no member \"act\"");
    check(json!({ "actions": [{ "object": object, "put": [1] }] }), "actions[0].put: expected a JSON object");
    check(json!({ "actions": [{ "object": object, "put": { "n": u64::MAX } }] }), "actions[0].put: the integer");
    check(json!({ "actions": [{ "object": object, "put_bytes": "*" }] }), "actions[0].put_bytes: expected base64");
    check(json!({ "actions": [{ "object": object, "delete": false }] }), "actions[0].delete: expected true");
    condition(json!({}), "conditions[0]: nothing must hold");
    condition(json!({ "version": -1 }), "conditions[0].version: expected a version");
    condition(json!({ "absent": false }), "conditions[0].absent: expected true");
    condition(json!({ "at": "/a" }), "conditions[0]: at and equals");
    condition(json!({ "at": 1, "equals": 1 }), "conditions[0].at: expected a JSON pointer");
    condition(json!({ "version": 1, "absent": true }), "conditions[0]: more than one");
    condition(json!({ "is": 1 }), "conditions[0]: no member \"is\"");
    let foreign = json!({ "actions": [{ "object": ["", "b", "c"], "put": {} }] });
    let error = fails(&host, &["transact", &transaction(&folder, &foreign)], 6);
    assert_eq!(error["code"], "invalid-id");
    assert!(error["message"].as_str().unwrap().contains("actions[0].object"), "{error}");
    fails(&host, &["get", "cli", "volume", "mistaken"], 4);
}

#[test]
fn what_makes_no_sense_of_the_past_or_the_future_is_tried() {
    let host = shared();
    let place = "0".repeat(40);
    let check = |args: &[&str], exit: i32, code: &str| {
        assert_eq!(fails(&host, args, exit)["code"], code, "{args:?}");
    };
    for args in [
        &["watch"][..],
        &["watch", "a", "--from", "x"],
        &["watch", "a", "--from", &place, "--list"],
        &["watch", "a", "--changes", "0"],
        &["watch", "a", "--bookmark-ms", "99"],
        &["history", "a", "b"],
        &["history", "a", "b", "c", "--limit", "0"],
        &["get", "a", "b", "c", "--version", "1", "--at", &place],
        &["list", "a", "--at", "0"],
        &["transact"],
        &["transact", "/no/such/file"],
        &["transact", "-", "--on-conflict", "detach"],
        &["retention", "--set", "--versions", "1"],
        &["retention", "--set", "--versions", "0", "--age", "1d"],
        &["retention", "--set", "--versions", "1", "--age", "1"],
        &["retention", "--set", "--versions", "1", "--age", "999ms"],
        &["retention", "--versions", "1", "--age", "1d"],
        &["retention", "--clear"],
        &["retention", "--type", "a"],
        &["retention", "--type", "a", "--clear", "--set", "--versions", "1", "--age", "1d"],
    ] {
        check(args, 2, "usage");
    }
    check(&["watch", "a", "--from", &place, "--changes", "1"], 6, "invalid-position");
    check(&["watch", ""], 6, "invalid-id");
    check(&["list", "a", "--at", &place], 6, "invalid-position");
    check(&["get", "a", "b", "c", "--at", &place], 6, "invalid-position");
    check(&["get", "a", "b", "never", "--version", "1"], 4, "not-found");
    check(&["history", "a", "b", "never"], 4, "not-found");
}
