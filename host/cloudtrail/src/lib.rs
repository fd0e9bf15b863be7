//! CloudTrail files as control-plane traffic: parse, order, map.
//!
//! A pure library: [`load`] reads files and nothing else does; no network, no clock, no randomness. The same files always
//! give the same events in the same order, the same plays and the same action ids. It knows nothing of the wire or of the
//! client that carries the plays out.
//!
//! | step | here |
//! |---|---|
//! | files and folders to events, in order | [`load`], [`load_with`], [`LoadError`] |
//! | one record, checked | [`Event`] |
//! | one event to what is asked of the host | [`map`], [`Play`], [`What`] |
//! | plays of one second, which may run concurrently | [`seconds`] |
//! | the counts of a summary | [`tally`], [`Tally`] |
//! | made-up records, for the demo | [`generate`], [`sample`] |
//!
//! The rules of the mapping stand where they are carried out: `play` (who, read or write, delete or merge), `object` (which
//! object an event is about), `arn` (kinds and names from ARNs), `words` (verbs, nouns, kinds), `patch` (what a merge carries).

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arn;
pub mod bounds;
mod calls;
mod event;
mod files;
mod load;
mod object;
mod patch;
mod play;
mod synth;
mod tally;
mod words;

pub use event::{Event, Identity, RecordError};
pub use load::{LoadError, Progress, load, load_with};
pub use play::{ClientBy, ObjectRef, Options, Play, SkipReason, What, map, seconds};
pub use synth::{generate, sample};
pub use tally::{Tally, tally};
