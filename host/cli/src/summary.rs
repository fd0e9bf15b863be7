//! What came of playing a trace, in numbers, for people and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use ostrakon_cloudtrail::{Play, Tally, tally};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Fields, say};
use crate::play::{Counts, Latencies};

/// What came of playing a trace, once or several times.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    tally: Tally,
    counts: Counts,
    took: Duration,
}

impl Summary {
    /// Adds events that were played. Those of another round name the same objects.
    pub(crate) fn played(&mut self, plays: &[Play]) {
        let round = tally(plays);
        let sum = &mut self.tally;
        sum.events += round.events;
        sum.reads += round.reads;
        sum.lists += round.lists;
        sum.merges += round.merges;
        sum.deletes += round.deletes;
        for (reason, count) in round.skipped {
            *sum.skipped.entry(reason).or_default() += count;
        }
        sum.objects = sum.objects.max(round.objects);
    }

    /// What came of them, and how long it took.
    pub(crate) fn came_to(&mut self, counts: Counts, took: Duration) {
        (self.counts, self.took) = (counts, took);
    }

    /// What the host failed at is no property of the events: they are to be played again.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let failed = self.counts.failed;
        (failed > 0)
            .then(|| Failure::failed(format!("the host failed at {failed} events; see its log, then play them again")))
    }

    /// Everything, in a stable order.
    pub(crate) fn fields(&self) -> Fields {
        let (tally, counts) = (&self.tally, &self.counts);
        let us = |latencies: &Latencies| {
            json!({
                "count": latencies.count(), "p50_us": latencies.within_us(0.5), "p99_us": latencies.within_us(0.99),
            })
        };
        Fields::default()
            .set("events", tally.events)
            .set("reads", tally.reads)
            .set("lists", tally.lists)
            .set("merges", tally.merges)
            .set("deletes", tally.deletes)
            .set("skipped", by_name(&tally.skipped))
            .set("objects", tally.objects)
            .set("versions", counts.versions)
            .set("conflicts", counts.conflicts)
            .set("shards", counts.shards.len())
            .set("repeated", counts.repeated)
            .set("not_found", counts.not_found)
            .set("expired", counts.expired)
            .set("refused", by_name(&counts.refused))
            .set("read_latency", us(&counts.reads))
            .set("write_latency", us(&counts.writes))
            .set("seconds", (self.took.as_secs_f64() * 1e3).round() / 1e3)
    }

    /// The same for people.
    pub(crate) fn print(&self) -> Result<(), Failure> {
        let (tally, counts) = (&self.tally, &self.counts);
        let seconds = self.took.as_secs_f64();
        let skipped: u64 = tally.skipped.values().sum();
        say(&format_args!(
            "{} events in {seconds:.2} s: {} reads, {} lists, {} merges, {} deletes, {skipped} skipped{}",
            tally.events,
            tally.reads,
            tally.lists,
            tally.merges,
            tally.deletes,
            listed(tally.skipped.iter()),
        ))?;
        say(&format_args!(
            "{} objects in {} shards: {} versions made, {} conflicts played again on the winner",
            tally.objects,
            counts.shards.len(),
            counts.versions,
            counts.conflicts
        ))?;
        let refused: u64 = counts.refused.values().sum();
        for (count, what) in [
            (counts.repeated, "done before, under the same action id".to_owned()),
            (counts.not_found, "read or deleted something that is not there".to_owned()),
            (refused, format!("refused by the host{}", listed(counts.refused.iter()))),
        ] {
            if count > 0 {
                say(&format_args!("{count} {what}"))?;
            }
        }
        self.print_latencies()
    }

    pub(crate) fn print_latencies(&self) -> Result<(), Failure> {
        for (name, latencies) in [("reads", &self.counts.reads), ("writes", &self.counts.writes)] {
            if let (Some(p50), Some(p99)) = (latencies.within_us(0.5), latencies.within_us(0.99)) {
                let count = latencies.count();
                say(&format_args!("{name}: {count} requests, half within {p50} us, 99 % within {p99} us"))?;
            }
        }
        Ok(())
    }

    /// What somebody should know who only reads the numbers.
    pub(crate) fn warn(&self) {
        for warning in &self.counts.warnings {
            eprintln!("warning: {warning}");
        }
        if self.counts.expired > 0 {
            eprintln!(
                "warning: {} actions have ids older than what the host remembers and were not done; --new-ids plays them anew",
                self.counts.expired
            );
        }
    }
}

fn by_name(counts: &BTreeMap<&'static str, u64>) -> Value {
    counts.iter().map(|(name, count)| ((*name).to_owned(), Value::from(*count))).collect()
}

/// ` (a: 1, b: 2)`, or nothing.
fn listed<'a>(counts: impl Iterator<Item = (&'a &'static str, &'a u64)>) -> String {
    let each: Vec<_> = counts.map(|(name, count)| format!("{name}: {count}")).collect();
    if each.is_empty() { String::new() } else { format!(" ({})", each.join(", ")) }
}
