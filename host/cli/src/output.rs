//! Answers as JSON, the same for every command, and the way to standard output.

use std::io::Write;

use ostrakon_client::{Committed, ObjectId, Payload, ShardKey, Version, json as structured};
use ostrakon_wire::{Decided, Generations, Revision, ShardId};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

/// Writes one line to standard output.
pub(crate) fn say(line: &dyn std::fmt::Display) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::nobody_reads(),
        _ => Failure::failed(format!("standard output: {error}")),
    })
}

/// The items of a list that is told; none, where it is no list.
pub(crate) fn each(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A payload: a structured one as it is, bytes as `{"$base64": "..."}`.
pub(crate) fn payload_json(payload: &Payload) -> Value {
    match payload.value() {
        Some(value) => structured::to_json(&value),
        None => structured::bytes_to_json(payload.as_bytes()),
    }
}

/// How a change came about: after which tries, whether it was done before, and what the policy replied.
pub(crate) fn how_done(tries: u32, repeated: bool, reply: Option<&Payload>) -> String {
    let tries = match tries {
        0 => String::new(),
        tries => format!(", reconciled in {tries} {}", if tries == 1 { "try" } else { "tries" }),
    };
    let repeated = if repeated { " (done before under this action id; nothing changed now)" } else { "" };
    let reply = reply.map_or(String::new(), |reply| format!(": {}", payload_json(reply)));
    format!("{tries}{repeated}{reply}")
}

/// Where, on which state and by whom it was decided.
pub(crate) fn decided_json(decided: &Decided) -> Value {
    json!({
        "shard": decided.shard.map(|shard| shard.get()),
        "epoch": decided.epoch.get(),
        "position": decided.position.to_string(),
        "generations": generations_json(&decided.generations),
    })
}

fn generations_json(generations: &Generations) -> Value {
    let pairs = generations.iter().map(|(kind, generation)| (kind.name().to_owned(), Value::from(generation.get())));
    pairs.collect()
}

/// A JSON object under way: its fields print in the order in which they are set.
#[derive(Debug, Default)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Which object it is about.
    pub(crate) fn of(object: &ObjectId) -> Self {
        Self::default().of_object(object)
    }

    /// The same, behind other fields.
    pub(crate) fn of_object(self, object: &ObjectId) -> Self {
        self.set("client", object.client()).set("type", object.data_type()).set("name", object.name())
    }

    /// The next field.
    pub(crate) fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// A version that is stored, and where.
    pub(crate) fn stored(self, version: Version, revision: Revision, shard: Option<ShardId>, key: ShardKey) -> Self {
        self.set("version", version.get())
            .set("revision", revision.get())
            .set("shard", shard.map(|shard| shard.get()))
            .set("shard_key", key.get())
    }

    /// The place and the map.
    pub(crate) fn at(self, decided: &Decided) -> Self {
        self.set("position", decided.position.to_string()).set("epoch", decided.epoch.get())
    }

    /// The same, and the policy generations that had a say.
    pub(crate) fn decided(self, decided: &Decided) -> Self {
        self.at(decided).set("generations", generations_json(&decided.generations))
    }

    /// A change that is durable.
    pub(crate) fn committed(self, done: &Committed) -> Self {
        self.stored(done.version, done.revision, done.decided.shard, done.shard_key)
            .set("repeated", done.repeated)
            .reconciled(done)
            .decided(&done.decided)
    }

    /// How often the reconciliation policy was asked, and what it replied, where it was.
    fn reconciled(self, done: &Committed) -> Self {
        let told = if done.tries > 0 { self.set("tries", done.tries) } else { self };
        match &done.reply {
            Some(reply) => told.set("reply", payload_json(reply)),
            None => told,
        }
    }

    /// The fields.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        self.0
    }

    /// Writes the object on one line.
    pub(crate) fn print(self) -> Result<(), Failure> {
        say(&Value::Object(self.0))
    }
}
