//! Between owners: from those over their bound, and to those that have too little.

use super::decision::{Alternative, Decision, Instead, Reason};
use super::home::{Seat, home};
use super::hot::{relief_of, split};
use super::scene::{Scene, told};
use super::{What, Why};
use crate::load::Health;

/// Decisions about one owner in one call.
const ONE_OWNER_MAX: usize = 4;
/// Owners that are looked at as takers, or givers, of a shard.
const OTHERS: usize = 3;

/// A shard that could move.
#[derive(Clone, Copy)]
struct Candidate {
    index: usize,
    to: usize,
    relief: f64,
    score: f64,
}

/// Owners over their bound give shards away; where no shard fits anywhere, one is cut.
pub(super) fn relieve(scene: &mut Scene<'_>, paused: bool) {
    let out = |scene: &Scene<'_>, owner: usize| scene.owners[owner].open && scene.ratio(owner) > scene.limits.over;
    let (mut over, owners) = those(scene, |owner| out(scene, owner));
    scene.memory.over.holds(owners, scene.now_ms);
    over.sort_by(|one, other| scene.ratio(*other).total_cmp(&scene.ratio(*one)));
    for owner in over {
        let name = scene.owners[owner].owner;
        let lasts = scene.memory.over.lasts(&name, scene.limits.sustain_ms, scene.now_ms);
        if paused || !lasts || scene.is_full() {
            continue;
        }
        for _ in 0..ONE_OWNER_MAX {
            let reason = Reason::OwnerOver { owner: name, ratio: scene.ratio(owner) };
            if !out(scene, owner) || !(give(scene, owner, reason) || cut_one(scene, owner, reason)) {
                break;
            }
        }
    }
}

/// Owners of which this is so, while there is any load; and their numbers.
fn those(scene: &Scene<'_>, out: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<u32>) {
    let all = if scene.is_idle() { 0..0 } else { 0..scene.owners.len() };
    all.filter(|owner| out(*owner)).map(|owner| (owner, scene.owners[owner].owner)).unzip()
}

/// Owners that have too little are given shards, a few at a time.
pub(super) fn fill(scene: &mut Scene<'_>, paused: bool) {
    let (under, owners) = those(scene, |owner| scene.owners[owner].open && scene.ratio(owner) < scene.limits.under);
    scene.memory.under.holds(owners, scene.now_ms);
    for to in under {
        let name = scene.owners[to].owner;
        let lasts = scene.memory.under.lasts(&name, scene.limits.sustain_ms, scene.now_ms);
        if paused || !lasts || scene.is_full() || !scene.takes(to) {
            continue;
        }
        let mut found: Vec<Candidate> = Vec::new();
        for from in some(scene, |one, other| other.total_cmp(&one), |from| from != to && scene.owners[from].open) {
            let may = scene.owners[from].held.iter().filter(|index| may_move(scene, **index, to));
            found.extend(may.filter_map(|index| filling(scene, *index, from, to)));
        }
        let reason = Reason::OwnerUnder { owner: name, ratio: scene.ratio(to) };
        take_best(scene, found, reason);
    }
}

/// Moves the shard off this owner whose move brings most for what it costs. Whether one was moved.
fn give(scene: &mut Scene<'_>, from: usize, reason: Reason) -> bool {
    let takers = some(scene, |one, other| one.total_cmp(&other), |to| to != from && scene.takes(to));
    let mut found: Vec<Candidate> = Vec::new();
    for &index in &scene.owners[from].held {
        for &to in takers.iter().filter(|to| may_move(scene, index, **to)) {
            let relief = relief_of(scene, index, from, to);
            if relief >= scene.limits.gain_min {
                found.push(Candidate { index, to, relief, score: relief / scene.cost(index, 1.0) });
                break;
            }
        }
    }
    take_best(scene, found, reason)
}

fn take_best(scene: &mut Scene<'_>, mut found: Vec<Candidate>, reason: Reason) -> bool {
    found.sort_by(|one, other| other.score.total_cmp(&one.score));
    let instead = |scene: &Scene<'_>, other: &Candidate| {
        let what = Instead::Move { shard: scene.shard(other.index), to: scene.owners[other.to].owner };
        Alternative { what, score: other.score }
    };
    for (place, candidate) in found.iter().enumerate() {
        let best = match reason {
            Reason::OwnerOver { .. } => at_home(scene, *candidate),
            _ => *candidate,
        };
        let what = What::Move { shard: scene.shard(best.index), to: scene.owners[best.to].owner };
        if scene.allows(best.index, &what) {
            let others = found[place + 1..].iter().take(OTHERS).map(|other| instead(scene, other)).collect();
            scene.decide(best.index, 1.0, Decision { what, reason, score: best.score, alternatives: told(others) });
            return true;
        }
    }
    false
}

/// The same shard to its home, if that is nearly as good: there it needs to be moved less later.
fn at_home(scene: &Scene<'_>, best: Candidate) -> Candidate {
    let Some(from) = scene.owner[best.index] else { return best };
    let open: Vec<usize> = (0..scene.owners.len()).filter(|to| *to != from && scene.takes(*to)).collect();
    let seats: Vec<Seat> = open.iter().map(|to| scene.seat(*to)).collect();
    let found = home(scene.shard(best.index), scene.work[best.index], &seats).map(|seat| open[seat]);
    let Some(to) = found.filter(|to| may_move(scene, best.index, *to)) else { return best };
    let relief = relief_of(scene, best.index, from, to);
    match relief >= scene.limits.gain_min.max(0.8 * best.relief) {
        true => Candidate { to, relief, score: relief / scene.cost(best.index, 1.0), ..best },
        false => best,
    }
}

/// What it brings to fill an owner from another that stays the fuller one.
fn filling(scene: &Scene<'_>, index: usize, from: usize, to: usize) -> Option<Candidate> {
    let moved = scene.work[index];
    let after_from = (scene.owners[from].load - moved) / scene.base(from);
    let after_to = (scene.owners[to].load + moved) / scene.base(to);
    let relief = after_from.min(after_to) - scene.ratio(to);
    let brings = after_to <= scene.limits.full && relief >= scene.limits.gain_min;
    brings.then(|| Candidate { index, to, relief, score: relief / scene.cost(index, 1.0) })
}

fn may_move(scene: &Scene<'_>, index: usize, to: usize) -> bool {
    let shard = scene.shard(index);
    let left_alone = scene.is_pinned(index) || scene.health(index) == Health::Unavailable;
    let recent = scene.memory.stays(shard, scene.limits, scene.now_ms);
    let back = scene.memory.came_from(shard, scene.owners[to].owner);
    scene.is_at_rest(index) && !left_alone && !recent && !back
}

/// Cuts one of the owner's larger shards, for which no place was found in one piece. Whether one was cut.
fn cut_one(scene: &mut Scene<'_>, owner: usize, reason: Reason) -> bool {
    let least = scene.limits.split_share * scene.fair;
    let large = |index: &usize| scene.work[*index] >= least && scene.work[*index] > 0.0;
    let mut large: Vec<usize> = scene.owners[owner].held.iter().copied().filter(large).collect();
    large.sort_by(|one, other| scene.work[*other].total_cmp(&scene.work[*one]));
    let mut refused = None;
    for &index in large.iter().take(ONE_OWNER_MAX) {
        if !scene.is_at_rest(index) {
            // What is being done may be what it takes.
            return false;
        }
        let before = scene.shards;
        match split(scene, index, reason) {
            Ok(()) => return scene.shards > before,
            Err(why) => refused = refused.or(Some((index, why))),
        }
    }
    if refused.is_none() {
        refused = heaviest(scene, owner).map(|index| (index, Why::NoRelief));
    }
    if let Some((index, why)) = refused {
        scene.refuse(index, reason, why);
    }
    false
}

fn heaviest(scene: &Scene<'_>, owner: usize) -> Option<usize> {
    let held = scene.owners[owner].held.iter().copied();
    held.max_by(|one, other| scene.work[*one].total_cmp(&scene.work[*other]))
}

/// The first few owners in an order of how full they are.
fn some(scene: &Scene<'_>, order: impl Fn(f64, f64) -> std::cmp::Ordering, may: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut first: Vec<usize> = Vec::with_capacity(OTHERS + 1);
    for owner in (0..scene.owners.len()).filter(|owner| may(*owner)) {
        let before = |other: &usize| order(scene.ratio(*other), scene.ratio(owner)).is_le();
        let place = first.iter().take_while(|other| before(other)).count();
        if place < OTHERS {
            first.insert(place, owner);
            first.truncate(OTHERS);
        }
    }
    first
}
