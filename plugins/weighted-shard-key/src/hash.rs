//! The hash that spreads clients and types over their bits.
//!
//! Always holds: it never changes. Keys are recorded with objects, and another hash would ask for all of them to move.

/// FNV-1a (64 bit), then Murmur3's finalizer: names are short, which FNV is quick at, and its high bits are poor on short
/// input, which the finalizer mends.
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for &byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
