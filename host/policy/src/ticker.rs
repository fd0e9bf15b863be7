//! The clock of the deadlines: one thread that moves the engine's epoch on, by one for every millisecond that has passed.
//!
//! A deadline is a number of milliseconds, so a call reads no clock; it is kept to within one tick. Ticks are seldom, but
//! frequent while a policy is on trial: then it is stopped sooner. The thread ends when the ticker is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use wasmtime::Engine;

use crate::bounds::{CLOSE_TICK_MS, TICK_MS};

/// Moves an engine's epoch on while it lives.
pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    closely: AtomicBool,
}

impl Ticker {
    /// Starts the thread; an error where the system gives none.
    pub(crate) fn start(engine: Engine) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let ticking = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("policy-ticker".into()).spawn(move || {
            let (began, mut told) = (Instant::now(), 0);
            while !ticking.stop.load(Ordering::Relaxed) {
                let closely = ticking.closely.load(Ordering::Relaxed);
                std::thread::park_timeout(Duration::from_millis(if closely { CLOSE_TICK_MS } else { TICK_MS }));
                let now = began.elapsed().as_millis() as u64;
                // After a stop of the whole machine nothing has had its time.
                for _ in 0..(now - told).min(4 * TICK_MS) {
                    engine.increment_epoch();
                }
                told = now;
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Whether deadlines are kept closely from now on.
    pub(crate) fn watch_closely(&self, closely: bool) {
        self.shared.closely.store(closely, Ordering::Relaxed);
        if let Some(thread) = self.thread.as_ref().filter(|_| closely) {
            thread.thread().unpark();
        }
    }

    /// The epochs after which a deadline of so many milliseconds has passed: those of the first tick may come at once, and
    /// a short deadline is one that is kept closely.
    pub(crate) fn ticks(deadline_ms: u64) -> u64 {
        deadline_ms + TICK_MS.min(deadline_ms / 4).max(1)
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the ticker has nothing to add here: it holds no state.
            let _ = thread.join();
        }
    }
}
