//! Where shards are at home: rendezvous hashing with bounded loads.
//!
//! Each shard ranks the owners by a hash of both, and lives with the first in its ranking that has room: no owner has more
//! than a bound times its fair part (Mirrokni, Thorup and Zadimoghaddam, "Consistent hashing with bounded loads", 2016, with
//! rendezvous hashing for the ring). An owner that comes or goes takes along only the shards that rank it first, and few of
//! those whose first choice was full.

use ostrakon_wire::ShardId;
use xxhash_rust::xxh3::xxh3_64;

/// An owner as a shard sees it that looks for a home.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seat {
    /// Who.
    pub owner: u32,
    /// What share of all it should have, against the others'. Positive.
    pub weight: f64,
    /// What it has, in whatever unit.
    pub load: f64,
    /// What it may have, in that unit.
    pub room: f64,
}

/// How much a shard likes an owner: over all shards, each owner is liked best by as many as its weight says.
pub fn rank(shard: ShardId, owner: u32, weight: f64) -> f64 {
    let pair = u64::from(shard.get()) << 32 | u64::from(owner);
    let fraction = ((xxh3_64(&pair.to_le_bytes()) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    weight / -fraction.ln()
}

/// Which of the owners a shard is at home with that adds so much: the one that it likes best of those with room. `None` where
/// none has.
pub fn home(shard: ShardId, adds: f64, seats: &[Seat]) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (index, seat) in seats.iter().enumerate().filter(|(_, seat)| seat.load + adds <= seat.room) {
        let liked = rank(shard, seat.owner, seat.weight);
        if best.is_none_or(|(most, _)| liked > most) {
            best = Some((liked, index));
        }
    }
    best.map(|(_, index)| index)
}

/// An owner for each of the shards, in their order, so that none has more than `bound` times its part of their number: where
/// shards are put before anything is known of their load. `owners` are owners with their weights, at least one.
pub fn homes(shards: &[ShardId], owners: &[(u32, f64)], bound: f64) -> Vec<u32> {
    assert!(!owners.is_empty(), "shards live with somebody");
    let weights: f64 = owners.iter().map(|(_, weight)| weight).sum();
    let seat = |&(owner, weight): &(u32, f64)| {
        let room = (shards.len() as f64 * weight / weights * bound - 1e-9).ceil();
        Seat { owner, weight, load: 0.0, room }
    };
    let mut seats: Vec<Seat> = owners.iter().map(seat).collect();
    let mut place = |shard: &ShardId| {
        let index = home(*shard, 1.0, &seats).unwrap_or(0);
        seats[index].load += 1.0;
        seats[index].owner
    };
    shards.iter().map(&mut place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(count: u32) -> Vec<ShardId> {
        (0..count).map(ShardId::new).collect()
    }

    fn count(homes: &[u32], owner: u32) -> usize {
        homes.iter().filter(|home| **home == owner).count()
    }

    #[test]
    fn an_owner_is_given_more_than_its_bound() {
        let owners: Vec<_> = (0..20).map(|owner| (owner, 1.0)).collect();
        let homes = homes(&shards(1_000), &owners, 1.1);
        assert!((0..20).all(|owner| count(&homes, owner) <= 55));
    }

    #[test]
    fn weights_do_not_count() {
        let homes = homes(&shards(4_000), &[(0, 1.0), (1, 3.0)], 1.5);
        assert!((2_900..3_100).contains(&count(&homes, 1)), "{}", count(&homes, 1));
    }

    #[test]
    fn an_owner_that_comes_stirs_the_others_up() {
        let (nine, ten): (Vec<_>, Vec<_>) =
            ((0..9).map(|owner| (owner, 1.0)).collect(), (0..10).map(|owner| (owner, 1.0)).collect());
        let (before, after) = (homes(&shards(1_000), &nine, 1.25), homes(&shards(1_000), &ten, 1.25));
        let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
        assert!(moved < 180, "{moved} of 1000 for one owner in ten");
    }
}
