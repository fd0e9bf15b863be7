//! Pearson's chi-squared: could counts that differ so much be drawn from equal chances?

/// The statistic of counts that are expected to be equal.
pub(crate) fn statistic(counts: &[u64]) -> f64 {
    let expected = counts.iter().sum::<u64>() as f64 / counts.len() as f64;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

/// The chance of a statistic at least as large, with so many degrees of freedom.
///
/// By the recurrence Q(x, k + 2) = Q(x, k) + (x/2)^(k/2) e^(-x/2) / Γ(k/2 + 1), from Q(x, 1) = erfc(√(x/2)) or
/// Q(x, 2) = e^(-x/2).
pub(crate) fn chance_of(statistic: f64, degrees: u32) -> f64 {
    let half = statistic / 2.0;
    let odd = !degrees.is_multiple_of(2);
    let mut chance = if odd { 1.0 - erf(half.sqrt()) } else { (-half).exp() };
    // (x/2)^(k/2) e^(-x/2) / Γ(k/2 + 1), for k = 1 or 2.
    let mut term = if odd { 2.0 * (half / std::f64::consts::PI).sqrt() * (-half).exp() } else { half * (-half).exp() };
    let mut k = if odd { 1 } else { 2 };
    while k + 2 <= degrees {
        chance += term;
        k += 2;
        term *= half / (f64::from(k) / 2.0);
    }
    chance.clamp(0.0, 1.0)
}

/// By the series 2/√π e^(-z²) Σ 2ⁿ z^(2n+1) / (1·3·…·(2n+1)), all of whose terms are positive.
fn erf(z: f64) -> f64 {
    if z > 6.0 {
        // Closer to one than a number can be.
        return 1.0;
    }
    let (mut term, mut sum, mut n) = (z, z, 0.0);
    while term > sum * f64::EPSILON {
        n += 1.0;
        term *= 2.0 * z * z / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-z * z).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(statistic: f64, degrees: u32, chance: f64) {
        let found = chance_of(statistic, degrees);
        assert!((found - chance).abs() < chance * 1e-3, "Q({statistic}, {degrees}) = {found}, not {chance}");
    }

    #[test]
    fn a_chance_is_another_than_the_tables_have() {
        check(3.841, 1, 0.05);
        check(10.828, 1, 0.001);
        check(5.991, 2, 0.05);
        check(13.816, 2, 0.001);
        check(7.815, 3, 0.05);
        check(24.996, 15, 0.05);
        check(37.697, 15, 0.001);
        check(32.000, 16, 0.01);
        assert!(chance_of(0.0, 15) > 0.999_999 && chance_of(5_000.0, 15) < 1e-12);
    }

    #[test]
    fn equal_counts_differ() {
        assert!(statistic(&[7; 16]).abs() < 1e-12);
        assert!((statistic(&[10, 20, 30]) - 10.0).abs() < 1e-12);
    }
}
