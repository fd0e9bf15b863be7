//! Threads that run when nobody else wants to.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::ThreadId;
use std::time::Duration;

use parking_lot::Mutex;
#[cfg(target_os = "linux")]
use thread_priority::{ThreadId as NativeId, thread_native_id};

use crate::nice::NICE;

/// From now on the thread that calls this gives way to all others.
pub fn give_way_to_all() {
    Thread::of_caller().set(Haste::IDLE);
}

/// Whether the platform lets a thread of this process come back from being idle or nice.
pub fn comes_back() -> bool {
    static COMES_BACK: OnceLock<bool> = OnceLock::new();
    let try_once = || {
        let thread = Thread::of_caller();
        [Haste::IDLE, Haste::NICE, Haste::FULL].into_iter().all(|haste| thread.set(haste))
    };
    // On a thread that ends then.
    *COMES_BACK.get_or_init(|| std::thread::spawn(try_once).join().unwrap_or(false))
}

/// How much a thread is in a hurry that has work which nobody waits for yet: from idle over nice, by degrees, to as others are.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Haste(u8);

impl Haste {
    /// It runs when nobody else wants to.
    pub const IDLE: Self = Self(0);
    /// It runs less than others.
    pub const NICE: Self = Self(1);
    /// It runs as others do.
    pub const FULL: Self = Self(1 + NICE as u8);

    /// Idle below the first of two bounds, nice from there on, and less so the nearer the second one is.
    pub fn between(so_much: usize, [nice, full]: [usize; 2]) -> Self {
        if so_much < nice {
            return Self::IDLE;
        }
        let degrees = usize::from(Self::FULL.0 - Self::NICE.0);
        let hurries = degrees * (so_much - nice) / (full - nice).max(1);
        Self(Self::NICE.0 + hurries.min(degrees) as u8)
    }

    /// How far it stands below the others, where it is not idle.
    fn niceness(self) -> i32 {
        i32::from(Self::FULL.0 - self.0)
    }
}

/// How threads run that keep to it. Where the platform does not let a thread come back from being idle or nice,
/// they run as they did.
#[derive(Debug, Default, Clone)]
pub struct Pace(Arc<Mutex<Paced>>);

#[derive(Debug, Default)]
struct Paced {
    threads: Vec<(ThreadId, Thread)>,
    haste: Haste,
}

/// The calling thread keeps to a pace until this is dropped.
#[derive(Debug)]
pub struct Keeping {
    pace: Pace,
    thread: ThreadId,
}

impl Pace {
    /// Such a pace.
    pub fn of(haste: Haste) -> Self {
        Self(Arc::new(Mutex::new(Paced { haste, ..Paced::default() })))
    }

    /// From now on it is this.
    pub fn set(&self, haste: Haste) {
        let mut paced = self.0.lock();
        if paced.haste != haste {
            for (_, thread) in &paced.threads {
                thread.set(haste);
            }
        }
        paced.haste = haste;
    }

    /// The calling thread keeps to it.
    pub fn keep(&self) -> Keeping {
        let id = std::thread::current().id();
        if comes_back() {
            let mut paced = self.0.lock();
            let thread = Thread::of_caller();
            thread.set(paced.haste);
            paced.threads.push((id, thread));
        }
        Keeping { pace: self.clone(), thread: id }
    }

    /// Does some work on a thread of that name that keeps to it. The calling thread waits for it, and panics where it does.
    pub fn run<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        self.run_while(name, work, |_| {})
    }

    fn run_while<T: Send>(
        &self,
        name: &str,
        work: impl FnOnce() -> T + Send,
        meanwhile: impl FnOnce(&Receiver<()>),
    ) -> std::io::Result<T> {
        std::thread::scope(|scope| {
            let (ends, ended) = sync_channel(0);
            let working = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || {
                let _ends: SyncSender<()> = ends;
                if !comes_back() {
                    crate::give_way();
                }
                let _keeping = self.keep();
                work()
            })?;
            meanwhile(&ended);
            Ok(working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        for (_, thread) in self.pace.0.lock().threads.extract_if(.., |(id, _)| *id == self.thread) {
            thread.set(Haste::FULL);
        }
    }
}

/// Does some work on a thread of that name that is idle until `patience` has passed, and nice from then on: on a machine that
/// never rests it would not come to an end. The calling thread waits for it, and panics where it does.
pub fn idly<T: Send>(name: &str, patience: Duration, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    let pace = Pace::of(if patience.is_zero() { Haste::NICE } else { Haste::IDLE });
    pace.run_while(name, work, |ended| {
        // Nothing comes: that it ends is all that can be heard.
        if ended.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
            pace.set(Haste::NICE);
        }
    })
}

#[cfg(target_os = "linux")]
#[derive(Debug)]
struct Thread {
    id: NativeId,
    number: rustix::process::Pid,
    /// As it was before it kept to a pace.
    niceness: i32,
}

#[cfg(target_os = "linux")]
impl Thread {
    fn of_caller() -> Self {
        let number = rustix::thread::gettid();
        let niceness = rustix::process::getpriority_process(Some(number)).unwrap_or_default();
        Self { id: thread_native_id(), number, niceness }
    }

    /// Answers whether it is so now.
    fn set(&self, haste: Haste) -> bool {
        use rustix::process::{getpriority_process, setpriority_process};
        use thread_priority::ThreadPriority;
        use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy};
        let policy = match haste {
            Haste::IDLE => NormalThreadSchedulePolicy::Idle,
            _ => NormalThreadSchedulePolicy::Other,
        };
        let caller = Some(rustix::thread::gettid());
        let niceness = getpriority_process(caller);
        let policy = ThreadSchedulePolicy::Normal(policy);
        let done = set_thread_priority_and_policy(self.id, ThreadPriority::Min, policy);
        // Whomever it was for, the library lowers the thread that asks for it, too.
        let _ = niceness.and_then(|niceness| setpriority_process(caller, niceness));
        let niceness = self.niceness.max(haste.niceness().min(NICE));
        let lowered = setpriority_process(Some(self.number), niceness);
        if let (Err(_), _) | (_, Err(_)) = (&done, &lowered) {
            tracing::debug!(?done, ?lowered, "a background thread keeps its priority");
        }
        done.is_ok() && lowered.is_ok()
    }
}

#[cfg(not(target_os = "linux"))]
#[derive(Debug)]
struct Thread;

#[cfg(not(target_os = "linux"))]
impl Thread {
    fn of_caller() -> Self {
        Self
    }

    fn set(&self, _haste: Haste) -> bool {
        false
    }
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
    fn haste_jumps_or_leaves_its_bounds() {
        let at = |so_much| Haste::between(so_much, [6, 14]);
        assert_eq!([0, 5, 6, 14, 99].map(at), [Haste::IDLE, Haste::IDLE, Haste::NICE, Haste::FULL, Haste::FULL]);
        assert_eq!([6, 10, 14].map(|so_much| at(so_much).niceness()), [NICE, NICE / 2, 0]);
        let degrees: Vec<_> = (5..=14).map(at).collect();
        assert!(degrees.is_sorted_by(|less, more| less < more), "{degrees:?}");
        assert_eq!([5, 6].map(|so_much| Haste::between(so_much, [5, 6])), [Haste::NICE, Haste::FULL]);
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
    fn what_panics_idly_panics_where_it_was_asked_for() {
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
                let asked = Mutex::new(asked);
                let answer = |()| answers.send((policy(), own())).unwrap();
                of_thread.run("a-test", || asked.lock().iter().take(3).for_each(answer)).unwrap();
                let keeping = of_thread.keep();
                asked.lock().iter().take(1).for_each(answer);
                drop(keeping);
                asked.lock().iter().for_each(answer);
            });
            let ask = || asks.send(()).map(|()| answered.recv().unwrap()).unwrap();
            let at_rest = ask();
            pace.set(Haste::NICE);
            let hurried = ask();
            pace.set(Haste::IDLE);
            assert_eq!(ask(), at_rest);
            assert_eq!((hurried.0.as_str(), own()), ("0", before), "who asks stays as it was");
            assert!(at_rest.0 == "5" || at_rest.0 == "0" && !comes_back(), "{at_rest:?}");
            assert!(hurried.1 > before, "it stays nice: {hurried:?}");
            // A thread of another's keeps to it for a while.
            assert_eq!(ask().0, at_rest.0);
            assert_eq!(ask(), ("0".to_owned(), before));
            drop(asks);
        });
        // There is nobody to hurry any more.
        pace.set(Haste::NICE);
    }
}
