//! Transactions over the wire: all or nothing, once, in any shards, beside everything else that writes.

use std::collections::BTreeSet;

use ostrakon_client::{
    Action, Client, Code, Condition, Error, Expect, List, Must, ObjectId, OnConflict, Payload, Step, Transact, Version,
    value,
};
use serde_json::json;

use crate::harness::{Draws, Folder, as_json, list_of, object, refused, shared, structured, target, within};

fn step(object: &ObjectId, action: Action) -> Step {
    Step { target: target(object), action }
}

fn add(object: &ObjectId, n: i64) -> Step {
    step(object, Action::Add(structured(&json!({ "/n": n }))))
}

fn at(object: &ObjectId, version: u64) -> Condition {
    Condition { object: object.clone(), must: Must::BeAt(Version::new(version)) }
}

fn of(conditions: Vec<Condition>, actions: Vec<Step>) -> Transact {
    Transact { conditions, actions, action_id: Some(Client::new_action_id()), on_conflict: OnConflict::Reject }
}

async fn make(client: &Client, of: &str, names: &[&str]) -> Vec<ObjectId> {
    let objects: Vec<_> = names.iter().map(|name| object(of, name)).collect();
    for object in &objects {
        client.put(object, structured(&json!({ "n": 10, "state": "open" })), Expect::Absent).await.unwrap();
    }
    objects
}

async fn n_of(client: &Client, object: &ObjectId) -> i64 {
    as_json(&client.read(object).await.unwrap().payload)["n"].as_i64().unwrap()
}

#[tokio::test]
async fn a_part_of_a_transaction_is_done_or_a_repeat_has_a_second_effect() {
    let host = shared();
    let client = host.client().await;
    let objects = make(&client, "transact-once", &["a", "b"]).await;
    let new = object("transact-once", "new");
    let transact = of(
        vec![at(&objects[0], 1), at(&new, 0)],
        vec![add(&objects[0], -3), add(&objects[1], 3), step(&new, Action::Put(structured(&json!({ "n": 0 }))))],
    );
    let done = client.transact(transact.clone()).await.unwrap();
    let versions: Vec<_> = done.made.iter().map(|made| made.version.get()).collect();
    assert_eq!((versions, done.repeated), (vec![2, 2, 1], false));
    for object in objects.iter().chain([&new]) {
        assert_eq!(client.read_version(object).await.unwrap().revision, done.revision, "one commit unit");
    }
    let again = client.transact(transact.clone()).await.unwrap();
    assert_eq!((again.made.clone(), again.revision, again.repeated), (done.made, done.revision, true));
    assert_eq!((n_of(&client, &objects[0]).await, n_of(&client, &objects[1]).await), (7, 13));
    let other = Transact { actions: vec![add(&objects[0], 1)], ..transact };
    assert_eq!(refused(client.transact(other).await).code, Code::ActionIdReused);
}

#[tokio::test]
async fn conditions_that_fail_are_not_all_told_or_something_is_done_all_the_same() {
    let host = shared();
    let client = host.client().await;
    let objects = make(&client, "transact-fails", &["a", "b", "c"]).await;
    let [a, b, c] = [&objects[0], &objects[1], &objects[2]];
    client.delete(c, Expect::Any).await.unwrap();
    let state = |object: &ObjectId, state: &str| Condition {
        object: object.clone(),
        must: Must::Hold { pointer: "/state".into(), value: value::Value::Text(state.into()) },
    };
    let conditions = vec![at(a, 1), at(b, 7), state(a, "open"), state(b, "closed"), at(c, 1), state(c, "open")];
    let error = refused(client.transact(of(conditions, vec![add(a, 1), add(b, 1)])).await);
    assert_eq!(error.code, Code::Conflict, "{error}");
    let failed = error.failed.iter().map(|failed| (failed.index, failed.version.get(), failed.payload.is_some()));
    let failed: Vec<_> = failed.collect();
    assert_eq!(failed, [(1, 1, true), (3, 1, true), (4, 2, false), (5, 2, false)]);
    let error = refused(client.transact(of(vec![at(a, 1)], vec![add(a, 1), add(c, 1)])).await);
    assert_eq!((error.code, error.step, error.stored), (Code::NotFound, Some(1), Some(Version::new(2))));
    let large = step(a, Action::Add(structured(&json!({ "/n": i64::MAX }))));
    let error = refused(client.transact(of(vec![], vec![add(b, 1), large])).await);
    assert_eq!((error.code, error.step), (Code::NumberOverflow, Some(1)));
    assert_eq!((n_of(&client, a).await, n_of(&client, b).await), (10, 10), "nothing was done");
}

#[tokio::test]
async fn what_no_transaction_may_be_is_taken() {
    let host = shared();
    let client = host.client().await;
    let objects = make(&client, "transact-bad", &["a"]).await;
    let a = &objects[0];
    let code = async |transact| refused(client.transact(transact).await).code;
    assert_eq!(code(of(vec![], vec![])).await, Code::Malformed);
    assert_eq!(code(of(vec![], vec![add(a, 1), add(a, 1)])).await, Code::Malformed);
    assert_eq!(code(of(vec![at(a, 1); 65], vec![add(a, 1)])).await, Code::Malformed);
    let many: Vec<_> = (0..65).map(|n| add(&object("transact-bad", format!("m{n}")), 1)).collect();
    assert_eq!(code(of(vec![], many)).await, Code::Malformed);
    let custom = Action::Custom { kind: "k".into(), body: structured(&json!({})) };
    assert_eq!(code(of(vec![], vec![step(a, custom)])).await, Code::Unsupported);
    let pointer = |pointer: &str| Condition {
        object: a.clone(),
        must: Must::Hold { pointer: pointer.into(), value: value::Value::Null },
    };
    assert_eq!(code(of(vec![pointer("state")], vec![add(a, 1)])).await, Code::InvalidPointer);
    assert_eq!(
        code(of(vec![pointer(&format!("/{}", "x".repeat(1_024)))], vec![add(a, 1)])).await,
        Code::InvalidPointer
    );
    let detached = Transact { on_conflict: OnConflict::Detach, ..of(vec![], vec![add(a, 1)]) };
    assert_eq!(code(detached).await, Code::Malformed);
    let mut wrong = add(a, 1);
    wrong.target.shard_key = Some(ostrakon_client::ShardKey::new(1));
    assert_eq!(code(of(vec![], vec![wrong])).await, Code::WrongShardKey);
    // Each has room for itself, and all together do not.
    let mebibyte = || structured(&json!({ "x": "x".repeat(1 << 20 >> 1), "n": 1 }));
    let mut heavy = Vec::new();
    for n in 0..9 {
        let object = object("transact-bad", format!("heavy-{n}"));
        client.put(&object, mebibyte(), Expect::Absent).await.unwrap();
        heavy.push(add(&object, 1));
    }
    assert_eq!(code(of(vec![], heavy.clone())).await, Code::PayloadTooLarge);
    heavy.truncate(7);
    client.transact(of(vec![], heavy)).await.unwrap();
    assert_eq!(n_of(&client, a).await, 10);
}

#[tokio::test]
async fn a_transaction_that_is_judged_again_loses_what_another_has_changed() {
    let host = shared();
    let client = host.client().await;
    let objects = make(&client, "transact-again", &["a", "b"]).await;
    let [a, b] = [&objects[0], &objects[1]];
    client.merge(a, structured(&json!({ "other": 1 })), Expect::Any).await.unwrap();
    let merge = |object: &ObjectId, patch: serde_json::Value| step(object, Action::Merge(structured(&patch)));
    let transact = Transact {
        on_conflict: OnConflict::Reconcile,
        ..of(vec![at(a, 1), at(b, 1)], vec![merge(a, json!({ "mine": 2 })), merge(b, json!({ "mine": 2 }))])
    };
    let done = client.transact(transact.clone()).await.unwrap();
    assert_eq!((done.made[0].version.get(), done.made[1].version.get(), done.tries), (3, 2, 1));
    let both = as_json(&client.read(a).await.unwrap().payload);
    assert_eq!(both, json!({ "n": 10, "state": "open", "other": 1, "mine": 2 }));
    assert!(client.transact(transact).await.unwrap().repeated);
    // The same field was changed: the policy has the word, and one rejection rejects the whole, for good.
    client.merge(a, structured(&json!({ "state": "closed" })), Expect::Any).await.unwrap();
    let clash = Transact {
        on_conflict: OnConflict::Reconcile,
        ..of(vec![at(a, 3), at(b, 2)], vec![merge(a, json!({ "state": "mine" })), merge(b, json!({ "late": 1 }))])
    };
    let error = refused(client.transact(clash.clone()).await);
    assert!(matches!(error.code, Code::Rejected), "{error}");
    assert_eq!(refused(client.transact(clash).await).code, Code::Rejected, "it is recorded");
    assert_eq!(client.read_version(b).await.unwrap().version, Version::new(2));
    // What no policy can judge is a conflict.
    let never =
        Transact { on_conflict: OnConflict::Reconcile, ..of(vec![at(a, 99)], vec![merge(a, json!({ "late": 1 }))]) };
    assert_eq!(refused(client.transact(never).await).code, Code::Conflict);
    let guard =
        Transact { on_conflict: OnConflict::Reconcile, ..of(vec![at(b, 1)], vec![merge(a, json!({ "late": 1 }))]) };
    assert_eq!(refused(client.transact(guard).await).failed[0].version, Version::new(2));
}

const ACCOUNTS: u64 = 6;

/// Moves amounts between accounts, now with conditions and now without, now judged again; beside single writers.
async fn moves(client: Client, of_client: &'static str, seed: u64) {
    let mut draws = Draws(seed);
    let account = |number: u64| object(of_client, format!("account-{number}"));
    let mut known = vec![1; ACCOUNTS as usize];
    for round in 0..150 {
        let from = draws.below(ACCOUNTS);
        let to = (from + 1 + draws.below(ACCOUNTS - 1)) % ACCOUNTS;
        let amount = draws.below(9) as i64;
        if round % 10 == 0 {
            // A single change that keeps the sum: it touches another field.
            let patch = structured(&json!({ (format!("seen-{seed}")): round }));
            client.reconciled(&account(from), Action::Merge(patch), Expect::Any).await.unwrap();
        }
        let conditions = match draws.below(3) {
            0 => vec![],
            _ => [from, to].map(|at_account| at(&account(at_account), known[at_account as usize])).into(),
        };
        let on_conflict = if draws.below(2) == 0 { OnConflict::Reconcile } else { OnConflict::Reject };
        let actions = vec![add(&account(from), -amount), add(&account(to), amount)];
        let transact = Transact { on_conflict, ..of(conditions, actions) };
        match client.transact(transact.clone()).await {
            Ok(done) => {
                let made: Vec<_> = done.made.iter().map(|made| made.version.get()).collect();
                (known[from as usize], known[to as usize]) = (made[0], made[1]);
            }
            Err(Error::Refused(error)) if error.code == Code::Conflict => {
                for failed in &error.failed {
                    let object = &transact.conditions[failed.index as usize].object;
                    let number = (0..ACCOUNTS).find(|number| account(*number) == *object).unwrap();
                    known[number as usize] = failed.version.get();
                }
            }
            Err(Error::Refused(error)) if error.code == Code::Rejected => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_over_objects_differ_at_some_place_of_the_log() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--history", "100000"]);
    let client = host.client().await;
    let of_client = "transact-sums";
    let first = client.list_all(list_of(of_client)).await.unwrap().1;
    let accounts: Vec<Step> = (0..ACCOUNTS)
        .map(|number| object(of_client, format!("account-{number}")))
        .map(|object| step(&object, Action::Put(structured(&json!({ "n": 100 })))))
        .collect();
    let made = client.transact(of(vec![], accounts)).await.unwrap();
    let moving: Vec<_> = (1..=6).map(|seed| tokio::spawn(moves(client.clone(), of_client, seed))).collect();
    for done in moving {
        within("the moves", done).await.unwrap();
    }
    // At every place that the log has had, all of it adds up; before it was made, nothing stood there.
    let (_, last) = client.list_all(list_of(of_client)).await.unwrap();
    let mut sums = BTreeSet::new();
    for revision in (made.revision.get()..=last.revision.get()).step_by(7) {
        let place = ostrakon_client::Position { revision: ostrakon_client::Revision::new(revision), ..last };
        let (items, at_place) = client.list_all(List { at: Some(place), ..list_of(of_client) }).await.unwrap();
        assert_eq!(at_place, place);
        let n = |payload: &Option<Payload>| as_json(payload.as_ref().unwrap())["n"].as_i64().unwrap();
        sums.insert((items.len(), items.iter().map(|item| n(&item.payload)).sum::<i64>()));
    }
    assert_eq!(sums, BTreeSet::from([(ACCOUNTS as usize, 100 * ACCOUNTS as i64)]));
    let (before, _) = client.list_all(List { at: Some(first), ..list_of(of_client) }).await.unwrap();
    assert!(before.is_empty());
    host.stop();
}
