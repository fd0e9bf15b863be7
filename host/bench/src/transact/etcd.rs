//! etcd: a transaction that puts where all revisions are still those that are known, and else reads what stands there.

use anyhow::{Context as _, ensure};

use super::clients::{Driven, Tried, Wire, drive};
use super::{CLIENTS, Case};
use crate::load::{Random, Window};
use crate::peers::etcd::{Compare, Etcd, RangeRequest, RequestOp, TxnRequest};
use crate::pipe::object_id;
use crate::pipe::objects::content;

/// Keys that are read at a time: their answer stays well below what a client takes.
const READ_AT_A_TIME: i64 = 10_000;

/// Measures a case, and holds what stands there in the end against what was answered.
pub(super) async fn measure(port: u16, case: Case, seconds: u64) -> anyhow::Result<Driven> {
    let keys = (0..case.load.objects()).map(key).collect::<anyhow::Result<Vec<_>>>()?;
    let mut random = Random::seeded(0);
    let first = Etcd::connect(port).await?.create(&keys, || content(&mut random)).await?;
    let first: Vec<u64> = first.into_iter().map(|revision| revision as u64).collect();
    let mut wires = Vec::new();
    for client in 0..CLIENTS {
        wires.push(Client { etcd: Etcd::connect(port).await?, random: Random::seeded(client as u64 + 1) });
    }
    let driven = drive(wires, case, &first, Window::after_warm_up(seconds)).await?;
    case.hold(read_back(port, keys.len()).await?, driven.committed)?;
    Ok(driven)
}

fn key(object: usize) -> anyhow::Result<String> {
    Ok(object_id(object)?.to_string())
}

struct Client {
    etcd: Etcd,
    random: Random,
}

impl Wire for Client {
    async fn transact(&mut self, objects: &[(usize, u64)]) -> anyhow::Result<Tried> {
        let mut request = TxnRequest::default();
        for (object, known) in objects {
            let key = key(*object)?.into_bytes();
            request.compare.push(Compare::changed_at(&key, *known as i64));
            request.success.push(RequestOp::put(&key, content(&mut self.random)));
            request.failure.push(RequestOp::range(&key));
        }
        let answer = self.etcd.txn(request).await?;
        if answer.succeeded {
            return Ok(Tried::Made(vec![answer.revision()? as u64; objects.len()]));
        }
        let mut against = Vec::new();
        for (at, found) in answer.found().enumerate() {
            let found = found.context("every object is there")?.mod_revision as u64;
            if objects.get(at).is_some_and(|(_, known)| *known != found) {
                against.push((at, found));
            }
        }
        Ok(Tried::Lost(against))
    }
}

/// The sum of the versions.
async fn read_back(port: u16, objects: usize) -> anyhow::Result<u64> {
    let mut etcd = Etcd::connect(port).await?;
    let (mut read, mut versions, mut from) = (0, 0, vec![0]);
    loop {
        // An end of one zero byte: as far as there are keys.
        let request = RangeRequest { key: from, range_end: vec![0], limit: READ_AT_A_TIME, keys_only: true };
        let page = etcd.range(request).await?.kvs;
        let Some(last) = page.last() else { break };
        from = [&last.key[..], &[0]].concat();
        read += page.len();
        versions += page.iter().map(|found| found.version as u64).sum::<u64>();
    }
    ensure!(read == objects, "{read} objects are there, {objects} were made");
    Ok(versions)
}
