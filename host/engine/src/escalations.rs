//! What reconciliation gave up on: to be looked at, and settled by a person.

use std::sync::Arc;

use bytes::Bytes;
use ostrakon_store::{CaseWrite, Escalation as Stored, Note, Outcome, ReadError};
use ostrakon_wire::answer::{Escalation, Escalations, Settlement};
use ostrakon_wire::bounds::{PAGE_BYTES_MAX, PAGE_EXAMINED_MAX, PAYLOAD_BYTES_MAX};
use ostrakon_wire::{
    Action, Code, Decided, Generations, ListEscalations, OnConflict, Perform, Revision, SettleEscalation, SettleHow,
    WireError,
};

use crate::Engine;
use crate::agent::{Case, Settles};
use crate::owner::durable;

/// What page tokens of escalations begin with, so that none of another list is taken for one.
const TOKEN_TAG: u8 = 2;

/// What an item of a page takes at most: texts, words, who and why.
const ITEM_BYTES_MAX: usize = 16 << 10;
/// What it takes beside its texts.
const ITEM_OVERHEAD_BYTES: usize = 160;

fn item_bytes(item: &Escalation) -> usize {
    let settled = item.settled.as_ref().map_or(0, |settled| settled.by.len() + settled.reason.len());
    item.object.as_text().len() + item.words.len() + settled + item.custom_kind.as_ref().map_or(0, String::len)
}

impl Engine {
    pub(crate) async fn list_escalations(&self, list: &ListEscalations) -> Result<Escalations, WireError> {
        let from = list.token.as_ref().map_or(Ok(Revision::default()), read_token)?;
        let (views, client, limit) = (self.views.clone(), list.client.clone(), list.limit);
        let page = self.owner.on_reader(move || {
            let view = views.latest();
            let (mut items, mut next, mut bytes) = (Vec::new(), None, 0);
            for (examined, escalation) in view.escalations(from).enumerate() {
                let (number, stored) = escalation?;
                if items.len() == limit || examined == PAGE_EXAMINED_MAX || bytes > PAGE_BYTES_MAX - ITEM_BYTES_MAX {
                    next = Some(number);
                    break;
                }
                if client.as_deref().is_none_or(|client| stored.perform.target.object.client() == client) {
                    let item = told(number, stored, false, &Decided::default());
                    bytes += ITEM_OVERHEAD_BYTES + item_bytes(&item);
                    items.push(item);
                }
            }
            Ok((items, next, view.position()))
        });
        let (items, next, position) = page.await.map_err(|error| self.unreadable(&error))?;
        let decided = self.decided(None, position, Generations::default());
        let items = items.into_iter().map(|item| Escalation { decided, ..item }).collect();
        Ok(Escalations { items, token: next.map(write_token), decided })
    }

    pub(crate) async fn read_escalation(&self, number: Revision) -> Result<Box<Escalation>, WireError> {
        let stored = self.stored_escalation(number).await?;
        let decided = self.decided(None, self.views.position(), Generations::default());
        Ok(Box::new(told(number, stored, true, &decided)))
    }

    async fn stored_escalation(&self, number: Revision) -> Result<Stored, WireError> {
        let views = self.views.clone();
        let stored = self.owner.on_reader(move || views.latest().escalation(number)).await;
        let unknown = || WireError::new(Code::UnknownEscalation, format!("no escalation has the number {number}"));
        stored.map_err(|error: ReadError| self.unreadable(&error))?.ok_or_else(unknown)
    }

    pub(crate) async fn settle_escalation(
        &self,
        settle: &SettleEscalation,
        by: Option<Arc<str>>,
    ) -> Result<Box<Escalation>, WireError> {
        let number = settle.escalation;
        let taken = || WireError::new(Code::EscalationSettled, "somebody has settled it, or does so now");
        let settling = self.agent.settle(number).ok_or_else(taken)?;
        let stored = self.stored_escalation(number).await?;
        if stored.settled.is_some() {
            return Err(taken());
        }
        let settlement = Settlement {
            how: settle.how,
            by: settle.by.clone(),
            reason: settle.reason.clone(),
            at: self.owner.clock().now(),
            version: None,
        };
        match settle.how {
            SettleHow::Discard => self.discard(number, stored, settlement).await?,
            SettleHow::Retry | SettleHow::Resolve => {
                let perform = match &settle.payload {
                    Some(payload) => Perform {
                        action: Action::Put(payload.clone()),
                        known: None,
                        action_id: None,
                        on_conflict: OnConflict::Reconcile,
                        ..stored.perform.clone()
                    },
                    None => Perform { on_conflict: OnConflict::Reconcile, ..stored.perform.clone() },
                };
                let timestamp = if settle.payload.is_some() { settlement.at } else { stored.timestamp };
                let mut case = Case::new(perform, timestamp, by, None);
                let escalation = Box::new(stored);
                case.settles = Some(Settles { number, escalation, settlement, _settling: settling });
                self.queued(case).await.reply?;
            }
        }
        self.read_escalation(number).await
    }

    async fn discard(&self, number: Revision, stored: Stored, settlement: Settlement) -> Result<(), WireError> {
        let Stored { perform, latest, .. } = &stored;
        let (object, shard_key, kind) =
            (perform.target.object.clone(), perform.target.shard_key.unwrap_or_default(), perform.action.kind());
        let version = *latest;
        let settled = Box::new(Stored { settled: Some(settlement), ..stored });
        let dropped = self.agent.to_drop().map(CaseWrite::DropEscalation);
        let note = Note {
            object,
            shard_key,
            version,
            kind,
            identity: None,
            outcome: Outcome::Settled,
            text: number.get().to_be_bytes().to_vec(),
            cases: dropped.into_iter().chain([CaseWrite::SettleEscalation(number, settled)]).collect(),
        };
        let position = self.views.position();
        let failed = |reason| self.not_written(reason, position, Generations::default());
        let pending = self.owner.note(note, &mut None).map_err(failed)?;
        self.agent.settled(number);
        durable(pending).await.map(drop).map_err(failed)
    }
}

/// An escalation as it is told; payloads as far as all together fit.
fn told(number: Revision, stored: Stored, with_payloads: bool, decided: &Decided) -> Escalation {
    let Stored { opened, perform, base, latest, latest_payload, tries, words, settled, .. } = stored;
    let body = perform.action.payload().cloned();
    let mut room = if with_payloads { PAYLOAD_BYTES_MAX } else { 0 };
    let mut omitted = false;
    let mut fit = |payload: Option<ostrakon_wire::Payload>| {
        let payload = payload?;
        match room.checked_sub(payload.as_bytes().len()).filter(|_| with_payloads) {
            Some(left) => {
                room = left;
                Some(payload)
            }
            None => {
                omitted = true;
                None
            }
        }
    };
    let (body, latest_payload, base) = (fit(body), fit(latest_payload), fit(base));
    Escalation {
        number,
        opened,
        kind: perform.action.kind(),
        custom_kind: match perform.action {
            Action::Custom { kind, .. } => Some(kind),
            _ => None,
        },
        object: perform.target.object,
        body,
        known: perform.known,
        action_id: perform.action_id,
        base,
        latest,
        latest_payload,
        tries,
        words,
        settled,
        omitted,
        decided: *decided,
    }
}

fn write_token(next: Revision) -> Bytes {
    [&[TOKEN_TAG][..], &next.get().to_be_bytes()].concat().into()
}

fn read_token(token: &Bytes) -> Result<Revision, WireError> {
    let number = token.strip_prefix(&[TOKEN_TAG]).and_then(|rest| <[u8; 8]>::try_from(rest).ok());
    let invalid = || WireError::new(Code::InvalidToken, "the page token was not made for this list");
    number.map(|number| Revision::new(u64::from_be_bytes(number))).ok_or_else(invalid)
}
