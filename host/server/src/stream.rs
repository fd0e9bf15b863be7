//! One stream: requests in, answers out as they are ready, gathered into as few writes as there can be.
//!
//! One task reads, works and writes. What comes while it has as many requests in work as it may waits in its line, and is
//! refused when the line is too long. It reads no further while the client leaves answers unread, or while it has refused
//! more than goes with what it has answered: refusals cost as well. So a client is slowed by QUIC's own flow control and
//! nothing piles up. What is in work ends meanwhile, and gives back its share of the connection's room, until a bound of
//! answers is gathered.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use ostrakon_engine::Context;
use ostrakon_wire::bounds::{ANSWERS_OF_REFUSAL, FRAME_BYTES_MAX, IN_FLIGHT_PER_STREAM_MAX, REFUSALS_AHEAD_MAX};
use ostrakon_wire::{Answer, Code, Operation, Request, Watch, WireError, frame};
use quinn::{ReadError, RecvStream, SendStream, VarInt, WriteError};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::Instrument;

use crate::connection::{ConnectionShared, close_code};
use crate::feed::{self, Kind};
use crate::line::{Line, TooLong, refusal};
use crate::room::{Permit, shares};
use crate::told_to_stop;
use crate::traced::trace_of;
use crate::unsent::Unsent;

/// A stream, and what was read of it already.
pub(crate) struct StreamParts {
    pub(crate) send: SendStream,
    pub(crate) recv: RecvStream,
    pub(crate) buffer: BytesMut,
}

/// Why a stream is given up before its end.
pub(crate) enum Broken {
    /// The client broke the protocol in a way that has no request to answer to.
    Protocol(Code),
    /// The client gave the stream up, with this code, or the connection is gone.
    Gone(VarInt),
}

impl From<WriteError> for Broken {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stopped(code) => Self::Gone(code),
            _ => Self::Gone(NO_ERROR),
        }
    }
}

impl From<ReadError> for Broken {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Reset(code) => Self::Gone(code),
            _ => Self::Gone(NO_ERROR),
        }
    }
}

/// Refusals before any answer, in the answers that they are drawn on.
const CREDIT_MAX: usize = REFUSALS_AHEAD_MAX * ANSWERS_OF_REFUSAL;

const NO_ERROR: VarInt = VarInt::from_u32(0);

const READ_BYTES: usize = 64 << 10;
/// How long a finished stream waits for its answers to be acknowledged when the host stops.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(3);

pub(crate) async fn serve(parts: StreamParts, shared: Arc<ConnectionShared>) {
    let StreamParts { mut send, mut recv, mut buffer } = parts;
    match run(&mut send, &mut recv, &mut buffer, &shared).await {
        Ok(Kind::Ended) => end(send, recv, &shared, Ok(())).await,
        Ok(Kind::Watches(id, watch)) => {
            let host = Arc::clone(&shared.host);
            let watching = async move {
                let served = match feed::hold_alone(&buffer) {
                    Ok(()) => feed::serve(&mut send, &mut recv, id, &watch, &shared).await,
                    Err(broken) => Err(broken),
                };
                end(send, recv, &shared, served).await;
            };
            // It ends when the host stops, or with its threads.
            drop(host.watching.spawn(watching).await);
        }
        Err(broken) => end(send, recv, &shared, Err(broken)).await,
    }
}

/// Ends a stream that is served, or is given up.
async fn end(mut send: SendStream, mut recv: RecvStream, shared: &ConnectionShared, served: Result<(), Broken>) {
    match served {
        Ok(()) => {
            if send.finish().is_ok() && *shared.host.stopping.borrow() {
                let _ = timeout(DELIVERY_DEADLINE, send.stopped()).await;
            }
        }
        Err(Broken::Protocol(code)) => give_up(&mut send, &mut recv, close_code(code)),
        Err(Broken::Gone(code)) => give_up(&mut send, &mut recv, code),
    }
}

/// Ends both directions with a code. A stream that just ended would look as if all had been answered.
fn give_up(send: &mut SendStream, recv: &mut RecvStream, code: VarInt) {
    let _ = send.reset(code);
    let _ = recv.stop(code);
}

async fn run(
    send: &mut SendStream,
    recv: &mut RecvStream,
    buffer: &mut BytesMut,
    shared: &ConnectionShared,
) -> Result<Kind, Broken> {
    let mut stopping = shared.host.stopping.clone();
    let mut stop = std::pin::pin!(told_to_stop(&mut stopping));
    let mut working = FuturesUnordered::new();
    let deadlines = shared.host.deadlines;
    let mut unsent = Unsent::new(deadlines.write);
    let mut reading = true;
    // Whole frames for which there is no room yet.
    let mut line = Line::new(&shared.room);
    // Answers that refusals may still be drawn on.
    let mut credit = CREDIT_MAX;
    // Whether nothing but one request has come.
    let mut requests = 0_u64;
    // A frame that was begun must end by then.
    let mut frame_due: Option<Instant> = None;
    loop {
        let taking = unsent.is_empty();
        while taking && working.len() < IN_FLIGHT_PER_STREAM_MAX && !line.is_empty() {
            let Some(permit) = shared.room.try_enter_waited(line.first_shares()) else { break };
            working.extend(line.pop().map(|frame| work(frame, permit, shared)));
        }
        let mut held_up = is_held_up(credit, &line);
        while taking && !held_up {
            let next = frame::split(buffer, FRAME_BYTES_MAX).map_err(|_| Broken::Protocol(Code::FrameTooLarge))?;
            let Some(frame) = next else { break };
            requests += 1;
            let may_enter = line.is_empty() && working.len() < IN_FLIGHT_PER_STREAM_MAX;
            match may_enter.then(|| shared.room.try_enter(shares(frame.len()))).flatten() {
                Some(permit) => working.push(work(frame, permit, shared)),
                None => {
                    if let Err(TooLong(frame)) = line.join(frame) {
                        credit = credit.saturating_sub(ANSWERS_OF_REFUSAL);
                        shared.host.engine.refused_unread(Code::Overloaded);
                        unsent.append(&refusal(&frame).map_err(Broken::Protocol)?);
                    }
                }
            }
            held_up = is_held_up(credit, &line);
        }
        if taking {
            unsent.write_now(send)?;
        }
        let may_take = unsent.is_empty();
        let may_read = reading && may_take && !held_up;
        let begun = may_read && !buffer.is_empty();
        frame_due = if begun { frame_due.or_else(|| Some(Instant::now() + deadlines.frame)) } else { None };
        if !reading && line.is_empty() && working.is_empty() && unsent.is_empty() {
            return Ok(Kind::Ended);
        }
        // A frame is not waited for while answers are.
        let next_due = unsent.due().or(frame_due);
        let (may_answer, may_write) = (!working.is_empty() && !unsent.is_full(), !unsent.is_empty());
        let may_enter = may_take && !line.is_empty() && working.len() < IN_FLIGHT_PER_STREAM_MAX;
        tokio::select! {
            biased;
            () = &mut stop, if reading => reading = false,
            written = unsent.write_some(send), if may_write => written?,
            Some(answered) = working.next(), if may_answer => {
                match answered.map_err(Broken::Protocol)? {
                    Worked::Watch(id, watch) if requests == 1 => return Ok(Kind::Watches(id, watch)),
                    worked => unsent.append(&worked.answer()),
                }
                let mut answers = 1;
                if !working.is_empty() {
                    // Answers of one commit group come close together: one turn for the others, and they travel together.
                    tokio::task::yield_now().await;
                }
                while !unsent.is_full() && let Some(Some(answered)) = working.next().now_or_never() {
                    unsent.append(&answered.map_err(Broken::Protocol)?.answer());
                    answers += 1;
                }
                credit = (credit + answers).min(CREDIT_MAX);
                unsent.write_now(send)?;
            }
            chunk = recv.read_chunk(READ_BYTES, true), if may_read => match chunk? {
                Some(chunk) => {
                    let before = buffer.len();
                    buffer.extend_from_slice(&chunk.bytes);
                    if before > 0 && frame_ended(before, buffer) {
                        frame_due = None;
                    }
                }
                None if !buffer.is_empty() => return Err(Broken::Protocol(Code::Malformed)),
                None => reading = false,
            },
            permit = shared.room.enter(line.first_shares()), if may_enter => {
                working.extend(line.pop().map(|frame| work(frame, permit, shared)));
            }
            () = due(next_due), if next_due.is_some() => return Err(Broken::Protocol(Code::TooSlow)),
        }
    }
}

/// Whether what comes next would be refused, and no refusal is left.
fn is_held_up(credit: usize, line: &Line<'_>) -> bool {
    credit < ANSWERS_OF_REFUSAL && !line.is_empty() && line.is_too_long()
}

/// Whether the frame that `before` bytes began is whole now.
fn frame_ended(before: usize, buffer: &BytesMut) -> bool {
    let prefix = buffer.first_chunk::<{ frame::PREFIX_BYTES }>();
    prefix.is_some_and(|prefix| {
        let whole = frame::PREFIX_BYTES + u32::from_be_bytes(*prefix) as usize;
        before < whole && buffer.len() >= whole
    })
}

pub(crate) async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Works one frame out. `Err`: nothing in it says which request to answer.
async fn work(frame: Bytes, room: Permit<'_>, shared: &ConnectionShared) -> Result<Worked, Code> {
    let request = match Request::read(&frame) {
        Ok(request) => request,
        Err((Some(id), error)) => {
            return Ok(Worked::Answer(Answer { id, outcome: Err(error) }));
        }
        Err((None, error)) => return Err(error.code),
    };
    if *shared.host.stopping.borrow() {
        let outcome = Err(WireError::new(Code::Draining, "the host is stopping"));
        return Ok(Worked::Answer(Answer { id: request.id, outcome }));
    }
    if let Operation::Watch(watch) = request.operation {
        return Ok(Worked::Watch(request.id, Box::new(watch)));
    }
    let trace = trace_of(&request, shared.host.sampling);
    let context = Context { timestamp: request.timestamp, by: shared.peer.clone(), caller: shared.caller, trace };
    let handled = shared.host.engine.handle(&request.operation, context);
    let outcome = match request.trace_parent {
        None => handled.await,
        Some(parent) => handled.instrument(tracing::debug_span!("request", traceparent = %parent)).await,
    };
    // Uploads and retention, which also count as reads, come seldom.
    if outcome.is_ok() && !request.operation.is_read() {
        room.has_written();
    }
    Ok(Worked::Answer(Answer { id: request.id, outcome }))
}

/// What a request comes to.
// Nearly all are answers: a box would be an allocation a request.
#[allow(clippy::large_enum_variant)]
enum Worked {
    Answer(Answer),
    /// It wants the stream for itself.
    Watch(u64, Box<Watch>),
}

impl Worked {
    /// The answer; to a watch that shares its stream, that it may not.
    fn answer(self) -> Answer {
        match self {
            Self::Answer(answer) => answer,
            Self::Watch(id, _) => {
                let outcome = Err(WireError::new(Code::Malformed, "a watch has a stream of its own"));
                Answer { id, outcome }
            }
        }
    }
}
