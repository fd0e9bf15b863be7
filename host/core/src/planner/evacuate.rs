//! Off owners that are down: at once, to where the shards are at home among the others.

use super::decision::{Decision, Reason};
use super::home::{Seat, home};
use super::scene::{Scene, told};
use super::{What, Why};
use crate::load::Health;

pub(super) fn evacuate(scene: &mut Scene<'_>) {
    let down = |index: &usize| {
        let owner = scene.owner[*index];
        !scene.busy[*index] && owner.is_none_or(|owner| !scene.owners[owner].up)
    };
    let stranded: Vec<usize> = (0..scene.owner.len()).filter(down).collect();
    if stranded.is_empty() {
        return;
    }
    let (open, mut seats) = seats(scene);
    for index in stranded {
        let reason = Reason::OwnerDown { owner: scene.map.ranges()[index].owner };
        let Some(taker) = taker(scene, index, &seats) else {
            scene.refuse(index, reason, Why::NoOwner);
            continue;
        };
        let what = What::Move { shard: scene.shard(index), to: seats[taker].owner };
        if scene.is_pinned(index) {
            scene.refuse(index, reason, Why::Pinned);
        } else if scene.health(index) == Health::Unavailable {
            scene.refuse(index, reason, Why::Unavailable);
        } else if scene.allows_motion(index, &what) {
            let score = scene.work[index] / scene.fair.max(1.0) / scene.cost(index, 1.0);
            scene.decide(index, 1.0, Decision { what, reason, score, alternatives: told(Vec::new()) });
            seats[taker].load = scene.owners[open[taker]].load;
        }
    }
}

fn seats(scene: &Scene<'_>) -> (Vec<usize>, Vec<Seat>) {
    let open: Vec<usize> = (0..scene.owners.len()).filter(|owner| scene.owners[*owner].open).collect();
    let seats = open.iter().map(|owner| scene.seat(*owner)).collect();
    (open, seats)
}

/// Its home; where nobody has room, whoever has most of it left.
fn taker(scene: &Scene<'_>, index: usize, seats: &[Seat]) -> Option<usize> {
    let fullness = |seat: &Seat| seat.load / seat.room.max(f64::MIN_POSITIVE);
    home(scene.shard(index), scene.work[index], seats)
        .or_else(|| (0..seats.len()).min_by(|one, other| fullness(&seats[*one]).total_cmp(&fullness(&seats[*other]))))
}
