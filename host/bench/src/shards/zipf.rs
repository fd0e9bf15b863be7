//! Clients of whom few are busy, by Zipf's law, and others later on.

use crate::load::Random;

/// Some of all clients, drawn as often as they are busy.
pub(super) struct Zipf {
    clients: Vec<usize>,
    of: usize,
    exponent: f64,
    /// The sums of the weights up to each client, of the shift that they were made for.
    sums: (usize, Vec<f64>),
}

impl Zipf {
    /// `clients`: numbers below `of`, which is how many there are in all.
    pub(super) fn new(clients: Vec<usize>, of: usize, exponent: f64) -> Self {
        Self { clients, of, exponent, sums: (usize::MAX, Vec::new()) }
    }

    /// How busy these clients are, all together. With each step of `shift` one that was idle becomes the busiest.
    pub(super) fn weight(&self, shift: usize) -> f64 {
        self.clients.iter().map(|client| self.weight_of(*client, shift)).sum()
    }

    fn weight_of(&self, client: usize, shift: usize) -> f64 {
        let rank = (client + shift) % self.of + 1;
        (rank as f64).powf(-self.exponent)
    }

    /// The place of one of these clients.
    pub(super) fn draw(&mut self, shift: usize, random: &mut Random) -> usize {
        if self.sums.0 != shift {
            let mut sum = 0.0;
            let sums = self.clients.iter().map(|client| {
                sum += self.weight_of(*client, shift);
                sum
            });
            self.sums = (shift, sums.collect());
        }
        let sums = &self.sums.1;
        let whole = sums.last().copied().unwrap_or_default();
        let drawn = (random.next() >> 11) as f64 / (1_u64 << 53) as f64 * whole;
        sums.partition_point(|sum| *sum < drawn).min(sums.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is drawn most often, and how often, of a thousand.
    fn check(shift: usize) -> (usize, usize) {
        let (mut zipf, mut random) = (Zipf::new((0..8).collect(), 8, 2.0), Random::seeded(1));
        let mut drawn = [0; 8];
        for _ in 0..1_000 {
            drawn[zipf.draw(shift, &mut random)] += 1;
        }
        (0..8).map(|client| (client, drawn[client])).max_by_key(|(_, times)| *times).expect("there are clients")
    }

    #[test]
    fn the_busiest_is_not_drawn_as_often_as_it_is_busy() {
        for (shift, busiest) in [(0, 0), (1, 7), (2, 6), (8, 0)] {
            let (client, times) = check(shift);
            assert_eq!(client, busiest, "shift {shift}");
            // One of 1 + 1/4 + 1/9 ... 1/64.
            assert!((600..700).contains(&times), "shift {shift}: {times} of 1,000, of which 655 are expected");
        }
    }
}
