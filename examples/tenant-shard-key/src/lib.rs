//! Example of a shard-key policy: all clients of a tenant lie together.
//!
//! A client id begins with its tenant, as in `acme/frontend`. The tenant fills the high bits, then the client, the data
//! type, and the time; a client without a separator is a tenant of its own.

use ostrakon_policy_sdk::shard_key::{Placement, Policy, Request};
use ostrakon_policy_sdk::{About, Invalid, settings};
use serde::Deserialize;

/// `{"separator": "/", "tenant-bits": 16, "window-ms": 86400000}`
#[derive(Debug, Clone, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct Settings {
    /// What ends the tenant in a client id.
    separator: char,
    /// High bits that tell tenants apart.
    tenant_bits: u8,
    /// How much time lies together.
    window_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { separator: '/', tenant_bits: 16, window_ms: 86_400_000 }
    }
}

const CLIENT_BITS: u8 = 10;
const TYPE_BITS: u8 = 8;
/// With days, almost two centuries before windows begin anew.
const WINDOW_BITS: u8 = 16;

/// The configured policy.
#[derive(Debug)]
pub struct ByTenant {
    settings: Settings,
}

impl Policy for ByTenant {
    fn about() -> About {
        About::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
    }

    fn configure(text: &str, _state: &[u8]) -> Result<Self, Invalid> {
        let settings: Settings = settings::parse(text)?;
        let left = 52 - CLIENT_BITS - TYPE_BITS - WINDOW_BITS;
        settings::within("/tenant-bits", settings.tenant_bits, 1..=left)?;
        settings::within("/window-ms", settings.window_ms, 1..=u64::MAX)?;
        Ok(Self { settings })
    }

    fn place(&self, ask: &Request<'_>) -> Placement {
        let Settings { separator, tenant_bits, window_ms } = self.settings;
        let (tenant, client) = ask.client.split_once(separator).unwrap_or((ask.client, ""));
        let window = (ask.timestamp_ms / window_ms) % (1 << WINDOW_BITS);
        let (mut key, mut bits) = (0, 0);
        for (part, width) in [
            (high_bits(tenant, tenant_bits), tenant_bits),
            (high_bits(client, CLIENT_BITS), CLIENT_BITS),
            (high_bits(ask.data_type, TYPE_BITS), TYPE_BITS),
            (window, WINDOW_BITS),
        ] {
            key = key << width | part;
            bits += width;
        }
        Placement { key: key << (64 - bits), bits }
    }
}

/// The high bits of a hash (FNV-1a with a finalizer). It never changes: keys are recorded with the objects.
fn high_bits(text: &str, bits: u8) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in text.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash ^ (hash >> 33)) >> (64 - bits)
}

ostrakon_policy_sdk::export_shard_key!(ByTenant);

#[cfg(test)]
mod tests {
    use ostrakon_policy_sdk::shard_key::Heat;

    use super::*;

    const DAY_MS: u64 = 86_400_000;
    const UNKNOWN: Heat =
        Heat { client_ppm: 0, type_ppm: 0, window_ppm: 0, write_ppm: 0, callers: 0, idle_ms: u64::MAX, shards: 0 };

    fn key(settings: &str, client: &str, data_type: &str, timestamp_ms: u64) -> u64 {
        let policy = ByTenant::configure(settings, &[]).expect("the settings are taken");
        policy.place(&Request { client, data_type, name: "n", timestamp_ms, current: 0, heat: UNKNOWN }).key
    }

    #[test]
    fn clients_of_a_tenant_lie_apart() {
        let tenant = |client| key("{}", client, "volume", 0) >> 48;
        assert_eq!(tenant("acme/frontend"), tenant("acme/backend"));
        assert_ne!(tenant("acme/frontend"), tenant("globex/frontend"));
        assert_ne!(key("{}", "acme/frontend", "volume", 0), key("{}", "acme/backend", "volume", 0));
        let colon = |client| key(r#"{"separator": ":"}"#, client, "volume", 0) >> 48;
        assert_eq!(colon("acme:a"), colon("acme:b"));
    }

    #[test]
    fn days_of_a_type_are_out_of_order() {
        let days = [0, 1, 2, 365].map(|day| key("{}", "acme/frontend", "volume", day * DAY_MS));
        assert!(days.is_sorted() && days[0] < days[1], "{days:?}");
    }

    #[test]
    fn settings_that_leave_no_bits_are_taken() {
        let refused = ByTenant::configure(r#"{"tenant-bits": 19}"#, &[]).expect_err("19 + 34 bits are too many");
        assert_eq!(refused.path, "/tenant-bits");
    }
}
