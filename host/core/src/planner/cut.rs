//! Where a shard can be cut so that both sides get relief, or why it cannot.

use ostrakon_wire::ShardKey;

use super::{Limits, Why};
use crate::load::{KeySample, ShardLoad};

/// Where to cut.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cut {
    /// The first key of the upper side.
    pub at: ShardKey,
    /// What share of the work the upper side gets.
    pub upper: f64,
}

impl Cut {
    /// What share of the work the emptier side gets: by so much the other is relieved.
    pub(super) fn relief(&self) -> f64 {
        self.upper.min(1.0 - self.upper)
    }
}

/// The cut nearest the middle of the shard's work, if one gives both sides their share.
///
/// Only a key of an object that was used can be the first above the cut, so that what is cut apart is what was seen apart.
pub(super) fn cut(load: &ShardLoad, start: ShardKey, end: ShardKey, limits: &Limits) -> Result<Cut, Why> {
    let within =
        |sample: &&KeySample| (start..=end).contains(&sample.key) && sample.work > 0.0 && sample.work.is_finite();
    let mut samples: Vec<KeySample> = load.samples.iter().filter(within).copied().collect();
    let uses = samples.iter().map(|sample| sample.uses as usize).sum();
    if uses < limits.samples_min.max(1) {
        return Err(Why::FewSamples { samples: uses, wanted: limits.samples_min });
    }
    let total: f64 = samples.iter().map(|sample| sample.work).sum();
    let (object, work) = fullest(&mut samples);
    if work > limits.object_share_max * total {
        return Err(Why::OneObject { object, share: work / total });
    }
    if load.trend.abs() > limits.trend_max {
        return Err(Why::Moving { trend: load.trend });
    }
    nearest_the_middle(&mut samples, total).filter(|found| found.relief() >= limits.side_share_min).ok_or(Why::NoCut)
}

/// The object with most work, and that.
fn fullest(samples: &mut [KeySample]) -> (u64, f64) {
    samples.sort_by_key(|sample| (sample.object, sample.key));
    let objects = samples.chunk_by(|one, next| one.object == next.object);
    let sums = objects.map(|of| (of[0].object, of.iter().map(|sample| sample.work).sum::<f64>()));
    sums.reduce(|most, next| if next.1 > most.1 { next } else { most }).unwrap_or_default()
}

fn nearest_the_middle(samples: &mut [KeySample], total: f64) -> Option<Cut> {
    samples.sort_by_key(|sample| (sample.key, sample.object));
    let mut lower = 0.0;
    let mut best: Option<Cut> = None;
    for pair in samples.windows(2) {
        lower += pair[0].work;
        let found = Cut { at: pair[1].key, upper: ((total - lower) / total).clamp(0.0, 1.0) };
        if pair[0].key < pair[1].key && best.is_none_or(|best| found.relief() > best.relief()) {
            best = Some(found);
        }
    }
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_wire::ShardId;

    use super::*;
    use crate::load::Health;

    /// Cuts a shard of all keys with these samples: key, object, work.
    fn check(samples: &[(u64, u64, f64)], trend: f64) -> Result<(u64, f64), Why> {
        let sample =
            |&(key, object, work): &(u64, u64, f64)| KeySample { key: ShardKey::new(key), object, work, uses: 1 };
        let samples: Vec<_> = samples.iter().map(sample).collect();
        let load = ShardLoad {
            shard: ShardId::new(1),
            work: 1.0,
            objects: 9,
            bytes: 9,
            samples,
            trend,
            health: Health::Healthy,
        };
        let limits = Limits { samples_min: 3, ..Limits::default() };
        let found = cut(&load, ShardKey::new(0), ShardKey::new(u64::MAX), &limits)?;
        Ok((found.at.get(), found.upper))
    }

    #[test]
    fn a_cut_misses_the_middle_of_the_work() {
        assert_eq!(check(&[(10, 1, 1.0), (20, 2, 1.0), (30, 3, 1.0), (40, 4, 3.0)], 0.0).unwrap(), (40, 0.5));
        assert_eq!(check(&[(40, 4, 1.0), (30, 3, 1.0), (20, 2, 1.0), (10, 1, 1.0)], 0.0).unwrap(), (30, 0.5));
    }

    #[test]
    fn a_shard_is_cut_through_one_object() {
        let found = check(&[(10, 1, 1.0), (20, 2, 1.0), (20, 2, 1.0), (20, 2, 1.0), (30, 3, 2.0)], 0.0).unwrap();
        assert_eq!(found, (30, 2.0 / 6.0));
        let one = check(&[(10, 1, 1.0), (20, 2, 7.1), (30, 3, 1.9)], 0.0).unwrap_err();
        assert_eq!(one, Why::OneObject { object: 2, share: 0.71 });
    }

    #[test]
    fn a_side_is_cut_off_that_brings_no_relief() {
        assert_eq!(check(&[(10, 1, 1.0), (20, 2, 4.0), (20, 3, 4.0), (30, 4, 1.0)], 0.0).unwrap_err(), Why::NoCut);
    }

    #[test]
    fn a_load_that_moves_on_is_cut() {
        let spread = [(10, 1, 1.0), (20, 2, 1.0), (30, 3, 1.0), (40, 4, 1.0)];
        assert_eq!(check(&spread, 0.9).unwrap_err(), Why::Moving { trend: 0.9 });
        assert_eq!(check(&spread, -0.9).unwrap_err(), Why::Moving { trend: -0.9 });
    }

    #[test]
    fn a_cut_is_guessed() {
        assert_eq!(check(&[(10, 1, 1.0), (20, 2, 1.0)], 0.0).unwrap_err(), Why::FewSamples { samples: 2, wanted: 3 });
    }

    #[test]
    fn a_shard_of_few_objects_that_are_used_often_is_never_cut() {
        let sample = |key| KeySample { key: ShardKey::new(key), object: key, work: 1.0, uses: 8 };
        let load = ShardLoad {
            shard: ShardId::new(1),
            work: 2.0,
            objects: 2,
            bytes: 9,
            samples: vec![sample(10), sample(20)],
            trend: 0.0,
            health: Health::Healthy,
        };
        let found = cut(&load, ShardKey::new(0), ShardKey::new(u64::MAX), &Limits::default()).unwrap();
        assert_eq!(found, Cut { at: ShardKey::new(20), upper: 0.5 });
    }
}
