//! Recorded calls: what native code answers to inputs drawn from a seed, kept in a file beside the policy.
//!
//! A test draws the inputs, asks the policy and compares with the file; `cargo xtask plugins` asks the component the same.
//! So the native code and the component are held to one set of answers, and a change of answers is seen in review.
//!
//! As JSON, names are the contract's, a record is an object, an enum its case, a variant an object of its case and payload,
//! and a list of bytes a string of hexadecimal digits.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::reconciliation::{Brief, Change, Kind, Verdict};

/// The variable that makes [`Recording::check`] write the file instead of comparing with it.
pub const RECORD: &str = "OSTRAKON_RECORD";

/// The calls of one configured instance, in order.
#[derive(Debug)]
pub struct Recording {
    settings: Value,
    state: Value,
    calls: Vec<Value>,
}

impl Recording {
    /// Nothing recorded yet of a policy with these settings.
    pub fn new(settings: Value) -> Self {
        Self { settings, state: "".into(), calls: Vec::new() }
    }

    /// The same of a policy that is given a state, too.
    pub fn with_state(settings: Value, state: &[u8]) -> Self {
        Self { state: hexadecimal(state), ..Self::new(settings) }
    }

    /// Adds a call of the contract's `function`.
    pub fn call(&mut self, function: &str, arguments: &[Value], answer: Value) {
        self.calls.push(json!({ "function": function, "arguments": arguments, "answer": answer }));
    }

    /// Compares with the file, or writes it when [`RECORD`] is set. The error says what to do.
    pub fn check(&self, file: impl AsRef<Path>) -> Result<(), String> {
        let (file, text) = (file.as_ref(), self.text());
        if std::env::var_os(RECORD).is_some() {
            let written =
                file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(file, &text));
            return written.map_err(|error| format!("{}: {error}", file.display()));
        }
        match std::fs::read_to_string(file) {
            // As values: the order of an object's fields depends on the features that a whole build turns on.
            Ok(recorded) if same(&recorded, &text) => Ok(()),
            Ok(_) => Err(format!("{}: the answers changed; run with {RECORD}=1 to record them", file.display())),
            Err(error) => Err(format!("{}: {error}; run with {RECORD}=1 to record", file.display())),
        }
    }

    /// One call a line, so that a changed answer is a changed line.
    fn text(&self) -> String {
        let mut text = format!("{{\"settings\":{},\"state\":{},\"calls\":[", self.settings, self.state);
        for (index, call) in self.calls.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(text, "{comma}\n{call}");
        }
        text + "\n]}\n"
    }
}

fn same(recorded: &str, text: &str) -> bool {
    let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
    value(recorded).is_some() && value(recorded) == value(text)
}

/// Numbers from a seed (SplitMix64): the same on every machine.
#[derive(Debug)]
pub struct Draws(u64);

impl Draws {
    /// The sequence of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`, 0 when that is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.bits().checked_rem(bound).unwrap_or(0)
    }

    /// One of these.
    pub fn one_of<T: Copy, const N: usize>(&mut self, choices: [T; N]) -> T {
        choices[self.below(N as u64) as usize]
    }
}

/// A brief as a recording holds it.
pub fn brief(brief: &Brief) -> Value {
    let kind = match brief.kind {
        Kind::Put => "put",
        Kind::Merge => "merge",
        Kind::Add => "add",
        Kind::Delete => "delete",
        Kind::Custom => "custom",
    };
    json!({
        "client": brief.client, "data-type": brief.data_type, "name": brief.name, "kind": kind,
        "custom-kind": brief.custom_kind, "known": brief.known, "base-kept": brief.base_kept, "latest": brief.latest,
        "exists": brief.exists, "attempt": brief.attempt, "now-ms": brief.now_ms, "shard-key": brief.shard_key,
        "latest-bytes": brief.latest_bytes,
    })
}

/// A verdict as a recording holds it.
pub fn verdict(verdict: Verdict) -> Value {
    let change = |change: Change| json!({ "body": hexadecimal(&change.body), "reply": hexadecimal(&change.reply) });
    match verdict {
        Verdict::Rerun => json!({ "rerun": null }),
        Verdict::NeedPayloads => json!({ "need-payloads": null }),
        Verdict::Patch(patch) => json!({ "patch": change(patch) }),
        Verdict::Replace(whole) => json!({ "replace": change(whole) }),
        Verdict::Remove(reply) => json!({ "remove": hexadecimal(&reply) }),
        Verdict::AlreadyApplied(reply) => json!({ "already-applied": hexadecimal(&reply) }),
        Verdict::Reject(words) => json!({ "reject": words }),
        Verdict::RetryAfterMs(ms) => json!({ "retry-after-ms": ms }),
        Verdict::Escalate(words) => json!({ "escalate": words }),
    }
}

/// Bytes as a recording holds them.
pub fn hexadecimal(bytes: &[u8]) -> Value {
    let mut digits = String::new();
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits.into()
}
