//! What is told of policies, as structured values with names in kebab case.

use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{Slot, Stage};

use crate::latency::LatencySummary;
use crate::slots::{GenerationInfo, SeatInfo};
use crate::tally::FaultCounts;

pub(crate) fn number(number: u64) -> Value {
    Value::Integer(number.min(i64::MAX as u64) as i64)
}

pub(crate) fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Latencies, in nanoseconds.
pub(crate) fn latency(summary: &LatencySummary) -> Value {
    let LatencySummary { timed, p50_ns, p99_ns, p999_ns, max_ns, buckets } = summary;
    let bucket = |(end, count): &(u64, u64)| Value::Array(vec![number(*end), number(*count)]);
    Value::Map(Map::from([
        ("timed".into(), number(*timed)),
        ("p50-ns".into(), number(*p50_ns)),
        ("p99-ns".into(), number(*p99_ns)),
        ("p999-ns".into(), number(*p999_ns)),
        ("max-ns".into(), number(*max_ns)),
        ("buckets".into(), Value::Array(buckets.iter().map(bucket).collect())),
    ]))
}

pub(crate) fn faults(counts: &FaultCounts) -> Value {
    let FaultCounts { trapped, overran, out_of_memory, impossible, impure } = *counts;
    let named = [
        ("trapped", trapped),
        ("overran", overran),
        ("out-of-memory", out_of_memory),
        ("impossible", impossible),
        ("impure", impure),
    ];
    Value::Map(named.into_iter().map(|(name, count)| (name.to_owned(), number(count))).collect())
}

/// Which slot, in the fields `kind`, `client` and `type`.
pub(crate) fn slot(slot: &Slot) -> Map {
    let mut facts = Map::from([("kind".into(), text(slot.kind.name()))]);
    facts.extend(slot.client.clone().map(|client| ("client".into(), Value::Text(client))));
    facts.extend(slot.data_type.clone().map(|data_type| ("type".into(), Value::Text(data_type))));
    facts
}

pub(crate) fn stage(stage: Stage) -> Map {
    let name = match stage {
        Stage::Serve => "serve",
        Stage::Shadow(_) => "shadow",
        Stage::Canary(_) => "canary",
    };
    Map::from([("stage".into(), text(name)), ("share-ppm".into(), number(stage.share_ppm().into()))])
}

/// A generation, in short.
pub(crate) fn generation(info: &GenerationInfo) -> Map {
    Map::from([
        ("name".into(), text(info.name.clone())),
        ("version".into(), text(info.version.clone())),
        ("digest".into(), text(info.digest.clone())),
        ("generation".into(), number(info.generation.get())),
        ("calls".into(), number(info.calls)),
        ("faults".into(), number(info.faults.total())),
        ("purity-checks".into(), number(info.purity_checks)),
    ])
}

/// A generation, in full.
pub(crate) fn generation_in_full(info: &GenerationInfo) -> Map {
    let mut facts = generation(info);
    facts.extend([
        ("settings".into(), text(info.settings.clone())),
        ("faults-by-kind".into(), faults(&info.faults)),
        ("latency".into(), latency(&info.latency)),
        ("memory-bytes".into(), number(info.memory_bytes as u64)),
    ]);
    facts
}

impl SeatInfo {
    /// For `info`: the generation that decides.
    pub fn facts(&self) -> Map {
        generation(&self.active)
    }
}
