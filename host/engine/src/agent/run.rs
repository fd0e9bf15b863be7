//! A turn of one object: its cases, one after the other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ostrakon_core::reconcile::{self, First, Make, Next};
use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{CaseWrite, Escalation, Note, Outcome, Place, Ticket};
use ostrakon_wire::bounds::{RECONCILE_PAUSE_MS_MAX, RECONCILE_RUN_BYTES, RECONCILE_RUN_MS};
use ostrakon_wire::{Action, ActionKind, Code, OnConflict, Payload, Revision, ShardKey, Version, WireError};

use super::Shared;
use super::case::{self, CameTo, Case, Decided, Done};
use super::queues::Batch;
use super::verdict::{ASKED_FOR_WHAT_IT_HAD, Subject, base_of};
use crate::action_ids::Claim;
use crate::answers;
use crate::owner::{NotWritten, Pending, Refusal, Turn, Writing};

/// The commit queue is full: how long an object waits before its next turn.
const FULL_WAIT: Duration = Duration::from_millis(2);
/// Other writers have waited for the end of a turn: how long they have before the next one.
const OTHERS_WAIT: Duration = Duration::from_micros(300);
/// An action that takes longer is dear: what it takes, a core and the one journal, the other objects want too.
const DEAR: Duration = Duration::from_micros(500);
/// An object whose actions are dear waits so many times as long as its turn took.
const DEAR_WAITS: u32 = 9;
/// There is no room for one more escalation: how long a detached action waits.
const NO_ROOM_WAIT_MS: u64 = 5_000;

/// What becomes of a case at its turn.
enum Worked {
    /// It is told, or goes on by itself.
    Gone,
    /// It comes again, behind the others.
    Again(Case),
    /// It could not be queued; nothing behind it can.
    Full(Case),
}

/// What a case comes to, before it is queued.
enum Outcomes {
    /// This is written, or nothing stands there any more; and the policy's reply.
    Write(Option<Payload>, Option<Payload>),
    /// Nothing is; and the policy's reply.
    Applied(Option<Payload>),
    Rejected(Code, String),
    Escalate(String),
    Again(u64),
}

impl Shared {
    /// Works on what is due, for as long as a turn may take. What is left stays in the batch.
    pub(super) fn run(&self, batch: &mut Batch) {
        if batch.cases.is_empty() {
            return;
        }
        let recent = std::mem::take(&mut batch.recent);
        let mut turn = match Turn::take(&self.owner, &batch.object, recent) {
            Ok(Some(turn)) => turn,
            // A transaction has the object: it comes next.
            Ok(None) => return batch.stall(self.clock().instant(), OTHERS_WAIT),
            Err(error) => {
                let cases = batch.cases.drain(..);
                batch.again.extend(cases.filter_map(|case| self.unreadable(case, &error)));
                return;
            }
        };
        // Whose it is is only known for certain now.
        let lane = |place: Place| self.views.map().owner_of(place.shard_key) as usize % self.queues.lanes();
        if let Some(lane) = turn.tip().place.map(lane).filter(|lane| *lane != batch.lane) {
            (batch.lane, batch.recent) = (lane, turn.end().0);
            return;
        }
        let (before, waiting) = (self.clock().thread_time(), batch.cases.len());
        self.cases(&mut turn, batch);
        let (done, bytes, key) = (waiting - batch.cases.len(), turn.written_bytes(), turn.tip().shard_key());
        let (recent, others_wait) = turn.end();
        batch.recent = recent;
        let now = self.clock().instant();
        if others_wait {
            batch.stall(now, OTHERS_WAIT);
        }
        let cost = self.clock().thread_time().saturating_sub(before) + self.commit_time(bytes);
        if let Some(key) = key.filter(|_| done > 0) {
            self.asking.heated.worked(&batch.object, key, done, cost);
        }
        if cost > DEAR * done.max(1) as u32 {
            batch.stall(now, (cost * DEAR_WAITS).min(Duration::from_millis(RECONCILE_PAUSE_MS_MAX)));
        }
    }

    /// How long the committing thread has to do with so many bytes, as far as it has had so many at a time.
    fn commit_time(&self, bytes: usize) -> Duration {
        let mib_us = self.owner.commit_stats().mib_us.load(Ordering::Relaxed);
        Duration::from_micros((bytes as u64 * u64::from(mib_us)) >> 20)
    }

    fn cases(&self, turn: &mut Turn<'_>, batch: &mut Batch) {
        let end = self.clock().instant() + Duration::from_millis(RECONCILE_RUN_MS);
        while let Some(case) = batch.cases.pop_front() {
            match self.case(turn, case) {
                Worked::Gone => {}
                Worked::Again(_) if planted::is(Fault::DropRetry) => {}
                Worked::Again(case) => batch.again.push(case),
                Worked::Full(case) => {
                    batch.cases.push_front(case);
                    batch.stall(self.clock().instant(), FULL_WAIT);
                    return;
                }
            }
            if self.clock().instant() >= end || turn.written_bytes() >= RECONCILE_RUN_BYTES {
                return;
            }
        }
    }

    fn case(&self, turn: &mut Turn<'_>, mut case: Case) -> Worked {
        let tip = turn.tip();
        let met = tip.version;
        let refusal = match (case.perform.target.shard_key, tip.shard_key()) {
            (Some(claimed), Some(recorded)) if claimed != recorded => Some(Refusal::WrongKey),
            _ => case.condition().check(met, tip.is_live()),
        };
        let conflict = refusal.is_some();
        match refusal {
            None => {}
            // A version that never was is no base for anything.
            Some(Refusal::Conflict) if case.perform.on_conflict != OnConflict::Reject && is_past(&case, met) => {}
            Some(refusal) if case.ticket_open => return self.end(turn, case, rejected(&refusal), met, conflict),
            Some(refusal) => {
                let (settled, generations) = (turn.settled(), case.generations);
                case.tell(Decided::Refused { refusal, settled, generations });
                return Worked::Gone;
            }
        }
        if case.is_detached() && !case.ticket_open {
            match self.open_ticket(turn, &mut case) {
                Ok(()) => {}
                Err(NotWritten::Full) => return Worked::Full(case),
                Err(reason) => return failed(case, reason),
            }
        }
        let tries = case.tries;
        let outcome = self.decide(turn, &mut case, !conflict);
        match self.end(turn, case, outcome, met, conflict) {
            // It was judged for nothing: that is no try of its own.
            Worked::Full(case) => Worked::Full(Case { tries, ..case }),
            worked => worked,
        }
    }

    /// Queues the ticket of a detached case, and tells it.
    fn open_ticket(&self, turn: &mut Turn<'_>, case: &mut Case) -> Result<(), NotWritten> {
        // The note waits with the shard of what will end the ticket.
        let shard_key = self.key_of(turn, case).ok_or(NotWritten::NoKey)?;
        let identity = case.claim.as_ref().expect("a detached action has an id").identity();
        let ticket = Ticket {
            intent: identity.intent,
            timestamp: case.timestamp,
            by: case.by.clone(),
            perform: case.perform.clone(),
        };
        let note = Note {
            object: case.perform.target.object.clone(),
            shard_key,
            version: turn.tip().version,
            kind: case.perform.action.kind(),
            identity: None,
            outcome: Outcome::Detached,
            text: Vec::new(),
            cases: vec![CaseWrite::OpenTicket(Box::new(ticket))],
        };
        let pending = turn.note(note, &mut None)?;
        case.ticket_open = true;
        self.tickets.fetch_add(1, Ordering::Relaxed);
        if let Some(reply) = case.reply.take() {
            let _ = reply.send(Decided::Ticket(identity.id, pending));
        }
        Ok(())
    }

    /// The recorded key; for an object that has none the claimed one, or what the policy says, asked once.
    fn key_of(&self, turn: &Turn<'_>, case: &mut Case) -> Option<ShardKey> {
        let told = turn.tip().shard_key().or(case.new_key).or(case.perform.target.shard_key);
        told.or_else(|| {
            case.new_key = self.place(case).ok();
            case.new_key
        })
    }

    /// Decides what a case comes to on the tip. `holds`: its condition does.
    fn decide(&self, turn: &Turn<'_>, case: &mut Case, holds: bool) -> Outcomes {
        let action = case.perform.action.clone();
        let latest = turn.tip().live().map(|live| live.payload.clone());
        let (base, patches) = if holds {
            (None, None)
        } else {
            let base = self.base(turn, case);
            let patches = reconcile::patches(&action, base.as_ref(), latest.as_ref());
            (base, patches)
        };
        let holds = holds || action.kind() == ActionKind::Put && planted::is(Fault::BlindReapply);
        let asked = match reconcile::first(action.kind(), holds, patches.is_some()) {
            First::Apply => return apply(turn, &action),
            First::Judge if planted::is(Fault::SkipJudgement) => return apply(turn, &action),
            First::Judge => patches,
            First::Reconcile => None,
        };
        case.tries += 1;
        let tip = turn.tip();
        let (object, known, tries) = (&case.perform.target.object, case.perform.known, case.tries);
        let subject = Subject { object, action: &action, known, tip, tries };
        let seed = case.perform.action_id.map_or_else(|| Subject::seed(tip), |id| id.bits() as u64);
        let asked = self.asking.ask(&subject, base.as_ref(), asked, seed);
        case.verdicts += asked.verdicts;
        case.generations.reconciliation = asked.generation;
        match asked.next {
            Next::Rerun => apply(turn, &action),
            Next::Write(Make::Patch(patch), reply) => match turn.apply(&Action::Merge(patch)) {
                Ok(payload) => Outcomes::Write(payload, reply),
                Err(refusal) => rejected(&refusal),
            },
            Next::Write(Make::Replace(payload), reply) => Outcomes::Write(Some(payload), reply),
            Next::Write(Make::Remove, reply) if turn.tip().is_live() => Outcomes::Write(None, reply),
            Next::Write(Make::Remove, reply) | Next::Applied(reply) => Outcomes::Applied(reply),
            Next::Reject(words) => Outcomes::Rejected(Code::Rejected, words),
            Next::Again(ms) => Outcomes::Again(ms),
            Next::Escalate(words) => Outcomes::Escalate(words),
            Next::Reconcile => Outcomes::Escalate(ASKED_FOR_WHAT_IT_HAD.to_owned()),
        }
    }

    /// The object at the version that a case was made for, if history holds it.
    fn base(&self, turn: &Turn<'_>, case: &Case) -> Option<Payload> {
        let (known, place) = (case.perform.known?, turn.tip().place?);
        turn.recently(known).cloned().or_else(|| base_of(&self.views, place, known))
    }

    /// Queues what a case comes to, and tells it.
    fn end(&self, turn: &mut Turn<'_>, mut case: Case, outcome: Outcomes, met: Version, conflict: bool) -> Worked {
        if let Outcomes::Again(ms) = outcome {
            return Worked::Again(self.again_after(case, ms));
        }
        // What settles an escalation makes a version, or leaves it open.
        if case.settles.is_some() {
            let left = match &outcome {
                Outcomes::Rejected(code, words) => Some(WireError::new(*code, words.clone())),
                Outcomes::Escalate(words) => Some(WireError::new(Code::Escalated, words.clone())),
                _ => None,
            };
            if let Some(error) = left {
                let number = case.settles.as_ref().map(|settles| settles.number);
                case.tell(Decided::Error(WireError { escalation: number, ..error }, turn.settled()));
                return Worked::Gone;
            }
        }
        match self.queue_outcome(turn, &mut case, outcome) {
            Ok((pending, came_to)) => {
                if let Some(settles) = &case.settles {
                    self.escalations.lock().settled(settles.number);
                }
                if case.ticket_open {
                    self.tickets.fetch_sub(1, Ordering::Relaxed);
                }
                self.count(&came_to, case.tries);
                let Case { tries, verdicts, generations, .. } = case;
                let done = Done { pending, came_to, tries, verdicts, generations, met, conflict };
                case.tell(Decided::Done(Box::new(done)));
                Worked::Gone
            }
            Err(NotWritten::Full) if planted::is(Fault::DropWhenFull) => Worked::Gone,
            Err(NotWritten::Full) => Worked::Full(case),
            Err(NotWritten::Refused { refusal, .. }) if case.ticket_open => {
                self.end(turn, case, rejected(&refusal), met, conflict)
            }
            // What stands on disk is not dropped here; a store that has failed is restarted.
            Err(reason) if case.ticket_open && !matches!(reason, NotWritten::Commit(_)) => {
                Worked::Again(self.again_after(case, NO_ROOM_WAIT_MS))
            }
            Err(reason) => failed(case, reason),
        }
    }

    fn count(&self, came_to: &CameTo, tries: u32) {
        let counters = &self.asking.counters;
        match came_to {
            CameTo::Made { made, .. } => {
                counters.committed.add();
                if made.created {
                    counters.created.add();
                }
                if tries > 0 {
                    counters.reconciled.add();
                }
            }
            CameTo::Applied { .. } => counters.applied.add(),
            CameTo::Rejected { .. } => counters.rejected.add(),
            CameTo::Escalated { .. } => counters.escalated.add(),
        }
    }

    fn queue_outcome(
        &self,
        turn: &mut Turn<'_>,
        case: &mut Case,
        outcome: Outcomes,
    ) -> Result<(Pending, CameTo), NotWritten> {
        let mut claim = case.claim.take();
        let queued = self.queue_with(turn, case, outcome, &mut claim);
        // What could not be queued keeps its claim.
        case.claim = claim;
        queued
    }

    fn queue_with(
        &self,
        turn: &mut Turn<'_>,
        case: &mut Case,
        outcome: Outcomes,
        claim: &mut Option<Claim>,
    ) -> Result<(Pending, CameTo), NotWritten> {
        let (kind, timestamp) = (case.perform.action.kind(), case.timestamp);
        let shard_key = case::key_of(turn.tip());
        let made = turn.tip().version.next();
        let (outcome, text, cases, came_to) = match outcome {
            Outcomes::Write(payload, reply) => {
                let new_key = self.key_of(turn, case);
                let cases = case.ends(made, self.to_drop(case));
                let beside = case::beside(reply.as_ref(), cases);
                self.asking.counters.tried.add();
                let by = case.by.clone();
                let writing = Writing { kind, payload, new_key, timestamp, by, beside };
                let (made, pending) = turn.write(writing, claim)?;
                return Ok((pending, CameTo::Made { made, reply }));
            }
            Outcomes::Applied(reply) => {
                let version = turn.tip().version;
                let cases = case.ends(None, self.to_drop(case));
                let text = reply.as_ref().map_or(Vec::new(), |reply| reply.as_bytes().to_vec());
                (Outcome::Applied, text, cases, CameTo::Applied { version, shard_key, reply })
            }
            Outcomes::Rejected(code, words) => {
                let text = [&code.number().to_be_bytes()[..], words.as_bytes()].concat();
                let cases = case.ends(None, None);
                (Outcome::Rejected, text, cases, CameTo::Rejected { code, words, shard_key })
            }
            Outcomes::Escalate(words) => {
                if !self.escalations.lock().add() {
                    return Err(NotWritten::NoRoom);
                }
                let mut cases = case.ends(None, None);
                let escalation = self.escalation(turn, case, words.clone());
                cases.push(CaseWrite::OpenEscalation(Box::new(escalation)));
                (Outcome::Escalated, words.clone().into_bytes(), cases, CameTo::Escalated { words, shard_key })
            }
            Outcomes::Again(_) => unreachable!("what comes again is not queued"),
        };
        let object = case.perform.target.object.clone();
        let identity = claim.as_ref().map(Claim::identity);
        let version = turn.tip().version;
        let note = Note { object, shard_key, version, kind, identity, outcome, text, cases };
        let pending = turn.note(note, claim).inspect_err(|_| {
            if outcome == Outcome::Escalated {
                self.escalations.lock().take_back();
            }
        })?;
        Ok((pending, came_to))
    }

    fn to_drop(&self, case: &Case) -> Option<Revision> {
        case.settles.as_ref().and_then(|_| self.escalations.lock().to_drop())
    }

    fn escalation(&self, turn: &Turn<'_>, case: &Case, words: String) -> Escalation {
        Escalation {
            opened: self.clock().now(),
            timestamp: case.timestamp,
            perform: case.perform.clone(),
            base: self.base(turn, case),
            latest: turn.tip().version,
            latest_payload: turn.tip().live().map(|live| live.payload.clone()),
            tries: case.tries,
            words,
            settled: None,
        }
    }
}

fn failed(case: Case, reason: NotWritten) -> Worked {
    case.tell(Decided::Failed(reason));
    Worked::Gone
}

fn rejected(refusal: &Refusal) -> Outcomes {
    let (code, words) = answers::words_of(refusal);
    Outcomes::Rejected(code, words)
}

fn apply(turn: &Turn<'_>, action: &Action) -> Outcomes {
    match turn.apply(action) {
        Ok(payload) => Outcomes::Write(payload, None),
        Err(refusal) => rejected(&refusal),
    }
}

/// Whether the version that a case was made for has been: it can be told from what stands there now.
fn is_past(case: &Case, met: Version) -> bool {
    case.perform.known.is_none_or(|known| known <= met)
}
