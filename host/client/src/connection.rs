//! One connection: hello, one stream, many requests on it at a time.
//!
//! A writer task gathers the requests that wait into as few writes as there can be; a reader task hands each answer to
//! the one who waits for it. When either ends, everybody who waits is told.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use ostrakon_wire::bounds::{FRAME_BYTES_MAX, GATHER_BYTES_MAX};
use ostrakon_wire::{Answer, ClientHello, Code, PROTOCOL, Request, ServerHello, WireError, frame};
use parking_lot::Mutex;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{Notify, oneshot};

use crate::error::Error;

/// What one request waits for.
type Waiting = oneshot::Sender<Result<Answer, Error>>;

/// A live connection, as long as somebody holds it.
pub(crate) struct Wire {
    connection: Connection,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    next_id: AtomicU64,
    /// Something waits to be written, or nobody holds the connection any more.
    filled: Notify,
}

#[derive(Default)]
struct State {
    out: Vec<u8>,
    waiting: HashMap<u64, Waiting>,
    ended: Option<Error>,
    closed: bool,
}

/// Requests that wait to be written, in bytes; more are refused as `overloaded`, which the client repeats.
const OUT_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;

impl Wire {
    /// Says hello on a new connection and starts its tasks.
    pub(crate) async fn greet(connection: Connection, agent: &str) -> Result<Self, Error> {
        let unreachable = |error: &dyn std::fmt::Display| Error::Unreachable(error.to_string());
        let (mut send, mut recv) = connection.open_bi().await.map_err(|error| unreachable(&error))?;
        let mut out = Vec::new();
        frame::append(&mut out, |out| ClientHello::new(agent).write(out));
        send.write_all(&out).await.map_err(|error| unreachable(&error))?;
        let mut buffer = BytesMut::new();
        let hello = next_frame(&mut recv, &mut buffer).await.map_err(|error| match error {
            Error::Lost(reason) => Error::Unreachable(reason),
            error => error,
        })?;
        if let Ok(Answer { outcome: Err(refused), .. }) = Answer::read(&hello) {
            return Err(refused.into());
        }
        let hello = ServerHello::read(&hello).map_err(|error| Error::Protocol(error.to_string()))?;
        if hello.protocol != PROTOCOL {
            return Err(Error::Protocol(format!("the host speaks protocol {}", hello.protocol)));
        }
        let shared = Arc::new(Shared { state: Mutex::default(), next_id: AtomicU64::new(1), filled: Notify::new() });
        tokio::spawn(write(send, Arc::clone(&shared)));
        tokio::spawn(read(recv, buffer, Arc::clone(&shared)));
        Ok(Self { connection, shared })
    }

    /// Whether it can still be used.
    pub(crate) fn is_live(&self) -> bool {
        self.connection.close_reason().is_none() && self.shared.state.lock().ended.is_none()
    }

    /// Sends one request on a stream of its own, and hands out what is answered there, one frame after the other.
    pub(crate) async fn follow(&self, request: &mut Request) -> Result<Following, Error> {
        let lost = |error: &dyn std::fmt::Display| Error::Lost(error.to_string());
        let (mut send, recv) = self.connection.open_bi().await.map_err(|error| lost(&error))?;
        request.id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut out = Vec::new();
        frame::append(&mut out, |out| request.write(out));
        send.write_all(&out).await.map_err(|error| lost(&error))?;
        // Nothing else is asked for on it; the host goes on until it is stopped.
        send.finish().map_err(|error| lost(&error))?;
        Ok(Following { recv, buffer: BytesMut::new() })
    }

    /// Sends one request and waits for its answer. Dropped before, the answer is passed over.
    pub(crate) async fn ask(&self, request: &mut Request) -> Result<Answer, Error> {
        let (answer, waiting) = oneshot::channel();
        request.id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let mut content = Vec::new();
        request.write(&mut content);
        if content.len() > FRAME_BYTES_MAX {
            let message = format!("a request of {} bytes is over the bound of {FRAME_BYTES_MAX}", content.len());
            return Err(WireError::new(Code::FrameTooLarge, message).into());
        }
        {
            let mut state = self.shared.state.lock();
            if let Some(error) = &state.ended {
                return Err(Error::Unreachable(error.to_string()));
            }
            if state.out.len() > OUT_BYTES_MAX {
                return Err(WireError::new(Code::Overloaded, "too many requests wait to be written").into());
            }
            state.waiting.insert(request.id, answer);
            frame::append(&mut state.out, |out| out.extend_from_slice(&content));
        }
        self.shared.filled.notify_one();
        let _forget = Forget { shared: &self.shared, id: request.id };
        waiting.await.unwrap_or_else(|_| Err(Error::Lost("the connection ended".into())))
    }
}

/// What is answered on a stream of its own. Dropping it tells the host to stop.
pub(crate) struct Following {
    recv: RecvStream,
    buffer: BytesMut,
}

impl Following {
    /// The next answer. Safe to cancel.
    pub(crate) async fn next(&mut self) -> Result<Answer, Error> {
        let frame = next_frame(&mut self.recv, &mut self.buffer).await?;
        Answer::read(&frame).map_err(|error| Error::Protocol(error.to_string()))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.filled.notify_one();
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// Forgets a request that nobody waits for any more.
struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.state.lock().waiting.remove(&self.id);
    }
}

impl Shared {
    /// Tells everybody who waits that the connection has ended.
    fn end(&self, error: &Error) {
        let waiting = {
            let mut state = self.state.lock();
            state.ended.get_or_insert_with(|| error.clone());
            std::mem::take(&mut state.waiting)
        };
        for (_, answer) in waiting {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

async fn write(mut send: SendStream, shared: Arc<Shared>) {
    let mut out = Vec::with_capacity(GATHER_BYTES_MAX);
    loop {
        {
            let mut state = shared.state.lock();
            if state.closed && state.out.is_empty() || state.ended.is_some() {
                break;
            }
            std::mem::swap(&mut out, &mut state.out);
        }
        if out.is_empty() {
            shared.filled.notified().await;
            continue;
        }
        if let Err(error) = send.write_all(&out).await {
            return shared.end(&Error::Lost(error.to_string()));
        }
        out.clear();
    }
}

async fn read(mut recv: RecvStream, mut buffer: BytesMut, shared: Arc<Shared>) {
    loop {
        let answer = match next_frame(&mut recv, &mut buffer).await {
            Ok(frame) => Answer::read(&frame).map_err(|error| Error::Protocol(error.to_string())),
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => {
                let waiting = shared.state.lock().waiting.remove(&answer.id);
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Ok(answer));
                }
            }
            Err(error) => {
                shared.end(&error);
                return shared.filled.notify_one();
            }
        }
    }
}

async fn next_frame(recv: &mut RecvStream, buffer: &mut BytesMut) -> Result<Bytes, Error> {
    const READ_BYTES: usize = 64 << 10;
    loop {
        match frame::split(buffer, FRAME_BYTES_MAX) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(error) => return Err(Error::Protocol(error.to_string())),
        }
        match recv.read_chunk(READ_BYTES, true).await {
            Ok(Some(chunk)) => buffer.extend_from_slice(&chunk.bytes),
            Ok(None) => return Err(Error::Lost("the host ended the stream".into())),
            Err(error) => return Err(Error::Lost(error.to_string())),
        }
    }
}
