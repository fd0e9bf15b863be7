//! Shards that are too hot, or too large a part of all work, are cut in two.

use super::cut::Cut;
use super::decision::{Alternative, Decision, Instead, Reason};
use super::scene::{Scene, told};
use super::{What, Why};
use crate::load::Health;

/// How many times its fair part an owner must have that the halves of its shards are spread in spite of their size,
const SPREAD_FROM: f64 = 2.0;
/// and what share of that the fuller one may have then.
const SPREAD_TO: f64 = 0.8;

pub(super) fn split_hot(scene: &mut Scene<'_>, paused: bool) {
    let several = scene.owners.iter().filter(|owner| owner.open).count() > 1 && !scene.is_idle();
    let alone = if several { scene.limits.alone_share * scene.fair } else { f64::INFINITY };
    let bound = scene.limits.split_work.min(alone);
    let mut hot: Vec<usize> = (0..scene.work.len()).filter(|index| scene.work[*index] > bound).collect();
    let shards: Vec<_> = hot.iter().map(|index| scene.shard(*index)).collect();
    scene.memory.hot.holds(shards, scene.now_ms);
    if paused {
        return;
    }
    hot.sort_by(|one, other| scene.work[*other].total_cmp(&scene.work[*one]));
    for index in hot {
        let work = scene.work[index];
        let lasts = scene.memory.hot.lasts(&scene.shard(index), scene.limits.sustain_ms, scene.now_ms);
        if !lasts || !scene.is_at_rest(index) || !scene.owner[index].is_some_and(|owner| scene.owners[owner].up) {
            continue;
        }
        let reason = match work > scene.limits.split_work {
            true => Reason::Hot { work },
            false => Reason::Large { share: work / scene.fair },
        };
        if let Err(why) = split(scene, index, reason) {
            scene.refuse(index, reason, why);
        }
    }
}

/// Splits a shard, unless that must wait; or says why not.
pub(super) fn split(scene: &mut Scene<'_>, index: usize, reason: Reason) -> Result<(), Why> {
    let cut = may_split(scene, index)?;
    let Some(owner) = scene.owner[index] else { return Ok(()) };
    let (shard, moved) = (scene.shard(index), scene.work[index] * cut.upper);
    let taker = lightest(scene, owner).filter(|_| !scene.is_idle());
    let relief = taker.map_or(0.0, |taker| relief(scene, owner, taker, moved).max(spread(scene, owner, taker, moved)));
    let cost = scene.cost(index, cut.upper);
    let kept = cut.relief() * scene.work[index] / scene.base(owner).max(1.0) / cost;
    let (to, part, score, others) = match taker {
        Some(taker) if relief >= scene.limits.gain_min => {
            let keep = Instead::KeepWith { owner: scene.owners[owner].owner };
            (taker, cut.upper, relief / cost, vec![Alternative { what: keep, score: kept }])
        }
        _ => (owner, 0.0, kept, Vec::new()),
    };
    let what = What::Split { shard, at: cut.at, owner: scene.owners[to].owner };
    if scene.allows(index, &what) {
        scene.decide(index, part, Decision { what, reason, score, alternatives: told(others) });
    }
    Ok(())
}

fn may_split(scene: &Scene<'_>, index: usize) -> Result<Cut, Why> {
    if scene.is_pinned(index) {
        return Err(Why::Pinned);
    }
    if scene.health(index) == Health::Unavailable {
        return Err(Why::Unavailable);
    }
    if let Some(at_ms) = scene.memory.just_merged(scene.start(index), scene.map.end_of(index)) {
        return Err(Why::JustMerged { ago_ms: scene.now_ms.saturating_sub(at_ms) });
    }
    let cut = scene.cut_of(index)?;
    match scene.shards >= scene.limits.shards_max {
        true => Err(Why::ShardsMax { shards: scene.shards }),
        false => Ok(cut),
    }
}

/// The emptiest owner that may be given something, beside this one.
pub(super) fn lightest(scene: &Scene<'_>, beside: usize) -> Option<usize> {
    let may = |owner: &usize| {
        let standing = &scene.owners[*owner];
        *owner != beside && standing.open && standing.arrivals < scene.limits.arrivals_at_a_time.max(1)
    };
    (0..scene.owners.len()).filter(may).min_by(|one, other| scene.ratio(*one).total_cmp(&scene.ratio(*other)))
}

/// By how many fair parts the fuller of two owners gets emptier if so much work goes from one to the other; nothing if the
/// other would be too full.
pub(super) fn relief(scene: &Scene<'_>, from: usize, to: usize, moved: f64) -> f64 {
    let after_from = (scene.owners[from].load - moved) / scene.base(from);
    let after_to = (scene.owners[to].load + moved) / scene.base(to);
    match after_to <= scene.limits.full {
        true => scene.ratio(from) - after_from.max(after_to),
        false => 0.0,
    }
}

/// The same where the fuller one has several times its part: then the other may get too full, so long as both have much less
/// than the one had. It will cut on by itself; one owner after the other would take long.
fn spread(scene: &Scene<'_>, from: usize, to: usize, moved: f64) -> f64 {
    let before = scene.ratio(from);
    let after_from = (scene.owners[from].load - moved) / scene.base(from);
    let after_to = (scene.owners[to].load + moved) / scene.base(to);
    match before > SPREAD_FROM && after_from.max(after_to) <= SPREAD_TO * before {
        true => before - after_from.max(after_to),
        false => 0.0,
    }
}

/// The same for all of a shard. What fits nowhere, and cannot be taken apart, may go where it will be the measure.
pub(super) fn relief_of(scene: &Scene<'_>, index: usize, from: usize, to: usize) -> f64 {
    let moved = scene.work[index];
    if !scene.lump[index] || moved <= scene.base(to) {
        return relief(scene, from, to, moved);
    }
    let after_from = (scene.owners[from].load - moved) / scene.base(from);
    let after_to = (scene.owners[to].load + moved) / moved;
    scene.ratio(from) - after_from.max(after_to)
}
