//! The QUIC listener: TLS and identity, connections, streams, admission, and a stop that keeps promises.
//!
//! [`ServerConfig`] is plain data; [`Server::bind`] takes the socket; [`Server::run`] serves until it is told to stop,
//! then drains.

mod admission;
mod connection;
mod deadlines;
pub mod dev;
mod fair;
mod feed;
mod line;
mod otlp;
mod peer;
mod room;
mod socket;
mod stream;
mod tls;
mod traced;
mod unsent;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ostrakon_engine::Engine;
use ostrakon_wire::bounds::{
    CONNECTION_WINDOW_BYTES, SEND_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX, WAIT_TICK_MS,
    WATCHING_THREADS,
};
use quinn::{Endpoint, EndpointConfig, Incoming, TokioRuntime, VarInt};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::fair::Fair;

use admission::{Admission, Places};
pub use deadlines::{Deadlines, InvalidDeadline};
pub use otlp::{Collector, Export, ExportError, InvalidCollector};
pub use tls::{Identity, TlsError};
pub use traced::Sampling;

/// How to listen.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who the host is, and whose clients it serves.
    pub identity: Identity,
    /// How long peers may take.
    pub deadlines: Deadlines,
    /// Which requests are traced, where traces are exported.
    pub sampling: Option<Sampling>,
}

/// Why a server does not listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("a thread cannot be started: {0}")]
    Thread(std::io::Error),
}

/// A listening server.
pub struct Server {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
    watching: Runtime,
}

/// What every connection has at hand.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    /// Turns true once, when the server is to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    pub(crate) deadlines: Deadlines,
    pub(crate) sampling: Option<Sampling>,
    /// What part of it all each connection may use.
    pub(crate) fair: Arc<Fair>,
    /// Where those are told who watch: on threads that give way to the others.
    pub(crate) watching: Handle,
    places: Arc<Places>,
}

impl Server {
    /// Takes the address. `stopping` turns true when the server is to stop.
    pub fn bind(
        config: &ServerConfig,
        engine: Arc<Engine>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, BindError> {
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(config.identity.server_crypto()?));
        quic.transport_config(Arc::new(transport(&config.deadlines)));
        let listen = |source| BindError::Listen { address: config.listen, source };
        let socket = socket::bind(config.listen).map_err(listen)?;
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(quic), socket, Arc::new(TokioRuntime));
        let endpoint = endpoint.map_err(listen)?;
        let address = endpoint.local_addr().map_err(listen)?;
        let (deadlines, places, fair) = (config.deadlines, Arc::default(), Arc::new(Fair::new()));
        let watching = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WATCHING_THREADS)
            .thread_name("watch")
            .on_thread_start(ostrakon_background::give_way)
            .enable_time()
            .build()
            .map_err(BindError::Thread)?;
        let watching_on = watching.handle().clone();
        let sampling = config.sampling;
        let shared = Arc::new(Shared { engine, stopping, deadlines, sampling, fair, watching: watching_on, places });
        Ok(Self { endpoint, address, shared, watching })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until it is told to stop; then takes nothing new, answers what it has taken, and returns. `false`: some
    /// connections had to be cut off.
    pub async fn run(self) -> bool {
        let mut connections = JoinSet::new();
        let mut stopping = self.shared.stopping.clone();
        let mut ticks = tokio::time::interval(Duration::from_millis(WAIT_TICK_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
                _ = ticks.tick() => self.shared.fair.tick(),
                () = told_to_stop(&mut stopping) => break,
            }
        }
        let drained = tokio::time::timeout(self.shared.deadlines.drain, self.drain(&mut connections)).await;
        connections.abort_all();
        self.watching.shutdown_background();
        self.endpoint.close(VarInt::from_u32(0), b"the host is stopping");
        // Peers that went away without a word are not waited for.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.endpoint.wait_idle()).await;
        drained.is_ok()
    }

    /// Waits for the connections to end; turns new ones away.
    async fn drain(&self, connections: &mut JoinSet<()>) {
        loop {
            tokio::select! {
                ended = connections.join_next() => if ended.is_none() { return },
                Some(incoming) = self.endpoint.accept() => incoming.refuse(),
            }
        }
    }

    /// Starts a connection, or turns it away.
    fn admit(&self, incoming: Incoming, connections: &mut JoinSet<()>) {
        let address_proved = incoming.remote_address_validated() || !incoming.may_retry();
        match self.shared.places.admit(address_proved) {
            Admission::In(place) => {
                drop(connections.spawn(connection::serve(incoming, Arc::clone(&self.shared), place)))
            }
            // Cannot fail: the incoming connection was just asked whether it may be retried.
            Admission::ProveAddress => drop(incoming.retry()),
            Admission::Full => incoming.refuse(),
        }
    }
}

fn transport(deadlines: &Deadlines) -> quinn::TransportConfig {
    let idle_ms = deadlines.idle.as_millis().try_into().expect("its bound has 32 bits");
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_PER_CONNECTION_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()));
    transport
}

/// Waits until the server is to stop.
pub(crate) async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Its sender lives as long as the server is wanted; without it there is nobody left to serve for.
    drop(stopping.wait_for(|stopping| *stopping).await);
}
