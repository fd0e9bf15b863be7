//! The QUIC listener: TLS and identity, connections, streams, admission, and a stop that keeps promises.
//!
//! [`ServerConfig`] is plain data; [`Server::bind`] takes the socket; [`Server::run`] serves until it is told to stop,
//! then drains.

mod connection;
pub mod dev;
mod stream;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ostrakon_engine::Engine;
use ostrakon_wire::bounds::{
    CONNECTION_WINDOW_BYTES, CONNECTIONS_MAX, DRAIN_DEADLINE_MS, HELLO_DEADLINE_MS, IDLE_TIMEOUT_MS, SEND_WINDOW_BYTES,
    STREAM_WINDOW_BYTES, STREAMS_PER_CONNECTION_MAX,
};
use quinn::{Endpoint, Incoming, VarInt};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use tls::{Identity, TlsError};

/// How to listen.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Where; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Who the host is, and whose clients it serves.
    pub identity: Identity,
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
}

/// A listening server.
pub struct Server {
    endpoint: Endpoint,
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// What every connection has at hand.
pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    /// Turns true once, when the server is to stop.
    pub(crate) stopping: watch::Receiver<bool>,
    connections: AtomicUsize,
}

/// Counts a connection while it lives.
pub(crate) struct ConnectionPermit(Arc<Shared>);

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Server {
    /// Takes the address. `stopping` turns true when the server is to stop.
    pub fn bind(
        config: &ServerConfig,
        engine: Arc<Engine>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, BindError> {
        let mut quic = quinn::ServerConfig::with_crypto(Arc::new(config.identity.server_crypto()?));
        quic.transport_config(Arc::new(transport()));
        let listen = |source| BindError::Listen { address: config.listen, source };
        let endpoint = Endpoint::server(quic, config.listen).map_err(listen)?;
        let address = endpoint.local_addr().map_err(listen)?;
        let shared = Arc::new(Shared { engine, stopping, connections: AtomicUsize::new(0) });
        Ok(Self { endpoint, address, shared })
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
        loop {
            tokio::select! {
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming, &mut connections),
                    None => break,
                },
                Some(_) = connections.join_next() => {}
                () = told_to_stop(&mut stopping) => break,
            }
        }
        let deadline = Duration::from_millis(DRAIN_DEADLINE_MS);
        let drained = tokio::time::timeout(deadline, self.drain(&mut connections)).await;
        connections.abort_all();
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

    /// Starts a connection, or turns it away where there are as many as there may be. Past half of that a peer must show
    /// that it owns its address before it costs anything.
    fn admit(&self, incoming: Incoming, connections: &mut JoinSet<()>) {
        let open = self.shared.connections.load(Ordering::Relaxed);
        if open >= CONNECTIONS_MAX {
            incoming.refuse();
        } else if open >= CONNECTIONS_MAX / 2 && !incoming.remote_address_validated() && incoming.may_retry() {
            // Cannot fail: the incoming connection was just asked whether it may be retried.
            let _ = incoming.retry();
        } else {
            self.shared.connections.fetch_add(1, Ordering::Relaxed);
            let permit = ConnectionPermit(Arc::clone(&self.shared));
            connections.spawn(connection::serve(incoming, Arc::clone(&self.shared), permit));
        }
    }
}

fn transport() -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_PER_CONNECTION_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(VarInt::from_u32(IDLE_TIMEOUT_MS as u32).into()));
    transport
}

/// Waits until the server is to stop.
pub(crate) async fn told_to_stop(stopping: &mut watch::Receiver<bool>) {
    // Its sender lives as long as the server is wanted; without it there is nobody left to serve for.
    drop(stopping.wait_for(|stopping| *stopping).await);
}

pub(crate) const HELLO_DEADLINE: Duration = Duration::from_millis(HELLO_DEADLINE_MS);
