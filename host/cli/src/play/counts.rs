//! What has come of the plays so far.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ostrakon_client::{Code, Error, ObjectId};
use ostrakon_wire::{Decided, ShardId};

use super::attempt::Outcome;
use super::latency::Latencies;

/// What has come of the plays so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts {
    /// Versions that these plays made: committed changes, deletes among them, that were not repeats.
    pub(crate) versions: u64,
    /// Tries that lost against a version that their connection had not seen.
    pub(crate) conflicts: u64,
    /// Writes that had been done before, under the same action id.
    pub(crate) repeated: u64,
    /// Reads and deletes of what is not there.
    pub(crate) not_found: u64,
    /// Writes whose action id is older than what the host remembers.
    pub(crate) expired: u64,
    /// Events that the host would not do, by code.
    pub(crate) refused: BTreeMap<&'static str, u64>,
    /// Those of them that the host failed at, for a reason of its own.
    pub(crate) failed: u64,
    /// The shards that answers came from.
    pub(crate) shards: BTreeSet<u32>,
    /// Of every read and list.
    pub(crate) reads: Latencies,
    /// Of every try of a write.
    pub(crate) writes: Latencies,
    /// The first refusal of each code, in words.
    pub(crate) warnings: Vec<String>,
}

impl Counts {
    pub(super) fn read_took(&mut self, took: Duration) {
        self.reads.add(took);
    }

    pub(super) fn write_took(&mut self, took: Duration) {
        self.writes.add(took);
    }

    pub(super) fn answered_by(&mut self, shard: Option<ShardId>) {
        self.shards.extend(shard.map(|shard| shard.get()));
    }

    /// The shard that an error came from, where an owner decided.
    pub(super) fn answered_with(&mut self, error: &Error) {
        if let Error::Refused(refused) = error {
            self.answered_by(refused.decided.as_ref().and_then(|decided: &Decided| decided.shard));
        }
    }

    pub(super) fn written(&mut self, outcome: Outcome, object: &ObjectId, answer: Option<&Error>) {
        match outcome {
            Outcome::Made => self.versions += 1,
            Outcome::Repeated => self.repeated += 1,
            Outcome::NotFound => self.not_found += 1,
            Outcome::LostAndGone => {
                self.conflicts += 1;
                self.not_found += 1;
            }
            Outcome::Expired => self.expired += 1,
            Outcome::Refused(code) => self.refuse(code, &format!("{object}: {}", words(answer))),
        }
    }

    pub(super) fn refuse(&mut self, code: Code, particulars: &str) {
        if matches!(code, Code::PolicyFailed | Code::ShardUnavailable) {
            self.failed += 1;
        }
        let count = self.refused.entry(code.name()).or_default();
        *count += 1;
        if *count == 1 {
            self.warnings.push(format!("refused: {particulars}"));
        }
    }
}

fn words(answer: Option<&Error>) -> String {
    answer.map_or_else(|| "it lost too often".into(), Error::to_string)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_that_were_made_now_count_as_versions() {
        let object = ObjectId::new("c", "t", "n").unwrap();
        let mut counts = Counts::default();
        for outcome in [
            Outcome::Made,
            Outcome::Repeated,
            Outcome::NotFound,
            Outcome::LostAndGone,
            Outcome::Expired,
            Outcome::Refused(Code::PayloadTooLarge),
            Outcome::Refused(Code::PayloadTooLarge),
        ] {
            counts.written(outcome, &object, None);
        }
        assert_eq!((counts.versions, counts.repeated, counts.expired), (1, 1, 1));
        assert_eq!((counts.not_found, counts.conflicts), (2, 1));
        assert_eq!(counts.refused.get("payload-too-large"), Some(&2));
        assert_eq!(counts.warnings.len(), 1, "one warning a code");
    }
}
