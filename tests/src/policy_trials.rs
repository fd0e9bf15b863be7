//! Policies on trial: canaries and their way back, the first minute of a generation, shadows beside the requests.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use ostrakon_client::{Client, Code, Expect, ObjectId, PolicyChange, PolicyKind, Stage};
use ostrakon_policy::testing::{Recipe, When, hostile, snippets};
use ostrakon_wire::Generation;
use serde_json::{Value, json};

use crate::harness::{Folder, Pushes, prediction_of, refused, shard_key_of, slot, structured, until, version};

const KIND: PolicyKind = PolicyKind::ShardKey;
const ALL: u32 = 1_000_000;

/// The generation that makes a new object's key.
async fn create(client: &Client, of: &str, data_type: &str, name: &str) -> Result<u64, ostrakon_client::Error> {
    let object = ObjectId::new(of, data_type, name).unwrap();
    let made = client.put(&object, structured(&json!({})), Expect::Absent).await?;
    Ok(made.decided.generations.shard_key.unwrap().get())
}

/// The event of a generation that was given up.
async fn given_up(pushes: &Pushes, kind: PolicyKind) -> Value {
    let began = Instant::now();
    loop {
        let events = pushes.events(&slot(kind)).await;
        if let Some(event) = events.into_iter().find(|event| event["event"] == "given-up") {
            return event;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "it is never given up");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_decides_for_another_share_or_for_other_clients_each_time() {
    const CLIENTS: usize = 400;
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let clients: Vec<String> = (0..CLIENTS).map(|n| format!("client-{n}")).collect();
    let mut before = BTreeSet::new();
    for (percent, name) in [(5, "a"), (25, "b"), (25, "c")] {
        let canary = pushes.push(&slot(KIND), &shard_key_of(0xa), Stage::Canary(percent * 10_000)).await;
        let made = clients.iter().map(|client| create(&pushes.0, client, "t", name));
        let made = try_join_all(made).await.unwrap();
        let tried: BTreeSet<usize> = (0..CLIENTS).filter(|at| made[*at] == canary).collect();
        assert!(made.iter().all(|generation| *generation == canary || *generation == 1));
        let wanted = CLIENTS * percent as usize / 100;
        assert!(tried.len().abs_diff(wanted) < wanted / 2 + 10, "{} of {CLIENTS} at {percent}%", tried.len());
        assert!(tried.is_superset(&before), "a larger share leaves clients out");
        before = tried;
    }
    pushes.change(&slot(KIND), PolicyChange::RollBack).await.unwrap();
    assert_eq!(create(&pushes.0, "client-0", "t", "d").await.unwrap(), 1);
    let error = refused(pushes.change(&slot(KIND), PolicyChange::RollBack).await);
    assert_eq!(error.code, Code::UnknownPolicy, "nothing is tried, and nothing decided before");
    host.stop();
}

/// Every hostile component of a kind that loads, as one that was put in and as a canary: each request is answered by the
/// last good generation, and the hostile one is given up in time.
#[tokio::test(flavor = "multi_thread")]
async fn a_generation_that_fails_fails_a_request_or_stays() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let all: Vec<_> = hostile().into_iter().filter(|each| each.kind == KIND && each.when == When::Call).collect();
    assert!(all.len() >= 6);
    for (n, each) in all.iter().enumerate() {
        for stage in [Stage::Serve, Stage::Canary(ALL)] {
            let bad = pushes.push(&slot(KIND), &each.bytes, stage).await;
            // Well-behaved for other types.
            let name = format!("{n}-{stage:?}");
            assert_eq!(create(&pushes.0, "c", "volume", &name).await.unwrap(), bad, "{}", each.name);
            let began = Instant::now();
            let mut asked = 0;
            let answered = create(&pushes.0, "c", "hostile", &format!("{name}-{asked}")).await.unwrap();
            assert_ne!(answered, bad, "{} answers", each.name);
            loop {
                asked += 1;
                if create(&pushes.0, "c", "volume", &format!("{name}-{asked}")).await.unwrap() != bad {
                    break;
                }
                assert!(began.elapsed() < Duration::from_secs(5), "{} stays", each.name);
            }
            println!("{} {stage:?}: given up after {:?}", each.name, began.elapsed());
        }
    }
    let events = pushes.events(&slot(KIND)).await;
    let given_up: Vec<_> = events.iter().filter(|event| event["event"] == "given-up").collect();
    assert_eq!(given_up.len(), 2 * all.len());
    for event in given_up {
        assert!(event["why"].as_str().unwrap().contains("bad calls") && event["to"].is_u64(), "{event}");
    }
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_not_pure_fails_a_request_or_stays() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let impure = hostile().into_iter().find(|each| each.when == When::Sample).unwrap();
    let bad = pushes.push(&slot(KIND), &impure.bytes, Stage::Serve).await;
    let names: Vec<String> = (0..64).map(|n| format!("impure-{n}")).collect();
    let made = names.iter().map(|name| create(&pushes.0, "c", "t", name));
    let made = try_join_all(made).await.unwrap();
    assert!(made.contains(&1), "{made:?}");
    let event = given_up(&pushes, KIND).await;
    assert_eq!((&event["generation"], &event["to"]), (&json!(bad), &json!(1)));
    assert!(event["why"].as_str().unwrap().contains("not pure"), "{event}");
    assert_eq!(create(&pushes.0, "c", "t", "afterwards").await.unwrap(), 1);
    // What was given up stays so.
    host.kill();
    let host = folder.serve();
    assert_eq!(create(&host.client().await, "c", "t", "after a restart").await.unwrap(), 1);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_policy_stays() {
    // Counts to a few million, which takes milliseconds.
    let slow = "(local.set $type_len (i32.const 0)) (loop $again
        (local.set $type_len (i32.add (local.get $type_len) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $type_len) (i32.const 4000000))))";
    let body = format!("{slow} {}", snippets::placement(0xa << 48, 16));
    let slow = Recipe::new(KIND).decide(body).build();
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let bad = pushes.push(&slot(KIND), &slow, Stage::Canary(ALL)).await;
    let mut calls = 0;
    while create(&pushes.0, "c", "t", &format!("slow-{calls}")).await.unwrap() == bad {
        calls += 1;
        assert!(calls <= 64, "it stays");
    }
    let event = given_up(&pushes, KIND).await;
    assert!(event["why"].as_str().unwrap().contains("took longer than its 1000 us"), "{event}");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_is_made_by_two_generations_or_a_failing_one_is_told() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let kind = PolicyKind::Reconciliation;
    let traps = hostile().into_iter().find(|each| each.name == "verdict-traps").unwrap();
    let bad = pushes.push(&slot(kind), &traps.bytes, Stage::Serve).await;
    let object = ObjectId::new("c", "hostile", "one").unwrap();
    let client = &pushes.0;
    client.put(&object, structured(&json!({ "a": 1 })), Expect::Absent).await.unwrap();
    client.merge(&object, structured(&json!({ "b": 2 })), Expect::Any).await.unwrap();
    let merged = client.reconciled_merge(&object, json!({ "c": 3 })).await;
    assert_eq!(merged, Some(Generation::FIRST), "the good one judged it, from the first patch on");
    let event = given_up(&pushes, kind).await;
    assert_eq!(event["generation"], bad);
    host.stop();
}

/// A merge that was made for version 1, by reconciliation where it has to be.
trait ReconciledMerge {
    async fn reconciled_merge(&self, object: &ObjectId, patch: Value) -> Option<Generation>;
}

impl ReconciledMerge for Client {
    async fn reconciled_merge(&self, object: &ObjectId, patch: Value) -> Option<Generation> {
        use ostrakon_client::{Action, OnConflict, Operation, Perform, Reply};
        let perform = Perform {
            target: crate::harness::target(object),
            action: Action::Merge(structured(&patch)),
            known: Some(version(1)),
            action_id: Some(Client::new_action_id()),
            on_conflict: OnConflict::Reconcile,
        };
        match self.ask(Operation::Perform(perform)).await.unwrap() {
            Reply::Committed(done) => done.decided.generations.reconciliation,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_decides_or_is_compared_wrongly() {
    const OBJECTS: usize = 200;
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    pushes.push(&slot(KIND), &shard_key_of(0x1000), Stage::Serve).await;
    let shadow = pushes.push(&slot(KIND), &shard_key_of(0xf000), Stage::Shadow(ALL)).await;
    let client = &pushes.0;
    let names: Vec<String> = (0..OBJECTS).map(|n| format!("shadow-{n}")).collect();
    let made = try_join_all(names.iter().map(|name| create(client, "c", "t", name))).await.unwrap();
    assert!(made.iter().all(|generation| *generation == 2), "a shadow decides");
    for name in &names {
        client.read(&ObjectId::new("c", "t", name).unwrap()).await.unwrap();
    }
    let diff = compared(&pushes, KIND, 2 * OBJECTS as u64).await;
    assert_eq!((&diff["active"], &diff["candidate"]), (&json!(2), &json!(shadow)));
    assert_eq!((&diff["differ"], &diff["dropped"]), (&diff["compared"], &json!(0)));
    assert_eq!(diff["ways"]["another key"], 2 * OBJECTS);
    for (part, seen) in [("objects", OBJECTS), ("traffic", OBJECTS), ("placements", OBJECTS)] {
        assert_eq!((&diff[part]["seen"], &diff[part]["elsewhere-ppm"]), (&json!(seen), &json!(ALL)), "{part}");
    }
    let shards = diff["shards"].as_array().unwrap();
    assert_eq!(shards.len(), 2, "{shards:?}");
    assert_eq!((&shards[0]["now"], &shards[0]["then"]), (&json!(2 * OBJECTS), &json!(0)));
    assert_eq!((&shards[1]["now"], &shards[1]["then"]), (&json!(0), &json!(2 * OBJECTS)));
    assert!(diff["examples"].as_array().unwrap().len() == 8);
    // Nothing was moved.
    let placed = client.shard_key(&ObjectId::new("c", "t", "shadow-0").unwrap()).await.unwrap();
    assert_eq!(placed.shard_key.get() >> 48, 0x1000);
    host.stop();
}

/// The comparison, once so many decisions were compared.
async fn compared(pushes: &Pushes, kind: PolicyKind, decisions: u64) -> Value {
    let began = Instant::now();
    loop {
        let diff = pushes.diff(&slot(kind)).await;
        if diff["compared"].as_u64().unwrap() >= decisions {
            return diff;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "{diff}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_of_forecasts_is_not_held_against_what_came() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    pushes.push(&slot(PolicyKind::Prediction), &prediction_of(1_000_000), Stage::Shadow(ALL)).await;
    let object = ObjectId::new("c", "t", "forecast").unwrap();
    for next in 1..=50 {
        pushes.0.write(&object, version(next), structured(&json!({}))).await.unwrap();
    }
    let diff = compared(&pushes, PolicyKind::Prediction, 50).await;
    // It foresees the known version, and nobody else wrote.
    assert_eq!(diff["scoreboards"]["candidate"]["versions-right-ppm"], ALL, "{diff}");
    assert_eq!(diff["scoreboards"]["active"]["forecasts"], 50, "{diff}");
    assert_eq!(diff["latency"]["candidate"]["timed"], 50);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_that_fails_is_noticed_by_a_request_or_asked_for_ever() {
    let folder = Folder::new();
    let host = folder.serve();
    let pushes = Pushes::to(&host).await;
    let traps = hostile().into_iter().find(|each| each.name == "call-traps").unwrap();
    pushes.push(&slot(KIND), &traps.bytes, Stage::Shadow(ALL)).await;
    let names: Vec<String> = (0..300).map(|n| format!("s-{n}")).collect();
    let made = try_join_all(names.iter().map(|name| create(&pushes.0, "c", "hostile", name))).await.unwrap();
    assert!(made.iter().all(|generation| *generation == 1));
    let ended = async {
        loop {
            let diff = pushes.diff(&slot(KIND)).await;
            if diff["ended"] == true {
                return diff;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let diff = crate::harness::within("the shadow is ended", ended).await;
    assert!(diff["faults"]["candidate"].as_u64().unwrap() >= 64, "{diff}");
    assert_eq!(diff["faults"]["active"], 0);
    until("the log says so", || host.stderr().contains("is not asked any more").then_some(())).await;
    host.stop();
}
