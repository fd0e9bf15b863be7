//! Actions that go to the reconciliation agent, and what their ids are remembered to have come to.

use ostrakon_core::policy::Route;
use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{CommitError, Outcome};
use ostrakon_wire::answer::Committed;
use ostrakon_wire::{
    Code, Decided as Place, Generations, Payload, Perform, Reply, Revision, ShardKey, Version, WireError,
};
use tokio::sync::oneshot;
use tracing::Instrument;

use crate::Engine;
use crate::action_ids::{Claim, Recorded};
use crate::agent::{CameTo, Case, Decided, Done, Full};
use crate::answers::overloaded;
use crate::owner::{By, NotWritten, Owner, durable};
use crate::trace::{self, Trace};

/// What became of an action that was reconciled.
pub(crate) struct Reconciled {
    pub(crate) reply: Result<Reply, WireError>,
    /// The version that it met at its turn, and whether that was another than its condition asks for.
    pub(crate) met: Option<(Version, bool)>,
    /// Whether it made a version.
    pub(crate) wrote: bool,
    /// Verdicts that were asked for.
    pub(crate) verdicts: u32,
}

impl From<Result<Reply, WireError>> for Reconciled {
    fn from(reply: Result<Reply, WireError>) -> Self {
        Self { reply, met: None, wrote: false, verdicts: 0 }
    }
}

impl Engine {
    /// Queues an action for its object, and waits for its outcome, or for its ticket where it is detached.
    pub(crate) async fn reconciled(
        &self,
        perform: &Perform,
        by: &By,
        trace: &Trace,
        claim: &mut Option<Claim>,
        generations: Generations,
    ) -> Reconciled {
        let mut case = Case::new(perform.clone(), by.timestamp, by.name.clone(), claim.take());
        case.generations = generations;
        let span = trace.reconcile();
        let reconciled = self.queued(case).instrument(span.clone()).await;
        trace.went(Route::Reconcile);
        trace::reconciled(&span, &reconciled);
        reconciled
    }

    /// The same for a case of its own sort.
    pub(crate) async fn queued(&self, case: Case) -> Reconciled {
        let position = self.views.position();
        let object = case.perform.target.object.clone();
        let decided = match self.agent.queue(case) {
            Ok(decided) => decided.await,
            Err(Full) => return Err(overloaded("too many actions wait for reconciliation")).into(),
        };
        // A sender that is gone without a word: the agent stops, or its turn has failed.
        let Ok(decided) = decided else {
            return Err(WireError::new(Code::Draining, "the host is stopping")).into();
        };
        match decided {
            Decided::Done(done) => self.done(*done).await,
            Decided::Ticket(id, pending) => {
                if planted::is(Fault::TellTicketEarly) {
                    return Ok(self.ticket(id)).into();
                }
                let taken = durable(pending).await;
                let taken = taken.map_err(|reason| self.not_written(reason, position, Generations::default()));
                taken.map(|_| self.ticket(id)).into()
            }
            Decided::Refused { refusal, settled, generations } => {
                let reason = match tip_is_durable(&self.owner, settled).await {
                    Ok(()) => match self.owner.head(&object, true).await {
                        Ok(stands) => NotWritten::Refused { refusal, stands },
                        Err(error) => NotWritten::Read(error),
                    },
                    Err(reason) => reason,
                };
                Err(self.not_written(reason, position, generations)).into()
            }
            Decided::Failed(reason) => Err(self.not_written(reason, position, Generations::default())).into(),
            Decided::Error(error, settled) => match tip_is_durable(&self.owner, settled).await {
                Ok(()) => Err(error).into(),
                Err(reason) => Err(self.not_written(reason, position, Generations::default())).into(),
            },
        }
    }

    async fn done(&self, done: Done) -> Reconciled {
        let Done { pending, came_to, tries, verdicts, generations, met, conflict } = done;
        let revision = match durable(pending).await {
            Ok(durable) => durable.revision,
            Err(reason) => return Err(self.not_written(reason, self.views.position(), generations)).into(),
        };
        let committed = |version, shard_key, reply| {
            let decided = self.decided_at(shard_key, revision, generations);
            Ok(Reply::Committed(Committed { version, revision, shard_key, repeated: false, reply, tries, decided }))
        };
        let refused = |error: WireError, shard_key| {
            Err(WireError { decided: Some(self.decided_at(shard_key, revision, generations)), ..error })
        };
        let wrote = matches!(came_to, CameTo::Made { .. });
        let reply = match came_to {
            CameTo::Made { made, reply } => committed(made.version, made.shard_key, reply),
            CameTo::Applied { version, shard_key, reply } => committed(version, shard_key, reply),
            CameTo::Rejected { code, words, shard_key } => {
                refused(WireError { stored: stored_of(code, met), ..WireError::new(code, words) }, shard_key)
            }
            CameTo::Escalated { words, shard_key } => {
                let escalation = Some(revision);
                refused(WireError { escalation, ..WireError::new(Code::Escalated, words) }, shard_key)
            }
        };
        Reconciled { reply, met: Some((met, conflict)), wrote, verdicts }
    }

    /// What an action came to whose id is remembered.
    pub(crate) async fn recall(&self, recorded: Recorded) -> Result<Committed, WireError> {
        self.counters.repeated.add();
        let Recorded { revision, version, shard_key, outcome, noted, .. } = recorded;
        let note = if noted { self.noted(revision).await? } else { Vec::new() };
        let decided = self.decided_at(shard_key, revision, Generations::default());
        let refused = |error: WireError| Err(WireError { decided: Some(decided), ..error });
        match outcome {
            Outcome::Made | Outcome::Applied => Ok(repeated(version, revision, shard_key, &note, decided)),
            Outcome::Rejected => {
                let (code, words) = note.split_at_checked(2).unwrap_or_default();
                let code = code.try_into().map_or(0, u16::from_be_bytes);
                let code = Code::from_number(code.into()).unwrap_or(Code::Rejected);
                let stored = stored_of(code, version);
                refused(WireError { stored, ..WireError::new(code, String::from_utf8_lossy(words)) })
            }
            Outcome::Escalated | Outcome::Detached | Outcome::Settled | Outcome::Forgotten | Outcome::Rekeyed => {
                let error = WireError::new(Code::Escalated, String::from_utf8_lossy(&note));
                refused(WireError { escalation: Some(revision), ..error })
            }
        }
    }

    async fn noted(&self, revision: Revision) -> Result<Vec<u8>, WireError> {
        let views = self.views.clone();
        let entry = self.owner.on_reader(move || views.latest().logged(revision)).await;
        match entry.map_err(|error| self.unreadable(&error))?.into_iter().next() {
            Some(entry) => Ok(entry.note),
            None => Err(WireError::new(Code::ActionExpired, "what the action came to is no longer remembered")),
        }
    }
}

/// The version that stood there, for errors that carry it.
pub(crate) fn stored_of(code: Code, version: Version) -> Option<Version> {
    matches!(code, Code::NotFound | Code::VersionGap).then_some(version)
}

/// Waits for the tip that something was judged on, where it is on its way. Where a persist has failed, it may never have
/// become durable.
async fn tip_is_durable(owner: &Owner, settled: Option<oneshot::Receiver<()>>) -> Result<(), NotWritten> {
    if let Some(settled) = settled {
        let _ = settled.await;
    }
    if owner.has_failed() { Err(NotWritten::Commit(CommitError::Failed)) } else { Ok(()) }
}

fn repeated(version: Version, revision: Revision, shard_key: ShardKey, note: &[u8], decided: Place) -> Committed {
    let reply = (!note.is_empty()).then(|| Payload::structured(note.to_vec()).ok()).flatten();
    Committed { version, revision, shard_key, repeated: true, reply, tries: 0, decided }
}
