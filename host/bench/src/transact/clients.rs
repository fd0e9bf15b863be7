//! The clients: each has one transaction under way, on the versions that it was told last.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::task::JoinSet;

use super::{CLIENTS, Case};
use crate::load::{Random, Tally, Window};

/// How a transaction ended that was tried once.
pub(super) enum Tried {
    /// The versions that it made, in the order of its objects.
    Made(Vec<u64>),
    /// It lost against these: places among its objects, and the versions that stand there.
    Lost(Vec<(usize, u64)>),
    /// Nothing was done; the system asks to come again after so long.
    Later(Duration),
}

/// A client's way to the system.
pub(super) trait Wire: Send + 'static {
    /// Changes all these objects together, if each of them stands at the version that is known of it.
    fn transact(&mut self, objects: &[(usize, u64)]) -> impl Future<Output = anyhow::Result<Tried>> + Send;
}

/// What clients have done.
pub(super) struct Driven {
    /// Transactions that were committed, from when they were tried first.
    pub(super) tally: Tally,
    /// Tries that lost, inside the window.
    pub(super) conflicts: u64,
    /// All commits, inside the window or not.
    pub(super) committed: u64,
    /// The longest that a transaction took, or had taken when the window was over.
    pub(super) longest: Duration,
    /// Commits of the client that made the fewest, inside the window.
    pub(super) fewest: u64,
}

impl Driven {
    fn new(window: Window) -> Self {
        Self { tally: Tally::new(window), conflicts: 0, committed: 0, longest: Duration::ZERO, fewest: u64::MAX }
    }
}

struct Client<W> {
    wire: W,
    /// The objects that it draws from, by number, and the versions that it knows of them.
    objects: Vec<(usize, u64)>,
    random: Random,
}

/// Keeps a client on each wire busy until the window is over. `first`: the version of each object at first.
pub(super) async fn drive<W: Wire>(wires: Vec<W>, case: Case, first: &[u64], window: Window) -> anyhow::Result<Driven> {
    let mut running = JoinSet::new();
    for (number, wire) in wires.into_iter().enumerate() {
        let objects = case.objects_of(number).map(|object| (object, first[object])).collect();
        let client = Client { wire, objects, random: Random::seeded(number as u64 + 1) };
        running.spawn(client.run(case.objects, window));
    }
    ensure!(running.len() == CLIENTS, "every client has its way to the system");
    let mut all = Driven::new(window);
    while let Some(ended) = running.join_next().await {
        let driven = ended??;
        all.tally.add(&driven.tally);
        all.conflicts += driven.conflicts;
        all.committed += driven.committed;
        all.longest = all.longest.max(driven.longest);
        all.fewest = all.fewest.min(driven.tally.count());
    }
    Ok(all)
}

impl<W: Wire> Client<W> {
    async fn run(mut self, together: usize, window: Window) -> anyhow::Result<Driven> {
        let mut driven = Driven::new(window);
        'transactions: loop {
            let begun = Instant::now();
            let places = self.draw(together);
            loop {
                driven.longest = driven.longest.max(begun.elapsed());
                if window.is_over(Instant::now()) {
                    break 'transactions;
                }
                let objects: Vec<_> = places.iter().map(|place| self.objects[*place]).collect();
                let tried = self.wire.transact(&objects).await?;
                let now = Instant::now();
                match tried {
                    Tried::Made(versions) => {
                        ensure!(versions.len() == together, "an answer to {together} changes tells {versions:?}");
                        places.iter().zip(versions).for_each(|(place, version)| self.objects[*place].1 = version);
                        driven.tally.committed(begun, now);
                        driven.committed += 1;
                        driven.longest = driven.longest.max(now - begun);
                        break;
                    }
                    Tried::Lost(against) => {
                        let news = against.iter().any(|(at, version)| objects.get(*at).is_some_and(|o| o.1 < *version));
                        ensure!(news, "a transaction lost against what it knew: {objects:?}, {against:?}");
                        for (at, version) in against {
                            self.objects[places[at]].1 = version;
                        }
                        driven.conflicts += u64::from(window.counts(now));
                    }
                    Tried::Later(wait) => tokio::time::sleep(wait).await,
                }
            }
        }
        Ok(driven)
    }

    /// Places of so many objects, no two the same.
    fn draw(&mut self, together: usize) -> Vec<usize> {
        let mut places = Vec::with_capacity(together);
        while places.len() < together {
            let place = self.random.below(self.objects.len() as u64) as usize;
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}
