//! How many different callers: counted in a bitmap that ages, or estimated from a sample.

/// Callers are counted over this and the epoch before it, so over one to two of them.
pub(super) const EPOCH_MS: u64 = 30_000;
/// Words of a bitmap: 1,024 bits tell 4,096 callers, as many as there may be connections, to about one in twenty, and few
/// exactly. Beyond 7,000 it says 7,000.
const WORDS: usize = 16;

/// The callers of one client or object: one bit each, by hash, in two epochs that take turns.
#[derive(Debug, Clone, Default)]
pub(super) struct Callers {
    epoch: u64,
    bits: [[u64; WORDS]; 2],
}

impl Callers {
    /// Marks the caller with this hash.
    pub(super) fn mark(&mut self, now_ms: u64, hash: u64) {
        let epoch = now_ms / EPOCH_MS;
        if epoch > self.epoch {
            if epoch > self.epoch + 1 {
                self.bits = Default::default();
            }
            self.bits[(epoch & 1) as usize] = Default::default();
            self.epoch = epoch;
        }
        let bit = hash as usize % (WORDS * 64);
        self.bits[(self.epoch & 1) as usize][bit / 64] |= 1 << (bit % 64);
    }

    /// How many there were, by linear counting.
    pub(super) fn count(&self, now_ms: u64) -> u32 {
        let turn = (self.epoch & 1) as usize;
        let before = match (now_ms / EPOCH_MS).saturating_sub(self.epoch) {
            0 => &self.bits[1 - turn],
            1 => &self.bits[turn],
            _ => return 0,
        };
        let marked: u32 = self.bits[turn].iter().zip(before).map(|(one, other)| (one | other).count_ones()).sum();
        let bits = (WORDS * 64) as f64;
        let clear = (bits - f64::from(marked)).max(0.5);
        (bits * (bits / clear).ln()).round() as u32
    }
}

/// How many callers there were where `sampled` holds those of a sample, in any order: Chao's estimate, which takes from how
/// many were seen once and twice how many were not seen at all. Too low where hardly any was seen twice.
pub(super) fn estimated(sampled: &mut [u32]) -> u32 {
    sampled.sort_unstable();
    let (mut seen, mut once, mut twice) = (0.0, 0.0, 0.0);
    for same in sampled.chunk_by(|one, other| one == other) {
        seen += 1.0;
        match same.len() {
            1 => once += 1.0,
            2 => twice += 1.0,
            _ => {}
        }
    }
    let unseen: f64 = once * (once - 1.0) / (2.0 * (twice + 1.0));
    (seen + unseen.max(0.0)).round() as u32
}
