//! Those who write until the host is gone, and note what they were told.

use std::time::Duration;

use anyhow::Context as _;
use ostrakon_client::{
    Action, ActionId, AskTicket, Client, Code, ConditionalWrite, Error, ObjectId, OnConflict, Operation, Payload,
    Perform, Reply, Revision, Target, Version, json,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::model::{self, Effect, Stands};
use crate::load::Random;

/// Connections.
pub(crate) const CONNECTIONS: usize = 4;
/// Writers that share a connection.
pub(crate) const WRITERS: usize = 4;
/// Objects that a writer has for itself.
pub(crate) const PRIVATE: usize = 3;
/// Objects that all write to.
pub(crate) const CONTENDED: usize = 4;
/// How long answers that are on their way are waited for once the host is gone.
const GRACE: Duration = Duration::from_millis(60);

/// All objects: first each writer's own, then the contended ones.
pub(crate) const OBJECTS: usize = CONNECTIONS * WRITERS * PRIVATE + CONTENDED;

/// Whose objects they are.
const CLIENT: &str = "crash";
/// How long one question after a ticket waits.
const TICKET_WAIT_MS: u32 = 2_000;

/// One action, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    /// Place of its object among all.
    pub(crate) object: usize,
    pub(crate) id: ActionId,
    pub(crate) operation: Operation,
    pub(crate) effect: Effect,
    pub(crate) outcome: Outcome,
}

/// What became of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It made this version. `repeated`: that had been told before.
    Done { version: u64, repeated: bool },
    /// It was not done, for good.
    Refused(Code),
    /// A person has it, under this number.
    Escalated(Revision),
    /// It is detached: its ticket was acknowledged.
    Pending,
    /// Nobody knows.
    Unknown,
}

/// The object at a place.
pub(crate) fn object(index: usize) -> anyhow::Result<ObjectId> {
    Ok(ObjectId::new(CLIENT, "thing", &format!("object-{index:03}"))?)
}

/// Asks for an action.
pub(crate) async fn ask(client: &Client, operation: &Operation) -> anyhow::Result<Outcome> {
    told(client.ask(operation.clone()).await, operation)
}

/// Asks after an action that was detached, and waits for its end.
pub(crate) async fn ask_ticket(client: &Client, id: ActionId) -> anyhow::Result<Outcome> {
    let ask = AskTicket { client: CLIENT.into(), action_id: id, wait_ms: TICKET_WAIT_MS };
    let operation = Operation::AskTicket(ask);
    loop {
        match told(client.ask(operation.clone()).await, &operation)? {
            Outcome::Pending => {}
            outcome => return Ok(outcome),
        }
    }
}

fn told(answer: Result<Reply, Error>, operation: &Operation) -> anyhow::Result<Outcome> {
    Ok(match answer {
        Ok(Reply::Committed(done)) => Outcome::Done { version: done.version.get(), repeated: done.repeated },
        Ok(Reply::Ticket(_)) => Outcome::Pending,
        Ok(other) => anyhow::bail!("an answer to another question: {other:?}"),
        Err(Error::Refused(error)) => match error.code {
            Code::Conflict | Code::NotFound | Code::VersionGap => Outcome::Refused(error.code),
            // An addition to what a merge has made; what reconciliation has judged.
            Code::InvalidPointer | Code::Rejected | Code::UnknownTicket => Outcome::Refused(error.code),
            Code::Escalated => Outcome::Escalated(error.escalation.context("an escalation has a number")?),
            Code::ActionExpired | Code::ActionIdReused => Outcome::Refused(error.code),
            // A try before the one that was refused may have been taken.
            code if code.retryable() || code == Code::StoreFailed => Outcome::Unknown,
            code => anyhow::bail!("the host refuses {operation:?}: {code:?} {}", error.message),
        },
        Err(Error::Lost(_) | Error::Unreachable(_) | Error::Deadline) => Outcome::Unknown,
        Err(error) => return Err(error.into()),
    })
}

/// One writer of a round.
pub(crate) struct Writer {
    pub(crate) client: Client,
    pub(crate) random: Random,
    /// Whether half of its payloads are large: then flushes begin while all write.
    pub(crate) heavy: bool,
    /// Its own objects, by place, as they stand.
    pub(crate) own: Vec<(usize, Stands)>,
    /// Places of the contended ones, and the versions it saw last.
    pub(crate) contended: Vec<(usize, u64)>,
}

impl Writer {
    /// Writes until the host is gone.
    pub(crate) async fn run(mut self, gone: watch::Receiver<bool>) -> anyhow::Result<Vec<Told>> {
        let mut all = Vec::new();
        while !*gone.borrow() {
            let mut told = if self.random.below(3) < 2 { self.on_own()? } else { self.on_contended()? };
            told.outcome = answered(ask(&self.client, &told.operation), gone.clone()).await?;
            // Every other ticket is left to whoever comes after the end.
            if told.outcome == Outcome::Pending && self.random.below(2) == 0 {
                let waited = answered(ask_ticket(&self.client, told.id), gone.clone()).await?;
                told.outcome = if waited == Outcome::Unknown { Outcome::Pending } else { waited };
            }
            self.learn(&told);
            let end = told.outcome == Outcome::Unknown;
            all.push(told);
            if end {
                break;
            }
        }
        Ok(all)
    }

    fn on_own(&mut self) -> anyhow::Result<Told> {
        let pick = self.random.below(self.own.len() as u64) as usize;
        let (index, Stands { version, state }) = self.own[pick].clone();
        let known = if state.is_some() { version } else { 0 };
        let (id, by) = self.identity();
        match self.random.below(10) {
            0..3 if state.is_some() => self.perform(index, id, Effect::Merge { by }, Some(known)),
            3 if state.is_some() => self.perform(index, id, Effect::Delete, Some(known)),
            4 => {
                let len = self.len();
                self.perform(index, id, Effect::Put { by, len }, Some(known))
            }
            _ => {
                let len = self.len();
                let write = ConditionalWrite {
                    target: target(index)?,
                    new_version: Version::new(version + 1),
                    payload: structured(&model::payload(&by, len))?,
                    action_id: Some(id),
                };
                let (operation, effect) = (Operation::ConditionalWrite(write), Effect::Put { by, len });
                Ok(Told { object: index, id, operation, effect, outcome: Outcome::Unknown })
            }
        }
    }

    fn on_contended(&mut self) -> anyhow::Result<Told> {
        let pick = self.random.below(self.contended.len() as u64) as usize;
        let (index, seen) = self.contended[pick];
        let (id, by) = self.identity();
        let more = self.random.below(1_000) as i64;
        match self.random.below(20) {
            0..5 => self.perform(index, id, Effect::Add { more }, None),
            5..10 => self.reconcile(index, id, Effect::Add { more }, seen),
            10..13 => self.perform(index, id, Effect::Merge { by }, None),
            13 => self.perform(index, id, Effect::Delete, None),
            14 => {
                let len = self.len();
                self.perform(index, id, Effect::Put { by, len }, None)
            }
            15..17 => self.reconcile(index, id, Effect::Merge { by }, seen),
            _ => {
                let len = self.len();
                self.perform(index, id, Effect::Put { by, len }, Some(seen))
            }
        }
    }

    fn identity(&mut self) -> (ActionId, String) {
        let id = Client::new_action_id();
        (id, format!("{:032x}", id.bits()))
    }

    /// Most payloads are small; some fill several pages.
    fn len(&mut self) -> usize {
        let bound = match self.random.below(64) {
            0..32 if self.heavy => 900_000,
            0..56 => 300,
            56..62 => 30_000,
            _ => 400_000,
        };
        self.random.below(bound) as usize
    }

    fn perform(&self, object: usize, id: ActionId, effect: Effect, known: Option<u64>) -> anyhow::Result<Told> {
        let action = match &effect {
            Effect::Put { by, len } => Action::Put(structured(&model::payload(by, *len))?),
            Effect::Merge { by } => Action::Merge(structured(&json!({ "merged": by }))?),
            Effect::Add { more } => Action::Add(structured(&json!({ "/n": more }))?),
            Effect::Delete => Action::Delete,
        };
        let known = known.map(Version::new);
        let target = target(object)?;
        let perform = Perform { target, action, known, action_id: Some(id), on_conflict: OnConflict::Reject };
        Ok(Told { object, id, operation: Operation::Perform(perform), effect, outcome: Outcome::Unknown })
    }

    /// The same for a version that may be stale: reconciled, and every other time detached.
    fn reconcile(&mut self, object: usize, id: ActionId, effect: Effect, known: u64) -> anyhow::Result<Told> {
        let choice = if self.random.below(2) == 0 { OnConflict::Reconcile } else { OnConflict::Detach };
        let mut told = self.perform(object, id, effect, Some(known))?;
        if let Operation::Perform(perform) = &mut told.operation {
            perform.on_conflict = choice;
        }
        Ok(told)
    }

    fn learn(&mut self, told: &Told) {
        let Outcome::Done { version, .. } = told.outcome else { return };
        if let Some((_, stands)) = self.own.iter_mut().find(|(index, _)| *index == told.object) {
            // Only whether it lives is looked at.
            let state = (told.effect != Effect::Delete).then(model::State::new);
            *stands = Stands { version, state };
        }
        if let Some((_, seen)) = self.contended.iter_mut().find(|(index, _)| *index == told.object) {
            *seen = if told.effect == Effect::Delete { 0 } else { version };
        }
    }
}

/// The outcome of an action; once the host is gone, what is not told soon is not known.
async fn answered(
    asking: impl Future<Output = anyhow::Result<Outcome>>,
    mut gone: watch::Receiver<bool>,
) -> anyhow::Result<Outcome> {
    let leave = async {
        // A sender that is dropped has ended the round too.
        let _ = gone.wait_for(|gone| *gone).await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        outcome = asking => outcome,
        () = leave => Ok(Outcome::Unknown),
    }
}

fn target(index: usize) -> anyhow::Result<Target> {
    Ok(Target { object: object(index)?, shard_key: None })
}

fn structured(value: &Value) -> anyhow::Result<Payload> {
    Ok(Payload::from_value(&json::from_json(value)?)?)
}

/// What stands in place of an object; the second is `false` for a payload that nobody wrote whole.
pub(crate) async fn read(client: &Client, index: usize) -> anyhow::Result<(Stands, bool)> {
    match client.read(&object(index)?).await {
        Ok(found) => {
            let payload = found.payload.value().map(|value| json::to_json(&value));
            let state = payload.and_then(model::state);
            let whole = state.is_some();
            Ok((Stands { version: found.version.get(), state: Some(state.unwrap_or_default()) }, whole))
        }
        Err(Error::Refused(error)) if error.code == Code::NotFound => {
            Ok((Stands { version: error.stored.map_or(0, Version::get), state: None }, true))
        }
        Err(error) => Err(error.into()),
    }
}

/// The writers of a round, a connection for some of them together.
pub(crate) fn writers(clients: &[Client], stands: &[Stands], heavy: bool, random: &mut Random) -> Vec<Writer> {
    let contended = (OBJECTS - CONTENDED..OBJECTS).map(|index| (index, stands[index].version));
    (0..CONNECTIONS * WRITERS)
        .map(|number| Writer {
            client: clients[number % clients.len()].clone(),
            random: Random::seeded(random.next()),
            heavy,
            own: (number * PRIVATE..(number + 1) * PRIVATE).map(|index| (index, stands[index].clone())).collect(),
            contended: contended.clone().collect(),
        })
        .collect()
}
