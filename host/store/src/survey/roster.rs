//! Roster: which of the store's keyspaces has which name, kept beside the store in plain text.
//!
//! The engine keeps the names in a keyspace of its own, which cannot be asked before everything is open. The roster tells
//! beforehand what belongs to the store and whether it is a shard's.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use crate::files;

/// The roster's file, in the data folder.
pub(crate) const FILE: &str = "KEYSPACES";
const TITLE: &str = "ostrakon keyspaces, format 1";

/// Names of keyspaces, by the engine's number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Roster(pub(crate) BTreeMap<u64, String>);

impl Roster {
    /// Reads the roster of a data folder; `None` where none was written yet. The inner error says what is wrong with it.
    pub(crate) fn read(folder: &Path) -> std::io::Result<Option<Result<Self, &'static str>>> {
        match std::fs::read(folder.join(FILE)) {
            Ok(bytes) => Ok(Some(Self::parse(&bytes))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, durably, in place of another.
    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        files::replace(folder, FILE, &self.text())
    }

    fn text(&self) -> String {
        let mut text = format!("{TITLE}\n");
        for (number, name) in &self.0 {
            let _ = writeln!(text, "{number} {name}");
        }
        let checksum = xxh3_64(text.as_bytes());
        let _ = writeln!(text, "checksum {checksum:016x}");
        text
    }

    /// Reads the text.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text")?;
        let at = text.rfind("checksum ").ok_or("it has no checksum")?;
        let (body, end) = text.split_at(at);
        if end != format!("checksum {:016x}\n", xxh3_64(body.as_bytes())) {
            return Err("it does not match its checksum");
        }
        let mut lines = body.lines();
        if lines.next() != Some(TITLE) {
            return Err("it is of another format");
        }
        let entry = |line: &str| {
            let (number, name) = line.split_once(' ')?;
            Some((number.parse().ok()?, name.to_owned()))
        };
        lines.map(entry).collect::<Option<_>>().map(Self).ok_or("a line names no keyspace")
    }

    /// The number of a keyspace.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.0.iter().find(|(_, other)| *other == name).map(|(number, _)| *number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_roster_that_was_changed_is_taken_for_whole() {
        let roster = Roster([(1, "meta".to_owned()), (9, "shard-0000000001".to_owned())].into());
        let text = roster.text().into_bytes();
        assert_eq!(Roster::parse(&text), Ok(roster));
        for at in 0..text.len() {
            assert!(Roster::parse(&text[..at]).is_err(), "cut at {at}");
            let mut flipped = text.clone();
            flipped[at] ^= 1;
            assert!(Roster::parse(&flipped).is_err(), "flipped at {at}");
        }
    }
}
