//! Lists: what is there comes once and in order, whatever is written meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ostrakon_client::{Client, Code, Expect, List, ObjectId, PageItem};
use serde_json::json;

use crate::harness::{shared, structured};

const CLIENT: &str = "lists";
const KEPT: usize = 240;

fn of(data_type: &str, name: impl AsRef<str>) -> ObjectId {
    ObjectId::new(CLIENT, data_type, name.as_ref()).unwrap()
}

fn list(data_type: Option<&str>, prefix: Option<&str>, limit: usize) -> List {
    List {
        client: CLIENT.into(),
        data_type: data_type.map(Into::into),
        prefix: prefix.map(Into::into),
        limit,
        token: None,
        with_payloads: false,
        at: None,
    }
}

/// Every page, in order.
async fn all(client: &Client, mut list: List) -> Vec<PageItem> {
    let mut items = Vec::new();
    loop {
        let page = client.list(list.clone()).await.unwrap();
        assert!(page.items.len() <= list.limit);
        items.extend(page.items);
        match page.token {
            Some(token) => list.token = Some(token),
            None => return items,
        }
    }
}

/// Makes, changes and deletes objects between the ones that are kept, until told to stop.
async fn disturb(client: Client, number: u64, stop: Arc<AtomicBool>) -> u64 {
    let mut writes = 0;
    while !stop.load(Ordering::Relaxed) {
        let n = (writes * 7 + number) % KEPT as u64;
        let passing = of("kept", format!("{n:04}-passing-{number}"));
        let payload = structured(&json!({ "n": writes }));
        client.put(&passing, payload.clone(), Expect::Any).await.unwrap();
        client.put(&of("kept", format!("{n:04}")), payload, Expect::Any).await.unwrap();
        client.delete(&passing, Expect::Any).await.unwrap();
        writes += 3;
    }
    writes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_misses_or_repeats_objects_while_others_are_written() {
    let host = shared();
    let client = host.client().await;
    let mut making = Vec::new();
    for n in 0..KEPT {
        let client = client.clone();
        making.push(tokio::spawn(async move {
            let payload = structured(&json!({ "n": 0 }));
            client.put(&of("kept", format!("{n:04}")), payload, Expect::Absent).await.unwrap();
        }));
    }
    for making in making {
        making.await.unwrap();
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut disturbing = Vec::new();
    for number in 0..3 {
        disturbing.push(tokio::spawn(disturb(host.client().await, number, Arc::clone(&stop))));
    }
    let kept: Vec<_> = (0..KEPT).map(|n| format!("{n:04}")).collect();
    for limit in [1_000, 100, 37, 7] {
        let items = all(&client, list(Some("kept"), None, limit)).await;
        let names: Vec<_> = items.iter().map(|item| item.object.name().to_owned()).collect();
        assert!(names.is_sorted_by(|a, b| a < b), "out of order, or twice: {names:?}");
        let found: Vec<_> = names.into_iter().filter(|name| !name.contains("passing")).collect();
        assert_eq!(found, kept, "in pages of {limit}");
    }
    stop.store(true, Ordering::Relaxed);
    for disturbing in disturbing {
        assert!(disturbing.await.unwrap() > 0, "nothing was written meanwhile");
    }
    let items = all(&client, list(Some("kept"), None, 100)).await;
    assert_eq!(items.len(), KEPT, "deleted objects are listed");
    let one = client.read(&items[5].object).await.unwrap();
    assert_eq!((items[5].version, items[5].revision), (one.version, one.revision));
    assert_eq!(Some(items[5].shard), one.decided.shard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_what_was_not_asked_for() {
    let host = shared();
    let client = host.client().await;
    let payload = structured(&json!({ "n": 1 }));
    let mine = [("a", "x-1"), ("a", "x-2"), ("a", "y-1"), ("a b", "x-1"), ("b", "x-1")];
    let other = "lists-of-another";
    for (data_type, name) in mine {
        for client_id in ["lists-asked", other] {
            let object = ObjectId::new(client_id, data_type, name).unwrap();
            client.put(&object, payload.clone(), Expect::Any).await.unwrap();
        }
    }
    let check = async |data_type, prefix, expected: &[(&str, &str)]| {
        let asked = List { client: "lists-asked".into(), with_payloads: true, ..list(data_type, prefix, 2) };
        let items = all(&client, asked).await;
        assert!(items.iter().all(|item| item.object.client() == "lists-asked"));
        assert!(items.iter().all(|item| item.payload.as_ref() == Some(&payload)));
        let found: Vec<_> = items.iter().map(|item| (item.object.data_type(), item.object.name())).collect();
        assert_eq!(found, expected);
    };
    check(None, None, &mine).await;
    check(Some("a"), None, &mine[..3]).await;
    check(Some("a"), Some("x-"), &mine[..2]).await;
    check(Some("a"), Some("x-2"), &mine[1..2]).await;
    check(Some("a"), Some("z"), &[]).await;
    check(Some("c"), None, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_no_host_made_is_followed() {
    let host = shared();
    let client = host.client().await;
    for token in [&b""[..], b"x", &[0xff; 64], &[0; 3000]] {
        let asked = List { token: Some(token.to_vec().into()), ..list(None, None, 10) };
        let error = client.list(asked).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::InvalidToken), "{error}");
    }
    for limit in [0, 1_001] {
        let error = client.list(list(None, None, limit)).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Malformed), "{error}");
    }
}
