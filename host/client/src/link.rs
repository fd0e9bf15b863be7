//! The client: one connection that is made again when it ends.

use std::sync::Arc;
use std::time::Duration;

use ostrakon_wire::{Operation, Reply, Request, TimestampMs, TraceParent};
use quinn::Endpoint;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::ClientConfig;
use crate::connection::{Following, Wire};
use crate::error::Error;
use crate::retry;

/// A handle of one connection to a host. Clones share it.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    trace_parent: Option<TraceParent>,
    timestamp: Option<TimestampMs>,
}

struct Inner {
    config: ClientConfig,
    quic: quinn::ClientConfig,
    endpoint: Endpoint,
    wire: Mutex<Option<Arc<Wire>>>,
}

impl Client {
    /// Connects. Fails at once where the host cannot be reached or the configuration cannot be used.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let quic = config.quic()?;
        let any: std::net::SocketAddr = match config.addresses()?.first() {
            Some(address) if address.is_ipv6() => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
            _ => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        };
        let endpoint = Endpoint::client(any).map_err(|error| Error::Unreachable(error.to_string()))?;
        let deadline = Instant::now() + config.deadline;
        let inner = Arc::new(Inner { config, quic, endpoint, wire: Mutex::default() });
        let client = Self { inner, trace_parent: None, timestamp: None };
        timeout_at(deadline, client.wire()).await.unwrap_or(Err(Error::Deadline))?;
        Ok(client)
    }

    /// The same connection, with every request carrying this trace parent.
    pub fn with_trace_parent(&self, trace_parent: TraceParent) -> Self {
        Self { trace_parent: Some(trace_parent), ..self.clone() }
    }

    /// The same connection, with every request carrying this time instead of the host's.
    pub fn with_timestamp(&self, timestamp: TimestampMs) -> Self {
        Self { timestamp: Some(timestamp), ..self.clone() }
    }

    /// Sends one operation as it is and waits for its outcome: the deadline holds, safe repeats are made.
    pub async fn ask(&self, operation: Operation) -> Result<Reply, Error> {
        let deadline = Instant::now() + self.inner.config.deadline;
        let mut request = Request { id: 0, trace_parent: self.trace_parent, timestamp: self.timestamp, operation };
        let mut attempt = 0;
        loop {
            let tried = timeout_at(deadline, self.try_once(&mut request)).await;
            let error = match tried.unwrap_or(Err(Error::Deadline)) {
                Ok(reply) => return Ok(reply),
                Err(error) => error,
            };
            if matches!(error, Error::Deadline) {
                // The host may have been restarted without a word: the next request dials anew.
                if let Ok(mut wire) = self.inner.wire.try_lock() {
                    wire.take();
                }
            }
            attempt += 1;
            let pause = retry::wait(attempt, &error, jitter());
            if !retry::may_repeat(&request.operation, &error) || Instant::now() + pause >= deadline {
                return Err(error);
            }
            sleep(pause).await;
        }
    }

    /// How long a request may take.
    pub(crate) fn deadline(&self) -> Duration {
        self.inner.config.deadline
    }

    /// Opens a stream for one operation that is answered many times.
    pub(crate) async fn follow(&self, operation: Operation) -> Result<Following, Error> {
        let deadline = Instant::now() + self.inner.config.deadline;
        let mut request = Request { id: 0, trace_parent: self.trace_parent, timestamp: self.timestamp, operation };
        let opened = timeout_at(deadline, async { self.wire().await?.follow(&mut request).await }).await;
        opened.unwrap_or(Err(Error::Deadline))
    }

    async fn try_once(&self, request: &mut Request) -> Result<Reply, Error> {
        let wire = self.wire().await?;
        let answer = wire.ask(request).await?;
        Ok(answer.outcome?)
    }

    /// The live connection; made anew if the last one has ended.
    async fn wire(&self) -> Result<Arc<Wire>, Error> {
        let mut wire = self.inner.wire.lock().await;
        match wire.as_ref().filter(|wire| wire.is_live()) {
            Some(wire) => Ok(Arc::clone(wire)),
            None => {
                *wire = None;
                let fresh = Arc::new(self.inner.dial().await?);
                *wire = Some(Arc::clone(&fresh));
                Ok(fresh)
            }
        }
    }

    /// Closes the connection and waits until the host knows.
    pub async fn close(self) {
        drop(self.inner.wire.lock().await.take());
        let _ = tokio::time::timeout(Duration::from_secs(1), self.inner.endpoint.wait_idle()).await;
    }
}

impl Inner {
    async fn dial(&self) -> Result<Wire, Error> {
        let name = self.config.certificate_name();
        let mut last = Error::Unreachable("it stands for no address".into());
        for address in self.config.addresses()? {
            let connecting = self
                .endpoint
                .connect_with(self.quic.clone(), address, &name)
                .map_err(|error| Error::Unreachable(error.to_string()))?;
            match connecting.await {
                Ok(connection) => return Wire::greet(connection, &self.config.agent).await,
                Err(error) => last = Error::Unreachable(format!("{address}: {error}")),
            }
        }
        Err(last)
    }
}

/// A number between 0 and 1 that differs from call to call and from process to process.
pub(crate) fn jitter() -> f64 {
    let bits = uuid::Uuid::now_v7().as_u128() as u32;
    f64::from(bits) / f64::from(u32::MAX)
}
