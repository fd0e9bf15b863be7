//! Conflicts that are reconciled: what loses a race is run again on what won, once, and what cannot be is a person's.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ostrakon_client::{
    Action, ActionId, Client, Code, Error, Expect, ListEscalations, ObjectId, OnConflict, Outcome, Perform, Revision,
    SettleEscalation, SettleHow, Version,
};
use ostrakon_policy::testing::{Recipe, When, hostile, snippets};
use ostrakon_wire::PolicyKind;
use serde_json::{Value, json};

use crate::harness::{
    Folder, as_json, component_file, info, object, refused, root, run, shared, structured, target, within,
};

fn perform(object: &ObjectId, action: Action, known: Option<u64>, on_conflict: OnConflict) -> Perform {
    Perform {
        target: target(object),
        action,
        known: known.map(Version::new),
        action_id: Some(Client::new_action_id()),
        on_conflict,
    }
}

fn merge(patch: &Value) -> Action {
    Action::Merge(structured(patch))
}

async fn holds(client: &Client, object: &ObjectId, version: u64, expected: Value) {
    let read = client.read(object).await.unwrap();
    assert_eq!((read.version.get(), as_json(&read.payload)), (version, expected));
}

/// Two versions: `base`, and what `change` makes of it.
async fn moved_on(client: &Client, object: &ObjectId, base: &Value, change: &Value) {
    client.put(object, structured(base), Expect::Absent).await.unwrap();
    client.merge(object, structured(change), Expect::Any).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_merges_of_different_fields_undo_each_other_or_one_is_lost() {
    let (host, object) = (shared(), object("reconcile", "apart"));
    let client = host.client().await;
    moved_on(&client, &object, &json!({"a": 1, "b": 1}), &json!({"a": 2})).await;
    let done = client.start(perform(&object, merge(&json!({"b": 2})), Some(1), OnConflict::Reconcile)).await.unwrap();
    let Outcome::Committed(done) = done else { panic!("{done:?}") };
    assert_eq!((done.version.get(), done.repeated), (3, false));
    holds(&client, &object, 3, json!({"a": 2, "b": 2})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_merges_of_the_same_field_are_written_over_each_other() {
    let (host, object) = (shared(), object("reconcile", "same"));
    let client = host.client().await;
    moved_on(&client, &object, &json!({"a": 1}), &json!({"a": 2})).await;
    let lost = perform(&object, merge(&json!({"a": 3})), Some(1), OnConflict::Reconcile);
    let error = refused(client.start(lost.clone()).await);
    assert_eq!((error.code, error.message.as_str()), (Code::Rejected, "the same fields were changed"));
    assert!(error.decided.as_ref().unwrap().generations.reconciliation.is_some());
    let again = refused(client.start(lost).await);
    assert_eq!((again.code, &again.message), (Code::Rejected, &error.message), "a repeat gets the recorded outcome");
    holds(&client, &object, 2, json!({"a": 2})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_put_for_another_version_is_applied_blindly() {
    let (host, object) = (shared(), object("reconcile", "put"));
    let client = host.client().await;
    moved_on(&client, &object, &json!({"a": 1, "b": 1}), &json!({"a": 2})).await;
    let put = |payload: &Value| {
        client.start(perform(&object, Action::Put(structured(payload)), Some(1), OnConflict::Reconcile))
    };
    let done = put(&json!({"a": 1, "b": 2})).await.unwrap();
    assert!(matches!(done, Outcome::Committed(done) if done.version.get() == 3));
    holds(&client, &object, 3, json!({"a": 2, "b": 2})).await;
    assert_eq!(refused(put(&json!({"a": 7, "b": 1})).await).code, Code::Rejected);
    holds(&client, &object, 3, json!({"a": 2, "b": 2})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_by_hand_is_tried_first_or_a_bad_one_hangs() {
    let (host, object) = (shared(), object("reconcile", "by-hand"));
    let client = host.client().await;
    let absent = perform(&object, merge(&json!({"a": 1})), None, OnConflict::Reject);
    let made = client.reconcile(absent).await.unwrap();
    assert!(matches!(made, Outcome::Committed(done) if done.version.get() == 1 && done.tries == 0));
    let gone = perform(&object, Action::Add(structured(&json!({"/b": 1}))), Some(1), OnConflict::Reconcile);
    assert_eq!(refused(client.reconcile(gone).await).code, Code::InvalidPointer);
    let future = perform(&object, merge(&json!({"a": 2})), Some(9), OnConflict::Reconcile);
    let error = refused(client.start(future).await);
    assert_eq!((error.code, error.winner.unwrap().version.get()), (Code::Conflict, 1), "version 9 never was");
    let custom = Action::Custom { kind: "resize".into(), body: structured(&json!({})) };
    let error = refused(client.start(perform(&object, custom, None, OnConflict::Reject)).await);
    assert_eq!((error.code, error.message.as_str()), (Code::Rejected, "unknown custom kind \"resize\""));
    let nameless = Perform { action_id: None, ..perform(&object, merge(&json!({})), None, OnConflict::Detach) };
    assert_eq!(refused(client.start(nameless).await).code, Code::Malformed);
    holds(&client, &object, 1, json!({"a": 1})).await;
}

const CLIENTS: u64 = 8;
const ADDITIONS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn additions_made_for_stale_versions_are_lost_or_counted_twice() {
    // A client's own last change may be newer than what its next action was made for.
    let folder = Folder::new();
    let settings = folder.beside("ours.json");
    std::fs::write(&settings, r#"{"on-overlap": "ours"}"#).unwrap();
    let host = folder.serve_with(&["--policy-settings", &format!("reconciliation={}", settings.display())]);
    let object = object("reconcile", "hot");
    let first = structured(&json!({"n": 0, "by": {}}));
    host.client().await.put(&object, first, Expect::Absent).await.unwrap();
    let mut adding = Vec::new();
    for n in 0..CLIENTS {
        let (client, object) = (host.client().await, object.clone());
        adding.push(tokio::spawn(async move {
            let (mut versions, mut known) = (Vec::new(), 1);
            for round in 0..ADDITIONS {
                let action = match round % 2 {
                    0 => Action::Add(structured(&json!({"/n": 1}))),
                    _ => merge(&json!({"by": {(format!("c{n}")): round}})),
                };
                // Every other one is sent twice at a time, as a retry would be.
                let perform = perform(&object, action, Some(known), OnConflict::Reconcile);
                let (once, twice) = tokio::join!(client.perform(perform.clone()), async {
                    if round % 4 < 2 { Some(client.perform(perform.clone()).await.unwrap()) } else { None }
                });
                let done = once.unwrap();
                if let Some(twice) = twice {
                    assert_eq!(twice.version, done.version, "one id, one effect");
                    assert!(twice.repeated != done.repeated);
                }
                versions.push(done.version.get());
                // Reads are a while old.
                known = if round % 3 == 0 { done.version.get() } else { known };
            }
            versions
        }));
    }
    let mut versions = BTreeSet::new();
    for adding in adding {
        for version in adding.await.unwrap() {
            assert!(versions.insert(version), "version {version} was made twice");
        }
    }
    let all = CLIENTS * ADDITIONS;
    assert_eq!(versions, (2..=all + 1).collect(), "every version is somebody's");
    let read = host.client().await.read(&object).await.unwrap();
    let holds = as_json(&read.payload);
    assert_eq!((read.version.get(), &holds["n"]), (all + 1, &json!(all / 2)));
    for n in 0..CLIENTS {
        assert_eq!(holds["by"][format!("c{n}")], ADDITIONS - 1);
    }
}

/// A reconciliation policy that answers one verdict always; `words` as in the contract's canonical form.
fn policy_of(folder: &Folder, name: &str, verdict: u8, words: [u32; 4]) -> PathBuf {
    let recipe = Recipe::new(PolicyKind::Reconciliation).decide(snippets::verdict(verdict, words));
    component_file(folder.beside("").as_path(), name, &recipe.build())
}

fn flag(component: &std::path::Path) -> [String; 2] {
    ["--policy".into(), format!("reconciliation={}", component.display())]
}

/// `retry-after-ms`, in the order of the contract.
const RETRY_AFTER: u8 = 7;
const ESCALATE: u8 = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_forgotten_by_a_crash_or_its_action_is_done_twice() {
    let folder = Folder::new();
    let later = policy_of(&folder, "later", RETRY_AFTER, [60_000, 0, 0, 0]);
    let host = folder.serve_with(&flag(&later));
    let client = host.client().await;
    let object = object("tickets", "n");
    moved_on(&client, &object, &json!({"a": 1, "b": 1}), &json!({"a": 2})).await;
    let detached = perform(&object, merge(&json!({"b": 2})), Some(1), OnConflict::Detach);
    let ticket = detached.action_id.unwrap();
    for _ in 0..2 {
        assert_eq!(client.start(detached.clone()).await.unwrap(), Outcome::Pending(ticket), "a repeat has the same");
    }
    let asked = client.ticket("tickets", ticket, Duration::from_millis(50)).await.unwrap();
    assert_eq!(asked, Outcome::Pending(ticket));
    let unknown = client.ticket("tickets", Client::new_action_id(), Duration::ZERO).await;
    assert_eq!(refused(unknown).code, Code::UnknownTicket);
    holds(&client, &object, 2, json!({"a": 2, "b": 1})).await;
    assert_eq!(info(&client).await["reconciliation"]["tickets"], 1);
    // Others write the object meanwhile.
    client.merge(&object, structured(&json!({"a": 3})), Expect::Any).await.unwrap();
    host.kill();

    let host = folder.serve_with(&["--policy", "reconciliation=shipped"]);
    let client = host.client().await;
    let waited = client.ticket("tickets", ticket, Duration::from_secs(5)).await.unwrap();
    let Outcome::Committed(done) = waited else { panic!("{waited:?}") };
    assert_eq!(done.version.get(), 4);
    holds(&client, &object, 4, json!({"a": 3, "b": 2})).await;
    host.kill();

    let host = folder.serve();
    let client = host.client().await;
    let again = client.start(detached).await.unwrap();
    assert!(
        matches!(&again, Outcome::Committed(again) if again.repeated && again.version == done.version),
        "{again:?}"
    );
    holds(&client, &object, 4, json!({"a": 3, "b": 2})).await;
    host.stop();
}

async fn settle(client: &Client, number: Revision, how: SettleHow, payload: Option<Value>) -> Result<Value, Code> {
    let payload = payload.as_ref().map(structured);
    let settle = SettleEscalation { escalation: number, how, payload, by: "ann".into(), reason: "agreed".into() };
    match client.settle(settle).await {
        Ok(settled) => {
            let settled = settled.settled.expect("it is settled");
            assert_eq!((settled.by.as_str(), settled.reason.as_str(), settled.how), ("ann", "agreed", how));
            Ok(json!(settled.version.map(Version::get)))
        }
        Err(Error::Refused(error)) => Err(error.code),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reconciliation_gives_up_on_is_lost_or_settled_twice() {
    let folder = Folder::new();
    let settings = folder.beside("escalate.json");
    std::fs::write(&settings, r#"{"on-overlap": "escalate"}"#).unwrap();
    let flags = ["--policy-settings".to_owned(), format!("reconciliation={}", settings.display())];
    let host = folder.serve_with(&flags);
    let client = host.client().await;
    let objects: Vec<ObjectId> = (0..3).map(|n| object("escalations", format!("n-{n}"))).collect();
    let (mut numbers, mut lost) = (Vec::new(), Vec::new());
    for object in &objects {
        moved_on(&client, object, &json!({"a": 1}), &json!({"a": 2})).await;
        let action = perform(object, merge(&json!({"a": 3})), Some(1), OnConflict::Reconcile);
        let error = refused(client.start(action.clone()).await);
        assert_eq!(error.code, Code::Escalated);
        numbers.push(error.escalation.expect("its number"));
        lost.push(action);
    }
    // The objects are not blocked, and a crash loses nothing of it.
    client.merge(&objects[0], structured(&json!({"b": 1})), Expect::Any).await.unwrap();
    host.kill();
    let host = folder.serve_with(&flags);
    let client = host.client().await;
    assert_eq!(info(&client).await["reconciliation"]["escalations-open"], 3);
    let repeat = refused(client.start(lost[1].clone()).await);
    assert_eq!((repeat.code, repeat.escalation), (Code::Escalated, Some(numbers[1])));
    let list = |token| ListEscalations { client: Some("escalations".into()), limit: 2, token };
    let page = client.escalations(list(None)).await.unwrap();
    let rest = client.escalations(list(page.token.clone())).await.unwrap();
    let listed: Vec<Revision> = page.items.iter().chain(&rest.items).map(|item| item.number).collect();
    assert_eq!((&listed, rest.token), (&numbers, None));
    let whole = client.escalation(numbers[0]).await.unwrap();
    assert_eq!(whole.action_id, lost[0].action_id);
    let payloads = [&whole.body, &whole.base, &whole.latest_payload].map(|payload| as_json(payload.as_ref().unwrap()));
    assert_eq!(payloads, [json!({"a": 3}), json!({"a": 1}), json!({"a": 2})]);
    assert_eq!((whole.known, whole.latest.get(), whole.tries), (Some(Version::new(1)), 2, 1));

    assert_eq!(settle(&client, Revision::new(1), SettleHow::Discard, None).await, Err(Code::UnknownEscalation));
    // It is still in conflict: it stays open.
    assert_eq!(settle(&client, numbers[0], SettleHow::Retry, None).await, Err(Code::Escalated));
    client.put(&objects[0], structured(&json!({"a": 1, "b": 1})), Expect::Any).await.unwrap();
    assert_eq!(settle(&client, numbers[0], SettleHow::Retry, None).await, Ok(json!(5)));
    holds(&client, &objects[0], 5, json!({"a": 3, "b": 1})).await;
    assert_eq!(settle(&client, numbers[0], SettleHow::Retry, None).await, Err(Code::EscalationSettled));
    assert_eq!(settle(&client, numbers[1], SettleHow::Resolve, Some(json!({"a": 9}))).await, Ok(json!(3)));
    holds(&client, &objects[1], 3, json!({"a": 9})).await;
    assert_eq!(settle(&client, numbers[2], SettleHow::Discard, None).await, Ok(json!(null)));
    holds(&client, &objects[2], 2, json!({"a": 2})).await;
    host.kill();
    let host = folder.serve_with(&flags);
    let client = host.client().await;
    for number in &numbers {
        assert_eq!(settle(&client, *number, SettleHow::Discard, None).await, Err(Code::EscalationSettled));
    }
    assert_eq!(info(&client).await["reconciliation"]["escalations-open"], 0);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_holds_up_other_objects_or_is_asked_for_ever() {
    let folder = Folder::new();
    // Traps where the data type has seven letters.
    let recipe = Recipe::new(PolicyKind::Reconciliation).triggered(snippets::TRAP);
    let component = component_file(folder.beside("").as_path(), "traps", &recipe.build());
    let host = folder.serve_with(&[&flag(&component)[..], &["--tries".to_owned(), "3".to_owned()]].concat());
    let client = host.client().await;
    let (bad, good) = (ObjectId::new("boom", "hostile", "bad").unwrap(), object("calm", "good"));
    for object in [&bad, &good] {
        moved_on(&client, object, &json!({"n": 1}), &json!({"a": 2})).await;
    }
    let add =
        |object: &ObjectId| perform(object, Action::Add(structured(&json!({"/n": 1}))), Some(1), OnConflict::Reconcile);
    let (failed, done) = tokio::join!(client.start(add(&bad)), client.start(add(&good)));
    assert!(matches!(done.unwrap(), Outcome::Committed(done) if done.version.get() == 3 && done.tries == 1));
    let error = refused(failed);
    assert_eq!(error.code, Code::Escalated);
    assert!(error.message.starts_with("gave up after 3 tries: the policy trapped"), "{}", error.message);
    let shown = client.escalation(error.escalation.unwrap()).await.unwrap();
    assert_eq!(shown.tries, 3);
    host.stop();
}

/// Words of the last fault, for every verdict that is none.
fn fault(name: &str) -> &'static str {
    match name {
        "verdict-traps" => "the policy trapped: wasm `unreachable`",
        "verdict-recurses" => "the policy trapped: call stack exhausted",
        "verdict-loops" => "the policy ran longer than its 100 ms",
        "verdict-eats-memory" => "the policy wanted more than its 67108864 bytes of memory",
        "verdict-talks-at-length" => "words of 4097 bytes; at most 4096 are allowed",
        "verdict-waits-for-ever" => "a retry after 60001 ms; at most 60000 are allowed",
        "verdict-replies-too-much" => "a reply of 1048577 bytes; at most 1048576 are allowed",
        "verdict-writes-too-much" => "a body of 1048577 bytes; at most 1048576 are allowed",
        _ => "the policy gave an impossible answer",
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_that_is_none_is_carried_out_or_ends_the_host() {
    let hostile =
        hostile().into_iter().filter(|each| (each.kind, each.when) == (PolicyKind::Reconciliation, When::Call));
    let mut verdicts = 0;
    for each in hostile {
        let folder = Folder::new();
        let component = component_file(folder.beside("").as_path(), each.name, &each.bytes);
        let host = folder.serve_with(&[&flag(&component)[..], &["--tries".to_owned(), "2".to_owned()]].concat());
        let client = host.client().await;
        let bad = ObjectId::new("reconcile", "hostile", each.name).unwrap();
        let good = object("reconcile", each.name);
        for object in [&bad, &good] {
            moved_on(&client, object, &json!({"n": 1}), &json!({"a": 2})).await;
        }
        let add = |object: &ObjectId| {
            perform(object, Action::Add(structured(&json!({"/n": 1}))), Some(1), OnConflict::Reconcile)
        };
        let error = refused(client.start(add(&bad)).await);
        assert_eq!(error.code, Code::Escalated, "{}: {error}", each.name);
        let begins = error.message.starts_with("gave up after 2 tries: the policy ");
        assert!(begins && error.message.contains(fault(each.name)), "{}: {}", each.name, error.message);
        holds(&client, &bad, 2, json!({"n": 1, "a": 2})).await;
        // The next one is judged, and done.
        let done = client.start(add(&good)).await.unwrap();
        assert!(matches!(done, Outcome::Committed(done) if done.version.get() == 3), "{}", each.name);
        host.stop();
        verdicts += 1;
    }
    assert!(verdicts >= 12, "{verdicts}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_of_a_teams_own_is_not_judged_again_or_its_reply_is_lost() {
    let folder = Folder::new();
    let host = folder.serve_with(&flag(&root().join("plugins/prebuilt/attach-volume.wasm")));
    let client = host.client().await;
    let volume = object("volumes", "vol-1");
    client.put(&volume, structured(&json!({"size": 10})), Expect::Absent).await.unwrap();
    let attach = |instance: &str, choice: OnConflict, known: Option<u64>| {
        let body = structured(&json!({ "instance": instance }));
        perform(&volume, Action::Custom { kind: "attach-volume".into(), body }, known, choice)
    };
    // All at a time, made for the same version: one has it.
    let mut attaching = Vec::new();
    for n in 0..6 {
        let (client, attach) = (host.client().await, attach(&format!("i-{n}"), OnConflict::Reconcile, Some(1)));
        attaching.push(tokio::spawn(async move { (client.start(attach.clone()).await, attach) }));
    }
    let (mut won, mut lost) = (Vec::new(), 0);
    for attaching in attaching {
        match attaching.await.unwrap() {
            (Ok(Outcome::Committed(done)), attach) => won.push((done, attach)),
            (outcome, _) => {
                let error = refused(outcome);
                assert_eq!(error.code, Code::Rejected);
                assert!(error.message.starts_with("attached to i-"), "{}", error.message);
                lost += 1;
            }
        }
    }
    assert_eq!((won.len(), lost), (1, 5));
    let (done, attach_won) = won.pop().unwrap();
    assert_eq!(done.reply.as_ref().map(as_json), Some(json!({"device": "/dev/sdf"})));
    host.kill();
    let host = folder.serve_with(&flag(&root().join("plugins/prebuilt/attach-volume.wasm")));
    let client = host.client().await;
    let again = client.perform(attach_won).await.unwrap();
    assert!(again.repeated && again.version == done.version);
    assert_eq!(again.reply, done.reply, "the reply outlives a crash");
    let stale = refused(client.start(attach("i-9", OnConflict::Reject, Some(1))).await);
    assert_eq!((stale.code, stale.winner.unwrap().version.get()), (Code::Conflict, 2), "who does not wait is told");
    host.stop();
}

#[test]
fn the_command_line_does_not_reach_the_agent() {
    let folder = Folder::new();
    let component = policy_of(&folder, "gives-up", ESCALATE, [48, 8, 0, 0]);
    let host = folder.serve_with(&flag(&component));
    let run = |args: &[&str]| run(Some(host.data()), args.iter().copied().chain(["--json"]));
    let volume = ["acme", "volume", "vol-1"];
    run(&[&["put"], &volume[..], &["--data", r#"{"a":1}"#]].concat()).exits(0);
    run(&[&["put"], &volume[..], &["--data", r#"{"a":2}"#]].concat()).exits(0);
    let stale = ["--data", r#"{"a":3}"#, "--if-version", "1"];
    let conflict = run(&[&["merge"], &volume[..], &stale].concat()).exits(3).json();
    assert_eq!(conflict["error"]["winner"]["version"], 2);
    let reconciled = run(&[&["merge"], &volume[..], &stale, &["--on-conflict", "reconcile"]].concat()).exits(6).json();
    assert_eq!(reconciled["error"]["code"], "escalated");
    let number = reconciled["error"]["escalation"].to_string();
    let detached = run(&[&["merge"], &volume[..], &stale, &["--on-conflict", "detach"]].concat()).exits(0).json();
    let ticket = detached["ticket"].as_str().unwrap().to_owned();
    assert_eq!(detached["state"], "pending");
    let asked = run(&["ticket", "acme", &ticket, "--wait", "20"]).exits(6).json();
    assert_eq!(asked["error"]["code"], "escalated");
    assert_eq!(run(&["ticket", "acme", &ActionId::from_bits(7).to_string()]).exits(4).json()["error"]["number"], 29);
    let listed = run(&["escalations", "list"]).exits(0);
    assert_eq!(listed.stdout.lines().count(), 2, "{listed:?}");
    let shown = run(&["escalations", "show", &number]).exits(0).json();
    assert_eq!((&shown["payload"], &shown["latest_payload"]), (&json!({"a": 3}), &json!({"a": 2})));
    let resolve = ["--data", r#"{"a":4}"#, "--by", "ann", "--reason", "agreed"];
    let resolved = run(&[&["escalations", "resolve", &number], &resolve[..]].concat()).exits(0).json();
    assert_eq!((&resolved["settled"]["how"], &resolved["settled"]["version"]), (&json!("resolve"), &json!(3)));
    assert_eq!(run(&["escalations", "discard", &number, "--reason", "x"]).exits(6).json()["error"]["number"], 31);
    assert_eq!(run(&["escalations", "show", "1"]).exits(4).json()["error"]["code"], "unknown-escalation");
    let boards = run(&["info", "--predictions"]).exits(0).json();
    let board = &boards["1"];
    assert_eq!((&board["forecasts"], &board["conflicts-missed"]), (&json!(2), &json!(0)), "{boards}");
    assert_eq!((&board["precision-ppm"], &board["recall-ppm"]), (&json!(1_000_000), &json!(1_000_000)), "{boards}");
    let own = run(&[&["act"], &volume[..], &["--kind", "burn", "--data", "{}"]].concat()).exits(6).json();
    assert_eq!(own["error"]["code"], "escalated");
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_payload_that_is_reconciled_keeps_other_objects_waiting() {
    let (host, large, small) = (shared(), object("reconcile", "large"), object("reconcile", "small"));
    let client = host.client().await;
    let filler = "x".repeat(900 << 10);
    moved_on(&client, &large, &json!({"x": filler, "n": 1}), &json!({"a": 1})).await;
    moved_on(&client, &small, &json!({"n": 1}), &json!({"a": 1})).await;
    let add =
        |object: &ObjectId| perform(object, Action::Add(structured(&json!({"/n": 1}))), Some(1), OnConflict::Reconcile);
    let all = async {
        let both = (0..8).map(|_| (client.perform(add(&large)), client.perform(add(&small))));
        for (large, small) in both {
            let (large, small) = tokio::join!(large, small);
            assert_eq!(large.unwrap().version, small.unwrap().version);
        }
    };
    within("sixteen additions", all).await;
}
