//! Several objects together: judged under all their locks at once, queued as one commit unit, or not at all.

use std::collections::HashMap;

use ostrakon_core::action;
use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{Beside, CommitError, Note, Outcome, Unit};
use ostrakon_wire::bounds::TRANSACTION_BYTES_MAX;
use ostrakon_wire::{Action, Condition as Asked, Must, ObjectId, Payload, ShardKey, Version};
use parking_lot::MutexGuard;
use tokio::sync::oneshot;

use super::entry::{Look, Stripe, stripe_of};
use super::holding::Holding;
use super::judge::apply;
use super::{By, Condition, Known, Making, NotWritten, Owner, Pending, Refusal, STRIPES};
use crate::action_ids::Claim;

/// What several objects are asked, and what is to be done to them.
pub(crate) struct Together<'a> {
    /// All of them must hold.
    pub(crate) conditions: Vec<&'a Asked>,
    /// In the order of the actions, each of an object of its own.
    pub(crate) steps: Vec<Planned<'a>>,
    pub(crate) by: &'a By,
    /// All objects, in order, once each.
    objects: Vec<ObjectId>,
}

/// One step.
pub(crate) struct Planned<'a> {
    pub(crate) object: &'a ObjectId,
    /// The key that the client believes the object has.
    pub(crate) claimed_key: Option<ShardKey>,
    /// The key for an object that has none recorded.
    pub(crate) new_key: Option<ShardKey>,
    pub(crate) action: &'a Action,
    pub(crate) doing: Doing,
}

/// How a step is done.
#[derive(Clone)]
pub(crate) enum Doing {
    /// The built-in action, on what stands there.
    Action,
    /// This is written, or nothing stands there any more, where this version is met; and the policy's reply.
    Write(Version, Option<Payload>, Option<Payload>),
    /// Nothing is, where this version is met: it shows the effect already; and the policy's reply.
    Applied(Version, Option<Payload>),
}

/// What a step has made, or has found.
#[derive(Debug, Clone)]
pub(crate) struct StepDone {
    pub(crate) shard_key: ShardKey,
    pub(crate) version: Version,
    pub(crate) created: bool,
    pub(crate) reply: Option<Payload>,
}

/// Why nothing was done. What it tells of is durable.
pub(crate) enum NotTogether {
    /// These conditions do not hold, by number; and what stands there.
    Failed(Vec<(usize, Known)>),
    /// This step cannot be done to what stands there.
    Refused { step: usize, refusal: Refusal, stands: Known },
    /// The object of this step has no key yet: ask the policy, and come again.
    NoKey(usize),
    /// All results together are too large.
    TooLarge,
    /// Another version stands there than a step was judged on.
    Stale,
    /// Nothing was judged.
    NotWritten(NotWritten),
}

/// Why objects cannot be judged yet.
enum Looked {
    Wait(oneshot::Receiver<()>),
    /// Another holder has one of them.
    Held(oneshot::Receiver<()>),
    /// This one is not known, or not whole; its load is begun. One at a time: what is begun is gone through with, also where
    /// whoever waits for it goes away.
    Load(ObjectId),
}

struct Guards<'g>(Vec<(usize, MutexGuard<'g, Stripe>)>);

impl Guards<'_> {
    fn of(&mut self, object: &ObjectId) -> &mut Stripe {
        let stripe = stripe_of(object, STRIPES);
        let at = self.0.binary_search_by_key(&stripe, |(number, _)| *number).expect("all stripes are locked");
        &mut self.0[at].1
    }
}

/// What was decided under the locks.
enum Decided {
    Queued(Pending, Vec<StepDone>),
    Not(NotTogether, Vec<oneshot::Receiver<()>>),
}

/// Waits for other holders that a transaction bears before it takes its place among them.
const PATIENCE: u32 = 3;

impl<'a> Together<'a> {
    pub(crate) fn new(conditions: Vec<&'a Asked>, steps: Vec<Planned<'a>>, by: &'a By) -> Self {
        let asked = conditions.iter().map(|condition| &condition.object);
        let objects = in_order(asked.chain(steps.iter().map(|step| step.object)));
        Self { conditions, steps, by, objects }
    }

    fn at(&self, object: &ObjectId) -> usize {
        self.objects.binary_search(object).expect("it is one of them")
    }

    /// Whether what an object holds is looked at.
    fn reads(&self, object: &ObjectId) -> bool {
        let asked = |condition: &&Asked| condition.object == *object && matches!(condition.must, Must::Hold { .. });
        let changed = |step: &Planned<'_>| step.object == object && step.action.reads_payload();
        self.conditions.iter().any(asked) || self.steps.iter().any(changed)
    }
}

/// Objects in order, once each.
pub(crate) fn in_order<'a>(objects: impl Iterator<Item = &'a ObjectId>) -> Vec<ObjectId> {
    let mut objects: Vec<_> = objects.cloned().collect();
    objects.sort_unstable();
    objects.dedup();
    objects
}

/// Whether a condition holds.
pub(crate) fn holds(condition: &Asked, known: &Known) -> bool {
    match &condition.must {
        Must::BeAt(version) => Condition::Known(*version).check(known.version, known.is_live()).is_none(),
        Must::Hold { pointer, value } => known.live().is_some_and(|live| action::holds(live.payload, pointer, value)),
    }
}

impl Owner {
    /// Does all of it or nothing, and hands out what tells when it is durable. With `holding` the objects are its own.
    pub(crate) async fn together(
        &self,
        together: &Together<'_>,
        holding: Option<&Holding>,
        claim: &mut Option<Claim>,
    ) -> Result<(Pending, Vec<StepDone>), NotTogether> {
        let mut own = None;
        let mut waits = 0;
        let mut loaded = HashMap::new();
        loop {
            let held = holding.or(own.as_ref()).is_some();
            match self.step_together(together, held, &loaded, claim) {
                Err(Looked::Wait(ready)) => drop(ready.await),
                Err(Looked::Held(given_back)) => {
                    drop(given_back.await);
                    waits += 1;
                    if waits == PATIENCE {
                        own = Some(self.hold(&together.objects).await);
                    }
                }
                Err(Looked::Load(object)) => self.load_one(object, &mut loaded).await?,
                Ok(Decided::Queued(pending, steps)) => return Ok((pending, steps)),
                Ok(Decided::Not(reason, tips)) => {
                    let on_tips = !tips.is_empty();
                    for settled in tips {
                        let _ = settled.await;
                    }
                    // Where a persist has failed, a tip may never have become durable.
                    if on_tips && self.has_failed() {
                        return Err(NotTogether::NotWritten(NotWritten::Commit(CommitError::Failed)));
                    }
                    return Err(reason);
                }
            }
        }
    }

    /// What stands at objects that are held, whole.
    pub(crate) async fn held(&self, objects: &[ObjectId], _holding: &Holding) -> Result<Vec<Known>, NotTogether> {
        let mut loaded = HashMap::new();
        loop {
            let looked = match self.look_at(objects, true, &loaded, &|_| true) {
                Ok((heads, _)) => return Ok(heads.into_iter().map(|(known, _)| known).collect()),
                Err(looked) => looked,
            };
            match looked {
                Looked::Wait(ready) | Looked::Held(ready) => drop(ready.await),
                Looked::Load(object) => self.load_one(object, &mut loaded).await?,
            }
        }
    }

    /// Waits until what was the tip of an object is durable, if it is not.
    pub(crate) async fn settled(&self, objects: &[ObjectId]) -> Result<(), NotWritten> {
        for object in objects {
            let waiting = {
                let mut stripe = self.stripe(object).lock();
                matches!(stripe.look(object), Look::Tip(_)).then(|| stripe.wait_settled(object))
            };
            if let Some(waiting) = waiting {
                let _ = waiting.await;
            }
        }
        if self.has_failed() { Err(NotWritten::Commit(CommitError::Failed)) } else { Ok(()) }
    }

    /// One look at all objects, and if they can be judged, the decision.
    fn step_together(
        &self,
        together: &Together<'_>,
        held: bool,
        loaded: &HashMap<ObjectId, Known>,
        claim: &mut Option<Claim>,
    ) -> Result<Decided, Looked> {
        let reads = |object: &ObjectId| together.reads(object);
        let (heads, guards) = self.look_at(&together.objects, held, loaded, &reads)?;
        Ok(self.decide(together, &heads, guards, claim))
    }

    /// Goes through with a load that was begun.
    async fn load_one(&self, object: ObjectId, loaded: &mut HashMap<ObjectId, Known>) -> Result<(), NotTogether> {
        let known = self.load(&object).await.map_err(|error| NotTogether::NotWritten(NotWritten::Read(error)))?;
        loaded.insert(object, known);
        Ok(())
    }

    fn lock_all(&self, objects: &[ObjectId]) -> Guards<'_> {
        let mut stripes: Vec<usize> = objects.iter().map(|object| stripe_of(object, STRIPES)).collect();
        stripes.sort_unstable();
        stripes.dedup();
        // In order, so that no two wait for each other.
        Guards(stripes.into_iter().map(|stripe| (stripe, self.stripes[stripe].lock())).collect())
    }

    fn look_at(
        &self,
        objects: &[ObjectId],
        held: bool,
        loaded: &HashMap<ObjectId, Known>,
        reads: &dyn Fn(&ObjectId) -> bool,
    ) -> Result<(Vec<(Known, bool)>, Guards<'_>), Looked> {
        let mut guards = self.lock_all(objects);
        let mut heads = Vec::with_capacity(objects.len());
        let mut missing = None;
        for object in objects {
            let stripe = guards.of(object);
            if !held && let Some(given_back) = stripe.wait_held(object) {
                return Err(Looked::Held(given_back));
            }
            match stripe.look(object) {
                Look::Loading => return Err(Looked::Wait(stripe.wait(object))),
                Look::Tip(tip) if planted::is(Fault::JudgeTheDurable) => heads.push((tip.durable.clone(), true)),
                Look::Tip(tip) => heads.push((tip.head.clone(), true)),
                Look::Known(known) => {
                    // Only what is left out of memory is taken from what was read, and only if it is still the same.
                    let same = loaded.get(object).filter(|loaded| {
                        !known.is_whole() && (loaded.version, loaded.place) == (known.version, known.place)
                    });
                    let known = same.unwrap_or(known);
                    if !known.is_whole() && reads(object) {
                        missing = Some(object);
                    }
                    heads.push((known.clone(), false));
                }
                Look::Nothing => missing = Some(object),
            }
        }
        match missing {
            None => Ok((heads, guards)),
            Some(object) => {
                guards.of(object).begin_load(object);
                Err(Looked::Load(object.clone()))
            }
        }
    }

    /// Judges all of it on what was found under the locks, and queues it.
    fn decide(
        &self,
        together: &Together<'_>,
        heads: &[(Known, bool)],
        mut guards: Guards<'_>,
        claim: &mut Option<Claim>,
    ) -> Decided {
        let head = |object: &ObjectId| &heads[together.at(object)];
        let mut not = |reason, objects: Vec<&ObjectId>| {
            let tips = objects.into_iter().filter(|object| head(object).1);
            let tips: Vec<_> = tips.map(|object| guards.of(object).wait_settled(object)).collect();
            Decided::Not(reason, tips)
        };
        let asked = together.conditions.iter().enumerate();
        let failed = asked.filter(|(_, condition)| !holds(condition, &head(&condition.object).0));
        let failed: Vec<_> = failed.skip(usize::from(planted::is(Fault::SkipCondition))).collect();
        if !failed.is_empty() {
            let objects = failed.iter().map(|(_, condition)| &condition.object).collect();
            let stands = failed.iter().map(|(at, condition)| (*at, head(&condition.object).0.clone())).collect();
            return not(NotTogether::Failed(stands), objects);
        }
        let mut units = Vec::with_capacity(together.steps.len());
        let (mut steps, mut bytes) = (Vec::with_capacity(together.steps.len()), 0);
        for (at, planned) in together.steps.iter().enumerate() {
            let (stands, _) = head(planned.object);
            let part = match self.part(planned, stands, together.by, claim.as_ref()) {
                Ok(part) => part,
                Err(NotPart::Refused(refusal)) => {
                    let reason = NotTogether::Refused { step: at, refusal, stands: stands.clone() };
                    return not(reason, vec![planned.object]);
                }
                Err(NotPart::NoKey) => return Decided::Not(NotTogether::NoKey(at), Vec::new()),
                Err(NotPart::Stale) => return Decided::Not(NotTogether::Stale, Vec::new()),
                Err(NotPart::NotWritten(reason)) => return Decided::Not(NotTogether::NotWritten(reason), Vec::new()),
            };
            bytes += part.0.change().map_or(0, |change| change.payload.as_ref().map_or(0, |it| it.as_bytes().len()));
            units.push(part.0);
            steps.push(part.1);
        }
        if bytes > TRANSACTION_BYTES_MAX {
            return Decided::Not(NotTogether::TooLarge, Vec::new());
        }
        let mut tips: Vec<_> = units
            .iter()
            .filter_map(Unit::change)
            .map(|change| (change.object.clone(), Known::of_change(change)))
            .collect();
        if planted::is(Fault::HalfATransaction) && units.len() > 1 {
            units.pop();
            tips.pop();
        }
        // What a condition was judged on goes ahead of what was done for it.
        let asked = together.conditions.iter().filter_map(|condition| head(&condition.object).0.place).collect();
        match self.submit(Unit::Together(units, asked), claim) {
            Ok(pending) => {
                for (object, tip) in tips {
                    let before = head(&object).0.clone();
                    guards.of(&object).advance(object.clone(), before, tip);
                }
                Decided::Queued(pending, steps)
            }
            Err(reason) => Decided::Not(NotTogether::NotWritten(reason), Vec::new()),
        }
    }

    /// What one step puts into the unit, and what it has made.
    fn part(
        &self,
        planned: &Planned<'_>,
        stands: &Known,
        by: &By,
        claim: Option<&Claim>,
    ) -> Result<(Unit, StepDone), NotPart> {
        if let (Some(claimed), Some(recorded)) = (planned.claimed_key, stands.shard_key())
            && claimed != recorded
        {
            return Err(NotPart::Refused(Refusal::WrongKey));
        }
        let (payload, reply) = match &planned.doing {
            Doing::Action => (apply(planned.action, stands).map_err(NotPart::Refused)?, None),
            Doing::Write(met, ..) | Doing::Applied(met, _) if *met != stands.version => return Err(NotPart::Stale),
            Doing::Write(_, payload, reply) => (payload.clone(), reply.clone()),
            Doing::Applied(_, reply) => return Ok(applied(planned, stands, reply.clone(), claim)),
        };
        let version = stands.next_version().map_err(NotPart::Refused)?;
        let key = stands.shard_key().or(planned.claimed_key).or(planned.new_key);
        let shard_key = key.ok_or(NotPart::NoKey)?;
        let beside =
            reply.as_ref().map(|reply| Box::new(Beside { reply: reply.as_bytes().to_vec(), cases: Vec::new() }));
        let (kind, timestamp, by) = (planned.action.kind(), by.timestamp, by.name.clone());
        let making = Making { shard_key, version, kind, payload, timestamp, by, beside };
        let change = self.change(planned.object, stands, making, claim).map_err(NotPart::NotWritten)?;
        let created = change.new_object;
        Ok((Unit::Change(change), StepDone { shard_key, version, created, reply }))
    }
}

enum NotPart {
    Refused(Refusal),
    NoKey,
    Stale,
    NotWritten(NotWritten),
}

fn applied(planned: &Planned<'_>, stands: &Known, reply: Option<Payload>, claim: Option<&Claim>) -> (Unit, StepDone) {
    let (shard_key, version) = (stands.shard_key().unwrap_or_default(), stands.version);
    let note = Note {
        object: planned.object.clone(),
        shard_key,
        version,
        kind: planned.action.kind(),
        identity: claim.map(Claim::identity),
        outcome: Outcome::Applied,
        text: reply.as_ref().map_or(Vec::new(), |reply| reply.as_bytes().to_vec()),
        cases: Vec::new(),
    };
    (Unit::Note(Box::new(note)), StepDone { shard_key, version, created: false, reply })
}
