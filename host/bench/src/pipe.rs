//! Load on a real host: the protocol's frames over long-lived streams, with as little as can be on the client's side.
//!
//! Every connection keeps a number of requests in flight, each on an object that no other request touches meanwhile. So
//! conditional writes always know the version that they meet.

pub(crate) mod objects;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use bytes::{Bytes, BytesMut};
use ostrakon_client::HostFile;
use ostrakon_wire::bounds::{FRAME_BYTES_MAX, KEEP_ALIVE_MS, SHARDS_MAX};
use ostrakon_wire::{
    ALPN, Action, ActionId, Answer, ClientHello, Code, ConditionalWrite, ObjectId, OnConflict, Operation, Payload,
    Perform, Reply, Request, ShardKey, Target, Version, WireError, frame,
};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, TransportConfig};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinSet;

pub(crate) use self::objects::{CLIENT_IDS, client_id, object_id, object_number, stamp};
use self::objects::{payload, stamped};
use crate::load::{Random, Shape, Tally, Window};

const PAYLOADS: usize = 64;
const SERVER_NAME: &str = "localhost";
pub(crate) const READ_BYTES: usize = 64 << 10;

/// Which requests to send.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Conditional writes of the next version.
    Write,
    /// Reads of the whole object.
    Read,
}

/// Which shard keys new objects get.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those of the host's policy.
    Policy,
    /// Spread over all shards.
    Spread,
    /// Of the first shard alone.
    First,
}

/// The first shard's keys begin with so many zero bits, however many shards there are.
const FIRST_SHARD_BITS: u32 = SHARDS_MAX.ilog2() + 1;

/// One connection and the objects that are its own.
pub(crate) struct Caller {
    connection: Connection,
    send: SendStream,
    recv: RecvStream,
    buffer: BytesMut,
    objects: Vec<(ObjectId, Version)>,
    pub(crate) keys: Keys,
    /// Payloads that are written begin with the microseconds since then, where this is set.
    pub(crate) stamped_since: Option<Instant>,
    random: Random,
    /// Drawn beforehand: making payloads is not what is measured.
    payloads: Vec<Payload>,
    out: Vec<u8>,
    /// Bytes of `out` that are sent.
    sent: usize,
}

/// What became of a write.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Committed,
    /// Refused for what waits; come again after so many milliseconds, if the host told.
    Overloaded(Option<u32>),
}

/// Connections that share out `objects` objects among them.
pub(crate) async fn dial(host: &HostFile, connections: usize, objects: usize) -> anyhow::Result<Vec<Caller>> {
    dial_from(host, connections, objects, 0).await
}

/// The same, with objects whose numbers begin at `from`.
pub(crate) async fn dial_from(
    host: &HostFile,
    connections: usize,
    objects: usize,
    from: usize,
) -> anyhow::Result<Vec<Caller>> {
    let endpoint = endpoint(host)?;
    let mut callers = Vec::with_capacity(connections);
    for caller in 0..connections {
        let connection = endpoint.connect(host.quic, SERVER_NAME)?.await?;
        let (send, recv) = connection.open_bi().await?;
        let share = (from + caller..from + objects).step_by(connections);
        let objects = share.map(|object| Ok((object_id(object)?, Version::ABSENT))).collect::<anyhow::Result<_>>()?;
        let mut random = Random::seeded(caller as u64 + 1);
        let payloads = (0..PAYLOADS).map(|_| payload(&mut random)).collect::<anyhow::Result<_>>()?;
        let mut caller = Caller {
            connection,
            send,
            recv,
            buffer: BytesMut::new(),
            objects,
            keys: Keys::Policy,
            stamped_since: None,
            random,
            payloads,
            out: Vec::new(),
            sent: 0,
        };
        caller.greet().await?;
        callers.push(caller);
    }
    Ok(callers)
}

fn endpoint(host: &HostFile) -> anyhow::Result<Endpoint> {
    let part = |file: &Option<std::path::PathBuf>| file.clone().context("a development host names its certificates");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(part(&host.ca)?)?)?;
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(
            vec![CertificateDer::from_pem_file(part(&host.cert)?)?],
            PrivateKeyDer::from_pem_file(part(&host.key)?)?,
        )?;
    tls.alpn_protocols = vec![ALPN.to_vec()];
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    // A connection waits for its turn in silence.
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(Duration::from_millis(KEEP_ALIVE_MS)));
    config.transport_config(Arc::new(transport));
    let mut endpoint = Endpoint::client((std::net::Ipv4Addr::LOCALHOST, 0).into())?;
    endpoint.set_default_client_config(config);
    Ok(endpoint)
}

/// Creates every object, `in_flight` at a time on each connection.
pub(crate) async fn create_all(callers: Vec<Caller>, in_flight: usize) -> anyhow::Result<Vec<Caller>> {
    let mut creating = JoinSet::new();
    for mut caller in callers {
        creating.spawn(async move {
            caller.each_once(Kind::Write, in_flight, |_| {}).await?;
            anyhow::Ok(caller)
        });
    }
    let mut created = Vec::new();
    while let Some(caller) = creating.join_next().await {
        created.push(caller??);
    }
    Ok(created)
}

/// Keeps every connection busy until the window is over.
pub(crate) async fn run(callers: Vec<Caller>, kind: Kind, shape: Shape, window: Window) -> anyhow::Result<Tally> {
    let mut running = JoinSet::new();
    for caller in callers {
        running.spawn(caller.call(kind, shape.in_flight, window));
    }
    let mut total = Tally::new(window);
    while let Some(tally) = running.join_next().await {
        total.add(&tally??);
    }
    Ok(total)
}

/// Reads every object once.
pub(crate) async fn read_each_once(callers: Vec<Caller>, shape: Shape, window: Window) -> anyhow::Result<Tally> {
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut tally = Tally::new(window);
            caller.each_once(Kind::Read, shape.in_flight, |asked| tally.committed(asked, Instant::now())).await?;
            anyhow::Ok(tally)
        });
    }
    let mut total = Tally::new(window);
    while let Some(tally) = running.join_next().await {
        total.add(&tally??);
    }
    Ok(total)
}

impl Caller {
    async fn greet(&mut self) -> anyhow::Result<()> {
        frame::append(&mut self.out, |out| ClientHello::new("ostrakon-bench").write(out));
        self.send.write_all(&self.out).await?;
        self.out.clear();
        while frame::split(&mut self.buffer, FRAME_BYTES_MAX)?.is_none() {
            self.fill().await?;
        }
        Ok(())
    }

    /// Appends a request of any sort.
    pub(crate) fn ask(&mut self, id: u64, operation: Operation) {
        let request = Request { id, trace_parent: None, timestamp: None, operation };
        frame::append(&mut self.out, |out| request.write(out));
    }

    /// Asks one thing where nothing else is under way, and waits for its outcome.
    pub(crate) async fn ask_one(&mut self, operation: Operation) -> anyhow::Result<Reply> {
        Ok(self.try_one(operation).await??)
    }

    /// The same, where a refusal is an outcome like others.
    pub(crate) async fn try_one(&mut self, operation: Operation) -> anyhow::Result<Result<Reply, WireError>> {
        self.ask(0, operation);
        self.flush().await?;
        loop {
            if let Some(answer) = self.answer()? {
                return Ok(answer.outcome);
            }
            self.fill().await?;
        }
    }

    /// Asks one thing on a stream of its own, and hands out where it is answered, as often as the host likes.
    pub(crate) async fn follow(&self, operation: Operation) -> anyhow::Result<RecvStream> {
        let (mut send, recv) = self.connection.open_bi().await?;
        let request = Request { id: 0, trace_parent: None, timestamp: None, operation };
        let mut out = Vec::new();
        frame::append(&mut out, |out| request.write(out));
        send.write_all(&out).await?;
        send.finish()?;
        Ok(recv)
    }

    /// The next answer, if a whole one has been received.
    pub(crate) fn answer(&mut self) -> anyhow::Result<Option<Answer>> {
        let frame = frame::split(&mut self.buffer, FRAME_BYTES_MAX)?;
        frame.map(|frame| Answer::read(&frame).context("an answer")).transpose()
    }

    /// Receives more. May be dropped.
    pub(crate) async fn fill(&mut self) -> anyhow::Result<()> {
        let chunk = self.recv.read_chunk(READ_BYTES, true).await?.context("the host ended the stream")?;
        self.buffer.extend_from_slice(&chunk.bytes);
        Ok(())
    }

    /// Appends a request whose id is the object's place among the caller's own.
    pub(crate) fn request(&mut self, kind: Kind, object: usize) -> anyhow::Result<()> {
        let (id, version) = &self.objects[object];
        let shard_key = match self.keys {
            Keys::Spread if *version == Version::ABSENT => Some(self.random.next()),
            Keys::First if *version == Version::ABSENT => Some(self.random.next() >> FIRST_SHARD_BITS),
            _ => None,
        };
        let target = Target { object: id.clone(), shard_key: shard_key.map(ShardKey::new) };
        let new_version = version.next().context("versions do not run out")?;
        let operation = match kind {
            Kind::Read => Operation::Read(target),
            Kind::Write => {
                let payload = self.payload();
                let payload = self.stamped_since.map_or(Ok(payload.clone()), |since| stamped(&payload, since))?;
                let action_id = Some(self.action_id());
                Operation::ConditionalWrite(ConditionalWrite { target, new_version, payload, action_id })
            }
        };
        self.ask(object as u64, operation);
        Ok(())
    }

    /// One of its payloads.
    pub(crate) fn payload(&mut self) -> Payload {
        self.payloads[self.random.below(PAYLOADS as u64) as usize].clone()
    }

    /// A new action id.
    pub(crate) fn action_id(&mut self) -> ActionId {
        action_id(self.random.next())
    }

    /// Sends what was appended.
    pub(crate) async fn flush(&mut self) -> anyhow::Result<()> {
        self.send.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Objects that are the caller's own.
    pub(crate) fn objects(&self) -> usize {
        self.objects.len()
    }

    /// Its objects, and the versions that it has made.
    pub(crate) fn stored(&self) -> impl Iterator<Item = (&ObjectId, Version)> {
        self.objects.iter().map(|(object, version)| (object, *version))
    }

    /// Makes one more object its own, of a name that no other caller of this dialling has.
    pub(crate) fn grow(&mut self, connections: usize, place: usize, from: usize) -> anyhow::Result<()> {
        let number = from + self.objects.len() * connections + place;
        self.objects.push((object_id(number)?, Version::ABSENT));
        Ok(())
    }

    /// A number below `bound`, of the caller's own sequence.
    pub(crate) fn draw(&mut self, bound: usize) -> usize {
        self.random.below(bound as u64) as usize
    }

    /// Bytes of requests that are not sent yet.
    pub(crate) fn unsent(&self) -> usize {
        self.out.len() - self.sent
    }

    /// Sends on or receives, whichever can go on, until an instant at the latest. Writes that were answered are handed out
    /// with what became of them. May be dropped.
    pub(crate) async fn turn(
        &mut self,
        until: Option<Instant>,
        mut answered: impl FnMut(usize, Outcome),
    ) -> anyhow::Result<()> {
        let until = async {
            match until {
                Some(until) => tokio::time::sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        let unsent = self.unsent() > 0;
        tokio::select! {
            sent = self.send.write(&self.out[self.sent..]), if unsent => {
                self.sent += sent?;
                if self.sent == self.out.len() {
                    self.out.clear();
                    self.sent = 0;
                }
            }
            chunk = self.recv.read_chunk(READ_BYTES, true) => {
                self.buffer.extend_from_slice(&chunk?.context("the host ended the stream")?.bytes);
                while let Some(frame) = frame::split(&mut self.buffer, FRAME_BYTES_MAX)? {
                    let (object, outcome) = outcome(&frame)?;
                    if matches!(outcome, Outcome::Committed) {
                        let version = &mut self.objects[object].1;
                        *version = version.next().context("versions do not run out")?;
                    }
                    answered(object, outcome);
                }
            }
            () = until => {}
        }
        Ok(())
    }

    /// Waits for answers, and hands out the objects that they were for.
    async fn answers(&mut self, kind: Kind, answered: &mut Vec<usize>) -> anyhow::Result<()> {
        self.fill().await?;
        while let Some(frame) = frame::split(&mut self.buffer, FRAME_BYTES_MAX)? {
            let object = answered_request(&frame)?;
            if kind == Kind::Write {
                let version = &mut self.objects[object].1;
                *version = version.next().context("versions do not run out")?;
            }
            answered.push(object);
        }
        Ok(())
    }

    /// Sends one request for every object, in order.
    async fn each_once(
        &mut self,
        kind: Kind,
        in_flight: usize,
        mut answered: impl FnMut(Instant),
    ) -> anyhow::Result<()> {
        let (mut next, mut done, mut objects) = (0, 0, Vec::new());
        let mut asked = vec![Instant::now(); self.objects.len()];
        while done < self.objects.len() {
            while next < self.objects.len() && next - done < in_flight {
                asked[next] = Instant::now();
                self.request(kind, next)?;
                next += 1;
            }
            self.flush().await?;
            self.answers(kind, &mut objects).await?;
            done += objects.len();
            objects.drain(..).for_each(|object| answered(asked[object]));
        }
        Ok(())
    }

    /// Each of the `in_flight` requests draws from objects of its own, so that none waits for another.
    async fn call(mut self, kind: Kind, in_flight: usize, window: Window) -> anyhow::Result<Tally> {
        let mut tally = Tally::new(window);
        let mut asked = vec![Instant::now(); in_flight];
        let mut free: Vec<usize> = (0..in_flight).collect();
        let mut answered = Vec::new();
        let rows = self.objects.len() / in_flight;
        ensure!(rows > 0, "there are fewer objects than requests in flight");
        loop {
            let now = Instant::now();
            if window.is_over(now) {
                return Ok(tally);
            }
            for lane in free.drain(..) {
                asked[lane] = now;
                let object = self.random.below(rows as u64) as usize * in_flight + lane;
                self.request(kind, object)?;
            }
            self.flush().await?;
            self.answers(kind, &mut answered).await?;
            let now = Instant::now();
            for object in answered.drain(..) {
                let lane = object % in_flight;
                tally.committed(asked[lane], now);
                free.push(lane);
            }
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.connection.close(0_u32.into(), b"");
    }
}

/// An action on an object, made for a version.
pub(crate) fn perform(
    object: ObjectId,
    action: Action,
    known: u64,
    action_id: ActionId,
    on_conflict: OnConflict,
) -> Perform {
    Perform {
        target: Target { object, shard_key: None },
        action,
        known: Some(Version::new(known)),
        action_id: Some(action_id),
        on_conflict,
    }
}

/// A new action id: its time is now, its rest is drawn.
pub(crate) fn action_id(drawn: u64) -> ActionId {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    ActionId::from_bits(now.as_millis() << 80 | 7 << 76 | 2 << 62 | u128::from(drawn >> 2))
}

/// The number of the request that was answered. Reads no more of an answer than must be: the host is measured here, not
/// the client.
fn answered_request(frame: &Bytes) -> anyhow::Result<usize> {
    match outcome(frame)? {
        (object, Outcome::Committed) => Ok(object),
        (_, Outcome::Overloaded(_)) => bail!("the host refused a request: {:?}", Answer::read(frame)),
    }
}

fn outcome(frame: &Bytes) -> anyhow::Result<(usize, Outcome)> {
    use ostrakon_wire::cbor::{FieldReader, Reader};
    const REQUEST: u64 = 0;
    const ERROR: u64 = 3;
    let mut reader = Reader::new(frame);
    let mut fields = FieldReader::new(&mut reader)?;
    let number = match fields.next_field()? {
        Some((REQUEST, value)) => value.uint()? as usize,
        _ => bail!("an answer that names no request"),
    };
    match fields.next_field()? {
        Some((ERROR, _)) => match Answer::read(frame)?.outcome {
            Err(error) if error.code == Code::Overloaded => Ok((number, Outcome::Overloaded(error.retry_after_ms))),
            other => bail!("the host refused a request: {other:?}"),
        },
        _ => Ok((number, Outcome::Committed)),
    }
}
