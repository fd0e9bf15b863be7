//! etcd: a transaction that puts where the key's revision is still the one that was read, and else reads what won. As with
//! the host, the clients of a connection act on what it saw last.

use std::time::Instant;

use anyhow::{Context as _, bail};

use super::super::clients::CONNECTIONS;
use super::{Change, OF_CONNECTION, Seen, TRUSTED, Tried, Wire, first, key_name};
use crate::peers::etcd::{Compare, Etcd, KeyValue, RangeRequest, RequestOp, TxnRequest};

pub(super) async fn create(port: u16, keys: usize) -> anyhow::Result<()> {
    let (first, keys) = (first()?, (0..keys).map(key_name).collect::<Vec<_>>());
    Etcd::connect(port).await?.create(&keys, || first.clone()).await?;
    Ok(())
}

pub(super) struct Connection {
    etcd: Etcd,
    seen: Seen,
}

pub(super) async fn dial(port: u16) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::new();
    for _ in 0..CONNECTIONS {
        let (etcd, seen) = (Etcd::connect(port).await?, Seen::default());
        all.extend((0..OF_CONNECTION).map(|_| Connection { etcd: etcd.clone(), seen: Seen::clone(&seen) }));
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
                let read = self.etcd.range(RangeRequest::of(&name)).await?;
                let found = read.kvs.into_iter().next().context("every object is there")?;
                (found.mod_revision, found.value, 2)
            }
        };
        let value = change.apply(&object)?;
        let request = TxnRequest {
            compare: vec![Compare::changed_at(&name, revision)],
            success: vec![RequestOp::put(&name, value.clone())],
            failure: vec![RequestOp::range(&name)],
        };
        let answer = self.etcd.txn(request).await?;
        if answer.succeeded {
            self.saw(key, answer.revision()?, value);
            return Ok((Tried::Made, requests));
        }
        let Some(KeyValue { mod_revision, value, .. }) = answer.found().next().flatten() else {
            bail!("etcd does not tell what won")
        };
        self.saw(key, mod_revision, value);
        Ok((Tried::Lost, requests))
    }
}
