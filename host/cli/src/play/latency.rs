//! How long requests took: counts by size, in constant memory, read back within 2 percent.

use std::time::Duration;

/// Steps that each doubling is divided into.
const STEPS: u64 = 64;
/// Steps for every doubling of a u32 of microseconds (more than an hour).
const BUCKETS: usize = (STEPS * (32 - STEPS.ilog2() as u64 + 1)) as usize;

/// The latencies of one kind of request.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0 }
    }
}

impl Latencies {
    pub(super) fn add(&mut self, took: Duration) {
        let us = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        self.buckets[bucket(us.into())] += 1;
        self.count += 1;
    }

    /// Microseconds within which this share of the requests was answered; `None` where there were none.
    pub(crate) fn within_us(&self, share: f64) -> Option<u64> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let counted = self.buckets.iter().scan(0, |sum, count| {
            *sum += count;
            Some(*sum)
        });
        let (at, _) = counted.enumerate().find(|(_, sum)| *sum >= rank)?;
        Some(highest_of(at as u64))
    }

    /// How many requests.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }
}

/// Below [`STEPS`] each number is its own bucket; above, each doubling has half as many as it has numbers, and so on.
fn bucket(us: u64) -> usize {
    let doubling = us.checked_ilog2().unwrap_or(0).saturating_sub(STEPS.ilog2());
    (u64::from(doubling) * STEPS + (us >> doubling)) as usize
}

fn highest_of(bucket: u64) -> u64 {
    let doubling = (bucket / STEPS).saturating_sub(1);
    let first = (bucket - doubling * STEPS) << doubling;
    first + (1 << doubling) - 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_comes_back_within_two_percent() {
        for us in [0, 1, 63, 64, 127, 128, 129, 1_000, 54_321, 1_000_000, u64::from(u32::MAX)] {
            let back = highest_of(bucket(us) as u64);
            assert!(us <= back && back as f64 <= us as f64 * 1.02, "{us} came back as {back}");
        }
    }

    #[test]
    fn shares_are_of_the_requests() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.within_us(0.5), None);
        (1..=100).for_each(|us| latencies.add(Duration::from_micros(us)));
        assert_eq!(latencies.within_us(0.5), Some(50));
        assert!(latencies.within_us(0.99).unwrap().abs_diff(99) <= 1);
        assert_eq!(latencies.count(), 100);
    }
}
