//! A connection for each acting principal, bounded in number.
//!
//! Each is made when its principal first acts. Beyond [`CONNECTIONS_MAX`] the one that has been idle longest is closed,
//! and what it saw is forgotten with it: a principal that comes back starts like a new one, its first write of an object
//! unconditional.

use std::collections::HashMap;
use std::sync::Arc;

use ostrakon_client::{Client, ClientConfig, Error};
use parking_lot::Mutex;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::PLAYS_AT_ONCE;
use super::sight::Seen;

/// Open connections.
const CONNECTIONS_MAX: usize = 512;
/// Sockets, those of connections that are being closed among them: processes are often held to 1024 files.
const SOCKETS_MAX: usize = 768;
/// Connections that are made at a time: more would only make each other miss the host's deadline for a hello.
const DIALS_AT_ONCE: usize = 32;

const _: () = assert!(PLAYS_AT_ONCE < CONNECTIONS_MAX && CONNECTIONS_MAX < SOCKETS_MAX);

/// One principal's connection, and what it saw.
#[derive(Default)]
pub(super) struct Connection {
    dialled: OnceCell<Dialled>,
    pub(super) seen: Mutex<Seen>,
}

struct Dialled {
    client: Client,
    /// Given back once the connection is closed.
    socket: OwnedSemaphorePermit,
}

/// The connections that are open.
pub(super) struct Connections {
    config: ClientConfig,
    open: Mutex<Open>,
    sockets: Arc<Semaphore>,
    dials: Semaphore,
}

#[derive(Default)]
struct Open {
    by_principal: HashMap<String, Used>,
    clock: u64,
}

struct Used {
    connection: Arc<Connection>,
    last: u64,
}

impl Connections {
    pub(super) fn new(config: ClientConfig) -> Self {
        Self {
            config,
            open: Mutex::default(),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            dials: Semaphore::new(DIALS_AT_ONCE),
        }
    }

    /// The connection of a principal, and the client on it.
    pub(super) async fn of(&self, principal: &str) -> Result<(Arc<Connection>, Client), Error> {
        let (connection, idlest) = self.open.lock().of(principal);
        if let Some(dialled) = idlest.and_then(|idlest| idlest.dialled.into_inner()) {
            tokio::spawn(dialled.close());
        }
        let client = connection.dialled.get_or_try_init(|| self.dial()).await?.client.clone();
        Ok((connection, client))
    }

    async fn dial(&self) -> Result<Dialled, Error> {
        let never_closed = "the semaphores live as long as the connections, and nobody closes them";
        let socket = Arc::clone(&self.sockets).acquire_owned().await.expect(never_closed);
        let _dial = self.dials.acquire().await.expect(never_closed);
        let client = Client::connect(self.config.clone()).await?;
        Ok(Dialled { client, socket })
    }

    /// Takes leave on every connection.
    pub(super) async fn close(&self) {
        let open = std::mem::take(&mut *self.open.lock());
        let mut closing = JoinSet::new();
        for used in open.by_principal.into_values() {
            let connection = Arc::into_inner(used.connection);
            if let Some(dialled) = connection.and_then(|connection| connection.dialled.into_inner()) {
                closing.spawn(dialled.close());
            }
        }
        closing.join_all().await;
    }
}

impl Dialled {
    async fn close(self) {
        self.client.close().await;
        drop(self.socket);
    }
}

impl Open {
    /// The connection of a principal, and the one that made room for it.
    fn of(&mut self, principal: &str) -> (Arc<Connection>, Option<Connection>) {
        self.clock += 1;
        if let Some(used) = self.by_principal.get_mut(principal) {
            used.last = self.clock;
            return (Arc::clone(&used.connection), None);
        }
        let full = self.by_principal.len() >= CONNECTIONS_MAX;
        let idlest = full.then(|| self.take_idlest()).flatten();
        let connection = Arc::<Connection>::default();
        let used = Used { connection: Arc::clone(&connection), last: self.clock };
        self.by_principal.insert(principal.to_owned(), used);
        (connection, idlest)
    }

    fn take_idlest(&mut self) -> Option<Connection> {
        let idle = self.by_principal.iter().filter(|(_, used)| Arc::strong_count(&used.connection) == 1);
        let (idlest, _) = idle.min_by_key(|(_, used)| used.last)?;
        let idlest = idlest.clone();
        self.by_principal.remove(&idlest).and_then(|used| Arc::into_inner(used.connection))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_idlest_connection_makes_room() {
        let mut open = Open::default();
        let (busy, _) = open.of("0");
        for principal in 1..CONNECTIONS_MAX {
            drop(open.of(&principal.to_string()));
        }
        drop(open.of("1"));
        drop(open.of("one more"));
        assert_eq!(open.by_principal.len(), CONNECTIONS_MAX);
        assert!(Arc::ptr_eq(&busy, &open.of("0").0), "it is in use");
        assert!(open.by_principal.contains_key("1"));
        assert!(!open.by_principal.contains_key("2"));
    }
}
