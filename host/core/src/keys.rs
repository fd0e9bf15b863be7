//! Shard keys: what the policy means, and what the host fills in.

use ostrakon_wire::ShardKey;
use xxhash_rust::xxh3::xxh3_64;

use crate::policy::Placement;

/// The key of an object: the policy's bits, and below them the host's, drawn from the name.
///
/// So objects that a policy puts in one place still spread over at least 12 bits, and any range but that of a single
/// object can be cut.
pub fn fill(placement: Placement, name: &str) -> ShardKey {
    let meant = u64::MAX.checked_shl(64 - u32::from(placement.bits)).unwrap_or(0);
    ShardKey::new(placement.key & meant | xxh3_64(name.as_bytes()) & !meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_keeps_its_bits_and_the_name_fills_the_rest() {
        let of = |bits, name| fill(Placement { key: 0xabcd_ef01_2345_6789, bits }, name).get();
        assert_eq!(of(16, "a") >> 48, 0xabcd);
        assert_ne!(of(16, "a"), of(16, "b"));
        assert_eq!(of(52, "a") >> 12, of(52, "b") >> 12);
        assert_eq!(of(0, "a"), xxh3_64(b"a"));
    }
}
