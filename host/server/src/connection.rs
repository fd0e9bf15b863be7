//! One connection: handshake, hello, then a task for each of its streams.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ostrakon_wire::bounds::{FRAME_BYTES_MAX, HELLO_BYTES_MAX, IN_FLIGHT_PER_STREAM_MAX};
use ostrakon_wire::{Answer, ClientHello, Code, PROTOCOL, ServerHello, WireError, frame};
use quinn::{Connection, Incoming, RecvStream, SendStream, VarInt};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::admission::Place;
use crate::peer;
use crate::room::Room;
use crate::stream::{self, StreamParts};
use crate::{Shared, told_to_stop};

/// What the streams of one connection share.
pub(crate) struct ConnectionShared {
    pub(crate) host: Arc<Shared>,
    /// For requests in work, and those that wait.
    pub(crate) room: Room,
    /// The name in the client's certificate.
    pub(crate) peer: Option<Arc<str>>,
    /// A number that no other connection has meanwhile.
    pub(crate) caller: u64,
}

/// The close code of a connection that is ended for an error: the error's number.
pub(crate) fn close_code(code: Code) -> VarInt {
    VarInt::from_u32(code.number().into())
}

pub(crate) async fn serve(incoming: Incoming, host: Arc<Shared>, mut place: Place) {
    let remote = incoming.remote_address();
    let deadline = host.deadlines.hello;
    let connected = tokio::select! {
        connected = timeout(deadline, incoming.into_future()) => connected,
        () = place.lost() => return tracing::debug!(%remote, "a handshake made room for a newcomer"),
    };
    let connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return tracing::debug!(%remote, %error, "a handshake failed"),
        Err(_) => return tracing::debug!(%remote, "a handshake took too long"),
    };
    let mut stopping = host.stopping.clone();
    let greeted = tokio::select! {
        greeted = timeout(deadline, greet(&connection, &host)) => greeted.unwrap_or_else(|_| Err(too_slow(NO_HELLO))),
        () = place.lost() => Err(too_slow(MADE_ROOM)),
        () = told_to_stop(&mut stopping) => return connection.close(VarInt::from_u32(0), b"the host is stopping"),
    };
    match greeted.and_then(|first| place.greeted().then_some(first).ok_or_else(|| too_slow(MADE_ROOM))) {
        Ok(first) => serve_streams(&connection, host, first).await,
        Err(error) => {
            tracing::debug!(%remote, %error, "a connection did not say hello");
            connection.close(close_code(error.code), error.message.as_bytes());
        }
    }
}

fn too_slow(why: &str) -> WireError {
    WireError::new(Code::TooSlow, why)
}

const NO_HELLO: &str = "no hello in time";
const MADE_ROOM: &str = "no hello yet, and others want to come in";

/// Reads the client's hello off the first stream and answers it; hands out the stream for its requests.
async fn greet(connection: &Connection, host: &Shared) -> Result<StreamParts, WireError> {
    let lost = |_| WireError::new(Code::Malformed, "the connection ended before its hello");
    let (mut send, mut recv) = connection.accept_bi().await.map_err(lost)?;
    let mut buffer = BytesMut::new();
    let hello = ClientHello::read(&read_hello(&mut recv, &mut buffer).await?)?;
    let mut out = Vec::new();
    if hello.protocol != PROTOCOL {
        let message = format!("protocol {} is not spoken here; {PROTOCOL} is", hello.protocol);
        let error = WireError::new(Code::UnsupportedProtocol, message);
        frame::append(&mut out, |out| Answer { id: 0, outcome: Err(error.clone()) }.write(out));
        send_last(&mut send, &out).await;
        return Err(error);
    }
    let answer = ServerHello {
        protocol: PROTOCOL,
        agent: concat!("ostrakon/", env!("CARGO_PKG_VERSION")).to_owned(),
        log: host.engine.log(),
        frame_bytes_max: FRAME_BYTES_MAX as u64,
        in_flight_max: IN_FLIGHT_PER_STREAM_MAX as u64,
    };
    frame::append(&mut out, |out| answer.write(out));
    send.write_all(&out).await.map_err(|_| WireError::new(Code::Malformed, "the hello's stream was given up"))?;
    tracing::debug!(agent = %hello.agent, remote = %connection.remote_address(), "a client said hello");
    Ok(StreamParts { send, recv, buffer })
}

async fn read_hello(recv: &mut RecvStream, buffer: &mut BytesMut) -> Result<bytes::Bytes, WireError> {
    loop {
        if let Some(frame) = frame::split(buffer, HELLO_BYTES_MAX)? {
            return Ok(frame);
        }
        match recv.read_chunk(HELLO_BYTES_MAX, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            _ => return Err(WireError::new(Code::Malformed, "the stream ended before the hello")),
        }
    }
}

/// Writes a last frame and gives it a moment to arrive before the connection is closed over it.
async fn send_last(send: &mut SendStream, out: &[u8]) {
    if send.write_all(out).await.is_ok() && send.finish().is_ok() {
        let _ = timeout(Duration::from_secs(1), send.stopped()).await;
    }
}

/// Serves streams until the client leaves or the host stops; then lets every stream answer what it has taken.
async fn serve_streams(connection: &Connection, host: Arc<Shared>, first: StreamParts) {
    let mut stopping = host.stopping.clone();
    let room = Room::new(Arc::clone(&host.fair));
    let caller = connection.stable_id() as u64;
    let shared = Arc::new(ConnectionShared { host, room, peer: peer::name(connection), caller });
    let mut streams = JoinSet::new();
    streams.spawn(stream::serve(first, Arc::clone(&shared)));
    loop {
        tokio::select! {
            accepted = connection.accept_bi() => match accepted {
                Ok((send, recv)) => {
                    let parts = StreamParts { send, recv, buffer: BytesMut::new() };
                    streams.spawn(stream::serve(parts, Arc::clone(&shared)));
                }
                Err(error) => {
                    tracing::debug!(%error, remote = %connection.remote_address(), "a connection ended");
                    break;
                }
            },
            Some(_) = streams.join_next() => {}
            () = told_to_stop(&mut stopping) => break,
        }
    }
    while streams.join_next().await.is_some() {}
    connection.close(VarInt::from_u32(0), b"the host is stopping");
}
