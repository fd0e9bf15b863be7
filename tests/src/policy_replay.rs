//! Decisions that a host has written down, or that CloudTrail files tell of, through candidates, without a host.

use std::path::Path;

use ostrakon_client::{Expect, PolicyKind};
use ostrakon_policy::shipped;
use ostrakon_policy::testing::{Recipe, hostile, snippets};
use serde_json::{Value, json};

use crate::harness::{Folder, Ran, component_file, object, run, shard_key_of, structured, version};

const OBJECTS: u64 = 300;

fn replay(folder: &Folder, kind: &str, candidate: &Path, more: &[&str]) -> Ran {
    let candidate = candidate.to_str().unwrap();
    let args = ["policy", "replay", "--json", "--slot", kind, "--candidate", candidate];
    run(Some(&folder.data()), args.into_iter().chain(more.iter().copied()))
}

/// What is told, without what differs from run to run.
fn lasting(mut told: Value) -> Value {
    let told_of = told.as_object_mut().unwrap();
    assert!(told_of.remove("ms").is_some() && told_of.remove("decisions-per-s").is_some());
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_tells_something_else_than_what_was_decided() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--record-decisions", "100%"]);
    let client = host.client().await;
    for n in 0..OBJECTS {
        let object = object("replay", format!("{n}"));
        client.put(&object, structured(&json!({})), Expect::Absent).await.unwrap();
        client.write(&object, version(2), structured(&json!({}))).await.unwrap();
    }
    drop(client);
    host.stop();
    let file = |name: &str, bytes: &[u8]| component_file(&folder.beside(""), name, bytes);
    let same = file("same", shipped(PolicyKind::ShardKey).bytes);
    let told = replay(&folder, "shard-key", &same, &[]).exits(0).json();
    // One that is offered just when somebody looks is dropped.
    let compared = told["compared"].as_u64().unwrap();
    assert!((OBJECTS * 9 / 10..=OBJECTS).contains(&compared) && told["differ"] == 0, "{told}");
    let again = replay(&folder, "shard-key", &same, &[]).exits(0).json();
    assert_eq!(lasting(told), lasting(again), "the same every time");
    let other = file("other", &shard_key_of(0xabcd));
    let told = replay(&folder, "shard-key", &other, &["--shards", "32"]).exits(0).json();
    assert_eq!((&told["differ"], &told["ways"]["another number of bits"]), (&json!(compared), &json!(compared)));
    let then: Vec<_> = told["shards"].as_array().unwrap().iter().filter(|shard| shard["then"] != 0).collect();
    assert_eq!(then.len(), 1, "all in one shard: {told}");
    let forecasts = file("forecasts", shipped(PolicyKind::Prediction).bytes);
    let told = replay(&folder, "prediction", &forecasts, &[]).exits(0).json();
    assert!(told["compared"].as_u64().unwrap() >= OBJECTS * 9 / 10, "{told}");
    replay(&folder, "reconciliation", &file("verdicts", shipped(PolicyKind::Reconciliation).bytes), &[]).exits(1);
    replay(&folder, "prediction", &same, &[]).exits(6);
    replay(&folder, "shard-key", &same, &["/no/such.decisions"]).exits(1);
    let text =
        run(Some(&folder.data()), ["policy", "replay", "--slot", "shard-key", "--candidate", other.to_str().unwrap()]);
    assert!(text.exits(0).stdout.contains("differ (100.00%)"));
}

#[test]
fn a_candidate_that_must_not_decide_passes_a_replay_of_traffic() {
    let folder = Folder::new();
    let file = |name: &str, bytes: &[u8]| component_file(&folder.beside(""), name, bytes);
    let trace = folder.beside("trace.json");
    let records = ostrakon_cloudtrail::generate(3, 400);
    std::fs::write(&trace, json!({ "Records": records }).to_string()).unwrap();
    let trace = trace.to_str().unwrap();
    let good = file("good", shipped(PolicyKind::ShardKey).bytes);
    let told = replay(&folder, "shard-key", &good, &[trace]).exits(0).json();
    assert!(told["compared"].as_u64().unwrap() > 200 && told["differ"] == 0, "{told}");
    let impure = hostile().into_iter().find(|each| each.name == "counts-its-calls").unwrap();
    let refused = replay(&folder, "shard-key", &file("impure", &impure.bytes), &[trace]).exits(1);
    let lines = refused.lines();
    assert!(lines[0]["impure"].as_u64().unwrap() > 0, "{refused:?}");
    assert!(lines[1]["error"]["message"].as_str().unwrap().contains("not pure"), "{refused:?}");
    // Behaves for the trial call alone, whose client has twelve letters, and so have accounts: by the length of the type.
    let trial = "(i32.ne (local.get $type_len) (i32.const 5))";
    let endless = format!("(if {trial} (then {})) {}", snippets::FOREVER, snippets::placement(0, 16));
    let endless = file("endless", &Recipe::new(PolicyKind::ShardKey).decide(endless).build());
    let few = folder.beside("few.json");
    std::fs::write(&few, json!({ "Records": records[..30] }).to_string()).unwrap();
    let failed = replay(&folder, "shard-key", &endless, &[few.to_str().unwrap()]).exits(1).lines().remove(0);
    assert_eq!(failed["faults"]["candidate"], failed["compared"], "{failed}");
    let against =
        replay(&folder, "shard-key", &good, &[trace, "--baseline", file("b", &shard_key_of(1)).to_str().unwrap()]);
    assert_eq!(against.exits(0).json()["ways"]["another number of bits"], replayed(&folder, &good, trace));
    replay(&folder, "prediction", &file("p", shipped(PolicyKind::Prediction).bytes), &[trace]).exits(2);
}

fn replayed(folder: &Folder, candidate: &Path, trace: &str) -> Value {
    replay(folder, "shard-key", candidate, &[trace]).json()["compared"].clone()
}
