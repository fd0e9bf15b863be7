//! How even the owners were, round by round.

/// Each hot object: who has it, and what it does.
pub(super) type Hot = (usize, f64);

/// The fullest live owner against the best possible.
///
/// Without hot objects that is the mean of what live owners have. Where one object is more than an owner's part of what is
/// left, the best possible is that its owner does nothing else and the others share the rest evenly: then that owner is left
/// out, and the fullest of the others is held against that even share.
pub(super) fn imbalance(owned: &[f64], up: &[bool], hot: &[Hot]) -> f64 {
    let live = || (0..owned.len()).filter(|owner| up[*owner]);
    let (mut total, mut count): (f64, usize) = (live().map(|owner| owned[owner]).sum(), live().count());
    let mut left_out = Vec::new();
    for &(owner, work) in hot {
        if count > 1 && work > total / count as f64 {
            (total, count) = (total - work, count - 1);
            left_out.push(owner);
        }
    }
    let most = live().filter(|owner| !left_out.contains(owner)).map(|owner| owned[owner]).fold(0.0, f64::max);
    most / (total / count as f64)
}

/// The items that are more than an owner's part of what is left without the larger ones, the largest first.
pub(super) fn large(work: &[f64], up: &[bool]) -> Vec<usize> {
    let (mut total, mut count): (f64, usize) = (work.iter().sum(), up.iter().filter(|up| **up).count());
    let mut large: Vec<usize> = (0..work.len()).filter(|item| work[*item] * count as f64 > total).collect();
    large.sort_by(|one, other| work[*other].total_cmp(&work[*one]));
    let over = |item: &usize| {
        let over = count > 1 && work[*item] * count as f64 > total;
        (total, count) = (total - work[*item], count.saturating_sub(1));
        over
    };
    let kept = large.iter().copied().take_while(over).count();
    large.truncate(kept);
    large
}

/// How many times the work of its hot object an owner has, at most.
pub(super) fn beside(owned: &[f64], hot: &[Hot]) -> Option<f64> {
    hot.iter().map(|(owner, work)| owned[*owner] / work).reduce(f64::max)
}

/// What was measured over the rounds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Measured {
    /// The middle one of all rounds.
    pub p50: f64,
    /// Ninety-nine of a hundred rounds were no worse.
    pub p99: f64,
}

impl Measured {
    pub(super) fn of(mut rounds: Vec<f64>) -> Self {
        rounds.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let last = rounds.len().saturating_sub(1);
            rounds.get((last as f64 * share).round() as usize).copied().unwrap_or_default()
        };
        Self { p50: at(0.5), p99: at(0.99) }
    }
}
