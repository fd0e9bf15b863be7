//! etcd: a transaction that puts where the key's revision is still the one that was read, and else reads what won. As with
//! the host, the clients of a connection act on what it saw last.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, bail};
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

use super::super::clients::CONNECTIONS;
use super::{Change, OF_CONNECTION, Seen, TRUSTED, Tried, Wire, first, free_ports, key_name, program};

/// Objects that are made in one request: as many operations as a transaction may have.
const CREATE_AT_A_TIME: usize = 128;

/// The parts of etcd's `rpc.proto` and `kv.proto` that are needed here, by their field numbers.
mod message {
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) key: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct KeyValue {
        #[prost(int64, tag = "3")]
        pub(super) mod_revision: i64,
        #[prost(bytes = "vec", tag = "5")]
        pub(super) value: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RangeResponse {
        #[prost(message, repeated, tag = "2")]
        pub(super) kvs: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct PutRequest {
        #[prost(bytes = "vec", tag = "1")]
        pub(super) key: Vec<u8>,
        #[prost(bytes = "vec", tag = "2")]
        pub(super) value: Vec<u8>,
    }

    /// `result` is left at 0, equal.
    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Compare {
        /// 2: the revision of the last change.
        #[prost(int32, tag = "2")]
        pub(super) target: i32,
        #[prost(bytes = "vec", tag = "3")]
        pub(super) key: Vec<u8>,
        #[prost(int64, optional, tag = "6")]
        pub(super) mod_revision: Option<i64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct RequestOp {
        #[prost(message, optional, tag = "1")]
        pub(super) range: Option<RangeRequest>,
        #[prost(message, optional, tag = "2")]
        pub(super) put: Option<PutRequest>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnRequest {
        #[prost(message, repeated, tag = "1")]
        pub(super) compare: Vec<Compare>,
        #[prost(message, repeated, tag = "2")]
        pub(super) success: Vec<RequestOp>,
        #[prost(message, repeated, tag = "3")]
        pub(super) failure: Vec<RequestOp>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResponseHeader {
        #[prost(int64, tag = "3")]
        pub(super) revision: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct ResponseOp {
        #[prost(message, optional, tag = "1")]
        pub(super) range: Option<RangeResponse>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct TxnResponse {
        #[prost(message, optional, tag = "1")]
        pub(super) header: Option<ResponseHeader>,
        #[prost(bool, tag = "2")]
        pub(super) succeeded: bool,
        #[prost(message, repeated, tag = "3")]
        pub(super) responses: Vec<ResponseOp>,
    }
}

use message::{Compare, KeyValue, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse};

const MOD_REVISION: i32 = 2;

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

async fn connect(port: u16) -> anyhow::Result<Grpc<Channel>> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?.tcp_nodelay(true);
    Ok(Grpc::new(endpoint.connect().await.context("etcd does not take a connection")?))
}

async fn call<A, R>(grpc: &mut Grpc<Channel>, path: &'static str, request: A) -> anyhow::Result<R>
where
    A: Message + 'static,
    R: Message + Default + 'static,
{
    grpc.ready().await?;
    let path = PathAndQuery::from_static(path);
    let answer = grpc.unary(tonic::Request::new(request), path, ProstCodec::<A, R>::default()).await?;
    Ok(answer.into_inner())
}

const RANGE: &str = "/etcdserverpb.KV/Range";
const TXN: &str = "/etcdserverpb.KV/Txn";

pub(super) async fn create(port: u16, keys: usize) -> anyhow::Result<()> {
    // It listens a little before it has a leader.
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    let (mut grpc, first) = (connect(port).await?, first()?);
    for begin in (0..keys).step_by(CREATE_AT_A_TIME) {
        let put = |key| {
            let put = PutRequest { key: key_name(key).into_bytes(), value: first.clone() };
            RequestOp { range: None, put: Some(put) }
        };
        let success: Vec<_> = (begin..keys.min(begin + CREATE_AT_A_TIME)).map(put).collect();
        loop {
            let request = TxnRequest { success: success.clone(), ..TxnRequest::default() };
            match call::<_, TxnResponse>(&mut grpc, TXN, request).await {
                Ok(_) => break,
                Err(error) if begin > 0 || Instant::now() > deadline => return Err(error),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            }
        }
    }
    Ok(())
}

pub(super) struct Connection {
    grpc: Grpc<Channel>,
    seen: Seen,
}

pub(super) async fn dial(port: u16) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let (grpc, seen) = (connect(port).await?, Seen::default());
        all.extend((0..OF_CONNECTION).map(|_| Connection { grpc: grpc.clone(), seen: Seen::clone(&seen) }));
    }
    Ok(all)
}

impl Connection {
    fn saw(&self, key: usize, revision: i64, object: Vec<u8>) {
        let mut seen = self.seen.lock();
        let entry = seen.entry(key).or_insert_with(|| (0, Vec::new(), Instant::now()));
        if entry.0 <= revision {
            *entry = (revision, object, Instant::now());
        }
    }
}

impl Wire for Connection {
    async fn change(&mut self, key: usize, change: &Change) -> anyhow::Result<(Tried, u64)> {
        let name = key_name(key).into_bytes();
        let known = self.seen.lock().get(&key).filter(|(.., at)| at.elapsed() < TRUSTED).cloned();
        let (revision, object, requests) = match known {
            Some((revision, object, _)) => (revision, object, 1),
            None => {
                let read: RangeResponse = call(&mut self.grpc, RANGE, RangeRequest { key: name.clone() }).await?;
                let found = read.kvs.into_iter().next().context("every object is there")?;
                (found.mod_revision, found.value, 2)
            }
        };
        let value = change.apply(&object)?;
        let request = TxnRequest {
            compare: vec![Compare { target: MOD_REVISION, key: name.clone(), mod_revision: Some(revision) }],
            success: vec![RequestOp { range: None, put: Some(PutRequest { key: name.clone(), value: value.clone() }) }],
            failure: vec![RequestOp { range: Some(RangeRequest { key: name }), put: None }],
        };
        let answer: TxnResponse = call(&mut self.grpc, TXN, request).await?;
        if answer.succeeded {
            self.saw(key, answer.header.context("an answer has a revision")?.revision, value);
            return Ok((Tried::Made, requests));
        }
        let winner = answer.responses.into_iter().next().and_then(|response| response.range?.kvs.into_iter().next());
        let Some(KeyValue { mod_revision, value }) = winner else { bail!("etcd does not tell what won") };
        self.saw(key, mod_revision, value);
        Ok((Tried::Lost, requests))
    }
}
