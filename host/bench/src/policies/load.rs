//! A load that has every kind of policy decide: objects are made, written over, read, and added to where another version
//! stands than the one that an addition was made for.
//!
//! Requests are due at times of their own, however long answers take, and latencies count from there; or, to find out what
//! the host can do, as many as a bound allows are under way at all times.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ostrakon_client::HostFile;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    Action, ConditionalWrite, Generations, ObjectId, OnConflict, Operation, Payload, Reply, ShardKey, Target, Version,
};
use tokio::task::JoinSet;

use crate::load::{Tally, Window};
use crate::pipe::{self, Caller, action_id, perform};

pub(crate) const CONNECTIONS: usize = 8;
/// Requests under way on one connection at most.
const UNDER_WAY: usize = 32;
/// Objects that a connection writes over and reads.
const OBJECTS: usize = 64;

/// When requests are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// As many as may be are under way.
    Saturate,
    /// So many a second, on all connections together.
    PerSecond(u64),
}

/// An object that was made, and the generation that is said to have made its key.
pub(crate) struct Placed {
    pub(crate) object: ObjectId,
    pub(crate) key: ShardKey,
    pub(crate) generation: u64,
}

/// What a load came to.
pub(crate) struct Came {
    pub(crate) tally: Tally,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Answers that name a generation that decided nowhere while they were under way.
    pub(crate) mixed: u64,
    pub(crate) placed: Vec<Placed>,
}

/// The latest generation of each kind that is known to be in: of shard keys, predictions, reconciliations.
#[derive(Default)]
pub(crate) struct Latest([AtomicU64; 3]);

impl Latest {
    pub(crate) fn set(&self, kind: usize, generation: u64) {
        self.0[kind].store(generation, Ordering::SeqCst);
    }

    fn now(&self) -> [u64; 3] {
        self.0.each_ref().map(|it| it.load(Ordering::SeqCst))
    }
}

/// Drives a host until the window is over and `go_on` is false.
pub(crate) async fn drive(
    host: &HostFile,
    run: u64,
    pace: Pace,
    window: Window,
    go_on: Arc<AtomicBool>,
    latest: Arc<Latest>,
) -> anyhow::Result<Came> {
    let callers = pipe::dial(host, CONNECTIONS, 0).await?;
    let mut running = JoinSet::new();
    for (place, caller) in callers.into_iter().enumerate() {
        let (go_on, latest) = (Arc::clone(&go_on), Arc::clone(&latest));
        let each = match pace {
            Pace::Saturate => None,
            Pace::PerSecond(all) => Some(Duration::from_secs_f64(CONNECTIONS as f64 / all.max(1) as f64)),
        };
        let of = format!("swap-{run}-{place}");
        running.spawn(async move { Connection::new(caller, of, latest)?.drive(each, window, &go_on).await });
    }
    let mut all = Came { tally: Tally::new(window), requests: 0, failed: 0, mixed: 0, placed: Vec::new() };
    while let Some(came) = running.join_next().await {
        let came = came??;
        all.tally.add(&came.tally);
        all.requests += came.requests;
        all.failed += came.failed;
        all.mixed += came.mixed;
        all.placed.extend(came.placed);
    }
    Ok(all)
}

/// What a request that is under way is about.
struct UnderWay {
    due: Instant,
    before: [u64; 3],
    made: Option<ObjectId>,
    /// The object among the connection's own that is written over meanwhile.
    own: Option<usize>,
}

struct Connection {
    caller: Caller,
    of: String,
    latest: Arc<Latest>,
    own: Vec<(ObjectId, u64)>,
    /// Those of its own that nobody writes to now.
    idle: VecDeque<usize>,
    hot: ObjectId,
    under_way: Vec<Option<UnderWay>>,
    free: Vec<usize>,
    turn: u64,
    addition: Payload,
}

impl Connection {
    fn new(caller: Caller, of: String, latest: Arc<Latest>) -> anyhow::Result<Self> {
        let object = |name: String| ObjectId::new(&of, "thing", &name);
        let own = (0..OBJECTS).map(|n| Ok((object(format!("own-{n}"))?, 0))).collect::<anyhow::Result<_>>()?;
        let hot = object("hot".to_owned())?;
        let addition = Payload::from_value(&Value::Map(Map::from([("/n".to_owned(), Value::Integer(1))])))?;
        Ok(Self {
            caller,
            own,
            idle: (0..OBJECTS).collect(),
            hot,
            latest,
            under_way: (0..UNDER_WAY).map(|_| None).collect(),
            free: (0..UNDER_WAY).collect(),
            turn: 0,
            addition,
            of,
        })
    }

    async fn prepare(&mut self) -> anyhow::Result<()> {
        let put = |object: &ObjectId, payload| {
            let id = action_id(object.digest());
            Operation::Perform(perform(object.clone(), Action::Put(payload), 0, id, OnConflict::Reject))
        };
        for at in 0..OBJECTS {
            let payload = self.caller.payload();
            self.caller.ask_one(put(&self.own[at].0, payload)).await?;
            self.own[at].1 = 1;
        }
        let zero = Payload::from_value(&Value::Map(Map::from([("n".to_owned(), Value::Integer(0))])))?;
        self.caller.ask_one(put(&self.hot, zero)).await?;
        // From now on another version stands there than additions are made for.
        let mut add =
            perform(self.hot.clone(), Action::Add(self.addition.clone()), 1, action_id(1), OnConflict::Reject);
        add.known = None;
        self.caller.ask_one(Operation::Perform(add)).await?;
        Ok(())
    }

    async fn drive(mut self, each: Option<Duration>, window: Window, go_on: &AtomicBool) -> anyhow::Result<Came> {
        self.prepare().await?;
        let mut came = Came { tally: Tally::new(window), requests: 0, failed: 0, mixed: 0, placed: Vec::new() };
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let over = window.is_over(now) && !go_on.load(Ordering::Relaxed);
            if over && self.free.len() == UNDER_WAY {
                return Ok(came);
            }
            while !over && !self.free.is_empty() && each.is_none_or(|_| due <= now) {
                self.send(if each.is_some() { due } else { now })?;
                due += each.unwrap_or_default();
            }
            self.caller.flush().await?;
            let wait = each.map_or(Duration::from_millis(50), |_| due.saturating_duration_since(now));
            let wait = if self.free.is_empty() || over { Duration::from_millis(50) } else { wait };
            if let Ok(filled) = tokio::time::timeout(wait, self.caller.fill()).await {
                filled?;
            }
            while let Some(answer) = self.caller.answer()? {
                self.answered(answer.id as usize, answer.outcome, &mut came)?;
            }
        }
    }

    fn send(&mut self, due: Instant) -> anyhow::Result<()> {
        let place = self.free.pop().context("a place is free")?;
        self.turn += 1;
        let before = self.latest.now();
        let target = |object: &ObjectId| Target { object: object.clone(), shard_key: None };
        let (mut made, mut own) = (None, None);
        let operation = match self.turn % 8 {
            0 => {
                let object = ObjectId::new(&self.of, "thing", &format!("made-{}", self.turn))?;
                made = Some(object.clone());
                let (payload, id) = (self.caller.payload(), self.caller.action_id());
                Operation::Perform(perform(object, Action::Put(payload), 0, id, OnConflict::Reject))
            }
            4 => {
                let (action, id) = (Action::Add(self.addition.clone()), self.caller.action_id());
                Operation::Perform(perform(self.hot.clone(), action, 1, id, OnConflict::Reconcile))
            }
            1 | 3 | 5 => match self.idle.pop_front() {
                Some(at) => {
                    own = Some(at);
                    let (object, version) = &self.own[at];
                    let (target, new_version) = (target(object), Version::new(version + 1));
                    let (payload, action_id) = (self.caller.payload(), Some(self.caller.action_id()));
                    Operation::ConditionalWrite(ConditionalWrite { target, new_version, payload, action_id })
                }
                None => Operation::Read(target(&self.own[0].0)),
            },
            _ => Operation::Read(target(&self.own[self.turn as usize % OBJECTS].0)),
        };
        self.caller.ask(place as u64, operation);
        self.under_way[place] = Some(UnderWay { due, before, made, own });
        Ok(())
    }

    fn answered(
        &mut self,
        place: usize,
        outcome: Result<Reply, ostrakon_wire::WireError>,
        came: &mut Came,
    ) -> anyhow::Result<()> {
        let now = Instant::now();
        let UnderWay { due, before, made, own } =
            self.under_way.get_mut(place).and_then(Option::take).context("an answer to nothing")?;
        self.free.push(place);
        came.requests += 1;
        if let Some(at) = own {
            self.own[at].1 += 1;
            self.idle.push_back(at);
        }
        let reply = match outcome {
            Ok(reply) => reply,
            Err(error) => {
                eprintln!("a request failed: {error}");
                came.failed += 1;
                if own.is_some() {
                    bail!("a write over an object of its own failed: {error}");
                }
                return Ok(());
            }
        };
        came.tally.committed(due, now);
        let generations = reply.decided().generations;
        came.mixed += u64::from(!may_have_decided(generations, before, self.latest.now()));
        if let (Some(object), Reply::Committed(done), Some(generation)) = (made, &reply, generations.shard_key) {
            came.placed.push(Placed { object, key: done.shard_key, generation: generation.get() });
        }
        Ok(())
    }
}

/// Whether generations can have decided between two times: the next one may be in before it is known to be.
fn may_have_decided(named: Generations, before: [u64; 3], after: [u64; 3]) -> bool {
    let named = [named.shard_key, named.prediction, named.reconciliation];
    named
        .iter()
        .zip(before)
        .zip(after)
        .all(|((named, before), after)| named.is_none_or(|named| (before..=after + 1).contains(&named.get())))
}
