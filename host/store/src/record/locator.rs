//! Locator: where an object's rows stand.
//!
//! Key: the object's text (client, U+0000, type, U+0000, name), so objects stand in the order in which they are listed.
//! Value: tag, shard key (8 bytes), object number (6 bytes); big-endian. An object whose first version is not 1, since its
//! name was another's before, has that version (8 bytes) behind it.

use ostrakon_core::Spot;
use ostrakon_wire::{ObjectId, ShardKey, Version};

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

impl Place {
    /// Where it stands in order, as the shard map counts.
    pub fn spot(self) -> Spot {
        (self.shard_key, self.number.get())
    }
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
pub fn encode(place: Place, first: Version) -> Vec<u8> {
    let mut value = Vec::with_capacity(SHORT_BYTES + 8);
    value.push(TAG);
    value.extend_from_slice(&place.shard_key.get().to_be_bytes());
    value.extend_from_slice(&place.number.get().to_be_bytes()[2..]);
    if first != FIRST {
        value.extend_from_slice(&first.get().to_be_bytes());
    }
    value
}

/// Decodes the value.
pub fn decode(value: &[u8]) -> Result<(Place, Version), DamagedRecord> {
    let mut cut = Cut::new(KIND, value, TAG)?;
    let place = Place { shard_key: ShardKey::new(cut.u64()?), number: ObjectNumber(cut.u48()?) };
    let first = if cut.rest.is_empty() { FIRST } else { Version::new(cut.u64()?) };
    cut.end()?;
    if first == FIRST && value.len() > SHORT_BYTES {
        return Err(cut.damaged("it tells a first version that goes without saying"));
    }
    Ok((place, first))
}

/// Bytes of a locator that tells no first version.
const SHORT_BYTES: usize = 15;
/// The first version of an object whose name is new.
const FIRST: Version = Version::new(1);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_locator_reads_back(bits: u64, first in 1..9_u64, number in 0..1_u64 << 48, client in "[a-z]{1,9}", name in "\\PC{1,40}") {
            let place = Place { shard_key: ShardKey::new(bits), number: ObjectNumber::new(number).unwrap() };
            let first = Version::new(first);
            prop_assert_eq!(decode(&encode(place, first)), Ok((place, first)));
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
