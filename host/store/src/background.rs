//! Threads that give way to those that serve: the engine's own, and whoever says so of itself.
//!
//! They merge tables for seconds at a time. On a machine with few cores that would take the processor from commits just
//! when these are many; what cannot be put off for ever is held to by `flush`, which holds a shard back.

/// Lowers the engine's threads below the others. A platform that cannot is no worse than before.
#[cfg(target_os = "linux")]
pub(crate) fn engine_gives_way() {
    const NAME: &str = "fjall:worker";
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(rustix::process::Pid::from_raw);
        if name.trim_end() == NAME
            && let Some(id) = id
            && let Err(error) = rustix::process::setpriority_process(Some(id), NICE)
        {
            tracing::debug!(%error, "a background thread keeps its priority");
        }
    }
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn engine_gives_way() {}

/// How far they stand below the others.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// From now on the thread that calls this gives way to the others, where the platform knows how.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}
