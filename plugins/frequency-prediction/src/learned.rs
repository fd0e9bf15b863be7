//! What was learned: how many writes came in, on a mean, that nothing foretold, object by object.
//!
//! A table of fixed size; an object that falls on another's place takes it. As state: a tag, then 12 bytes for each place
//! that is taken: scope (8, little-endian), mean (4, the bits of a float, little-endian).

use ostrakon_policy_sdk::Invalid;
use ostrakon_policy_sdk::learning::Outcome;

const TAG: u8 = 1;
const PLACES: usize = 256;
const ENTRY_BYTES: usize = 12;
/// How much of what a batch shows is believed at once.
const WEIGHT: f64 = 0.5;
/// A mean that is nearer to nothing is taken for nothing.
const MEAN_MIN: f64 = 0.05;
/// No forecast is corrected by more versions than that.
const MEAN_MAX: f64 = 1e6;

/// The table; none as long as nothing was learned.
#[derive(Debug, Clone)]
pub(crate) struct Learned(Vec<Option<(u64, f32)>>);

fn place_of(scope: u64) -> usize {
    (scope % PLACES as u64) as usize
}

impl Learned {
    /// Reads a state; an empty one knows nothing.
    pub(crate) fn parse(state: &[u8]) -> Result<Self, Invalid> {
        let Some((tag, entries)) = state.split_first() else { return Ok(Self(Vec::new())) };
        let mut table = vec![None; PLACES];
        let invalid = |what: &str| Invalid::new("state", what);
        if *tag != TAG {
            return Err(invalid("it was written by another policy"));
        }
        let (entries, []) = entries.as_chunks::<ENTRY_BYTES>() else { return Err(invalid("it is cut off")) };
        for entry in entries {
            let ([s0, s1, s2, s3, s4, s5, s6, s7, m0, m1, m2, m3], mean_max) = (*entry, MEAN_MAX as f32);
            let scope = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
            let mean = f32::from_le_bytes([m0, m1, m2, m3]);
            if !(-mean_max..=mean_max).contains(&mean) {
                return Err(invalid("it holds a mean that cannot be"));
            }
            table[place_of(scope)] = Some((scope, mean));
        }
        Ok(Self(table))
    }

    pub(crate) fn state(&self) -> Vec<u8> {
        let taken = self.0.iter().flatten();
        let entries = taken.flat_map(|(scope, mean)| scope.to_le_bytes().into_iter().chain(mean.to_le_bytes()));
        [TAG].into_iter().chain(entries).collect()
    }

    /// Writes to this object that are not foretold, on a mean.
    pub(crate) fn unforeseen(&self, scope: u64) -> Option<f64> {
        let (of, mean) = (*self.0.get(place_of(scope))?)?;
        (of == scope).then_some(f64::from(mean))
    }

    /// Corrects the means by how far forecasts were off.
    pub(crate) fn learn(&mut self, outcomes: &[Outcome]) {
        // The outcomes of a batch were all foretold with the same mean: they count as one.
        let mut errors: Vec<(u64, f64, f64)> = Vec::new();
        for outcome in outcomes {
            let error = outcome.met as f64 - outcome.predicted as f64;
            let error = error.clamp(-MEAN_MAX, MEAN_MAX);
            if let Some((_, sum, count)) = errors.iter_mut().find(|(scope, ..)| *scope == outcome.scope) {
                *sum += error;
                *count += 1.0;
            } else if errors.len() < PLACES {
                errors.push((outcome.scope, error, 1.0));
            }
        }
        self.0.resize(PLACES, None);
        for (scope, sum, count) in errors {
            let before = self.unforeseen(scope);
            let mean = (before.unwrap_or(0.0) + WEIGHT * sum / count).clamp(-MEAN_MAX, MEAN_MAX);
            let place = &mut self.0[place_of(scope)];
            // Where nothing unforeseen comes in there is nothing to know, and no reason to take another's place.
            match (mean.abs() < MEAN_MIN, before) {
                (false, _) => *place = Some((scope, mean as f32)),
                (true, Some(_)) => *place = None,
                (true, None) => {}
            }
        }
    }
}
