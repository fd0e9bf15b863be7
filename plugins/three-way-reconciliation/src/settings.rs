//! The policy's settings.
//!
//! ```json
//! {"on-overlap": "reject", "max-attempts": 5}
//! ```
//!
//! `on-overlap`: what becomes of an action that contradicts what was changed meanwhile: `reject` it, `escalate` it, or let
//! `ours` win. `max-attempts`: an action that was judged so often is escalated.

use serde::Deserialize;

use ostrakon_policy_sdk::Invalid;
use ostrakon_policy_sdk::settings::{parse, within};

/// What becomes of an action that contradicts what was changed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum OnOverlap {
    Reject,
    Escalate,
    Ours,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) on_overlap: OnOverlap,
    pub(crate) max_attempts: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { on_overlap: OnOverlap::Reject, max_attempts: 5 }
    }
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let settings: Self = parse(text)?;
        within("/max-attempts", settings.max_attempts, 1..=1_000)?;
        Ok(settings)
    }
}
