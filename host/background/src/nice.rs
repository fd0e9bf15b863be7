//! Threads that run less than others.

/// How far they stand below the others.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// From now on the thread that calls this gives way to the others.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    lower(rustix::thread::gettid());
}

/// All threads of that name in this process do, from now on.
#[cfg(target_os = "linux")]
pub fn threads_give_way(name: &str) {
    for thread in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let its_name = std::fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        let id = thread.file_name().to_str().and_then(|id| id.parse().ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(id) = id.filter(|_| its_name.trim_end() == name) {
            lower(id);
        }
    }
}

/// All threads of that name in this process do, from now on.
#[cfg(not(target_os = "linux"))]
pub fn threads_give_way(_name: &str) {}

#[cfg(target_os = "linux")]
fn lower(thread: rustix::process::Pid) {
    if let Err(error) = rustix::process::setpriority_process(Some(thread), NICE) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}
