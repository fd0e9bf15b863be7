//! Plays mapped events against a host, over QUIC: the engine of `import` and of `demo`.
//!
//! What always holds:
//! - The events of one second of the trace run concurrently ([`PLAYS_AT_ONCE`] at a time); the next second begins when all
//!   of them are answered.
//! - Each acting principal has a connection of its own, and writes are conditional on what that connection last saw.
//! - A conflict is counted, then the same action is played again, under the same action id, on the winner.
//! - A trace that is played a second time under its own action ids changes nothing.
//!
//! It knows nothing of files, progress bars or summaries.

mod attempt;
mod connections;
mod counts;
mod latency;
mod one;
mod pace;
mod remade;
mod sight;

use std::ops::Range;
use std::sync::Arc;

use ostrakon_client::{Client, ClientConfig, Error};
use ostrakon_cloudtrail::{Play, bounds as mapping, seconds};
use ostrakon_wire::{Revision, bounds as wire};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::connect::{LEAVE, dial};
use crate::failure::Failure;
use connections::Connections;
use remade::Remade;

pub(crate) use counts::Counts;
pub(crate) use latency::Latencies;
pub(crate) use pace::Speed;

/// Events that are played at a time; what a second holds beyond them follows as these are answered.
const PLAYS_AT_ONCE: usize = 256;

/// The mapping checks ids and sizes without knowing the host: its bounds must be the host's.
const _: () = assert!(
    mapping::CLIENT_BYTES_MAX == wire::CLIENT_BYTES_MAX
        && mapping::TYPE_BYTES_MAX == wire::TYPE_BYTES_MAX
        && mapping::NAME_BYTES_MAX == wire::NAME_BYTES_MAX
        && mapping::PAYLOAD_BYTES_MAX == wire::PAYLOAD_BYTES_MAX
);

/// Events in order, and what is known of them as a whole.
pub(crate) struct Trace {
    plays: Vec<Play>,
    remade: Remade,
}

/// Whose ids the actions have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ids {
    /// Those of the events: the same in every import.
    OfTheTrace,
    /// New ones, whenever an event is played.
    New,
}

/// How a run of a trace ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Events that were played, from the first one on.
    pub(crate) played: usize,
    /// Whether somebody stopped it.
    pub(crate) stopped: bool,
    /// What made it impossible to go on.
    pub(crate) error: Option<Error>,
}

/// Plays traces against one host.
pub(crate) struct Player {
    /// A connection that plays nothing.
    client: Client,
    shared: Arc<Shared>,
}

/// What every play has at hand.
struct Shared {
    connections: Connections,
    counts: Mutex<Counts>,
    ids: Ids,
    /// The last commit before this player began.
    before: Revision,
}

impl Trace {
    /// Takes events in the order in which they were loaded.
    pub(crate) fn new(plays: Vec<Play>) -> Self {
        let remade = Remade::of(&plays);
        Self { plays, remade }
    }

    /// The events.
    pub(crate) fn plays(&self) -> &[Play] {
        &self.plays
    }

    /// How many of the first seconds hold at most `events` events: the place where the next second begins.
    pub(crate) fn seconds_within(&self, events: usize) -> usize {
        let ends = seconds(&self.plays).scan(0, |end, second| {
            *end += second.len();
            Some(*end)
        });
        ends.take_while(|end| *end <= events).last().unwrap_or(0)
    }
}

impl Player {
    /// Connects.
    pub(crate) async fn new(config: ClientConfig, ids: Ids) -> Result<Self, Failure> {
        let client = dial(config.clone()).await?;
        let before = client.info().await?.decided.position.revision;
        let shared = Arc::new(Shared { connections: Connections::new(config), counts: Mutex::default(), ids, before });
        Ok(Self { client, shared })
    }

    /// The connection that plays nothing.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What has come of it so far.
    pub(crate) fn counts(&self) -> Counts {
        self.shared.counts.lock().clone()
    }

    /// Plays some whole seconds of a trace; tells `progress` how many events were answered.
    pub(crate) async fn play(
        &self,
        trace: &Arc<Trace>,
        events: Range<usize>,
        speed: Speed,
        stop: &mut watch::Receiver<bool>,
        mut progress: impl FnMut(usize, &Counts),
    ) -> Ended {
        let pace = speed.start(trace.plays[events.clone()].first());
        let mut ended = Ended { played: events.start, stopped: false, error: None };
        let (mut running, mut answered) = (JoinSet::new(), events.start);
        let mut take = |answer: Result<Result<(), Error>, JoinError>, ended: &mut Ended| {
            answered += 1;
            progress(answered, &self.shared.counts.lock());
            let broken = |error: JoinError| Error::Protocol(format!("a play broke off: {error}"));
            if let Err(error) = answer.unwrap_or_else(|error| Err(broken(error))) {
                ended.error.get_or_insert(error);
            }
        };
        for second in seconds(&trace.plays[events]) {
            tokio::select! {
                () = pace.wait(second[0].second) => {}
                _ = stop.wait_for(|stop| *stop) => {}
            }
            for _ in second {
                if running.len() >= PLAYS_AT_ONCE
                    && let Some(answer) = running.join_next().await
                {
                    take(answer, &mut ended);
                }
                ended.stopped = *stop.borrow();
                if ended.stopped || ended.error.is_some() {
                    break;
                }
                let (shared, trace, index) = (Arc::clone(&self.shared), Arc::clone(trace), ended.played);
                running.spawn(async move { shared.play(&trace, &trace.plays[index]).await });
                ended.played += 1;
            }
            while let Some(answer) = running.join_next().await {
                take(answer, &mut ended);
            }
            if ended.stopped || ended.error.is_some() {
                break;
            }
        }
        ended
    }

    /// Takes leave of the host.
    pub(crate) async fn close(self) {
        let leaving = async { tokio::join!(self.shared.connections.close(), self.client.close()) };
        let _ = tokio::time::timeout(LEAVE, leaving).await;
    }
}
