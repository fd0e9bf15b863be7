//! Transactions: several objects together, all or nothing.

use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Duration;

use ostrakon_core::policy::Route;
use ostrakon_core::reconcile::{self, First, Make, Next};
use ostrakon_store::{Identity, Note, Outcome};
use ostrakon_wire::answer::{StepMade, Transacted};
use ostrakon_wire::bounds::{PAGE_BYTES_MAX, TRANSACT_THREADS, TRANSACTION_BYTES_MAX, TRANSACTIONS_HOLDING_MAX};
use ostrakon_wire::{
    Action, Code, Condition, FailedCondition, Generation, Generations, Must, ObjectId, OnConflict, Payload, Position,
    Transact, Version, WireError,
};
use tokio::sync::{Semaphore, oneshot};
use tracing::Instrument;
use xxhash_rust::xxh3::xxh3_128;

use crate::action_ids::{Begun, Claim, Recorded};
use crate::agent::{ASKED_FOR_WHAT_IT_HAD, Asking, Subject, base_of};
use crate::answers::{id_refused, overloaded, words_of};
use crate::owner::{
    By, Doing, Holding, Known, NotTogether, NotWritten, Pending, Planned, Readers, Refusal, StepDone, Together,
    TooMany, durable, holds, in_order,
};
use crate::reconciled::stored_of;
use crate::trace;
use crate::writes::intent_of;
use crate::{Context, Engine};

/// The threads on which the reconciliation policy is asked about transactions.
pub(crate) struct Judges {
    asking: Asking,
    threads: Readers,
    /// Transactions that may hold their objects.
    holding: Semaphore,
}

/// What was decided about one action.
enum Judgement {
    Doing(Doing),
    Rejected(Code, String),
    Again(u64),
}

impl Judges {
    pub(crate) fn new(asking: Asking) -> Self {
        Self { asking, threads: Readers::driven(), holding: Semaphore::new(TRANSACTIONS_HOLDING_MAX) }
    }

    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        self.threads.add_threads("transact", TRANSACT_THREADS)
    }

    /// Asks about one action that waits; `false` where none does.
    #[cfg(feature = "simulation")]
    pub(crate) fn judge_one(&self, choice: usize) -> bool {
        self.threads.run_one(choice)
    }

    async fn on_thread<T: Send + 'static>(&self, judge: impl FnOnce() -> T + Send + 'static) -> Result<T, WireError> {
        let (reply, judged) = oneshot::channel();
        // The one who asked may have gone.
        let queued = self.threads.run(move || drop(reply.send(judge())));
        queued.map_err(|TooMany| overloaded("too many transactions wait to be judged"))?;
        judged.await.map_err(|_| WireError::new(Code::PolicyFailed, "the judgement was cut off"))
    }
}

/// A transaction on its way.
struct Run<'a> {
    transact: &'a Transact,
    by: By,
    generations: Generations,
    tries: u32,
}

impl Engine {
    pub(crate) async fn transact(&self, transact: &Transact, context: Context) -> Result<Transacted, WireError> {
        let trace = context.trace.clone();
        let by = self.by(context);
        let mut run = Run { transact, by, generations: Generations::default(), tries: 0 };
        let mut claim = match self.identify_transaction(transact).await? {
            Break(recorded) => return self.recall_transaction(transact, recorded).await,
            Continue(claim) => claim,
        };
        let position = self.views.position();
        let doing = vec![Doing::Action; transact.actions.len()];
        let write = trace.write();
        match self.attempt_together(&mut run, &doing, &[], None, &mut claim).instrument(write.clone()).await {
            Ok(done) => {
                trace.went(Route::Write);
                self.transacted(&run, done).instrument(write).await
            }
            Err(NotTogether::Failed(_)) if transact.on_conflict == OnConflict::Reconcile => {
                trace::failed(&write, Code::Conflict);
                drop(write);
                trace.went(Route::Reconcile);
                self.judged_again(&mut run, &mut claim).instrument(trace.reconcile()).await
            }
            Err(reason) => {
                trace.went(Route::Write);
                let error = self.not_together(&run, reason, position).await;
                trace::failed(&write, error.code);
                Err(error)
            }
        }
    }

    async fn identify_transaction(
        &self,
        transact: &Transact,
    ) -> Result<ControlFlow<Recorded, Option<Claim>>, WireError> {
        let Some(id) = transact.action_id else { return Ok(Continue(None)) };
        let of_actions =
            transact.actions.iter().flat_map(|step| intent_of(&step.target.object, &step.action).to_be_bytes());
        let identity = Identity { id, intent: xxh3_128(&of_actions.collect::<Vec<_>>()) };
        let client = transact.actions[0].target.object.client();
        match self.ids.begin(client, identity, self.owner.clock().now(), true).await.map_err(id_refused)? {
            Begun::Fresh(claim) => Ok(Continue(Some(claim))),
            Begun::Repeat(recorded) => Ok(Break(recorded)),
            Begun::Running => unreachable!("who waits is not told that it runs"),
        }
    }

    /// Brings it to the owner, with a key for each object that has none. `waived`: conditions that were judged otherwise.
    async fn attempt_together(
        &self,
        run: &mut Run<'_>,
        doing: &[Doing],
        waived: &[usize],
        holding: Option<&Holding>,
        claim: &mut Option<Claim>,
    ) -> Result<(Pending, Vec<StepDone>), NotTogether> {
        let transact = run.transact;
        let conditions = transact.conditions.iter().enumerate().filter(|(at, _)| !waived.contains(at));
        let conditions: Vec<_> = conditions.collect();
        let steps = transact.actions.iter().zip(doing).map(|(step, doing)| Planned {
            object: &step.target.object,
            claimed_key: step.target.shard_key,
            new_key: None,
            action: &step.action,
            doing: doing.clone(),
        });
        let numbers: Vec<usize> = conditions.iter().map(|(at, _)| *at).collect();
        let conditions = conditions.into_iter().map(|(_, condition)| condition).collect();
        let by = run.by.clone();
        let mut together = Together::new(conditions, steps.collect(), &by);
        self.counters.tried.add();
        loop {
            match self.owner.together(&together, holding, claim).await {
                Err(NotTogether::NoKey(at)) if together.steps[at].new_key.is_none() => {
                    let object = together.steps[at].object;
                    let key = self.place(object, run.by.timestamp, &mut run.generations);
                    let key = key.map_err(|_| NotTogether::NotWritten(NotWritten::NoKey))?;
                    together.steps[at].new_key = Some(key);
                }
                Err(NotTogether::Failed(failed)) => {
                    let failed = failed.into_iter().map(|(at, stands)| (numbers[at], stands)).collect();
                    return Err(NotTogether::Failed(failed));
                }
                outcome => return outcome,
            }
        }
    }

    async fn transacted(
        &self,
        run: &Run<'_>,
        (pending, steps): (Pending, Vec<StepDone>),
    ) -> Result<Transacted, WireError> {
        let revision = match durable(pending).await {
            Ok(durable) => durable.revision,
            Err(reason) => return Err(self.not_written(reason, self.views.position(), run.generations)),
        };
        let objects = run.transact.actions.iter().map(|step| &step.target.object);
        for (object, step) in objects.zip(&steps) {
            self.observed.wrote(object.digest(), step.version);
            self.counters.committed.add();
            if step.created {
                self.counters.created.add();
            }
        }
        let made =
            steps.into_iter().map(|StepDone { shard_key, version, reply, .. }| StepMade { version, shard_key, reply });
        let position = Position::behind(self.log, revision);
        Ok(Transacted {
            revision,
            made: made.collect(),
            repeated: false,
            tries: run.tries,
            decided: self.decided(None, position, run.generations),
        })
    }

    /// What a transaction came to whose id is remembered.
    async fn recall_transaction(&self, transact: &Transact, recorded: Recorded) -> Result<Transacted, WireError> {
        let revision = recorded.revision;
        if !matches!(recorded.outcome, Outcome::Made | Outcome::Applied) {
            return match self.recall(recorded).await {
                Err(error) => Err(error),
                Ok(_) => unreachable!("it made nothing"),
            };
        }
        self.counters.repeated.add();
        let views = self.views.clone();
        let entries = self.owner.on_reader(move || views.latest().logged(revision)).await;
        let entries = entries.map_err(|error| self.unreadable(&error))?;
        let made = transact.actions.iter().map(|step| {
            let entry = entries.iter().find(|entry| entry.object == step.target.object)?;
            let reply = (!entry.note.is_empty()).then(|| Payload::structured(entry.note.clone()).ok()).flatten();
            Some(StepMade { version: entry.version, shard_key: entry.shard_key, reply })
        });
        let forgotten = || WireError::new(Code::ActionExpired, "what the transaction came to is no longer remembered");
        let made = made.collect::<Option<Vec<_>>>().ok_or_else(forgotten)?;
        let position = Position::behind(self.log, revision);
        let decided = self.decided(None, position, Generations::default());
        Ok(Transacted { revision, made, repeated: true, tries: 0, decided })
    }

    /// Judges the whole again on the latest: nobody else writes to its objects meanwhile.
    async fn judged_again(&self, run: &mut Run<'_>, claim: &mut Option<Claim>) -> Result<Transacted, WireError> {
        let permit = self.judges.holding.try_acquire();
        let _permit = permit.map_err(|_| overloaded("too many transactions are judged again"))?;
        let transact = run.transact;
        let asked = transact.conditions.iter().map(|condition| &condition.object);
        let changed = transact.actions.iter().map(|step| &step.target.object);
        let objects = in_order(asked.chain(changed));
        loop {
            let wait_ms = {
                let holding = self.owner.hold(&objects).await;
                match self.judge_held(run, &objects, &holding, claim).await? {
                    Break(done) => return Ok(done),
                    Continue(wait_ms) => wait_ms,
                }
            };
            self.rest(wait_ms).await;
        }
    }

    /// What is simulated has no timers: whoever rests there comes again at once.
    pub(crate) async fn rest(&self, ms: u64) {
        if self.owner.clock().is_simulated() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(Duration::from_millis(ms)).await;
        }
    }

    /// One try; goes on after so many milliseconds where the policy says so.
    async fn judge_held(
        &self,
        run: &mut Run<'_>,
        objects: &[ObjectId],
        holding: &Holding,
        claim: &mut Option<Claim>,
    ) -> Result<ControlFlow<Transacted, u64>, WireError> {
        let position = self.views.position();
        let stands = match self.owner.held(objects, holding).await {
            Ok(stands) => stands,
            Err(reason) => return Err(self.not_together(run, reason, position).await),
        };
        let of = |object: &ObjectId| &stands[objects.binary_search(object).expect("all objects are held")];
        let conditions = run.transact.conditions.iter().enumerate();
        let failed: Vec<_> = conditions.filter(|(_, condition)| !holds(condition, of(&condition.object))).collect();
        let for_policy = |condition: &Condition| match condition.must {
            // A version that never was is no base for anything.
            Must::BeAt(known) => {
                known <= of(&condition.object).version && self.step_of(run, &condition.object).is_some()
            }
            Must::Hold { .. } => false,
        };
        if failed.iter().any(|(_, condition)| !for_policy(condition)) {
            let failed = failed.iter().map(|(at, condition)| (*at, of(&condition.object).clone())).collect();
            self.owner.settled(objects).await.map_err(|reason| self.not_written(reason, position, run.generations))?;
            return Err(self.not_together(run, NotTogether::Failed(failed), position).await);
        }
        let waived: Vec<usize> = failed.iter().map(|(at, _)| *at).collect();
        let mut doing = vec![Doing::Action; run.transact.actions.len()];
        run.tries += 1;
        for (_, condition) in &failed {
            let Must::BeAt(known) = condition.must else { continue };
            let at = self.step_of(run, &condition.object).expect("it was looked for above");
            let action = run.transact.actions[at].action.clone();
            let (judgement, generation) =
                self.judge_step(run, &condition.object, action, known, of(&condition.object)).await?;
            run.generations.reconciliation = generation.or(run.generations.reconciliation);
            match judgement {
                Judgement::Doing(done) => doing[at] = done,
                Judgement::Rejected(code, words) => {
                    return Err(self.reject(run, at, of(&condition.object), code, words, claim).await);
                }
                Judgement::Again(ms) => return Ok(Continue(ms)),
            }
        }
        match self.attempt_together(run, &doing, &waived, Some(holding), claim).await {
            Ok(done) => {
                self.counters.reconciled.add();
                self.transacted(run, done).await.map(Break)
            }
            Err(NotTogether::Stale) => Ok(Continue(0)),
            Err(NotTogether::Refused { step, refusal, stands }) => {
                let (code, words) = words_of(&refusal);
                Err(self.reject(run, step, &stands, code, words, claim).await)
            }
            Err(reason) => Err(self.not_together(run, reason, position).await),
        }
    }

    /// The action on this object.
    fn step_of(&self, run: &Run<'_>, object: &ObjectId) -> Option<usize> {
        run.transact.actions.iter().position(|step| step.target.object == *object)
    }

    /// Asks the policy what becomes of one action.
    async fn judge_step(
        &self,
        run: &Run<'_>,
        object: &ObjectId,
        action: Action,
        known: Version,
        tip: &Known,
    ) -> Result<(Judgement, Option<Generation>), WireError> {
        let (asking, views) = (self.judges.asking.clone(), self.views.clone());
        let (object, tip, tries) = (object.clone(), tip.clone(), run.tries);
        let seed = run.transact.action_id.map_or_else(|| Subject::seed(&tip), |id| id.bits() as u64);
        let judge = move || {
            let base = tip.place.and_then(|place| base_of(&views, place, known));
            let latest = tip.live().map(|live| live.payload);
            let patches = reconcile::patches(&action, base.as_ref(), latest);
            let patches = match reconcile::first(action.kind(), false, patches.is_some()) {
                First::Judge => patches,
                First::Apply | First::Reconcile => None,
            };
            let subject = Subject { object: &object, action: &action, known: Some(known), tip: &tip, tries };
            let asked = asking.ask(&subject, base.as_ref(), patches, seed);
            (judgement(asked.next, &tip), asked.generation)
        };
        self.judges.on_thread(judge).await
    }

    /// Records under its id that a transaction is rejected, and tells so.
    async fn reject(
        &self,
        run: &Run<'_>,
        step: usize,
        stands: &Known,
        code: Code,
        words: String,
        claim: &mut Option<Claim>,
    ) -> WireError {
        let first = &run.transact.actions[0];
        let shard_key = stands.shard_key().unwrap_or_default();
        let words = format!("action {step} on {}: {words}", run.transact.actions[step].target.object);
        let note = Note {
            object: first.target.object.clone(),
            shard_key,
            version: stands.version,
            kind: first.action.kind(),
            identity: claim.as_ref().map(Claim::identity),
            outcome: Outcome::Rejected,
            text: [&code.number().to_be_bytes()[..], words.as_bytes()].concat(),
            cases: Vec::new(),
        };
        self.counters.rejected.add();
        let noted = match self.owner.note(note, claim) {
            Ok(pending) => durable(pending).await,
            Err(reason) => Err(reason),
        };
        match noted {
            Ok(durable) => WireError {
                stored: stored_of(code, stands.version),
                step: Some(step as u32),
                decided: Some(self.decided_at(shard_key, durable.revision, run.generations)),
                ..WireError::new(code, words)
            },
            Err(reason) => self.not_written(reason, self.views.position(), run.generations),
        }
    }

    async fn not_together(&self, run: &Run<'_>, reason: NotTogether, position: Position) -> WireError {
        let decided = Some(self.decided(None, position, run.generations));
        match reason {
            NotTogether::Failed(failed) => {
                let conditions = failed.len();
                let failed = self.failed_conditions(run.transact, failed).await;
                let message = match conditions {
                    1 => format!("condition {} does not hold", failed[0].index),
                    several => format!("{several} conditions do not hold"),
                };
                WireError { failed, decided, ..WireError::new(Code::Conflict, message) }
            }
            NotTogether::Refused { step, refusal, stands } => {
                let reason = NotWritten::Refused { refusal, stands };
                let error = self.not_written(reason, position, run.generations);
                let object = &run.transact.actions[step].target.object;
                WireError {
                    message: format!("action {step} on {object}: {}", error.message),
                    step: Some(step as u32),
                    ..error
                }
            }
            NotTogether::TooLarge => WireError {
                decided,
                ..WireError::new(
                    Code::PayloadTooLarge,
                    format!("what a transaction makes has at most {TRANSACTION_BYTES_MAX} bytes"),
                )
            },
            NotTogether::NoKey(_) => self.not_written(NotWritten::NoKey, position, run.generations),
            NotTogether::Stale => overloaded("its objects are changed too fast to be judged"),
            NotTogether::NotWritten(reason) => self.not_written(reason, position, run.generations),
        }
    }

    /// What stands where conditions failed, as far as there is room for payloads in an answer.
    async fn failed_conditions(&self, transact: &Transact, failed: Vec<(usize, Known)>) -> Vec<FailedCondition> {
        let (mut told, mut bytes) = (Vec::with_capacity(failed.len()), 0);
        for (index, stands) in failed {
            let object = &transact.conditions[index].object;
            // A payload too large to be kept in memory is read again, if it is still the one that was judged.
            let read = if stands.is_whole() { None } else { self.owner.head(object, true).await.ok() };
            let stands = read.filter(|read| read.version == stands.version).unwrap_or(stands);
            let payload = stands.live().map(|live| live.payload.clone());
            let size = payload.as_ref().map_or(0, |payload| payload.as_bytes().len());
            let fits = bytes + size <= PAGE_BYTES_MAX / 2;
            bytes += if fits { size } else { 0 };
            let omitted = stands.is_live() && (payload.is_none() || !fits);
            let payload = payload.filter(|_| fits);
            told.push(FailedCondition { index: index as u32, version: stands.version, payload, omitted });
        }
        told
    }
}

/// What becomes of an action by the policy's next step.
fn judgement(next: Next, tip: &Known) -> Judgement {
    let met = tip.version;
    let stored = tip.live().map(|live| live.payload);
    match next {
        Next::Rerun => Judgement::Doing(Doing::Action),
        Next::Write(Make::Patch(patch), reply) => match ostrakon_core::action::merge(stored, &patch) {
            Ok(payload) => Judgement::Doing(Doing::Write(met, Some(payload), reply)),
            Err(error) => {
                let (code, words) = words_of(&Refusal::Action(error));
                Judgement::Rejected(code, words)
            }
        },
        Next::Write(Make::Replace(payload), reply) => Judgement::Doing(Doing::Write(met, Some(payload), reply)),
        Next::Write(Make::Remove, reply) if tip.is_live() => Judgement::Doing(Doing::Write(met, None, reply)),
        Next::Write(Make::Remove, reply) | Next::Applied(reply) => Judgement::Doing(Doing::Applied(met, reply)),
        Next::Reject(words) => Judgement::Rejected(Code::Rejected, words),
        Next::Again(ms) => Judgement::Again(ms),
        // Nobody could settle a part of it by itself.
        Next::Escalate(words) => Judgement::Rejected(Code::Rejected, format!("it was given up: {words}")),
        Next::Reconcile => Judgement::Rejected(Code::Rejected, ASKED_FOR_WHAT_IT_HAD.to_owned()),
    }
}
