//! How long calls take, in buckets that tell tens of nanoseconds apart.

use std::time::Duration;

use histogram::AtomicHistogram;

/// Eight buckets for each doubling: a figure is wrong by an eighth at most.
const GROUPING_POWER: u8 = 3;
/// Up to 17 s; no call lasts longer.
const MAX_VALUE_POWER: u8 = 34;

/// The latencies of many calls, added to by many threads.
pub(crate) struct Latencies(AtomicHistogram);

/// Some points of a distribution of latencies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LatencySummary {
    /// Calls that were timed.
    pub timed: u64,
    /// Half of them took at most so long, in nanoseconds.
    pub p50_ns: u64,
    /// 99 of 100 did.
    pub p99_ns: u64,
    /// 999 of 1,000 did.
    pub p999_ns: u64,
    /// The longest took at most so long.
    pub max_ns: u64,
    /// Upper bounds of the buckets that hold calls, in nanoseconds, with how many each holds; ascending.
    pub buckets: Vec<(u64, u64)>,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER).expect("the powers are in range"))
    }

    pub(crate) fn add(&self, latency: Duration) {
        let ns = (latency.as_nanos() as u64).min((1 << MAX_VALUE_POWER) - 1);
        // Cannot fail: the value is below the largest.
        let _ = self.0.increment(ns);
    }

    pub(crate) fn summary(&self) -> LatencySummary {
        let all = self.0.load();
        let buckets: Vec<_> =
            all.iter().filter(|bucket| bucket.count() > 0).map(|bucket| (bucket.end(), bucket.count())).collect();
        let timed: u64 = buckets.iter().map(|(_, count)| count).sum();
        let point = |per_mille: u64| {
            let wanted = (timed * per_mille).div_ceil(1_000);
            let mut below = 0;
            let reaches = |(_, count): &&(u64, u64)| {
                below += count;
                below >= wanted
            };
            buckets.iter().find(reaches).map_or(0, |(end, _)| *end)
        };
        LatencySummary {
            timed,
            p50_ns: point(500),
            p99_ns: point(990),
            p999_ns: point(999),
            max_ns: buckets.last().map_or(0, |(end, _)| *end),
            buckets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_the_distribution_is_off_by_more_than_an_eighth() {
        let latencies = Latencies::new();
        (1..=1_000_u64).for_each(|ns| latencies.add(Duration::from_nanos(ns)));
        latencies.add(Duration::from_secs(100));
        let LatencySummary { timed, p50_ns, p99_ns, max_ns, buckets, .. } = latencies.summary();
        assert_eq!(timed, 1_001);
        assert!((500..=563).contains(&p50_ns) && (990..=1_125).contains(&p99_ns), "{p50_ns} {p99_ns}");
        assert!(max_ns >= (1 << 33), "{max_ns}");
        assert!(buckets.iter().filter(|(end, _)| *end < 1_000).count() > 40, "sub-microsecond buckets");
        assert_eq!(Latencies::new().summary(), LatencySummary::default());
    }
}
