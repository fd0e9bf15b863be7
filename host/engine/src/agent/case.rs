//! A case: an action that waits for its turn, and what it comes to.

use std::sync::Arc;
use std::time::Instant;

use ostrakon_store::{Beside, CaseWrite, Escalation};
use ostrakon_wire::answer::Settlement;
use ostrakon_wire::{
    ActionId, Code, Generations, OnConflict, Payload, Perform, Revision, ShardKey, TimestampMs, Version, WireError,
};
use tokio::sync::oneshot;

use super::Settling;
use crate::action_ids::Claim;
use crate::owner::{Condition, Known, Made, NotWritten, Pending, Refusal};

/// An action that waits for its turn.
pub(crate) struct Case {
    pub(crate) perform: Perform,
    pub(crate) timestamp: TimestampMs,
    /// Who asked for it.
    pub(crate) by: Option<Arc<str>>,
    pub(crate) claim: Option<Claim>,
    pub(crate) generations: Generations,
    /// The key that the object gets, if it has none.
    pub(super) new_key: Option<ShardKey>,
    /// How often the policy was asked.
    pub(crate) tries: u32,
    /// Its answers; a try may take two.
    pub(crate) verdicts: u32,
    /// The escalation that ends with it.
    pub(crate) settles: Option<Settles>,
    /// It is detached, and its ticket stands on disk or is on its way there.
    pub(crate) ticket_open: bool,
    pub(super) reply: Option<oneshot::Sender<Decided>>,
    pub(super) not_before: Option<Instant>,
}

/// A case that settles an escalation if it makes a version.
pub(crate) struct Settles {
    pub(crate) number: Revision,
    pub(crate) escalation: Box<Escalation>,
    pub(crate) settlement: Settlement,
    /// Nobody else settles it while this waits.
    pub(crate) _settling: Settling,
}

/// What became of a case. What is pending holds once it is durable.
pub(crate) enum Decided {
    /// It has had its turn.
    Done(Box<Done>),
    /// It is detached: its ticket, once that is durable.
    Ticket(ActionId, Pending),
    /// Its condition or its key forbids it. What stands there may be told once the tip is durable.
    Refused { refusal: Refusal, settled: Option<oneshot::Receiver<()>>, generations: Generations },
    /// Nothing was written, nothing is recorded.
    Failed(NotWritten),
    /// The same, with the words for it; told once the tip that it was judged on is durable.
    Error(WireError, Option<oneshot::Receiver<()>>),
}

/// A case that has had its turn.
pub(crate) struct Done {
    pub(crate) pending: Pending,
    pub(crate) came_to: CameTo,
    pub(crate) tries: u32,
    pub(crate) verdicts: u32,
    pub(crate) generations: Generations,
    /// The version that it met.
    pub(crate) met: Version,
    /// Whether that was another than its condition asks for.
    pub(crate) conflict: bool,
}

pub(crate) enum CameTo {
    Made { made: Made, reply: Option<Payload> },
    Applied { version: Version, shard_key: ShardKey, reply: Option<Payload> },
    Rejected { code: Code, words: String, shard_key: ShardKey },
    Escalated { words: String, shard_key: ShardKey },
}

impl Case {
    pub(crate) fn new(perform: Perform, timestamp: TimestampMs, by: Option<Arc<str>>, claim: Option<Claim>) -> Self {
        Self {
            perform,
            timestamp,
            by,
            claim,
            generations: Generations::default(),
            new_key: None,
            tries: 0,
            verdicts: 0,
            settles: None,
            ticket_open: false,
            reply: None,
            not_before: None,
        }
    }

    pub(super) fn condition(&self) -> Condition {
        Condition::of(self.perform.known)
    }

    pub(crate) fn is_detached(&self) -> bool {
        self.perform.on_conflict == OnConflict::Detach
    }

    /// What it weighs while it waits.
    pub(super) fn bytes(&self) -> usize {
        self.perform.action.payload().map_or(0, |payload| payload.as_bytes().len()) + CASE_OVERHEAD_BYTES
    }

    /// Whether its time has come.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| at <= now)
    }

    /// Tells the one who waits, if there is one and it is not told yet.
    pub(super) fn tell(mut self, decided: Decided) {
        if let Some(reply) = self.reply.take() {
            let _ = reply.send(decided);
        }
    }

    /// Cases on disk that end with this one; `version`: what it made.
    pub(super) fn ends(&self, version: Option<Version>, to_drop: Option<Revision>) -> Vec<CaseWrite> {
        let mut writes = Vec::new();
        if self.ticket_open
            && let Some(id) = self.perform.action_id
        {
            writes.push(CaseWrite::CloseTicket { client: self.perform.target.object.client().to_owned(), id });
        }
        if let Some(Settles { number, escalation, settlement, .. }) = &self.settles {
            let settled = Some(Settlement { version, ..settlement.clone() });
            let escalation = Escalation { settled, ..(**escalation).clone() };
            writes.push(CaseWrite::SettleEscalation(*number, Box::new(escalation)));
            writes.extend(to_drop.map(CaseWrite::DropEscalation));
        }
        writes
    }
}

/// What is written beside a change, if anything is.
pub(super) fn beside(reply: Option<&Payload>, cases: Vec<CaseWrite>) -> Option<Box<Beside>> {
    if reply.is_none() && cases.is_empty() {
        return None;
    }
    Some(Box::new(Beside { reply: reply.map_or(Vec::new(), |reply| reply.as_bytes().to_vec()), cases }))
}

/// The key that is told of an object; 0 where it never was.
pub(super) fn key_of(tip: &Known) -> ShardKey {
    tip.shard_key().unwrap_or_default()
}

/// A case's place in memory beside its payload: texts, claim, queue.
const CASE_OVERHEAD_BYTES: usize = 512;
