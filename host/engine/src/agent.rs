//! The reconciliation agent: a queue for each contended object, and a few threads that work on them.
//!
//! A case joins the queue of its object and has its turn in order. A thread takes an object, keeps other writers from it
//! for a while, and does one case after the other on the tip that the one before made; their changes travel in one commit
//! group. An object that still has cases goes behind the other objects, so that a slow policy or a large payload holds up
//! its own object alone. A case that is to come again leaves the head of its queue and joins the tail. The threads are the owners
//! of the shards, a lane each: an object's turns are taken by whoever owns its shard.

mod case;
mod escalations;
mod queues;
mod run;
mod verdict;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ostrakon_store::{CaseWrite, Clock, Identity, Note, Outcome, ReadError, Recovered, Ticket, Views};
use ostrakon_wire::bounds::TICKETS_MAX;
use ostrakon_wire::{ActionId, ObjectId, Revision, ShardKey, Version, WireError};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::action_ids::{ActionIds, Asked};
use crate::owner::{NotWritten, Owner};
use crate::policies::place;
pub(crate) use case::{CameTo, Case, Decided, Done, Settles};
use escalations::Escalations;
use queues::{Batch, Queues};
pub(crate) use verdict::{ASKED_FOR_WHAT_IT_HAD, Asking, Subject, base_of};

/// The threads, and what they share. Dropping it stops them; what waits is told so.
pub(crate) struct Agent {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    queues: Queues,
    owner: Arc<Owner>,
    views: Views,
    asking: Asking,
    escalations: Mutex<Escalations>,
    /// Detached actions that are not done.
    tickets: AtomicUsize,
}

/// No more cases are taken.
pub(crate) struct Full;

impl Agent {
    /// Takes up what was detached in an earlier run.
    pub(crate) fn new(
        owner: Arc<Owner>,
        asking: Asking,
        ids: &Arc<ActionIds>,
        recovered: Recovered,
        owners: u32,
    ) -> Self {
        let shared = Arc::new(Shared {
            queues: Queues::new(owner.clock().clone(), owners as usize),
            views: owner.views().clone(),
            owner,
            asking,
            escalations: Mutex::new(Escalations::new(recovered.escalations_open, recovered.escalations_settled)),
            tickets: AtomicUsize::new(recovered.tickets.len()),
        });
        for ticket in recovered.tickets {
            let id = ticket.perform.action_id.expect("a ticket's action has an id");
            if let Asked::Recorded(_) = ids.ask(ticket.perform.target.object.client(), id) {
                // Its outcome went ahead of it on another shard's way.
                shared.close_ticket(&ticket, id);
                continue;
            }
            let claim = ids.resume(ticket.perform.target.object.client(), Identity { id, intent: ticket.intent });
            let mut case = Case::new(ticket.perform, ticket.timestamp, ticket.by, Some(claim));
            case.ticket_open = true;
            shared.queues.push(case, false).unwrap_or_else(|_| unreachable!("what was taken once is not refused"));
        }
        Self { shared, threads: Vec::new() }
    }

    /// Starts the threads.
    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        for lane in 0..self.shared.queues.lanes() {
            let shared = Arc::clone(&self.shared);
            let thread = std::thread::Builder::new().name("reconcile".into());
            self.threads.push(thread.spawn(move || shared.work(lane))?);
        }
        Ok(())
    }

    /// Works on the next object whose turn has come; `false` where there is none.
    #[cfg(feature = "simulation")]
    pub(crate) fn work_once(&self) -> bool {
        self.shared.queues.take_now().map(|batch| self.shared.turn(batch)).is_some()
    }

    /// When the next object's turn comes, if none has come and one will.
    #[cfg(feature = "simulation")]
    pub(crate) fn next_turn(&self) -> Option<std::time::Instant> {
        self.shared.queues.next_turn()
    }

    /// Whether cases wait for this object, or are being worked on.
    pub(crate) fn is_busy(&self, object: &ObjectId) -> bool {
        self.shared.queues.is_busy(object)
    }

    /// Puts a case behind the others of its object. What it comes to is told through the receiver.
    pub(crate) fn queue(&self, mut case: Case) -> Result<oneshot::Receiver<Decided>, Full> {
        if case.is_detached() && self.tickets() >= TICKETS_MAX {
            return Err(Full);
        }
        let (reply, decided) = oneshot::channel();
        case.reply = Some(reply);
        self.shared.queues.push(case, true).map_err(|_| Full)?;
        Ok(decided)
    }

    /// Takes hold of an escalation, so that one alone settles it. `None`: somebody else does.
    pub(crate) fn settle(&self, number: Revision) -> Option<Settling> {
        let free = self.shared.escalations.lock().begin_settling(number);
        free.then(|| Settling { shared: Arc::clone(&self.shared), number })
    }

    /// The settled escalation that makes room for the next, where there is none.
    pub(crate) fn to_drop(&self) -> Option<Revision> {
        self.shared.escalations.lock().to_drop()
    }

    /// One is settled.
    pub(crate) fn settled(&self, number: Revision) {
        self.shared.escalations.lock().settled(number);
    }

    /// Cases that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.queues.waiting()
    }

    /// Detached actions that are not done.
    pub(crate) fn tickets(&self) -> usize {
        self.shared.tickets.load(Ordering::Relaxed)
    }

    /// Escalations that nobody has settled.
    pub(crate) fn escalations_open(&self) -> usize {
        self.shared.escalations.lock().open()
    }
}

/// The right to settle an escalation.
pub(crate) struct Settling {
    shared: Arc<Shared>,
    number: Revision,
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.shared.escalations.lock().end_settling(self.number);
    }
}

impl Shared {
    fn work(&self, lane: usize) {
        while let Some(batch) = self.queues.take(lane) {
            self.turn(batch);
        }
    }

    fn turn(&self, mut batch: Batch) {
        // A turn that panics has said so; the case that it was at tells who waits by being dropped.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.run(&mut batch)));
        self.queues.give_back(batch);
    }

    /// The clocks that the host goes by.
    fn clock(&self) -> &Clock {
        self.owner.clock()
    }

    fn close_ticket(&self, ticket: &Ticket, id: ActionId) {
        let object = ticket.perform.target.object.clone();
        let closed = CaseWrite::CloseTicket { client: object.client().to_owned(), id };
        let note = Note {
            object,
            shard_key: ShardKey::default(),
            version: Version::ABSENT,
            kind: ticket.perform.action.kind(),
            identity: None,
            outcome: Outcome::Settled,
            text: Vec::new(),
            cases: vec![closed],
        };
        self.tickets.fetch_sub(1, Ordering::Relaxed);
        // Not closed now, it is at the next start.
        drop(self.owner.note(note, &mut None));
    }

    /// Tells a case that its object cannot be read. A detached one waits until it can.
    fn unreadable(&self, case: Case, error: &ReadError) -> Option<Case> {
        if case.ticket_open {
            return Some(self.again_after(case, UNREADABLE_WAIT_MS));
        }
        case.tell(Decided::Failed(NotWritten::Read(error.clone())));
        None
    }

    /// The same case, to come again.
    fn again_after(&self, case: Case, ms: u64) -> Case {
        Case { not_before: Some(self.clock().instant() + Duration::from_millis(ms)), ..case }
    }

    fn place(&self, case: &mut Case) -> Result<ShardKey, WireError> {
        let Asking { policies, counters, heated, .. } = &self.asking;
        let object = &case.perform.target.object;
        let heat = heated.for_policy(object, case.timestamp, &self.owner.map());
        place(policies, counters, object, case.timestamp, heat, &mut case.generations)
    }
}

const UNREADABLE_WAIT_MS: u64 = 1_000;

impl Drop for Agent {
    fn drop(&mut self) {
        self.shared.queues.close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
