//! Making the steps of those that run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ostrakon_store::{Chunk, Course, Does, Ended, Migration, Steer};
use ostrakon_wire::bounds::{
    MIGRATION_QUEUE_US_AIM, MIGRATION_RESTS, MIGRATION_RESTS_MAX, MIGRATION_STEP_BYTES_MAX, MIGRATION_STEP_OBJECTS_MAX,
    MIGRATION_STEP_US_AIM,
};

use super::{NotMoved, Shared, stepped};

/// While nothing runs it is looked so often whether something does.
const IDLE: Duration = Duration::from_millis(500);
/// How long is waited after what could not be done now.
const AGAIN: Duration = Duration::from_millis(50);
/// The objects of a first step.
const FIRST_STEP_OBJECTS: usize = 32;
const STEP_OBJECTS_MIN: usize = 4;

impl Shared {
    pub(super) fn run(&self, runtime: &tokio::runtime::Runtime) {
        loop {
            // What panics has said so; what runs stands where it stood.
            let work = || runtime.block_on(self.work_once());
            let rest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(AGAIN);
            if !self.rest(rest) {
                return;
            }
        }
    }

    /// Makes a step of each migration that runs; answers how long to rest then.
    pub(crate) async fn work_once(&self) -> Duration {
        if self.is_halted() || self.owner.has_failed() {
            return IDLE;
        }
        let running = Arc::clone(&self.owner.views().latest());
        let mut rest = None;
        for migration in running.migrations().values().filter(|migration| !migration.paused) {
            let took = match &migration.course {
                Course::Split { .. } | Course::Merge(_) => self.advance(migration).await,
                // What came under another key stays there.
                Course::Rekey { .. } if migration.back => self.end(migration).await.map(|()| Duration::ZERO),
                Course::Rekey { prefix, after } => self.rekey_some(migration, prefix, after).await,
                Course::Move { .. } => Ok(Duration::ZERO),
            };
            let wait = match took {
                Ok(took) => self.rest_after(took),
                Err(NotMoved::Busy(_) | NotMoved::Failed(_)) => AGAIN,
                Err(reason) => {
                    self.stop(migration.number, &reason).await;
                    AGAIN
                }
            };
            rest = Some(rest.unwrap_or(Duration::ZERO) + wait);
        }
        rest.unwrap_or(IDLE)
    }

    /// Most of the time is for others, all the more where they wait.
    fn rest_after(&self, took: Duration) -> Duration {
        took * self.rests.load(Ordering::Relaxed)
    }

    /// A step has met a queue so long: what others meet, too.
    pub(super) fn met(&self, queue: Duration) {
        let rests = self.rests.load(Ordering::Relaxed);
        let next = match queue.as_micros() as u64 {
            us if us > MIGRATION_QUEUE_US_AIM => rests * 2,
            us if us < MIGRATION_QUEUE_US_AIM / 2 => rests - (rests / 8).max(1),
            _ => rests,
        };
        self.rests.store(next.clamp(MIGRATION_RESTS, MIGRATION_RESTS_MAX), Ordering::Relaxed);
    }

    async fn stop(&self, number: u64, reason: &NotMoved) {
        let Some(words) = reason.words() else { return };
        tracing::error!(number, words, "a migration stops until somebody resumes it or calls it off");
        let _ = self.steer(number, Steer::Stop(words.to_owned())).await;
    }

    /// Moves the next objects, and holds what has arrived against what has left.
    async fn advance(&self, migration: &Migration) -> Result<Duration, NotMoved> {
        let number = migration.number;
        // What has not moved need not go back, also where the shard that was to take it is not served.
        if migration.back && migration.moving().is_some_and(|moving| moving.cursor == (moving.start, 0)) {
            return self.end(migration).await.map(|()| Duration::ZERO);
        }
        let objects_max = self.pace.lock().get(&number).copied();
        let objects_max = objects_max.or(self.step_objects).unwrap_or(FIRST_STEP_OBJECTS);
        let does = Does::Advance { number, objects_max, bytes_max: MIGRATION_STEP_BYTES_MAX };
        let asked = self.owner.clock().instant();
        let step = self.step(does).await?;
        let stepped = stepped(&step);
        self.met(self.owner.clock().instant().duration_since(asked).saturating_sub(stepped.took));
        let (took, chunk) = (stepped.took, stepped.chunk.expect("what moves tells what"));
        let next = match took.as_micros() as u64 {
            us if us > MIGRATION_STEP_US_AIM => objects_max / 2,
            us if us < MIGRATION_STEP_US_AIM / 2 => objects_max * 2,
            _ => objects_max,
        };
        if self.step_objects.is_none() {
            self.pace.lock().insert(number, next.clamp(STEP_OBJECTS_MIN, MIGRATION_STEP_OBJECTS_MAX));
        }
        self.hold(&stepped.view, chunk)?;
        if chunk.last {
            // It may have been called off since, and then it goes back from where it is.
            let back = self.owner.views().latest().migrations().get(&number).is_some_and(|migration| migration.back);
            if back == migration.back {
                self.end(migration).await?;
            }
        }
        Ok(took)
    }

    /// What stands in the new place is what left the old one: as many rows, with the same sum of digests.
    fn hold(&self, view: &ostrakon_store::ReadView, chunk: Chunk) -> Result<(), NotMoved> {
        let arrived = view.standing(chunk.to, chunk.first, chunk.end);
        let arrived = arrived.map_err(|error| NotMoved::Refused(error.to_string()))?;
        if arrived == chunk.moved {
            return Ok(());
        }
        let words = format!(
            "{} rows left with checksum {:016x}, and {} arrived with {:016x}",
            chunk.moved.rows, chunk.moved.checksum, arrived.rows, arrived.checksum
        );
        Err(NotMoved::Refused(words))
    }

    pub(super) async fn end(&self, migration: &Migration) -> Result<(), NotMoved> {
        let number = migration.number;
        let ended = if migration.back { Ended::Undone } else { Ended::Done };
        if let Some(moving) = migration.moving() {
            // Who has given all away holds nothing: looked at here, since it takes its time where much was removed.
            let view = self.owner.views().latest();
            let (map, gone) = match migration.back {
                true => (view.map().undone(moving.from), moving.to),
                false => (view.map().finished(moving.from), moving.from),
            };
            let goes = map.is_ok_and(|map| map.index_of(gone).is_none());
            if goes && !view.holds_nothing(gone).map_err(|error| NotMoved::Refused(error.to_string()))? {
                return Err(NotMoved::Refused(format!("shard {gone} has given all away and still holds rows")));
            }
        }
        self.step(Does::End { number, ended }).await?;
        self.pace.lock().remove(&number);
        tracing::info!(number, ?ended, "a migration has ended");
        let map = self.owner.map();
        for shard in migration.shards().filter(|shard| map.index_of(*shard).is_none()) {
            if let Err(error) = self.owner.making().remove(shard) {
                tracing::warn!(%error, %shard, "the files of a shard that is empty stay until the next start");
            }
        }
        Ok(())
    }
}
