//! Shipped shard-key policy: client, type and time window, by weight.
//!
//! Weight is significance. The client fills the high bits, its data type the middle, the time window the low ones, so a
//! client is contiguous, its types are contiguous inside it, and the windows of a type follow each other in time. What is
//! hot is therefore cut first between clients, then between types, then between times. How much of that a key holds
//! follows the heat, unless the settings say otherwise: see `levels`.
//!
//! Always holds: the bits that the policy does not mean are zero, and the key depends on nothing but the request and the
//! settings. It knows nothing of shards or of the host's part of a key.

mod hash;
mod levels;
mod settings;

use ostrakon_policy_sdk::shard_key::{Heat, Placement, Policy, Request};
use ostrakon_policy_sdk::{About, Invalid};

pub use hash::stable_hash;
use levels::Level;
use settings::{BITS_MAX, Settings};

/// The configured policy.
#[derive(Debug, Clone)]
pub struct WeightedShardKey {
    settings: Settings,
}

impl Policy for WeightedShardKey {
    fn about() -> About {
        About::new("weighted-shard-key", env!("CARGO_PKG_VERSION"))
    }

    fn configure(settings: &str, _state: &[u8]) -> Result<Self, Invalid> {
        Ok(Self { settings: Settings::parse(settings)? })
    }

    fn place(&self, ask: &Request<'_>) -> Placement {
        if self.settings.adaptive() {
            let wanted = Level::of(&ask.heat, &self.settings);
            return levels::kept(ask, wanted, &self.settings).unwrap_or_else(|| wanted.place(ask, &self.settings));
        }
        let level = if self.keeps_together(&ask.heat) { Level::Type } else { Level::Window };
        level.place(ask, &self.settings)
    }
}

impl WeightedShardKey {
    /// Whether the client is too quiet for its time windows to matter, where keys are not adaptive. Nothing known is not
    /// quiet.
    fn keeps_together(&self, heat: &Heat) -> bool {
        let seen = heat.client_ppm | heat.callers | heat.shards != 0;
        seen && heat.client_ppm < self.settings.quiet_below_ppm
    }
}

/// A key that is being filled from the high bits down.
#[derive(Default)]
struct Key {
    key: u64,
    bits: u32,
}

impl Key {
    /// Appends a component of `bits` bits; the settings keep the sum far below 64.
    fn push(&mut self, component: u64, bits: u32) {
        if bits == 0 {
            return;
        }
        self.bits += bits;
        self.key |= component << (64 - self.bits);
    }

    fn placement(self) -> Placement {
        Placement { key: self.key, bits: self.bits as u8 }
    }
}

/// The `bits` highest bits of a hash, as a number: neighbours in a hash mean nothing, so any bits would do.
fn high(hash: u64, bits: u32) -> u64 {
    hash.checked_shr(64 - bits).unwrap_or(0)
}

/// The `bits` lowest bits of a count: successive windows stay in order, until they wrap around.
fn low(count: u64, bits: u32) -> u64 {
    count & ((1 << bits) - 1)
}

ostrakon_policy_sdk::export_shard_key!(WeightedShardKey);

#[cfg(test)]
mod tests;
