//! The engine's own threads give way to those that serve.
//!
//! They merge tables for seconds at a time. On a machine with few cores that would take the processor from commits just
//! when these are many; what cannot be put off for ever is held to by `flush`, which holds a shard back.

/// Lowers the engine's threads below the others. A platform that cannot is no worse than before.
#[cfg(target_os = "linux")]
pub(crate) fn give_way() {
    const NAME: &str = "fjall:worker";
    const NICE: i32 = 10;
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
pub(crate) fn give_way() {}
