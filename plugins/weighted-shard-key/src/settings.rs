//! The policy's settings: how many bits each component has, which is its weight.
//!
//! ```json
//! {"client-bits": 24, "type-bits": 12, "window-bits": 12, "window-ms": 3600000, "quiet-below-ppm": 0}
//! ```
//!
//! `quiet-below-ppm`: a client that makes up a smaller share of all recent requests has no time windows: its objects of a
//! type lie together, spread by name only. 0 ignores the heat, and then a key never changes; any other number lets keys
//! change as clients wake up and fall asleep.

use serde::Deserialize;

use ostrakon_policy_sdk::Invalid;
use ostrakon_policy_sdk::settings::{parse, within};

/// The host fills at least twelve bits of the 64 from the object's name.
const BITS_MAX: u32 = 52;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) client_bits: u32,
    pub(crate) type_bits: u32,
    pub(crate) window_bits: u32,
    pub(crate) window_ms: u64,
    pub(crate) quiet_below_ppm: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { client_bits: 24, type_bits: 12, window_bits: 12, window_ms: 3_600_000, quiet_below_ppm: 0 }
    }
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let settings: Self = parse(text)?;
        within("/client-bits", settings.client_bits, 0..=BITS_MAX)?;
        within("/type-bits", settings.type_bits, 0..=BITS_MAX)?;
        within("/window-bits", settings.window_bits, 0..=BITS_MAX)?;
        within("/window-ms", settings.window_ms, 1..=u64::MAX)?;
        within("/quiet-below-ppm", settings.quiet_below_ppm, 0..=1_000_000)?;
        // A quiet client is placed by its name and type alone, and a placement of no bits says nothing.
        let always = settings.client_bits + settings.type_bits;
        if settings.quiet_below_ppm > 0 && always == 0 {
            return Err(Invalid::new("/quiet-below-ppm", "needs client-bits or type-bits, or nothing would be left"));
        }
        let bits = always + settings.window_bits;
        if !(1..=BITS_MAX).contains(&bits) {
            return Err(Invalid::new("", format!("the bits add up to {bits}; they must be 1 to {BITS_MAX}")));
        }
        Ok(settings)
    }
}
