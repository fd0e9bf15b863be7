//! The last uses, thinned so that a fixed number of them reaches back far enough.
//!
//! At every rate about as many are taken as the ring holds in its span: one is taken with a chance in proportion to its
//! weight, and then stands for those that were not. So every sum over any part of the ring is right on average.

/// So many taken, or so long, and the rate is looked at again.
const LOOK_TAKEN: usize = 1_024;
const LOOK_MS: u64 = 250;
/// A burst is taken to last at least so long.
const BURST_MS: f64 = 10.0;

#[derive(Debug, Clone)]
pub(super) struct Ring<T> {
    items: Vec<(u64, T)>,
    next: usize,
    items_max: usize,
    span_ms: f64,
    started_ms: u64,
    /// The weight that an item stands for at least.
    stride: f64,
    draws: u64,
    looked_ms: u64,
    offered: f64,
    taken: usize,
}

impl<T> Ring<T> {
    /// The bytes of a ring of so many.
    pub(super) const fn bytes(items: usize) -> usize {
        items * size_of::<(u64, T)>()
    }

    pub(super) fn new(items_max: usize, span_ms: f64, seed: u64, now_ms: u64) -> Self {
        let items = Vec::with_capacity(items_max);
        let (started_ms, looked_ms, stride, draws) = (now_ms, now_ms, 0.0, seed);
        Self { items, next: 0, items_max, span_ms, started_ms, stride, draws, looked_ms, offered: 0.0, taken: 0 }
    }

    /// Offers something of this weight; `make` makes it of the weight that it will stand for.
    pub(super) fn offer(&mut self, now_ms: u64, weight: f64, make: impl FnOnce(f64) -> T) {
        self.offered += weight;
        if now_ms - self.looked_ms >= LOOK_MS || self.taken >= LOOK_TAKEN {
            self.look(now_ms);
        }
        if weight < self.stride && self.draw() * self.stride >= weight {
            return;
        }
        self.taken += 1;
        let item = (now_ms, make(weight.max(self.stride)));
        if self.items.len() < self.items_max {
            self.items.push(item);
        } else {
            self.items[self.next] = item;
            self.next = (self.next + 1) % self.items_max;
        }
    }

    /// Raises the stride at once when more comes, and lowers it step by step.
    fn look(&mut self, now_ms: u64) {
        let rate = self.offered / ((now_ms - self.looked_ms) as f64).max(BURST_MS);
        let span_ms = self.span_ms.min((now_ms - self.started_ms) as f64);
        let stride = rate * span_ms / self.items_max as f64;
        self.stride = stride.max((self.stride + stride) / 2.0);
        (self.looked_ms, self.offered, self.taken) = (now_ms, 0.0, 0);
    }

    /// A number from 0 to 1.
    fn draw(&mut self) -> f64 {
        self.draws = self.draws.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (super::mixed(self.draws) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// What is in it, the oldest first, each with its time.
    pub(super) fn iter(&self) -> impl Iterator<Item = &(u64, T)> {
        let (newer, older) = self.items.split_at(self.next);
        older.iter().chain(newer)
    }

    /// How far back it reaches.
    pub(super) fn reach_ms(&self, now_ms: u64) -> u64 {
        let full = self.items.len() == self.items_max;
        let since = if full { self.items[self.next].0 } else { self.started_ms };
        now_ms.saturating_sub(since)
    }
}
