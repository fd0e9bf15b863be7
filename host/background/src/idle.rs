//! Threads that run when nobody else wants to.

use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use thread_priority::{ThreadId, thread_native_id};

/// From now on the thread that calls this gives way to all others.
pub fn give_way_to_all() {
    set(thread_native_id(), true);
}

/// Does some work while the calling thread gives way to all others, and then as before. Where the platform does not let a
/// thread come back from that, it does not give way.
pub fn while_idle<T>(work: impl FnOnce() -> T) -> T {
    static COMES_BACK: OnceLock<bool> = OnceLock::new();
    let try_once = || set(thread_native_id(), true) && set(thread_native_id(), false);
    // On a thread that ends then.
    if !*COMES_BACK.get_or_init(|| std::thread::spawn(try_once).join().unwrap_or(false)) {
        return work();
    }
    let _comes_back = Idle;
    give_way_to_all();
    work()
}

/// A thread that comes back when this is dropped.
struct Idle;

impl Drop for Idle {
    fn drop(&mut self) {
        set(thread_native_id(), false);
    }
}

/// Does some work on an idle thread of that name; from `patience` on, on one that is not: on a machine that never rests it
/// would not come to an end. The calling thread waits for it, and panics where it does.
pub fn idly<T: Send>(name: &str, patience: Duration, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let (begun, started) = sync_channel(1);
        let (ended, end) = sync_channel::<()>(1);
        let working = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || {
            give_way_to_all();
            // Cannot fail: there is room for one.
            let _ = begun.send(thread_native_id());
            let done = work();
            drop(ended);
            done
        })?;
        if let Ok(thread) = started.recv()
            && end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout)
        {
            set(thread, false);
        }
        Ok(working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
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
    fn a_thread_stays_idle_or_less_than_it_was() {
        let own = || getpriority_process(Some(rustix::thread::gettid()));
        let before = own();
        let within = while_idle(policy);
        assert_eq!((policy().as_str(), own()), ("0", before));
        assert!(within == "5" || within == "0", "{within}");
        let idly = idly("a-test", Duration::ZERO, || {
            std::thread::sleep(Duration::from_millis(20));
            policy()
        });
        assert!(idly.is_ok_and(|policy| policy == "0" || policy == "5"));
        assert_eq!((policy().as_str(), own()), ("0", before), "who waits for it stays as it was");
    }
}
