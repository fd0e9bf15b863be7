//! The policy's settings: how many bits each component has, which is its weight.
//!
//! ```json
//! {"client-bits": 24, "type-bits": 12, "window-bits": 12, "window-ms": 3600000, "adaptive": true, "shard-ppm": 62500,
//!  "spread-bits": 4, "quiet-below-ppm": 0}
//! ```
//!
//! `adaptive`: a new object's key holds the more, the more its client is used; one that has a key keeps it, but where a
//! quiet client has grown. `shard-ppm`: the share of all recent requests that one shard is to carry, and that a client,
//! type or window outgrows it at (one of sixteen). `spread-bits`: bits of the name above the window's where a window is
//! hot; fewer where 52 bits have no room.
//!
//! `quiet-below-ppm` is the simpler rule, in place of `adaptive`: a client that makes up a smaller share of all recent
//! requests has no time windows, its objects of a type lie together, spread by name only. 0 asks for none. With it, and
//! with `client-bits` of 0, keys are not adaptive unless the settings say so, which is refused. With neither rule the heat
//! is ignored, and then a key never changes.

use serde::Deserialize;

use ostrakon_policy_sdk::Invalid;
use ostrakon_policy_sdk::settings::{parse, within};

/// The host fills at least twelve bits of the 64 from the object's name.
pub(crate) const BITS_MAX: u32 = 52;

#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) client_bits: u32,
    pub(crate) type_bits: u32,
    pub(crate) window_bits: u32,
    pub(crate) window_ms: u64,
    adaptive: Option<bool>,
    pub(crate) shard_ppm: u32,
    spread_bits: u32,
    pub(crate) quiet_below_ppm: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_bits: 24,
            type_bits: 12,
            window_bits: 12,
            window_ms: 3_600_000,
            adaptive: None,
            shard_ppm: 62_500,
            spread_bits: 4,
            quiet_below_ppm: 0,
        }
    }
}

impl Settings {
    pub(crate) fn parse(text: &str) -> Result<Self, Invalid> {
        let settings: Self = parse(text)?;
        within("/client-bits", settings.client_bits, 0..=BITS_MAX)?;
        within("/type-bits", settings.type_bits, 0..=BITS_MAX)?;
        within("/window-bits", settings.window_bits, 0..=BITS_MAX)?;
        within("/window-ms", settings.window_ms, 1..=u64::MAX)?;
        within("/shard-ppm", settings.shard_ppm, 1..=1_000_000)?;
        within("/spread-bits", settings.spread_bits, 0..=BITS_MAX)?;
        within("/quiet-below-ppm", settings.quiet_below_ppm, 0..=1_000_000)?;
        if settings.adaptive == Some(true) && !settings.may_adapt() {
            return Err(Invalid::new("/adaptive", "needs client-bits, and goes without quiet-below-ppm"));
        }
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

    /// Whether keys follow the heat by levels.
    pub(crate) fn adaptive(&self) -> bool {
        self.adaptive != Some(false) && self.may_adapt()
    }

    fn may_adapt(&self) -> bool {
        self.client_bits > 0 && self.quiet_below_ppm == 0
    }

    /// Bits of the name in the key of an object whose window is hot: as many as there is room for.
    pub(crate) fn spread_bits(&self) -> u32 {
        self.spread_bits.min(BITS_MAX - self.client_bits - self.type_bits - self.window_bits)
    }
}
