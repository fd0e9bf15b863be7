//! What is summed up for a client, a data type, a window, an object and a pair.

use ostrakon_wire::bounds::HEAT_KEYS_PER_CLIENT;
use ostrakon_wire::{ObjectId, ShardKey};

use super::callers::Callers;
use super::table::Row;
use super::{Rates, Touch, TouchKind};

/// Fading sums of uses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    kinds: [f64; 4],
    bytes: f64,
    work_us: f64,
}

impl Sums {
    /// One use that counts `weight` times.
    pub(super) fn of(touch: &Touch<'_>, weight: f64) -> Self {
        Self::part(touch.kind, f64::from(touch.bytes) * weight, f64::from(touch.work_us) * weight, weight)
    }

    /// `weight` uses of one kind, and their bytes and work.
    pub(super) fn part(kind: TouchKind, bytes: f64, work_us: f64, weight: f64) -> Self {
        let mut sums = Self { kinds: [0.0; 4], bytes, work_us };
        sums.kinds[kind as usize] = weight;
        sums
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.kinds.iter_mut().zip(other.kinds) {
            *sum += more;
        }
        self.bytes += other.bytes;
        self.work_us += other.work_us;
    }

    pub(super) fn scale(&mut self, factor: f64) {
        self.kinds.iter_mut().for_each(|sum| *sum *= factor);
        self.bytes *= factor;
        self.work_us *= factor;
    }

    pub(super) fn uses(&self) -> f64 {
        self.kinds.iter().sum()
    }

    /// All but the reads.
    pub(super) fn changes(&self) -> f64 {
        self.uses() - self.kinds[TouchKind::Read as usize]
    }

    pub(super) fn rates(&self, per_s: f64) -> Rates {
        let [reads, writes, conflicts, reconciles] = self.kinds.map(|sum| sum * per_s);
        Rates { reads, writes, conflicts, reconciles, bytes: self.bytes * per_s, work: self.work_us * per_s }
    }
}

#[derive(Debug, Clone)]
pub(super) struct ClientRow {
    pub(super) client: Box<str>,
    pub(super) sums: Sums,
    pub(super) callers: Callers,
    pub(super) last_ms: u64,
    keys: [ShardKey; HEAT_KEYS_PER_CLIENT],
    filled: u32,
}

impl ClientRow {
    pub(super) fn new(client: &str) -> Self {
        let (sums, callers, keys) = (Sums::default(), Callers::default(), [ShardKey::new(0); HEAT_KEYS_PER_CLIENT]);
        Self { client: client.into(), sums, callers, last_ms: 0, keys, filled: 0 }
    }

    /// Remembers where an object lies, in the place that its digest gives it: so the places hold objects of the client that
    /// were used lately, each with the key that it had last.
    pub(super) fn saw(&mut self, object: u64, key: ShardKey) {
        let place = super::mixed(object) as usize % HEAT_KEYS_PER_CLIENT;
        self.keys[place] = key;
        self.filled |= 1 << place;
    }

    /// The keys that are remembered, in order.
    pub(super) fn keys(&self) -> ([ShardKey; HEAT_KEYS_PER_CLIENT], usize) {
        let (mut keys, mut count) = ([ShardKey::new(0); HEAT_KEYS_PER_CLIENT], 0);
        for place in 0..HEAT_KEYS_PER_CLIENT {
            if self.filled & 1 << place != 0 {
                keys[count] = self.keys[place];
                count += 1;
            }
        }
        keys[..count].sort_unstable();
        (keys, count)
    }
}

impl Row for ClientRow {
    fn scale(&mut self, factor: f64) {
        self.sums.scale(factor);
    }
}

#[derive(Debug, Clone)]
pub(super) struct TypeRow {
    /// Client and data type, divided by U+0000, which neither holds.
    text: Box<str>,
    pub(super) sums: Sums,
}

impl TypeRow {
    pub(super) fn new(client: &str, data_type: &str) -> Self {
        let mut text = String::with_capacity(client.len() + 1 + data_type.len());
        text.push_str(client);
        text.push('\0');
        text.push_str(data_type);
        Self { text: text.into(), sums: Sums::default() }
    }

    /// Client and data type.
    pub(super) fn names(&self) -> (&str, &str) {
        self.text.split_once('\0').expect("made of two parts")
    }
}

impl Row for TypeRow {
    fn scale(&mut self, factor: f64) {
        self.sums.scale(factor);
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct WindowRow {
    pub(super) uses: f64,
}

impl Row for WindowRow {
    fn scale(&mut self, factor: f64) {
        self.uses *= factor;
    }
}

#[derive(Debug, Clone)]
pub(super) struct ObjectRow {
    pub(super) name: Option<ObjectId>,
    pub(super) object: u64,
    pub(super) key: ShardKey,
    pub(super) sums: Sums,
    pub(super) callers: Callers,
}

impl ObjectRow {
    pub(super) fn new(object: u64) -> Self {
        let (key, sums, callers) = (ShardKey::new(0), Sums::default(), Callers::default());
        Self { name: None, object, key, sums, callers }
    }
}

impl Row for ObjectRow {
    fn scale(&mut self, factor: f64) {
        self.sums.scale(factor);
    }
}

/// Two objects and where they lie, the one of the lower digest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pair {
    pub(super) objects: [u64; 2],
    pub(super) keys: [ShardKey; 2],
}

#[derive(Debug, Clone)]
pub(super) struct PairRow {
    pub(super) pair: Pair,
    pub(super) uses: f64,
}

impl Row for PairRow {
    fn scale(&mut self, factor: f64) {
        self.uses *= factor;
    }
}

/// One use in the ring, as the planner and an operator will be told of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) key: ShardKey,
    pub(super) object: u64,
    pub(super) client: u64,
    pub(super) caller: u32,
    pub(super) kind: TouchKind,
    /// Uses that it stands for, and their bytes and work.
    pub(super) uses: f32,
    pub(super) bytes: f32,
    pub(super) work_us: f32,
}

/// One pair in the ring. `uses`: how many uses of either object it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairSample {
    pub(super) keys: [ShardKey; 2],
    pub(super) uses: f32,
}
