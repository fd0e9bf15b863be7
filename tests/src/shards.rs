//! Shards over the wire and by the command line: what is split, merged, moved and re-keyed, seen and steered, while clients
//! write, watch, wait and transact, and notice nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ostrakon_client::{
    Action, ChangeShards, Client, Code, Expect, OnConflict, Outcome, Perform, ReadShards, ShardChange, ShardId,
    ShardKey, Step, Told, Transact, Version, Watch, WireError,
};
use ostrakon_wire::bounds::SPARE_SHARDS_DEFAULT;
use serde_json::{Value, json};

use crate::harness::{
    Folder, Host, as_json, facts_json, list_of, object, refused, run, structured, target, until, within,
};

const OBJECTS: u64 = 400;

fn answer(host: &Host, args: &[&str]) -> Value {
    let ran = run(Some(host.data()), args.iter().copied().chain(["--json"])).exits(0);
    assert_eq!(ran.stderr, "", "{args:?}");
    ran.lines().pop().unwrap()
}

fn fails(host: &Host, args: &[&str], exit: i32) -> String {
    let error = run(Some(host.data()), args.iter().copied().chain(["--json"])).exits(exit).lines().pop().unwrap();
    error["error"]["code"].as_str().unwrap().to_owned()
}

async fn change(client: &Client, change: ShardChange) -> Value {
    let report = client.change_shards(ChangeShards { change, reason: Some("a test".into()) }).await.unwrap();
    facts_json(report.facts)
}

async fn refuses(client: &Client, change: ShardChange) -> WireError {
    refused(client.change_shards(ChangeShards { change, reason: None }).await)
}

async fn told(client: &Client, read: ReadShards) -> Value {
    facts_json(client.shards(read).await.unwrap().facts)
}

/// Waits until a migration is in a state; tells of it.
async fn becomes(client: &Client, number: &Value, state: &str) -> Value {
    let bound = tokio::time::Instant::now() + Duration::from_secs(30);
    loop {
        let all = told(client, ReadShards::Migrations { limit: 256 }).await;
        let migration =
            all["migrations"].as_array().unwrap().iter().find(|it| it["migration"] == *number).unwrap().clone();
        if migration["state"] == state {
            return migration;
        }
        assert!(tokio::time::Instant::now() < bound, "{migration} does not become {state}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn name(number: u64) -> ostrakon_client::ObjectId {
    object("moves", format!("object-{number:04}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_watches_waits_or_transacts_notices_a_migration() {
    let folder = Folder::new();
    // Steps of a few objects each, so that everything meets a migration under way.
    let host = folder.serve_under(&[] as &[&str], &[("OSTRAKON_TEST_STEP", "4".into())]);
    let client = host.client().await;
    let zero = structured(&json!({ "n": 0 }));
    for number in 0..OBJECTS {
        client.put(&name(number), zero.clone(), Expect::Absent).await.unwrap();
    }
    let mut watcher = client.watch(Watch { bookmark_ms: 100, ..Watch::of_client("moves") });
    within("a bookmark", watcher.next()).await.unwrap();
    // Who watches is told every version of every object, once, in order, until all are told.
    let (all, mut wanted) = tokio::sync::watch::channel(u64::MAX);
    let watching = tokio::spawn(async move {
        let (mut seen, mut told_all) = (BTreeMap::<String, u64>::new(), 0);
        while told_all < *wanted.borrow_and_update() {
            let told = tokio::select! {
                told = within("a change", watcher.next()) => told.unwrap(),
                _ = wanted.changed() => continue,
            };
            let Told::Changes { changes, .. } = told else { continue };
            for event in changes {
                let told = seen.entry(event.object.name().to_owned()).or_insert(0);
                (*told, told_all) = (*told + 1, told_all + 1);
                assert_eq!(event.version.get(), *told + 1, "{}", event.object.name());
                assert!(!event.omitted, "{event:?}");
                assert_eq!(as_json(event.payload.as_ref().unwrap())["n"], *told, "{event:?}");
            }
        }
    });
    let stop = Arc::new(AtomicBool::new(false));
    let mut working = Vec::new();
    for worker in 0..4_u64 {
        let (client, stop) = (host.client().await, Arc::clone(&stop));
        working.push(tokio::spawn(async move {
            let add = |known: Option<u64>, on_conflict, of: u64| Perform {
                target: target(&name(of)),
                action: Action::Add(structured(&json!({ "/n": 1 }))),
                known: known.map(Version::new),
                action_id: Some(Client::new_action_id()),
                on_conflict,
            };
            let mut added = 0;
            for round in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return added;
                }
                let of = (round * 7 + worker * 100) % OBJECTS;
                match round % 4 {
                    // One that has always lost, and one that is detached: a queue and a ticket each.
                    0 => drop(client.perform(add(Some(1), OnConflict::Reconcile, of)).await.unwrap()),
                    1 => {
                        let perform = add(Some(1), OnConflict::Detach, of);
                        let id = perform.action_id.unwrap();
                        let mut outcome = client.start(perform).await.unwrap();
                        while let Outcome::Pending(_) = outcome {
                            outcome = client.ticket("moves", id, Duration::from_secs(5)).await.unwrap();
                        }
                    }
                    2 => {
                        let step = |of| Step {
                            target: target(&name(of)),
                            action: Action::Add(structured(&json!({ "/n": 1 }))),
                        };
                        let transact = Transact {
                            conditions: Vec::new(),
                            actions: vec![step(of), step((of + 1) % OBJECTS)],
                            action_id: Some(Client::new_action_id()),
                            on_conflict: OnConflict::Reject,
                        };
                        client.transact(transact).await.unwrap();
                        added += 1;
                    }
                    _ => drop(client.perform(add(None, OnConflict::Reject, of)).await.unwrap()),
                }
                added += 1;
                let read = client.read(&name(of)).await.unwrap();
                assert_eq!(
                    as_json(&read.payload)["n"].as_u64().unwrap() + 1,
                    read.version.get(),
                    "each addition is there"
                );
            }
            unreachable!("rounds do not end")
        }));
    }
    let shard = client.shard_key(&name(0)).await.unwrap().decided.shard.unwrap();
    for round in 0..3 {
        let split = change(&client, ShardChange::Split { shard, at: None }).await;
        let done = becomes(&client, &split["migration"], "done").await;
        assert!(done["objects"].as_u64().unwrap() > 0, "{done}");
        let map = client.shard_map().await.unwrap();
        let owner = map.shards.iter().find(|range| range.shard == shard).unwrap().owner;
        change(&client, ShardChange::Move { shard, owner: (owner + 1) % 4 }).await;
        for number in 0..20 {
            let shard_key = Some(ShardKey::new((round as u64 + 1) << 60 | number));
            let moved = change(&client, ShardChange::RekeyObject { object: name(number), shard_key }).await;
            assert_eq!(moved["moved"], true);
        }
        let aborted = change(&client, ShardChange::Split { shard, at: None }).await;
        let outcome = client.change_shards(ChangeShards {
            change: ShardChange::Abort(aborted["migration"].as_u64().unwrap()),
            reason: None,
        });
        // It may have been done by then.
        if outcome.await.is_ok() {
            becomes(&client, &aborted["migration"], "undone").await;
        } else {
            becomes(&client, &aborted["migration"], "done").await;
        }
        let merge = change(&client, ShardChange::Merge(shard)).await;
        becomes(&client, &merge["migration"], "done").await;
        if client.shard_map().await.unwrap().shards.iter().all(|range| range.shard != shard) {
            break;
        }
    }
    let back = change(&client, ShardChange::Rekey { client: "moves".into(), data_type: None }).await;
    becomes(&client, &back["migration"], "done").await;
    stop.store(true, Ordering::Relaxed);
    let mut added = 0;
    for worker in working {
        added += worker.await.unwrap();
    }
    let mut sum = 0;
    for number in 0..OBJECTS {
        sum += as_json(&client.read(&name(number)).await.unwrap().payload)["n"].as_u64().unwrap();
    }
    assert_eq!(sum, added, "every addition is there, once");
    all.send(added).unwrap();
    watching.await.unwrap();
    host.stop();
    folder.check().exits(0);
}

#[tokio::test]
async fn a_migration_cannot_be_paused_resumed_called_off_or_outlives_no_restart() {
    let folder = Folder::new();
    let steps = [("OSTRAKON_TEST_STEP", "1".into())];
    let host = folder.serve_under(&[] as &[&str], &steps);
    let client = host.client().await;
    for number in 0..OBJECTS {
        client.put(&name(number), structured(&json!({ "n": 0 })), Expect::Absent).await.unwrap();
    }
    let before = client.shard_map().await.unwrap();
    let shard = client.shard_key(&name(0)).await.unwrap().decided.shard.unwrap();
    let split = change(&client, ShardChange::Split { shard, at: None }).await;
    let number = split["migration"].as_u64().unwrap();
    change(&client, ShardChange::Pause(Some(number))).await;
    let paused = becomes(&client, &split["migration"], "paused").await;
    assert!(paused["objects"].as_u64().unwrap() < OBJECTS / 2, "{paused}");
    let busy = refuses(&client, ShardChange::Merge(shard)).await;
    assert_eq!(busy.code, Code::ShardRefused, "it has part in another: {busy}");
    host.kill();
    let host = folder.serve_under(&[] as &[&str], &steps);
    let client = host.client().await;
    becomes(&client, &split["migration"], "paused").await;
    assert_eq!(client.list_all(list_of("moves")).await.unwrap().0.len() as u64, OBJECTS);
    change(&client, ShardChange::Resume(Some(number))).await;
    change(&client, ShardChange::Abort(number)).await;
    let undone = becomes(&client, &split["migration"], "undone").await;
    assert_eq!(undone["why"], "a test");
    let after = client.shard_map().await.unwrap();
    assert_eq!(after.shards, before.shards);
    assert!(after.decided.epoch > before.decided.epoch, "another map, though the same ranges");
    assert_eq!(client.list_all(list_of("moves")).await.unwrap().0.len() as u64, OBJECTS);
    host.stop();
    folder.check().exits(0);
}

#[tokio::test]
async fn commands_about_shards_tell_and_do_nothing() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--owners", "3"]);
    let client = host.client().await;
    for number in 0..60 {
        client.put(&name(number), structured(&json!({ "n": 0 })), Expect::Absent).await.unwrap();
        client.read(&name(0)).await.unwrap();
    }
    let number = client.shard_key(&name(0)).await.unwrap().decided.shard.unwrap().get();
    let shard = number.to_string();
    let shards = answer(&host, &["shards"]);
    let own = shards["shards"].as_array().unwrap().iter().find(|it| it["shard"] == number).unwrap().clone();
    assert_eq!((&own["health"], &own["clients"][0]["name"]), (&json!("healthy"), &json!("moves")), "{own}");
    assert!(own["write-millihz"].as_u64().unwrap() > 0 && own["read-millihz"].as_u64().unwrap() > 0, "{own}");
    assert_eq!(shards["shards"].as_array().unwrap().iter().map(|it| it["owner"].as_u64().unwrap()).max(), Some(2));
    let heat = answer(&host, &["heat"]);
    assert_eq!(heat["objects"][0]["name"], "moves/thing/object-0000", "{heat}");
    assert_eq!(heat["clients"][0]["share-ppm"], 1_000_000);
    let split = answer(&host, &["shards", "split", &shard, "--reason", "it grows"]);
    becomes(&client, &split["migration"], "done").await;
    let migrations = answer(&host, &["migrations", "--limit", "1"]);
    assert_eq!(
        (&migrations["migrations"][0]["kind"], &migrations["migrations"][0]["why"]),
        (&json!("split"), &json!("it grows"))
    );
    assert!(migrations["migrations"][0]["by"].as_str().is_some_and(|by| !by.is_empty()));
    let shards = answer(&host, &["shards"]);
    let why = shards["shards"].as_array().unwrap().iter().filter(|it| it["last-split-why"] == "it grows").count();
    assert_eq!(why, 2, "both halves say why they were split");
    assert_eq!(answer(&host, &["shards", "pin", &shard])["pinned"], true);
    let moved = answer(&host, &["shards", "rekey", "moves", "--type", "thing", "--name", "object-0001", "--to", "77"]);
    assert_eq!((&moved["moved"], &moved["shard-key"]), (&json!(true), &json!("77")));
    assert_eq!(client.read(&name(1)).await.unwrap().shard_key, ShardKey::new(77));
    assert_eq!(answer(&host, &["rebalance", "--dry-run"])["decisions"], json!([]));
    assert_eq!(answer(&host, &["decisions"])["decisions"], json!([]));
    assert_eq!(answer(&host, &["rebalance", "pause"])["paused"], true);
    assert_eq!(answer(&host, &["rebalance", "limits", "--set", r#"{"shards-max": 40}"#])["shards-max"], 40);
    // What is set outlives the host.
    host.kill();
    let host = folder.serve_with(&["--owners", "2"]);
    assert_eq!(answer(&host, &["migrations"])["paused"], true);
    assert_eq!(answer(&host, &["rebalance", "limits"])["shards-max"], 40);
    let shards = answer(&host, &["shards"]);
    let pinned: Vec<_> = shards["shards"].as_array().unwrap().iter().filter(|it| it["pinned"] == true).collect();
    assert!(pinned.len() == 1 && pinned[0]["shard"] == number, "{pinned:?}");
    assert!(shards["shards"].as_array().unwrap().iter().all(|it| it["owner"].as_u64().unwrap() < 2), "two are left");
    assert_eq!(answer(&host, &["rebalance", "resume"])["paused"], false);
    for (args, exit, code) in [
        (&["shards", "split", "99"][..], 4, "unknown-shard"),
        (&["shards", "split", "0", "--at", "0"], 6, "shard-refused"),
        (&["shards", "move", "0", "--owner", "7"], 6, "shard-refused"),
        (&["shards", "merge", "15"], 6, "shard-refused"),
        (&["migrations", "abort", "99"], 4, "unknown-shard"),
        (&["rebalance", "limits", "--set", "[]"], 6, "shard-refused"),
        (&["rebalance", "limits", "--set", "{"], 6, "shard-refused"),
        (&["rebalance", "limits", "--set", r#"{"speed": 1}"#], 6, "shard-refused"),
        (&["shards", "rekey", "moves", "--type", "thing", "--name", "nobody"], 4, "unknown-shard"),
    ] {
        assert_eq!(fails(&host, args, exit), code, "{args:?}");
    }
    run(Some(host.data()), ["rebalance"]).exits(2);
    run(Some(host.data()), ["shards", "split"]).exits(2);
    // What people see is a table, and says what to look at.
    let shown = run(Some(host.data()), ["shards"]).exits(0);
    assert!(shown.stdout.contains("FIRST KEY") && shown.stdout.contains("pinned"), "{}", shown.stdout);
    let shown = run(Some(host.data()), ["migrations"]).exits(0);
    assert!(shown.stdout.contains("split") && shown.stdout.contains("it grows"), "{}", shown.stdout);
    host.stop();
}

#[tokio::test]
async fn the_planner_leaves_a_hot_shard_alone_or_says_nothing_of_it() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--owners", "2"]);
    let client = host.client().await;
    // A host that counts everything as hot, at once.
    let limits = r#"{"split-work-us": 200, "idle-work-us": 0, "sustain-ms": 0, "cooldown-ms": 0, "samples-min": 8}"#;
    change(&client, ShardChange::SetLimits(limits.into())).await;
    for number in 0..OBJECTS {
        client.put(&name(number), structured(&json!({ "n": 0 })), Expect::Absent).await.unwrap();
    }
    let before = client.shard_map().await.unwrap().shards.len();
    let more = async {
        for round in 0.. {
            client.put(&name(round % OBJECTS), structured(&json!({ "n": round })), Expect::Any).await.unwrap();
            if round % 50 == 0 && client.shard_map().await.unwrap().shards.len() > before {
                break;
            }
        }
    };
    within("a split", more).await;
    let told = told(&client, ReadShards::Decisions { limit: 20 }).await;
    let decisions = told["decisions"].as_array().unwrap();
    let split = decisions.iter().find(|it| it["decision"] == "split").unwrap_or_else(|| panic!("{told}"));
    assert!(split["became"].as_str().unwrap().starts_with("migration "), "{split}");
    assert!(!split["why"].as_str().unwrap().is_empty());
    let number = split["became"].as_str().unwrap().trim_start_matches("migration ").parse::<u64>().unwrap();
    let done = becomes(&client, &json!(number), "done").await;
    assert_eq!(done["by"], "planner");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_migrations_leave_stays_or_the_next_shard_is_not_made_ahead() {
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    client.put(&name(1), structured(&json!({})), Expect::Absent).await.unwrap();
    // Of the shards that are made ahead one is used, and another one given up.
    let at = Some(ShardKey::new(1 << 59));
    let split = change(&client, ShardChange::Split { shard: ShardId::new(0), at }).await;
    becomes(&client, &split["migration"], "done").await;
    let merge = change(&client, ShardChange::Merge(ShardId::new(2))).await;
    becomes(&client, &merge["migration"], "done").await;
    // Nobody writes any more.
    let named = || {
        let roster = std::fs::read_to_string(folder.data().join("KEYSPACES")).unwrap();
        ["spare-", "emptied-", " shard-"].map(|word| roster.matches(word).count())
    };
    until("keyspaces are made ahead and taken away", || (named() == [SPARE_SHARDS_DEFAULT, 0, 16]).then_some(())).await;
    host.stop();
    let host = folder.serve();
    assert_eq!(host.client().await.read(&name(1)).await.unwrap().version, Version::new(1));
    host.stop();
    assert_eq!(named(), [SPARE_SHARDS_DEFAULT, 0, 16]);
}
