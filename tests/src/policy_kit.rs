//! The kit for policies, from the binary alone: a project, its component, its tests, its figures.
//!
//! What needs a compiler for wasm runs where one is installed, and says so where none is: nothing is fetched for a test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use ostrakon_policy::testing::hostile;
use serde_json::{Value, json};

use crate::harness::{Ran, command, component_file, finish, root, run};

/// A build from nothing takes half a minute where nothing else runs.
const BUILD_BOUND: Duration = Duration::from_secs(600);

/// Whether the installed compiler has the wasm target.
fn wasm_is_installed() -> bool {
    let said = Command::new("rustc").args(["--print", "sysroot"]).output();
    let installed = said.is_ok_and(|said| {
        let sysroot = PathBuf::from(String::from_utf8_lossy(&said.stdout).trim());
        sysroot.join("lib/rustlib/wasm32-unknown-unknown/lib").is_dir()
    });
    if !installed {
        eprintln!("skipped: the installed compiler has no target wasm32-unknown-unknown");
    }
    installed
}

/// The command, with a cargo that does not reach for the network and keeps what it built.
fn offline(mut command: Command) -> Command {
    command
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_TARGET_DIR", Path::new(env!("CARGO_TARGET_TMPDIR")).join("policies"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn build(args: &[&str]) -> Ran {
    finish(offline(command([&["policy", "build"], args].concat())).spawn().unwrap(), BUILD_BOUND)
}

fn prebuilt(name: &str) -> String {
    root().join("plugins/prebuilt").join(name).with_extension("wasm").to_str().unwrap().to_owned()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// How a property came out.
fn result<'a>(report: &'a Value, property: &str) -> &'a Value {
    &report["properties"][property]["result"]
}

#[test]
fn a_new_project_does_not_build_or_is_not_what_policies_must_be() {
    if !wasm_is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for kind in ["shard-key", "prediction", "reconciliation"] {
        let name = format!("my-{kind}");
        let project = folder.path().join(&name);
        let made = run(None, ["policy", "new", &name, "--kind", kind, "--path", text(&project), "--json"]).exits(0);
        assert_eq!(made.json()["kind"], kind);
        // The versions that this machine certainly has.
        fs::copy(root().join("Cargo.lock"), project.join("Cargo.lock")).unwrap();

        let mut native = Command::new(env!("CARGO"));
        native.args(["test", "--quiet"]).current_dir(&project);
        finish(offline(native).spawn().unwrap(), BUILD_BOUND).exits(0);

        let built = build(&[text(&project), "--json"]).exits(0).json();
        assert_eq!((&built["kind"], &built["name"]), (&json!(kind), &json!(name)));
        let component = fs::read(project.join(&name).with_extension("wasm")).unwrap();
        assert_eq!(built["bytes"], component.len());
        let sources = folder.path().to_str().unwrap().as_bytes();
        assert!(
            !component.windows(sources.len()).any(|part| part == sources),
            "the component names this machine's folders"
        );

        let tested = run(None, ["policy", "test", text(&project), "--json"]).exits(0).json();
        assert_eq!(tested["digest"], built["digest"]);
        assert_eq!(result(&tested, "fixtures"), "pass");
        let bench = run(None, ["policy", "bench", text(&project), "--each-ms", "20", "--json"]).exits(0).json();
        assert!(bench["functions"][0]["p50_ns"].as_u64().unwrap() > 0, "{bench}");
    }
}

#[test]
fn the_example_is_not_what_policies_must_be() {
    if !wasm_is_installed() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (example, out) = (root().join("examples/tenant-shard-key"), folder.path().join("tenant-shard-key.wasm"));
    build(&[text(&example), "--out", text(&out)]).exits(0);
    let fixtures = example.join("fixtures");
    let tested = run(None, ["policy", "test", text(&out), "--fixtures", text(&fixtures), "--json"]).exits(0).json();
    for property in ["fixtures", "answers", "determinism", "spread", "order", "time"] {
        assert_eq!(result(&tested, property), "pass", "{tested}");
    }
}

#[test]
fn a_shipped_component_is_not_what_policies_must_be() {
    let recorded = root().join("plugins/weighted-shard-key/recorded");
    let component = prebuilt("weighted-shard-key");
    let ran = run(None, ["policy", "test", &component, "--fixtures", text(&recorded), "--json"]).exits(0).json();
    assert_eq!((&ran["kind"], &ran["passed"]), (&json!("shard-key"), &json!(true)));
    assert_eq!(ran["properties"]["fixtures"]["calls"], 400);
    assert!(ran["properties"]["determinism"]["inputs"].as_u64().unwrap() >= 1_000);
    assert!(ran["properties"]["spread"]["p"].as_f64().unwrap() >= 0.001);
    let words = run(None, ["policy", "test", &component, "--skip", "order", "--skip", "spread"]).exits(0).stdout;
    assert!(words.contains("pass     determinism") && words.contains("skipped  order"), "{words}");
}

#[test]
fn a_function_has_no_figures() {
    for (policy, functions) in [("weighted-shard-key", 2), ("frequency-prediction", 2), ("attach-volume", 4)] {
        let ran = run(None, ["policy", "bench", &prebuilt(policy), "--each-ms", "20", "--json"]).exits(0).json();
        assert_eq!((&ran["name"], ran["functions"].as_array().unwrap().len()), (&json!(policy), functions), "{ran}");
        for function in ran["functions"].as_array().unwrap() {
            assert!(function["calls_per_second"].as_f64().unwrap() > 0.0, "{ran}");
        }
    }
}

/// Tests a hostile component, with a fixture that brings out what it is; the one object on standard output.
fn test_hostile(name: &str) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let found = hostile().into_iter().find(|each| each.name == name).unwrap();
    let component = component_file(folder.path(), name, &found.bytes);
    fixture(folder.path(), "hostile", &json!({"key": 1, "bits": 1}));
    run(None, ["policy", "test", text(&component), "--json"]).exits(1).json()
}

/// A fixture of one call, of an object of this type.
fn fixture(folder: &Path, data_type: &str, answer: &Value) -> PathBuf {
    let heat = json!({
        "client-ppm": 0, "type-ppm": 0, "window-ppm": 0, "write-ppm": 0, "callers": 0, "idle-ms": 0, "shards": 0,
    });
    let call = json!({
        "function": "get-shard-key", "arguments": ["acme", data_type, "n", 0, 0, heat], "answer": answer,
    });
    fs::create_dir_all(folder.join("fixtures")).unwrap();
    let path = folder.join("fixtures/one.json");
    fs::write(&path, json!({"calls": [call]}).to_string()).unwrap();
    path
}

#[test]
fn a_policy_that_does_harm_passes() {
    let impure = test_hostile("counts-its-calls");
    assert_eq!(result(&impure, "determinism"), "fail", "{impure}");
    assert!(impure["error"]["message"].as_str().unwrap().contains("determinism"), "{impure}");
    assert_eq!(impure["properties"]["determinism"]["example"]["call"]["function"], "get-shard-key");
    let endless = test_hostile("call-loops");
    assert_eq!((result(&endless, "time"), result(&endless, "answers")), (&json!("fail"), &json!("pass")), "{endless}");
    let trap = test_hostile("call-traps");
    assert_eq!((result(&trap, "time"), result(&trap, "answers")), (&json!("pass"), &json!("fail")), "{trap}");
    let refused = test_hostile("always-loops");
    assert!(refused["error"]["message"].as_str().unwrap().contains("get-shard-key"), "{refused}");
}

#[test]
fn an_answer_that_is_not_the_one_expected_goes_unseen() {
    let folder = tempfile::tempdir().unwrap();
    let component = folder.path().join("weighted.wasm");
    fs::copy(prebuilt("weighted-shard-key"), &component).unwrap();
    let path = fixture(folder.path(), "volume", &json!({"key": 7, "bits": 48}));
    let ran = run(None, ["policy", "test", text(folder.path())]).exits(1);
    for part in ["one.json, call 0: get-shard-key", "input     [\"acme\",", "expected  {", "found     {"] {
        assert!(ran.stdout.contains(part), "no {part:?} in {ran:?}");
    }
    assert!(ran.stderr.contains("fixtures"), "{ran:?}");
    run(None, ["policy", "test", text(folder.path()), "--record"]).exits(0);
    run(None, ["policy", "test", text(folder.path())]).exits(0);
    fs::write(&path, "{\"calls\":[{\"function\":1}]}").unwrap();
    let ran = run(None, ["policy", "test", text(folder.path())]).exits(1);
    assert!(ran.stderr.contains("one.json is no fixture") && ran.stderr.contains("line 1"), "{ran:?}");
}

#[test]
fn what_is_missing_is_not_named() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("p");
    run(None, ["policy", "new", "p", "--path", text(&project)]).exits(0);
    let again = run(None, ["policy", "new", "p", "--path", text(&project), "--json"]).exits(2).json();
    assert!(again["error"]["message"].as_str().unwrap().contains("--path"), "{again}");
    run(None, ["policy", "new", "No Name"]).exits(2);
    let early = run(None, ["policy", "test", text(&project)]).exits(1);
    assert!(early.stderr.contains("ostrakon policy build"), "{early:?}");
    let nowhere = run(None, ["policy", "build", text(folder.path())]).exits(2);
    assert!(nowhere.stderr.contains("ostrakon policy new NAME"), "{nowhere:?}");
    let mut bare = command(["policy", "build", text(&project)]);
    bare.env("PATH", folder.path()).env_remove("CARGO");
    let bare = finish(bare.spawn().unwrap(), Duration::from_secs(60)).exits(1);
    assert!(bare.stderr.contains("cargo cannot be started") && bare.stderr.contains("rustup"), "{bare:?}");
    let module = component_file(folder.path(), "text", b"(component)");
    let none = run(None, ["policy", "test", text(&module)]).exits(1);
    assert!(none.stderr.contains("no component"), "{none:?}");
}

/// The example in JavaScript, as a component; built by its own script where it is not there yet.
fn javascript() -> Option<PathBuf> {
    let folder = root().join("examples/js-shard-key");
    let component = folder.join("js-shard-key.wasm");
    if !component.exists() {
        let built = finish(
            Command::new("sh")
                .arg(folder.join("build.sh"))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
            BUILD_BOUND,
        );
        if built.code != Some(0) {
            eprintln!("skipped: the policy in JavaScript cannot be built here: {}", built.stderr.trim());
            return None;
        }
    }
    Some(component)
}

#[test]
fn the_example_in_javascript_is_not_what_policies_must_be() {
    let Some(component) = javascript() else { return };
    let fixtures = root().join("examples/js-shard-key/fixtures");
    let tested =
        run(None, ["policy", "test", text(&component), "--fixtures", text(&fixtures), "--json"]).exits(0).json();
    for property in ["fixtures", "answers", "determinism", "spread", "order", "time"] {
        assert_eq!(result(&tested, property), "pass", "{tested}");
    }
}
