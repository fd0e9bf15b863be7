//! What the heat is told of requests, and told by: a thinned part of them where there are many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostrakon_core::ShardMap;
use ostrakon_core::heat::{Heat, Settings, Touch, TouchKind, Used};
use ostrakon_core::policy;
use ostrakon_store::Clock;
use ostrakon_wire::bounds::HEAT_TOUCHES_PER_S;
use ostrakon_wire::{Code, ObjectId, Operation, Payload, Reply, ShardKey, TimestampMs, Transact, WireError};
use parking_lot::Mutex;

use crate::Engine;

/// What a read, and a write that goes its way, take of a core, in microseconds, and bytes that take one more. Turns of the
/// agent are measured. (Measured with `ostrakon-bench writes`; only what they are to each other matters.)
const READ_US: f32 = 4.0;
const WRITE_US: f32 = 12.0;
const BYTES_PER_US: f32 = 512.0;
/// How long a request waits for what a policy is told.
const PATIENCE: Duration = Duration::from_micros(500);
/// What is told of a client of which nothing is known.
pub(crate) const UNKNOWN: policy::Heat =
    policy::Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: u64::MAX, shards: 0 };
/// How often it is looked how many requests there are.
const LOOK_MS: u64 = 100;

/// The heat, and what it is told.
pub(crate) struct Heated {
    heat: Mutex<Heat>,
    clock: Clock,
    started: Instant,
    /// Requests since it was looked last.
    requests: AtomicU32,
    looked_ms: AtomicU64,
    /// One in so many is told.
    one_in: AtomicU32,
    /// What chance goes by.
    draws: AtomicU64,
}

/// One request as it used an object.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Use<'a> {
    pub(crate) object: &'a ObjectId,
    pub(crate) key: ShardKey,
    pub(crate) timestamp: TimestampMs,
    pub(crate) caller: u64,
    pub(crate) kind: TouchKind,
    pub(crate) bytes: usize,
}

/// A request that is told, for so many that are not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drawn(f32);

impl Heated {
    /// `seed`: nobody who does not know it can choose names that drive others out.
    pub(crate) fn new(clock: Clock, seed: u64) -> Arc<Self> {
        let settings = Settings { seed, ..Settings::default() };
        Arc::new(Self {
            heat: Mutex::new(Heat::new(settings, 0)),
            started: clock.instant(),
            clock,
            requests: AtomicU32::new(0),
            looked_ms: AtomicU64::new(0),
            one_in: AtomicU32::new(1),
            draws: AtomicU64::new(seed),
        })
    }

    /// Milliseconds since the host was started.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.instant().duration_since(self.started).as_millis() as u64
    }

    /// Whether this request is told of.
    pub(crate) fn draw(&self) -> Option<Drawn> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let one_in = self.one_in.load(Ordering::Relaxed);
        if one_in > 1 {
            // Not every so many-th: what comes in a rhythm would be told of always or never.
            let draw = self.draws.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
            let draw = (draw ^ draw >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            if !((draw >> 32) as u32).is_multiple_of(one_in) {
                return None;
            }
        }
        self.look();
        Some(Drawn(one_in as f32))
    }

    /// Looks now and then how many requests there are, and tells of fewer of them where there are many.
    fn look(&self) {
        let (now, before) = (self.now_ms(), self.looked_ms.load(Ordering::Relaxed));
        let mine = |_| now >= before + LOOK_MS;
        if !mine(()) || self.looked_ms.compare_exchange(before, now, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        let requests = u64::from(self.requests.swap(0, Ordering::Relaxed));
        let per_s = requests * 1_000 / (now - before).max(1);
        let one_in = per_s.div_ceil(HEAT_TOUCHES_PER_S).clamp(1, u32::MAX.into());
        self.one_in.store(one_in as u32, Ordering::Relaxed);
    }

    /// An object was used.
    pub(crate) fn used(&self, Drawn(weight): Drawn, of: &Use<'_>) {
        let base = match of.kind {
            TouchKind::Read => READ_US,
            TouchKind::Write | TouchKind::Conflict => WRITE_US,
            TouchKind::Reconcile => 0.0,
        };
        self.touch(weight, base + of.bytes as f32 / BYTES_PER_US, of);
    }

    /// So many actions on an object took the agent so long, all together.
    pub(crate) fn worked(&self, object: &ObjectId, key: ShardKey, actions: usize, took: Duration) {
        let work_us = took.as_secs_f32() * 1e6 / actions.max(1) as f32;
        let (timestamp, kind) = (self.clock.now(), TouchKind::Reconcile);
        self.touch(actions as f32, work_us, &Use { object, key, timestamp, caller: 0, kind, bytes: 0 });
    }

    fn touch(&self, weight: f32, work_us: f32, of: &Use<'_>) {
        let touch = Touch {
            client: of.object.client(),
            data_type: of.object.data_type(),
            object: of.object.digest(),
            name: Some(of.object),
            key: of.key,
            timestamp_ms: of.timestamp.get(),
            caller: of.caller,
            kind: of.kind,
            bytes: of.bytes.try_into().unwrap_or(u32::MAX),
            work_us,
            weight,
        };
        // While somebody looks at all of it, nobody waits for that: what is not told is made up for by what is.
        if let Some(mut heat) = self.heat.try_lock() {
            heat.touch(self.now_ms(), &touch);
        }
    }

    /// These were used in one transaction.
    pub(crate) fn together(&self, Drawn(weight): Drawn, used: &[Used]) {
        if let Some(mut heat) = self.heat.try_lock() {
            heat.together(self.now_ms(), weight, used);
        }
    }

    /// What a shard-key policy is told: nothing, where that would keep a request waiting.
    pub(crate) fn for_policy(&self, object: &ObjectId, timestamp: TimestampMs, map: &ShardMap) -> policy::Heat {
        let (client, data_type) = (object.client(), object.data_type());
        let heat = self.heat.try_lock_for(PATIENCE);
        heat.map(|heat| heat.for_policy(self.now_ms(), client, data_type, timestamp.get(), map)).unwrap_or(UNKNOWN)
    }

    /// The objects that are used most, of those whose names are known.
    pub(crate) fn hottest(&self, most: usize) -> Vec<ObjectId> {
        let hottest = self.heat.lock().hot_objects(self.now_ms(), most);
        hottest.into_iter().filter_map(|hot| hot.name).collect()
    }

    /// The heat as it is now, to be asked at leisure.
    pub(crate) fn taken(&self) -> (Heat, u64) {
        (self.heat.lock().clone(), self.now_ms())
    }
}

impl Engine {
    /// Tells the heat how a request has used which objects.
    pub(crate) fn warm(
        &self,
        operation: &Operation,
        outcome: &Result<Reply, WireError>,
        asked: Option<TimestampMs>,
        caller: u64,
    ) {
        let target = match operation {
            Operation::GetShardKey(target) | Operation::ReadVersion(target) | Operation::Read(target) => target,
            Operation::ConditionalWrite(write) => &write.target,
            Operation::Perform(perform) | Operation::Reconcile(perform) => &perform.target,
            Operation::ReadHistory(read) => &read.target,
            Operation::ReadPast(read) => &read.target,
            Operation::Transact(transact) => return self.warm_together(transact, outcome, asked, caller),
            _ => return,
        };
        let Some(drawn) = self.heated.draw() else { return };
        let object = &target.object;
        let bytes_of = |payload: Option<&Payload>| payload.map_or(0, |payload| payload.as_bytes().len());
        let (kind, key, bytes, at) = match outcome {
            Ok(Reply::Object(read)) => {
                (TouchKind::Read, Some(read.shard_key), bytes_of(Some(&read.payload)), Some(read.timestamp))
            }
            Ok(Reply::Version(read)) => (TouchKind::Read, Some(read.shard_key), 0, asked),
            Ok(Reply::ShardKey(placed)) if placed.recorded => (TouchKind::Read, Some(placed.shard_key), 0, asked),
            Ok(Reply::Committed(made)) if !made.repeated => {
                let payload = match operation {
                    Operation::ConditionalWrite(write) => Some(&write.payload),
                    Operation::Perform(perform) | Operation::Reconcile(perform) => perform.action.payload(),
                    _ => None,
                };
                (TouchKind::Write, Some(made.shard_key), bytes_of(payload), asked)
            }
            Err(error) if error.code == Code::Conflict => (TouchKind::Conflict, self.owner.key_of(object), 0, asked),
            _ => return,
        };
        let Some(key) = key else { return };
        let timestamp = at.unwrap_or_else(|| self.owner.clock().now());
        self.heated.used(drawn, &Use { object, key, timestamp, caller, kind, bytes });
    }

    fn warm_together(
        &self,
        transact: &Transact,
        outcome: &Result<Reply, WireError>,
        asked: Option<TimestampMs>,
        caller: u64,
    ) {
        let Some(drawn) = self.heated.draw() else { return };
        let timestamp = asked.unwrap_or_else(|| self.owner.clock().now());
        let changed = transact.actions.iter().map(|step| (&step.target.object, step.action.payload()));
        let asked_of = transact.conditions.iter().map(|condition| (&condition.object, None));
        let mut used: Vec<Used> = Vec::new();
        for (at, (object, payload)) in changed.chain(asked_of).enumerate() {
            let kind = match outcome {
                Ok(Reply::Transacted(done)) if done.repeated => return,
                Ok(_) if at < transact.actions.len() => TouchKind::Write,
                Ok(_) => TouchKind::Read,
                Err(error) if error.code == Code::Conflict => TouchKind::Conflict,
                Err(_) => return,
            };
            let Some(key) = self.owner.key_of(object) else { continue };
            if used.iter().any(|other| other.object == object.digest()) {
                continue;
            }
            used.push(Used { object: object.digest(), key });
            let bytes = payload.map_or(0, |payload| payload.as_bytes().len());
            self.heated.used(drawn, &Use { object, key, timestamp, caller, kind, bytes });
        }
        self.heated.together(drawn, &used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_many_requests_stands_for_all() {
        let heated = Heated::new(Clock::default(), 7);
        let object = ObjectId::new("acme", "volume", "a").expect("it is an object");
        heated.one_in.store(10, Ordering::Relaxed);
        let mut told = 0;
        for _ in 0..100_000 {
            heated.looked_ms.store(u64::MAX / 2, Ordering::Relaxed);
            let Some(drawn) = heated.draw() else { continue };
            told += 1;
            let kind = TouchKind::Write;
            let of = Use {
                object: &object,
                key: ShardKey::new(1),
                timestamp: TimestampMs::new(1),
                caller: 1,
                kind,
                bytes: 0,
            };
            heated.used(drawn, &of);
        }
        assert!((9_000..11_000).contains(&told), "{told} of 100,000 were told");
        let (heat, now) = heated.taken();
        let hot = &heat.hot_objects(now, 1)[0];
        assert_eq!(hot.name.as_ref(), Some(&object));
        assert!((hot.share - 1.0).abs() < 1e-6);
    }
}
