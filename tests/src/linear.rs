//! Linearizability, as several connections see it.

use ostrakon_client::{Client, Error, Expect, ObjectId, Version};
use serde_json::json;

use crate::harness::{as_json, object, shared, structured};

const CLIENTS: u64 = 8;
const INCREMENTS: u64 = 25;

/// Adds one, on what was read or on what won, until it goes through; how often it lost.
async fn increment(client: &Client, object: &ObjectId) -> u64 {
    let read = client.read(object).await.unwrap();
    let (mut known, mut count) = (read.version, as_json(&read.payload)["n"].as_u64().unwrap());
    let mut lost = 0;
    loop {
        let next = known.next().unwrap();
        let payload = structured(&json!({ "n": count + 1 }));
        match client.write(object, next, payload).await {
            Ok(done) => {
                assert_eq!(done.version, next);
                return lost;
            }
            Err(Error::Refused(error)) => {
                let winner = error.winner.unwrap_or_else(|| panic!("no winner: {}", error.message));
                assert!(winner.version > known, "{:?} won over {known}", winner.version);
                known = winner.version;
                count = as_json(&winner.payload.unwrap())["n"].as_u64().unwrap();
                lost += 1;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_that_compare_and_set_lose_updates() {
    let host = shared();
    let objects = [0, 1].map(|n| object("linear", format!("counter-{n}")));
    let zero = structured(&json!({ "n": 0 }));
    for object in &objects {
        host.client().await.put(object, zero.clone(), Expect::Absent).await.unwrap();
    }
    let mut counting = Vec::new();
    for _ in 0..CLIENTS {
        let (client, objects) = (host.client().await, objects.clone());
        counting.push(tokio::spawn(async move {
            let mut lost = 0;
            for _ in 0..INCREMENTS {
                for object in &objects {
                    lost += increment(&client, object).await;
                }
            }
            lost
        }));
    }
    let mut lost = 0;
    for counting in counting {
        lost += counting.await.unwrap();
    }
    println!("{lost} lost and went again");
    for object in &objects {
        let read = host.client().await.read(object).await.unwrap();
        assert_eq!(as_json(&read.payload)["n"], CLIENTS * INCREMENTS);
        assert_eq!(read.version.get(), CLIENTS * INCREMENTS + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn additions_of_several_connections_get_lost() {
    let host = shared();
    let object = object("linear", "sum");
    let zero = structured(&json!({ "n": 0 }));
    host.client().await.put(&object, zero, Expect::Absent).await.unwrap();
    let mut adding = Vec::new();
    for _ in 0..CLIENTS {
        let (client, object) = (host.client().await, object.clone());
        adding.push(tokio::spawn(async move {
            for _ in 0..INCREMENTS {
                let one = structured(&json!({ "/n": 1 }));
                client.add(&object, one, Expect::Any).await.unwrap();
            }
        }));
    }
    for adding in adding {
        adding.await.unwrap();
    }
    let read = host.client().await.read(&object).await.unwrap();
    assert_eq!(as_json(&read.payload)["n"], CLIENTS * INCREMENTS);
    assert_eq!(read.version.get(), CLIENTS * INCREMENTS + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_after_an_acknowledged_write_misses_it() {
    let host = shared();
    let object = object("linear", "seen");
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(host.client().await);
    }
    for n in 0..100_u64 {
        let writer = &clients[n as usize % clients.len()];
        let payload = structured(&json!({ "n": n }));
        let done = match n % 10 {
            9 => writer.delete(&object, Expect::Any).await.unwrap(),
            _ => writer.put(&object, payload, Expect::Any).await.unwrap(),
        };
        assert_eq!(done.version, Version::new(n + 1));
        for reader in &clients {
            match reader.read(&object).await {
                Ok(read) => {
                    assert_eq!(read.version, done.version);
                    assert_eq!(as_json(&read.payload)["n"], n);
                    assert!(read.decided.position >= done.decided.position);
                }
                Err(Error::Refused(error)) => {
                    assert_eq!((n % 10, error.stored), (9, Some(done.version)), "{}", error.message);
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
