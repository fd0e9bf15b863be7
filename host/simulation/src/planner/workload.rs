//! Who uses what, when, and which owners are up: all of it follows from a seed and the round.
//!
//! An *item* is a few objects side by side that are used alike; the hot objects are items of their own.

use fastrand::Rng;

use super::trail::Trail;

/// What the world does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Clients by Zipf's law with exponent 1.1, the same all the time.
    Zipf,
    /// Owners fail and come back.
    Failures,
    /// A few owners go up and down all the time.
    Flapping,
    /// One object has half of all work.
    OneObject,
    /// Two objects have half of all work.
    TwoObjects,
    /// What is hot wanders from client to client.
    Drift,
    /// Clients in three time zones have their days and nights.
    Days,
    /// All that is new lands at the end of its type's range.
    Windows,
    /// Many accounts that each do what a real one did, each at another place of its trace. Not among [`Kind::ALL`].
    Trail,
}

impl Kind {
    /// All that need nothing but a seed.
    pub const ALL: [Self; 8] = [
        Self::Zipf,
        Self::Failures,
        Self::Flapping,
        Self::OneObject,
        Self::TwoObjects,
        Self::Drift,
        Self::Days,
        Self::Windows,
    ];

    /// Its name, in kebab case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf-clients",
            Self::Failures => "failures",
            Self::Flapping => "flapping",
            Self::OneObject => "one-object",
            Self::TwoObjects => "two-objects",
            Self::Drift => "drifting-hot-set",
            Self::Days => "daily-waves",
            Self::Windows => "time-windows",
            Self::Trail => "cloudtrail",
        }
    }
}

/// How large the world is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Shards at first, in equal ranges.
    pub shards: u32,
    /// Owners.
    pub owners: u32,
    /// Rounds, a second each.
    pub rounds: u32,
}

/// Work a second that an owner has, if all have the same: two fifths of what it can do.
const OWNER_WORK: f64 = 400_000.0;
/// Rounds that a window of time lasts.
const WINDOW_ROUNDS: u32 = 50;
/// Data types of a client.
const TYPES: u64 = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub key: u64,
    pub object: u64,
    client: u32,
    base: f64,
    /// The round that its window begins at.
    begins: Option<f64>,
    /// What it is in the trace.
    traced: Option<usize>,
}

impl Item {
    fn new(rng: &mut Rng, key: u64, client: u32, base: f64) -> Self {
        Self { key, object: rng.u64(..), client, base, begins: None, traced: None }
    }
}

#[derive(Debug)]
pub(super) struct Workload<'a> {
    kind: Kind,
    trail: Option<&'a Trail>,
    pub items: Vec<Item>,
    clients: u32,
    rounds: u32,
    seed: u64,
    /// For each owner when it goes down and comes up again, in turn.
    turns: Vec<Vec<u32>>,
}

impl<'a> Workload<'a> {
    pub(super) fn new(kind: Kind, size: Size, seed: u64, trail: Option<&'a Trail>) -> Self {
        let mut rng = Rng::with_seed(seed ^ (kind as u64) << 56);
        let total = f64::from(size.owners) * OWNER_WORK;
        let (clients, exponent) = match kind {
            Kind::Zipf => ((2 * size.owners).max(64), 1.1),
            Kind::Windows => ((size.owners / 2).max(64), 0.2),
            Kind::Trail => (size.owners.max(64), 0.4),
            _ => ((2 * size.owners).max(64), 0.8),
        };
        let mut items = match (kind, trail) {
            (Kind::Windows, _) => windows(&mut rng, clients, exponent, total, size),
            (Kind::Trail, Some(trail)) => traced(&mut rng, clients, exponent, total, trail),
            _ => spread(&mut rng, clients, exponent, total, size),
        };
        let hot = match kind {
            Kind::OneObject => 1,
            Kind::TwoObjects => 2,
            _ => 0,
        };
        for item in &mut items {
            item.base *= if hot > 0 { 0.5 } else { 1.0 };
        }
        for _ in 0..hot {
            let base = total * 0.5 / f64::from(hot);
            let key = rng.u64(..);
            items.push(Item::new(&mut rng, key, clients, base));
        }
        items.sort_by_key(|item| (item.key, item.object));
        let turns = (0..size.owners).map(|owner| turns(&mut rng, kind, owner, size)).collect();
        Self { kind, trail, items, clients, rounds: size.rounds, seed, turns }
    }

    pub(super) fn is_up(&self, owner: u32, round: u32) -> bool {
        self.turns[owner as usize].partition_point(|turn| *turn <= round).is_multiple_of(2)
    }

    /// What each item does in a round.
    pub(super) fn work(&self, round: u32, work: &mut Vec<f64>) {
        let clients: Vec<f64> = (0..=self.clients).map(|client| self.of_client(client, round)).collect();
        let mut noise = Rng::with_seed(self.seed ^ 0x9e37_79b9 ^ u64::from(round) << 20);
        let now = f64::from(round);
        let of_item = |item: &Item| {
            let window = item.begins.map_or(1.0, |begins| of_window((now - begins) / f64::from(WINDOW_ROUNDS)));
            let traced = item.traced.zip(self.trail).map_or(1.0, |(traced, trail)| {
                // Two times through the trace, each account from another place of it.
                let from = f64::from(item.client) * 0.618_034;
                trail.objects[traced].used(from + 2.0 * now / f64::from(self.rounds))
            });
            let noise = 0.8 + 0.4 * noise.f64();
            item.base * clients[item.client as usize] * window * traced * noise
        };
        work.clear();
        work.extend(self.items.iter().map(of_item));
    }

    fn of_client(&self, client: u32, round: u32) -> f64 {
        let (at, now) = (f64::from(client) / f64::from(self.clients), f64::from(round) / f64::from(self.rounds));
        match self.kind {
            _ if client == self.clients => 1.0,
            // A twentieth of all clients, that wanders through a quarter of them.
            Kind::Drift => 1.0 + 9.0 * (-((at - 0.3 - 0.25 * now) / 0.025).powi(2)).exp(),
            // Two days.
            Kind::Days => {
                let zone = f64::from(client % 3) / 3.0;
                1.0 + 0.8 * ((2.0 * now + zone) * std::f64::consts::TAU).sin()
            }
            _ => 1.0,
        }
    }
}

/// What a window is used, so many windows after it began.
fn of_window(age: f64) -> f64 {
    match age {
        age if age < 0.0 => 0.0,
        age if age < 1.0 => 1.0,
        age if age < 8.0 => (-age).exp(),
        _ => 0.0,
    }
}

/// The work of each client, by Zipf's law, the clients in no order.
fn parts(rng: &mut Rng, clients: u32, exponent: f64, total: f64) -> Vec<f64> {
    let mut parts: Vec<f64> = (1..=clients).map(|rank| f64::from(rank).powf(-exponent)).collect();
    let all: f64 = parts.iter().sum();
    parts.iter_mut().for_each(|part| *part *= total / all);
    rng.shuffle(&mut parts);
    parts
}

/// The first key of a client's data type, and how many keys it has.
fn of_type(client: u32, clients: u32, data_type: u64) -> (u64, u64) {
    let width = u64::MAX / u64::from(clients) / TYPES;
    (width * TYPES * u64::from(client) + width * data_type, width)
}

/// Clients that have more items the more they do; each client's types side by side, with room behind each.
fn spread(rng: &mut Rng, clients: u32, exponent: f64, total: f64, size: Size) -> Vec<Item> {
    let wanted = f64::from(6 * size.shards.max(200) + 20 * size.owners);
    let mut items = Vec::new();
    for (client, part) in (0..).zip(parts(rng, clients, exponent, total)) {
        let count = 4 + (part / total * wanted) as usize;
        let weights: Vec<f64> = (0..count).map(|_| 0.2 + rng.f64() * rng.f64() * 2.0).collect();
        let all: f64 = weights.iter().sum();
        for weight in weights {
            let (first, width) = of_type(client, clients, rng.u64(..TYPES).min(rng.u64(..TYPES)));
            let key = first + rng.u64(..width / 4);
            items.push(Item::new(rng, key, client, part * weight / all));
        }
    }
    items
}

/// Each client's types grow at their end, a window after the other; what was written is still used for a while.
fn windows(rng: &mut Rng, clients: u32, exponent: f64, total: f64, size: Size) -> Vec<Item> {
    let before = 8;
    let count = u64::from(size.rounds / WINDOW_ROUNDS + 1) + before;
    let in_window = (6 * u64::from(size.shards) / (u64::from(clients) * TYPES * count)).clamp(2, 16);
    let mut items = Vec::new();
    for (client, part) in (0..).zip(parts(rng, clients, exponent, total)) {
        for data_type in 0..TYPES {
            let (first, width) = of_type(client, clients, data_type);
            // Not all types begin a window at once.
            let begins = -f64::from(rng.u32(..WINDOW_ROUNDS));
            for window in 0..count {
                let begins = begins + (window as f64 - before as f64) * f64::from(WINDOW_ROUNDS);
                for _ in 0..in_window {
                    let key = first + width / count * window + rng.u64(..width / count);
                    // What all windows of a type do together, once they are there.
                    let base = part / TYPES as f64 / in_window as f64 / 1.58;
                    items.push(Item { begins: Some(begins), ..Item::new(rng, key, client, base) });
                }
            }
        }
    }
    items
}

/// Accounts that each have all objects of the trace: their types side by side, the names in no order in them.
fn traced(rng: &mut Rng, clients: u32, exponent: f64, total: f64, trail: &Trail) -> Vec<Item> {
    let mut items = Vec::new();
    for (client, part) in (0..).zip(parts(rng, clients, exponent, total)) {
        let width = u64::MAX / u64::from(clients) / trail.types;
        let first = width * trail.types * u64::from(client);
        for (index, object) in trail.objects.iter().enumerate() {
            let key = first + width * object.data_type + object.name % width;
            items.push(Item { traced: Some(index), ..Item::new(rng, key, client, part) });
        }
    }
    items
}

fn turns(rng: &mut Rng, kind: Kind, owner: u32, size: Size) -> Vec<u32> {
    let mut turns = Vec::new();
    let mut round = 0;
    loop {
        let (up, down) = match kind {
            Kind::Failures => (rng.u32(20..2_000), rng.u32(30..200)),
            // One owner in twenty.
            Kind::Flapping if owner.is_multiple_of(20) => (rng.u32(10..60), rng.u32(3..30)),
            _ => return turns,
        };
        if round + up >= size.rounds {
            return turns;
        }
        turns.extend([round + up, round + up + down]);
        round += up + down;
    }
}
