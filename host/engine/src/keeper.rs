//! Drops what need not be kept any longer: versions that are too many or too old, and deleted objects.
//!
//! A thread looks at all rows, a few at a time with a rest in between, and puts what is to go into the commit queue. The
//! versions beyond their number go with the change that makes a new one; here they go where the number was lowered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ostrakon_store::{Forget, Place, ReadError, ReadView, Retention, Row, Upkeep};
use ostrakon_wire::bounds::{
    RETENTION_DROPPED_MAX, RETENTION_EVERY_MS_MAX, RETENTION_EVERY_MS_MIN, RETENTION_EXAMINED_MAX, RETENTION_REST_MS,
};
use ostrakon_wire::{Keep, ShardId, TimestampMs, Version};
use parking_lot::{Condvar, Mutex};

use crate::owner::{Forgetting, NotWritten, Owner, Pending};

/// The thread; dropping it stops it.
pub(crate) struct Keeper {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Who sets how much is kept does so alone, on what was set last: it may still be on its way.
    setting: tokio::sync::Mutex<Option<Arc<Retention>>>,
}

struct Shared {
    owner: Arc<Owner>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stop: bool,
    /// What is kept has changed: all is looked at once more.
    again: bool,
}

/// What comes after a rest.
enum Rested {
    GoOn,
    /// All is looked at from the beginning.
    Again,
    Stop,
}

/// How far it has come: what follows.
#[derive(Default)]
struct Cursor {
    /// The shard.
    shard: ShardId,
    /// Its rows behind those of this place.
    behind: Option<Place>,
}

/// What is to go.
#[derive(Default)]
struct Found {
    versions: Vec<(Place, Version)>,
    objects: Vec<Forget>,
}

impl Keeper {
    pub(crate) fn new(owner: Arc<Owner>) -> Self {
        let shared = Shared { owner, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), thread: None, setting: tokio::sync::Mutex::default() }
    }

    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::Builder::new().name("retain".into()).spawn(move || shared.run())?);
        Ok(())
    }

    /// The right to set how much is kept, and what was set last.
    pub(crate) async fn setting(&self) -> tokio::sync::MutexGuard<'_, Option<Arc<Retention>>> {
        self.setting.lock().await
    }

    /// What is kept has changed.
    pub(crate) fn look_again(&self) {
        self.shared.state.lock().again = true;
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn run(&self) {
        let mut cursor = Cursor::default();
        loop {
            // What panics has said so; the next rows are looked at all the same.
            let step = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.step(&mut cursor)));
            let rest_ms = if step.unwrap_or(false) { RETENTION_REST_MS } else { self.pause_ms() };
            match self.rest(rest_ms) {
                Rested::Stop => return,
                Rested::Again => cursor = Cursor::default(),
                Rested::GoOn => {}
            }
        }
    }

    /// How long to wait once all was looked at: a part of the time that things are kept for.
    fn pause_ms(&self) -> u64 {
        let shortest = self.owner.views().latest().retention().shortest_age_ms();
        (shortest / 8).clamp(RETENTION_EVERY_MS_MIN, RETENTION_EVERY_MS_MAX)
    }

    /// Rests so long, or until what is kept has changed.
    fn rest(&self, ms: u64) -> Rested {
        let mut state = self.state.lock();
        if !state.stop && !state.again {
            self.changed.wait_for(&mut state, Duration::from_millis(ms));
        }
        match (state.stop, std::mem::take(&mut state.again)) {
            (true, _) => Rested::Stop,
            (false, true) => Rested::Again,
            (false, false) => Rested::GoOn,
        }
    }

    /// Looks at the next rows. `false`: those were the last, and it begins anew.
    fn step(&self, cursor: &mut Cursor) -> bool {
        if self.owner.has_failed() {
            return false;
        }
        let view = self.owner.views().latest();
        // By number: shards come and go meanwhile.
        let Some(shard) = view.map().shards().filter(|shard| *shard >= cursor.shard).min() else {
            *cursor = Cursor::default();
            return false;
        };
        let now = self.owner.clock().now();
        let found = match find(&view, shard, cursor.behind.filter(|_| shard == cursor.shard), now) {
            Ok((found, next)) => {
                cursor.behind = next;
                found
            }
            Err(error) => {
                if !matches!(error, ReadError::NoShard(_)) {
                    tracing::error!(%error, "what need not be kept cannot be looked for");
                }
                cursor.behind = None;
                Found::default()
            }
        };
        cursor.shard = if cursor.behind.is_some() { shard } else { ShardId::new(shard.get() + 1) };
        drop(view);
        self.drop_all(found);
        true
    }

    fn drop_all(&self, found: Found) {
        let mut pending: VecDeque<Pending> = VecDeque::new();
        // The oldest first: what stays of an object, should it not come to all, has no hole.
        let chunks = found.versions.rchunks(RETENTION_DROPPED_MAX).map(|chunk| Upkeep::Drop(chunk.to_vec()));
        for upkeep in chunks {
            // What cannot go now goes when it is found again.
            match self.owner.upkeep(upkeep) {
                Ok(queued) => pending.push_back(queued),
                Err(_) => return,
            }
        }
        for forget in &found.objects {
            match self.owner.forget(forget) {
                Ok(Forgetting::Queued(queued)) => pending.push_back(queued),
                Ok(Forgetting::Busy) | Err(NotWritten::Read(_)) => {}
                Err(_) => break,
            }
        }
        for queued in pending {
            let _ = queued.blocking_recv();
        }
    }
}

/// What of a shard's rows need not be kept, behind a place, and the place from which to go on.
fn find(
    view: &ReadView,
    shard: ShardId,
    behind: Option<Place>,
    now: TimestampMs,
) -> Result<(Found, Option<Place>), ReadError> {
    let mut found = Found::default();
    let mut run: Option<Run> = None;
    for (examined, row) in view.rows_behind(shard, behind)?.enumerate() {
        let (place, version, row) = row?;
        // What the shard has given away is swept up by others.
        let held = view.map().holder(place.spot()) == shard;
        if !held && examined < RETENTION_EXAMINED_MAX {
            continue;
        }
        let same = run.as_ref().is_some_and(|run| run.place == place);
        if !same {
            let whole = run.take();
            let last = whole.as_ref().map(|run| run.place);
            whole.into_iter().for_each(|run| run.end(now, &mut found));
            // Only whole objects are judged, however many versions they have.
            if examined >= RETENTION_EXAMINED_MAX {
                return Ok((found, if held { last } else { Some(place) }));
            }
        }
        let rules = view.retention();
        run.get_or_insert_with(|| Run::new(place, rules.of(row.object.data_type()), rules.longest_age_ms()))
            .add(version, row, now);
    }
    run.into_iter().for_each(|run| run.end(now, &mut found));
    Ok((found, None))
}

/// The versions of one object, newest first.
struct Run {
    place: Place,
    keep: Keep,
    longest_age_ms: u64,
    head: Option<(Version, Row)>,
    /// When the version above was committed.
    replaced: TimestampMs,
    seen: u32,
    /// Those below the head.
    older: Vec<Version>,
    /// Those of them that go.
    gone: Vec<Version>,
}

impl Run {
    fn new(place: Place, keep: Keep, longest_age_ms: u64) -> Self {
        let (older, gone) = (Vec::new(), Vec::new());
        Self { place, keep, longest_age_ms, head: None, replaced: TimestampMs::default(), seen: 0, older, gone }
    }

    fn add(&mut self, version: Version, row: Row, now: TimestampMs) {
        self.seen += 1;
        let committed = row.committed;
        if self.head.is_none() {
            self.head = Some((version, row));
        } else {
            self.older.push(version);
            let old = now.get().saturating_sub(self.replaced.get()) > self.keep.age_ms;
            // Once one goes, all below it do: what is kept has no holes.
            if !self.gone.is_empty() || self.seen > self.keep.versions || old {
                self.gone.push(version);
            }
        }
        self.replaced = committed;
    }

    fn end(self, now: TimestampMs, found: &mut Found) {
        let Some((version, head)) = self.head else { return };
        let age_ms = now.get().saturating_sub(head.committed.get());
        if head.payload.is_none() && age_ms > self.longest_age_ms {
            let Row { object, revision, .. } = head;
            found.objects.push(Forget { object, place: self.place, version, revision, older: self.older });
        } else {
            found.versions.extend(self.gone.into_iter().map(|version| (self.place, version)));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.shared.state.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
