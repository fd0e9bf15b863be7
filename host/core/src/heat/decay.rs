//! Sums that fade: a use counts half as much after every half life.
//!
//! What is added is scaled up with the time since a landmark instead of the sums being scaled down, so nothing but the
//! sum that is added to is touched, and sums compare as they stand. Before the scale grows too large the landmark moves,
//! and every sum is multiplied once.

use std::f64::consts::LN_2;

/// Half lives after which the landmark moves: far from where a sum could overflow.
const HALF_LIVES_MAX: f64 = 64.0;
/// A rate is taken over at least so long: the first use of all is not a thousand a second.
const SPAN_MS_MIN: f64 = 1_000.0;

#[derive(Debug, Clone)]
pub(super) struct Decay {
    half_life_ms: f64,
    started_ms: u64,
    landmark_ms: u64,
    now_ms: u64,
    scale: f64,
}

impl Decay {
    pub(super) fn new(half_life_ms: u32, now_ms: u64) -> Self {
        let half_life_ms = f64::from(half_life_ms.max(1));
        Self { half_life_ms, started_ms: now_ms, landmark_ms: now_ms, now_ms, scale: 1.0 }
    }

    /// Time passes; it never goes back. Answers what every sum must be multiplied with, where that is due.
    pub(super) fn advance(&mut self, now_ms: u64) -> Option<f64> {
        if now_ms <= self.now_ms {
            return None;
        }
        self.now_ms = now_ms;
        let half_lives = (now_ms - self.landmark_ms) as f64 / self.half_life_ms;
        if half_lives <= HALF_LIVES_MAX {
            self.scale = half_lives.exp2();
            return None;
        }
        self.landmark_ms = now_ms;
        self.scale = 1.0;
        Some((-half_lives).exp2())
    }

    /// The latest time it was told, in milliseconds.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// What a use counts now.
    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// What is left of something after so long.
    pub(super) fn left(&self, age_ms: u64) -> f64 {
        (-(age_ms as f64) / self.half_life_ms).exp2()
    }

    /// What to multiply a fading sum over the last `span_ms` with for its rate a second.
    pub(super) fn per_s_over(&self, span_ms: u64) -> f64 {
        let span = (span_ms as f64).max(SPAN_MS_MIN) / self.half_life_ms;
        1_000.0 * LN_2 / (self.half_life_ms * (1.0 - (-span).exp2()))
    }

    /// What to multiply a sum with for its rate a second at `now_ms`.
    pub(super) fn per_s(&self, now_ms: u64) -> f64 {
        let now_ms = now_ms.max(self.now_ms);
        self.left(now_ms - self.landmark_ms) * self.per_s_over(now_ms - self.started_ms)
    }
}
