//! Peers that come in their thousands: noise, half a handshake, connections that say nothing, streams that lead nowhere.
//! Meanwhile and afterwards a client that is in goes on, and a newcomer gets in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use ostrakon_client::{Code, Operation};
use ostrakon_wire::bounds::{
    CONNECTIONS_MAX, HELLO_DEADLINE_MS, KEEP_ALIVE_MS, STREAMS_PER_CONNECTION_MAX, UNGREETED_CONNECTIONS_MAX,
};
use quinn::{ClientConfig, ConnectionError, Endpoint, TransportConfig, TransportErrorCode, VarInt};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use crate::harness::{Ended, Folder, Host, Raw, Stream, Tls, endpoint, object, read, serves, shared, within, works};

const MANY: usize = 10_000;
/// A datagram that can begin a connection has at least this size.
const INITIAL_BYTES_MIN: usize = 1200;

/// A generator that is good enough for noise (splitmix64).
struct Noise(u64);

impl Noise {
    /// From a seed that a failure shows.
    fn new() -> Self {
        let seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        println!("seed: {seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// A socket that speaks to the host alone.
async fn socket(host: &Host) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(host.file.quic).await.unwrap();
    socket
}

/// A packet that begins a connection of this version, as far as its header goes.
fn initial(noise: &mut Noise, version: u32, id: &[u8; 8]) -> Vec<u8> {
    const LENGTH_MAX: usize = 1 << 14;
    let mut packet = [&[0xc3][..], &version.to_be_bytes(), &[8], id, &[8], id, &[0]].concat();
    let rest = INITIAL_BYTES_MIN - packet.len() - 2;
    packet.extend((0x4000 | (rest % LENGTH_MAX) as u16).to_be_bytes());
    packet.extend(noise.bytes(rest));
    packet
}

#[tokio::test(flavor = "multi_thread")]
async fn datagrams_of_noise_are_answered_or_stop_the_host() {
    let host = shared();
    let (_raw, mut before) = Raw::greet(&host).await;
    let (asking, elsewhere) = (socket(&host).await, socket(&host).await);
    let mut noise = Noise::new();
    let mut answer = [0; 2048];
    for round in 0..100_u8 {
        // A packet of version 1 that nobody can decrypt gets no answer; the one to a version that nobody speaks is first.
        let id = noise.next().to_be_bytes();
        asking.send(&initial(&mut noise, 1, &id)).await.unwrap();
        let asked = [b'v', b'e', b'r', b's', b'i', b'o', b'n', round];
        asking.send(&initial(&mut noise, 0x0a1a_2a3a, &asked)).await.unwrap();
        let len = within("a version negotiation", asking.recv(&mut answer)).await.unwrap();
        let head = [&[0, 0, 0, 0, 8][..], &asked, &[8], &asked].concat();
        assert!(answer[0] & 0x80 != 0 && answer[1..len].starts_with(&head), "{:02x?}", &answer[..len]);
        let versions: Vec<_> = answer[1 + head.len()..len].chunks(4).collect();
        assert!(versions.contains(&&[0, 0, 0, 1][..]), "{versions:02x?}");
        // Anything at all, of any length.
        for _ in 0..20 {
            let len = noise.next() as usize % 1_400;
            elsewhere.send(&noise.bytes(len)).await.unwrap();
        }
        works(&mut before).await;
    }
    serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_are_never_finished_keep_newcomers_out() {
    const HANDSHAKES: usize = 2 * UNGREETED_CONNECTIONS_MAX;
    let folder = Folder::new();
    let host = folder.serve();
    let (_raw, mut before) = Raw::greet(&host).await;
    // First datagrams of clients, taken down by a socket that does not answer.
    let sink = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let clients = endpoint();
    let config = Tls::of(&host).quic();
    let flood = socket(&host).await;
    let (mut datagram, mut answer) = ([0; 2048], [0; 2048]);
    let mut asked_to_prove = 0;
    let mut unanswered = Vec::new();
    for number in 0..HANDSHAKES {
        unanswered.push(clients.connect_with(config.clone(), sink.local_addr().unwrap(), "localhost").unwrap());
        let len = within("a first datagram", sink.recv(&mut datagram)).await.unwrap();
        flood.send(&datagram[..len]).await.unwrap();
        while let Ok(Ok(len)) = tokio::time::timeout(Duration::from_millis(1), flood.recv(&mut answer)).await {
            // A Retry packet: the host keeps nothing for it.
            asked_to_prove += usize::from(len > 0 && answer[0] & 0xf0 == 0xf0);
        }
        if number % 100 == 0 {
            works(&mut before).await;
            serves(&host).await;
        }
    }
    println!("{asked_to_prove} of {HANDSHAKES} were asked to show that they own their address");
    assert!(asked_to_prove > 0, "a peer that shows nothing gets more than half of the places");
    serves(&host).await;
    works(&mut before).await;
}

/// A newcomer gets in and is served. One whose datagrams are lost in a flood may be the oldest by the time they are sent
/// again, and make room itself; like any client it tries again then.
async fn gets_in(host: &Host) {
    const TRIES: usize = 5;
    for _ in 0..TRIES {
        match Raw::dial(host, Tls::of(host)).await {
            Ok(raw) => return works(&mut raw.hello().await.1).await,
            Err(ConnectionError::ConnectionClosed(close)) => {
                assert_eq!(close.error_code, TransportErrorCode::APPLICATION_ERROR, "{close}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    panic!("kept out {TRIES} times");
}

/// Asks on, on a stream and as a newcomer, until told to end; how often it was answered.
async fn goes_on(host: Arc<Folder>, serving: Arc<Host>, mut stream: Stream, end: Arc<AtomicBool>) -> u64 {
    let mut answered = 0;
    while !end.load(Ordering::Relaxed) {
        works(&mut stream).await;
        gets_in(&serving).await;
        answered += 1;
    }
    works(&mut stream).await;
    drop(host);
    answered
}

/// How a silent connection ends.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// With this code.
    Told(u64),
    /// It had to make room while its datagrams were lost and sent again.
    BeforeItsHandshake,
    /// By its own timeout, or told that the host knows it no more: the word is one datagram, and a socket that many
    /// share may drop it.
    Unheard,
}

/// Handshakes of a crowd that are under way at a time.
const AT_A_TIME: usize = 32;
const SOCKETS: usize = 16;

/// A few sockets and one configuration for all clients of a crowd: files and ports are no bound, and sessions are resumed.
fn crowd(host: &Host, change: impl FnOnce(&mut TransportConfig)) -> (Vec<Endpoint>, ClientConfig) {
    let mut transport = TransportConfig::default();
    change(&mut transport);
    let mut config = Tls::of(host).quic();
    config.transport_config(Arc::new(transport));
    ((0..SOCKETS).map(|_| endpoint()).collect(), config)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_silent_connections_keep_newcomers_out() {
    let folder = Arc::new(Folder::new());
    let host = Arc::new(folder.serve());
    let (_raw, before) = Raw::greet(&host).await;
    let end = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(goes_on(Arc::clone(&folder), Arc::clone(&host), before, Arc::clone(&end)));
    let (clients, config) = crowd(&host, |transport| {
        transport.max_idle_timeout(Some(VarInt::from_u32(2 * HELLO_DEADLINE_MS as u32).into()));
    });
    let turn = Arc::new(Semaphore::new(AT_A_TIME));
    let mut silent = Vec::new();
    let begun = std::time::Instant::now();
    for number in 0..MANY {
        let turn = Arc::clone(&turn).acquire_owned().await.unwrap();
        let (host, clients, config) = (Arc::clone(&host), clients[number % SOCKETS].clone(), config.clone());
        silent.push(tokio::spawn(async move {
            let ended = match Raw::dial_from(&clients, &host, config).await {
                Ok(raw) => {
                    drop(turn);
                    raw.closed().await
                }
                Err(error) => error,
            };
            match ended {
                ConnectionError::ApplicationClosed(close) => End::Told(close.error_code.into()),
                ConnectionError::ConnectionClosed(close) => {
                    assert_eq!(close.error_code, TransportErrorCode::APPLICATION_ERROR, "{close}");
                    End::BeforeItsHandshake
                }
                ConnectionError::TimedOut | ConnectionError::Reset => End::Unheard,
                other => panic!("{other}"),
            }
        }));
    }
    println!("{MANY} connections in {:?}", begun.elapsed());
    let mut ends = BTreeMap::<End, usize>::new();
    for ended in silent {
        *ends.entry(ended.await.unwrap()).or_default() += 1;
    }
    println!("all ended after {:?}: {ends:?}", begun.elapsed());
    let told = ends.remove(&End::Told(Code::TooSlow.number().into())).unwrap_or_default();
    assert!(ends.keys().all(|end| !matches!(end, End::Told(_))), "{ends:?}");
    assert!(told >= MANY / 2, "{told} were told why, and {ends:?}");
    end.store(true, Ordering::Relaxed);
    let answered = others.await.unwrap();
    println!("meanwhile {answered} newcomers were served");
    assert!(answered > 0);
    serves(&host).await;
}

/// A connection that has said hello. Like any client it tries again where its datagrams are lost for too long.
async fn greeted(client: &Endpoint, host: &Host, config: &ClientConfig) -> (Raw, Stream) {
    const TRIES: usize = 5;
    const PATIENCE: Duration = Duration::from_secs(3);
    for _ in 0..TRIES {
        let greeting =
            async { Ok::<_, ConnectionError>(Raw::dial_from(client, host, config.clone()).await?.hello().await) };
        if let Ok(Ok(greeted)) = tokio::time::timeout(PATIENCE, greeting).await {
            return greeted;
        }
    }
    panic!("kept out {TRIES} times");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_more_than_there_may_be_gets_in_or_costs_another_its_place() {
    let folder = Folder::new();
    let host = folder.serve();
    let (clients, config) = crowd(&host, |transport| {
        transport.keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)));
    });
    let mut here = Vec::new();
    while here.len() < CONNECTIONS_MAX {
        let some = AT_A_TIME.min(CONNECTIONS_MAX - here.len());
        let greet = |number: usize| greeted(&clients[number % SOCKETS], &host, &config);
        here.extend(join_all((0..some).map(greet)).await);
    }
    match Raw::dial(&host, Tls::of(&host)).await.map(drop) {
        Err(ConnectionError::ConnectionClosed(close)) => {
            assert_eq!(close.error_code, TransportErrorCode::CONNECTION_REFUSED, "{close}");
        }
        other => panic!("{other:?}"),
    }
    for (_, stream) in here.iter_mut().step_by(16) {
        works(stream).await;
    }
    // Who leaves makes room, once the host has heard of it.
    drop(here.pop());
    let mut tries = 0;
    let raw = loop {
        match Raw::dial(&host, Tls::of(&host)).await {
            Ok(raw) => break raw,
            Err(error) => assert!(tries < 100, "{error}"),
        }
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    works(&mut raw.hello().await.1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_streams_than_there_may_be_are_open_at_once() {
    let host = shared();
    let (raw, mut first) = Raw::greet(&host).await;
    // With the hello's as many as there may be, each with a frame begun.
    let mut open = Vec::new();
    for _ in 1..STREAMS_PER_CONNECTION_MAX {
        let mut stream = raw.open().await;
        stream.write(&[0, 0]).await;
        open.push(stream);
    }
    works(&mut first).await;
    let one_more = tokio::time::timeout(Duration::from_millis(200), raw.connection.open_bi()).await;
    assert!(one_more.is_err(), "a stream beyond the bound was given");
    works(&mut first).await;
    serves(&host).await;
    // Room is told of once an eighth of it is free.
    for mut ended in open.split_off(open.len() / 2) {
        ended.send.reset(VarInt::from_u32(0)).unwrap();
        assert_eq!(ended.next_frame().await.unwrap_err(), Ended::Reset(0));
    }
    let mut next = raw.open().await;
    works(&mut next).await;
    // The others can still be used.
    for stream in &mut open {
        let (id, request) = stream.request(Operation::ShardMap(ostrakon_wire::AskMap::default()));
        stream.write(&request[2..]).await;
        assert_eq!(stream.answer().await.id, id);
    }
}

/// Opens ten thousand streams on one connection, as many at a time as there may be, and uses each so.
async fn ten_thousand(host: &Arc<Host>, folder: &Arc<Folder>, used: impl AsyncFn(usize, Stream)) {
    let (_other, before) = Raw::greet(host).await;
    let end = Arc::new(AtomicBool::new(false));
    let others = tokio::spawn(goes_on(Arc::clone(folder), Arc::clone(host), before, Arc::clone(&end)));
    let (raw, mut first) = Raw::greet(host).await;
    const AT_A_TIME: usize = STREAMS_PER_CONNECTION_MAX as usize - 1;
    for begin in (0..MANY).step_by(AT_A_TIME) {
        let some = begin..(begin + AT_A_TIME).min(MANY);
        let used = &used;
        let raw = &raw;
        join_all(some.map(async |number| used(number, raw.open().await).await)).await;
    }
    works(&mut first).await;
    works(&mut raw.open().await).await;
    end.store(true, Ordering::Relaxed);
    assert!(others.await.unwrap() > 0, "nobody else was served meanwhile");
    serves(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_wear_a_connection_out() {
    let folder = Arc::new(Folder::new());
    let host = Arc::new(folder.serve());
    let nobody = object("many", "nobody");
    ten_thousand(&host, &folder, async |_, mut stream| {
        let error = stream.ask(read(&nobody)).await.unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        stream.send.finish().unwrap();
        assert_eq!(stream.next_frame().await.unwrap_err(), Ended::Finished);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_abandoned_streams_wear_a_connection_out() {
    let folder = Arc::new(Folder::new());
    let host = Arc::new(folder.serve());
    let nobody = object("many", "nobody");
    let malformed = Ended::Reset(Code::Malformed.number().into());
    ten_thousand(&host, &folder, async |number, mut stream| {
        let (_, request) = stream.request(read(&nobody));
        match number % 5 {
            // Nothing was said on it, and it goes.
            0 => drop(stream),
            // Half a request, and its end.
            1 => {
                stream.write(&request[..7]).await;
                stream.send.finish().unwrap();
                assert_eq!(stream.next_frame().await.unwrap_err(), malformed);
            }
            // Half a request, and taken back.
            2 => {
                stream.write(&request[..7]).await;
                stream.send.reset(VarInt::from_u32(9)).unwrap();
                assert_eq!(stream.next_frame().await.unwrap_err(), Ended::Reset(9));
            }
            // A request whose answer nobody wants.
            3 => {
                stream.write(&request).await;
                stream.recv.stop(VarInt::from_u32(9)).unwrap();
            }
            // A request, and gone with both directions.
            _ => {
                stream.write(&request).await;
                stream.send.reset(VarInt::from_u32(9)).unwrap();
                stream.recv.stop(VarInt::from_u32(9)).unwrap();
            }
        }
    })
    .await;
}
