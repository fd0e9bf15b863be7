//! Too much at a time: who floods does not keep others waiting, and what is refused has not happened.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ostrakon_client::{
    Action, ActionId, Code, ConditionalWrite, Expect, ObjectId, OnConflict, Operation, Perform, Reply, ShardKey, Target,
};
use ostrakon_wire::bounds::{ACTIVE_MS, FLOOD_REST_MS, IN_FLIGHT_PER_STREAM_MAX, MODEST_MAX};
use ostrakon_wire::{Answer, AskMap};
use serde_json::json;

use crate::harness::{Folder, Raw, Stream, facts_json, object, read, structured, target, version};

/// An object and its key: no policy is asked, which on a busy machine may be refused the time it needs.
fn keyed(object: &ObjectId) -> Target {
    Target { shard_key: Some(ShardKey::new(1 << 62)), ..target(object) }
}

fn put(object: &ObjectId) -> Operation {
    Operation::Perform(Perform {
        target: keyed(object),
        action: Action::Put(structured(&json!({}))),
        known: None,
        action_id: None,
        on_conflict: OnConflict::Reject,
    })
}

/// Keeps a number of writes under way, and counts those that are done.
async fn flood(mut stream: Stream, name: String, under_way: u64, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let batch = |stream: &mut Stream, writes: u64| -> Vec<u8> {
        (0..writes).flat_map(|n| stream.request(put(&object("flood", format!("{name}-{n}")))).1).collect()
    };
    let first = batch(&mut stream, under_way);
    stream.write(&first).await;
    loop {
        let mut answered = 0;
        while answered < under_way / 10 {
            match stream.answer().await.outcome {
                Ok(_) => drop(done.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert_eq!(error.code, Code::Overloaded, "{}", error.message),
            }
            answered += 1;
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let more = batch(&mut stream, answered);
        stream.write(&more).await;
    }
}

/// Told by what the host does meanwhile, not by a clock: how fast the machine is does not matter.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_waits_behind_all_that_another_connection_has_sent() {
    const STREAMS: u64 = 4;
    const UNDER_WAY: u64 = 500;
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    let (raw, first) = Raw::greet(&host).await;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut streams = vec![first];
    for _ in 1..STREAMS {
        streams.push(raw.open().await);
    }
    let flooding = (0..).zip(streams).map(|(n, stream)| {
        tokio::spawn(flood(stream, format!("stream-{n}"), UNDER_WAY, Arc::clone(&done), Arc::clone(&stop)))
    });
    let flooding: Vec<_> = flooding.collect();
    let mut meanwhile = Vec::new();
    for n in 0..40 {
        let before = done.load(Ordering::Relaxed);
        client.put(&object("regular", format!("{n}")), structured(&json!({})), Expect::Any).await.unwrap();
        meanwhile.push(done.load(Ordering::Relaxed) - before);
    }
    stop.store(true, Ordering::Relaxed);
    for flooding in flooding {
        flooding.await.unwrap();
    }
    assert!(done.load(Ordering::Relaxed) > 40, "the flood got nothing done");
    meanwhile.sort_unstable();
    let median = meanwhile[meanwhile.len() / 2];
    assert!(median < STREAMS * UNDER_WAY / 2, "writes of the flood that went before one of another: {meanwhile:?}");
}

/// However fast the host is, the flood writes at most a group of eight in the time that it rests; but where its client stalls
/// and little waits, it does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_takes_the_disk_from_who_asks_for_little() {
    const PUTS: u32 = 100;
    // Who asks for nothing for longer no longer counts.
    const STALLED: Duration = Duration::from_millis(ACTIVE_MS / 2);
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    let (_raw, stream) = Raw::greet(&host).await;
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let flooding = tokio::spawn(flood(stream, "stream".into(), 500, Arc::clone(&done), Arc::clone(&stop)));
    let mut steady = None;
    for _ in 0..20 {
        let (began, before, mut longest) = (Instant::now(), done.load(Ordering::Relaxed), Duration::ZERO);
        for n in 0..PUTS {
            let asked = Instant::now();
            client.put(&object("regular", format!("{n}")), structured(&json!({})), Expect::Any).await.unwrap();
            longest = longest.max(asked.elapsed());
        }
        let (took, written) = (began.elapsed(), done.load(Ordering::Relaxed) - before);
        // The first time it may have begun before the flood.
        if before > 0 && longest < STALLED {
            steady = Some((took, written));
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    flooding.await.unwrap();
    let (took, written) = steady.expect("the machine stalls all the time");
    let rests = took.as_millis() as u64 / FLOOD_REST_MS;
    assert!(written > 0, "the flood got nothing done");
    assert!(written <= 3 * (rests + 4) * MODEST_MAX as u64, "{written} in {took:?}");
}

fn action_id(n: u64) -> ActionId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ActionId::from_bits(now.as_millis() << 80 | u128::from(n))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_refused_as_too_much_happens_or_names_no_time_to_come_again() {
    const WRITES: u64 = 4_000;
    const WAIT_MS: u32 = 2_000;
    let folder = Folder::new();
    let host = folder.serve();
    let (_raw, mut stream) = Raw::greet(&host).await;
    let epoch = host.client().await.shard_map().await.unwrap().decided.epoch;
    let create = |n: u64| {
        Operation::ConditionalWrite(ConditionalWrite {
            target: keyed(&object("refused", format!("{n}"))),
            new_version: version(1),
            payload: structured(&json!({})),
            action_id: Some(action_id(n)),
        })
    };
    // As many as a stream may have in work wait for a map that does not come: however fast the host is, the writes pile up.
    let beyond = AskMap { beyond: Some(epoch), wait_ms: WAIT_MS };
    let mut all: Vec<u8> =
        (0..IN_FLIGHT_PER_STREAM_MAX).flat_map(|_| stream.request(Operation::ShardMap(beyond)).1).collect();
    let mut writes = BTreeMap::new();
    for n in 0..WRITES {
        let (id, bytes) = stream.request(create(n));
        all.extend(bytes);
        writes.insert(id, n);
    }
    stream.write(&all).await;
    let (mut made, mut refused) = (0, Vec::new());
    for _ in 0..IN_FLIGHT_PER_STREAM_MAX + WRITES as usize {
        let Answer { id, outcome } = stream.answer().await;
        let write = writes.remove(&id);
        match (write, outcome) {
            (None, Ok(Reply::ShardMap(_))) => {}
            (Some(_), Ok(Reply::Committed(done))) => {
                assert_eq!(done.version, version(1));
                made += 1;
            }
            (Some(n), Err(error)) => {
                assert_eq!(error.code, Code::Overloaded, "{}", error.message);
                assert!(error.code.retryable());
                assert_eq!((error.message.as_str(), error.retry_after_ms), ("too many requests wait", Some(250)));
                refused.push(n);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(writes.is_empty(), "every request is answered once");
    assert!(made > 0, "the host took nothing");
    assert!(!refused.is_empty(), "the host let {WRITES} requests wait");
    let Reply::Info(info) = stream.ask(Operation::Info).await.unwrap() else { panic!("info") };
    let info = facts_json(info.facts);
    assert_eq!(info["refusals"]["overloaded"], json!(refused.len()));
    for n in refused.into_iter().take(200) {
        let gone = stream.ask(read(&object("refused", format!("{n}")))).await.unwrap_err();
        assert_eq!((gone.code, gone.stored), (Code::NotFound, Some(version(0))));
        // Its action id is as unused as before.
        match stream.ask(create(n)).await.unwrap() {
            Reply::Committed(done) => assert!(!done.repeated && done.version == version(1), "{done:?}"),
            other => panic!("{other:?}"),
        }
    }
}
