//! Is a generation that is new any good? Counts its bad calls until that is known.
//!
//! A generation is on trial as a canary, and for a while after it was put in. Every one of its bad calls is answered by the
//! last good generation. It is given up at once when a call overran its deadline; when it has had [`BAD_CALLS_MAX`] faults,
//! or [`BAD_WAIT_MS`] after the first one, whichever comes first; and when half of the calls in a row of [`SLOW_WINDOW`] were slower than its bound. One slow call
//! says nothing on a machine that does other things as well, so slowness is told by shares.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ostrakon_core::policy::PolicyFault;
use ostrakon_wire::PolicyKind;
use parking_lot::Mutex;

use crate::bounds::{BAD_CALLS_MAX, BAD_WAIT_MS, SLOW_WINDOW, TRIAL_CALLS_MIN, TRIAL_MS_MIN};
use crate::instance::is_no_instance;

/// What a call says of its generation.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    /// Nothing yet.
    Nothing,
    /// The first bad call: whether it is to be given up has to be looked at again in [`BAD_WAIT_MS`].
    First,
    /// Give it up, for this reason.
    GiveUp(String),
}

/// Counts for one generation on trial.
pub(crate) struct Watch {
    began: Instant,
    slow: Duration,
    calls: AtomicU64,
    faults: AtomicU32,
    slow_calls: AtomicU32,
    /// Milliseconds from the beginning to the first bad call of those that count, and one more; 0: there was none.
    first_bad: AtomicU64,
    /// Calls of the window in the high half, slow ones among them in the low half.
    window: AtomicU64,
    fault: Mutex<Option<PolicyFault>>,
}

const CALL: u64 = 1 << 32;

/// What is slow for a kind where nothing else is said.
pub(crate) fn slow_us_default(kind: PolicyKind) -> u32 {
    match kind {
        PolicyKind::ShardKey | PolicyKind::Prediction => 1_000,
        PolicyKind::Reconciliation => 20_000,
    }
}

impl Watch {
    pub(crate) fn new(slow_us: u32) -> Self {
        Self {
            began: Instant::now(),
            slow: Duration::from_micros(slow_us.into()),
            calls: AtomicU64::new(0),
            faults: AtomicU32::new(0),
            slow_calls: AtomicU32::new(0),
            first_bad: AtomicU64::new(0),
            window: AtomicU64::new(0),
            fault: Mutex::new(None),
        }
    }

    /// A call had no usable answer.
    #[cold]
    pub(crate) fn failed(&self, fault: &PolicyFault) -> Finding {
        // That there is no room for instances says nothing of the policy.
        if is_no_instance(fault) {
            return Finding::Nothing;
        }
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.fault.lock().get_or_insert_with(|| fault.clone());
        let faults = self.faults.fetch_add(1, Ordering::Relaxed) + 1;
        let first = self.is_first_bad();
        // Every further one would take as long from those who wait.
        if matches!(fault, PolicyFault::Overran { .. }) {
            return Finding::GiveUp(self.words());
        }
        if faults >= BAD_CALLS_MAX || self.bad_for() >= Duration::from_millis(BAD_WAIT_MS) {
            return Finding::GiveUp(self.words());
        }
        if first { Finding::First } else { Finding::Nothing }
    }

    /// A call was answered, and took so long.
    #[inline]
    pub(crate) fn answered(&self, latency: Duration) -> Finding {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let slow = latency > self.slow;
        if slow {
            self.slow_calls.fetch_add(1, Ordering::Relaxed);
        }
        self.window.fetch_add(CALL | u64::from(slow), Ordering::Relaxed);
        let full = |window: u64| (window >> 32 >= u64::from(SLOW_WINDOW)).then_some(0);
        // Of those who see it full one empties it, and judges what it held.
        if let Ok(window) = self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, full)
            && too_slow(window)
        {
            return Finding::GiveUp(self.slow_words(window));
        }
        if slow && self.is_first_bad() { Finding::First } else { Finding::Nothing }
    }

    /// Looks again, some time after a [`Finding::First`].
    pub(crate) fn overdue(&self) -> Option<String> {
        if self.bad_for() < Duration::from_millis(BAD_WAIT_MS) {
            return None;
        }
        if self.faults.load(Ordering::Relaxed) > 0 {
            return Some(self.words());
        }
        let window = self.window.load(Ordering::Relaxed);
        if window >> 32 >= 8 && too_slow(window) {
            return Some(self.slow_words(window));
        }
        // A slow call or two: the next one counts anew.
        self.first_bad.store(0, Ordering::Relaxed);
        None
    }

    /// Whether there was a bad call that is still to be judged.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.first_bad.load(Ordering::Relaxed) != 0
    }

    /// Whether it was asked, and never failed.
    pub(crate) fn is_good_so_far(&self) -> bool {
        self.calls.load(Ordering::Relaxed) > 0 && self.faults.load(Ordering::Relaxed) == 0
    }

    /// Whether it has been good for long enough.
    pub(crate) fn is_passed(&self) -> bool {
        self.began.elapsed() >= Duration::from_millis(TRIAL_MS_MIN)
            && self.calls.load(Ordering::Relaxed) >= TRIAL_CALLS_MIN
            && !self.is_in_doubt()
    }

    /// Calls without a usable answer, and slow ones.
    pub(crate) fn bad_calls(&self) -> u32 {
        self.faults.load(Ordering::Relaxed) + self.slow_calls.load(Ordering::Relaxed)
    }

    /// Since its first bad call, in microseconds.
    pub(crate) fn bad_for_us(&self) -> u64 {
        self.bad_for().as_micros() as u64
    }

    fn is_first_bad(&self) -> bool {
        let now = self.began.elapsed().as_millis() as u64 + 1;
        self.first_bad.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn bad_for(&self) -> Duration {
        match self.first_bad.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            first => self.began.elapsed().saturating_sub(Duration::from_millis(first - 1)),
        }
    }

    fn words(&self) -> String {
        let faults = self.faults.load(Ordering::Relaxed);
        match &*self.fault.lock() {
            Some(fault) => format!("{faults} bad calls, the first: {fault}"),
            None => format!("{faults} bad calls"),
        }
    }

    fn slow_words(&self, window: u64) -> String {
        let (calls, slow) = (window >> 32, window & (CALL - 1));
        format!("{slow} of {calls} calls took longer than its {} us", self.slow.as_micros())
    }
}

fn too_slow(window: u64) -> bool {
    let (calls, slow) = (window >> 32, window & (CALL - 1));
    slow * 2 >= calls
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_nanos(300);
    const SLOW: Duration = Duration::from_millis(2);

    #[test]
    fn faults_are_borne_for_ever() {
        let watch = Watch::new(1_000);
        assert_eq!(watch.failed(&PolicyFault::Impure), Finding::First);
        let more = (0..BAD_CALLS_MAX).map(|_| watch.failed(&PolicyFault::Impure)).position(|it| it != Finding::Nothing);
        assert!(more.is_some_and(|at| at <= BAD_CALLS_MAX as usize - 2), "{more:?}");
        assert!(watch.bad_calls() <= BAD_CALLS_MAX + 1);
    }

    #[test]
    fn one_fault_is_forgotten() {
        let watch = Watch::new(1_000);
        watch.failed(&PolicyFault::Trapped("unreachable".into()));
        assert_eq!(watch.overdue(), None, "not yet");
        std::thread::sleep(Duration::from_millis(BAD_WAIT_MS + 2));
        assert_eq!(watch.overdue().as_deref(), Some("1 bad calls, the first: the policy trapped: unreachable"));
    }

    #[test]
    fn a_slow_generation_is_kept() {
        let watch = Watch::new(1_000);
        (0..10_000).for_each(|_| assert_eq!(watch.answered(FAST), Finding::Nothing));
        let slow = (0..64).map(|_| watch.answered(SLOW)).position(|it| matches!(it, Finding::GiveUp(_)));
        assert!(slow.is_some(), "it was not given up within 64 slow calls");
    }

    #[test]
    fn a_slow_call_now_and_then_ends_a_trial() {
        let watch = Watch::new(1_000);
        for call in 0..10_000 {
            let finding = watch.answered(if call % 10 == 0 { SLOW } else { FAST });
            assert!(!matches!(finding, Finding::GiveUp(_)), "{finding:?}");
        }
        std::thread::sleep(Duration::from_millis(BAD_WAIT_MS + 2));
        assert_eq!(watch.overdue(), None);
        assert!(!watch.is_in_doubt());
    }
}
