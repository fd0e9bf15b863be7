//! The policy's settings.
//!
//! ```json
//! {"abort-below-ppm": 300000}
//! ```
//!
//! `abort-below-ppm`: a write whose known version still stands with a smaller probability is not tried but reconciled at
//! once. 0 spares no try but those that are lost for certain.

use serde::Deserialize;

use ostrakon_policy_sdk::Invalid;
use ostrakon_policy_sdk::settings::{parse, within};

#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) abort_below_ppm: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { abort_below_ppm: 300_000 }
    }
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let settings: Self = parse(text)?;
        within("/abort-below-ppm", settings.abort_below_ppm, 0..=1_000_000)?;
        Ok(settings)
    }
}
