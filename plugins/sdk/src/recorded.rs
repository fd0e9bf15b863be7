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

/// The variable that makes [`Recording::check`] write the file instead of comparing with it.
pub const RECORD: &str = "OSTRAKON_RECORD";

/// The calls of one configured instance, in order.
#[derive(Debug)]
pub struct Recording {
    settings: Value,
    calls: Vec<Value>,
}

impl Recording {
    /// Nothing recorded yet of a policy with these settings.
    pub fn new(settings: Value) -> Self {
        Self { settings, calls: Vec::new() }
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
        let mut text = format!("{{\"settings\":{},\"calls\":[", self.settings);
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

/// Bytes as a recording holds them.
pub fn hexadecimal(bytes: &[u8]) -> Value {
    let mut digits = String::new();
    for byte in bytes {
        let _ = write!(digits, "{byte:02x}");
    }
    digits.into()
}
