//! A client that knows nothing but frames: for what a proper client never does.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use ostrakon_client::{Operation, Reply, WireError};
use ostrakon_wire::bounds::FRAME_BYTES_MAX;
use ostrakon_wire::{ALPN, Answer, ClientHello, Request, ServerHello, frame};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{Connection, ConnectionError, Endpoint, ReadError, RecvStream, SendStream, TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::{Host, within};

/// Who the client says it is.
pub(crate) struct Tls {
    /// The client's certificate and key.
    pub(crate) identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    /// Whose hosts it trusts.
    pub(crate) trusts: CertificateDer<'static>,
    /// The protocols it offers.
    pub(crate) alpn: Vec<Vec<u8>>,
}

/// A connection.
pub(crate) struct Raw {
    pub(crate) connection: Connection,
    _endpoint: Endpoint,
}

/// A stream, and what was read of it beyond the last frame.
pub(crate) struct Stream {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    buffer: BytesMut,
    last_id: u64,
}

/// How the answers of a stream end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The host had nothing more to say.
    Finished,
    /// The host gave the stream up, with this code.
    Reset(u64),
    /// The host closed the connection, with this code.
    Closed(u64),
}

impl Tls {
    /// The client of a development host.
    pub(crate) fn of(host: &Host) -> Self {
        let config = host.config();
        let cert = CertificateDer::from_pem_file(&config.cert).unwrap();
        let key = PrivateKeyDer::from_pem_file(&config.key).unwrap();
        let trusts = CertificateDer::from_pem_file(config.ca).unwrap();
        Self { identity: Some((cert, key)), trusts, alpn: vec![ALPN.to_vec()] }
    }

    pub(crate) fn quic(self) -> quinn::ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.trusts).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut tls = match self.identity {
            Some((cert, key)) => builder.with_client_auth_cert(vec![cert], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = self.alpn;
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
    }
}

/// A socket of its own.
pub(crate) fn endpoint() -> Endpoint {
    Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

impl Raw {
    /// A connection that has said nothing yet.
    pub(crate) async fn dial(host: &Host, tls: Tls) -> Result<Self, ConnectionError> {
        Self::dial_from(&endpoint(), host, tls.quic()).await
    }

    /// The same from a socket that others use as well.
    pub(crate) async fn dial_from(
        endpoint: &Endpoint,
        host: &Host,
        config: quinn::ClientConfig,
    ) -> Result<Self, ConnectionError> {
        let connecting = endpoint.connect_with(config, host.file.quic, "localhost");
        let connection = within("a handshake", connecting.unwrap()).await?;
        Ok(Self { connection, _endpoint: endpoint.clone() })
    }

    /// A connection that has said hello, and the stream on which it did.
    pub(crate) async fn greet(host: &Host) -> (Self, Stream) {
        Self::dial(host, Tls::of(host)).await.unwrap().hello().await
    }

    /// The same, of a client that takes at most so many bytes of a stream before they are read.
    pub(crate) async fn greet_narrow(host: &Host, stream_window_bytes: u32) -> (Self, Stream) {
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(stream_window_bytes));
        let mut config = Tls::of(host).quic();
        config.transport_config(Arc::new(transport));
        Self::dial_from(&endpoint(), host, config).await.unwrap().hello().await
    }

    /// Says hello on a connection that has said nothing yet.
    pub(crate) async fn hello(self) -> (Self, Stream) {
        let raw = self;
        let mut stream = raw.open().await;
        stream.frame(|out| ClientHello::new("raw").write(out)).await;
        let hello = ServerHello::read(&stream.next_frame().await.unwrap()).unwrap();
        assert_eq!(hello.frame_bytes_max, FRAME_BYTES_MAX as u64);
        (raw, stream)
    }

    /// A new stream.
    pub(crate) async fn open(&self) -> Stream {
        let (send, recv) = within("a stream", self.connection.open_bi()).await.unwrap();
        Stream { send, recv, buffer: BytesMut::new(), last_id: 0 }
    }

    /// How the host closes the connection.
    pub(crate) async fn closed(&self) -> ConnectionError {
        within("the host closes the connection", self.connection.closed()).await
    }
}

impl Stream {
    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        within("a write", self.send.write_all(bytes)).await.unwrap();
    }

    /// Sends one frame.
    pub(crate) async fn frame(&mut self, body: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        frame::append(&mut out, body);
        self.write(&out).await;
    }

    /// One request as bytes, and its id.
    pub(crate) fn request(&mut self, operation: Operation) -> (u64, Vec<u8>) {
        self.last_id += 1;
        let request = Request { id: self.last_id, trace_parent: None, timestamp: None, operation };
        let mut out = Vec::new();
        frame::append(&mut out, |out| request.write(out));
        (request.id, out)
    }

    /// Sends one request and waits for its outcome; no other may be under way.
    pub(crate) async fn ask(&mut self, operation: Operation) -> Result<Reply, WireError> {
        let (id, bytes) = self.request(operation);
        self.write(&bytes).await;
        let answer = self.answer().await;
        assert_eq!(answer.id, id);
        answer.outcome
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.answer_or_end().await.expect("an answer")
    }

    /// The next answer, or how the stream ended.
    pub(crate) async fn answer_or_end(&mut self) -> Result<Answer, Ended> {
        Ok(Answer::read(&self.next_frame().await?).unwrap())
    }

    /// The next frame, or how the stream ended.
    pub(crate) async fn next_frame(&mut self) -> Result<Bytes, Ended> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, FRAME_BYTES_MAX).unwrap() {
                return Ok(frame);
            }
            match within("an answer", self.recv.read_chunk(64 << 10, true)).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Err(Ended::Finished),
                Ok(None) => panic!("the stream ends inside a frame"),
                Err(ReadError::Reset(code)) => return Err(Ended::Reset(code.into())),
                Err(ReadError::ConnectionLost(ConnectionError::ApplicationClosed(close))) => {
                    return Err(Ended::Closed(close.error_code.into()));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
