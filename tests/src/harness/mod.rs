//! What the tests have in common: the binary, hosts that run it, and ways to talk to them.

mod authority;
mod binary;
mod collector;
mod components;
pub(crate) mod history;
mod host;
mod policies;
mod raw;
mod run;

use std::path::PathBuf;
use std::time::Duration;

use ostrakon_client::{
    Action, Code, Error, List, ObjectId, OnConflict, Operation, Payload, Perform, Reply, Target, Version, WireError,
    json,
};
use quinn::ConnectionError;

pub(crate) use authority::{Authority, client as client_certificate, server as server_certificate};
pub(crate) use binary::ostrakon;
pub(crate) use collector::{Collector, Manner, attributes};
pub(crate) use components::{component_file, prediction_of, shard_key_of};
pub(crate) use host::{Folder, Host, shared};
pub(crate) use policies::{Pushes, facts_json, slot, slot_of};
pub(crate) use raw::{Ended, Raw, Stream, Tls, endpoint};
pub(crate) use run::{Ran, command, finish, run};

/// How long anything may take that should be done at once; generous, as machines are busy.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// The workspace's own folder.
pub(crate) fn root() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap().to_owned()
}

/// What the work answers; a panic when it takes longer than [`BOUND`].
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(BOUND, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not done within {BOUND:?}"))
}

/// Looks again and again until there is something to see.
pub(crate) async fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look() {
                Some(seen) => return seen,
                None => tokio::time::sleep(Duration::from_millis(2)).await,
            }
        }
    };
    within(what, looking).await
}

/// An object; a test keeps apart from the others on a shared host by the client id.
pub(crate) fn object(client: &str, name: impl AsRef<str>) -> ObjectId {
    ObjectId::new(client, "thing", name.as_ref()).unwrap()
}

pub(crate) fn target(object: &ObjectId) -> Target {
    Target { object: object.clone(), shard_key: None }
}

/// All objects of a client, with payloads, a hundred on a page.
pub(crate) fn list_of(client: &str) -> List {
    List {
        client: client.into(),
        data_type: None,
        prefix: None,
        limit: 100,
        token: None,
        with_payloads: true,
        at: None,
    }
}

/// What a request was refused with.
#[track_caller]
pub(crate) fn refused(outcome: Result<impl std::fmt::Debug, Error>) -> WireError {
    match outcome {
        Err(Error::Refused(error)) => *error,
        other => panic!("it was not refused: {other:?}"),
    }
}

/// Numbers from a seed.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

pub(crate) fn read(object: &ObjectId) -> Operation {
    Operation::Read(target(object))
}

/// A structured payload.
pub(crate) fn structured(value: &serde_json::Value) -> Payload {
    Payload::from_value(&json::from_json(value).unwrap()).unwrap()
}

/// A structured payload as JSON.
pub(crate) fn as_json(payload: &Payload) -> serde_json::Value {
    json::to_json(&payload.value().unwrap())
}

/// What a host says of itself.
pub(crate) async fn info(client: &ostrakon_client::Client) -> serde_json::Value {
    facts_json(client.info().await.unwrap().facts)
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(number)
}

/// Holds that somebody who comes now is let in and answered.
pub(crate) async fn serves(host: &Host) {
    serves_as(host, Tls::of(host)).await;
}

/// The same of somebody with this certificate.
pub(crate) async fn serves_as(host: &Host, tls: Tls) {
    let (_raw, mut stream) = Raw::dial(host, tls).await.unwrap().hello().await;
    works(&mut stream).await;
}

/// Holds that a stream is served.
pub(crate) async fn works(stream: &mut Stream) {
    let reply = stream.ask(Operation::ShardMap(ostrakon_wire::AskMap::default())).await.unwrap();
    assert!(matches!(reply, Reply::ShardMap(_)), "{reply:?}");
}

/// Holds that the host closes the connection with this code.
pub(crate) async fn closes(raw: &Raw, code: Code) {
    match raw.closed().await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(u64::from(close.error_code), u64::from(code.number()), "{close}");
        }
        other => panic!("{other}"),
    }
}

/// A write that asks for nothing.
pub(crate) fn act(object: &ObjectId, action: Action) -> Operation {
    Operation::Perform(Perform {
        target: target(object),
        action,
        known: None,
        action_id: None,
        on_conflict: OnConflict::Reject,
    })
}
