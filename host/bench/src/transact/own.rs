//! The host.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ostrakon_client::HostFile;
use ostrakon_wire::bounds::RETRY_AFTER_MS;
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{
    Action, Code, Condition, Must, OnConflict, Operation, Payload, Reply, Step, Target, Transact, Version,
};

use super::clients::{Driven, Tried, Wire, drive};
use super::{CLIENTS, Case, Load};
use crate::load::Window;
use crate::pipe::{self, Caller, object_id};

const CREATORS: usize = 8;
const CREATE_IN_FLIGHT: usize = 64;
const READ_IN_FLIGHT: usize = 64;
/// What a counter holds beside its number, so that it weighs as much as other objects.
const FILLER_BYTES: usize = 240;

/// Measures a case, and holds what stands there in the end against what was answered.
pub(super) async fn measure(host: &HostFile, case: Case, seconds: u64) -> anyhow::Result<Driven> {
    let objects = case.load.objects();
    match case.load {
        Load::Transfers => create_counters(host, objects).await?,
        Load::Spread | Load::Contended => {
            let creators = pipe::dial(host, CREATORS, objects).await?;
            drop(pipe::create_all(creators, CREATE_IN_FLIGHT).await?);
        }
    }
    let callers = pipe::dial(host, CLIENTS, 0).await?;
    let wires = callers.into_iter().map(|caller| Own { caller, transfers: case.load == Load::Transfers });
    let window = Window::after_warm_up(seconds);
    let driven = drive(wires.collect(), case, &vec![1; objects], window).await?;
    let (versions, numbers) = read_back(host, objects).await?;
    case.hold(versions, driven.committed)?;
    ensure!(numbers == 0, "transfers have made {numbers} out of nothing");
    Ok(driven)
}

struct Own {
    caller: Caller,
    transfers: bool,
}

impl Own {
    fn transaction(&mut self, objects: &[(usize, u64)]) -> anyhow::Result<Transact> {
        let (mut conditions, mut actions) = (Vec::new(), Vec::new());
        for (at, (number, known)) in objects.iter().enumerate() {
            let object = object_id(*number)?;
            let action = if self.transfers {
                // One gives what all the others get.
                let amount = if at == 0 { 1 - objects.len() as i64 } else { 1 };
                Action::Add(fields([("/n", Field::Integer(amount))])?)
            } else {
                let must = Must::BeAt(Version::new(*known));
                conditions.push(Condition { object: object.clone(), must });
                Action::Put(self.caller.payload())
            };
            actions.push(Step { target: Target { object, shard_key: None }, action });
        }
        let action_id = Some(self.caller.action_id());
        Ok(Transact { conditions, actions, action_id, on_conflict: OnConflict::Reject })
    }
}

impl Wire for Own {
    async fn transact(&mut self, objects: &[(usize, u64)]) -> anyhow::Result<Tried> {
        let transaction = self.transaction(objects)?;
        match self.caller.try_one(Operation::Transact(transaction)).await? {
            Ok(Reply::Transacted(done)) => Ok(Tried::Made(done.made.iter().map(|made| made.version.get()).collect())),
            Ok(other) => bail!("answer {} to a transaction", other.number()),
            Err(error) if error.code == Code::Conflict => Ok(Tried::Lost(
                error.failed.iter().map(|failed| (failed.index as usize, failed.version.get())).collect(),
            )),
            Err(error) if error.code == Code::Overloaded => {
                Ok(Tried::Later(Duration::from_millis(error.retry_after_ms.unwrap_or(RETRY_AFTER_MS).into())))
            }
            Err(error) => Err(error).context("a transaction was refused"),
        }
    }
}

fn fields<const N: usize>(pairs: [(&str, Field); N]) -> anyhow::Result<Payload> {
    let map: Fields = pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(Payload::from_value(&Field::Map(map))?)
}

async fn create_counters(host: &HostFile, objects: usize) -> anyhow::Result<()> {
    let mut wire = pipe::dial(host, 1, 0).await?.pop().context("a connection was dialled")?;
    let payload = fields([("filler", Field::Text("x".repeat(FILLER_BYTES))), ("n", Field::Integer(0))])?;
    for number in 0..objects {
        let (object, action) = (object_id(number)?, Action::Put(payload.clone()));
        let perform = pipe::perform(object, action, 0, wire.action_id(), OnConflict::Reject);
        wire.ask_one(Operation::Perform(perform)).await?;
    }
    Ok(())
}

/// The sums of the versions, and of the numbers of counters.
async fn read_back(host: &HostFile, objects: usize) -> anyhow::Result<(u64, i64)> {
    let mut wire = pipe::dial(host, 1, 0).await?.pop().context("a connection was dialled")?;
    let (mut asked, mut read, mut versions, mut numbers) = (0, 0, 0, 0);
    while read < objects {
        while asked < objects && asked - read < READ_IN_FLIGHT {
            wire.ask(asked as u64, Operation::Read(Target { object: object_id(asked)?, shard_key: None }));
            asked += 1;
        }
        wire.flush().await?;
        wire.fill().await?;
        while let Some(answer) = wire.answer()? {
            let Reply::Object(object) = answer.outcome? else { bail!("an answer to a read is an object") };
            versions += object.version.get();
            if let Some(Field::Map(fields)) = object.payload.value()
                && let Some(Field::Integer(number)) = fields.get("n")
            {
                numbers += number;
            }
            read += 1;
        }
    }
    Ok((versions, numbers))
}
