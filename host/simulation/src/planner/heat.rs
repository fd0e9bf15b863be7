//! What the host would know of the load: fading sums over the items, and samples of where the work falls.

use fastrand::Rng;
use ostrakon_core::ShardMap;
use ostrakon_core::load::{Health, KeySample, ShardLoad};
use ostrakon_wire::ShardKey;

use super::workload::Item;

/// Rounds over which work fades.
const FADES: f64 = 8.0;
/// Rounds over which the time of the work fades.
const TIMES_FADE: f64 = 32.0;
/// Samples of a shard.
const SAMPLES: usize = 32;
/// Shards with less than this share of an owner's mean have no samples: nothing is decided by them.
const SAMPLED_SHARE: f64 = 0.08;
/// What an item stands for.
const OBJECTS: u64 = 10;
const OBJECT_BYTES: u64 = 4_096;

pub(super) struct Heat {
    work: Vec<f64>,
    /// Work, and work times its round, fading slowly: when an item was used.
    slow: Vec<f64>,
    times: Vec<f64>,
}

impl Heat {
    pub(super) fn new(work: &[f64]) -> Self {
        Self { work: work.to_vec(), slow: work.to_vec(), times: vec![0.0; work.len()] }
    }

    pub(super) fn round(&mut self, work: &[f64], round: u32) {
        let now = f64::from(round);
        for (index, work) in work.iter().enumerate() {
            self.work[index] += (work - self.work[index]) / FADES;
            self.slow[index] += (work - self.slow[index]) / TIMES_FADE;
            self.times[index] += (work * now - self.times[index]) / TIMES_FADE;
        }
    }

    /// The work of each shard.
    pub(super) fn by_range(&self, map: &ShardMap, items: &[Item]) -> Vec<f64> {
        let mut works = vec![0.0; map.ranges().len()];
        let mut index = 0;
        for (item, work) in items.iter().zip(&self.work) {
            while map.end_of(index).get() < item.key {
                index += 1;
            }
            works[index] += work;
        }
        works
    }

    /// What the planner is told of each shard.
    pub(super) fn loads(&self, map: &ShardMap, items: &[Item], owners: u32, rng: &mut Rng) -> Vec<ShardLoad> {
        let sampled = self.work.iter().sum::<f64>() / f64::from(owners) * SAMPLED_SHARE;
        let mut first = 0;
        let load = |(index, range): (usize, &ostrakon_core::ShardRange)| {
            let end = map.end_of(index).get();
            let last = first + items[first..].iter().take_while(|item| item.key <= end).count();
            let work: f64 = self.work[first..last].iter().sum();
            let count = (last - first) as u64 * OBJECTS;
            let (samples, trend) = match work > sampled {
                true => self.samples(items, first..last, work, rng),
                false => (Vec::new(), 0.0),
            };
            first = last;
            let (objects, bytes) = (count, count * OBJECT_BYTES);
            ShardLoad { shard: range.shard, work, objects, bytes, samples, trend, health: Health::Healthy }
        };
        map.ranges().iter().enumerate().map(load).collect()
    }

    /// Samples, each for as much work, and the rank correlation of key and time in them.
    fn samples(&self, items: &[Item], of: std::ops::Range<usize>, work: f64, rng: &mut Rng) -> (Vec<KeySample>, f64) {
        let each = work / SAMPLES as f64;
        let mut samples = Vec::with_capacity(SAMPLES);
        let mut times = Vec::with_capacity(SAMPLES);
        let (mut sum, mut next) = (0.0, each * rng.f64());
        for index in of {
            sum += self.work[index];
            while next < sum && samples.len() < SAMPLES {
                let Item { key, object, .. } = items[index];
                samples.push(KeySample { key: ShardKey::new(key), object, work: each, uses: 1 });
                let mean = self.times[index] / self.slow[index].max(f64::MIN_POSITIVE);
                times.push(mean + TIMES_FADE * (rng.f64() - 0.5));
                next += each;
            }
        }
        let trend = correlation(&times);
        (samples, trend)
    }
}

/// The rank correlation of place and value.
fn correlation(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    if count < 3.0 {
        return 0.0;
    }
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|one, other| values[*one].total_cmp(&values[*other]));
    let squares: f64 = order.iter().enumerate().map(|(rank, place)| (rank as f64 - *place as f64).powi(2)).sum();
    1.0 - 6.0 * squares / (count * (count * count - 1.0))
}
