//! Threads that read what is not in memory: a few, so that a burst of cold objects takes turns at the disk rather than
//! waking a thread each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::JoinHandle;

use ostrakon_store::ReadError;
use ostrakon_wire::bounds::{COLD_READS_MAX, READER_THREADS};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

type Job = Box<dyn FnOnce() + Send>;

/// As many reads wait as may.
pub(crate) struct TooMany;

/// The threads; dropping them lets them finish what waits.
pub(crate) struct Readers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl Readers {
    pub(crate) fn start() -> std::io::Result<Self> {
        let mut readers = Self::driven();
        readers.add_threads("read", READER_THREADS)?;
        Ok(readers)
    }

    /// So many more threads.
    pub(crate) fn add_threads(&mut self, name: &str, threads: usize) -> std::io::Result<()> {
        self.add_threads_that(name, threads, || {})
    }

    /// The same, each of which first does this.
    pub(crate) fn add_threads_that(&mut self, name: &str, threads: usize, first: fn()) -> std::io::Result<()> {
        for _ in 0..threads {
            let shared = Arc::clone(&self.shared);
            let run = move || {
                first();
                shared.work();
            };
            self.threads.push(std::thread::Builder::new().name(name.into()).spawn(run)?);
        }
        Ok(())
    }

    /// Reads on one of the threads, and waits for it.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, outcome) = oneshot::channel();
        let queued = self.run(move || {
            // The one who asked may have gone.
            if !reply.is_closed() {
                let _ = reply.send(read());
            }
        });
        queued.map_err(|TooMany| ReadError::Busy)?;
        outcome.await.unwrap_or_else(|_| Err(ReadError::Engine("the read was cut off".into())))
    }

    /// None: what is to be read waits for [`Self::run_one`].
    pub(crate) fn driven() -> Self {
        Self { shared: Arc::default(), threads: Vec::new() }
    }

    /// Runs one of the jobs that wait.
    #[cfg(feature = "simulation")]
    pub(crate) fn run_one(&self, choice: usize) -> bool {
        let mut state = self.shared.state.lock();
        let waiting = state.jobs.len();
        let job = choice.checked_rem(waiting).and_then(|at| state.jobs.remove(at));
        drop(state);
        job.map(|job| job()).is_some()
    }

    /// Waits for the end of a read, on a thread that may block.
    pub(crate) fn wait(
        &self,
        #[cfg_attr(not(feature = "simulation"), allow(unused_mut))] mut ended: oneshot::Receiver<()>,
    ) {
        #[cfg(feature = "simulation")]
        if self.threads.is_empty() {
            while ended.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                assert!(self.run_one(0), "nothing reads what is waited for");
            }
            return;
        }
        let _ = ended.blocking_recv();
    }

    /// Runs a job on one of the threads, after those that wait.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) -> Result<(), TooMany> {
        let mut state = self.shared.state.lock();
        if state.jobs.len() >= COLD_READS_MAX {
            return Err(TooMany);
        }
        state.jobs.push_back(Box::new(job));
        drop(state);
        self.shared.filled.notify_one();
        Ok(())
    }
}

impl Shared {
    fn work(&self) {
        loop {
            let job = {
                let mut state = self.state.lock();
                loop {
                    match state.jobs.pop_front() {
                        Some(job) => break job,
                        None if state.closed => return,
                        None => self.filled.wait(&mut state),
                    }
                }
            };
            // A read that panics has said so; whoever waited for it is told by its dropped channel.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.filled.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
