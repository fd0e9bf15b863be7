//! An open load of reads and writes on objects of its own: requests are due at times of their own, however long answers take,
//! and latencies count from there. A write makes the next version, a read must show the latest one that was answered.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ostrakon_client::HostFile;
use ostrakon_wire::{ConditionalWrite, ObjectId, Operation, Reply, ShardId, ShardKey, Target, Version, WireError};
use tokio::task::JoinSet;

use crate::load::{Random, Tally, Window};
use crate::pipe::{self, Caller};

/// Requests under way on one connection at most; more are late.
const UNDER_WAY: usize = 256;
/// As many are under way where it is measured how many there can be.
const UNDER_WAY_AT_PEAK: usize = 32;

/// Which object is asked for next, of so many.
pub(crate) trait Choice: Send + 'static {
    fn next(&mut self, random: &mut Random) -> usize;
}

/// What a load came to.
pub(crate) struct Came {
    pub(crate) tally: Tally,
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Reads that showed another version than the latest.
    pub(crate) stale: u64,
    pub(crate) latency_us_max: u64,
}

impl Came {
    fn new(window: Window) -> Self {
        Self { tally: Tally::new(window), requests: 0, failed: 0, stale: 0, latency_us_max: 0 }
    }

    fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.requests += other.requests;
        self.failed += other.failed;
        self.stale += other.stale;
        self.latency_us_max = self.latency_us_max.max(other.latency_us_max);
    }
}

/// Connections, each with objects of its own.
pub(crate) struct Load<C> {
    connections: Vec<Connection<C>>,
    /// What part of all requests each connection makes.
    shares: Vec<f64>,
}

/// What is counted of every answer, by whoever wants to.
pub(crate) trait Count: Send + Sync + 'static {
    fn answered(&self, shard: Option<ShardId>, write: bool);
}

impl Count for () {
    fn answered(&self, _shard: Option<ShardId>, _write: bool) {}
}

struct Own {
    object: ObjectId,
    version: u64,
    key: Option<ShardKey>,
    busy: bool,
}

struct Connection<C> {
    number: u64,
    caller: Caller,
    own: Vec<Own>,
    choice: C,
    random: Random,
}

impl<C: Choice> Load<C> {
    /// Dials, and makes all objects. `key`: where a new object is to live, if not where the policy wants it.
    pub(crate) async fn begin(
        host: &HostFile,
        objects: Vec<Vec<ObjectId>>,
        choices: Vec<C>,
        key: impl Fn(&mut Random) -> Option<ShardKey>,
    ) -> anyhow::Result<Self> {
        let callers = pipe::dial(host, objects.len(), 0).await?;
        let mut connections = Vec::new();
        for ((at, caller), (objects, choice)) in (1..).zip(callers).zip(objects.into_iter().zip(choices)) {
            let mut random = Random::seeded(at);
            let own = objects.into_iter().map(|object| Own { object, version: 0, key: key(&mut random), busy: false });
            connections.push(Connection { number: at, caller, own: own.collect(), choice, random });
        }
        let shares = vec![1.0; connections.len()];
        Self { connections, shares }.write_all(1).await
    }

    /// Writes every object so many times, as fast as can be.
    pub(crate) async fn write_all(self, times: u32) -> anyhow::Result<Self> {
        let mut writing = JoinSet::new();
        for mut connection in self.connections {
            writing.spawn(async move {
                for _ in 0..times {
                    connection.write_all().await?;
                }
                anyhow::Ok(connection)
            });
        }
        Ok(Self::of(joined(writing).await?, self.shares))
    }

    /// Connections that have done something, in the order in which they were begun.
    fn of(mut connections: Vec<Connection<C>>, shares: Vec<f64>) -> Self {
        connections.sort_by_key(|connection| connection.number);
        Self { connections, shares }
    }

    /// From now on connections make these parts of all requests, in the order in which they were begun.
    pub(crate) fn share(&mut self, shares: Vec<f64>) {
        self.shares = shares;
    }

    /// Drives all connections until the window is over; `per_s`: requests a second all together, or as many as can be;
    /// `writes_percent`: so many hundredths of them are writes.
    pub(crate) async fn drive<T: Count>(
        self,
        per_s: Option<u64>,
        writes_percent: u64,
        window: Window,
        count: &Arc<T>,
    ) -> anyhow::Result<(Self, Came)> {
        let whole: f64 = self.shares.iter().sum();
        let mut running = JoinSet::new();
        for (mut connection, share) in self.connections.into_iter().zip(&self.shares) {
            let each = per_s.map(|per_s| Duration::from_secs_f64(whole / share / per_s.max(1) as f64));
            let count = Arc::clone(count);
            running.spawn(async move {
                let came = connection.drive(each, writes_percent, window, &*count).await?;
                anyhow::Ok((connection, came))
            });
        }
        let mut all = Came::new(window);
        let (connections, came): (Vec<_>, Vec<_>) = joined(running).await?.into_iter().unzip();
        came.iter().for_each(|came| all.add(came));
        Ok((Self::of(connections, self.shares), all))
    }
}

/// What tasks come to, as they end.
async fn joined<T: 'static>(mut doing: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut all = Vec::new();
    while let Some(done) = doing.join_next().await {
        all.push(done??);
    }
    Ok(all)
}

/// A request that is under way.
struct UnderWay {
    due: Instant,
    own: usize,
    write: bool,
}

impl<C: Choice> Connection<C> {
    fn write(&mut self, at: usize) -> Operation {
        let (payload, action_id) = (self.caller.payload(), Some(self.caller.action_id()));
        let own = &self.own[at];
        let target = Target { object: own.object.clone(), shard_key: own.key.filter(|_| own.version == 0) };
        Operation::ConditionalWrite(ConditionalWrite {
            target,
            new_version: Version::new(own.version + 1),
            payload,
            action_id,
        })
    }

    /// Makes the next version of every object.
    async fn write_all(&mut self) -> anyhow::Result<()> {
        let (mut next, mut under_way) = (0, 0);
        while next < self.own.len() || under_way > 0 {
            while next < self.own.len() && under_way < UNDER_WAY {
                let operation = self.write(next);
                self.caller.ask(next as u64, operation);
                next += 1;
                under_way += 1;
            }
            self.caller.flush().await?;
            self.caller.fill().await?;
            while let Some(answer) = self.caller.answer()? {
                under_way -= 1;
                let at = answer.id as usize;
                match answer.outcome {
                    Ok(_) => self.own[at].version += 1,
                    Err(error) if error.code.retryable() => {
                        let operation = self.write(at);
                        self.caller.ask(at as u64, operation);
                        under_way += 1;
                    }
                    Err(error) => bail!("an object cannot be written: {error}"),
                }
            }
        }
        Ok(())
    }

    async fn drive(
        &mut self,
        each: Option<Duration>,
        writes_percent: u64,
        window: Window,
        count: &impl Count,
    ) -> anyhow::Result<Came> {
        let mut came = Came::new(window);
        let mut under_way: Vec<Option<UnderWay>> = (0..UNDER_WAY).map(|_| None).collect();
        let places = if each.is_some() { UNDER_WAY } else { UNDER_WAY_AT_PEAK };
        let mut free: VecDeque<usize> = (0..places).collect();
        let mut due = Instant::now();
        loop {
            let now = Instant::now();
            let over = window.is_over(now);
            if over && free.len() == places {
                return Ok(came);
            }
            while !over && !free.is_empty() && each.is_none_or(|_| due <= now) {
                let write = self.random.below(100) < writes_percent;
                let at = self.choice.next(&mut self.random);
                let since = if each.is_some() { due } else { now };
                due += each.unwrap_or_default();
                // What is written to now is read some other time: nobody knows yet what it must show.
                if self.own[at].busy {
                    if each.is_none() {
                        break;
                    }
                    continue;
                }
                let place = free.pop_front().context("a place is free")?;
                let target = Target { object: self.own[at].object.clone(), shard_key: None };
                let operation = if write { self.write(at) } else { Operation::Read(target) };
                self.own[at].busy = true;
                self.caller.ask(place as u64, operation);
                under_way[place] = Some(UnderWay { due: since, own: at, write });
            }
            self.caller.flush().await?;
            let wait = each.map_or(Duration::from_millis(20), |_| due.saturating_duration_since(now));
            let wait = if free.is_empty() || over { Duration::from_millis(20) } else { wait };
            if let Ok(filled) = tokio::time::timeout(wait, self.caller.fill()).await {
                filled?;
            }
            while let Some(answer) = self.caller.answer()? {
                let asked = under_way[answer.id as usize].take().context("an answer to nothing")?;
                free.push_back(answer.id as usize);
                self.answered(&asked, answer.outcome, &mut came, count);
            }
        }
    }

    fn answered(&mut self, asked: &UnderWay, outcome: Result<Reply, WireError>, came: &mut Came, count: &impl Count) {
        let (now, own) = (Instant::now(), &mut self.own[asked.own]);
        own.busy = false;
        came.requests += 1;
        match outcome {
            Ok(reply) => {
                match &reply {
                    Reply::Committed(made) => own.version = made.version.get(),
                    Reply::Object(read) => came.stale += u64::from(read.version.get() != own.version),
                    _ => came.failed += 1,
                }
                count.answered(reply.decided().shard, asked.write);
                came.tally.committed(asked.due, now);
                came.latency_us_max = came.latency_us_max.max(now.duration_since(asked.due).as_micros() as u64);
            }
            Err(error) => {
                if came.failed == 0 {
                    eprintln!("a request failed: {error}");
                }
                came.failed += 1;
            }
        }
    }
}

/// What each shard has worked, for those who ask now and then.
#[derive(Default)]
pub(crate) struct ByShard(Mutex<HashMap<ShardId, f64>>);

impl ByShard {
    /// Work since it was asked last, by shard.
    pub(crate) fn take(&self) -> HashMap<ShardId, f64> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics while counting"))
    }
}

/// What a read and a write are worth against each other, as the host counts work.
const READ_WORK: f64 = 4.5;
const WRITE_WORK: f64 = 12.5;

impl Count for ByShard {
    fn answered(&self, shard: Option<ShardId>, write: bool) {
        if let Some(shard) = shard {
            *self.0.lock().expect("nobody panics while counting").entry(shard).or_default() +=
                if write { WRITE_WORK } else { READ_WORK };
        }
    }
}
