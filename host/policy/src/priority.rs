//! Threads that run when nobody else wants to.
//!
//! To be nice is not enough: a nice thread keeps its core for its slice, and whoever is woken meanwhile waits for
//! milliseconds. Where the platform knows threads that are idle by policy, those who serve take the core at once.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::Duration;

use thread_priority::{ThreadId, thread_native_id};

use crate::bounds::LOAD_PATIENCE_MS;

/// From now on the thread that calls this gives way to all others, where the platform knows how.
pub(crate) fn give_way() {
    set(thread_native_id(), true);
}

/// Does some work on a thread that gives way; after a while, on one that does not: on a machine that never rests it would
/// not come to an end.
pub(crate) fn beside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> std::io::Result<T> {
    std::thread::scope(|scope| {
        let (begun, started) = sync_channel(1);
        let (ended, end) = sync_channel::<()>(1);
        let working = std::thread::Builder::new().name(name.into()).spawn_scoped(scope, move || {
            give_way();
            // Cannot fail: there is room for one.
            let _ = begun.send(thread_native_id());
            let done = work();
            drop(ended);
            done
        })?;
        if let Ok(thread) = started.recv()
            && end.recv_timeout(Duration::from_millis(LOAD_PATIENCE_MS)) == Err(RecvTimeoutError::Timeout)
        {
            set(thread, false);
        }
        Ok(working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

#[cfg(target_os = "linux")]
fn set(thread: ThreadId, idle: bool) {
    use thread_priority::ThreadPriority;
    use thread_priority::unix::{NormalThreadSchedulePolicy, ThreadSchedulePolicy, set_thread_priority_and_policy};
    let policy = if idle { NormalThreadSchedulePolicy::Idle } else { NormalThreadSchedulePolicy::Other };
    let policy = ThreadSchedulePolicy::Normal(policy);
    if let Err(error) = set_thread_priority_and_policy(thread, ThreadPriority::Min, policy) {
        tracing::debug!(?error, "a background thread keeps its priority");
    }
}

#[cfg(not(target_os = "linux"))]
fn set(_thread: ThreadId, _idle: bool) {}
