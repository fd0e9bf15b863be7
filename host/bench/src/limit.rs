//! Scenario `limit`: what QUIC and fjall allow on this machine, with nothing of ours between them.
//!
//! One bidirectional stream a connection lives as long as the connection and carries frames. One thread commits: it
//! takes whatever waits, writes it as one batch that is synced before it is visible, one row a write and one log row a
//! group, and then answers, all answers of a stream in one write. No versions, no policies, no reads, no admission.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use clap::Args;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch, PersistMode, Slice};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::TLS13;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::load::{self, Figures, Random, Shape, Tally, Window};
use crate::report::Report;
use crate::{Options, child, folder, rounds};

/// What a round may take beside the time that is measured.
const PATIENCE: Duration = Duration::from_secs(30);
const ALPN: &[u8] = b"ostrakon-limit";
const SERVER_NAME: &str = "localhost";
const KEYS: u64 = 100_000;
const KEYSPACES: u64 = 16;
const VALUE_BYTES: usize = 256;
/// Large enough that no memtable fills while a round lasts: the limit is what the journal and the network allow.
const MEMTABLE_BYTES: u64 = 64 << 20;
/// A request is length, id, key, value; an answer is length and id. A length counts what follows it.
const LENGTH_BYTES: usize = 4;
const ID_BYTES: usize = 8;
const KEY_BYTES: usize = 8;
const REQUEST_BYTES: usize = LENGTH_BYTES + ID_BYTES + KEY_BYTES + VALUE_BYTES;
const ANSWER_BYTES: usize = LENGTH_BYTES + ID_BYTES;
/// What one read of a stream may bring.
const READ_BYTES: usize = 64 * 1024;
/// What may wait for the committing thread, in reads.
const QUEUE_READS: usize = 256;
/// What one group holds, give or take the last read.
const GROUP_WRITES: usize = 1024;

/// Runs every shape in turn, each round against a new server with an empty store.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let figures = rounds::alternate(&options.shapes, options.rounds, |shape| round(*shape, options.seconds))?;
    Ok(load::report(&options.shapes, &figures))
}

pub(crate) fn round(shape: Shape, seconds: u64) -> anyhow::Result<Figures> {
    let folder = folder::fresh()?;
    let mut command = child::command("limit-server")?;
    let (server, ready) = child::Running::start::<Ready>(command.arg("--folder").arg(folder.path()))?;
    let patience = Duration::from_secs(seconds) + PATIENCE;
    let tally = load::runtime()?.block_on(async { timeout(patience, drive(&ready, shape, seconds)).await })??;
    drop(server);
    Ok(tally.figures())
}

/// What the server says once it listens.
#[derive(Serialize, Deserialize)]
struct Ready {
    address: SocketAddr,
    /// DER, in base64.
    certificate: String,
}

/// The server's half.
#[derive(Args)]
pub(crate) struct ServerOptions {
    /// Where to keep the store.
    #[arg(long)]
    folder: PathBuf,
}

/// Serves until the process that started it ends.
pub(crate) fn serve(options: &ServerOptions) -> anyhow::Result<()> {
    let database = Database::builder(&options.folder).open()?;
    let keyspace =
        |name: &str| database.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES));
    let shards = (0..KEYSPACES).map(|shard| keyspace(&format!("shard-{shard}"))).collect::<Result<_, _>>()?;
    let store = Store { shards, log: keyspace("log")?, database };
    let (queue, waiting) = mpsc::channel(QUEUE_READS);
    std::thread::Builder::new().name("commit".into()).spawn(move || commit_groups(&store, waiting))?;
    let runtime = load::runtime()?;
    let (endpoint, ready) = {
        let _entered = runtime.enter();
        listen()?
    };
    runtime.spawn(accept(endpoint, queue));
    child::say(&ready)?;
    child::until_parent_ends();
    Ok(())
}

fn listen() -> anyhow::Result<(Endpoint, Ready)> {
    let own = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
    let certificate = own.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let mut tls = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls)?));
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    let ready = Ready { address: endpoint.local_addr()?, certificate: BASE64_STANDARD.encode(&certificate) };
    Ok((endpoint, ready))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

async fn accept(endpoint: Endpoint, queue: mpsc::Sender<Arrived>) {
    while let Some(incoming) = endpoint.accept().await {
        let queue = queue.clone();
        tokio::spawn(async move {
            if let Err(error) = take_requests(incoming, queue).await {
                eprintln!("a connection failed: {error:#}");
            }
        });
    }
}

/// What one read of a stream brought.
struct Arrived {
    writes: Vec<(u64, Slice)>,
    /// To give once all of `writes` are durable.
    answers: Vec<u8>,
    answered: Arc<Answered>,
}

/// Answers of one stream that are still to be sent. The caller bounds them: it waits for each before it asks again.
#[derive(Default)]
struct Answered {
    bytes: Mutex<Vec<u8>>,
    changed: Notify,
}

impl Answered {
    fn add(&self, answers: &[u8]) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.extend_from_slice(answers);
        drop(bytes);
        self.changed.notify_one();
    }

    async fn take(&self) -> Vec<u8> {
        self.changed.notified().await;
        std::mem::take(&mut *self.bytes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn take_requests(incoming: quinn::Incoming, queue: mpsc::Sender<Arrived>) -> anyhow::Result<()> {
    let connection = incoming.await?;
    let (send, receive) = connection.accept_bi().await?;
    let answered = Arc::new(Answered::default());
    let sending = tokio::spawn(send_answers(send, Arc::clone(&answered)));
    let mut frames = Frames::new(receive);
    while let Some(arrived) = frames.next_requests(&answered).await? {
        queue.send(arrived).await.context("the committing thread ended")?;
    }
    sending.abort();
    Ok(())
}

async fn send_answers(mut send: SendStream, answered: Arc<Answered>) {
    // A stream that no longer takes answers has lost its connection, which the receiving half reports.
    while send.write_all(&answered.take().await).await.is_ok() {}
}

/// Cuts what a stream brings into frames of one known size.
struct Frames {
    receive: RecvStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Frames {
    fn new(receive: RecvStream) -> Self {
        Self { receive, buffer: vec![0; READ_BYTES], filled: 0 }
    }

    /// Reads once, gives every whole frame without its length to `each`, and keeps the rest; false once the other end
    /// is done.
    async fn read<const BYTES: usize>(&mut self, mut each: impl FnMut(&[u8])) -> anyhow::Result<bool> {
        let read = match self.receive.read(&mut self.buffer[self.filled..]).await {
            Ok(Some(read)) => read,
            Ok(None) | Err(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(_))) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        self.filled += read;
        let whole = self.filled - self.filled % BYTES;
        for frame in self.buffer[..whole].chunks_exact(BYTES) {
            ensure!(number::<4>(frame) == (BYTES - LENGTH_BYTES) as u64, "a frame of an unknown length");
            each(&frame[LENGTH_BYTES..]);
        }
        self.buffer.copy_within(whole..self.filled, 0);
        self.filled -= whole;
        Ok(true)
    }

    async fn next_requests(&mut self, answered: &Arc<Answered>) -> anyhow::Result<Option<Arrived>> {
        let (mut writes, mut answers) = (Vec::new(), Vec::new());
        let more = self
            .read::<REQUEST_BYTES>(|request| {
                put_frame_head::<ANSWER_BYTES>(&mut answers, number::<ID_BYTES>(request));
                let rest = &request[ID_BYTES..];
                writes.push((number::<KEY_BYTES>(rest), Slice::from(&rest[KEY_BYTES..])));
            })
            .await?;
        Ok(more.then(|| Arrived { writes, answers, answered: Arc::clone(answered) }))
    }
}

fn put_frame_head<const BYTES: usize>(to: &mut Vec<u8>, id: u64) {
    to.extend_from_slice(&((BYTES - LENGTH_BYTES) as u32).to_be_bytes());
    to.extend_from_slice(&id.to_be_bytes());
}

/// The number in the first bytes of `from`.
fn number<const BYTES: usize>(from: &[u8]) -> u64 {
    from[..BYTES].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

struct Store {
    database: Database,
    shards: Vec<Keyspace>,
    log: Keyspace,
}

/// Ends the process when a commit fails: what is on disk is unknown then.
fn commit_groups(store: &Store, mut waiting: mpsc::Receiver<Arrived>) {
    let mut revision = 0;
    while let Some(first) = waiting.blocking_recv() {
        let mut size = first.writes.len();
        let mut group = vec![first];
        while size < GROUP_WRITES
            && let Ok(arrived) = waiting.try_recv()
        {
            size += arrived.writes.len();
            group.push(arrived);
        }
        if let Err(error) = commit(store, revision, size, &mut group) {
            eprintln!("a commit failed: {error}");
            std::process::exit(1);
        }
        revision += size as u64;
        for arrived in group {
            arrived.answered.add(&arrived.answers);
        }
    }
}

fn commit(store: &Store, revision: u64, size: usize, group: &mut [Arrived]) -> fjall::Result<()> {
    let mut batch =
        OwnedWriteBatch::with_capacity(store.database.clone(), size + 1).durability(Some(PersistMode::SyncData));
    let mut record = Vec::with_capacity(size * KEY_BYTES);
    for (key, value) in group.iter_mut().flat_map(|arrived| arrived.writes.drain(..)) {
        record.extend_from_slice(&key.to_be_bytes());
        batch.insert(&store.shards[(key % KEYSPACES) as usize], key.to_be_bytes(), value);
    }
    batch.insert(&store.log, revision.to_be_bytes(), record);
    batch.commit()
}

async fn drive(server: &Ready, shape: Shape, seconds: u64) -> anyhow::Result<Tally> {
    let endpoint = dialler(server)?;
    let mut connections = Vec::with_capacity(shape.connections);
    for _ in 0..shape.connections {
        connections.push(endpoint.connect(server.address, SERVER_NAME)?.await?);
    }
    let window = Window::after_warm_up(seconds);
    let mut callers = JoinSet::new();
    for (caller, connection) in (1..).zip(&connections) {
        callers.spawn(call(connection.clone(), shape.in_flight, caller, window));
    }
    let mut total = Tally::new(window);
    while let Some(tally) = callers.join_next().await {
        total.add(&tally??);
    }
    Ok(total)
}

fn dialler(server: &Ready) -> anyhow::Result<Endpoint> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(BASE64_STANDARD.decode(&server.certificate)?))?;
    let mut tls = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    let mut endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Keeps `in_flight` requests waiting until the window is over. A request's id is the place in `asked` that it holds.
async fn call(connection: Connection, in_flight: usize, caller: u64, window: Window) -> anyhow::Result<Tally> {
    let (mut send, receive) = connection.open_bi().await?;
    let mut answers = Frames::new(receive);
    let mut random = Random::seeded(caller);
    let mut tally = Tally::new(window);
    let mut asked = vec![Instant::now(); in_flight];
    let mut free: Vec<u64> = (0..in_flight as u64).collect();
    let mut requests = Vec::new();
    loop {
        let now = Instant::now();
        if window.is_over(now) {
            return Ok(tally);
        }
        requests.clear();
        for id in free.drain(..) {
            asked[id as usize] = now;
            put_frame_head::<REQUEST_BYTES>(&mut requests, id);
            requests.extend_from_slice(&random.below(KEYS).to_be_bytes());
            requests.extend((0..VALUE_BYTES / 8).flat_map(|_| random.next().to_be_bytes()));
        }
        send.write_all(&requests).await?;
        ensure!(answers.read::<ANSWER_BYTES>(|answer| free.push(number::<ID_BYTES>(answer))).await?, "the server left");
        let now = Instant::now();
        for id in &free {
            tally.committed(asked[*id as usize], now);
        }
    }
}
