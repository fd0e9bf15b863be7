//! Cases take turns, round after round, so that what disturbs the machine for a while disturbs all of them.

/// Runs every case once a round; answers the outcomes of each case, in the cases' order.
pub(crate) fn alternate<C, R>(
    cases: &[C],
    rounds: u16,
    mut run: impl FnMut(&C) -> anyhow::Result<R>,
) -> anyhow::Result<Vec<Vec<R>>> {
    let mut outcomes: Vec<Vec<R>> = cases.iter().map(|_| Vec::with_capacity(rounds.into())).collect();
    for _ in 0..rounds {
        for (case, outcomes) in cases.iter().zip(&mut outcomes) {
            outcomes.push(run(case)?);
        }
    }
    Ok(outcomes)
}

/// The median of one figure over the rounds of a case; the lower of the two middle ones where they are even in number.
pub(crate) fn median<R>(outcomes: &[R], figure: impl Fn(&R) -> u64) -> u64 {
    let mut figures: Vec<u64> = outcomes.iter().map(figure).collect();
    figures.sort_unstable();
    figures[(figures.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_do_not_take_turns() {
        let mut order = Vec::new();
        let outcomes = alternate(&['a', 'b'], 2, |case| {
            order.push(*case);
            Ok(order.len())
        });
        assert_eq!(order, ['a', 'b', 'a', 'b']);
        assert_eq!(outcomes.expect("no round fails"), [[1, 3], [2, 4]]);
    }

    #[test]
    fn median_is_not_a_measured_figure() {
        for (figures, expected) in [(vec![7], 7), (vec![9, 1, 5], 5), (vec![4, 1, 3, 2], 2)] {
            assert_eq!(median(&figures, |figure| *figure), expected, "{figures:?}");
        }
    }
}
