//! Probabilities in additions, multiplications, divisions and square roots only.
//!
//! Always holds: the same bits natively and in a component. Those four are exact to the last bit everywhere; a library's
//! `exp` or `ln` is not. Nothing here allocates, and no loop runs more than `TERMS_MAX` times.

/// Beyond this many events a distribution is wide, and the height of its bell serves.
const TERMS_MAX: u64 = 64;

/// e to the power of `-x`, for `x` at least 0.
pub(crate) fn exp_negative(x: f64) -> f64 {
    if x > 700.0 {
        return 0.0;
    }
    // For a thousandth of the exponent a short series is exact to nine digits; squaring ten times undoes it.
    let small = x / 1024.0;
    let mut power = 1.0;
    for term in [6.0, 5.0, 4.0, 3.0, 2.0, 1.0] {
        power = 1.0 + small / term * power;
    }
    for _ in 0..10 {
        power *= power;
    }
    1.0 / power
}

/// The likeliest number of events where `mean` are expected, and its probability (Poisson); `none`: that of none,
/// [`exp_negative`] of the mean.
pub(crate) fn likeliest_events(mean: f64, none: f64) -> (u64, f64) {
    let count = mean as u64;
    if count > TERMS_MAX {
        return (count, bell(mean));
    }
    let mut chance = none;
    for event in 1..=count {
        chance *= mean / event as f64;
    }
    (count, chance)
}

/// The likeliest number of successes among `tries`, each of them a success with probability `one`, and its probability.
pub(crate) fn likeliest_successes(tries: u32, one: f64) -> (u64, f64) {
    let tries = u64::from(tries);
    if one >= 1.0 || tries == 0 {
        return (tries, 1.0);
    }
    let count = ((tries + 1) as f64 * one) as u64;
    if tries > TERMS_MAX {
        let spread = tries as f64 * one * (1.0 - one);
        return (count, if spread < 1.0 { nth_power(1.0 - one, tries) } else { bell(spread) });
    }
    let mut chance = nth_power(one, count) * nth_power(1.0 - one, tries - count);
    for step in 1..=count {
        chance *= (tries - count + step) as f64 / step as f64;
    }
    (count, chance)
}

/// `base` to the power of `exponent`, by squaring.
pub(crate) fn nth_power(mut base: f64, mut exponent: u64) -> f64 {
    let mut power = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            power *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    power
}

/// The height of a normal distribution of this variance.
fn bell(variance: f64) -> f64 {
    1.0 / (std::f64::consts::TAU * variance).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exponential_agrees_with_the_library(x in 0.0..50.0f64) {
            let exact = (-x).exp();
            prop_assert!((exp_negative(x) - exact).abs() <= 1e-9 * exact, "{x}");
        }

        #[test]
        fn a_probability_lies_between_none_and_certain(mean in 0.0..1e18f64, tries: u32, one in 0.0..=1.0f64) {
            for (count, chance) in [likeliest_events(mean, exp_negative(mean)), likeliest_successes(tries, one)] {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&chance), "{count} {chance}");
            }
            prop_assert!(likeliest_successes(tries, one).0 <= u64::from(tries));
        }
    }

    #[test]
    fn a_coin_falls_as_the_book_says() {
        assert_eq!(likeliest_successes(4, 0.5), (2, 0.375));
        let (count, chance) = likeliest_events(2.5, exp_negative(2.5));
        assert_eq!(count, 2);
        assert!((chance - 0.256_515_620_4).abs() < 1e-9, "{chance}");
    }
}
