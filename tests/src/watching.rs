//! Watching over the wire: every change once, in order, whole, from where a watcher has stood, whatever happens meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use ostrakon_client::{
    Action, Client, ClientConfig, Code, Error, Event, Expect, List, ObjectId, OnConflict, Operation, Payload, Perform,
    Position, Reply, Revision, SettleEscalation, SettleHow, Step, Told, Transact, Version, Watch, Watcher,
};
use ostrakon_wire::Answer;
use serde_json::json;

use crate::harness::{Folder, Raw, Stream, as_json, list_of, object, shared, structured, target, within};

fn of(client: &str) -> Watch {
    Watch { bookmark_ms: 100, ..Watch::of_client(client) }
}

/// The next change or transaction.
async fn next(watcher: &mut Watcher) -> (Vec<Event>, Position) {
    loop {
        if let Told::Changes { changes, position } = within("the next change", watcher.next()).await.unwrap() {
            return (changes, position);
        }
    }
}

/// Asks for a watch on a stream; the number of the request.
async fn follow(stream: &mut Stream, watch: Watch) -> u64 {
    let (id, bytes) = stream.request(Operation::Watch(watch));
    stream.write(&bytes).await;
    id
}

async fn bookmark(watcher: &mut Watcher) -> Position {
    match within("a bookmark", watcher.next()).await.unwrap() {
        Told::Bookmark(position) => position,
        other => panic!("told {other:?}"),
    }
}

fn n(number: u64) -> Payload {
    structured(&json!({ "n": number }))
}

fn told(event: &Event) -> (&str, u64, Option<serde_json::Value>) {
    (event.object.name(), event.version.get(), event.payload.as_ref().map(as_json))
}

#[tokio::test]
async fn a_change_is_told_without_what_it_is_or_to_whom_it_is_no_concern() {
    let host = shared();
    let client = host.client().await;
    let mine = object("watch-what", "a");
    let mut all = client.watch(Watch { with_previous: true, ..of("watch-what") });
    let by_name = Watch { data_type: Some("thing".into()), prefix: Some("b".into()), ..of("watch-what") };
    let mut some = client.watch(Watch { with_payloads: false, ..by_name });
    let (begun, _) = (bookmark(&mut all).await, bookmark(&mut some).await);
    client.put(&object("watch-what-else", "a"), n(0), Expect::Any).await.unwrap();
    client.put(&mine, n(1), Expect::Any).await.unwrap();
    client.put(&object("watch-what", "b1"), n(2), Expect::Any).await.unwrap();
    let id = Client::new_action_id();
    let perform = Perform {
        target: target(&mine),
        action: Action::Merge(structured(&json!({ "n": null, "m": 3 }))),
        known: Some(Version::new(1)),
        action_id: Some(id),
        on_conflict: OnConflict::Reject,
    };
    let merged = client.perform(perform).await.unwrap();
    client.delete(&mine, Expect::Any).await.unwrap();
    let mut events = Vec::new();
    while events.len() < 4 {
        let (changes, position) = next(&mut all).await;
        assert_eq!(position.revision, changes[0].revision);
        events.extend(changes);
    }
    let named: Vec<_> = events.iter().map(told).collect();
    let expected = [
        ("a", 1, Some(json!({ "n": 1 }))),
        ("b1", 1, Some(json!({ "n": 2 }))),
        ("a", 2, Some(json!({ "m": 3 }))),
        ("a", 3, None),
    ];
    assert_eq!(named, expected);
    let before: Vec<_> = events.iter().map(|event| event.previous.as_ref().map(as_json)).collect();
    assert_eq!(before, [None, None, Some(json!({ "n": 1 })), Some(json!({ "m": 3 }))]);
    assert_eq!((events[2].action_id, events[2].revision, events[2].kind.name()), (Some(id), merged.revision, "merge"));
    assert!(events[3].deleted && !events[2].deleted && !events.iter().any(|event| event.omitted || event.escalated));
    assert!(events.iter().all(|event| event.by.is_some()), "the name in the certificate is told");
    let (changes, _) = next(&mut some).await;
    assert_eq!(changes.iter().map(told).collect::<Vec<_>>(), [("b1", 1, None)]);
    // Nothing more comes, and the place goes on all the same.
    assert!(bookmark(&mut some).await.revision >= merged.revision);
    // From where it began all of it is told again, from the log this time, and is the same.
    let mut again = client.watch(Watch { from: Some(begun), with_previous: true, ..of("watch-what") });
    let mut read = Vec::new();
    while read.len() < 4 {
        read.extend(next(&mut again).await.0);
    }
    assert_eq!(read, events);
}

#[tokio::test]
async fn reconciled_detached_and_escalated_actions_are_kept_from_who_watches() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--tries", "1"]);
    let client = host.client().await;
    let shared = object("watch-agent", "shared");
    let mut watcher = client.watch(of("watch-agent"));
    bookmark(&mut watcher).await;
    client.put(&shared, structured(&json!({ "a": 1, "b": 1 })), Expect::Absent).await.unwrap();
    client.merge(&shared, structured(&json!({ "a": 2 })), Expect::Version(Version::new(1))).await.unwrap();
    let stale = |patch: serde_json::Value, on_conflict| Perform {
        target: target(&shared),
        action: Action::Merge(structured(&patch)),
        known: Some(Version::new(1)),
        action_id: Some(Client::new_action_id()),
        on_conflict,
    };
    let reconciled = stale(json!({ "b": 2 }), OnConflict::Reconcile);
    client.perform(reconciled.clone()).await.unwrap();
    let detached = stale(json!({ "c": 3 }), OnConflict::Detach);
    client.start(detached.clone()).await.unwrap();
    let mut ids = Vec::new();
    while ids.len() < 4 {
        ids.extend(next(&mut watcher).await.0.iter().map(|event| event.action_id));
    }
    assert_eq!(ids[2..], [reconciled.action_id, detached.action_id]);
    // A custom action that the shipped policy does not know is given up to a person.
    let custom = Action::Custom { kind: "unknown".into(), body: structured(&json!({})) };
    let perform = Perform { action: custom, known: None, ..stale(json!({}), OnConflict::Reconcile) };
    let error = client.perform(perform.clone()).await.unwrap_err();
    if error.code() == Some(Code::Escalated) {
        let (changes, _) = next(&mut watcher).await;
        assert!(changes[0].escalated && changes[0].action_id == perform.action_id, "{changes:?}");
        let Error::Refused(error) = error else { panic!("it was refused") };
        assert_eq!(Some(changes[0].revision), error.escalation, "the number of the escalation");
        let settle = SettleEscalation {
            escalation: changes[0].revision,
            how: SettleHow::Resolve,
            payload: Some(n(9)),
            by: "ann".into(),
            reason: "agreed".into(),
        };
        client.settle(settle).await.unwrap();
        assert_eq!(
            next(&mut watcher).await.0.iter().map(told).collect::<Vec<_>>(),
            [("shared", 5, Some(json!({"n": 9})))]
        );
    } else {
        assert_eq!(error.code(), Some(Code::Rejected), "{error}");
    }
    host.stop();
}

#[tokio::test]
async fn a_transaction_is_torn_where_frames_are_small_or_a_watcher_comes_back_inside_it() {
    let host = shared();
    let client = host.client().await;
    let mut watcher = client.watch(of("watch-torn"));
    let begun = bookmark(&mut watcher).await;
    let large = |of: &str| structured(&json!({ "x": of.repeat(150 << 10) }));
    let steps = ["a", "b", "c", "d", "e"]
        .map(|name| Step { target: target(&object("watch-torn", name)), action: Action::Put(large(name)) });
    let transact = Transact {
        conditions: vec![],
        actions: steps.into(),
        action_id: Some(Client::new_action_id()),
        on_conflict: OnConflict::Reject,
    };
    let done = client.transact(transact).await.unwrap();
    client.put(&object("watch-torn", "z"), n(1), Expect::Any).await.unwrap();
    let (changes, position) = next(&mut watcher).await;
    let names: Vec<_> = changes.iter().map(|event| event.object.name().to_owned()).collect();
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    assert_eq!(position.revision, done.revision);
    // On the wire it came in parts; from the place behind one of them the rest is told, and no more.
    let parts = frames(begun, 5).await;
    let more: Vec<_> = parts.iter().map(|(items, more, _)| (items.len(), *more)).collect();
    assert!(more.len() > 2 && more[0].1 && !more[more.len() - 1].1, "{more:?}");
    let (first, place) = (parts[0].0.len(), parts[0].2);
    assert_eq!((place.revision.get() + 1, place.index), (done.revision.get(), first as u32));
    let rest: Vec<_> = frames(place, 5 - first).await.into_iter().flat_map(|(items, ..)| items).collect();
    let rest: Vec<_> = rest.iter().map(|event| event.object.name()).collect();
    assert_eq!(rest, names[first..]);
}

/// The frames of a watch from a place, until so many changes have come.
async fn frames(from: Position, changes: usize) -> Vec<(Vec<Event>, bool, Position)> {
    let host = shared();
    let (raw, _hello) = Raw::greet(&host).await;
    let mut stream = raw.open().await;
    let request = follow(&mut stream, Watch { from: Some(from), ..of("watch-torn") }).await;
    let (mut frames, mut seen) = (Vec::new(), 0);
    while seen < changes {
        let Answer { id, outcome } = stream.answer().await;
        let Ok(Reply::Events(events)) = outcome else { panic!("answered {outcome:?}") };
        assert_eq!(id, request);
        seen += events.items.len();
        if !events.items.is_empty() {
            frames.push((events.items, events.more, events.decided.position));
        }
    }
    frames
}

#[tokio::test]
async fn a_watch_begins_where_nothing_was_or_is_any_more() {
    let folder = Folder::new();
    let host = folder.serve_with(&["--action-ids", "1000", "--log-changes", "1000"]);
    let client = host.client().await;
    let a = object("watch-old", "a");
    let first = client.put(&a, n(0), Expect::Any).await.unwrap().decided.position;
    let code = async |watch: Watch| match client.watch(watch).next().await {
        Err(Error::Refused(error)) => *error,
        other => panic!("told {other:?}"),
    };
    let ahead = Position { revision: Revision::new(1_000_000), ..first };
    assert_eq!(code(Watch { from: Some(ahead), ..of("watch-old") }).await.code, Code::InvalidPosition);
    let other_log = Position { log: ostrakon_wire::LogId::new(1), ..first };
    assert_eq!(code(Watch { from: Some(other_log), ..of("watch-old") }).await.code, Code::InvalidPosition);
    for number in 0..4_000 {
        client.put(&a, n(number), Expect::Any).await.unwrap();
    }
    let expired = code(Watch { from: Some(first), ..of("watch-old") }).await;
    assert_eq!(expired.code, Code::PositionExpired);
    let place = expired.decided.unwrap().position;
    let mut watcher = client.watch(Watch { from: Some(place), ..of("watch-old") });
    client.put(&a, n(9_999), Expect::Any).await.unwrap();
    assert_eq!(told(&next(&mut watcher).await.0[0]).2, Some(json!({ "n": 9_999 })));
    host.stop();
}

/// What a watcher was told of each object, held to be without a gap.
#[derive(Default)]
struct Ledger(BTreeMap<ObjectId, (u64, Option<Payload>)>);

impl Ledger {
    fn take(&mut self, event: Event) {
        let (version, _) =
            self.0.get(&event.object).map_or((0, None), |(version, payload)| (*version, payload.clone()));
        assert_eq!(event.version.get(), version + 1, "{}", event.object);
        self.0.insert(event.object, (event.version.get(), event.payload));
    }
}

/// Writes until it is told to end, and comes back wherever the host is.
async fn write_on(
    configs: tokio::sync::watch::Receiver<Option<ClientConfig>>,
    of_client: &'static str,
    number: u64,
) -> u64 {
    let mut configs = configs;
    let mut written = 0;
    loop {
        let Some(config) = configs.borrow_and_update().clone() else { return written };
        let config = ClientConfig { deadline: Duration::from_secs(2), ..config };
        let Ok(client) = Client::connect(config).await else {
            let _ = tokio::time::timeout(Duration::from_millis(20), configs.changed()).await;
            continue;
        };
        while configs.borrow().is_some() {
            let one = object(of_client, format!("o{}", (number + written) % 7));
            let two = object(of_client, format!("t{}", (number * 3 + written) % 5));
            let put = |object: &ObjectId| Step { target: target(object), action: Action::Put(n(written)) };
            let transact = Transact {
                conditions: vec![],
                actions: vec![put(&one), put(&two)],
                action_id: Some(Client::new_action_id()),
                on_conflict: OnConflict::Reject,
            };
            let done = match written % 3 {
                0 => client.transact(transact).await.map(drop),
                _ => client.put(&one, n(written), Expect::Any).await.map(drop),
            };
            match done {
                Ok(()) => written += 1,
                Err(_) => break,
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_skipped_or_told_twice_when_hosts_are_killed_under_load() {
    let folder = Folder::new();
    let mut host = folder.serve();
    let of_client = "watch-kills";
    let client = host.client().await;
    let (items, listed) = client.list_and_watch(of(of_client)).await.unwrap();
    assert!(items.is_empty());
    let place = listed.position().unwrap();
    drop(listed);
    let (configs, current) = tokio::sync::watch::channel(Some(host.config()));
    let writers: Vec<_> = (0..4).map(|number| tokio::spawn(write_on(current.clone(), of_client, number))).collect();
    let (mut ledger, mut stands) = (Ledger::default(), place);
    for _ in 0..4 {
        // Each host's own watcher goes on where the one before stood.
        let client = host.client().await;
        let mut watcher = client.watch(Watch { from: Some(stands), ..of(of_client) });
        let mut seen = 0;
        while seen < 400 {
            let (changes, position) = next(&mut watcher).await;
            let revisions: Vec<_> = changes.iter().map(|event| event.revision).collect();
            assert!(revisions.iter().all(|revision| *revision == position.revision));
            // What both of its objects are told of is told together.
            let pair = changes.len() == 2;
            assert_eq!(pair, changes.iter().any(|event| event.object.name().starts_with('t')), "{changes:?}");
            seen += changes.len();
            changes.into_iter().for_each(|event| ledger.take(event));
            stands = position;
        }
        drop(watcher);
        host.kill();
        host = folder.serve();
        configs.send_replace(Some(host.config()));
    }
    configs.send_replace(None);
    let mut written = 0;
    for writer in writers {
        written += within("the writers", writer).await.unwrap();
    }
    assert!(written > 400, "{written}");
    // What is told is what stands there in the end.
    let client = host.client().await;
    let (items, end) = client.list_all(List { limit: 2, ..list_of(of_client) }).await.unwrap();
    let mut watcher = client.watch(Watch { from: Some(stands), ..of(of_client) });
    while stands.revision < end.revision {
        match within("the rest", watcher.next()).await.unwrap() {
            Told::Changes { changes, position } => {
                changes.into_iter().for_each(|event| ledger.take(event));
                stands = position;
            }
            Told::Bookmark(position) => stands = position,
        }
    }
    let listed: BTreeMap<_, _> =
        items.into_iter().map(|item| (item.object, (item.version.get(), item.payload))).collect();
    assert_eq!(listed, ledger.0);
    host.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_reads_nothing_holds_up_others_or_loses_what_it_missed() {
    let folder = Folder::new();
    let host = folder.serve();
    let writer = host.client().await;
    let mut quick = host.client().await.watch(of("watch-slow"));
    let (raw, _hello) = Raw::greet_narrow(&host, 64 << 10).await;
    let mut slow = raw.open().await;
    follow(&mut slow, of("watch-slow")).await;
    let begun = slow.answer().await;
    assert!(matches!(begun.outcome, Ok(Reply::Events(_))));
    bookmark(&mut quick).await;
    // More than all windows and queues together hold for one who does not read.
    let payload = structured(&json!({ "x": "x".repeat(40 << 10) }));
    let a = object("watch-slow", "a");
    for version in 1..=400 {
        writer.put(&a, payload.clone(), Expect::Any).await.unwrap();
        assert_eq!(next(&mut quick).await.0[0].version.get(), version, "it is told at once");
    }
    let mut told = 0;
    while told < 400 {
        let Ok(Reply::Events(events)) = slow.answer().await.outcome else { panic!("it ended") };
        for event in events.items {
            told += 1;
            assert_eq!(event.version.get(), told);
            assert_eq!(
                event.payload.is_none(),
                event.omitted,
                "what history no longer holds is left out, and that is said"
            );
        }
    }
    host.stop();
}

#[tokio::test]
async fn a_watch_shares_its_stream_or_outlives_it() {
    let host = shared();
    let (_raw, mut stream) = Raw::greet(&host).await;
    assert!(stream.ask(Operation::Info).await.is_ok());
    assert_eq!(stream.ask(Operation::Watch(of("watch-stream"))).await.unwrap_err().code, Code::Malformed);
    assert!(stream.ask(Operation::Info).await.is_ok());
    let client = host.client().await;
    let watchers = async || crate::harness::info(&client).await["watchers"].as_u64().unwrap();
    let mut many: Vec<_> = (0..200).map(|_| client.watch(of("watch-stream"))).collect();
    for watcher in &mut many {
        bookmark(watcher).await;
    }
    assert!(watchers().await >= 200);
    drop(many);
    within("the end of all watches", async {
        while watchers().await >= 200 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_host_that_stops_leaves_a_watcher_waiting() {
    let folder = Folder::new();
    let host = folder.serve();
    let (_raw, mut stream) = Raw::greet(&host).await;
    follow(&mut stream, of("watch-stop")).await;
    assert!(stream.answer().await.outcome.is_ok());
    let stopping = tokio::task::spawn_blocking(move || host.stop());
    let ended = loop {
        if let Err(error) = within("its end", stream.answer()).await.outcome {
            break error;
        }
    };
    assert_eq!(ended.code, Code::Draining);
    within("the stop", stopping).await.unwrap();
}
