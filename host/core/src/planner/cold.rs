//! Neighbours that have little work together are made one.

use super::What;
use super::decision::{Decision, Reason};
use super::scene::{Scene, told};
use crate::load::Health;

pub(super) fn merge_cold(scene: &mut Scene<'_>, paused: bool) {
    let pairs = scene.map.ranges().len() - 1;
    let mut cold: Vec<usize> = (0..pairs).filter(|left| are_cold(scene, *left)).collect();
    let boundaries: Vec<_> = cold.iter().map(|left| scene.start(left + 1)).collect();
    scene.memory.cold.holds(boundaries, scene.now_ms);
    if paused {
        return;
    }
    let together = |scene: &Scene<'_>, left: usize| scene.work[left] + scene.work[left + 1];
    cold.sort_by(|one, other| together(scene, *one).total_cmp(&together(scene, *other)));
    for left in cold {
        let slots = scene.limits.moves_at_a_time.div_ceil(2);
        if scene.shards <= scene.limits.shards_min.max(1) || scene.memory.flights.len() >= slots {
            return;
        }
        let what = What::Merge { left: scene.shard(left), right: scene.shard(left + 1) };
        let lasts = scene.memory.cold.lasts(&scene.start(left + 1), scene.limits.cold_sustain_ms, scene.now_ms);
        let free = scene.is_at_rest(left) && scene.is_at_rest(left + 1);
        if lasts && free && fits(scene, left) && scene.allows(left, &what) {
            let reason = Reason::Cold { work: together(scene, left) };
            let score = 1.0 / scene.cost(left + 1, 1.0);
            scene.decide(left, 1.0, Decision { what, reason, score, alternatives: told(Vec::new()) });
        }
    }
}

fn are_cold(scene: &Scene<'_>, left: usize) -> bool {
    let (Some(one), Some(other)) = (scene.loads[left], scene.loads[left + 1]) else { return false };
    let work = scene.work[left] + scene.work[left + 1];
    let share = if scene.is_idle() { f64::INFINITY } else { scene.limits.merge_share * scene.fair };
    let small = work <= scene.limits.merge_work.min(share);
    let healthy = one.health == Health::Healthy && other.health == Health::Healthy;
    small
        && healthy
        && one.bytes.saturating_add(other.bytes) <= scene.limits.merge_bytes
        && !scene.is_pinned(left)
        && !scene.is_pinned(left + 1)
        // A shard that a split made is not merged with the neighbour on its other side either.
        && !(left..=left + 2).any(|index| {
            scene.map.ranges().get(index).is_some_and(|range| scene.memory.just_split(range.start))
        })
}

/// Whether the owner of the left one may be given the right one's work.
fn fits(scene: &Scene<'_>, left: usize) -> bool {
    let (Some(owner), Some(other)) = (scene.owner[left], scene.owner[left + 1]) else { return false };
    let standing = &scene.owners[owner];
    let full = (standing.load + scene.work[left + 1]) > scene.limits.full * scene.base(owner);
    scene.owners[other].up && standing.up && (owner == other || standing.open && (scene.is_idle() || !full))
}
