//! Locator: which shard key an object is recorded under.
//!
//! Key: the object's text (client, U+0000, type, U+0000, name), so objects stand in the order in which they are listed.
//! Value: tag, shard key (8 bytes, big-endian).

use ostrakon_wire::{ObjectId, ShardKey};

use super::{Cut, DamagedRecord};

const KIND: &str = "locator";
const TAG: u8 = 1;

/// The key of an object's locator.
pub fn key(object: &ObjectId) -> &[u8] {
    object.as_text().as_bytes()
}

/// The object of a locator's key.
pub fn object(key: &[u8]) -> Result<ObjectId, DamagedRecord> {
    let text = std::str::from_utf8(key).map_err(|_| DamagedRecord::new(KIND, "its key is not UTF-8"))?;
    ObjectId::from_text(text).map_err(|_| DamagedRecord::new(KIND, "its key is no object"))
}

/// Encodes the value.
pub fn encode(shard_key: ShardKey) -> [u8; 9] {
    let mut value = [TAG; 9];
    value[1..].copy_from_slice(&shard_key.get().to_be_bytes());
    value
}

/// Decodes the value.
pub fn decode(value: &[u8]) -> Result<ShardKey, DamagedRecord> {
    let mut cut = Cut::new(KIND, value, TAG)?;
    let shard_key = ShardKey::new(cut.u64()?);
    cut.end()?;
    Ok(shard_key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_locator_reads_back(bits: u64, client in "[a-z]{1,9}", name in "\\PC{1,40}") {
            let shard_key = ShardKey::new(bits);
            prop_assert_eq!(decode(&encode(shard_key)), Ok(shard_key));
            if let Ok(id) = ObjectId::new(&client, "t", &name) {
                prop_assert_eq!(object(key(&id)), Ok(id));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = decode(&bytes);
            let _ = object(&bytes);
        }
    }
}
