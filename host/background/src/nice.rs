//! Threads that run less than others.

/// How far they stand below the others.
pub(crate) const NICE: i32 = 10;

/// From now on the thread that calls this gives way to the others.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}
