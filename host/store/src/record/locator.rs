//! Locator: where an object's rows stand.
//!
//! Key: the object's text (client, U+0000, type, U+0000, name), so objects stand in the order in which they are listed.
//! Value: tag, shard key (8 bytes), object number (6 bytes); big-endian.

use ostrakon_wire::{ObjectId, ShardKey};

use super::{Cut, DamagedRecord};

const KIND: &str = "locator";
const TAG: u8 = 1;

/// A number that stands for an object in the keys of its rows; given out once in the life of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectNumber(u64);

/// Where the rows of an object stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The key it is recorded under.
    pub shard_key: ShardKey,
    /// Its number.
    pub number: ObjectNumber,
}

impl ObjectNumber {
    /// The largest: numbers have 48 bits, so that a row's key has 20 bytes, which the engine below holds without an
    /// allocation.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// Wraps a number of at most 48 bits.
    pub(crate) fn new(number: u64) -> Option<Self> {
        (number <= Self::MAX.0).then_some(Self(number))
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }
}

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
pub fn encode(place: Place) -> [u8; 15] {
    let mut value = [TAG; 15];
    value[1..9].copy_from_slice(&place.shard_key.get().to_be_bytes());
    value[9..].copy_from_slice(&place.number.get().to_be_bytes()[2..]);
    value
}

/// Decodes the value.
pub fn decode(value: &[u8]) -> Result<Place, DamagedRecord> {
    let mut cut = Cut::new(KIND, value, TAG)?;
    let place = Place { shard_key: ShardKey::new(cut.u64()?), number: ObjectNumber(cut.u48()?) };
    cut.end()?;
    Ok(place)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_locator_reads_back(bits: u64, number in 0..1_u64 << 48, client in "[a-z]{1,9}", name in "\\PC{1,40}") {
            let place = Place { shard_key: ShardKey::new(bits), number: ObjectNumber::new(number).unwrap() };
            prop_assert_eq!(decode(&encode(place)), Ok(place));
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
