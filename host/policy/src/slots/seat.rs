//! One slot at one time: who decides, who is tried, who is asked in doubt, and who looks on.

use std::sync::Arc;

use ostrakon_core::policy::{Decision, Met};
use ostrakon_wire::{Generation, Slot, Stage};
use xxhash_rust::xxh3::xxh3_64;

use crate::generation::Active;
use crate::latency::LatencySummary;
use crate::load::Loaded;
use crate::prepared::Policy;
use crate::shadow::Shadow;
use crate::sight::{Seen, Sight};
use crate::tally::FaultCounts;
use crate::watch::Watch;

/// Never changed; a slot gets another one.
pub(crate) struct Seat<P: Policy> {
    pub(crate) slot: Slot,
    pub(crate) active: Arc<Active<P>>,
    /// The last good generation, until the active one has proved good.
    pub(crate) guarded: Option<Guarded<P>>,
    pub(crate) trial: Option<Trial<P>>,
    /// Where decisions are written down.
    pub(crate) recording: Option<Arc<Sight>>,
}

/// Whom to ask where the active generation fails.
pub(crate) struct Guarded<P: Policy> {
    pub(crate) last_good: Arc<Active<P>>,
    pub(crate) watch: Arc<Watch>,
}

/// A generation that is tried.
pub(crate) enum Trial<P: Policy> {
    /// It is asked beside the requests.
    Shadow { candidate: Arc<Active<P>>, shadow: Arc<Shadow> },
    /// It decides for a share of the clients.
    Canary { candidate: Arc<Active<P>>, share_ppm: u32, watch: Arc<Watch> },
}

/// A generation, and what it did so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationInfo {
    /// Its number, of its kind.
    pub generation: Generation,
    /// The policy's name.
    pub name: String,
    /// The policy's version.
    pub version: String,
    /// SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// Its settings: the text of a JSON object.
    pub settings: String,
    /// Its calls.
    pub calls: u64,
    /// Faults among them.
    pub faults: FaultCounts,
    /// Calls that were repeated on a fresh instance.
    pub purity_checks: u64,
    /// How long calls took that were timed.
    pub latency: LatencySummary,
    /// What its kept instances hold in memory, in bytes.
    pub memory_bytes: usize,
}

/// A slot, and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatInfo {
    /// The slot.
    pub slot: Slot,
    /// The generation that decides.
    pub active: GenerationInfo,
    /// The generation that answers where the active one fails.
    pub last_good: Option<Generation>,
    /// The generation that is tried.
    pub candidate: Option<GenerationInfo>,
}

impl<P: Policy> Clone for Guarded<P> {
    fn clone(&self) -> Self {
        Self { last_good: Arc::clone(&self.last_good), watch: Arc::clone(&self.watch) }
    }
}

impl<P: Policy> Clone for Trial<P> {
    fn clone(&self) -> Self {
        match self {
            Self::Shadow { candidate, shadow } => {
                Self::Shadow { candidate: Arc::clone(candidate), shadow: Arc::clone(shadow) }
            }
            Self::Canary { candidate, share_ppm, watch } => {
                Self::Canary { candidate: Arc::clone(candidate), share_ppm: *share_ppm, watch: Arc::clone(watch) }
            }
        }
    }
}

impl<P: Policy> Clone for Seat<P> {
    fn clone(&self) -> Self {
        Self {
            slot: self.slot.clone(),
            active: Arc::clone(&self.active),
            guarded: self.guarded.clone(),
            trial: self.trial.clone(),
            recording: self.recording.clone(),
        }
    }
}

impl<P: Policy> Trial<P> {
    /// A candidate beside the policy that decides; none for one that decides itself.
    pub(crate) fn of(stage: Stage, number: Generation, policy: Loaded, slow_us: u32, active: &Loaded) -> Option<Self> {
        match stage {
            Stage::Shadow(share_ppm) => {
                let shadow = Arc::new(Shadow::new(active.clone(), policy.clone(), share_ppm));
                Some(Self::Shadow { candidate: Arc::new(Active::new(number, policy)), shadow })
            }
            Stage::Canary(share_ppm) => {
                let (candidate, watch) = (Active::on_trial(number, policy), Watch::new(slow_us));
                Some(Self::Canary { candidate: Arc::new(candidate), share_ppm, watch: Arc::new(watch) })
            }
            Stage::Serve => None,
        }
    }

    pub(crate) fn candidate(&self) -> &Arc<Active<P>> {
        match self {
            Self::Shadow { candidate, .. } | Self::Canary { candidate, .. } => candidate,
        }
    }
}

/// Whether a canary of such a share decides for a client: always the same ones, and more of them as the share grows.
fn is_in_share(client: &str, share_ppm: u32) -> bool {
    xxh3_64(client.as_bytes()) % 1_000_000 < u64::from(share_ppm)
}

impl<P: Policy> Seat<P> {
    pub(crate) fn of(slot: Slot, active: Active<P>) -> Self {
        Self { slot, active: Arc::new(active), guarded: None, trial: None, recording: None }
    }

    /// Whether only the active generation is ever asked.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.guarded.is_none() && self.trial.is_none()
    }

    /// The generation on trial whose turn a client's request is, what counts its calls, and whom to ask where it fails.
    pub(super) fn tried_for(&self, client: &str) -> Option<(&Active<P>, &Watch, &Active<P>)> {
        match (&self.trial, &self.guarded) {
            (Some(Trial::Canary { candidate, share_ppm, watch }), _) if is_in_share(client, *share_ppm) => {
                Some((candidate, watch, &self.active))
            }
            (_, Some(Guarded { last_good, watch })) => Some((&self.active, watch, last_good)),
            _ => None,
        }
    }

    /// The generations on trial.
    pub(crate) fn on_trial(&self) -> impl Iterator<Item = (Generation, &Watch)> {
        let canary = match &self.trial {
            Some(Trial::Canary { candidate, watch, .. }) => Some((candidate.number, &**watch)),
            _ => None,
        };
        canary.into_iter().chain(self.guarded.as_ref().map(|it| (self.active.number, &*it.watch)))
    }

    /// The seat without a generation that is on trial, and what counted its calls.
    pub(super) fn without(&self, number: Generation) -> Option<(Self, Arc<Watch>)> {
        match (&self.trial, &self.guarded) {
            (Some(Trial::Canary { candidate, watch, .. }), _) if candidate.number == number => {
                Some((Self { trial: None, ..self.clone() }, Arc::clone(watch)))
            }
            (_, Some(Guarded { last_good, watch })) if self.active.number == number => {
                Some((Self { active: Arc::clone(last_good), guarded: None, ..self.clone() }, Arc::clone(watch)))
            }
            _ => None,
        }
    }

    pub(crate) fn shadow(&self) -> Option<&Arc<Shadow>> {
        if let Some(Trial::Shadow { shadow, .. }) = &self.trial { Some(shadow) } else { None }
    }

    /// Shows a decision to those who look on.
    #[inline]
    pub(super) fn decided(&self, question: &P::Question<'_>, decision: &Decision<P::Answer>) {
        if self.trial.is_some() || self.recording.is_some() {
            self.show(question, decision);
        }
    }

    #[cold]
    fn show(&self, question: &P::Question<'_>, decision: &Decision<P::Answer>) {
        let seen = || {
            let result = decision.result.clone().map(P::answer);
            Seen { question: P::kept(question), decided: Some((decision.generation, result)), met: None }
        };
        // A forecast is compared when it is known what came of it.
        if let Some(shadow) = self.shadow().filter(|shadow| !shadow.waits_for_outcome()) {
            shadow.sight().offer(seen);
        }
        if let Some(recording) = &self.recording {
            recording.offer(seen);
        }
    }

    /// Shows what a write met that was foretold.
    pub(super) fn met(&self, question: &P::Question<'_>, decision: &Decision<P::Answer>, met: &Met) {
        if let Some(shadow) = self.shadow() {
            let result = decision.result.clone().map(P::answer);
            let decided = Some((decision.generation, result));
            shadow.sight().offer(|| Seen { question: P::kept(question), decided, met: Some(*met) });
        }
    }

    /// Shows the use of an object.
    pub(super) fn used(&self, question: &P::Question<'_>) {
        if let Some(shadow) = self.shadow() {
            shadow.sight().offer(|| Seen { question: P::kept(question), decided: None, met: None });
        }
    }

    pub(crate) fn info(&self) -> SeatInfo {
        SeatInfo {
            slot: self.slot.clone(),
            active: self.active.info(),
            last_good: self.guarded.as_ref().map(|it| it.last_good.number),
            candidate: self.trial.as_ref().map(|trial| trial.candidate().info()),
        }
    }
}

impl<P: Policy> Active<P> {
    fn info(&self) -> GenerationInfo {
        GenerationInfo {
            generation: self.number,
            name: self.policy.name().to_owned(),
            version: self.policy.version().to_owned(),
            digest: self.policy.digest().to_owned(),
            settings: self.policy.settings().to_owned(),
            calls: self.tally.calls(),
            faults: self.tally.faults(),
            purity_checks: self.tally.purity_checks(),
            latency: self.tally.latency(),
            memory_bytes: self.memory_bytes(),
        }
    }
}
