//! Slots: overrides, what a restart comes back with, components on their way, the watched folder, the compile cache.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ostrakon_client::{
    Client, Code, Expect, ObjectId, Operation, PolicyChange, PolicyKind, ReadPolicies, Reply, Slot, Stage,
};
use ostrakon_policy::shipped;
use ostrakon_policy::testing::{When, hostile};
use ostrakon_wire::{Generation, Generations, UploadComponent};
use serde_json::{Value, json};

use crate::harness::{
    Folder, Pushes, Raw, component_file, object, prediction_of, refused, run, shard_key_of, slot, slot_of, structured,
    until,
};
use crate::policies::words;

const KIND: PolicyKind = PolicyKind::ShardKey;

/// The mark of the key that an object would get, and the generation that says so.
async fn would(client: &Client, of: &str, data_type: &str) -> (u64, u64) {
    let object = ObjectId::new(of, data_type, "would").unwrap();
    let placed = client.shard_key(&object).await.unwrap();
    (placed.shard_key.get() >> 48, placed.decided.generations.shard_key.unwrap().get())
}

fn slots() -> [(Slot, u16); 4] {
    [
        (slot(KIND), 0xa),
        (slot_of(KIND, None, Some("volume")), 0xb),
        (slot_of(KIND, Some("acme"), None), 0xc),
        (slot_of(KIND, Some("acme"), Some("volume")), 0xd),
    ]
}

/// The most specific slot decides, each with a generation of its own.
async fn hold_each_decides(client: &Client) {
    for (of, data_type, mark, generation) in
        [("other", "disk", 0xa, 2), ("other", "volume", 0xb, 3), ("acme", "disk", 0xc, 4), ("acme", "volume", 0xd, 5)]
    {
        assert_eq!(would(client, of, data_type).await, (mark, generation), "{of} {data_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_decides_for_others_or_is_forgotten_at_a_restart() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    for (at, (slot, mark)) in slots().iter().enumerate() {
        assert_eq!(pushes.push(slot, &shard_key_of(*mark), Stage::Serve).await, at as u64 + 2, "{slot}");
    }
    hold_each_decides(&pushes.0).await;
    host.kill();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    hold_each_decides(&pushes.0).await;
    let [_, by_type, by_client, by_both] = slots().map(|(slot, _)| slot);
    pushes.change(&by_both, PolicyChange::Remove).await.unwrap();
    assert_eq!(would(&pushes.0, "acme", "volume").await, (0xc, 4));
    pushes.change(&by_client, PolicyChange::Remove).await.unwrap();
    assert_eq!(would(&pushes.0, "acme", "volume").await, (0xb, 3));
    pushes.change(&by_type, PolicyChange::Remove).await.unwrap();
    assert_eq!(would(&pushes.0, "acme", "volume").await, (0xa, 2));
    let error = refused(pushes.change(&slot(KIND), PolicyChange::Remove).await);
    assert_eq!(error.code, Code::UnknownPolicy);
    let error = refused(pushes.change(&by_type, PolicyChange::RollBack).await);
    assert_eq!(error.code, Code::UnknownPolicy, "the slot is gone");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generation_cannot_be_gone_back_to_or_is_numbered_twice() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let slot = slot(KIND);
    for mark in [0xa, 0xb, 0xc] {
        pushes.push(&slot, &shard_key_of(mark), Stage::Serve).await;
    }
    pushes.change(&slot, PolicyChange::RollBack).await.unwrap();
    assert_eq!(would(&pushes.0, "c", "t").await, (0xb, 3));
    pushes.change(&slot, PolicyChange::RollBack).await.unwrap();
    assert_eq!(would(&pushes.0, "c", "t").await, (0xa, 2));
    pushes.change(&slot, PolicyChange::Activate(Generation::new(4))).await.unwrap();
    assert_eq!(would(&pushes.0, "c", "t").await, (0xc, 4));
    let error = refused(pushes.change(&slot, PolicyChange::Activate(Generation::new(9))).await);
    assert_eq!(error.code, Code::UnknownPolicy);
    assert_eq!(pushes.push(&slot, &shard_key_of(0xd), Stage::Serve).await, 5, "no number is used twice");
    let events = pushes.events(&slot).await;
    let told: Vec<_> =
        events.iter().map(|event| (event["event"].as_str().unwrap(), event["generation"].as_u64())).collect();
    let served = |generation| ("served", Some(generation));
    let expected = [
        served(5),
        ("activated", Some(4)),
        ("rolled-back", Some(3)),
        ("rolled-back", Some(4)),
        served(4),
        served(3),
        served(2),
        served(1),
    ];
    assert_eq!(told, expected);
    assert!(events[0]["by"].is_string() && events[0]["digest"].is_string() && events[0]["at-ms"].is_u64());
    assert!(pushes.show(&slot).await["generations"].as_array().unwrap().len() == 5);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_alone_cannot_be_swapped_or_a_refusal_changes_a_slot() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let slot = slot(KIND);
    let push = |settings: &str| PolicyChange::Push {
        digest: None,
        settings: Some(settings.to_owned()),
        stage: Stage::Serve,
        slow_us: None,
    };
    let stands = pushes.change(&slot, push(r#"{"client-bits":8}"#)).await.unwrap();
    assert_eq!((&stands["generation"], &stands["settings"]), (&json!(2), &json!(r#"{"client-bits":8}"#)));
    assert_eq!(stands["name"], "weighted-shard-key");
    let error = refused(pushes.change(&slot, push(r#"{"client-bits":800}"#)).await);
    assert_eq!(error.code, Code::PolicyRefused);
    assert!(error.message.contains("/client-bits"), "{error}");
    let error = refused(pushes.try_push(&slot, &prediction_of(1), None, Stage::Serve).await);
    assert_eq!(error.code, Code::PolicyRefused);
    let error = refused(pushes.try_push(&slot, b"\0asm nothing", None, Stage::Serve).await);
    assert_eq!(error.code, Code::PolicyRefused);
    assert_eq!(pushes.show(&slot).await["generation"], 2);
    let events = pushes.events(&slot).await;
    assert!(events[..3].iter().all(|event| event["event"] == "refused" && event["why"].is_string()), "{events:?}");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_must_not_load_is_put_into_a_slot_of_a_host_that_serves() {
    let folder = Folder::new();
    let host = folder.serve();
    let (pushes, client) = (Pushes::to(&host).await, host.client().await);
    // Where there is nothing nothing is sent.
    for each in hostile().into_iter().filter(|each| each.when == When::Load && !each.bytes.is_empty()) {
        let error = refused(pushes.try_push(&slot(each.kind), &each.bytes, None, Stage::Serve).await);
        let name = format!("{}-{}", each.kind.name(), each.name);
        assert_eq!(error.code, Code::PolicyRefused, "{name}: {error}");
        assert!(error.message.contains(words(each.kind, each.name)), "{name}: {error}");
        // The next request is decided by who decided before.
        let made = client.put(&object("slots", &name), structured(&json!({})), Expect::Absent).await.unwrap();
        let decided = made.decided.generations;
        assert_eq!(
            (decided.shard_key, decided.prediction),
            (Some(Generation::FIRST), Some(Generation::FIRST)),
            "{name}"
        );
    }
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_no_longer_loads_ends_the_start_or_goes_unsaid() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let slot = slot(KIND);
    pushes.push(&slot, &shard_key_of(0xa), Stage::Serve).await;
    pushes.push(&slot, &shard_key_of(0xb), Stage::Serve).await;
    let shadow = pushes.push(&slot, &shard_key_of(0xc), Stage::Shadow(1_000_000)).await;
    let digest = |stands: &Value| stands["digest"].as_str().unwrap().to_owned();
    let stands = pushes.show(&slot).await;
    let digests = [digest(&stands), digest(&stands["candidate"])];
    host.stop();
    let policies = folder.data().join("policies");
    for digest in &digests {
        std::fs::write(policies.join("components").join(digest).with_extension("wasm"), b"\0asm").unwrap();
    }
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    assert_eq!(would(&pushes.0, "c", "t").await, (0xa, 2), "the last good one");
    let events = pushes.events(&slot).await;
    let gone: Vec<_> = events.iter().filter(|event| event["event"] == "not-loaded").collect();
    assert_eq!(gone.len(), 2, "{events:?}");
    assert!(gone.iter().any(|event| event["generation"] == 3 && event["to"] == 2), "{gone:?}");
    assert!(gone.iter().any(|event| event["generation"] == shadow), "{gone:?}");
    host.stop();
    let damage = |content: &str| {
        ["manifest-0", "manifest-1"].iter().for_each(|name| std::fs::write(policies.join(name), content).unwrap());
        folder.refused::<&str>(&[]).exits(1).stderr
    };
    let refused = damage("ostrakon");
    assert!(refused.contains("manifest-") && refused.contains("is damaged"), "{refused}");
    let refused = damage(&format!("{:<96}", "ostrakon policies 9 1 1 1"));
    assert!(refused.contains("has format 9"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_comes_in_parts_and_is_another_one() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let component = Bytes::from(shipped(PolicyKind::Reconciliation).bytes.to_vec());
    let (_raw, mut stream) = Raw::greet(&host).await;
    let size = component.len() as u64;
    let mut upload = async |digest, size, offset, part: Bytes| {
        let asked = Operation::UploadComponent(UploadComponent { digest, size, offset, part });
        stream.ask(asked).await.map(|reply| match reply {
            Reply::Uploaded(uploaded) => uploaded.received,
            other => panic!("{other:?}"),
        })
    };
    // Sent in two parts, the first of them twice, the second first out of turn.
    let other = [7; 32];
    assert_eq!(upload(other, size, 1_000, component.slice(1_000..)).await, Ok(0));
    assert_eq!(upload(other, size, 0, component.slice(..1_000)).await, Ok(1_000));
    assert_eq!(upload(other, size, 0, component.slice(..1_000)).await, Ok(1_000));
    let error = upload(other, size, 1_000, component.slice(1_000..)).await.unwrap_err();
    assert_eq!(error.code, Code::PolicyRefused, "{error}");
    assert_eq!(upload(other, size, 0, Bytes::new()).await, Ok(0), "it begins again");
    let error = upload(other, 33 << 20, 0, Bytes::new()).await.unwrap_err();
    assert_eq!(error.code, Code::PolicyRefused, "{error}");
    let error = upload(other, 10, 5, component.slice(..6)).await.unwrap_err();
    assert_eq!(error.code, Code::PolicyRefused, "{error}");
    // Many that are never finished leave a bounded rest.
    for n in 0..50_u8 {
        upload([n; 32], size, 0, component.slice(..1_000)).await.unwrap();
    }
    let uploads = std::fs::read_dir(folder.data().join("policies/uploads")).unwrap().count();
    assert!(uploads <= 8, "{uploads}");
    let unknown = PolicyChange::Push { digest: Some(other), settings: None, stage: Stage::Serve, slow_us: None };
    let error = refused(pushes.change(&slot(PolicyKind::Reconciliation), unknown).await);
    assert_eq!(error.code, Code::UnknownPolicy);
    pushes.push(&slot(PolicyKind::Reconciliation), &component, Stage::Serve).await;
    host.stop();
}

async fn decides(pushes: &Pushes, mark: u64) -> Duration {
    let began = Instant::now();
    loop {
        if would(&pushes.0, "c", "t").await.0 == mark {
            return began.elapsed();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it never decides");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_component_does_not_decide_within_two_seconds() {
    let folder = Folder::new();
    let watched = folder.beside("policies");
    std::fs::create_dir(&watched).unwrap();
    component_file(&watched, "shard-key", &shard_key_of(0xa));
    let host = folder.serve_with(&["--policy-dir", watched.to_str().unwrap()]);
    let pushes = Pushes::to(&host).await;
    decides(&pushes, 0xa).await;
    component_file(&watched, "shard-key", &shard_key_of(0xb));
    let took = decides(&pushes, 0xb).await;
    println!("a saved policy decides after {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    component_file(&watched, "shard-key", b"\0asm nothing");
    component_file(&watched, "shard-key,client=acme", &shard_key_of(0xc));
    until("an override from the folder", || host.stderr().contains("a policy is refused").then_some(())).await;
    assert_eq!(decides(&pushes, 0xb).await.as_secs(), 0, "what is refused changes nothing");
    let client = &pushes.0;
    let began = Instant::now();
    while would(client, "acme", "t").await.0 != 0xc {
        assert!(began.elapsed() < Duration::from_secs(20));
    }
    // The same file again is no new generation.
    let before = pushes.show(&slot(KIND)).await["generation"].clone();
    component_file(&watched, "shard-key", &shard_key_of(0xb));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(pushes.show(&slot(KIND)).await["generation"], before);
    host.stop();
    folder.refused(&["--policy-dir", "/no/such/folder"]).exits(2);
}

/// The compiled components that lie in a cache.
fn cached(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = entries.filter(|path| path.file_name().unwrap() != "key").collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_compiled_component_is_run() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    pushes.push(&slot(KIND), &shard_key_of(0xa), Stage::Serve).await;
    host.stop();
    let cache = folder.data().join("policies/cache");
    let files = cached(&cache);
    assert!(files.len() >= 4, "{files:?}");
    let good: Vec<_> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let forge: [&dyn Fn(usize); 4] = [
        // A byte flipped, another's code, cut off, writable by everybody.
        &|at| {
            let mut bytes = good[at].clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&files[at], bytes).unwrap();
        },
        &|at| std::fs::write(&files[at], &good[(at + 1) % good.len()]).unwrap(),
        &|at| std::fs::write(&files[at], &good[at][..20]).unwrap(),
        &|at| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&files[at], std::fs::Permissions::from_mode(0o666)).unwrap();
        },
    ];
    for forge in forge {
        (0..files.len()).for_each(forge);
        let host = folder.serve();
        let client = host.client().await;
        assert_eq!(would(&client, "c", "t").await, (0xa, 2));
        let taken = host.stderr().matches("is not taken from the cache").count();
        assert_eq!(taken, files.len(), "{}", host.stderr());
        host.stop();
    }
    // With another key everything is made anew; with the right one nothing is.
    std::fs::write(cache.join("key"), [0; 32]).unwrap();
    for doubts in [true, false] {
        let host = folder.serve();
        assert_eq!(would(&host.client().await, "c", "t").await, (0xa, 2));
        assert_eq!(host.stderr().contains("is not taken from the cache"), doubts, "{}", host.stderr());
        host.stop();
    }
}

#[test]
fn the_policy_commands_tell_something_else_than_the_host() {
    let folder = Folder::new();
    let host = folder.serve();
    let data = folder.data();
    let ostrakon = |args: &[&str]| run(Some(&data), args.iter().copied());
    let file = component_file(&folder.beside(""), "mine", &shard_key_of(0xa));
    let file = file.to_str().unwrap();
    let pushed = ostrakon(&["policy", "push", file, "--slot", "shard-key", "--client", "acme"]).exits(0);
    assert!(pushed.stdout.starts_with("shard-key client=acme: generation 2 (test-policy 1.0.0"), "{pushed:?}");
    let tried = ostrakon(&["policy", "push", file, "--slot", "shard-key", "--canary", "5%", "--json"]).exits(0).json();
    assert_eq!(tried["candidate"]["share-ppm"], 50_000, "{tried}");
    let list = ostrakon(&["policy", "list", "--json"]).exits(0).json();
    let all = list["slots"].as_array().unwrap();
    assert_eq!(all.len(), 4, "{list}");
    assert!(all.iter().any(|slot| slot["client"] == "acme" && slot["generation"] == 2), "{list}");
    let table = ostrakon(&["policy", "list"]).exits(0).stdout;
    assert!(table.contains("shard-key client=acme") && table.contains("3 (canary 5%)"), "{table}");
    let shown = ostrakon(&["policy", "show", "--slot", "shard-key", "--client", "acme"]).exits(0).stdout;
    assert!(shown.contains("test-policy") && shown.contains("on trial"), "{shown}");
    ostrakon(&["policy", "activate", "3", "--slot", "shard-key"]).exits(0);
    ostrakon(&["policy", "rollback", "--slot", "shard-key"]).exits(0);
    ostrakon(&["policy", "remove", "--slot", "shard-key", "--client", "acme"]).exits(0);
    let history = ostrakon(&["policy", "history", "--limit", "3"]).exits(0).stdout;
    let lines: Vec<_> = history.lines().collect();
    assert!(lines.len() == 3 && lines[0].contains("removed") && lines[1].contains("rolled-back 3"), "{history}");
    ostrakon(&["policy", "diff", "--slot", "shard-key"]).exits(4);
    ostrakon(&["policy", "show", "--slot", "shard-key", "--client", "nobody"]).exits(4);
    ostrakon(&["policy", "push", file, "--slot", "prediction"]).exits(6);
    ostrakon(&["policy", "push", "/no/such/file", "--slot", "prediction"]).exits(6);
    ostrakon(&["policy", "push", file, "--slot", "taste"]).exits(2);
    ostrakon(&["policy", "push", "--slot", "shard-key"]).exits(2);
    ostrakon(&["policy", "push", file, "--slot", "shard-key", "--canary", "101%"]).exits(2);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_generation_is_not_the_one_that_answers_name() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    for (kind, component) in [
        (PolicyKind::ShardKey, shard_key_of(0xa)),
        (PolicyKind::Prediction, prediction_of(1)),
        (PolicyKind::Reconciliation, shipped(PolicyKind::Reconciliation).bytes.to_vec()),
    ] {
        assert_eq!(pushes.push(&slot(kind), &component, Stage::Serve).await, 2);
    }
    let client = &pushes.0;
    let object = object("named", "one");
    let made = client.write(&object, crate::harness::version(1), structured(&json!({}))).await.unwrap();
    let second = Some(Generation::new(2));
    let expected = Generations { shard_key: second, prediction: second, reconciliation: None };
    assert_eq!(made.decided.generations, expected);
    let list = pushes.read(ReadPolicies::List).await;
    assert_eq!(list["slots"].as_array().unwrap().len(), 3, "{list}");
    host.stop();
}
