//! Threads that run when nobody else wants to.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use thread_priority::{ThreadId, thread_native_id};

/// From now on the thread that calls this gives way to all others.
pub fn give_way_to_all() {
    set(thread_native_id(), true);
}

/// Whether the platform lets a thread come back from being idle.
fn comes_back() -> bool {
    static COMES_BACK: OnceLock<bool> = OnceLock::new();
    let try_once = || set(thread_native_id(), true) && set(thread_native_id(), false);
    // On a thread that ends then.
    *COMES_BACK.get_or_init(|| std::thread::spawn(try_once).join().unwrap_or(false))
}

/// What one thread may have made before the other takes it.
const HANDED_MAX: usize = 8;

/// A thread that is idle until somebody else wants it to hurry; then it is nice. Where the platform does not let it come back
/// from being idle, it is always nice.
#[derive(Debug, Default)]
struct Pace(Mutex<Paced>);

#[derive(Debug, Default)]
struct Paced {
    thread: Option<ThreadId>,
    hurried: bool,
}

impl Pace {
    /// From now on this is the calling thread's.
    fn begin(&self) {
        crate::give_way();
        if comes_back() {
            let mut paced = self.0.lock();
            paced.thread = Some(thread_native_id());
            set(thread_native_id(), !paced.hurried);
        }
    }

    /// The calling thread ends, or is no longer this one's.
    fn end(&self) {
        self.0.lock().thread = None;
    }

    /// Whether the thread hurries from now on.
    fn hurry(&self, hurried: bool) {
        let mut paced = self.0.lock();
        if paced.hurried != hurried
            && let Some(thread) = paced.thread
        {
            set(thread, !hurried);
        }
        paced.hurried = hurried;
    }
}

/// Does some work on a thread of that name that is idle until `patience` has passed, and nice from then on: on a machine that
/// never rests it would not come to an end. The calling thread waits for it, and panics where it does.
pub fn idly<T: Send>(name: &str, patience: Duration, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let alone = |_: &mut dyn FnMut(()) -> bool| work();
    idly_to(name, patience, alone, |handed| handed.for_each(drop)).map(|(done, ())| done)
}

/// The same for work that hands on one thing after the other, which the calling thread takes as they come. Once that takes none
/// any more the work is told `false`.
pub fn idly_to<T: Send, M: Send, R>(
    name: &str,
    patience: Duration,
    work: impl FnOnce(&mut dyn FnMut(T) -> bool) -> M + Send,
    take: impl FnOnce(&mut dyn Iterator<Item = T>) -> R,
) -> std::io::Result<(M, R)> {
    let pace = Pace::default();
    pace.hurry(patience.is_zero());
    std::thread::scope(|scope| {
        let (hands, handed) = sync_channel(HANDED_MAX);
        let of_thread = &pace;
        let working = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || {
            of_thread.begin();
            let done = work(&mut |made| hands.send(made).is_ok());
            of_thread.end();
            done
        })?;
        let until = Instant::now() + patience;
        let next = || match handed.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => {
                pace.hurry(true);
                handed.recv().ok()
            }
            made => made.ok(),
        };
        let taken = {
            // Whatever becomes of who takes, the other is waited for.
            let _hurries = Hurries(&pace);
            take(&mut std::iter::from_fn(next))
        };
        drop(handed);
        let done = working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((done, taken))
    })
}

/// Has a thread hurry when this is dropped.
struct Hurries<'a>(&'a Pace);

impl Drop for Hurries<'_> {
    fn drop(&mut self) {
        self.0.hurry(true);
    }
}

/// Answers whether it is so now.
#[cfg(target_os = "linux")]
fn set(thread: ThreadId, idle: bool) -> bool {
    use rustix::process::{getpriority_process, setpriority_process};
    use thread_priority::ThreadPriority;
    use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy};
    let policy = if idle { NormalThreadSchedulePolicy::Idle } else { NormalThreadSchedulePolicy::Other };
    let caller = Some(rustix::thread::gettid());
    let niceness = getpriority_process(caller);
    let policy = ThreadSchedulePolicy::Normal(policy);
    let done = set_thread_priority_and_policy(thread, ThreadPriority::Min, policy);
    // Whomever it was for, the library lowers the thread that asks for it, too.
    let _ = niceness.and_then(|niceness| setpriority_process(caller, niceness));
    if let Err(error) = &done {
        tracing::debug!(?error, "a background thread keeps its priority");
    }
    done.is_ok()
}

#[cfg(not(target_os = "linux"))]
fn set(_thread: ThreadId, _idle: bool) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use rustix::process::getpriority_process;

    use super::*;

    /// What the kernel calls the thread's policy: 0 for others, 5 for those that are idle.
    fn policy() -> String {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        behind_name.split_whitespace().nth(38).unwrap_or_default().to_owned()
    }

    #[test]
    fn work_is_idle_until_patience_has_passed() {
        let own = || getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = own();
        for (patience, expected) in [(60, "5"), (0, "0")] {
            let within = idly("a-test", Duration::from_secs(patience), policy).unwrap();
            assert!(within == expected || within == "0" && !comes_back(), "{within} with {patience} s");
        }
        let impatient = idly("a-test", Duration::from_millis(1), || {
            std::thread::sleep(Duration::from_millis(100));
            (policy(), own())
        });
        let (policy_then, niceness) = impatient.unwrap();
        assert_eq!(policy_then, "0");
        assert!(niceness > before);
        assert_eq!((policy().as_str(), own()), ("0", before), "who waits for it stays as it was");
    }

    #[test]
    fn who_takes_what_is_made_idly_may_stop() {
        let made = std::sync::atomic::AtomicU32::new(0);
        let make = |hand: &mut dyn FnMut(u32) -> bool| {
            let count = |number: &u32| made.store(*number, std::sync::atomic::Ordering::Relaxed);
            (0..1_000).inspect(count).find(|number| !hand(*number))
        };
        let all = idly_to("a-test", Duration::from_secs(60), make, |handed| handed.sum::<u32>()).unwrap();
        assert_eq!(all.1, 999 * 1_000 / 2);
        let some = idly_to("a-test", Duration::ZERO, make, |handed| handed.take(10).sum::<u32>()).unwrap();
        assert_eq!(some.1, 45);
        assert!(made.into_inner() <= 10 + HANDED_MAX as u32, "it goes on though nobody takes it");
        let panics = || idly::<()>("a-test", Duration::ZERO, || panic!("planted"));
        assert!(std::panic::catch_unwind(panics).is_err());
    }

    #[test]
    fn a_thread_hurries_when_it_is_told_to() {
        let (pace, own) = (Pace::default(), || getpriority_process(Some(rustix::thread::gettid())).unwrap());
        let before = own();
        let (asks, asked) = sync_channel(0);
        let (answers, answered) = sync_channel(0);
        std::thread::scope(|scope| {
            let of_thread = &pace;
            scope.spawn(move || {
                of_thread.begin();
                for () in asked {
                    answers.send((policy(), own())).unwrap();
                }
                of_thread.end();
            });
            let ask = || asks.send(()).map(|()| answered.recv().unwrap()).unwrap();
            let at_rest = ask();
            pace.hurry(true);
            let hurried = ask();
            pace.hurry(false);
            assert_eq!(ask(), at_rest);
            assert_eq!((hurried.0.as_str(), own()), ("0", before), "who asks stays as it was");
            assert!(at_rest.0 == "5" || at_rest.0 == "0" && !comes_back(), "{at_rest:?}");
            assert!(hurried.1 > before, "it stays nice: {hurried:?}");
            drop(asks);
        });
        // There is nobody to hurry any more.
        pace.hurry(true);
    }
}
