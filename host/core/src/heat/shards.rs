//! What the uses mean for the shards of a map: their load, their rates, and which of them are used together.

use std::collections::BTreeMap;

use ostrakon_wire::bounds::HEAT_SAMPLES_PER_SHARD;
use ostrakon_wire::{ObjectId, ShardId, ShardKey};

use super::callers;
use super::rows::{ClientRow, Sample, Sums};
use super::{Heat, Rates};
use crate::load::{Health, KeySample, ShardLoad};
use crate::shard_map::ShardMap;

/// Hottest clients and objects that are told of a shard.
const PARTS: usize = 3;
/// With fewer samples a shard's load has no direction.
const TREND_SAMPLES_MIN: usize = 12;
/// A trend is told where it is more than so many standard deviations of what chance gives.
const CHANCE_DEVIATIONS: f64 = 3.0;

/// A part of a shard's uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<N> {
    /// What it is called; none where it is too cold on the whole host for its name to be kept.
    pub name: Option<N>,
    /// From 0 to 1.
    pub share: f64,
}

/// How a shard is used, for an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct ShardRates {
    /// Which.
    pub shard: ShardId,
    /// Rates a second.
    pub rates: Rates,
    /// Different connections that used it, estimated from the samples: too low where hardly any was seen twice.
    pub callers: u32,
    /// The clients whose objects in it are used the most, the first the most.
    pub clients: Vec<Part<Box<str>>>,
    /// The objects.
    pub objects: Vec<Part<ObjectId>>,
}

/// How much of a shard's use goes together with that of another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affinity {
    /// The shard.
    pub shard: ShardId,
    /// The other one.
    pub with: ShardId,
    /// Uses a second of objects of `shard` that were used together with objects of `with`; one that is used with objects
    /// of several shards counts for each in part.
    pub per_s: f64,
    /// That as a part of all uses of `shard`, from 0 to 1.
    pub share: f64,
}

/// A sample, and where it stands in time.
#[derive(Clone, Copy)]
struct Seen<'a> {
    sample: &'a Sample,
    /// What to multiply its sums with for rates a second.
    per_s: f64,
    order: u32,
}

impl Heat {
    /// The load of every shard, in the map's order; its objects, bytes and health are left for others to fill in.
    pub fn loads(&self, now_ms: u64, map: &ShardMap) -> Vec<ShardLoad> {
        let load = |shard, seen: &mut [Seen<'_>]| ShardLoad {
            shard,
            work: seen.iter().map(|one| f64::from(one.sample.work_us) * one.per_s).sum(),
            objects: 0,
            bytes: 0,
            samples: thinned(seen),
            trend: trend(seen),
            health: Health::Healthy,
        };
        self.by_shard(now_ms, map, load)
    }

    /// How every shard is used, in the map's order.
    pub fn shard_rates(&self, now_ms: u64, map: &ShardMap) -> Vec<ShardRates> {
        let rates = |shard, seen: &mut [Seen<'_>]| {
            let mut sums = Sums::default();
            for Seen { sample, per_s, .. } in seen.iter() {
                let [uses, bytes, work] = [sample.uses, sample.bytes, sample.work_us].map(|sum| f64::from(sum) * per_s);
                sums.add(&Sums::part(sample.kind, bytes, work, uses));
            }
            let mut sampled: Vec<u32> = seen.iter().map(|one| one.sample.caller).collect();
            let client = |digest| Some(self.clients.find(digest)?.client.clone());
            let object = |digest| self.objects.find(digest)?.name.clone();
            ShardRates {
                shard,
                rates: sums.rates(1.0),
                callers: callers::estimated(&mut sampled),
                clients: parts(seen, |sample| sample.client, client),
                objects: parts(seen, |sample| sample.object, object),
            }
        };
        self.by_shard(now_ms, map, rates)
    }

    /// Which shards are used together, in order of shard, and of one shard the closest first.
    pub fn affinity(&self, now_ms: u64, map: &ShardMap) -> Vec<Affinity> {
        let now_ms = now_ms.max(self.decay.now_ms());
        let reach_ms = self.recent_pairs.reach_ms(now_ms);
        let per_s = self.decay.per_s_over(reach_ms);
        let mut joint: BTreeMap<(ShardId, ShardId), f64> = BTreeMap::new();
        for (at_ms, pair) in self.recent_pairs.iter() {
            let [one, other] = pair.keys.map(|key| map.shard_of(key));
            if one != other {
                let uses = f64::from(pair.uses) * self.decay.left(now_ms - at_ms) * per_s;
                *joint.entry((one, other)).or_default() += uses;
                *joint.entry((other, one)).or_default() += uses;
            }
        }
        if joint.is_empty() {
            return vec![];
        }
        let uses = |shard, seen: &mut [Seen<'_>]| {
            (shard, seen.iter().map(|one| f64::from(one.sample.uses) * one.per_s).sum::<f64>())
        };
        let uses: BTreeMap<ShardId, f64> = self.by_shard(now_ms, map, uses).into_iter().collect();
        let share = |shard, per_s: f64| if per_s < uses[&shard] { per_s / uses[&shard] } else { 1.0 };
        let told = joint.into_iter().map(|((shard, with), per_s)| {
            let share = share(shard, per_s);
            Affinity { shard, with, per_s, share }
        });
        let mut told: Vec<_> = told.collect();
        told.sort_by(|one, other| one.shard.cmp(&other.shard).then(other.per_s.total_cmp(&one.per_s)));
        told
    }

    /// Looks at the samples of every shard, which come in order of key, then object, then time.
    fn by_shard<T>(&self, now_ms: u64, map: &ShardMap, mut look: impl FnMut(ShardId, &mut [Seen<'_>]) -> T) -> Vec<T> {
        let now_ms = now_ms.max(self.decay.now_ms());
        let per_s = self.decay.per_s_over(self.recent.reach_ms(now_ms));
        let seen = self.recent.iter().zip(0..).map(|((at_ms, sample), order)| {
            let per_s = per_s * self.decay.left(now_ms - at_ms);
            Seen { sample, per_s, order }
        });
        let mut seen: Vec<_> = seen.collect();
        seen.sort_unstable_by_key(|one| (one.sample.key, one.sample.object, one.order));
        let mut rest = &mut seen[..];
        let mut told = Vec::with_capacity(map.ranges().len());
        for (index, range) in map.ranges().iter().enumerate() {
            let end = map.end_of(index);
            let inside;
            (inside, rest) = rest.split_at_mut(rest.partition_point(|one| one.sample.key <= end));
            told.push(look(range.shard, inside));
        }
        told
    }
}

/// The samples of one shard for the planner: those of an object with one key made one, then at most so many that each
/// stands for an equal part of the work, which are chosen at equal steps through it.
fn thinned(seen: &[Seen<'_>]) -> Vec<KeySample> {
    let mut samples: Vec<KeySample> = Vec::new();
    for Seen { sample, per_s, .. } in seen {
        let work = f64::from(sample.work_us) * per_s;
        match samples.last_mut() {
            Some(last) if last.key == sample.key && last.object == sample.object => {
                last.work += work;
                last.uses += 1;
            }
            _ => samples.push(KeySample { key: sample.key, object: sample.object, work, uses: 1 }),
        }
    }
    if samples.len() <= HEAT_SAMPLES_PER_SHARD {
        return samples;
    }
    let step = samples.iter().map(|one| one.work).sum::<f64>() / HEAT_SAMPLES_PER_SHARD as f64;
    let (mut passed, mut chosen) = (0.0, 0.0);
    samples.retain_mut(|one| {
        passed += one.work;
        // The middle of every step that this sample covers.
        let covers = ((passed / step + 0.5).floor().min(HEAT_SAMPLES_PER_SHARD as f64) - chosen).max(0.0);
        chosen += covers;
        one.work = covers * step;
        covers > 0.0
    });
    samples
}

/// The rank correlation of key and time (Spearman's); 0 where it is not more than chance gives. The samples come in order
/// of key.
fn trend(seen: &mut [Seen<'_>]) -> f64 {
    let count = seen.len();
    if count < TREND_SAMPLES_MIN {
        return 0.0;
    }
    let middle = (count - 1) as f64 / 2.0;
    // Equal keys share the rank in their middle.
    let mut ranked: Vec<(u32, f64)> = Vec::with_capacity(count);
    for same in seen.chunk_by(|one, other| one.sample.key == other.sample.key) {
        let rank = ranked.len() as f64 + (same.len() - 1) as f64 / 2.0 - middle;
        ranked.extend(same.iter().map(|one| (one.order, rank)));
    }
    let keys: f64 = ranked.iter().map(|(_, rank)| rank * rank).sum();
    ranked.sort_unstable_by_key(|(order, _)| *order);
    let both: f64 = ranked.iter().enumerate().map(|(time, (_, rank))| (time as f64 - middle) * rank).sum();
    let times = count as f64 * (count as f64 * count as f64 - 1.0) / 12.0;
    let trend = if keys > 0.0 { both / (keys * times).sqrt() } else { 0.0 };
    let chance = CHANCE_DEVIATIONS / ((count - 1) as f64).sqrt();
    if trend.abs() > chance { trend.clamp(-1.0, 1.0) } else { 0.0 }
}

/// The largest parts of a shard's uses, by whatever `of` tells apart.
fn parts<N>(seen: &[Seen<'_>], of: impl Fn(&Sample) -> u64, name: impl Fn(u64) -> Option<N>) -> Vec<Part<N>> {
    let mut uses: Vec<(u64, f64)> =
        seen.iter().map(|one| (of(one.sample), f64::from(one.sample.uses) * one.per_s)).collect();
    let whole: f64 = uses.iter().map(|(_, uses)| uses).sum();
    uses.sort_unstable_by_key(|(one, _)| *one);
    let same = uses.chunk_by(|one, other| one.0 == other.0);
    let mut sums: Vec<(u64, f64)> = same.map(|same| (same[0].0, same.iter().map(|(_, uses)| uses).sum())).collect();
    sums.sort_by(|one, other| other.1.total_cmp(&one.1));
    sums.truncate(PARTS);
    sums.into_iter().map(|(one, uses)| Part { name: name(one), share: uses / whole }).collect()
}

/// In how many shards the objects lie that are remembered of a client.
pub(super) fn shards_of(row: &ClientRow, map: &ShardMap) -> u32 {
    let (keys, count) = row.keys();
    let (mut shards, mut end) = (0, None::<ShardKey>);
    for key in &keys[..count] {
        if end.is_none_or(|end| *key > end) {
            shards += 1;
            let after = map.ranges().partition_point(|range| range.start <= *key);
            end = Some(map.end_of(after - 1));
        }
    }
    shards
}
