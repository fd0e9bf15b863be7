//! What became of forecasts, gathered for a prediction policy that learns.
//!
//! Now and then the policy is told of a batch, by a thread of its own; what does not fit into one is not told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ostrakon_core::policy::Outcome;
use ostrakon_wire::Generation;
use ostrakon_wire::bounds::{LEARNING_BATCH_MAX, LEARNING_EVERY_MS};
use parking_lot::Mutex;

use crate::Policies;
use crate::counters::Counters;

/// The batch that fills, and the thread; dropping it stops the thread.
pub(crate) struct Learner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    policies: Arc<Policies>,
    counters: Arc<Counters>,
    batch: Mutex<Batch>,
    /// Whether the batch takes more.
    open: AtomicBool,
    stop: AtomicBool,
    /// The generation whose faults were told of: once each.
    warned: AtomicU64,
}

/// What became of forecasts, by generation: what one foretold is no lesson for another.
#[derive(Default)]
struct Batch {
    of: Vec<(Generation, Vec<Outcome>)>,
    outcomes: usize,
}

impl Batch {
    fn add(&mut self, generation: Generation, outcome: Outcome) {
        self.outcomes += 1;
        match self.of.iter_mut().find(|(of, _)| *of == generation) {
            Some((_, outcomes)) => outcomes.push(outcome),
            None => self.of.push((generation, vec![outcome])),
        }
    }
}

impl Learner {
    pub(crate) fn new(policies: Arc<Policies>, counters: Arc<Counters>) -> Self {
        let shared = Shared {
            policies,
            counters,
            batch: Mutex::default(),
            open: AtomicBool::new(true),
            stop: AtomicBool::new(false),
            warned: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), thread: None }
    }

    pub(crate) fn start(&mut self) -> std::io::Result<()> {
        let shared = Arc::clone(&self.shared);
        self.thread = Some(std::thread::Builder::new().name("learn".into()).spawn(move || shared.run())?);
        Ok(())
    }

    /// One forecast was judged.
    pub(crate) fn tell(&self, generation: Generation, outcome: Outcome) {
        if !self.shared.open.load(Ordering::Relaxed) {
            return;
        }
        let mut batch = self.shared.batch.lock();
        batch.add(generation, outcome);
        if batch.outcomes >= LEARNING_BATCH_MAX {
            self.shared.open.store(false, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn run(&self) {
        loop {
            std::thread::park_timeout(Duration::from_millis(LEARNING_EVERY_MS));
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            // A lesson that panics has said so.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.learn()));
        }
    }

    fn learn(&self) {
        let learns = self.policies.prediction.learns();
        let batch = std::mem::take(&mut *self.batch.lock());
        self.open.store(learns, Ordering::Relaxed);
        if !learns {
            return;
        }
        for (generation, outcomes) in batch.of {
            match self.policies.prediction.learn(generation, &outcomes) {
                Ok(true) => self.counters.lessons.add(),
                // Another generation decides by now, or this one does not learn.
                Ok(false) => {}
                Err(fault) => {
                    if self.warned.swap(generation.get(), Ordering::Relaxed) != generation.get() {
                        tracing::warn!(%fault, "the prediction policy cannot learn");
                    }
                    self.counters.prediction_faults.add();
                }
            }
        }
    }
}

impl Drop for Learner {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
