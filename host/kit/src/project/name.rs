//! What a project may be called: cargo takes it as the name of a package, and the compiler as that of a library.

use std::fmt;
use std::str::FromStr;

/// Longest name, in bytes.
const BYTES_MAX: usize = 64;

/// Names that the language or the project's own crates have.
const TAKEN: [&str; 40] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "match",
    "mod",
    "move",
    "mut",
    "ostrakon-policy-sdk",
    "proc-macro",
    "pub",
    "ref",
    "return",
    "sdk",
    "serde",
    "static",
    "std",
    "test",
    "type",
    "use",
];

/// A name that a project can have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName(String);

/// Why a name is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Other characters, or none, or too many.
    #[error("{0:?} cannot be a project's name: give it 1 to {BYTES_MAX} of a-z, 0-9 and -, beginning with a letter")]
    Characters(String),
    /// The language has it, or a crate that the project needs.
    #[error("{0:?} cannot be a project's name: it is taken by the language or by a crate that the project needs")]
    Taken(String),
}

impl ProjectName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ProjectName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
        if !begins || text.ends_with('-') || text.len() > BYTES_MAX || !text.chars().all(fits) {
            return Err(InvalidName::Characters(text.to_owned()));
        }
        if TAKEN.contains(&text) {
            return Err(InvalidName::Taken(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cargo_refuses_is_taken() {
        for good in ["a", "my-shard-key", "policy2"] {
            assert!(good.parse::<ProjectName>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "2a", "A", "a b", "a/b", "../a", "a_b", "fn", "serde", "test", &"a".repeat(65)] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad}");
        }
    }
}
