//! A policy out of the way of requests: one instance for whoever asks, without a slot, a number or a count.

use ostrakon_core::policy::{Answer, PolicyFault, Question};
use ostrakon_wire::PolicyKind;

use crate::generation::fresh;
use crate::lanes::Kept;
use crate::load::Loaded;
use crate::prediction::Prediction;
use crate::prepared::Policy;
use crate::reconciliation::Reconciliation;
use crate::shard_key::ShardKeys;

/// One instance of a loaded policy that answers questions one after the other.
///
/// A fault ends the instance; the next question has a new one.
pub struct Solo(Box<dyn Asked>);

trait Asked: Send {
    fn ask(&mut self, question: &Question) -> Result<Answer, PolicyFault>;
    fn ask_fresh(&self, question: &Question) -> Result<Answer, PolicyFault>;
}

struct Of<P: Policy> {
    policy: Loaded,
    kept: Option<Kept<P>>,
}

impl Solo {
    pub(crate) fn new(policy: Loaded) -> Result<Self, PolicyFault> {
        fn of<P: Policy>(policy: Loaded) -> Result<Solo, PolicyFault> {
            let kept = Some(fresh(&policy.prepared)?);
            Ok(Solo(Box::new(Of::<P> { policy, kept })))
        }
        match policy.kind() {
            PolicyKind::ShardKey => of::<ShardKeys>(policy),
            PolicyKind::Prediction => of::<Prediction>(policy),
            PolicyKind::Reconciliation => of::<Reconciliation>(policy),
        }
    }

    /// Asks the instance. A question of another kind of policy is an impossible one.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub fn ask(&mut self, question: &Question) -> Result<Answer, PolicyFault> {
        self.0.ask(question)
    }

    /// Asks a fresh instance of the same policy.
    ///
    /// # Errors
    /// When there is no usable answer.
    pub fn ask_fresh(&self, question: &Question) -> Result<Answer, PolicyFault> {
        self.0.ask_fresh(question)
    }
}

fn of_kind<P: Policy>(question: &Question) -> Result<P::Question<'_>, PolicyFault> {
    let other = || PolicyFault::Impossible(format!("a {} policy has no `{}`", P::KIND.name(), question.function()));
    P::of(question).ok_or_else(other)
}

impl<P: Policy> Of<P> {
    fn answer_of_fresh(&self, question: P::Question<'_>) -> Result<Answer, PolicyFault> {
        let prepared = &*self.policy.prepared;
        P::ask(&mut fresh::<P>(prepared)?.ready, question, prepared.limits()).map(P::answer)
    }
}

impl<P: Policy> Asked for Of<P> {
    fn ask(&mut self, question: &Question) -> Result<Answer, PolicyFault> {
        let question = of_kind::<P>(question)?;
        if !P::keeps_instance(&question) {
            return self.answer_of_fresh(question);
        }
        let prepared = &*self.policy.prepared;
        let kept = match &mut self.kept {
            Some(kept) => kept,
            empty => empty.insert(fresh(prepared)?),
        };
        let result = P::ask(&mut kept.ready, question, prepared.limits());
        if result.is_err() || kept.is_spent(prepared.memory_bytes_max()) {
            self.kept = None;
        }
        result.map(P::answer)
    }

    fn ask_fresh(&self, question: &Question) -> Result<Answer, PolicyFault> {
        self.answer_of_fresh(of_kind::<P>(question)?)
    }
}
