//! The watchers: a connection for each client id, from a socket of its own, and a stream for each watcher.
//!
//! All objects stand at their first version when the watchers come, so each of them knows what it has to be told next.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::{Bytes, BytesMut};
use ostrakon_client::HostFile;
use ostrakon_wire::bounds::FRAME_BYTES_MAX;
use ostrakon_wire::{Operation, Watch, frame};
use quinn::RecvStream;
use tokio::task::JoinSet;

use super::told::{Change, changes};
use crate::load::{Tally, Window};
use crate::pipe::{self, CLIENT_IDS, Caller, READ_BYTES};

/// How often the watchers are looked at while they catch up.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// All who watch, for as long as this lives.
pub(super) struct Watchers {
    running: JoinSet<anyhow::Result<Infallible>>,
    progress: Vec<Arc<Progress>>,
    /// Of each connection.
    tallies: Vec<Arc<Mutex<Option<Tally>>>>,
    connections: Vec<Caller>,
}

/// How far one watcher is.
struct Progress {
    client: usize,
    /// Changes of its objects up to the versions that it was told last.
    reached: AtomicU64,
    /// Changes among them that it was not told.
    skipped: AtomicU64,
    /// Changes that it was told again, or late.
    repeated: AtomicU64,
    /// Changes that it was told without what they made.
    omitted: AtomicU64,
}

/// What became of the changes, over all watchers.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) skipped: u64,
    pub(super) repeated: u64,
    pub(super) omitted: u64,
}

/// How far behind the watchers were when the writers stopped, and what became of that.
pub(super) struct Lag {
    /// Changes that the last watcher was still to be told.
    pub(super) changes_max: u64,
    /// The same of all watchers together.
    pub(super) deliveries: u64,
    pub(super) took: Duration,
    /// Deliveries that were waited for in vain.
    pub(super) missing: u64,
}

/// One watcher.
struct Watcher {
    recv: RecvStream,
    buffer: BytesMut,
    /// Of each object of its client, in order of their numbers.
    versions: Vec<u64>,
    progress: Arc<Progress>,
    tally: Arc<Mutex<Option<Tally>>>,
    /// What payloads count their time from.
    since: Instant,
}

impl Watchers {
    /// So many, spread over the client ids that have so many objects together; returns once all of them watch.
    pub(super) async fn attach(host: &HostFile, count: usize, objects: usize, since: Instant) -> anyhow::Result<Self> {
        let (progress, tallies, running) = (Vec::new(), Vec::new(), JoinSet::new());
        let mut all = Self { running, progress, tallies, connections: Vec::new() };
        for client in 0..CLIENT_IDS.min(count) {
            let connection = pipe::dial(host, 1, 0).await?.pop().context("a connection was dialled")?;
            let tally = Arc::new(Mutex::new(None));
            for _ in (client..count).step_by(CLIENT_IDS) {
                let recv = connection.follow(Operation::Watch(Watch::of_client(pipe::client_id(client)))).await?;
                let progress = Arc::new(Progress::of(client));
                let mut watcher = Watcher {
                    recv,
                    buffer: BytesMut::new(),
                    versions: vec![1; (client..objects).step_by(CLIENT_IDS).count()],
                    progress: Arc::clone(&progress),
                    tally: Arc::clone(&tally),
                    since,
                };
                watcher.begin().await?;
                all.progress.push(progress);
                all.running.spawn(watcher.follow());
            }
            all.tallies.push(tally);
            all.connections.push(connection);
        }
        Ok(all)
    }

    /// From now on deliveries count, inside the window.
    pub(super) fn count_inside(&self, window: Window) {
        for tally in &self.tallies {
            *lock(tally) = Some(Tally::new(window));
        }
    }

    /// What was delivered inside the window, and how long after it was sent.
    pub(super) fn tally(&self, window: Window) -> Tally {
        let mut total = Tally::new(window);
        for tally in &self.tallies {
            if let Some(tally) = &*lock(tally) {
                total.add(tally);
            }
        }
        total
    }

    /// Waits until all have been told everything, for so long at most. `committed`: changes of each client id.
    pub(super) async fn catch_up(&mut self, committed: &[u64], at_most: Duration) -> anyhow::Result<Lag> {
        let stopped = Instant::now();
        let behind = self.behind(committed)?;
        let (changes_max, deliveries) = (behind.iter().max().copied().unwrap_or_default(), behind.iter().sum());
        loop {
            if let Some(ended) = self.running.try_join_next() {
                match ended?? {}
            }
            let (missing, took) = (self.behind(committed)?.iter().sum(), stopped.elapsed());
            if missing == 0 || took >= at_most {
                return Ok(Lag { changes_max, deliveries, took, missing });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What each watcher is still to be told.
    fn behind(&self, committed: &[u64]) -> anyhow::Result<Vec<u64>> {
        let of = |progress: &Arc<Progress>| {
            let reached = progress.reached.load(Ordering::Relaxed);
            committed[progress.client].checked_sub(reached).context("a watcher was told what nobody has committed")
        };
        self.progress.iter().map(of).collect()
    }

    pub(super) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for progress in &self.progress {
            counts.skipped += progress.skipped.load(Ordering::Relaxed);
            counts.repeated += progress.repeated.load(Ordering::Relaxed);
            counts.omitted += progress.omitted.load(Ordering::Relaxed);
        }
        counts
    }
}

fn lock(tally: &Mutex<Option<Tally>>) -> std::sync::MutexGuard<'_, Option<Tally>> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Progress {
    fn of(client: usize) -> Self {
        let [reached, skipped, repeated, omitted] = [const { AtomicU64::new(0) }; 4];
        Self { client, reached, skipped, repeated, omitted }
    }

    /// Holds one more version of an object to the last one; `false` where it is not news.
    fn told(&self, last: &mut u64, version: u64) -> bool {
        let Some(ahead) = version.checked_sub(*last).filter(|ahead| *ahead > 0) else {
            self.repeated.fetch_add(1, Ordering::Relaxed);
            return false;
        };
        *last = version;
        self.skipped.fetch_add(ahead - 1, Ordering::Relaxed);
        self.reached.fetch_add(ahead, Ordering::Relaxed);
        true
    }
}

impl Watcher {
    /// Waits until it is told where the watch begins.
    async fn begin(&mut self) -> anyhow::Result<()> {
        loop {
            if let Some(frame) = frame::split(&mut self.buffer, FRAME_BYTES_MAX)? {
                return self.told(&frame, Instant::now());
            }
            self.fill().await?;
        }
    }

    async fn follow(mut self) -> anyhow::Result<Infallible> {
        loop {
            self.fill().await?;
            let now = Instant::now();
            while let Some(frame) = frame::split(&mut self.buffer, FRAME_BYTES_MAX)? {
                self.told(&frame, now)?;
            }
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        let chunk = self.recv.read_chunk(READ_BYTES, true).await?.context("the host ended a watch")?;
        self.buffer.extend_from_slice(&chunk.bytes);
        Ok(())
    }

    fn told(&mut self, frame: &Bytes, now: Instant) -> anyhow::Result<()> {
        let Self { versions, progress, tally, since, .. } = self;
        let mut tally = lock(tally);
        changes(frame, |Change { name, version, content }| {
            let number = pipe::object_number(name)?;
            ensure!(number % CLIENT_IDS == progress.client, "a watcher was told of {name}, which it does not watch");
            let last = versions.get_mut(number / CLIENT_IDS).context("a watcher was told of what nobody writes")?;
            if progress.told(last, version) {
                match content {
                    Some(content) => {
                        let sent = pipe::stamp(content, *since)?;
                        if let Some(tally) = &mut *tally {
                            tally.committed(sent, now);
                        }
                    }
                    None => drop(progress.omitted.fetch_add(1, Ordering::Relaxed)),
                }
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_that_is_left_out_or_comes_twice_goes_unseen() {
        for (versions, reached, skipped, repeated) in
            [(&[2, 3, 4][..], 3, 0, 0_usize), (&[2, 4], 3, 1, 0), (&[2, 2, 3], 2, 0, 1), (&[3, 2, 4], 3, 1, 1)]
        {
            let (progress, mut last) = (Progress::of(0), 1);
            let news = versions.iter().filter(|version| progress.told(&mut last, **version)).count();
            assert_eq!(news + repeated, versions.len(), "{versions:?}");
            let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as usize;
            let seen = (count(&progress.reached), count(&progress.skipped), count(&progress.repeated));
            assert_eq!(seen, (reached, skipped, repeated), "{versions:?}");
        }
    }
}
