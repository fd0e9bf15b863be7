//! Faults planted on purpose, in builds with the feature `planted-faults` alone: a test that does not notice them proves
//! nothing.
//!
//! `OSTRAKON_PLANTED_FAULT` chooses one: `no-sync` commits a group without its sync, `answer-early` answers the writers of
//! a group before it is committed.

use std::sync::OnceLock;

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A group is committed without its sync.
    NoSync,
    /// Writers are answered before their group is committed.
    AnswerEarly,
}

/// The fault that was chosen for this process.
pub(crate) fn fault() -> Option<Fault> {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    *FAULT.get_or_init(|| match std::env::var("OSTRAKON_PLANTED_FAULT").ok()?.as_str() {
        "no-sync" => Some(Fault::NoSync),
        "answer-early" => Some(Fault::AnswerEarly),
        other => panic!("there is no planted fault {other:?}"),
    })
}
