//! The heavy hitters among more keys than can be counted: space-saving, in sets of eight.
//!
//! A key that is not there takes the place of the least one of its set and inherits its count, so a count is never less
//! than the truth, and what is used much cannot be driven out by any number of keys that are used once. The set is found
//! from the key and a seed, as in a processor's cache: a use looks at one set and at nothing else.

/// Keys of a set.
const WAYS: usize = 8;
/// What counts less than this is forgotten when the landmark moves.
const COUNT_MIN: f64 = 1e-6;

/// What a table keeps for a key, and how it fades.
pub(super) trait Row {
    /// Multiplies every sum in it.
    fn scale(&mut self, factor: f64);
}

#[derive(Debug, Clone, Default)]
struct Set {
    /// 0 where there is none.
    keys: [u64; WAYS],
    counts: [f64; WAYS],
}

/// At most a fixed number of keys, each with a count and a row.
#[derive(Debug, Clone)]
pub(super) struct Table<R> {
    seed: u64,
    sets: Vec<Set>,
    rows: Vec<Option<R>>,
}

impl<R: Row> Table<R> {
    /// The bytes of a table of so many keys, without what its rows point to.
    pub(super) const fn bytes(keys: usize) -> usize {
        keys / WAYS * size_of::<Set>() + keys * size_of::<Option<R>>()
    }

    pub(super) fn new(keys: usize, seed: u64) -> Self {
        let sets = vec![Set::default(); (keys / WAYS).next_power_of_two()];
        let mut rows = Vec::new();
        rows.resize_with(sets.len() * WAYS, || None);
        Self { seed, sets, rows }
    }

    fn set_of(&self, key: u64) -> usize {
        super::mixed(key ^ self.seed) as usize & (self.sets.len() - 1)
    }

    /// Counts a use of a key, and answers its row, which is made where the key is new.
    pub(super) fn count(&mut self, key: u64, weight: f64, make: impl FnOnce() -> R) -> &mut R {
        let key = key.max(1);
        let index = self.set_of(key);
        let set = &mut self.sets[index];
        let known = set.keys.iter().position(|one| *one == key);
        let way = known.unwrap_or_else(|| least(&set.counts));
        set.counts[way] += weight;
        let row = &mut self.rows[index * WAYS + way];
        if known.is_none() {
            set.keys[way] = key;
            *row = None;
        }
        row.get_or_insert_with(make)
    }

    /// The row of a key.
    pub(super) fn find(&self, key: u64) -> Option<&R> {
        let key = key.max(1);
        let index = self.set_of(key);
        let way = self.sets[index].keys.iter().position(|one| *one == key)?;
        self.rows[index * WAYS + way].as_ref()
    }

    /// Every key that has a row.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, &R)> {
        let keys = self.sets.iter().flat_map(|set| set.keys);
        keys.zip(&self.rows).filter_map(|(key, row)| Some((key, row.as_ref()?)))
    }

    /// Multiplies every sum, and forgets what has faded.
    pub(super) fn scale(&mut self, factor: f64) {
        for (set, rows) in self.sets.iter_mut().zip(self.rows.chunks_mut(WAYS)) {
            for (way, row) in rows.iter_mut().enumerate() {
                set.counts[way] *= factor;
                if set.counts[way] < COUNT_MIN {
                    (set.keys[way], set.counts[way], *row) = (0, 0.0, None);
                } else if let Some(row) = row {
                    row.scale(factor);
                }
            }
        }
    }
}

fn least(counts: &[f64; WAYS]) -> usize {
    (1..WAYS).fold(0, |least, way| if counts[way] < counts[least] { way } else { least })
}
