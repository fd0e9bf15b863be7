//! The actions that had their effect: a queue in the order of their commits, and an index into it.
//!
//! Ids come and go in the order of commits, so both ends of the queue are written in sequence; the index is four bytes an
//! entry and stays in the processor's caches where a table of whole entries would not.

use std::collections::VecDeque;
use std::hash::BuildHasher;

use hashbrown::HashTable;

use super::{Key, Recorded};

#[derive(Default)]
pub(super) struct Remembered {
    entries: VecDeque<(Key, Recorded)>,
    /// The number of the oldest entry. Numbers wrap around; far fewer are kept at a time.
    first: u32,
    /// The numbers of entries, by key.
    index: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
}

impl Remembered {
    pub(super) fn get(&self, key: &Key) -> Option<Recorded> {
        let at = |number: u32| &self.entries[number.wrapping_sub(self.first) as usize];
        self.index.find(self.hasher.hash_one(key), |number| at(*number).0 == *key).map(|number| at(*number).1)
    }

    /// Takes in the newest entry.
    pub(super) fn push(&mut self, key: Key, recorded: Recorded) {
        let number = self.first.wrapping_add(self.entries.len() as u32);
        self.entries.push_back((key, recorded));
        let Self { entries, first, index, hasher } = self;
        let rehash = |number: &u32| hasher.hash_one(entries[number.wrapping_sub(*first) as usize].0);
        index.insert_unique(hasher.hash_one(key), number, rehash);
    }

    /// Drops the oldest entry, which is this one.
    pub(super) fn pop(&mut self, key: &Key) {
        let oldest = self.entries.pop_front().expect("only what is remembered is dropped");
        assert!(oldest.0 == *key, "ids are dropped in the order of their commits");
        let number = self.first;
        self.first = number.wrapping_add(1);
        let entry = self.index.find_entry(self.hasher.hash_one(key), |candidate| *candidate == number);
        entry.expect("every entry is in the index").remove();
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use ostrakon_store::Outcome;
    use ostrakon_wire::{ActionId, Revision, ShardKey, Version};

    use super::*;

    fn key(id: u64) -> Key {
        Key { client: id % 3, id: ActionId::from_bits(u128::from(id)) }
    }

    fn recorded(id: u64) -> Recorded {
        Recorded {
            intent: id.into(),
            revision: Revision::new(id),
            version: Version::new(1),
            shard_key: ShardKey::new(id),
            outcome: Outcome::Made,
            noted: false,
        }
    }

    #[test]
    fn what_is_remembered_is_lost_when_the_oldest_goes_or_numbers_wrap_around() {
        let mut remembered = Remembered { first: u32::MAX - 500, ..Remembered::default() };
        for id in 0..2_000 {
            remembered.push(key(id), recorded(id));
            if id >= 300 {
                remembered.pop(&key(id - 300));
                assert_eq!(remembered.get(&key(id - 300)), None);
            }
            let oldest = id.saturating_sub(299);
            assert_eq!(remembered.get(&key(oldest)), Some(recorded(oldest)));
            assert_eq!(remembered.get(&key(id)), Some(recorded(id)));
        }
        assert_eq!(remembered.len(), 300);
    }
}
