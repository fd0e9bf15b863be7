//! A stream that watches: one request, then frames of the feed until either end has enough.
//!
//! While the client leaves frames unread nothing more is taken from the feed, so what waits for it is bounded.

use std::time::Duration;

use ostrakon_wire::answer::Events;
use ostrakon_wire::{Answer, Code, Reply, Watch, WireError};
use quinn::{RecvStream, SendStream};
use tokio::time::{Instant, sleep_until};

use crate::connection::ConnectionShared;
use crate::stream::{Broken, due};
use crate::told_to_stop;
use crate::unsent::Unsent;

/// Tells a client what it watches. Ends when the client stops the stream, the host stops, or the feed cannot go on.
pub(crate) async fn serve(
    send: &mut SendStream,
    recv: &mut RecvStream,
    id: u64,
    watch: &Watch,
    shared: &ConnectionShared,
) -> Result<(), Broken> {
    let mut unsent = Unsent::new(shared.host.deadlines.write);
    let mut watching = match shared.host.engine.watch(watch) {
        Ok(watching) => watching,
        Err(error) => {
            unsent.append(&Answer { id, outcome: Err(error) });
            return unsent.write_all(send).await;
        }
    };
    let events = |events: Events| Answer { id, outcome: Ok(Reply::Events(events)) };
    // Where it begins, so that a client that is cut off before anything happens knows where to go on.
    unsent.append(&events(watching.begins()));
    let every = Duration::from_millis(watch.bookmark_ms.into());
    let mut quiet = Instant::now() + every;
    let mut stopping = shared.host.stopping.clone();
    let mut stop = std::pin::pin!(told_to_stop(&mut stopping));
    let mut stopped = std::pin::pin!(send.stopped());
    let mut reading = true;
    loop {
        unsent.write_now(send)?;
        let (may_take, unread_due) = (unsent.is_empty(), unsent.due());
        // What is being read for it is not cut off to say that there is nothing.
        let idle = watching.is_idle();
        tokio::select! {
            biased;
            () = &mut stop => {
                let draining = WireError::new(Code::Draining, "the host is stopping; watch again from the last place");
                unsent.append(&Answer { id, outcome: Err(draining) });
                return unsent.write_all(send).await;
            }
            _ = &mut stopped => return Ok(()),
            written = unsent.write_some(send), if !may_take => written?,
            () = due(unread_due), if !may_take => return Err(Broken::Protocol(Code::TooSlow)),
            // A client may have said that it asks for nothing more; what it has asked for goes on.
            chunk = recv.read_chunk(1, true), if reading => match chunk? {
                Some(_) => return Err(Broken::Protocol(Code::Malformed)),
                None => reading = false,
            },
            told = watching.next(), if may_take => {
                quiet = Instant::now() + every;
                match told {
                    Ok(told) => unsent.append(&events(told)),
                    Err(error) => {
                        unsent.append(&Answer { id, outcome: Err(error) });
                        return unsent.write_all(send).await;
                    }
                }
            }
            () = sleep_until(quiet), if may_take && idle => {
                quiet = Instant::now() + every;
                if let Some(bookmark) = watching.bookmark() {
                    unsent.append(&events(bookmark));
                }
            }
        }
    }
}

/// What a stream was found to be.
pub(crate) enum Kind {
    /// It is at its end.
    Ended,
    /// It watches from now on: the request's number, and what it asks for.
    Watches(u64, Box<Watch>),
}

/// Holds that nothing follows the request on its stream.
pub(crate) fn hold_alone(buffer: &[u8]) -> Result<(), Broken> {
    if buffer.is_empty() { Ok(()) } else { Err(Broken::Protocol(Code::Malformed)) }
}
