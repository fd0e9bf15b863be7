//! What the owner holds of the objects: durable heads in a bounded cache, tips and loads in a map of what is under way.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use ostrakon_store::{Change, Durable, Forget, Head, Place, Rekey};
use ostrakon_wire::bounds::{HEAD_CACHE_BYTES, HEAD_PAYLOAD_BYTES_MAX};
use ostrakon_wire::{ActionId, ObjectId, Payload, Revision, ShardKey, TimestampMs, Version};
use quick_cache::Weighter;
use quick_cache::unsync::{Cache, DefaultLifecycle};
use tokio::sync::oneshot;

/// What is known of an object at one version.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Where its rows stand; `None` for an object that never was.
    pub(crate) place: Option<Place>,
    /// The stored version: a live object's, a tombstone's, or 0.
    pub(crate) version: Version,
    /// The commit unit that made it; meaningless until it is durable.
    revision: Revision,
    row: Option<Arc<KnownRow>>,
}

#[derive(Debug)]
struct KnownRow {
    object: ObjectId,
    timestamp: TimestampMs,
    action_id: Option<ActionId>,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Tombstone,
    Payload(Payload),
    /// A payload too large to be kept in memory.
    Large,
}

/// A live object, whole.
pub(crate) struct Live<'a> {
    pub(crate) revision: Revision,
    pub(crate) timestamp: TimestampMs,
    pub(crate) action_id: Option<ActionId>,
    pub(crate) payload: &'a Payload,
}

impl Content {
    /// A payload that is small enough to be kept is copied out of the frame or the block that it came in, so that it keeps
    /// nothing else alive.
    fn new(payload: Option<&Payload>) -> Self {
        match payload {
            None => Self::Tombstone,
            Some(payload) if payload.as_bytes().len() > HEAD_PAYLOAD_BYTES_MAX => Self::Payload(payload.clone()),
            Some(payload) => {
                let bytes = bytes::Bytes::copy_from_slice(payload.as_bytes());
                Self::Payload(Payload::from_checked(payload.format(), bytes))
            }
        }
    }
}

impl Known {
    /// An object that never was, or is forgotten; what is made under its name starts above this version.
    pub(crate) fn absent(floor: Version) -> Self {
        Self { place: None, version: floor, revision: Revision::default(), row: None }
    }

    /// What a read view holds.
    pub(crate) fn stored(object: ObjectId, place: Place, head: Head) -> Self {
        let content = Content::new(head.row.payload.as_ref());
        let row = KnownRow { object, timestamp: head.row.timestamp, action_id: head.row.action_id, content };
        Self { place: Some(place), version: head.version, revision: head.row.revision, row: Some(Arc::new(row)) }
    }

    /// What a change will make.
    pub(crate) fn of_change(change: &Change) -> Self {
        let row = KnownRow {
            object: change.object.clone(),
            timestamp: change.timestamp,
            action_id: change.identity.map(|identity| identity.id),
            content: Content::new(change.payload.as_ref()),
        };
        let revision = Revision::default();
        Self { place: Some(change.place), version: change.version, revision, row: Some(Arc::new(row)) }
    }

    /// The same where it stands from now on.
    pub(crate) fn at(self, place: Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The key it is recorded under.
    pub(crate) fn shard_key(&self) -> Option<ShardKey> {
        self.place.map(|place| place.shard_key)
    }

    /// The object's id as it is kept here; `None` for an object that never was. Two clones of one id compare at once.
    pub(crate) fn object(&self) -> Option<&ObjectId> {
        self.row.as_ref().map(|row| &row.object)
    }

    /// Whether a live object stands there.
    pub(crate) fn is_live(&self) -> bool {
        self.row.as_ref().is_some_and(|row| !matches!(row.content, Content::Tombstone))
    }

    /// Whether nothing of it is left out.
    pub(crate) fn is_whole(&self) -> bool {
        !self.row.as_ref().is_some_and(|row| matches!(row.content, Content::Large))
    }

    /// The commit unit that made it; of a live object only.
    pub(crate) fn live_revision(&self) -> Option<Revision> {
        self.is_live().then_some(self.revision)
    }

    /// The live object, if there is one and it is whole.
    pub(crate) fn live(&self) -> Option<Live<'_>> {
        let row = self.row.as_ref()?;
        let Content::Payload(payload) = &row.content else { return None };
        Some(Live { revision: self.revision, timestamp: row.timestamp, action_id: row.action_id, payload })
    }

    /// The same without a payload that is too large to be kept.
    fn kept(self) -> Self {
        match &self.row {
            Some(row) if self.payload_bytes() > HEAD_PAYLOAD_BYTES_MAX => {
                let KnownRow { ref object, timestamp, action_id, .. } = **row;
                let slim = KnownRow { object: object.clone(), timestamp, action_id, content: Content::Large };
                Self { row: Some(Arc::new(slim)), ..self }
            }
            _ => self,
        }
    }

    fn payload_bytes(&self) -> usize {
        self.live().map_or(0, |live| live.payload.as_bytes().len())
    }
}

/// An object with changes on their way.
pub(crate) struct Tip {
    /// What the last of them makes.
    pub(crate) head: Known,
    /// What is durable now.
    pub(crate) durable: Known,
    in_flight: usize,
    waiters: Vec<(Version, oneshot::Sender<()>)>,
}

enum UnderWay {
    Loading(Vec<oneshot::Sender<()>>),
    Tip(Tip),
}

/// What the owner holds of an object.
pub(crate) enum Look<'a> {
    /// Nothing.
    Nothing,
    /// Somebody is loading it.
    Loading,
    /// Changes are on their way.
    Tip(&'a Tip),
    /// It is as it is on disk.
    Known(&'a Known),
}

/// Objects hash to their digest, which is as good as a hash can be: nothing is hashed twice.
type ByDigest = BuildHasherDefault<DigestHasher>;

#[derive(Default)]
struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("an object hashes to one number");
    }

    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

#[derive(Clone)]
struct ByBytes;

/// What an entry costs beside its texts: two nodes, the row, the counters.
const ENTRY_OVERHEAD_BYTES: usize = 240;

impl Weighter<ObjectId, Known> for ByBytes {
    fn weight(&self, object: &ObjectId, known: &Known) -> u64 {
        (ENTRY_OVERHEAD_BYTES + object.as_text().len() + known.payload_bytes()) as u64
    }
}

/// One part of the objects, under one lock.
pub(crate) struct Stripe {
    under_way: HashMap<ObjectId, UnderWay, ByDigest>,
    /// Objects whose queue is being worked on, and the writers that wait for its end.
    held: HashMap<ObjectId, Vec<oneshot::Sender<()>>, ByDigest>,
    heads: Cache<ObjectId, Known, ByBytes, ByDigest>,
}

/// Which stripe an object falls in.
pub(crate) fn stripe_of(object: &ObjectId, stripes: usize) -> usize {
    (object.digest() >> 32) as usize % stripes
}

impl Stripe {
    pub(crate) fn new(stripes: usize) -> Self {
        let bytes = HEAD_CACHE_BYTES / stripes;
        Self {
            under_way: HashMap::default(),
            held: HashMap::default(),
            heads: Cache::with(
                bytes / (2 * ENTRY_OVERHEAD_BYTES),
                bytes as u64,
                ByBytes,
                ByDigest::default(),
                DefaultLifecycle::default(),
            ),
        }
    }

    pub(crate) fn look(&self, object: &ObjectId) -> Look<'_> {
        match self.under_way.get(object) {
            Some(UnderWay::Loading(_)) => Look::Loading,
            Some(UnderWay::Tip(tip)) => Look::Tip(tip),
            None => self.heads.get(object).map_or(Look::Nothing, Look::Known),
        }
    }

    /// Waits for a load.
    pub(crate) fn wait(&mut self, object: &ObjectId) -> oneshot::Receiver<()> {
        let (ended, waiting) = oneshot::channel();
        if let Some(UnderWay::Loading(waiters)) = self.under_way.get_mut(object) {
            waiters.push(ended);
        }
        waiting
    }

    /// Waits until what is the tip now is durable.
    pub(crate) fn wait_settled(&mut self, object: &ObjectId) -> oneshot::Receiver<()> {
        let (settled, waiting) = oneshot::channel();
        if let Some(UnderWay::Tip(tip)) = self.under_way.get_mut(object) {
            tip.waiters.push((tip.head.version, settled));
        }
        waiting
    }

    /// Keeps writers from an object until it is given back; or what ends when the one who does so now is done.
    pub(crate) fn hold(&mut self, object: &ObjectId) -> Result<(), oneshot::Receiver<()>> {
        match self.wait_held(object) {
            Some(given_back) => Err(given_back),
            None => {
                self.held.insert(object.clone(), Vec::new());
                Ok(())
            }
        }
    }

    /// Lets writers to an object again; whether some have waited for that.
    pub(crate) fn give_back(&mut self, object: &ObjectId) -> bool {
        let waiters = self.held.remove(object).unwrap_or_default();
        waiters.iter().any(|waiter| !waiter.is_closed())
    }

    /// What a writer waits for while an object is held.
    pub(crate) fn wait_held(&mut self, object: &ObjectId) -> Option<oneshot::Receiver<()>> {
        if self.held.is_empty() {
            return None;
        }
        let waiters = self.held.get_mut(object)?;
        if waiters.len() == waiters.capacity() {
            waiters.retain(|waiter| !waiter.is_closed());
        }
        let (ended, waiting) = oneshot::channel();
        waiters.push(ended);
        Some(waiting)
    }

    /// Takes the object for a load; nobody else touches it until the load ends.
    pub(crate) fn begin_load(&mut self, object: &ObjectId) {
        assert!(!self.under_way.contains_key(object), "a load begins where nothing is under way");
        self.heads.remove(object);
        self.under_way.insert(object.clone(), UnderWay::Loading(Vec::new()));
    }

    /// Ends a load.
    pub(crate) fn end_load(&mut self, object: &ObjectId, known: Option<&Known>) {
        let loading = self.under_way.remove(object);
        assert!(
            matches!(loading, Some(UnderWay::Loading(_))),
            "nothing else is done to an object that is being loaded"
        );
        if let Some(known) = known {
            self.heads.insert(object.clone(), known.clone().kept());
        }
    }

    /// A change was queued on top of `head`; it makes `tip`.
    pub(crate) fn advance(&mut self, object: ObjectId, head: Known, tip: Known) {
        match self.under_way.entry(object) {
            Entry::Occupied(mut existing) => match existing.get_mut() {
                UnderWay::Tip(existing) => {
                    existing.head = tip;
                    existing.in_flight += 1;
                }
                UnderWay::Loading(_) => unreachable!("nothing is queued for an object that is being loaded"),
            },
            Entry::Vacant(vacant) => {
                // The head in the cache stays: nobody looks at it while a tip is under way, and the next one takes its place.
                vacant.insert(UnderWay::Tip(Tip { head: tip, durable: head, in_flight: 1, waiters: Vec::new() }));
            }
        }
    }

    /// A change is durable (`Some`), or never will be.
    pub(crate) fn settle(&mut self, change: &Change, durable: Option<Durable>) {
        self.end(&change.object, change.version, durable, || Known::of_change(change));
    }

    /// A forgotten object is so durably (`Some`), or never will be.
    pub(crate) fn forgotten(&mut self, forget: &Forget, durable: Option<Durable>) {
        self.end(&forget.object, forget.version, durable, || Known::absent(forget.version));
    }

    /// An object has come under its new key durably, or never will.
    pub(crate) fn rekeyed(&mut self, rekey: &Rekey, durable: bool) {
        if durable && let Some(UnderWay::Tip(tip)) = self.under_way.get_mut(&rekey.object) {
            tip.durable = tip.durable.clone().at(rekey.to);
        }
        self.ended(&rekey.object, rekey.version, durable);
    }

    fn end(&mut self, object: &ObjectId, version: Version, durable: Option<Durable>, made: impl FnOnce() -> Known) {
        if let (Some(durable), Some(UnderWay::Tip(tip))) = (durable, self.under_way.get_mut(object)) {
            assert!(version >= tip.durable.version, "changes of an object are settled in order of version");
            let made = if tip.in_flight == 1 { tip.head.clone() } else { made() };
            tip.durable = Known { revision: durable.revision, ..made };
        }
        self.ended(object, version, durable.is_some());
    }

    /// One of the units that are under way has ended.
    fn ended(&mut self, object: &ObjectId, version: Version, durable: bool) {
        let Entry::Occupied(mut under_way) = self.under_way.entry(object.clone()) else { return };
        let UnderWay::Tip(tip) = under_way.get_mut() else { return };
        tip.in_flight -= 1;
        tip.waiters.retain(|(waits_for, settled)| *waits_for > version && !settled.is_closed());
        if tip.in_flight > 0 {
            return;
        }
        match under_way.remove_entry() {
            (object, UnderWay::Tip(tip)) if durable => self.heads.insert(object, tip.durable.kept()),
            (object, _) => drop(self.heads.remove(&object)),
        }
    }
}
