//! Conditional writes and actions: identify, predict, write, answer.

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::Ordering;

use ostrakon_core::policy::{Decision, Forecast, Met, Outcome, Outlook, Route};
use ostrakon_store::Identity;
use ostrakon_wire::answer::Committed;
use ostrakon_wire::{
    Action, ActionId, ActionKind, Code, ConditionalWrite, Generations, ObjectId, OnConflict, Perform, Position, Reply,
    Target, TimestampMs, Version, WireError,
};
use tracing::Instrument;
use xxhash_rust::xxh3::xxh3_64;

use crate::action_ids::{Begun, Claim, intent};
use crate::answers::id_refused;
use crate::observed::OnItsWay;
use crate::owner::{By, Condition, Intent, NotWritten, Written};
use crate::reconciled::Reconciled;
use crate::trace::{self, Trace};
use crate::{Context, Engine};

/// One write, whichever request it came with.
struct Write<'a> {
    target: &'a Target,
    action: &'a Action,
    condition: Condition,
    action_id: Option<ActionId>,
    choice: OnConflict,
    by: By,
    trace: Trace,
}

/// What the prediction said of a write.
struct Foretold {
    known: Version,
    choice: OnConflict,
    /// As the policy was told it.
    outlook: Outlook,
    /// A forecast that could not be had is none; the write goes ahead without.
    decision: Decision<Forecast>,
    /// The version that this front end saw last.
    cached: Option<Version>,
}

/// What a write came to for which something was foretold.
struct Ended {
    met: Version,
    conflict: bool,
    written: bool,
    /// It was brought to its owner, not only confirmed or queued.
    tried: bool,
}

impl Foretold {
    fn expects_conflict(&self) -> bool {
        self.decision.result.as_ref().is_ok_and(|forecast| forecast.route == Route::Reconcile)
    }

    fn generations(&self) -> Generations {
        Generations { prediction: Some(self.decision.generation), ..Generations::default() }
    }
}

impl<'a> Write<'a> {
    fn of(perform: &'a Perform, by: By, trace: Trace) -> Self {
        Self {
            target: &perform.target,
            action: &perform.action,
            condition: Condition::of(perform.known),
            action_id: perform.action_id,
            choice: perform.on_conflict,
            by,
            trace,
        }
    }
}

impl Engine {
    pub(crate) async fn conditional_write(
        &self,
        write: &ConditionalWrite,
        context: Context,
    ) -> Result<Reply, WireError> {
        if write.new_version == Version::ABSENT {
            return Err(WireError::new(Code::InvalidVersion, "a new version is at least 1"));
        }
        let (action, trace) = (Action::Put(write.payload.clone()), context.trace.clone());
        let write = Write {
            target: &write.target,
            action: &action,
            condition: Condition::Makes(write.new_version),
            action_id: write.action_id,
            choice: OnConflict::Reject,
            by: self.by(context),
            trace,
        };
        let mut claim = match self.identify(&write).await? {
            Break(answered) => return Ok(answered),
            Continue(claim) => claim,
        };
        self.look(&write).await;
        self.attempt(&write, &mut claim).await.map(Reply::Committed)
    }

    pub(crate) async fn perform(&self, perform: &Perform, context: Context) -> Result<Reply, WireError> {
        let trace = context.trace.clone();
        let write = Write::of(perform, self.by(context), trace);
        let mut claim = match self.identify(&write).await? {
            Break(answered) => return Ok(answered),
            Continue(claim) => claim,
        };
        self.look(&write).await;
        let object = &perform.target.object;
        let (custom, reject) = (write.action.kind() == ActionKind::Custom, write.choice == OnConflict::Reject);
        // Boxed: what is reconciled takes more room than a write, and writes need not carry it.
        if custom || !reject && self.agent.is_busy(object) {
            return Box::pin(self.reconciled_unforeseen(perform, &write, &mut claim)).await;
        }
        match write.condition.known() {
            Some(known) if !reject => Box::pin(self.write_or_reconcile(perform, &write, known, &mut claim)).await,
            _ => self.attempt(&write, &mut claim).await.map(Reply::Committed),
        }
    }

    /// Starts reconciliation of an action without trying it.
    pub(crate) async fn reconcile(&self, perform: &Perform, context: Context) -> Result<Reply, WireError> {
        let on_conflict = match perform.on_conflict {
            OnConflict::Reject => OnConflict::Reconcile,
            choice => choice,
        };
        let perform = &Perform { on_conflict, ..perform.clone() };
        let trace = context.trace.clone();
        let write = Write::of(perform, self.by(context), trace);
        let mut claim = match self.identify(&write).await? {
            Break(answered) => return Ok(answered),
            Continue(claim) => claim,
        };
        self.look(&write).await;
        self.reconciled_unforeseen(perform, &write, &mut claim).await
    }

    /// Reconciles an action without a forecast for it.
    async fn reconciled_unforeseen(
        &self,
        perform: &Perform,
        write: &Write<'_>,
        claim: &mut Option<Claim>,
    ) -> Result<Reply, WireError> {
        let reconciled = self.reconciled(perform, &write.by, &write.trace, claim, Generations::default()).await;
        self.observe(&perform.target.object, &reconciled);
        reconciled.reply
    }

    /// Looks for the object of a request that is traced, for its trace to tell how long that takes. Others find theirs where
    /// they write, under the lock that they hold then; what was read for the one is there for the other.
    async fn look(&self, write: &Write<'_>) {
        if write.trace.is_on() {
            let span = write.trace.locate();
            let head = Box::pin(self.owner.head(&write.target.object, false)).instrument(span.clone()).await;
            if let Ok(known) = head {
                trace::looked(&span, known.shard_key().is_some());
            }
        }
    }

    /// Remembers what an action met that was reconciled.
    fn observe(&self, object: &ObjectId, reconciled: &Reconciled) {
        match reconciled.met {
            Some((met, _)) if reconciled.wrote => self.observed.wrote(object.digest(), Version::new(met.get() + 1)),
            Some((met, _)) => self.observed.saw(object.digest(), met),
            None => {}
        }
    }

    /// When a request was made.
    pub(crate) fn timestamp(&self, context: &Context) -> TimestampMs {
        context.timestamp.unwrap_or_else(|| self.owner.clock().now())
    }

    /// When a request was made, and who asks.
    pub(crate) fn by(&self, context: Context) -> By {
        By { timestamp: self.timestamp(&context), name: context.by }
    }

    /// Claims the action's id, where it has one; or answers what came of it. Whoever detaches an action does not wait for
    /// one that runs.
    async fn identify(&self, write: &Write<'_>) -> Result<ControlFlow<Reply, Option<Claim>>, WireError> {
        let detached = write.choice == OnConflict::Detach;
        let Some(id) = write.action_id else {
            let message = "a detached action has an id, which is its ticket";
            return if detached { Err(WireError::new(Code::Malformed, message)) } else { Ok(Continue(None)) };
        };
        let identity = Identity { id, intent: intent_of(&write.target.object, write.action) };
        let client = write.target.object.client();
        match self.ids.begin(client, identity, self.owner.clock().now(), !detached).await.map_err(id_refused)? {
            Begun::Fresh(claim) => Ok(Continue(Some(claim))),
            Begun::Repeat(recorded) => self.recall(recorded).await.map(|answered| Break(Reply::Committed(answered))),
            Begun::Running => Ok(Break(self.ticket(id))),
        }
    }

    /// A write that is answered at once, whatever becomes of it. With a condition, the prediction is asked first: a forecast
    /// of conflict is confirmed by the owner; a wrong one costs that detour, never a false conflict.
    async fn attempt(&self, write: &Write<'_>, claim: &mut Option<Claim>) -> Result<Committed, WireError> {
        let Some(known) = write.condition.known() else {
            let tried = self.tried(write, false, Generations::default(), claim).await;
            write.trace.went(Route::Write);
            let committed = tried.map_err(|failed| failed.error)?;
            self.observed.wrote(write.target.object.digest(), committed.version);
            return Ok(committed);
        };
        let (foretold, on_its_way) = self.foretell(write, known);
        let outcome = self.tried(write, foretold.expects_conflict(), foretold.generations(), claim).await;
        write.trace.went(Route::Write);
        let conflict = matches!(&outcome, Err(failed) if failed.error.code == Code::Conflict);
        match &outcome {
            Ok(committed) => self.judge(&write.target.object, &foretold, &on_its_way, Ended::tried(committed)),
            Err(Failed { met: Some(met), .. }) => {
                let tried = !foretold.expects_conflict();
                let ended = Ended { met: *met, conflict, written: false, tried };
                self.judge(&write.target.object, &foretold, &on_its_way, ended);
            }
            Err(_) => {}
        }
        outcome.map_err(|failed| failed.error)
    }

    /// A write that is reconciled where its condition does not hold, or is not expected to: then it is not even tried.
    async fn write_or_reconcile(
        &self,
        perform: &Perform,
        write: &Write<'_>,
        known: Version,
        claim: &mut Option<Claim>,
    ) -> Result<Reply, WireError> {
        let (foretold, on_its_way) = self.foretell(write, known);
        if !foretold.expects_conflict() {
            match self.tried(write, false, foretold.generations(), claim).await {
                Ok(committed) => {
                    write.trace.went(Route::Write);
                    self.judge(&write.target.object, &foretold, &on_its_way, Ended::tried(&committed));
                    return Ok(Reply::Committed(committed));
                }
                Err(Failed { error, met: Some(met) }) if error.code == Code::Conflict => {
                    let ended = Ended { met, conflict: true, written: false, tried: true };
                    self.judge(&write.target.object, &foretold, &on_its_way, ended);
                    drop(on_its_way);
                    let reconciled =
                        self.reconciled(perform, &write.by, &write.trace, claim, foretold.generations()).await;
                    self.scoreboard.judged_by_policy(foretold.decision.generation, reconciled.verdicts);
                    self.observe(&perform.target.object, &reconciled);
                    return reconciled.reply;
                }
                Err(failed) => {
                    write.trace.went(Route::Write);
                    return Err(failed.error);
                }
            }
        }
        let reconciled = self.reconciled(perform, &write.by, &write.trace, claim, foretold.generations()).await;
        if let Some((met, conflict)) = reconciled.met {
            let ended = Ended { met, conflict, written: reconciled.wrote, tried: false };
            self.judge(&write.target.object, &foretold, &on_its_way, ended);
            self.scoreboard.judged_by_policy(foretold.decision.generation, reconciled.verdicts);
        }
        reconciled.reply
    }

    fn foretell(&self, write: &Write<'_>, known: Version) -> (Foretold, OnItsWay<'_>) {
        let scope = write.target.object.digest();
        let (seen, on_its_way) = self.observed.look(scope);
        let stats = self.owner.commit_stats();
        let payload_bytes = write.action.payload().map_or(0, |payload| payload.as_bytes().len());
        let outlook = Outlook {
            known: known.get(),
            observed: seen.version.map_or(0, |(version, _)| version.get()),
            observed_age_us: seen.version.map_or(u64::MAX, |(_, age_us)| age_us),
            read_age_us: u64::MAX,
            queued: seen.queued,
            in_group: stats.in_group.load(Ordering::Relaxed),
            write_millihz: seen.write_millihz,
            conflict_ppm: seen.conflict_ppm,
            commit_us: stats.commit_us.load(Ordering::Relaxed),
            kind: write.action.kind(),
            choice: write.choice,
            attempt: 0,
            payload_bytes: payload_bytes as u32,
            scope,
        };
        let span = write.trace.predict();
        let decision = span.in_scope(|| self.policies.prediction.predict(&write.target.object, &outlook));
        trace::foretold(&span, &decision);
        if let Err(fault) = &decision.result {
            tracing::warn!(%fault, "a forecast could not be had; the write goes ahead without");
            self.counters.prediction_faults.add();
        }
        let cached = seen.version.map(|(version, _)| version);
        (Foretold { known, choice: write.choice, outlook, decision, cached }, on_its_way)
    }

    /// Judges a forecast by what its write met, and remembers that.
    fn judge(&self, object: &ObjectId, foretold: &Foretold, on_its_way: &OnItsWay<'_>, ended: Ended) {
        let Ended { met, conflict, written, tried } = ended;
        let stands = if written { Version::new(met.get() + 1) } else { met };
        on_its_way.ended(stands, written, conflict);
        let Foretold { known, choice, outlook, decision, cached } = foretold;
        let Ok(forecast) = &decision.result else { return };
        self.counters.judge(*forecast, met, conflict);
        // What is detached does not come back in any case.
        let round_trip_saved = *choice == OnConflict::Reconcile;
        let judged = Met { version: met.get(), conflict, cached: cached.map(Version::get), round_trip_saved };
        self.scoreboard.judge(decision.generation, forecast, known.get(), &judged);
        let outcome = Outcome {
            scope: on_its_way.object(),
            predicted: forecast.version,
            met: met.get(),
            age_us: outlook.observed_age_us,
            aborted: !tried,
        };
        self.learner.tell(decision.generation, outcome);
        if self.policies.prediction.compares() {
            self.policies.prediction.met(object, outlook, decision, &judged);
        }
    }

    /// Brings a write to the owner. Where a conflict is expected, the owner is asked about the condition first.
    async fn tried(
        &self,
        write: &Write<'_>,
        conflict_expected: bool,
        mut generations: Generations,
        claim: &mut Option<Claim>,
    ) -> Result<Committed, Failed> {
        let Target { object, shard_key: claimed_key } = write.target;
        let position = self.views.position();
        let mut intent = Intent {
            object,
            claimed_key: *claimed_key,
            new_key: None,
            condition: write.condition,
            action: write.action,
            by: &write.by,
        };
        let span = write.trace.write();
        let failed = |reason, generations| {
            let failed = self.failed(reason, position, generations);
            trace::failed(&span, failed.error.code);
            failed
        };
        if conflict_expected && let Err(reason) = self.owner.confirm(&intent).instrument(span.clone()).await {
            return Err(failed(reason, generations));
        }
        self.counters.tried.add();
        loop {
            let began = write.trace.is_on().then(|| self.owner.clock().instant());
            match self.owner.write(&intent, claim).instrument(span.clone()).await {
                Ok(written) => {
                    if let Some(began) = began {
                        trace::wrote(&span, &written, began, self.owner.clock().instant());
                    }
                    if !written.created {
                        self.used(object, written.shard_key);
                    }
                    return Ok(self.committed(&written, generations));
                }
                Err(NotWritten::NoKey) if intent.new_key.is_none() => {
                    let locate = write.trace.locate();
                    let new_key = locate.in_scope(|| self.place(object, write.by.timestamp, &mut generations));
                    trace::asked(&locate);
                    intent.new_key = Some(new_key.map_err(|error| Failed { error, met: None })?);
                }
                Err(reason) => return Err(failed(reason, generations)),
            }
        }
    }

    fn failed(&self, reason: NotWritten, position: Position, generations: Generations) -> Failed {
        let met = match &reason {
            NotWritten::Refused { stands, .. } => Some(stands.version),
            _ => None,
        };
        Failed { error: self.not_written(reason, position, generations), met }
    }

    fn committed(&self, written: &Written, generations: Generations) -> Committed {
        self.counters.committed.add();
        if written.created {
            self.counters.created.add();
        }
        Committed {
            version: written.version,
            revision: written.durable.revision,
            shard_key: written.shard_key,
            repeated: false,
            reply: None,
            tries: 0,
            decided: self.decided_at(written.shard_key, written.durable.revision, generations),
        }
    }
}

/// The digest of what is to be done to an object.
pub(crate) fn intent_of(object: &ObjectId, action: &Action) -> u128 {
    let body = action.payload().map_or(&[][..], |payload| payload.as_bytes());
    let format = action.payload().map_or(0, |payload| payload.format() as u64);
    let custom = match action {
        Action::Custom { kind, .. } => xxh3_64(kind.as_bytes()) << 8,
        _ => 0,
    };
    intent(object, action.kind() as u64 | format << 4 | custom, body)
}

/// A write that came to nothing, and the version that it met, if it met one.
struct Failed {
    error: WireError,
    met: Option<Version>,
}

impl Ended {
    fn tried(committed: &Committed) -> Self {
        Self { met: met_by(committed.version), conflict: false, written: true, tried: true }
    }
}

/// The version that a write met which made this one.
fn met_by(made: Version) -> Version {
    Version::new(made.get().saturating_sub(1))
}
