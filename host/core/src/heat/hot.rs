//! The hottest clients, data types, objects and pairs of the host.

use ostrakon_wire::{ObjectId, ShardKey};

use super::{Heat, Rates};

/// A client and how much its objects are used.
#[derive(Debug, Clone, PartialEq)]
pub struct HotClient {
    /// Its id.
    pub client: Box<str>,
    /// Rates a second.
    pub rates: Rates,
    /// Its part of all the uses of the host, from 0 to 1.
    pub share: f64,
    /// Different connections that used its objects in the last half to whole minute.
    pub callers: u32,
}

/// A data type of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct HotType {
    /// Whose.
    pub client: Box<str>,
    /// Which.
    pub data_type: Box<str>,
    /// Rates a second.
    pub rates: Rates,
    /// Its part of all the uses of the host, from 0 to 1.
    pub share: f64,
}

/// An object.
#[derive(Debug, Clone, PartialEq)]
pub struct HotObject {
    /// Its digest.
    pub object: u64,
    /// What it is called, where that was told.
    pub name: Option<ObjectId>,
    /// The key that it had when it was used last.
    pub key: ShardKey,
    /// Rates a second.
    pub rates: Rates,
    /// Its part of all the uses of the host, from 0 to 1.
    pub share: f64,
    /// Different connections that used it in the last half to whole minute.
    pub callers: u32,
}

/// Two objects that are used together.
#[derive(Debug, Clone, PartialEq)]
pub struct HotPair {
    /// Their digests.
    pub objects: [u64; 2],
    /// What they are called, where they are hot themselves and it was told.
    pub names: [Option<ObjectId>; 2],
    /// The keys that they had last.
    pub keys: [ShardKey; 2],
    /// How often a second. A use of many objects counts for each of its pairs in part: one divided by the number of the others.
    pub per_s: f64,
}

impl Heat {
    /// The rates of the whole host.
    pub fn rates(&self, now_ms: u64) -> Rates {
        self.total.rates(self.decay.per_s(now_ms))
    }

    /// The `count` hottest clients, the hottest first.
    pub fn hot_clients(&self, now_ms: u64, count: usize) -> Vec<HotClient> {
        let (per_s, whole) = (self.decay.per_s(now_ms), self.total.uses());
        let rows = hottest(self.clients.iter().map(|(_, row)| (row.sums.uses(), row)), count);
        let told = rows.into_iter().map(|(uses, row)| HotClient {
            client: row.client.clone(),
            rates: row.sums.rates(per_s),
            share: uses / whole,
            callers: row.callers.count(now_ms.max(self.decay.now_ms())),
        });
        told.collect()
    }

    /// The `count` hottest data types.
    pub fn hot_types(&self, now_ms: u64, count: usize) -> Vec<HotType> {
        let (per_s, whole) = (self.decay.per_s(now_ms), self.total.uses());
        let rows = hottest(self.types.iter().map(|(_, row)| (row.sums.uses(), row)), count);
        let told = rows.into_iter().map(|(uses, row)| {
            let (client, data_type) = row.names();
            let (client, data_type) = (client.into(), data_type.into());
            HotType { client, data_type, rates: row.sums.rates(per_s), share: uses / whole }
        });
        told.collect()
    }

    /// The `count` hottest objects.
    pub fn hot_objects(&self, now_ms: u64, count: usize) -> Vec<HotObject> {
        let (per_s, whole) = (self.decay.per_s(now_ms), self.total.uses());
        let rows = hottest(self.objects.iter().map(|(_, row)| (row.sums.uses(), row)), count);
        let told = rows.into_iter().map(|(uses, row)| HotObject {
            object: row.object,
            name: row.name.clone(),
            key: row.key,
            rates: row.sums.rates(per_s),
            share: uses / whole,
            callers: row.callers.count(now_ms.max(self.decay.now_ms())),
        });
        told.collect()
    }

    /// The `count` pairs of objects that are used together the most.
    pub fn hot_pairs(&self, now_ms: u64, count: usize) -> Vec<HotPair> {
        let per_s = self.decay.per_s(now_ms);
        let name = |object: u64| self.objects.find(object).and_then(|row| row.name.clone());
        let rows = hottest(self.pairs.iter().map(|(_, row)| (row.uses, row)), count);
        let told = rows.into_iter().map(|(uses, row)| HotPair {
            objects: row.pair.objects,
            names: row.pair.objects.map(name),
            keys: row.pair.keys,
            per_s: uses * per_s,
        });
        told.collect()
    }
}

/// The `count` rows with the most uses, the most first.
fn hottest<R>(rows: impl Iterator<Item = (f64, R)>, count: usize) -> Vec<(f64, R)> {
    let mut rows: Vec<_> = rows.filter(|(uses, _)| *uses > 0.0).collect();
    rows.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    rows.truncate(count);
    rows
}
