//! Asking the reconciliation policy about one action and what it meets.

use std::sync::Arc;

use ostrakon_core::policy::{Brief, Case, Judgement, Payloads};
use ostrakon_core::reconcile::{self, Judged, Next};
use ostrakon_store::{Clock, Place, Views};
use ostrakon_wire::{Action, Generation, ObjectId, Payload, Version};

use super::case;
use crate::Policies;
use crate::counters::Counters;
use crate::heated::Heated;
use crate::owner::Known;

/// What is said of a policy that does not decide though it has everything.
pub(crate) const ASKED_FOR_WHAT_IT_HAD: &str = "the policy asked for payloads that it had";

/// Asks, and counts.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) heated: Arc<Heated>,
    pub(crate) policies: Arc<Policies>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Clock,
    /// How often it is asked about one action.
    pub(crate) tries_max: u32,
}

/// An action, and what it meets.
pub(crate) struct Subject<'a> {
    pub(crate) object: &'a ObjectId,
    pub(crate) action: &'a Action,
    /// The version that it was made for.
    pub(crate) known: Option<Version>,
    pub(crate) tip: &'a Known,
    /// How often the policy was asked, this time included.
    pub(crate) tries: u32,
}

/// What came of it.
pub(crate) struct Asked {
    pub(crate) next: Next,
    /// Answers that the policy gave.
    pub(crate) verdicts: u32,
    pub(crate) generation: Option<Generation>,
}

/// An object at the version that an action was made for, if history holds it.
pub(crate) fn base_of(views: &Views, place: Place, known: Version) -> Option<Payload> {
    if known == Version::ABSENT {
        return None;
    }
    let row = views.latest().version(place, known);
    row.inspect_err(|error| tracing::error!(%error, "a version cannot be read")).ok()??.payload
}

impl Subject<'_> {
    /// What spreads the waits of an action without an id.
    pub(crate) fn seed(tip: &Known) -> u64 {
        tip.version.get().wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Asking {
    /// The next step of an action that cannot be done as it is. On small patches where there are some (ours, theirs), and on
    /// whole payloads where there are none, or the policy wants them.
    pub(crate) fn ask(
        &self,
        subject: &Subject<'_>,
        base: Option<&Payload>,
        patches: Option<(Vec<u8>, Vec<u8>)>,
        seed: u64,
    ) -> Asked {
        let judged = Judged {
            kind: subject.action.kind(),
            conditional: subject.known.is_some(),
            tries: subject.tries,
            tries_max: self.tries_max,
            seed: seed ^ u64::from(subject.tries),
        };
        let case = Case {
            brief: self.brief(subject, base.is_some()),
            patches: patches.as_ref().map(|(ours, theirs)| (&ours[..], &theirs[..])),
            payloads: &|| Payloads {
                body: subject.action.payload().map_or(Vec::new(), reconcile::to_policy),
                base: base.map(reconcile::to_policy),
                latest: subject.tip.live().map(|live| reconcile::to_policy(live.payload)),
            },
        };
        let Judgement { decision, calls } = self.policies.reconciliation.judge(&case);
        self.counters.verdicts.add_many(calls.into());
        let verdict = decision.result.inspect_err(|fault| {
            tracing::warn!(%fault, object = ?subject.object, "a verdict could not be had");
            self.counters.reconciliation_faults.add();
        });
        Asked { next: reconcile::next(&judged, verdict), verdicts: calls, generation: Some(decision.generation) }
    }

    fn brief<'a>(&self, subject: &Subject<'a>, base_kept: bool) -> Brief<&'a str> {
        let Subject { object, action, known, tip, tries } = *subject;
        Brief {
            client: object.client(),
            data_type: object.data_type(),
            name: object.name(),
            kind: action.kind(),
            custom_kind: match action {
                Action::Custom { kind, .. } => kind,
                _ => "",
            },
            known: known.map_or(0, Version::get),
            base_kept,
            latest: tip.version.get(),
            exists: tip.is_live(),
            attempt: tries - 1,
            now_ms: self.clock.now().get(),
            shard_key: case::key_of(tip).get(),
            latest_bytes: tip.live().map_or(0, |live| live.payload.as_bytes().len()) as u32,
        }
    }
}
