//! The owner of the objects: the one place that knows their tips.
//!
//! For each object in use it holds the durable head, and while changes are on their way the tip that they make. A change
//! is judged against the tip and queued under one lock, so the queue's order is the order of versions. What it does
//! not know it loads from the newest read view; while it loads, everybody else who wants the object waits, so nothing
//! can be queued behind the load's back.

mod entry;
mod forget;
mod holding;
mod judge;
mod load;
mod readers;
mod rekey;
mod sink;
mod together;
mod turn;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ostrakon_core::{Moving, ShardMap};
use ostrakon_store::planted::{self, Fault};
use ostrakon_store::{
    Beside, Change, Chunk, Clock, CommitError, CommitStats, Committer, Durable, Moved, Note, Numbers, Place, ReadError,
    ReadView, ShardMaking, Store, Stretch, StretchBounds, Unit, Views,
};
use ostrakon_wire::{Action, ActionKind, ObjectId, Payload, ShardId, ShardKey, TimestampMs, Version};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::action_ids::{ActionIds, Claim};
use crate::feed::Told;
pub(crate) use entry::Known;
use entry::{Look, Stripe};
pub(crate) use forget::Forgetting;
pub(crate) use holding::Holding;
use holding::Lanes;
pub(crate) use judge::{Condition, Refusal};
use judge::{Judged, check, judge};
use load::{LoadGuard, read_head};
pub(crate) use readers::{Readers, TooMany};
pub(crate) use sink::OwnerSink;
use sink::{SettledUpTo, Token};
pub(crate) use together::{Doing, NotTogether, Planned, StepDone, Together, holds, in_order};
pub(crate) use turn::{Recent, Turn, Writing};

const STRIPES: usize = 64;
/// Commits that take longer on average make every shard degraded, in microseconds.
const SLOW_COMMIT_US: u32 = 500_000;

/// What is to be done to an object.
pub(crate) struct Intent<'a> {
    pub(crate) object: &'a ObjectId,
    /// The key that the client believes the object has.
    pub(crate) claimed_key: Option<ShardKey>,
    /// The key for an object that has none recorded.
    pub(crate) new_key: Option<ShardKey>,
    pub(crate) condition: Condition,
    pub(crate) action: &'a Action,
    pub(crate) by: &'a By,
}

/// When something was asked for, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct By {
    /// As the client or else the host told.
    pub(crate) timestamp: TimestampMs,
    /// The name in the certificate.
    pub(crate) name: Option<Arc<str>>,
}

/// What tells whether a queued unit is durable.
pub(crate) type Pending = oneshot::Receiver<Result<Durable, CommitError>>;

/// Waits until a queued unit is durable.
pub(crate) async fn durable(pending: Pending) -> Result<Durable, NotWritten> {
    pending.await.unwrap_or(Err(CommitError::Stopped)).map_err(NotWritten::Commit)
}

/// The version that is to be made of an object.
struct Making {
    shard_key: ShardKey,
    version: Version,
    kind: ActionKind,
    payload: Option<Payload>,
    timestamp: TimestampMs,
    by: Option<Arc<str>>,
    beside: Option<Box<Beside>>,
}

/// A change that is durable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Written {
    pub(crate) durable: Durable,
    pub(crate) shard_key: ShardKey,
    pub(crate) version: Version,
    pub(crate) created: bool,
}

/// Why nothing was written.
#[derive(Debug)]
pub(crate) enum NotWritten {
    /// The object or the condition forbids it. `stands`: what stands there, durable.
    Refused { refusal: Refusal, stands: Known },
    /// The object has no key yet: ask the policy, and come again.
    NoKey,
    /// There is no room for one more escalation.
    NoRoom,
    /// The commit queue is full.
    Full,
    /// The change was queued and is not durable.
    Commit(CommitError),
    /// The object cannot be read.
    Read(ReadError),
}

/// The owner of all objects of this host.
pub(crate) struct Owner {
    stripes: Arc<[Mutex<Stripe>]>,
    committer: Committer<OwnerSink>,
    clock: Clock,
    views: Views,
    settled: Arc<SettledUpTo>,
    told: Arc<Told>,
    numbers: Numbers,
    readers: Readers,
    lanes: Lanes,
    making: ShardMaking,
}

/// The step of a write that is taken under the object's lock.
enum Step {
    Queued {
        outcome: Pending,
        made: Made,
    },
    Refused {
        refusal: Refusal,
        stands: Result<Known, oneshot::Receiver<()>>,
    },
    NotWritten(NotWritten),
    Wait(oneshot::Receiver<()>),
    Load {
        whole: bool,
    },
    /// The condition holds, and no more was asked.
    Clear,
}

/// The version that a queued change makes.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    pub(crate) shard_key: ShardKey,
    pub(crate) version: Version,
    pub(crate) created: bool,
}

/// What an intent is brought to the owner for.
enum Purpose<'c> {
    /// To learn whether its condition would be refused.
    Confirm,
    /// To be done; with the claim on its action id.
    Write(&'c mut Option<Claim>),
}

impl Owner {
    pub(crate) fn start(store: Store, ids: Arc<ActionIds>, changes_max: usize) -> std::io::Result<Self> {
        let start = |store, sink| Committer::start(store, sink, changes_max).map(|committer| (committer, ()));
        Self::on(store, ids, Readers::start()?, start).map(|(owner, ())| owner)
    }

    /// The same without threads: the driver commits, [`Self::read_one`] reads.
    #[cfg(feature = "simulation")]
    pub(crate) fn driven(
        store: Store,
        ids: Arc<ActionIds>,
        changes_max: usize,
    ) -> std::io::Result<(Self, ostrakon_store::Driver<OwnerSink>)> {
        Self::on(store, ids, Readers::driven(), |store, sink| Committer::driven(store, sink, changes_max))
    }

    fn on<T>(
        mut store: Store,
        ids: Arc<ActionIds>,
        readers: Readers,
        start: impl FnOnce(Store, OwnerSink) -> std::io::Result<(Committer<OwnerSink>, T)>,
    ) -> std::io::Result<(Self, T)> {
        let stripes: Arc<[_]> = (0..STRIPES).map(|_| Mutex::new(Stripe::new(STRIPES))).collect();
        let (clock, views, numbers) = (store.clock().clone(), store.views(), store.numbers());
        let making = store.shard_making();
        let settled = Arc::new(SettledUpTo::new(views.position().revision));
        let told = Arc::new(Told::new(views.position().revision, clock.clone()));
        let sink = OwnerSink::new(Arc::clone(&stripes), Arc::clone(&settled), Arc::clone(&told), ids);
        let (committer, more) = start(store, sink)?;
        let lanes = Lanes::default();
        Ok((Self { stripes, committer, clock, views, settled, told, numbers, readers, lanes, making }, more))
    }

    /// Does one of the reads that wait; `false` where there is none.
    #[cfg(feature = "simulation")]
    pub(crate) fn read_one(&self, choice: usize) -> bool {
        self.readers.run_one(choice)
    }

    /// The clocks that the host goes by.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What is told to those who watch.
    pub(crate) fn told(&self) -> &Arc<Told> {
        &self.told
    }

    pub(crate) fn commit_stats(&self) -> &Arc<CommitStats> {
        self.committer.stats()
    }

    /// Whether a persist has failed: nothing is written any more.
    pub(crate) fn has_failed(&self) -> bool {
        self.committer.stats().failed.load(Ordering::Relaxed)
    }

    /// Whether a shard's changes wait, since its flushes cannot keep up.
    pub(crate) fn is_held(&self, shard: ShardId) -> bool {
        self.committer.is_held(shard)
    }

    /// Whether commits take so long that all shards are late.
    pub(crate) fn is_slow(&self) -> bool {
        self.commit_stats().commit_us.load(Ordering::Relaxed) > SLOW_COMMIT_US
    }

    /// Copies what a migration moves next, as the view shows it, until it is not to go on. Blocks the thread for long.
    pub(crate) fn copy(
        &self,
        view: &ReadView,
        way: (&Moving, bool),
        bounds: StretchBounds,
        go_on: impl Fn() -> bool + Sync,
    ) -> Result<Stretch, ReadError> {
        self.committer.copy(view, way, bounds, go_on)
    }

    /// What stands of a chunk with who gives it and with who takes it, as the view shows them. Blocks the thread.
    pub(crate) fn standing(&self, view: &ReadView, chunk: Chunk) -> Result<(Moved, Moved), ReadError> {
        self.committer.standing(view, chunk)
    }

    /// Who makes shards.
    pub(crate) fn making(&self) -> &ShardMaking {
        &self.making
    }

    /// Changes that are queued or in the open group.
    pub(crate) fn waiting(&self) -> usize {
        self.committer.waiting()
    }

    /// The key of an object that is in memory.
    pub(crate) fn key_of(&self, object: &ObjectId) -> Option<ShardKey> {
        match self.stripe(object).lock().look(object) {
            Look::Known(known) => known.shard_key(),
            Look::Tip(tip) => tip.durable.shard_key().or(tip.head.shard_key()),
            Look::Loading | Look::Nothing => None,
        }
    }

    fn stripe(&self, object: &ObjectId) -> &Mutex<Stripe> {
        &self.stripes[entry::stripe_of(object, STRIPES)]
    }

    /// Does an action to an object, and waits until it is durable.
    pub(crate) async fn write(&self, intent: &Intent<'_>, claim: &mut Option<Claim>) -> Result<Written, NotWritten> {
        let written = self.bring(intent, Purpose::Write(claim)).await?;
        Ok(written.expect("what is brought to be written is written or refused"))
    }

    /// Whether the condition holds, as far as the tip tells; where it does not, what stands there.
    pub(crate) async fn confirm(&self, intent: &Intent<'_>) -> Result<(), NotWritten> {
        self.bring(intent, Purpose::Confirm).await.map(drop)
    }

    async fn bring(&self, intent: &Intent<'_>, mut purpose: Purpose<'_>) -> Result<Option<Written>, NotWritten> {
        let mut loaded = None;
        loop {
            match self.step(intent, &mut purpose, loaded.clone()) {
                Step::Queued { outcome, made } => {
                    let durable = durable(outcome).await?;
                    let Made { shard_key, version, created } = made;
                    return Ok(Some(Written { durable, shard_key, version, created }));
                }
                Step::Clear => return Ok(None),
                Step::Refused { refusal, stands } => {
                    let on_a_tip = stands.is_err();
                    let stands = self.what_stands(intent.object, stands).await.map_err(NotWritten::Read)?;
                    // Where a persist has failed, the tip may never have become durable.
                    if on_a_tip && self.has_failed() {
                        continue;
                    }
                    return Err(NotWritten::Refused { refusal, stands });
                }
                Step::NotWritten(reason) => return Err(reason),
                Step::Wait(ready) => drop(ready.await),
                Step::Load { whole } => {
                    let known = self.load(intent.object).await.map_err(NotWritten::Read)?;
                    loaded = whole.then_some(known);
                }
            }
        }
    }

    /// What a refused write is told. What was judged against a tip is told once the tip is durable.
    async fn what_stands(
        &self,
        object: &ObjectId,
        stands: Result<Known, oneshot::Receiver<()>>,
    ) -> Result<Known, ReadError> {
        match stands {
            Ok(known) if known.is_whole() => return Ok(known),
            Ok(_) => {}
            Err(settled) => drop(settled.await),
        }
        self.head(object, true).await
    }

    /// One look at the object, and if it can be decided, the decision. `loaded`: the whole head, read a moment ago.
    fn step(&self, intent: &Intent<'_>, purpose: &mut Purpose<'_>, loaded: Option<Known>) -> Step {
        let mut stripe = self.stripe(intent.object).lock();
        if let (Purpose::Write(_), Some(given_back)) = (&*purpose, stripe.wait_held(intent.object)) {
            return Step::Wait(given_back);
        }
        let (head, in_flight) = match stripe.look(intent.object) {
            Look::Loading => return Step::Wait(stripe.wait(intent.object)),
            Look::Nothing => {
                stripe.begin_load(intent.object);
                return Step::Load { whole: false };
            }
            Look::Tip(tip) => (tip.head.clone(), true),
            Look::Known(known) => {
                match loaded.filter(|loaded| (loaded.version, loaded.place) == (known.version, known.place)) {
                    Some(loaded) => (loaded, false),
                    None => (known.clone(), false),
                }
            }
        };
        let judged = match purpose {
            Purpose::Confirm => match check(intent, &head) {
                Some(refusal) => Judged::Refused(refusal),
                None => return Step::Clear,
            },
            Purpose::Write(_) if !head.is_whole() && intent.action.reads_payload() => {
                stripe.begin_load(intent.object);
                return Step::Load { whole: true };
            }
            Purpose::Write(_) => judge(intent, &head),
        };
        match (judged, purpose) {
            (Judged::Refused(refusal), _) => {
                let wait = in_flight && !planted::is(Fault::TellTheTip);
                let stands = if wait { Err(stripe.wait_settled(intent.object)) } else { Ok(head) };
                Step::Refused { refusal, stands }
            }
            (Judged::Write { shard_key, version, payload }, Purpose::Write(claim)) => {
                let (kind, timestamp, by) = (intent.action.kind(), intent.by.timestamp, intent.by.name.clone());
                let making = Making { shard_key, version, kind, payload, timestamp, by, beside: None };
                let queued = self.change(intent.object, &head, making, claim.as_ref()).and_then(|change| {
                    let tip = Known::of_change(&change);
                    self.queue(&mut stripe, change, head, tip, claim)
                });
                match queued {
                    Ok((made, outcome)) => Step::Queued { outcome, made },
                    Err(reason) => Step::NotWritten(reason),
                }
            }
            _ => Step::NotWritten(NotWritten::NoKey),
        }
    }

    /// The change that makes a version on top of a head.
    fn change(
        &self,
        object: &ObjectId,
        head: &Known,
        making: Making,
        claim: Option<&Claim>,
    ) -> Result<Change, NotWritten> {
        let Making { shard_key, version, kind, payload, timestamp, by, beside } = making;
        let number = head.place.map(|place| place.number).or_else(|| self.numbers.draw());
        let number = number.ok_or(NotWritten::Full)?;
        let (place, new_object) = (Place { shard_key, number }, head.place.is_none());
        if new_object {
            self.views.serves(place).map_err(NotWritten::Read)?;
        }
        Ok(Change {
            object: head.object().unwrap_or(object).clone(),
            place,
            version,
            kind,
            payload,
            timestamp,
            identity: claim.map(Claim::identity),
            by,
            new_object,
            beside,
        })
    }

    /// Queues a change under its object's lock. `durable`: the head that is told of meanwhile, where none is yet.
    fn queue(
        &self,
        stripe: &mut Stripe,
        change: Change,
        durable: Known,
        tip: Known,
        claim: &mut Option<Claim>,
    ) -> Result<(Made, Pending), NotWritten> {
        let made = Made { shard_key: change.place.shard_key, version: change.version, created: change.new_object };
        let object = change.object.clone();
        let pending = self.submit(Unit::Change(change), claim)?;
        stripe.advance(object, durable, tip);
        Ok((made, pending))
    }

    /// Queues a note behind what was queued before.
    pub(crate) fn note(&self, note: Note, claim: &mut Option<Claim>) -> Result<Pending, NotWritten> {
        self.submit(Unit::Note(Box::new(note)), claim)
    }

    /// Puts a unit into the commit queue. The claim goes with it, or stays where it cannot be queued.
    fn submit(&self, unit: Unit, claim: &mut Option<Claim>) -> Result<Pending, NotWritten> {
        // Nothing is built on a tip that never becomes durable.
        if self.has_failed() {
            return Err(NotWritten::Commit(CommitError::Failed));
        }
        let (reply, pending) = oneshot::channel();
        let token = Token { claim: claim.take(), reply };
        self.committer.submit(unit, token).map(|()| pending).map_err(|(token, _full)| {
            *claim = token.claim;
            if self.has_failed() { NotWritten::Commit(CommitError::Failed) } else { NotWritten::Full }
        })
    }

    /// Reads on a thread that may block.
    pub(crate) async fn on_reader<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        self.readers.ask(read).await
    }

    pub(crate) fn views(&self) -> &Views {
        &self.views
    }

    pub(crate) fn map(&self) -> Arc<ShardMap> {
        self.views.map()
    }
}
