//! What the host observes of its own use: who uses what, how much, and where in the key space.
//!
//! Shard-key policies are told of it ([`Heat::for_policy`]), the planner decides by it ([`Heat::loads`],
//! [`Heat::affinity`]), and an operator reads it. Everything fades: a use counts half as much after a half life. Nothing is
//! kept a shard, since shards change: a thinned ring of recent uses holds keys, and the map that is given with a question
//! tells their shards.
//!
//! Always holds: the memory is bounded ([`ostrakon_wire::bounds::HEAT_BYTES_MAX`]) whatever the number of clients, types
//! and objects; the same uses at the same times with the same seed make the same heat. It reads no clock, and knows
//! nothing of what became of a request.

mod callers;
mod decay;
mod hot;
mod ring;
mod rows;
mod shards;
mod table;
#[cfg(test)]
mod tests;

use ostrakon_wire::bounds::{
    HEAT_BYTES_MAX, HEAT_CLIENTS, HEAT_OBJECTS, HEAT_PAIR_SAMPLES, HEAT_PAIRS, HEAT_PAIRS_PER_USE, HEAT_SAMPLES,
    HEAT_TYPES, HEAT_WINDOWS, OBJECT_BYTES_MAX,
};
use ostrakon_wire::{ObjectId, ShardKey};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::policy::Heat as Told;
use crate::shard_map::ShardMap;
use decay::Decay;
pub use hot::{HotClient, HotObject, HotPair, HotType};
use ring::Ring;
use rows::{ClientRow, ObjectRow, Pair, PairRow, PairSample, Sample, Sums, TypeRow, WindowRow};
pub use shards::{Affinity, Part, ShardRates};
use table::Table;

/// Half lives that the ring of recent uses reaches back, so that what it misses is too faded to matter.
const SPAN_HALF_LIVES: f64 = 4.0;

/// What one use counts at most: an hour.
const WORK_US_MAX: f32 = 3.6e9;

/// What all tables and rings take, the names and ids that rows point to included.
const BYTES: usize = Ring::<Sample>::bytes(HEAT_SAMPLES)
    + Ring::<PairSample>::bytes(HEAT_PAIR_SAMPLES)
    + Table::<ClientRow>::bytes(HEAT_CLIENTS)
    + Table::<TypeRow>::bytes(HEAT_TYPES)
    + Table::<WindowRow>::bytes(HEAT_WINDOWS)
    + Table::<ObjectRow>::bytes(HEAT_OBJECTS)
    + Table::<PairRow>::bytes(HEAT_PAIRS)
    + HEAT_CLIENTS * ostrakon_wire::bounds::CLIENT_BYTES_MAX
    + HEAT_TYPES * (ostrakon_wire::bounds::CLIENT_BYTES_MAX + ostrakon_wire::bounds::TYPE_BYTES_MAX + 1)
    + HEAT_OBJECTS * (OBJECT_BYTES_MAX + 16);
const _: () = assert!(BYTES <= HEAT_BYTES_MAX);

/// How the host observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// After so long a use counts half as much, in milliseconds.
    pub half_life_ms: u32,
    /// How wide a time window is, in milliseconds: as wide as the shard-key policy's.
    pub window_ms: u64,
    /// What the hashes and the thinning begin with: nobody who does not know it can choose names that drive others out.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { half_life_ms: 10_000, window_ms: 3_600_000, seed: 0 }
    }
}

/// How an object was used. Each is one use; what one request causes may be several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum TouchKind {
    /// It was read.
    Read,
    /// A change was committed.
    Write,
    /// A write met another version.
    Conflict,
    /// An action was run again on the latest version.
    Reconcile,
}

/// One use of an object.
#[derive(Debug, Clone, Copy)]
pub struct Touch<'a> {
    /// Whose object.
    pub client: &'a str,
    /// Its data type.
    pub data_type: &'a str,
    /// Its digest: equal ones are one object.
    pub object: u64,
    /// What it is called, to be shown where it is hot.
    pub name: Option<&'a ObjectId>,
    /// The key recorded for it.
    pub key: ShardKey,
    /// The time that its window is found by, in milliseconds since 1970, as a shard-key policy would be told it.
    pub timestamp_ms: u64,
    /// Which connection; 0: the host's own doing.
    pub caller: u64,
    /// How.
    pub kind: TouchKind,
    /// Bytes that were read or written.
    pub bytes: u32,
    /// Time that its owner spent on it, in microseconds; less than none is none.
    pub work_us: f32,
    /// How many such uses this one stands for; one that is not a number above 0 counts for nothing.
    pub weight: f32,
}

/// One of several objects that were used together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Used {
    /// Its digest.
    pub object: u64,
    /// The key recorded for it.
    pub key: ShardKey,
}

/// Rates a second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// Reads.
    pub reads: f64,
    /// Changes that were committed.
    pub writes: f64,
    /// Writes that met another version.
    pub conflicts: f64,
    /// Actions that were run again.
    pub reconciles: f64,
    /// Bytes read and written.
    pub bytes: f64,
    /// Work, in microseconds of an owner's time: 1,000,000 keep one owner busy.
    pub work: f64,
}

/// What is known of the use of the host's objects.
#[derive(Debug, Clone)]
pub struct Heat {
    settings: Settings,
    decay: Decay,
    total: Sums,
    clients: Table<ClientRow>,
    types: Table<TypeRow>,
    windows: Table<WindowRow>,
    objects: Table<ObjectRow>,
    pairs: Table<PairRow>,
    recent: Ring<Sample>,
    recent_pairs: Ring<PairSample>,
    pair_draws: u64,
}

impl Heat {
    /// A heat that knows nothing yet. `now_ms` counts from anywhere, the same for every call.
    pub fn new(settings: Settings, now_ms: u64) -> Self {
        let seed = mixed(settings.seed);
        let span_ms = f64::from(settings.half_life_ms.max(1)) * SPAN_HALF_LIVES;
        Self {
            settings,
            decay: Decay::new(settings.half_life_ms, now_ms),
            total: Sums::default(),
            clients: Table::new(HEAT_CLIENTS, seed),
            types: Table::new(HEAT_TYPES, seed),
            windows: Table::new(HEAT_WINDOWS, seed),
            objects: Table::new(HEAT_OBJECTS, seed),
            pairs: Table::new(HEAT_PAIRS, seed),
            recent: Ring::new(HEAT_SAMPLES, span_ms, seed, now_ms),
            recent_pairs: Ring::new(HEAT_PAIR_SAMPLES, span_ms, seed ^ 1, now_ms),
            pair_draws: seed,
        }
    }

    /// An object was used. A time before one that was told earlier counts as that one.
    pub fn touch(&mut self, now_ms: u64, touch: &Touch<'_>) {
        if !counts(touch.weight) {
            return;
        }
        let now_ms = self.advance(now_ms);
        let weight = f64::from(touch.weight) * self.decay.scale();
        let work_us = if touch.work_us.is_nan() { 0.0 } else { touch.work_us.clamp(0.0, WORK_US_MAX) };
        let touch = &Touch { work_us, ..*touch };
        let sums = Sums::of(touch, weight);
        self.total.add(&sums);
        let [client, kind, window] = self.digests(touch.client, touch.data_type, touch.timestamp_ms);
        let caller = mixed(touch.caller ^ self.settings.seed);

        let row = self.clients.count(client, weight, || ClientRow::new(touch.client));
        row.sums.add(&sums);
        if touch.caller != 0 {
            row.callers.mark(now_ms, caller);
        }
        row.last_ms = now_ms;
        row.saw(touch.object, touch.key);
        self.types.count(kind, weight, || TypeRow::new(touch.client, touch.data_type)).sums.add(&sums);
        self.windows.count(window, weight, WindowRow::default).uses += weight;
        let row = self.objects.count(touch.object, weight, || ObjectRow::new(touch.object));
        row.key = touch.key;
        if row.name.is_none() {
            row.name = touch.name.cloned();
        }
        row.sums.add(&sums);
        if touch.caller != 0 {
            row.callers.mark(now_ms, caller);
        }

        self.recent.offer(now_ms, f64::from(touch.weight), |uses| Sample {
            key: touch.key,
            object: touch.object,
            client,
            caller: caller as u32,
            kind: touch.kind,
            uses: uses as f32,
            bytes: (uses * f64::from(touch.bytes)) as f32,
            work_us: (uses * f64::from(touch.work_us)) as f32,
        });
    }

    /// Objects were used together, in one transaction or trace; `weight` times. Each use is to be told by [`Heat::touch`]
    /// as well. Where they make more pairs than are counted, a part of the pairs stands for all.
    pub fn together(&mut self, now_ms: u64, weight: f32, used: &[Used]) {
        let count = used.len();
        if count < 2 || !counts(weight) {
            return;
        }
        let now_ms = self.advance(now_ms);
        // Each object is used once and in count - 1 pairs: those together stand for its one use.
        let pairs = count * (count - 1) / 2;
        let uses = f64::from(weight) / (count - 1) as f64;
        if pairs <= HEAT_PAIRS_PER_USE {
            for (index, one) in used.iter().enumerate() {
                used[index + 1..].iter().for_each(|other| self.pair(now_ms, uses, one, other));
            }
            return;
        }
        let uses = uses * pairs as f64 / HEAT_PAIRS_PER_USE as f64;
        for _ in 0..HEAT_PAIRS_PER_USE {
            self.pair_draws = self.pair_draws.wrapping_add(1);
            let draw = mixed(self.pair_draws) as usize;
            let one = draw % count;
            let other = (one + 1 + (draw >> 32) % (count - 1)) % count;
            self.pair(now_ms, uses, &used[one], &used[other]);
        }
    }

    fn pair(&mut self, now_ms: u64, uses: f64, one: &Used, other: &Used) {
        if one.object == other.object {
            return;
        }
        let (low, high) = if one.object < other.object { (one, other) } else { (other, one) };
        let pair = Pair { objects: [low.object, high.object], keys: [low.key, high.key] };
        let weight = uses * self.decay.scale();
        let row = self.pairs.count(mixed(low.object) ^ high.object, weight, || PairRow { pair, uses: 0.0 });
        row.pair = pair;
        row.uses += weight;
        self.recent_pairs.offer(now_ms, uses, |uses| PairSample { keys: pair.keys, uses: uses as f32 });
    }

    /// What a shard-key policy is told of an object of this client, type and time: see `wit/policy.wit`. All zero where
    /// nothing at all is known, but for `idle_ms`, which is then all ones; shards beyond
    /// [`HEAT_KEYS_PER_CLIENT`](ostrakon_wire::bounds::HEAT_KEYS_PER_CLIENT) are not told apart.
    pub fn for_policy(&self, now_ms: u64, client: &str, data_type: &str, timestamp_ms: u64, map: &ShardMap) -> Told {
        let [client, kind, window] = self.digests(client, data_type, timestamp_ms);
        let Some(row) = self.clients.find(client) else {
            return Told { idle_ms: u64::MAX, ..Told::default() };
        };
        let now_ms = now_ms.max(self.decay.now_ms());
        let total = self.total.uses();
        Told {
            client_ppm: ppm(row.sums.uses(), total),
            type_ppm: ppm(self.types.find(kind).map_or(0.0, |row| row.sums.uses()), total),
            window_ppm: ppm(self.windows.find(window).map_or(0.0, |row| row.uses), total),
            write_ppm: ppm(row.sums.changes(), row.sums.uses()),
            callers: row.callers.count(now_ms),
            idle_ms: now_ms - row.last_ms,
            shards: shards::shards_of(row, map),
        }
    }

    /// Time passes. Once in 64 half lives this looks at everything.
    fn advance(&mut self, now_ms: u64) -> u64 {
        if let Some(factor) = self.decay.advance(now_ms) {
            self.total.scale(factor);
            self.clients.scale(factor);
            self.types.scale(factor);
            self.windows.scale(factor);
            self.objects.scale(factor);
            self.pairs.scale(factor);
        }
        self.decay.now_ms()
    }

    /// The keys of a client, a type of it and a window of that.
    fn digests(&self, client: &str, data_type: &str, timestamp_ms: u64) -> [u64; 3] {
        let client = xxh3_64_with_seed(client.as_bytes(), self.settings.seed);
        let kind = xxh3_64_with_seed(data_type.as_bytes(), client);
        [client, kind, mixed(kind ^ (timestamp_ms / self.settings.window_ms.max(1)))]
    }
}

/// Whether a use of this weight is one.
fn counts(weight: f32) -> bool {
    weight.is_finite() && weight > 0.0
}

/// A share in millionths.
fn ppm(part: f64, whole: f64) -> u32 {
    if part > 0.0 && whole > 0.0 { (part / whole * 1e6).round().min(1e6) as u32 } else { 0 }
}

/// Every bit of the answer depends on every bit of the number (the finalizer of SplitMix64).
fn mixed(number: u64) -> u64 {
    let number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}
