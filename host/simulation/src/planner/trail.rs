//! A real account's calls, as CloudTrail has them, for many accounts that are made of it.

use std::collections::BTreeMap;

use ostrakon_cloudtrail::{Event, Options, map};
use xxhash_rust::xxh3::xxh3_64;

/// Parts of the trace, with as many calls each.
const PARTS: usize = 16;

/// What an account's objects are, and how often each is used in which part of the trace.
///
/// Calls that name no object are left out. The calls are taken in their order, at an even pace: nights and idle weeks are
/// not in it.
#[derive(Debug, Clone)]
pub struct Trail {
    pub(super) objects: Vec<Traced>,
    pub(super) types: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Traced {
    /// Its type, by the order of their names.
    pub data_type: u64,
    /// The digest of its name.
    pub name: u64,
    /// The share of the account's calls in each part, in the mean 1 over an account.
    used: [f64; PARTS],
}

impl Trail {
    /// The objects of all accounts in the trace, taken as one. `None` where no call names one.
    pub fn of(events: &[Event]) -> Option<Self> {
        let plays: Vec<_> = events.iter().map(|event| map(event, &Options::default())).collect();
        let named: Vec<_> = plays.iter().filter_map(|play| play.object()).collect();
        let mut objects: BTreeMap<(&str, &str), [f64; PARTS]> = BTreeMap::new();
        for (place, object) in named.iter().enumerate() {
            let used = objects.entry((&object.data_type, &object.name)).or_default();
            used[place * PARTS / named.len()] += PARTS as f64 / named.len() as f64;
        }
        let mut types: Vec<&str> = objects.keys().map(|(data_type, _)| *data_type).collect();
        types.dedup();
        let traced = |((data_type, name), used): (&(&str, &str), &[f64; PARTS])| Traced {
            data_type: types.binary_search(data_type).unwrap_or_default() as u64,
            name: xxh3_64(name.as_bytes()),
            used: *used,
        };
        let objects: Vec<Traced> = objects.iter().map(traced).collect();
        (!objects.is_empty()).then_some(Self { objects, types: types.len() as u64 })
    }
}

impl Traced {
    /// How much it is used at a place of the trace, from 0 to 1 and around again.
    pub(super) fn used(&self, place: f64) -> f64 {
        let at = place.rem_euclid(1.0) * PARTS as f64;
        let (part, on) = (at as usize % PARTS, at.fract());
        self.used[part] * (1.0 - on) + self.used[(part + 1) % PARTS] * on
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_account_does_more_or_less_than_its_calls() {
        let trail = Trail::of(&ostrakon_cloudtrail::sample(1, 500)).unwrap();
        let all: f64 = trail.objects.iter().flat_map(|object| object.used).sum();
        assert!((all / PARTS as f64 - 1.0).abs() < 1e-9, "{all}");
        assert!(trail.objects.len() > 10 && trail.types > 1);
    }
}
