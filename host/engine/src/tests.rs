//! The engine on a real store, with policies in Rust.

mod migrations;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ostrakon_core::policy::{
    Case, Decision, Forecast, Judgement, Outlook, Placement, Placing, PolicyFault, PredictionPolicy,
    ReconciliationPolicy, Route, ShardKeyPolicy, Verdict,
};
use ostrakon_store::StoreConfig;
use ostrakon_wire::answer::{Committed, Object};
use ostrakon_wire::json::from_json;
use ostrakon_wire::{
    Action, ActionId, Code, ConditionalWrite, Generation, List, LogId, ObjectId, OnConflict, Operation, Payload,
    Perform, Reply, ShardKey, Target, Version, WireError,
};
use serde_json::json;

use crate::{Context, Engine, Policies};

/// Places every object at one key, and forecasts a conflict for every write, right or wrong.
struct Contrary {
    faulty: AtomicBool,
    placed: AtomicU64,
}

impl ShardKeyPolicy for Contrary {
    fn place(&self, _placing: &Placing<&str>) -> Decision<Placement> {
        self.placed.fetch_add(1, Ordering::Relaxed);
        let result = match self.faulty.load(Ordering::Relaxed) {
            true => Err(PolicyFault::Impure),
            false => Ok(Placement { key: 7 << 56, bits: 8 }),
        };
        Decision { generation: Generation::new(3), result }
    }
}

impl PredictionPolicy for Contrary {
    fn predict(&self, _object: &ObjectId, outlook: &Outlook) -> Decision<Forecast> {
        let forecast = Forecast { version: outlook.known + 1, confidence_ppm: 1_000_000, route: Route::Reconcile };
        let faulty = self.faulty.load(Ordering::Relaxed);
        let result = if faulty { Err(PolicyFault::Trapped("unreachable".into())) } else { Ok(forecast) };
        Decision { generation: Generation::new(5), result }
    }
}

impl ReconciliationPolicy for Contrary {
    fn judge(&self, case: &Case<'_>) -> Judgement {
        let faulty = self.faulty.load(Ordering::Relaxed);
        let (result, calls) = case.ask(|_| if faulty { Err(PolicyFault::Impure) } else { Ok(Verdict::Rerun) });
        Judgement { decision: Decision { generation: Generation::new(7), result }, calls }
    }
}

struct Bed {
    engine: Arc<Engine>,
    policies: Arc<Contrary>,
    folder: tempfile::TempDir,
}

fn start(path: &std::path::Path) -> (Arc<Engine>, Arc<Contrary>) {
    let policies = Arc::new(Contrary { faulty: AtomicBool::new(false), placed: AtomicU64::new(0) });
    let for_engine = Policies {
        shard_key: Arc::clone(&policies) as _,
        prediction: Arc::clone(&policies) as _,
        reconciliation: Arc::clone(&policies) as _,
        keeper: Arc::new(crate::Unkept),
    };
    let engine = Engine::start(StoreConfig::new(path, LogId::new(1)), for_engine).unwrap();
    (Arc::new(engine), policies)
}

impl Bed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (engine, policies) = start(&folder.path().join("data"));
        Self { engine, policies, folder }
    }

    fn restart(self) -> Self {
        let Self { engine, folder, .. } = self;
        assert!(Arc::try_unwrap(engine).is_ok(), "nobody holds the engine any more");
        let (engine, policies) = start(&folder.path().join("data"));
        Self { engine, policies, folder }
    }
}

fn object(name: &str) -> ObjectId {
    ObjectId::new("acme", "volume", name).unwrap()
}

fn target(name: &str) -> Target {
    Target { object: object(name), shard_key: None }
}

fn structured(json: serde_json::Value) -> Payload {
    Payload::from_value(&from_json(&json).unwrap()).unwrap()
}

fn perform(name: &str, action: Action, known: Option<u64>) -> Perform {
    Perform {
        target: target(name),
        action,
        known: known.map(Version::new),
        action_id: None,
        on_conflict: OnConflict::Reject,
    }
}

async fn act(engine: &Engine, perform: Perform) -> Result<Committed, WireError> {
    match engine.handle(&Operation::Perform(perform), Context::default()).await? {
        Reply::Committed(committed) => Ok(committed),
        other => panic!("{other:?} answers no action"),
    }
}

async fn read(engine: &Engine, name: &str) -> Result<Object, WireError> {
    match engine.handle(&Operation::Read(target(name)), Context::default()).await? {
        Reply::Object(object) => Ok(object),
        other => panic!("{other:?} answers no read"),
    }
}

async fn code(engine: &Engine, perform: Perform) -> Code {
    act(engine, perform).await.unwrap_err().code
}

#[tokio::test]
async fn an_object_lives_through_create_change_delete_and_create_again() {
    let bed = Bed::new();
    let engine = &bed.engine;
    let put = |known| perform("a", Action::Put(structured(json!({"n": 1}))), known);
    assert_eq!(code(engine, put(Some(1))).await, Code::Conflict, "there is nothing of version 1");
    assert_eq!(act(engine, put(Some(0))).await.unwrap().version.get(), 1);
    assert_eq!(code(engine, put(Some(0))).await, Code::Conflict);
    let merged = act(engine, perform("a", Action::Merge(structured(json!({"m": 2}))), Some(1))).await.unwrap();
    assert_eq!(merged.version.get(), 2);
    act(engine, perform("a", Action::Add(structured(json!({"/n": 4}))), None)).await.unwrap();
    let object = read(engine, "a").await.unwrap();
    assert_eq!(object.payload, structured(json!({"n": 5, "m": 2})));
    let deleted = act(engine, perform("a", Action::Delete, Some(3))).await.unwrap();
    assert_eq!(deleted.version.get(), 4);
    let gone = read(engine, "a").await.unwrap_err();
    assert_eq!((gone.code, gone.stored), (Code::NotFound, Some(Version::new(4))));
    assert_eq!(code(engine, perform("a", Action::Delete, None)).await, Code::NotFound);
    let lost = act(engine, put(Some(3))).await.unwrap_err();
    assert_eq!(lost.winner.unwrap().version, Version::new(4), "a conflict with a tombstone carries its version");
    let again = act(engine, put(Some(0))).await.unwrap();
    assert_eq!(again.version.get(), 5, "no version of a name is used twice");
    let bed = bed.restart();
    assert_eq!(read(&bed.engine, "a").await.unwrap().version.get(), 5);
}

#[tokio::test]
async fn a_conditional_write_makes_the_next_version_and_no_other() {
    let bed = Bed::new();
    let write = |new_version| ConditionalWrite {
        target: target("a"),
        new_version: Version::new(new_version),
        payload: Payload::bytes("x").unwrap(),
        action_id: None,
    };
    let outcome = async |new_version| {
        let operation = Operation::ConditionalWrite(write(new_version));
        bed.engine
            .handle(&operation, Context::default())
            .await
            .map_err(|error| (error.code, error.winner, error.stored))
    };
    assert_eq!(outcome(0).await.unwrap_err().0, Code::InvalidVersion);
    assert_eq!(outcome(2).await.unwrap_err(), (Code::VersionGap, None, Some(Version::ABSENT)));
    assert!(outcome(1).await.is_ok());
    let (code, winner, _) = outcome(1).await.unwrap_err();
    assert_eq!(code, Code::Conflict);
    let winner = winner.unwrap();
    assert_eq!((winner.version.get(), winner.payload), (1, Some(Payload::bytes("x").unwrap())));
    assert!(outcome(2).await.is_ok());
}

#[tokio::test]
async fn the_recorded_key_counts_and_a_new_object_takes_the_key_it_comes_with() {
    let bed = Bed::new();
    let with_key = |name, key: u64| {
        let mut perform = perform(name, Action::Put(structured(json!({}))), None);
        perform.target.shard_key = Some(ShardKey::new(key));
        perform
    };
    let made = act(&bed.engine, with_key("given", 42)).await.unwrap();
    assert_eq!((made.shard_key.get(), made.decided.generations.shard_key), (42, None));
    let placed = act(&bed.engine, perform("asked", Action::Put(structured(json!({}))), None)).await.unwrap();
    assert_eq!(placed.shard_key.get() >> 56, 7);
    assert_eq!(placed.decided.generations.shard_key, Some(Generation::new(3)));
    assert_eq!(placed.decided.shard.unwrap(), bed.engine.owner.map().shard_of(placed.shard_key));
    for name in ["given", "asked"] {
        let wrong = act(&bed.engine, with_key(name, 43)).await.unwrap_err();
        assert_eq!(wrong.code, Code::WrongShardKey);
        assert_eq!(wrong.shard_key, Some(if name == "given" { made.shard_key } else { placed.shard_key }));
    }
    assert_eq!(bed.policies.placed.load(Ordering::Relaxed), 1, "a known object is not placed again");
}

#[tokio::test]
async fn a_wrong_forecast_costs_a_detour_and_no_false_conflict() {
    let bed = Bed::new();
    for version in 0..20 {
        let put = perform("a", Action::Put(structured(json!({"v": version}))), Some(version));
        let made = act(&bed.engine, put).await.unwrap();
        assert_eq!(made.decided.generations.prediction, Some(Generation::new(5)));
    }
    let stale = perform("a", Action::Put(structured(json!({}))), Some(3));
    assert_eq!(act(&bed.engine, stale).await.unwrap_err().winner.unwrap().version.get(), 20);
}

#[tokio::test]
async fn a_policy_that_fails_fails_its_own_decision_alone() {
    let bed = Bed::new();
    act(&bed.engine, perform("old", Action::Put(structured(json!({}))), None)).await.unwrap();
    bed.policies.faulty.store(true, Ordering::Relaxed);
    let new = perform("new", Action::Put(structured(json!({}))), None);
    assert_eq!(code(&bed.engine, new.clone()).await, Code::PolicyFailed);
    let known = perform("old", Action::Put(structured(json!({}))), Some(1));
    assert_eq!(act(&bed.engine, known).await.unwrap().version.get(), 2, "a write goes ahead without a forecast");
    bed.policies.faulty.store(false, Ordering::Relaxed);
    assert!(act(&bed.engine, new).await.is_ok());
}

#[tokio::test]
async fn a_repeat_of_an_action_answers_its_outcome_across_a_restart() {
    let bed = Bed::new();
    let mut add = perform("a", Action::Merge(structured(json!({"n": 1}))), None);
    add.action_id = Some(ActionId::from_bits(1_000 << 80));
    let first = act(&bed.engine, add.clone()).await.unwrap();
    let bed = bed.restart();
    let again = act(&bed.engine, Perform { known: Some(Version::new(9)), ..add.clone() }).await.unwrap();
    assert_eq!((again.version, again.revision, again.repeated), (first.version, first.revision, true));
    let other = Perform { action: Action::Merge(structured(json!({"n": 2}))), ..add };
    assert_eq!(code(&bed.engine, other).await, Code::ActionIdReused);
    assert_eq!(read(&bed.engine, "a").await.unwrap().version.get(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn contended_writers_lose_no_update_and_leave_no_gap() {
    const WRITERS: u64 = 16;
    const EACH: u64 = 60;
    let bed = Bed::new();
    act(&bed.engine, perform("hot", Action::Put(structured(json!({"n": 0, "by": {}}))), None)).await.unwrap();
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let engine = Arc::clone(&bed.engine);
        writers.spawn(async move {
            let mut versions = Vec::new();
            for round in 0..EACH {
                if round % 2 == 0 {
                    // Read, change, write back on condition, until it wins.
                    let mut seen = read(&engine, "hot").await.unwrap();
                    loop {
                        let mine = json!({"by": {format!("w{writer}"): round}});
                        let merge = Action::Merge(structured(mine));
                        match act(&engine, perform("hot", merge, Some(seen.version.get()))).await {
                            Ok(made) => break versions.push(made.version.get()),
                            Err(error) => {
                                let winner = error.winner.unwrap();
                                assert!(winner.version > seen.version, "a winner is newer than what was known");
                                seen.version = winner.version;
                            }
                        }
                    }
                } else {
                    let add = Action::Add(structured(json!({"/n": 1})));
                    versions.push(act(&engine, perform("hot", add, None)).await.unwrap().version.get());
                }
            }
            versions
        });
    }
    let mut versions: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    versions.sort_unstable();
    assert_eq!(versions, (2..=WRITERS * EACH + 1).collect::<Vec<_>>(), "every version was made once");
    let bed = bed.restart();
    let object = read(&bed.engine, "hot").await.unwrap();
    let expected: serde_json::Map<_, _> = (0..WRITERS).map(|writer| (format!("w{writer}"), json!(EACH - 2))).collect();
    assert_eq!(object.payload, structured(json!({"n": WRITERS * EACH / 2, "by": expected})));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_creators_make_one_object() {
    let bed = Bed::new();
    for round in 0..50 {
        let mut racers = tokio::task::JoinSet::new();
        for racer in 0..8 {
            let engine = Arc::clone(&bed.engine);
            racers.spawn(async move {
                let put = Action::Put(structured(json!({"racer": racer})));
                let mut perform = perform(&format!("new-{round}"), put, Some(0));
                perform.target.shard_key = Some(ShardKey::new(racer << 60));
                act(&engine, perform).await.map_err(|error| error.code)
            });
        }
        let outcomes = racers.join_all().await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(refused.into_iter().all(|code| matches!(code, Code::WrongShardKey | Code::Conflict)));
    }
}

#[tokio::test]
async fn a_list_pages_through_live_objects_in_order() {
    let bed = Bed::new();
    for name in ["b", "a", "c", "d"] {
        act(&bed.engine, perform(name, Action::Put(structured(json!({}))), None)).await.unwrap();
    }
    act(&bed.engine, perform("c", Action::Delete, None)).await.unwrap();
    let mut list = List {
        at: None,
        client: "acme".into(),
        data_type: Some("volume".into()),
        prefix: None,
        limit: 2,
        token: None,
        with_payloads: false,
    };
    let mut names = Vec::new();
    loop {
        let Ok(Reply::Page(page)) = bed.engine.handle(&Operation::List(list.clone()), Context::default()).await else {
            panic!("a list answers a page")
        };
        names.push(page.items.iter().map(|item| item.object.name().to_owned()).collect::<Vec<_>>());
        list.token = page.token;
        if list.token.is_none() {
            break;
        }
    }
    assert_eq!(names, [vec!["a", "b"], vec!["d"]]);
    list.token = Some("rubbish".into());
    let refused = bed.engine.handle(&Operation::List(list), Context::default()).await.unwrap_err();
    assert_eq!(refused.code, Code::InvalidToken);
}

#[tokio::test]
async fn large_payloads_are_written_read_merged_and_told_in_conflicts() {
    let bed = Bed::new();
    let large = |n: usize| structured(json!({"n": n, "text": "x".repeat(200_000)}));
    act(&bed.engine, perform("a", Action::Put(large(1)), None)).await.unwrap();
    assert_eq!(read(&bed.engine, "a").await.unwrap().payload, large(1));
    act(&bed.engine, perform("a", Action::Add(structured(json!({"/n": 1}))), Some(1))).await.unwrap();
    let lost = act(&bed.engine, perform("a", Action::Delete, Some(1))).await.unwrap_err();
    assert_eq!(lost.winner.unwrap().payload, Some(large(2)));
}

#[tokio::test]
async fn merges_of_one_large_object_that_is_not_in_memory_do_not_wait_for_each_other_for_ever() {
    let bed = Bed::new();
    let large = structured(json!({"text": "x".repeat(200_000)}));
    act(&bed.engine, perform("a", Action::Put(large), None)).await.unwrap();
    let bed = bed.restart();
    let merge = |field: &str| act(&bed.engine, perform("a", Action::Merge(structured(json!({field: 1}))), None));
    let both = futures_util::future::join3(merge("b"), merge("c"), read(&bed.engine, "a"));
    let (b, c, seen) = tokio::time::timeout(std::time::Duration::from_secs(20), both).await.unwrap();
    assert_eq!(b.unwrap().version.get() + c.unwrap().version.get(), 2 + 3);
    assert!(seen.is_ok());
}

#[tokio::test]
async fn a_shard_that_is_set_aside_takes_others_with_it() {
    let bed = Bed::new();
    let keyed = |name: &str, key: u64| Perform {
        target: Target { shard_key: Some(ShardKey::new(key)), ..target(name) },
        ..perform(name, Action::Put(structured(json!({"size": 1}))), None)
    };
    act(&bed.engine, keyed("low", 1)).await.unwrap();
    act(&bed.engine, keyed("high", u64::MAX)).await.unwrap();
    let Bed { engine, folder, .. } = bed;
    drop(engine);
    let data = folder.path().join("data");
    let roster = std::fs::read_to_string(data.join("KEYSPACES")).unwrap();
    let last = roster.lines().find_map(|line| line.strip_suffix(" shard-0000000015")).unwrap();
    std::fs::remove_file(data.join("store/keyspaces").join(last).join("current")).unwrap();
    let (engine, policies) = start(&data);
    let bed = Bed { engine, policies, folder };
    let unavailable =
        |outcome: Result<Version, WireError>| assert_eq!(outcome.unwrap_err().code, Code::ShardUnavailable);
    for _ in 0..2 {
        unavailable(read(&bed.engine, "high").await.map(|object| object.version));
        unavailable(act(&bed.engine, keyed("high", u64::MAX)).await.map(|done| done.version));
        unavailable(act(&bed.engine, keyed("new", u64::MAX - 1)).await.map(|done| done.version));
        act(&bed.engine, keyed("low", 1)).await.unwrap();
        assert!(read(&bed.engine, "low").await.is_ok());
    }
    let Reply::Info(info) = bed.engine.handle(&Operation::Info, Context::default()).await.unwrap() else { panic!() };
    assert_eq!(info.facts["shards-set-aside"], ostrakon_wire::value::Value::Integer(1));
    let bed = bed.restart();
    unavailable(read(&bed.engine, "high").await.map(|object| object.version));
    assert_eq!(read(&bed.engine, "low").await.unwrap().version, Version::new(3));
}

#[tokio::test]
async fn an_action_that_waits_for_its_turn_is_not_told_which_version_is_stored() {
    let bed = Bed::new();
    act(&bed.engine, perform("a", Action::Put(structured(json!({}))), None)).await.unwrap();
    act(&bed.engine, perform("a", Action::Delete, None)).await.unwrap();
    let again = Perform {
        action_id: Some(ActionId::from_bits(7)),
        on_conflict: OnConflict::Reconcile,
        ..perform("a", Action::Delete, None)
    };
    // The first time as it is decided, the second as it is remembered.
    for _ in 0..2 {
        let operation = Operation::Reconcile(again.clone());
        let error = bed.engine.handle(&operation, Context::default()).await.unwrap_err();
        assert_eq!((error.code, error.stored), (Code::NotFound, Some(Version::new(2))));
    }
}
