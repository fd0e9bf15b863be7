//! etcd: how it is started, and as much of its API as is needed.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::{free_ports, program};

pub(crate) use message::{Compare, KeyValue, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse};

/// Objects that are made in one request: as many operations as a transaction may have.
const CREATE_AT_A_TIME: usize = 128;
/// How long it may listen before it has a leader.
const LEADER_DEADLINE: Duration = Duration::from_secs(20);
const MOD_REVISION: i32 = 2;

/// The parts of etcd's `rpc.proto` and `kv.proto` that are needed here, by their field numbers.
mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct RangeRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) range_end: Vec<u8>,
        #[prost(int64, tag = "3")]
        pub(crate) limit: i64,
        #[prost(bool, tag = "8")]
        pub(crate) keys_only: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct KeyValue {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) key: Vec<u8>,
        #[prost(int64, tag = "3")]
        pub(crate) mod_revision: i64,
        #[prost(int64, tag = "4")]
        pub(crate) version: i64,
        #[prost(bytes = "vec", tag = "5")]
        pub(crate) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct RangeResponse {
        #[prost(message, repeated, tag = "2")]
        pub(crate) kvs: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) value: Vec<u8>,
    }

    /// `result` is left at 0, equal.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct Compare {
        /// 2: the revision of the last change.
        #[prost(int32, tag = "2")]
        pub(crate) target: i32,
        #[prost(bytes = "vec", tag = "3")]
        pub(crate) key: Vec<u8>,
        #[prost(int64, optional, tag = "6")]
        pub(crate) mod_revision: Option<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct RequestOp {
        #[prost(message, optional, tag = "1")]
        pub(crate) range: Option<RangeRequest>,
        #[prost(message, optional, tag = "2")]
        pub(crate) put: Option<PutRequest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TxnRequest {
        #[prost(message, repeated, tag = "1")]
        pub(crate) compare: Vec<Compare>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) success: Vec<RequestOp>,
        #[prost(message, repeated, tag = "3")]
        pub(crate) failure: Vec<RequestOp>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ResponseHeader {
        #[prost(int64, tag = "3")]
        pub(crate) revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct ResponseOp {
        #[prost(message, optional, tag = "1")]
        pub(crate) range: Option<RangeResponse>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(crate) struct TxnResponse {
        #[prost(message, optional, tag = "1")]
        pub(crate) header: Option<ResponseHeader>,
        #[prost(bool, tag = "2")]
        pub(crate) succeeded: bool,
        #[prost(message, repeated, tag = "3")]
        pub(crate) responses: Vec<ResponseOp>,
    }
}

impl RangeRequest {
    /// The object of one key.
    pub(crate) fn of(key: &[u8]) -> Self {
        Self { key: key.to_vec(), ..Self::default() }
    }
}

impl Compare {
    /// Whether a key was changed last at this revision.
    pub(crate) fn changed_at(key: &[u8], revision: i64) -> Self {
        Self { target: MOD_REVISION, key: key.to_vec(), mod_revision: Some(revision) }
    }
}

impl RequestOp {
    pub(crate) fn put(key: &[u8], value: Vec<u8>) -> Self {
        Self { range: None, put: Some(message::PutRequest { key: key.to_vec(), value }) }
    }

    pub(crate) fn range(key: &[u8]) -> Self {
        Self { range: Some(RangeRequest::of(key)), put: None }
    }
}

impl TxnResponse {
    /// The revision at which it was done.
    pub(crate) fn revision(&self) -> anyhow::Result<i64> {
        Ok(self.header.as_ref().context("an answer has a revision")?.revision)
    }

    /// What the ranges found, each of one key.
    pub(crate) fn found(self) -> impl Iterator<Item = Option<KeyValue>> {
        self.responses.into_iter().map(|response| response.range?.kvs.into_iter().next())
    }
}

pub(super) fn command(system: &Path, data: &Path) -> anyhow::Result<(Command, u16)> {
    let [port, peers] = free_ports()?;
    let (clients, peers) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peers}"));
    let mut command = program(system, "etcd");
    command.args(["--name", "one", "--log-level", "error", "--quota-backend-bytes", "8589934592"]);
    command.arg("--data-dir").arg(data.join("etcd"));
    command.args(["--listen-client-urls", &clients, "--advertise-client-urls", &clients]);
    command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
    command.arg("--initial-cluster").arg(format!("one={peers}"));
    Ok((command, port))
}

/// A connection; its clones share it.
#[derive(Clone)]
pub(crate) struct Etcd(Grpc<Channel>);

impl Etcd {
    pub(crate) async fn connect(port: u16) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
        Ok(Self(Grpc::new(endpoint.connect().await.context("etcd does not take a connection")?)))
    }

    pub(crate) async fn range(&mut self, request: RangeRequest) -> anyhow::Result<RangeResponse> {
        self.call("/etcdserverpb.KV/Range", request).await
    }

    pub(crate) async fn txn(&mut self, request: TxnRequest) -> anyhow::Result<TxnResponse> {
        self.call("/etcdserverpb.KV/Txn", request).await
    }

    async fn call<A, R>(&mut self, path: &'static str, request: A) -> anyhow::Result<R>
    where
        A: Message + 'static,
        R: Message + Default + 'static,
    {
        self.0.ready().await?;
        let path = PathAndQuery::from_static(path);
        let answer = self.0.unary(tonic::Request::new(request), path, ProstCodec::<A, R>::default()).await?;
        Ok(answer.into_inner())
    }

    /// Makes the objects, and answers the revision of each.
    pub(crate) async fn create(
        &mut self,
        keys: &[String],
        mut value: impl FnMut() -> Vec<u8>,
    ) -> anyhow::Result<Vec<i64>> {
        let deadline = Instant::now() + LEADER_DEADLINE;
        let mut revisions = Vec::with_capacity(keys.len());
        for keys in keys.chunks(CREATE_AT_A_TIME) {
            let success: Vec<_> = keys.iter().map(|key| RequestOp::put(key.as_bytes(), value())).collect();
            let made = loop {
                match self.txn(TxnRequest { success: success.clone(), ..TxnRequest::default() }).await {
                    Ok(made) => break made,
                    Err(error) if !revisions.is_empty() || Instant::now() > deadline => return Err(error),
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            let revision = made.revision()?;
            revisions.extend(keys.iter().map(|_| revision));
        }
        Ok(revisions)
    }
}
