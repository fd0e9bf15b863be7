//! Conditional writes and actions: identify, predict, write, answer.

use ostrakon_core::keys;
use ostrakon_core::policy::{Heat, Outlook, Placing, Route};
use ostrakon_store::Identity;
use ostrakon_wire::answer::Committed;
use ostrakon_wire::{
    Action, ActionId, ActionKind, Code, ConditionalWrite, Generations, ObjectId, OnConflict, Perform, Position,
    ShardKey, Target, TimestampMs, Version, WireError,
};

use crate::action_ids::{Begun, Claim, Recorded, intent};
use crate::answers::id_refused;
use crate::owner::{Condition, Intent, NotWritten, Written};
use crate::{Context, Engine, now};

/// One write, whichever request it came with.
struct Write<'a> {
    target: &'a Target,
    action: &'a Action,
    condition: Condition,
    action_id: Option<ActionId>,
    choice: OnConflict,
    timestamp: TimestampMs,
}

impl Engine {
    pub(crate) async fn conditional_write(
        &self,
        write: &ConditionalWrite,
        context: Context,
    ) -> Result<Committed, WireError> {
        if write.new_version == Version::ABSENT {
            return Err(WireError::new(Code::InvalidVersion, "a new version is at least 1"));
        }
        let action = Action::Put(write.payload.clone());
        self.write(Write {
            target: &write.target,
            action: &action,
            condition: Condition::Makes(write.new_version),
            action_id: write.action_id,
            choice: OnConflict::Reject,
            timestamp: context.timestamp.unwrap_or_else(now),
        })
        .await
    }

    pub(crate) async fn perform(&self, perform: &Perform, context: Context) -> Result<Committed, WireError> {
        if perform.on_conflict != OnConflict::Reject {
            return Err(WireError::new(Code::Unsupported, "this release answers conflicts by rejecting alone"));
        }
        if perform.action.kind() == ActionKind::Custom {
            return Err(WireError::new(Code::Unsupported, "this release carries out no custom actions yet"));
        }
        self.write(Write {
            target: &perform.target,
            action: &perform.action,
            condition: perform.known.map_or(Condition::None, Condition::Known),
            action_id: perform.action_id,
            choice: perform.on_conflict,
            timestamp: context.timestamp.unwrap_or_else(now),
        })
        .await
    }

    async fn write(&self, write: Write<'_>) -> Result<Committed, WireError> {
        let mut claim = match self.identify(&write).await? {
            None => None,
            Some(Begun::Fresh(claim)) => Some(claim),
            Some(Begun::Repeat(recorded)) => return Ok(self.repeated(recorded)),
        };
        if let Some(known) = write.condition.known() {
            return self.predicted(&write, known, &mut claim).await;
        }
        let committed =
            self.tried(&write, false, Generations::default(), &mut claim).await.map_err(|failed| failed.error)?;
        self.observed.wrote(write.target.object.digest(), committed.version);
        Ok(committed)
    }

    /// Claims the action's id, where it has one.
    async fn identify(&self, write: &Write<'_>) -> Result<Option<Begun>, WireError> {
        let Some(id) = write.action_id else { return Ok(None) };
        let body = write.action.payload().map_or(&[][..], |payload| payload.as_bytes());
        let format = write.action.payload().map_or(0, |payload| payload.format() as u64);
        let kind = write.action.kind() as u64 | format << 4;
        let identity = Identity { id, intent: intent(&write.target.object, kind, body) };
        let client = write.target.object.client();
        self.ids.begin(client, identity, now()).await.map(Some).map_err(id_refused)
    }

    fn repeated(&self, recorded: Recorded) -> Committed {
        self.counters.repeated.add();
        Committed {
            version: recorded.version,
            revision: recorded.revision,
            shard_key: recorded.shard_key,
            repeated: true,
            decided: self.decided_at(recorded.shard_key, recorded.revision, Generations::default()),
        }
    }

    /// A write with a condition: asks the prediction first. A forecast of conflict is confirmed by the owner; a wrong one
    /// costs that detour, never a false conflict.
    async fn predicted(
        &self,
        write: &Write<'_>,
        known: Version,
        claim: &mut Option<Claim>,
    ) -> Result<Committed, WireError> {
        let object = &write.target.object;
        let scope = object.digest();
        let (seen, on_its_way) = self.observed.look(scope);
        let stats = self.owner.commit_stats();
        let payload_bytes = write.action.payload().map_or(0, |payload| payload.as_bytes().len());
        let decision = self.policies.prediction.predict(&Outlook {
            known: known.get(),
            observed: seen.version.map_or(0, |(version, _)| version.get()),
            observed_age_us: seen.version.map_or(u64::MAX, |(_, age_us)| age_us),
            read_age_us: u64::MAX,
            queued: seen.queued,
            in_group: stats.in_group.load(std::sync::atomic::Ordering::Relaxed),
            write_millihz: seen.write_millihz,
            conflict_ppm: seen.conflict_ppm,
            commit_us: stats.commit_us.load(std::sync::atomic::Ordering::Relaxed),
            kind: write.action.kind(),
            choice: write.choice,
            attempt: 0,
            payload_bytes: payload_bytes as u32,
            scope,
        });
        let generations = Generations { prediction: Some(decision.generation), ..Generations::default() };
        let forecast = decision.result.inspect_err(|fault| self.prediction_failed(fault)).ok();
        let expected = forecast.is_some_and(|forecast| forecast.route == Route::Reconcile);
        let outcome = self.tried(write, expected, generations, claim).await;
        let conflict = matches!(&outcome, Err(failed) if failed.error.code == Code::Conflict);
        let (stands, met) = match &outcome {
            Ok(committed) => (Some(committed.version), Some(Version::new(committed.version.get() - 1))),
            Err(failed) => (failed.met, failed.met),
        };
        if let Some(stands) = stands {
            on_its_way.ended(stands, outcome.is_ok(), conflict);
        }
        if let (Some(forecast), Some(met)) = (forecast, met) {
            self.counters.judge(forecast, met, conflict);
        }
        outcome.map_err(|failed| failed.error)
    }

    fn prediction_failed(&self, fault: &ostrakon_core::policy::PolicyFault) {
        tracing::warn!(%fault, "a forecast could not be had; the write goes ahead without");
        self.counters.prediction_faults.add();
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
            timestamp: write.timestamp,
        };
        if conflict_expected && let Err(reason) = self.owner.confirm(&intent).await {
            return Err(self.failed(reason, position, generations));
        }
        loop {
            match self.owner.write(&intent, claim).await {
                Ok(written) => return Ok(self.committed(&written, generations)),
                Err(NotWritten::NoKey) if intent.new_key.is_none() => {
                    let new_key = self.place(object, write.timestamp, &mut generations);
                    intent.new_key = Some(new_key.map_err(|error| Failed { error, met: None })?);
                }
                Err(reason) => return Err(self.failed(reason, position, generations)),
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
            decided: self.decided_at(written.shard_key, written.durable.revision, generations),
        }
    }

    /// Asks the policy where a new object should live.
    pub(crate) fn place(
        &self,
        object: &ObjectId,
        timestamp: TimestampMs,
        generations: &mut Generations,
    ) -> Result<ShardKey, WireError> {
        let decision = self.policies.shard_key.place(&Placing {
            client: object.client(),
            data_type: object.data_type(),
            name: object.name(),
            timestamp_ms: timestamp.get(),
            current: 0,
            heat: Heat::default(),
        });
        generations.shard_key = Some(decision.generation);
        match decision.result {
            Ok(placement) => Ok(keys::fill(placement, object.name())),
            Err(fault) => {
                self.counters.shard_key_faults.add();
                Err(WireError::new(Code::PolicyFailed, format!("the shard-key policy failed: {fault}")))
            }
        }
    }
}

/// A write that came to nothing, and the version that it met, if it met one.
struct Failed {
    error: WireError,
    met: Option<Version>,
}
