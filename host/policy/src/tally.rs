//! What one generation did so far.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use ostrakon_core::policy::PolicyFault;

use crate::latency::{Latencies, LatencySummary};

/// Faults of one generation, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Calls that trapped.
    pub trapped: u64,
    /// Calls that overran their deadline.
    pub overran: u64,
    /// Calls that wanted too much memory.
    pub out_of_memory: u64,
    /// Calls with an impossible answer.
    pub impossible: u64,
    /// Calls that a fresh instance answered differently.
    pub impure: u64,
}

impl FaultCounts {
    /// All of them together.
    pub fn total(&self) -> u64 {
        self.trapped + self.overran + self.out_of_memory + self.impossible + self.impure
    }
}

/// A number that shares its cache line with no other.
#[derive(Default)]
#[repr(align(128))]
struct Counter(AtomicU64);

/// Counters, of which each thread moves its own.
pub(crate) struct Tally {
    calls: Box<[Counter]>,
    purity_checks: AtomicU64,
    faults: [AtomicU64; 5],
    latencies: Latencies,
}

impl Tally {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            calls: (0..threads.max(1)).map(|_| Counter::default()).collect(),
            purity_checks: AtomicU64::new(0),
            faults: Default::default(),
            latencies: Latencies::new(),
        }
    }

    /// A call that was timed took so long.
    #[inline]
    pub(crate) fn took(&self, latency: Duration) {
        self.latencies.add(latency);
    }

    pub(crate) fn latency(&self) -> LatencySummary {
        self.latencies.summary()
    }

    #[inline]
    pub(crate) fn call(&self) {
        self.calls[thread_index() % self.calls.len()].0.fetch_add(1, Ordering::Relaxed);
    }

    #[cold]
    pub(crate) fn fault(&self, fault: &PolicyFault) {
        let index = match fault {
            PolicyFault::Trapped(_) => 0,
            PolicyFault::Overran { .. } => 1,
            PolicyFault::OutOfMemory { .. } => 2,
            PolicyFault::Impossible(_) => 3,
            PolicyFault::Impure => 4,
        };
        self.faults[index].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn purity_check(&self) {
        self.purity_checks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.iter().map(|counter| counter.0.load(Ordering::Relaxed)).sum()
    }

    pub(crate) fn purity_checks(&self) -> u64 {
        self.purity_checks.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> FaultCounts {
        let [trapped, overran, out_of_memory, impossible, impure] =
            std::array::from_fn(|index| self.faults[index].load(Ordering::Relaxed));
        FaultCounts { trapped, overran, out_of_memory, impossible, impure }
    }
}

/// A small number for this thread: its place among counters and kept instances.
#[inline]
pub(crate) fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
    }
    INDEX.with(|index| {
        if index.get() == usize::MAX {
            index.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        index.get()
    })
}
