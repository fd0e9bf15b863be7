//! Where an object lives: clients apart from each other, the objects of a client in the order of their time.
//!
//! The client fills the high bits, so all of its objects are neighbours; the time window follows, so what is made together
//! stays together. The host fills the bits that are left from the object's name.

use ostrakon_policy_sdk::shard_key::{Placement, Policy, Request};
use ostrakon_policy_sdk::{About, Invalid, settings};
use serde::Deserialize;

/// What an operator may set, as JSON: `{"client-bits": 24, "window-ms": 3600000}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// High bits that tell clients apart.
    client_bits: u8,
    /// How much time lies together.
    window_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { client_bits: 24, window_ms: 3_600_000 }
    }
}

/// Bits that count windows: with hours, more than a century before they begin anew.
const WINDOW_BITS: u8 = 20;

/// The configured policy.
#[derive(Debug)]
pub struct ByClient {
    settings: Settings,
}

impl Policy for ByClient {
    fn about() -> About {
        About::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn configure(text: &str, _state: &[u8]) -> Result<Self, Invalid> {
        let settings: Settings = settings::parse(text)?;
        // The host keeps at least twelve bits, so a policy has 52.
        settings::within("/client-bits", settings.client_bits, 1..=52 - WINDOW_BITS)?;
        settings::within("/window-ms", settings.window_ms, 1..=u64::MAX)?;
        Ok(Self { settings })
    }

    fn place(&self, ask: &Request<'_>) -> Placement {
        let Settings { client_bits, window_ms } = self.settings;
        let client = stable_hash(ask.client.as_bytes()) >> (64 - client_bits);
        let window = (ask.timestamp_ms / window_ms) % (1 << WINDOW_BITS);
        let bits = client_bits + WINDOW_BITS;
        Placement { key: (client << WINDOW_BITS | window) << (64 - bits), bits }
    }
}

/// FNV-1a with a finalizer. Never change it: keys are recorded with the objects.
fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

ostrakon_policy_sdk::export_shard_key!(ByClient);

#[cfg(test)]
mod tests {
    use ostrakon_policy_sdk::shard_key::Heat;

    use super::*;

    const UNKNOWN: Heat =
        Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: u64::MAX, shards: 0 };

    fn place(settings: &str, client: &str, timestamp_ms: u64) -> Placement {
        let policy = ByClient::configure(settings, &[]).expect("the settings are taken");
        policy.place(&Request { client, data_type: "volume", name: "vol-1", timestamp_ms, current: 0, heat: UNKNOWN })
    }

    #[test]
    fn a_client_lies_together_and_in_order() {
        let [first, second] = [0, 3_600_000].map(|at| place("{}", "acme", at));
        assert_eq!(first.key >> 40, second.key >> 40);
        assert!(first.key < second.key);
        assert_ne!(first.key >> 40, place("{}", "globex", 0).key >> 40);
    }

    #[test]
    fn settings_that_leave_no_bits_are_refused() {
        let refused = ByClient::configure(r#"{"client-bits": 33}"#, &[]).expect_err("33 + 20 bits are too many");
        assert_eq!(refused.path, "/client-bits");
        assert_eq!(place(r#"{"client-bits": 8}"#, "acme", 0).bits, 28);
    }
}
