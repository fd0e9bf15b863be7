//! Redis: WATCH, GET, then MULTI, SET, EXEC. Every client has a connection of its own, as a watch belongs to one.

use anyhow::Context as _;
use redis::aio::MultiplexedConnection;

use super::super::clients::CLIENTS;
use super::{Change, Tried, Wire, first, key_name};

/// Objects that are made in one request.
const CREATE_AT_A_TIME: usize = 1_000;

async fn connect(port: u16) -> anyhow::Result<MultiplexedConnection> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}/"))?;
    client.get_multiplexed_async_connection().await.context("Redis does not take a connection")
}

pub(super) async fn create(port: u16, keys: usize) -> anyhow::Result<()> {
    let (mut connection, first) = (connect(port).await?, first()?);
    for begin in (0..keys).step_by(CREATE_AT_A_TIME) {
        let mut pipe = redis::pipe();
        for key in begin..keys.min(begin + CREATE_AT_A_TIME) {
            pipe.set(key_name(key), &first[..]).ignore();
        }
        pipe.query_async::<()>(&mut connection).await?;
    }
    Ok(())
}

pub(super) struct Connection(MultiplexedConnection);

pub(super) async fn dial(port: u16) -> anyhow::Result<Vec<Connection>> {
    let mut all = Vec::new();
    for _ in 0..CLIENTS {
        all.push(Connection(connect(port).await?));
    }
    Ok(all)
}

impl Wire for Connection {
    async fn change(&mut self, key: usize, change: &Change) -> anyhow::Result<(Tried, u64)> {
        let name = key_name(key);
        let mut look = redis::pipe();
        look.cmd("WATCH").arg(&name).ignore().get(&name);
        let (object,): (Vec<u8>,) = look.query_async(&mut self.0).await?;
        let mut write = redis::pipe();
        write.atomic().set(&name, change.apply(&object)?).ignore();
        let written: Option<()> = write.query_async(&mut self.0).await?;
        Ok((written.map_or(Tried::Lost, |()| Tried::Made), 2))
    }
}
