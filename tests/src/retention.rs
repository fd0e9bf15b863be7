//! What was, over the wire: versions that are kept, objects and lists at a place, and what leaves history when.

use std::time::Duration;

use ostrakon_client::{
    Client, Code, Expect, History, Keep, List, Object, ObjectId, Past, Position, ReadHistory, Revision, SetRetention,
    Target, Version,
};
use serde_json::json;

use crate::harness::{Folder, as_json, info, list_of, object, refused, shared, structured, within};

fn n(number: u64) -> ostrakon_client::Payload {
    structured(&json!({ "n": number }))
}

fn history_of(object: &ObjectId) -> ReadHistory {
    let target = Target { object: object.clone(), shard_key: None };
    ReadHistory { target, limit: 100, token: None, with_payloads: true }
}

fn versions(history: &History) -> Vec<u64> {
    history.items.iter().map(|item| item.version.get()).collect()
}

fn n_of(object: &Object) -> u64 {
    as_json(&object.payload)["n"].as_u64().unwrap()
}

#[tokio::test]
async fn history_tells_another_version_than_stood_there() {
    let host = shared();
    let client = host.client().await;
    let a = object("history", "a");
    let before = client.info().await.unwrap().decided.position;
    let mut places = Vec::new();
    for number in 1..=3 {
        places.push(client.put(&a, n(number), Expect::Any).await.unwrap().decided.position);
    }
    let merged = client.merge(&a, structured(&json!({ "more": true })), Expect::Any).await.unwrap();
    let deleted = client.delete(&a, Expect::Any).await.unwrap();
    let whole = client.history(history_of(&a)).await.unwrap();
    assert_eq!(versions(&whole), [5, 4, 3, 2, 1]);
    let kinds: Vec<_> = whole.items.iter().map(|item| item.kind.unwrap().name()).collect();
    assert_eq!(kinds, ["delete", "merge", "put", "put", "put"]);
    assert!(whole.items[0].deleted && whole.items[0].payload.is_none() && !whole.items[1].deleted);
    assert_eq!((whole.items[1].revision, whole.items[1].position), (merged.revision, merged.decided.position));
    assert!(whole.items.iter().all(|item| item.by.is_some() && item.action_id.is_some()));
    assert!(whole.items.windows(2).all(|pair| pair[0].committed >= pair[1].committed));
    // The same in pages.
    let first = client.history(ReadHistory { limit: 3, ..history_of(&a) }).await.unwrap();
    let rest = client.history(ReadHistory { limit: 3, token: first.token.clone(), ..history_of(&a) }).await.unwrap();
    assert_eq!((versions(&first), versions(&rest), rest.token), (vec![5, 4, 3], vec![2, 1], None));
    // By version and by place.
    for (number, place) in (1..=3).zip(&places) {
        let version = Past::Version(Version::new(number));
        assert_eq!(n_of(&client.read_past(&a, version).await.unwrap()), number);
        let there = client.read_past(&a, Past::Position(*place)).await.unwrap();
        assert_eq!((n_of(&there), there.version.get()), (number, number));
    }
    let code = async |past| refused(client.read_past(&a, past).await).code;
    assert_eq!(code(Past::Position(before)).await, Code::NotFound, "it was not there yet");
    assert_eq!(code(Past::Version(Version::new(5))).await, Code::NotFound, "a deletion");
    assert_eq!(code(Past::Position(deleted.decided.position)).await, Code::NotFound);
    assert_eq!(code(Past::Version(Version::new(6))).await, Code::NotFound);
    let ahead = Position { revision: Revision::new(u64::MAX), ..before };
    assert_eq!(code(Past::Position(ahead)).await, Code::InvalidPosition);
    assert_eq!(refused(client.history(history_of(&object("history", "never"))).await).code, Code::NotFound);
    let bad = ReadHistory { token: Some(vec![1, 2].into()), ..history_of(&a) };
    assert_eq!(refused(client.history(bad).await).code, Code::InvalidToken);
}

#[tokio::test]
async fn more_or_less_is_kept_than_was_set() {
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    let of_type = |data_type: &str| ObjectId::new("keep", data_type, "a").unwrap();
    let (few, many) = (of_type("few"), of_type("many"));
    let rule = |data_type: Option<&str>, versions, age_ms| SetRetention {
        data_type: data_type.map(Into::into),
        rule: Some(Keep { versions, age_ms }),
    };
    let rules = client.retention().await.unwrap().rules;
    assert_eq!((rules.len(), rules[0].keep.versions), (1, 16));
    let day = 24 * 60 * 60 * 1000;
    client.set_retention(rule(Some("few"), 2, day)).await.unwrap();
    let rules = client.set_retention(rule(Some("many"), 40, day)).await.unwrap().rules;
    let names: Vec<_> = rules.iter().map(|rule| rule.data_type.as_deref()).collect();
    assert_eq!(names, [None, Some("few"), Some("many")]);
    let mut place = None;
    for number in 1..=50 {
        let done = client.put(&few, n(number), Expect::Any).await.unwrap();
        client.put(&many, n(number), Expect::Any).await.unwrap();
        if number == 20 {
            place = Some(done.decided.position);
        }
    }
    let kept = async |client: &Client, object: &ObjectId| versions(&client.history(history_of(object)).await.unwrap());
    assert_eq!(kept(&client, &few).await, [50, 49]);
    assert_eq!(kept(&client, &many).await.len(), 40);
    let place = place.unwrap();
    assert_eq!(refused(client.read_past(&few, Past::Position(place)).await).code, Code::NotRetained);
    assert_eq!(refused(client.read_past(&few, Past::Version(Version::new(7))).await).code, Code::NotRetained);
    assert_eq!(n_of(&client.read_past(&many, Past::Position(place)).await.unwrap()), 19);
    let list = |data_type: &str| List { data_type: Some(data_type.into()), at: Some(place), ..list_of("keep") };
    assert_eq!(refused(client.list(list("few")).await).code, Code::NotRetained);
    let page = client.list(list("many")).await.unwrap();
    assert_eq!((page.items[0].version.get(), page.decided.position), (19, place));
    // Fewer are asked for: what is there already goes in the background, and stays away over a restart.
    client.set_retention(rule(Some("many"), 5, day)).await.unwrap();
    let settled = async {
        while kept(&client, &many).await.len() > 5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within("versions to go", settled).await;
    assert_eq!(kept(&client, &many).await, [50, 49, 48, 47, 46]);
    let cleared = SetRetention { data_type: Some("few".into()), rule: None };
    assert_eq!(client.set_retention(cleared).await.unwrap().rules.len(), 2);
    host.stop();
    let host = folder.serve();
    let client = host.client().await;
    let rules = client.retention().await.unwrap().rules;
    assert_eq!((rules.len(), rules[1].keep.versions), (2, 5));
    assert_eq!(kept(&client, &many).await, [50, 49, 48, 47, 46]);
    let code = async |set| refused(client.set_retention(set).await).code;
    assert_eq!(code(rule(None, 0, day)).await, Code::Malformed);
    assert_eq!(code(rule(None, 1, 10)).await, Code::Malformed);
    assert_eq!(code(SetRetention { data_type: None, rule: None }).await, Code::Malformed);
    host.stop();
    let checked = folder.check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_stays_or_a_version_of_a_name_is_used_twice() {
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    let keep = Keep { versions: 1_000, age_ms: 1_500 };
    client.set_retention(SetRetention { data_type: None, rule: Some(keep) }).await.unwrap();
    let (lives, dies) = (object("age", "lives"), object("age", "dies"));
    let first = client.put(&lives, n(0), Expect::Any).await.unwrap();
    for number in 1..=30 {
        client.put(&lives, n(number), Expect::Any).await.unwrap();
        client.put(&dies, n(number), Expect::Any).await.unwrap();
    }
    let last = client.delete(&dies, Expect::Any).await.unwrap();
    assert_eq!(last.version.get(), 31);
    // Readers race what goes: they are told a version, or that it is no longer kept, and never something else.
    let racing = tokio::spawn({
        let (client, lives) = (client.clone(), lives.clone());
        async move {
            let mut gone = 0;
            for round in 0..100_000 {
                let version = round % 30 + 1;
                match client.read_past(&lives, Past::Version(Version::new(version))).await {
                    Ok(read) => assert_eq!(n_of(&read), version - 1),
                    Err(error) if error.code() == Some(Code::NotRetained) => gone += 1,
                    Err(error) => panic!("{error}"),
                }
                if gone > 200 {
                    return;
                }
            }
        }
    });
    let settled = async {
        loop {
            let kept = versions(&client.history(history_of(&lives)).await.unwrap());
            let forgotten = client.history(history_of(&dies)).await;
            if kept == [31] && forgotten.is_err() {
                break;
            }
            assert_eq!(kept[0], 31, "the newest stays, however old");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    within("what is too old to go", settled).await;
    within("the readers", racing).await.unwrap();
    // Nothing is kept of the deleted object, but that its versions were used.
    let error = refused(client.read(&dies).await);
    assert_eq!((error.code, error.stored), (Code::NotFound, Some(Version::new(31))));
    assert_eq!(refused(client.read_past(&dies, Past::Position(first.decided.position)).await).code, Code::NotRetained);
    let made = client.put(&dies, n(1), Expect::Absent).await.unwrap();
    assert_eq!(made.version.get(), 32);
    let other = object("age", "other");
    assert_eq!(refused(client.write(&other, Version::new(1), n(1)).await).code, Code::Conflict);
    assert_eq!(client.write(&other, Version::new(32), n(1)).await.unwrap().version.get(), 32);
    assert_eq!(info(&client).await["writable"], true);
    host.kill();
    let host = folder.serve();
    let client = host.client().await;
    assert_eq!(n_of(&client.read(&dies).await.unwrap()), 1);
    assert_eq!(client.put(&object("age", "third"), n(1), Expect::Absent).await.unwrap().version.get(), 32);
    host.stop();
    let checked = folder.check();
    assert_eq!(checked.code, Some(0), "{checked:?}");
}
