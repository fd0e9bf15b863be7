//! Migrations on a real store: what moves is found all the while, and whole in the end.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use ostrakon_store::{Finding, check};
use ostrakon_wire::answer::ShardMap;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{AskMap, ChangeShards, ReadShards, ShardChange, ShardId};

use super::*;

/// The objects that lie in shard 0, by where the test's policy puts them.
const OBJECTS: usize = 600;

fn name(number: usize) -> String {
    format!("vol-{number:04}")
}

async fn fill(engine: &Engine) {
    for number in 0..OBJECTS {
        act(engine, perform(&name(number), Action::Put(structured(json!({"n": 1}))), Some(0))).await.unwrap();
        act(engine, perform(&name(number), Action::Add(structured(json!({"/n": 1}))), None)).await.unwrap();
    }
}

async fn change(engine: &Engine, change: ShardChange) -> Result<Map, WireError> {
    let operation = Operation::ChangeShards(ChangeShards { change, reason: None });
    match engine.handle(&operation, Context::default()).await? {
        Reply::Shards(report) => Ok(report.facts),
        other => panic!("{other:?} answers no change of shards"),
    }
}

async fn told(engine: &Engine, read: ReadShards, list: &str) -> Vec<Map> {
    let facts = match engine.handle(&Operation::ReadShards(read), Context::default()).await.unwrap() {
        Reply::Shards(report) => report.facts,
        other => panic!("{other:?} tells nothing of shards"),
    };
    let Some(Value::Array(items)) = facts.get(list) else { panic!("{facts:?}") };
    items.iter().map(|item| if let Value::Map(map) = item { map.clone() } else { panic!("{item:?}") }).collect()
}

fn number_in(facts: &Map, name: &str) -> i64 {
    match facts.get(name) {
        Some(Value::Integer(number)) => *number,
        other => panic!("{name} is {other:?} in {facts:?}"),
    }
}

async fn state_of(engine: &Engine, number: i64) -> (String, Map) {
    let all = told(engine, ReadShards::Migrations { limit: 256 }, "migrations").await;
    let migration = all.into_iter().find(|migration| number_in(migration, "migration") == number).unwrap();
    let Some(Value::Text(state)) = migration.get("state").cloned() else { panic!("{migration:?}") };
    (state, migration)
}

async fn wait_for(engine: &Engine, number: i64, wanted: &str) -> Map {
    for _ in 0..1_000 {
        let (state, migration) = state_of(engine, number).await;
        if state == wanted {
            return migration;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("migration {number} does not become {wanted}: {:?}", state_of(engine, number).await);
}

async fn map_of(engine: &Engine, ask: AskMap) -> ShardMap {
    match engine.handle(&Operation::ShardMap(ask), Context::default()).await.unwrap() {
        Reply::ShardMap(map) => map,
        other => panic!("{other:?} is no map"),
    }
}

async fn shards(engine: &Engine) -> Vec<u32> {
    map_of(engine, AskMap::default()).await.shards.iter().map(|range| range.shard.get()).collect()
}

/// Every object is found, with at least this many additions to it.
async fn hold_all(engine: &Engine, at_least: i64) {
    for number in 0..OBJECTS {
        let found = read(engine, &name(number)).await.unwrap();
        let Some(Value::Map(fields)) = found.payload.value() else { panic!() };
        let Some(Value::Integer(n)) = fields.get("n") else { panic!("{fields:?}") };
        assert!(*n >= at_least, "object {number} holds {n}");
        assert_eq!(found.version.get() as i64, *n, "each addition made one version");
    }
}

/// Waits until no shard holds anything that it has given away.
async fn swept(engine: &Engine) {
    for _ in 0..1_000 {
        let view = engine.owner.views().latest();
        let left = |shard| !view.left_behind(shard, None, 1).unwrap().is_empty();
        if !view.map().shards().any(left) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("what was given away stays where it was");
}

fn findings(bed: Bed) -> Vec<Finding> {
    let Bed { engine, folder, .. } = bed;
    assert!(Arc::try_unwrap(engine).is_ok(), "nobody holds the engine any more");
    check(&folder.path().join("data")).unwrap().findings
}

/// Adds to all objects, over and over, until told to stop.
fn writers(engine: &Arc<Engine>, stop: &Arc<AtomicBool>) -> Vec<tokio::task::JoinHandle<u64>> {
    let writer = |first: usize| {
        let (engine, stop) = (Arc::clone(engine), Arc::clone(stop));
        tokio::spawn(async move {
            let mut written = 0;
            while !stop.load(Ordering::Relaxed) {
                for number in (first..OBJECTS).step_by(4) {
                    act(&engine, perform(&name(number), Action::Add(structured(json!({"/n": 1}))), None))
                        .await
                        .unwrap();
                    written += 1;
                }
            }
            written
        })
    };
    (0..4).map(writer).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_split_merged_moved_and_rekeyed_under_load_is_found_all_the_while() {
    let bed = Bed::new();
    let engine = &bed.engine;
    fill(engine).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = writers(engine, &stop);
    let before = shards(engine).await;
    let split = change(engine, ShardChange::Split { shard: ShardId::new(0), at: None }).await.unwrap();
    let done = wait_for(engine, number_in(&split, "migration"), "done").await;
    assert_eq!(shards(engine).await.len(), before.len() + 1);
    let moved = number_in(&done, "objects");
    assert!((200..=400).contains(&moved), "the middle is near the middle: {moved} of {OBJECTS} moved");
    hold_all(engine, 2).await;
    let moved = change(engine, ShardChange::Move { shard: ShardId::new(0), owner: 3 }).await.unwrap();
    assert_eq!(moved.get("state"), Some(&Value::Text("done".into())));
    assert_eq!(map_of(engine, AskMap::default()).await.shards[0].owner, 3);
    let merge = change(engine, ShardChange::Merge(ShardId::new(0))).await.unwrap();
    wait_for(engine, number_in(&merge, "migration"), "done").await;
    assert_eq!(shards(engine).await.len(), before.len());
    let key = ShardKey::new(0xabcd << 48);
    for number in 0..20 {
        let change_to = ShardChange::RekeyObject { object: object(&name(number)), shard_key: Some(key) };
        assert_eq!(change(engine, change_to).await.unwrap().get("moved"), Some(&Value::Bool(true)));
        assert_eq!(read(engine, &name(number)).await.unwrap().shard_key, key);
    }
    let back = ShardChange::Rekey { client: "acme".into(), data_type: Some("volume".into()) };
    let back = change(engine, back).await.unwrap();
    let done = wait_for(engine, number_in(&back, "migration"), "done").await;
    assert_eq!(number_in(&done, "objects"), 20, "the policy wants all where they were");
    stop.store(true, Ordering::Relaxed);
    for writer in writing {
        assert!(writer.await.unwrap() > 0);
    }
    hold_all(engine, 2).await;
    let bed = bed.restart();
    hold_all(&bed.engine, 2).await;
    swept(&bed.engine).await;
    hold_all(&bed.engine, 2).await;
    assert_eq!(findings(bed), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_a_restart_cuts_in_two_goes_on_or_back() {
    for back in [false, true] {
        let bed = Bed::new();
        fill(&bed.engine).await;
        let before = shards(&bed.engine).await;
        let pause = |engine: Arc<Engine>| async move { change(&engine, ShardChange::Pause(None)).await.unwrap() };
        let split = change(&bed.engine, ShardChange::Split { shard: ShardId::new(0), at: None }).await.unwrap();
        let number = number_in(&split, "migration");
        for _ in 0..10_000 {
            if number_in(&state_of(&bed.engine, number).await.1, "objects") > 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        pause(Arc::clone(&bed.engine)).await;
        let paused = change(&bed.engine, ShardChange::Pause(Some(number as u64))).await;
        hold_all(&bed.engine, 2).await;
        let bed = bed.restart();
        let (state, migration) = state_of(&bed.engine, number).await;
        if paused.is_ok() {
            assert_eq!(state, "paused", "{migration:?}");
            hold_all(&bed.engine, 2).await;
            let go = if back { ShardChange::Abort(number as u64) } else { ShardChange::Resume(Some(number as u64)) };
            change(&bed.engine, go).await.unwrap();
        }
        // That nothing moves has outlived the restart, too.
        change(&bed.engine, ShardChange::Resume(None)).await.unwrap();
        wait_for(&bed.engine, number, if back && paused.is_ok() { "undone" } else { "done" }).await;
        let more = usize::from(!(back && paused.is_ok()));
        assert_eq!(shards(&bed.engine).await.len(), before.len() + more);
        hold_all(&bed.engine, 2).await;
        assert_eq!(findings(bed), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_called_off_at_once_is_told_as_it_was_then() {
    let bed = Bed::new();
    fill(&bed.engine).await;
    let before = shards(&bed.engine).await;
    let stop = Arc::new(AtomicBool::new(false));
    // Who asks is not the first to run when a step is done.
    let others: Vec<_> = (0..8)
        .map(|_| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(2));
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let mut moving = std::collections::VecDeque::new();
    for _ in 0..20 {
        change(&bed.engine, ShardChange::Pause(None)).await.unwrap();
        let split = change(&bed.engine, ShardChange::Split { shard: ShardId::new(0), at: None }).await.unwrap();
        assert_eq!(split["state"], Value::Text("running".into()), "{split:?}");
        let number = number_in(&split, "migration");
        change(&bed.engine, ShardChange::Pause(Some(number as u64))).await.unwrap();
        change(&bed.engine, ShardChange::Resume(None)).await.unwrap();
        // Nothing has moved: who moves others just now ends it before anybody can look.
        let moved = ShardChange::Rekey { client: "acme".into(), data_type: None };
        moving.push_back(number_in(&change(&bed.engine, moved).await.unwrap(), "migration"));
        let engine = Arc::clone(&bed.engine);
        let back = tokio::spawn(async move { change(&engine, ShardChange::Abort(number as u64)).await });
        let back = back.await.unwrap().unwrap();
        assert_eq!(back["state"], Value::Text("going back".into()), "{back:?}");
        wait_for(&bed.engine, number, "undone").await;
        // Few may run at a time.
        if moving.len() > 4 {
            wait_for(&bed.engine, moving.pop_front().unwrap(), "done").await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(shards(&bed.engine).await, before);
    hold_all(&bed.engine, 2).await;
    assert_eq!(findings(bed), []);
}

#[tokio::test]
async fn what_cannot_be_done_to_shards_is_refused_by_name() {
    let bed = Bed::new();
    let engine = &bed.engine;
    let refused = |change_to: ShardChange| async move { change(engine, change_to).await.unwrap_err().code };
    let (shard, none) = (ShardId::new(3), ShardId::new(99));
    assert_eq!(refused(ShardChange::Split { shard: none, at: None }).await, Code::UnknownShard);
    assert_eq!(refused(ShardChange::Split { shard, at: None }).await, Code::ShardRefused, "it is empty");
    assert_eq!(refused(ShardChange::Split { shard, at: Some(ShardKey::new(5)) }).await, Code::ShardRefused);
    assert_eq!(refused(ShardChange::Merge(ShardId::new(15))).await, Code::ShardRefused, "it is the last");
    assert_eq!(refused(ShardChange::Move { shard, owner: 4 }).await, Code::ShardRefused);
    assert_eq!(refused(ShardChange::Move { shard, owner: 3 }).await, Code::ShardRefused, "it has it");
    assert_eq!(refused(ShardChange::Abort(7)).await, Code::UnknownShard);
    let nobody = ShardChange::RekeyObject { object: object("nobody"), shard_key: None };
    assert_eq!(refused(nobody).await, Code::UnknownShard);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_the_map_is_told_of_the_next_epoch_and_not_before() {
    let bed = Bed::new();
    let first = map_of(&bed.engine, AskMap::default()).await.decided.epoch;
    let same = map_of(&bed.engine, AskMap { beyond: Some(first), wait_ms: 30 }).await;
    assert_eq!(same.decided.epoch, first, "nothing has changed in time");
    let engine = Arc::clone(&bed.engine);
    let following = tokio::spawn(async move { map_of(&engine, AskMap { beyond: Some(first), wait_ms: 60_000 }).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    change(&bed.engine, ShardChange::Move { shard: ShardId::new(0), owner: 2 }).await.unwrap();
    assert!(following.await.unwrap().decided.epoch > first);
}

/// Objects lie together until their client's use is known, and then apart.
struct ByUse;

const TOGETHER: Placement = Placement { key: 1 << 60, bits: 8 };
const APART: Placement = Placement { key: 9 << 60, bits: 4 };

impl ShardKeyPolicy for ByUse {
    fn place(&self, placing: &Placing<&str>) -> Decision<Placement> {
        let hot = placing.heat.client_ppm > 900_000 && placing.client == "busy";
        let result = Ok(if hot { APART } else { TOGETHER });
        Decision { generation: Generation::new(1), result }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_that_have_outgrown_their_key_keep_it_or_others_lose_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let contrary = Arc::new(Contrary { faulty: AtomicBool::new(false), placed: AtomicU64::new(0) });
    let policies = Policies {
        shard_key: Arc::new(ByUse),
        prediction: Arc::clone(&contrary) as _,
        reconciliation: contrary,
        keeper: Arc::new(crate::Unkept),
    };
    let engine = Engine::start(StoreConfig::new(folder.path().join("data"), LogId::new(1)), policies).unwrap();
    let put = |client: &str, number: usize| {
        let object = ObjectId::new(client, "volume", &name(number)).unwrap();
        let (action, target) = (Action::Put(structured(json!({"n": 1}))), Target { object, shard_key: None });
        Perform { target, action, known: None, action_id: None, on_conflict: OnConflict::Reject }
    };
    // Nothing is known when the first is made: it lies where quiet ones do, and so does what an operator has put elsewhere.
    act(&engine, put("busy", 0)).await.unwrap();
    act(&engine, put("quiet", 0)).await.unwrap();
    let elsewhere = ShardKey::new(5 << 60);
    let object = ObjectId::new("quiet", "volume", &name(0)).unwrap();
    change(&engine, ShardChange::RekeyObject { object: object.clone(), shard_key: Some(elsewhere) }).await.unwrap();
    for _ in 0..200 {
        act(&engine, put("busy", 0)).await.unwrap();
    }
    engine.rebalancer.shared().propose_once().await;
    let decisions = told(&engine, ReadShards::Decisions { limit: 5 }, "decisions").await;
    assert_eq!(decisions.first().and_then(|it| it.get("what")), Some(&Value::Text("re-key busy/volume".into())));
    let number = told(&engine, ReadShards::Migrations { limit: 5 }, "migrations").await;
    wait_for(&engine, number_in(&number[0], "migration"), "done").await;
    let key_of = |target: Target| async {
        match engine.handle(&Operation::Read(target), Context::default()).await.unwrap() {
            Reply::Object(object) => object.shard_key,
            other => panic!("{other:?}"),
        }
    };
    let busy = ObjectId::new("busy", "volume", &name(0)).unwrap();
    assert_eq!(key_of(Target { object: busy, shard_key: None }).await.get() >> 60, 9, "it has come apart");
    // What lies elsewhere for another reason is no business of the planner's.
    engine.rebalancer.shared().propose_once().await;
    assert_eq!(key_of(Target { object, shard_key: None }).await, elsewhere);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_object_that_comes_under_another_key_is_written_over_with_less_than_it_holds() {
    let bed = Bed::new();
    // More than is kept in memory of a head.
    let large = "x".repeat(10_000);
    act(&bed.engine, perform("large", Action::Put(structured(json!({"n": 0, "large": large}))), Some(0)))
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let moving = {
        let (engine, stop) = (Arc::clone(&bed.engine), Arc::clone(&stop));
        tokio::spawn(async move {
            for round in 0_u64.. {
                if stop.load(Ordering::Relaxed) {
                    return round;
                }
                let shard_key = Some(ShardKey::new((round % 16) << 60));
                change(&engine, ShardChange::RekeyObject { object: object("large"), shard_key }).await.unwrap();
            }
            unreachable!("rounds do not end")
        })
    };
    for n in 1..=300 {
        let add = Action::Add(structured(json!({"/n": 1})));
        let action = if n % 2 == 0 { add } else { Action::Merge(structured(json!({"n": n}))) };
        act(&bed.engine, perform("large", action, None)).await.unwrap();
        let read = read(&bed.engine, "large").await.unwrap();
        assert_eq!(read.payload, structured(json!({"n": n, "large": large})), "after {n} changes");
        assert_eq!(read.version.get(), n + 1);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(moving.await.unwrap() > 5);
    assert_eq!(findings(bed), []);
}
