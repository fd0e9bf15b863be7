//! Making the steps of those that run.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ostrakon_core::{Moving, behind};
use ostrakon_store::{Chunk, Course, Does, Ended, Migration, Piece, ReadError, Steer, Step, Stretch, StretchBounds};
use ostrakon_wire::Revision;
use ostrakon_wire::bounds::{
    MIGRATION_QUEUE_US_AIM, MIGRATION_RESTS, MIGRATION_RESTS_MAX, MIGRATION_STEP_OBJECTS_MAX, STRETCH_BYTES_MAX,
    STRETCH_OBJECTS_MAX, STRETCH_PIECE_OBJECTS, STRETCH_TABLE_BYTES_MIN, STRETCH_TABLE_ROWS_MIN,
};

use super::{NotMoved, Shared, stepped};

/// While nothing runs it is looked so often whether something does.
pub(super) const IDLE: Duration = Duration::from_millis(500);
/// How long is waited after what could not be done now.
const AGAIN: Duration = Duration::from_millis(50);
/// How long is waited after keyspaces could not be made ahead or taken away.
const TIDY_AGAIN: Duration = Duration::from_secs(60);
/// The fewest objects that are copied at a time.
const STRETCH_OBJECTS_MIN: usize = 256;
/// Where steps have a length of their own, what is copied at a time has so many of them.
const STEPS_OF_STRETCH: usize = 8;

impl Shared {
    pub(super) fn run(&self, runtime: &tokio::runtime::Runtime) {
        let mut quiet = Quiet::default();
        loop {
            // What panics has said so; what runs stands where it stood.
            let work = || {
                let rest = runtime.block_on(self.work_once());
                if rest == IDLE {
                    self.tidy(&mut quiet);
                }
                rest
            };
            let rest = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(AGAIN);
            if !self.rest(rest) {
                return self.hold_all();
            }
        }
    }

    /// Sees to it that the next shard need not be made before it is filled: of what others have left, and while nobody has written
    /// since this was asked last, by what commits would have to wait for.
    fn tidy(&self, quiet: &mut Quiet) {
        let (revision, now) = (self.owner.views().position().revision, self.owner.clock().instant());
        let writes = quiet.since.replace(revision) != Some(revision) || self.owner.waiting() > 0;
        if self.owner.has_failed() || quiet.not_before.is_some_and(|not_before| now < not_before) {
            return;
        }
        let (making, map) = (self.owner.making(), self.owner.map());
        let cleaned = making.clean(&map);
        let tidied = if writes { Ok(false) } else { making.tidy(&map) };
        if let Err(error) = cleaned.and(tidied) {
            tracing::warn!(%error, "no keyspaces are made ahead, and those that were emptied stay for now");
            quiet.not_before = Some(now + TIDY_AGAIN);
        }
    }

    /// Makes a step of each migration that runs; answers how long to rest then.
    pub(crate) async fn work_once(&self) -> Duration {
        if self.owner.has_failed() {
            return IDLE;
        }
        let running = Arc::clone(&self.owner.views().latest());
        let mut rest = None;
        for migration in running.migrations().values() {
            if self.is_halted() || migration.paused {
                // It may stand for long: what is left to look at keeps what others overwrite.
                let last = self.under_way.lock().get_mut(&migration.number).and_then(|it| it.unheld.take());
                if let Err(reason) = self.hold(last) {
                    self.stop(migration.number, &reason).await;
                }
                continue;
            }
            let took = match &migration.course {
                Course::Split { moving, .. } | Course::Merge(moving) => self.advance(migration, moving).await,
                // What came under another key stays there.
                Course::Rekey { .. } if migration.back => self.end(migration).await.map(|()| Duration::ZERO),
                Course::Rekey { prefix, after } => self.rekey_some(migration, prefix, after).await,
                Course::Move { .. } => Ok(Duration::ZERO),
            };
            let wait = match took {
                Ok(took) => self.rest_after(took),
                Err(NotMoved::Busy(_) | NotMoved::Stale(_) | NotMoved::Failed(_)) => AGAIN,
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
    pub(super) fn rest_after(&self, took: Duration) -> Duration {
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

    /// Copies what is next, or goes past what has been copied.
    async fn advance(&self, migration: &Migration, moving: &Moving) -> Result<Duration, NotMoved> {
        let (number, back) = (migration.number, migration.back);
        let end = if back { (moving.start, 0) } else { behind(moving.last) };
        let under_way = self.under_way.lock().remove(&number);
        let mut under_way = under_way.unwrap_or_else(|| UnderWay::new(self.step_objects));
        if moving.cursor == end {
            self.hold(under_way.unheld)?;
            return self.end(migration).await.map(|()| Duration::ZERO);
        }
        let copied = under_way.stretch.take_if(|stretch| stretch.fits(migration));
        let Some(mut stretch) = copied else {
            self.hold(under_way.unheld.take())?;
            let stretch = self.copy(number, (moving, back), under_way.bounds(self.step_objects)).await?;
            under_way.stretch = Some(stretch);
            self.under_way.lock().insert(number, under_way);
            // That keeps nobody waiting: only the processor is shared with others.
            return Ok(Duration::ZERO);
        };
        let pieces = stretch.next(self.step_objects.unwrap_or(MIGRATION_STEP_OBJECTS_MAX));
        let (waited, unheld) = (stretch.waited(), under_way.unheld.take());
        // The next step is on its way while the one before is looked at.
        let (gone, held) = tokio::join!(biased; self.go_past(migration, pieces, waited), async { self.hold(unheld) });
        match &gone {
            Ok((step, chunk, _)) => {
                under_way.unheld = Some((Arc::clone(step), *chunk));
                stretch.pass(chunk.cursor);
                if stretch.is_passed() && self.step_objects.is_none() {
                    under_way.stretch_objects = (under_way.stretch_objects * 2).min(STRETCH_OBJECTS_MAX);
                }
                under_way.stretch = Some(stretch);
            }
            // It is copied again, less at a time: too much may have changed meanwhile.
            Err(NotMoved::Stale(_)) => {
                under_way.stretch_objects = (under_way.stretch_objects / 2).max(STRETCH_OBJECTS_MIN);
            }
            Err(_) => under_way.stretch = Some(stretch),
        }
        self.under_way.lock().insert(number, under_way);
        held?;
        gone.map(|(_, _, took)| took.max(waited))
    }

    /// Copies the next stretch. Whatever changes of it from then on is kept in mind before the first row is read.
    async fn copy(
        &self,
        number: u64,
        (moving, back): (&Moving, bool),
        bounds: StretchBounds,
    ) -> Result<Stretch, NotMoved> {
        let step = self.step(Does::Follow { number }).await?;
        let go_on = || {
            let view = self.owner.views().latest();
            let runs = view.migrations().get(&number).is_some_and(|it| !it.paused && it.back == back);
            runs && !self.is_halted() && !self.owner.has_failed() && !self.is_stopping()
        };
        self.owner.copy(&stepped(&step).view, (moving, back), bounds, go_on).map_err(|error| match error {
            ReadError::Held(_) | ReadError::Busy => NotMoved::Busy(error.to_string()),
            _ => NotMoved::Refused(error.to_string()),
        })
    }

    /// Goes past what has been copied.
    async fn go_past(
        &self,
        migration: &Migration,
        pieces: Vec<Piece>,
        waited: Duration,
    ) -> Result<(Arc<Step>, Chunk, Duration), NotMoved> {
        let asked = self.owner.clock().instant();
        let does = Does::Advance { number: migration.number, back: migration.back, pieces, waited };
        let (step, begun) = self.step_taken(does).await?;
        let (chunk, took) = (stepped(&step).chunk, stepped(&step).took);
        self.met(begun.saturating_duration_since(asked).saturating_sub(took));
        Ok((step, chunk.expect("what goes past something tells what"), took))
    }

    /// The same for what is left of all of them, when the host stops.
    fn hold_all(&self) {
        for (number, under_way) in self.under_way.lock().iter_mut() {
            if let Err(reason) = self.hold(under_way.unheld.take()) {
                let words = reason.words().unwrap_or_default();
                tracing::error!(number, words, "the last step of a migration went wrong");
            }
        }
    }

    /// Holds what the one has of a chunk against what the other has, as the step left it.
    fn hold(&self, passed: Option<(Arc<Step>, Chunk)>) -> Result<(), NotMoved> {
        let Some((step, chunk)) = passed else { return Ok(()) };
        let standing = self.owner.standing(&stepped(&step).view, chunk);
        let (given, taken) = standing.map_err(|error| NotMoved::Refused(error.to_string()))?;
        if given == taken {
            return Ok(());
        }
        let Chunk { from, to, .. } = chunk;
        let words = format!(
            "{} rows stand in shard {from} with checksum {:016x}, and {} in shard {to} with {:016x}",
            given.rows, given.checksum, taken.rows, taken.checksum
        );
        Err(NotMoved::Refused(words))
    }

    pub(super) async fn end(&self, migration: &Migration) -> Result<(), NotMoved> {
        let number = migration.number;
        let ended = if migration.back { Ended::Undone } else { Ended::Done };
        self.step(Does::End { number, ended }).await?;
        self.under_way.lock().remove(&number);
        tracing::info!(number, ?ended, "a migration has ended");
        let map = self.owner.map();
        for shard in migration.shards().filter(|shard| map.index_of(*shard).is_none()) {
            if let Err(error) = self.owner.making().remove(shard) {
                tracing::warn!(%error, %shard, "files of shards that have no range any more stay until the next start");
            }
        }
        self.sweep_up(migration.shards().filter(|shard| map.index_of(*shard).is_some()));
        Ok(())
    }
}

/// What is known of whether somebody writes.
#[derive(Default)]
struct Quiet {
    /// Where the log stood when it was looked at last.
    since: Option<Revision>,
    /// What has failed is not tried again before.
    not_before: Option<Instant>,
}

/// How far one has been copied.
pub(super) struct UnderWay {
    stretch: Option<Stretch>,
    /// Objects that are copied at a time.
    stretch_objects: usize,
    /// What the last step went past, and nobody has looked at since.
    unheld: Option<(Arc<Step>, Chunk)>,
}

impl UnderWay {
    fn new(step_objects: Option<usize>) -> Self {
        let stretch_objects = step_objects.map_or(STRETCH_OBJECTS_MAX, |objects| objects * STEPS_OF_STRETCH);
        Self { stretch: None, stretch_objects, unheld: None }
    }

    fn bounds(&self, step_objects: Option<usize>) -> StretchBounds {
        StretchBounds {
            objects_max: self.stretch_objects,
            piece_objects: step_objects.map_or(STRETCH_PIECE_OBJECTS, |objects| objects.min(STRETCH_PIECE_OBJECTS)),
            bytes_max: STRETCH_BYTES_MAX,
            table_rows_min: step_objects.map_or(STRETCH_TABLE_ROWS_MIN, |objects| 2 * objects),
            table_bytes_min: STRETCH_TABLE_BYTES_MIN,
        }
    }
}
