//! How long threads wait for a processor.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

/// Where Linux tells of the thread that opens it, in nanoseconds, how long it has run and how long it could have; then how often
/// it ran.
const SCHEDULED: &str = "/proc/thread-self/schedstat";

/// Tells what part of the time the thread that made it could have run and did not: others had all the processors.
#[derive(Debug)]
pub struct ProcessorWaits {
    file: Option<File>,
    since: Instant,
    waited: Duration,
}

impl ProcessorWaits {
    /// Of the calling thread, from now on.
    pub fn of_caller(now: Instant) -> Self {
        let file = File::open(SCHEDULED).inspect_err(|error| {
            tracing::debug!(%error, "the platform does not tell how long threads wait for a processor");
        });
        let mut waits = Self { file: file.ok(), since: now, waited: Duration::ZERO };
        waits.waited = waits.so_far().unwrap_or_default();
        waits
    }

    /// The part of the time since it was asked last, from 0 to 1; `None` where the platform does not tell.
    pub fn share(&mut self, now: Instant) -> Option<f64> {
        let waited = self.so_far()?;
        let more = waited.saturating_sub(self.waited).as_secs_f64();
        let passed = now.saturating_duration_since(self.since).as_secs_f64();
        (self.waited, self.since) = (waited, now);
        Some((more / passed.max(f64::EPSILON)).min(1.0))
    }

    fn so_far(&mut self) -> Option<Duration> {
        let (file, mut text) = (self.file.as_mut()?, [0; 96]);
        file.rewind().ok()?;
        let len = file.read(&mut text).ok()?;
        parse(std::str::from_utf8(&text[..len]).ok()?)
    }
}

/// How long a thread could have run and did not. Where nothing is counted it is told that it never ran.
fn parse(text: &str) -> Option<Duration> {
    let mut nanos = text.split_ascii_whitespace().map(|nanos| nanos.parse::<u64>().ok());
    let (ran, waited) = (nanos.next()??, nanos.next()??);
    (ran > 0).then_some(Duration::from_nanos(waited))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    #[cfg(target_os = "linux")]
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// From now on the calling thread shares the first processor that it may use.
    #[cfg(target_os = "linux")]
    fn share_one_processor() {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let (may, mut one) = (sched_getaffinity(None).unwrap(), CpuSet::new());
        one.set((0..CpuSet::MAX_CPU).find(|cpu| may.is_set(*cpu)).unwrap());
        sched_setaffinity(None, &one).unwrap();
    }

    /// Does something on a thread that shares its processor with three that do not rest.
    #[cfg(target_os = "linux")]
    pub(crate) fn among_three<T: Send>(does: impl FnOnce() -> T + Send) -> T {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    share_one_processor();
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let doing = scope.spawn(|| {
                share_one_processor();
                does()
            });
            let done = doing.join();
            over.store(true, Ordering::Relaxed);
            done.unwrap()
        })
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn spin_for(time: Duration) {
        let began = Instant::now();
        while began.elapsed() <= time {
            std::hint::spin_loop();
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_shares_its_processor_with_three_is_told_to_wait_little() {
        let share = among_three(|| {
            let mut waits = ProcessorWaits::of_caller(Instant::now());
            spin_for(Duration::from_millis(400));
            waits.share(Instant::now())
        });
        let Some(share) = share else { return eprintln!("skipped: the platform does not tell") };
        assert!((0.4..=1.0).contains(&share), "it waited {share} of the time");
    }

    #[test]
    fn only_what_the_platform_writes_is_read() {
        assert_eq!(parse("169052 76002 2\n"), Some(Duration::from_nanos(76_002)));
        for text in ["", "169052", "169052 many 2", "169052 -1 2", "1 99999999999999999999999999 1", "0 0 0\n"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
