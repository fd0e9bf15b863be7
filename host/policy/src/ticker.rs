//! The clock of the deadlines: one thread that moves the engine's epoch on.
//!
//! A deadline is a number of ticks, so a call reads no clock. The thread ends when the ticker is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

use crate::bounds::TICK_MS;

/// Moves an engine's epoch on while it lives.
pub(crate) struct Ticker {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ticker {
    /// Starts the thread; an error where the system gives none.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("policy-ticker".into()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(TICK_MS));
                engine.increment_epoch();
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// The ticks after which a deadline of so many milliseconds has certainly passed: one more, as the first may be near.
    pub(crate) fn ticks(deadline_ms: u64) -> u64 {
        deadline_ms.div_ceil(TICK_MS) + 1
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the ticker has nothing to add here: it holds no state.
            let _ = thread.join();
        }
    }
}
