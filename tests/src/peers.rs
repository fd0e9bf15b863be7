//! Peers that do what no good client does: noise, silence, slowness, leaving in the middle. Each is ended with its own
//! code and in its time, and whoever comes next is served.

use std::cell::Cell;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ostrakon_client::{Action, Client, Code, Expect, Operation, Payload};
use ostrakon_wire::bounds::PAYLOAD_BYTES_MAX;
use quinn::{ConnectionError, VarInt};
use serde_json::json;

use crate::harness::{
    Ended, Folder, Host, Raw, Stream, act, info, object, read, serves, structured, version, within, works,
};

const TOO_SLOW: u64 = Code::TooSlow.number() as u64;
const TOO_SLOW_CODE: VarInt = VarInt::from_u32(Code::TooSlow.number() as u32);
/// What a client with little room takes of a stream before it has read it.
const NARROW_BYTES: u32 = 16 << 10;

/// An object of the largest size.
async fn large(host: &Host, name: &str) -> ostrakon_client::ObjectId {
    let object = object("peers", name);
    let payload = Payload::bytes(vec![7; PAYLOAD_BYTES_MAX]).unwrap();
    host.client().await.put(&object, payload, Expect::Any).await.unwrap();
    object
}

/// Sends a request and leaves its answer where it is.
async fn send(stream: &mut Stream, operation: Operation) {
    let (_, bytes) = stream.request(operation);
    stream.write(&bytes).await;
}

/// The code with which the host ends its direction, seen without reading what came before.
async fn reset(stream: &mut Stream) -> Option<VarInt> {
    within("the host ends the stream", stream.recv.received_reset()).await.unwrap()
}

/// The code with which the host ends the client's direction.
async fn stopped(stream: &mut Stream) -> Option<VarInt> {
    within("the host stops the stream", stream.send.stopped()).await.unwrap()
}

/// Waits for something while others go on: they are asked again and again until it is there.
async fn meanwhile<T>(awaited: impl Future<Output = T>, mut others: impl AsyncFnMut()) -> T {
    let done = Cell::new(false);
    let awaited = async {
        let there = awaited.await;
        done.set(true);
        there
    };
    let others = async {
        while !done.get() {
            others().await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(awaited, others).0
}

/// Reads the stream to its end.
async fn end(stream: &mut Stream) -> Ended {
    loop {
        if let Err(ended) = stream.next_frame().await {
            return ended;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_greeted_and_fell_silent_keeps_its_connection() {
    let folder = Folder::new();
    let host = folder.serve_in_haste("idle=700");
    let (silent, _stream) = Raw::greet(&host).await;
    let (busy, mut stream) = Raw::greet(&host).await;
    let begun = Instant::now();
    let ended = meanwhile(silent.closed(), async || works(&mut stream).await).await;
    // An idle timeout ends a connection without a word.
    assert!(matches!(ended, ConnectionError::TimedOut), "{ended}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "{:?}", begun.elapsed());
    works(&mut stream).await;
    works(&mut busy.open().await).await;
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_its_answers_holds_up_others() {
    let folder = Folder::new();
    let host = folder.serve_in_haste("write=700");
    let large = large(&host, "unread").await;
    let (raw, mut other) = Raw::greet_narrow(&host, NARROW_BYTES).await;
    let mut unread = raw.open().await;
    for _ in 0..3 {
        send(&mut unread, read(&large)).await;
    }
    let others = async || {
        works(&mut other).await;
        serves(&host).await;
    };
    assert_eq!(meanwhile(reset(&mut unread), others).await, Some(TOO_SLOW_CODE));
    assert_eq!(stopped(&mut unread).await, Some(TOO_SLOW_CODE));
    works(&mut other).await;
    works(&mut raw.open().await).await;
    serves(&host).await;
}

/// Reads so much of an answer of 1 MiB at a time, with pauses; the time it takes, and how it ends.
async fn read_slowly(host: &Host, name: &str, step_bytes: usize, pause: Duration) -> (Duration, Ended) {
    let large = large(host, name).await;
    let (_raw, mut stream) = Raw::greet_narrow(host, NARROW_BYTES).await;
    send(&mut stream, read(&large)).await;
    stream.send.finish().unwrap();
    let begun = Instant::now();
    let reading = async {
        loop {
            match stream.recv.read_chunk(step_bytes, true).await {
                Ok(Some(_)) => tokio::time::sleep(pause).await,
                Ok(None) => return Ended::Finished,
                Err(quinn::ReadError::Reset(code)) => return Ended::Reset(code.into()),
                Err(error) => panic!("{error}"),
            }
        }
    };
    let ended = within("the end of the answer", reading).await;
    serves(host).await;
    (begun.elapsed(), ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trickle_of_reading_keeps_a_stream() {
    let folder = Folder::new();
    let host = folder.serve_in_haste("write=700");
    // 4 KiB a second, far below the least rate; 1 MiB would take minutes.
    let (took, ended) = read_slowly(&host, "trickle", 512, Duration::from_millis(125)).await;
    assert_eq!(ended, Ended::Reset(TOO_SLOW));
    assert!(took >= Duration::from_millis(600), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_steadily_is_given_up() {
    let folder = Folder::new();
    let host = folder.serve_in_haste("write=700");
    // An answer takes longer than the deadline, and the client never stands still.
    let (took, ended) = read_slowly(&host, "steady", 8 << 10, Duration::from_millis(10)).await;
    assert_eq!(ended, Ended::Finished, "after {took:?}");
    assert!(took > Duration::from_millis(700), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_take_up_the_room_of_their_connection() {
    const STREAMS: usize = 8;
    const WRITES: usize = 500;
    let folder = Folder::new();
    let host = folder.serve();
    // Room for no more than a few answers.
    let (raw, mut other) = Raw::greet_narrow(&host, 256).await;
    let mut unread = Vec::new();
    for number in 0..STREAMS {
        let mut stream = raw.open().await;
        let put = |n| act(&object("room", format!("{number}-{n}")), Action::Put(structured(&json!({ "n": n }))));
        let all: Vec<u8> = (0..WRITES).flat_map(|n| stream.request(put(n)).1).collect();
        stream.write(&all).await;
        unread.push(stream);
    }
    // More requests than may be in work, and nobody reads an answer: well inside the deadline others are served.
    let begun = Instant::now();
    for _ in 0..200 {
        works(&mut other).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    for stream in &mut unread {
        for _ in 0..WRITES {
            stream.answer().await.outcome.unwrap();
        }
    }
}

/// Changes that the host has committed.
async fn committed(client: &Client) -> u64 {
    fact(client, "/commits/changes").await
}

/// A number among the facts that the host tells.
async fn fact(client: &Client, pointer: &str) -> u64 {
    let facts = info(client).await;
    facts.pointer(pointer).map_or(0, |number| number.as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_answers_hold_up_a_stop() {
    let folder = Folder::new();
    let mut host = folder.serve_in_haste("drain=500");
    let large = large(&host, "stopping").await;
    let (_raw, mut unread) = Raw::greet_narrow(&host, NARROW_BYTES).await;
    send(&mut unread, read(&large)).await;
    assert!(within("the answer begins", unread.recv.read_chunk(1, true)).await.unwrap().is_some());
    let begun = Instant::now();
    host.signal("TERM");
    assert_eq!(host.ended(), Some(0), "{}", host.stderr());
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    serves(&folder.serve()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_never_finished_is_waited_for() {
    let folder = Folder::new();
    let host = folder.serve_in_haste("frame=600");
    let (raw, mut other) = Raw::greet(&host).await;
    let (mut begun, mut dribbling) = (raw.open().await, raw.open().await);
    let (_, whole) = dribbling.request(read(&object("peers", "n".repeat(1_000))));
    begun.write(&whole[..10]).await;
    // A byte now and then does not put the end off.
    let dribble = async {
        for byte in &whole {
            if dribbling.send.write_all(&[*byte]).await.is_err() {
                return;
            }
            works(&mut other).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the frame was waited for");
    };
    within("the host gives up", dribble).await;
    for stream in [&mut begun, &mut dribbling] {
        assert_eq!(reset(stream).await, Some(TOO_SLOW_CODE));
        assert_eq!(stopped(stream).await, Some(TOO_SLOW_CODE));
    }
    works(&mut other).await;
    works(&mut raw.open().await).await;
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_an_answer_ends_more_than_its_stream() {
    let folder = Folder::new();
    let host = folder.serve();
    let large = large(&host, "torn").await;
    let (raw, mut other) = Raw::greet_narrow(&host, NARROW_BYTES).await;
    let begin = async || {
        let mut stream = raw.open().await;
        send(&mut stream, read(&large)).await;
        let first = stream.recv.read_chunk(100, true).await.unwrap();
        assert!(first.is_some(), "the answer has begun");
        stream
    };
    // The client wants no more of the answer: the host hears it and ends its interest in requests with the same code.
    let mut stream = begin().await;
    stream.recv.stop(VarInt::from_u32(77)).unwrap();
    assert_eq!(stopped(&mut stream).await, Some(VarInt::from_u32(77)));
    works(&mut other).await;
    // The client takes its request back: the answers end with the same code.
    let mut stream = begin().await;
    stream.send.reset(VarInt::from_u32(78)).unwrap();
    let mut rest = [0; 1 << 16];
    let ended = loop {
        match within("the end", stream.recv.read(&mut rest)).await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert_eq!(ended, Err(quinn::ReadError::Reset(VarInt::from_u32(78))));
    works(&mut other).await;
    // Both, and then the whole connection.
    let mut stream = begin().await;
    stream.send.reset(VarInt::from_u32(79)).unwrap();
    stream.recv.stop(VarInt::from_u32(79)).unwrap();
    works(&mut other).await;
    works(&mut raw.open().await).await;
    let _torn = begin().await;
    raw.connection.close(VarInt::from_u32(0), b"");
    serves(&host).await;
    let whole = host.client().await.read(&large).await.unwrap();
    assert_eq!((whole.version, whole.payload.as_bytes().len()), (version(1), PAYLOAD_BYTES_MAX));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_stream_answers_what_it_has_not_done() {
    let folder = Folder::new();
    let host = folder.serve();
    let (raw, mut other) = Raw::greet(&host).await;
    let mut stream = raw.open().await;
    stream.write(&[0, 0, 0, 9, 0xa3]).await;
    works(&mut other).await;
    stream.send.reset(VarInt::from_u32(5)).unwrap();
    assert_eq!(end(&mut stream).await, Ended::Reset(5));
    works(&mut other).await;
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_the_writes_with_it_that_were_taken_up() {
    const WRITES: u64 = 400;
    const PERFORMED: &str = "/requests/perform-control-plane-action";
    let folder = Folder::new();
    let host = folder.serve();
    let client = host.client().await;
    let name = |n: u64| object("peers", format!("left-{n}"));
    let put = |n: u64, of: u64| act(&name(n), Action::Put(structured(&json!({ "n": of }))));
    let (raw, mut stream) = Raw::greet(&host).await;
    // Objects that are in memory: a write of one is queued in the same step in which it is taken up.
    for n in 0..WRITES {
        stream.ask(put(n, 1)).await.unwrap();
    }
    let all: Vec<Bytes> = (0..WRITES).map(|n| stream.request(put(n, 2)).1.into()).collect();
    stream.write(&all.concat()).await;
    let begun = async { while fact(&client, PERFORMED).await <= WRITES {} };
    within("the first of them is taken up", begun).await;
    raw.connection.close(VarInt::from_u32(0), b"");
    drop((raw, stream));
    let settled = async {
        let mut before = (0, 0);
        loop {
            let now = (fact(&client, PERFORMED).await, committed(&client).await);
            if now.0 == now.1 && now == before {
                return now;
            }
            before = now;
        }
    };
    let (taken, done) = within("what was taken up is committed", settled).await;
    let mut second = 0;
    for n in 0..WRITES {
        let stands = client.read(&name(n)).await.unwrap().version;
        assert!(stands == version(1) || stands == version(2), "{stands}");
        second += u64::from(stands == version(2));
    }
    println!("{second} of {WRITES} were taken up before the connection was closed");
    assert_eq!((taken, done), (WRITES + second, WRITES + second));
    serves(&host).await;
}
