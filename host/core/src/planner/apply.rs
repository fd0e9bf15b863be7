//! A map and what was decided about it, to the next map.

use std::collections::BTreeMap;

use ostrakon_wire::{ShardId, ShardKey};

use super::What;
use crate::shard_map::{ShardMap, ShardRange};

/// Why something decided does not fit a map: it was decided on another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stale {
    /// The map has no such shard.
    #[error("the map has no shard {0}")]
    NoShard(ShardId),
    /// The key is not inside the shard, or is its first.
    #[error("shard {0} cannot be cut at key {1}")]
    Outside(ShardId, ShardKey),
    /// The two are not neighbours, in this order.
    #[error("shard {1} does not follow shard {0}")]
    NotNeighbours(ShardId, ShardId),
}

/// The map with all of it done, under the next epoch. New shards are numbered from `next` on, in the order of their splits.
pub fn apply<'a>(
    map: &ShardMap,
    decided: impl IntoIterator<Item = &'a What>,
    next: ShardId,
) -> Result<ShardMap, Stale> {
    let mut ranges: BTreeMap<ShardKey, ShardRange> = map.ranges().iter().map(|range| (range.start, *range)).collect();
    let mut starts: BTreeMap<ShardId, ShardKey> = map.ranges().iter().map(|range| (range.shard, range.start)).collect();
    let mut next = next.get();
    for what in decided {
        let shard = what.shard();
        let start = *starts.get(&shard).ok_or(Stale::NoShard(shard))?;
        let following = ranges.range(start..).nth(1).map(|(_, range)| *range);
        match *what {
            What::Refuse { .. } => {}
            What::Move { to, .. } => {
                if let Some(range) = ranges.get_mut(&start) {
                    range.owner = to;
                }
            }
            What::Split { at, owner, .. } => {
                if at <= start || following.is_some_and(|following| at >= following.start) {
                    return Err(Stale::Outside(shard, at));
                }
                let new = ShardId::new(next);
                next += 1;
                ranges.insert(at, ShardRange { shard: new, start: at, owner });
                starts.insert(new, at);
            }
            What::Merge { left, right } => {
                let gone = following.filter(|following| following.shard == right);
                let gone = gone.ok_or(Stale::NotNeighbours(left, right))?;
                ranges.remove(&gone.start);
                starts.remove(&right);
            }
        }
    }
    let epoch = map.epoch().next();
    Ok(ShardMap::new(epoch, ranges.into_values().collect()).expect("every step keeps all keys covered once"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_decided_is_not_done() {
        let (map, id, half) = (ShardMap::equal(2, 1), ShardId::new, ShardKey::new(1 << 62));
        let split = What::Split { shard: id(0), at: half, owner: 7 };
        let cut = apply(&map, [&split, &What::Move { shard: id(1), to: 3 }], id(9)).unwrap();
        let told: Vec<_> = cut.ranges().iter().map(|range| (range.shard.get(), range.owner)).collect();
        assert_eq!((told, cut.epoch().get()), (vec![(0, 0), (9, 7), (1, 3)], 2));
        let back = apply(&cut, [&What::Merge { left: id(0), right: id(9) }], id(10)).unwrap();
        assert_eq!(back.ranges().len(), 2);
    }

    #[test]
    fn what_was_decided_on_another_map_is_done() {
        let (map, id) = (ShardMap::equal(2, 1), ShardId::new);
        let refused = |what| apply(&map, [&what], id(9)).unwrap_err();
        assert_eq!(refused(What::Move { shard: id(4), to: 1 }), Stale::NoShard(id(4)));
        assert_eq!(refused(What::Merge { left: id(1), right: id(0) }), Stale::NotNeighbours(id(1), id(0)));
        for key in [0, 1 << 63, u64::MAX] {
            let at = ShardKey::new(key);
            assert_eq!(refused(What::Split { shard: id(0), at, owner: 0 }), Stale::Outside(id(0), at));
        }
    }
}
