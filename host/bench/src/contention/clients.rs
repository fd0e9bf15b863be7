//! The clients: each has one action under way, on the version that its connection saw last.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use ostrakon_wire::bounds::RETRY_AFTER_MS;
use ostrakon_wire::value::{Map as Fields, Value as Field};
use ostrakon_wire::{Action, ActionId, Answer, Code, ObjectId, OnConflict, Operation, Payload, Reply, Target};

use tokio::task::JoinSet;

use super::Mode;
use crate::load::{Random, Tally, Window};
use crate::pipe::{Caller, action_id, perform};

pub(super) const CONNECTIONS: usize = 32;
pub(super) const CLIENTS: usize = 256;
/// A version that was seen longer ago is asked for before it is acted on.
pub(super) const TRUSTED: Duration = Duration::from_millis(100);
/// The first wait of the client's own loop is drawn below this; every further one below twice as much.
const BACK_OFF: Duration = Duration::from_micros(500);
const BACK_OFF_DOUBLINGS: u32 = 7;
/// Members of an object that merges set.
pub(super) const MEMBERS: usize = 16;

/// How long a client waits that has lost so often: full jitter.
pub(super) fn back_off(random: &mut Random, tries: u32) -> Duration {
    let spread = BACK_OFF * (1 << tries.min(BACK_OFF_DOUBLINGS));
    Duration::from_nanos(random.below(spread.as_nanos() as u64))
}

pub(super) fn object(key: usize) -> anyhow::Result<ObjectId> {
    Ok(ObjectId::new("contention", "counter", &format!("key-{key:06}"))?)
}

pub(super) fn fields(pairs: impl IntoIterator<Item = (String, i64)>) -> anyhow::Result<Payload> {
    let map: Fields = pairs.into_iter().map(|(name, number)| (name, Field::Integer(number))).collect();
    Ok(Payload::from_value(&Field::Map(map))?)
}

/// A client: one action under way.
struct Client {
    number: usize,
    key: usize,
    action: Option<Action>,
    /// The action's id, the same for every try.
    id: ActionId,
    begun: Instant,
    tries: u32,
    made: u64,
    /// Commits inside the window.
    counted: u64,
}

pub(super) struct Driven {
    pub(super) tally: Tally,
    /// Commits of each client inside the window.
    pub(super) clients: Vec<u64>,
    pub(super) requests: u64,
    pub(super) committed: u64,
}

impl Driven {
    pub(super) fn new(window: Window) -> Self {
        Self { tally: Tally::new(window), clients: Vec::new(), requests: 0, committed: 0 }
    }

    /// What all of them have done.
    pub(super) async fn of_all(mut running: JoinSet<anyhow::Result<Self>>, window: Window) -> anyhow::Result<Self> {
        let mut all = Self::new(window);
        while let Some(ended) = running.join_next().await {
            let driven = ended??;
            all.tally.add(&driven.tally);
            all.clients.extend(driven.clients);
            all.requests += driven.requests;
            all.committed += driven.committed;
        }
        Ok(all)
    }
}

struct Driver {
    wire: Caller,
    mode: Mode,
    keys: usize,
    random: Random,
    clients: Vec<Client>,
    /// The version of each object that came by last, and when.
    seen: HashMap<usize, (u64, Instant)>,
    later: BinaryHeap<Reverse<(Instant, usize)>>,
    driven: Driven,
    window: Window,
    under_way: usize,
}

pub(super) async fn drive(
    wire: Caller,
    place: usize,
    mode: Mode,
    keys: usize,
    window: Window,
) -> anyhow::Result<Driven> {
    let of_connection = CLIENTS / CONNECTIONS;
    let clients = (0..of_connection).map(|client| Client {
        number: place * of_connection + client,
        key: 0,
        action: None,
        id: ActionId::from_bits(0),
        begun: Instant::now(),
        tries: 0,
        made: 0,
        counted: 0,
    });
    let mut driver = Driver {
        wire,
        mode,
        keys,
        random: Random::seeded(place as u64 + 1),
        clients: clients.collect(),
        seen: HashMap::new(),
        later: BinaryHeap::new(),
        driven: Driven::new(window),
        window,
        under_way: 0,
    };
    for client in 0..of_connection {
        driver.begin(client)?;
    }
    loop {
        driver.wire.flush().await?;
        if driver.under_way == 0 && driver.later.is_empty() {
            driver.driven.clients = driver.clients.iter().map(|client| client.counted).collect();
            return Ok(driver.driven);
        }
        let due = driver.later.peek().map(|Reverse((at, _))| *at);
        tokio::select! {
            filled = driver.wire.fill() => filled?,
            () = sleep_until(due) => {}
        }
        let now = Instant::now();
        while driver.later.peek().is_some_and(|Reverse((at, _))| *at <= now) {
            let Some(Reverse((_, client))) = driver.later.pop() else { break };
            driver.act(client)?;
        }
        while let Some(answer) = driver.wire.answer()? {
            driver.answered(answer)?;
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

impl Driver {
    /// The client's next action, unless the window is over.
    fn begin(&mut self, place: usize) -> anyhow::Result<()> {
        let now = Instant::now();
        if self.window.is_over(now) {
            return Ok(());
        }
        let key = self.random.below(self.keys as u64) as usize;
        let client = &mut self.clients[place];
        client.made += 1;
        client.action = Some(if client.made.is_multiple_of(2) {
            Action::Add(fields([("/n".to_owned(), 1)])?)
        } else {
            // No other client sets the same: nothing is found to be done already.
            let value = (client.number as i64) << 32 | client.made as i64;
            Action::Merge(fields([(format!("f{}", client.number % MEMBERS), value)])?)
        });
        client.id = action_id(self.random.next());
        (client.key, client.begun, client.tries) = (key, now, 0);
        self.act(place)
    }

    /// Tries the client's action on the version that it knows, or asks for one.
    fn act(&mut self, place: usize) -> anyhow::Result<()> {
        let client = &mut self.clients[place];
        let object = object(client.key)?;
        let known = self.seen.get(&client.key).filter(|(_, at)| at.elapsed() < TRUSTED).map(|(version, _)| *version);
        let operation = match known {
            None => Operation::ReadVersion(Target { object, shard_key: None }),
            Some(known) => {
                let choice = if self.mode == Mode::CasLoop { OnConflict::Reject } else { OnConflict::Reconcile };
                let action = client.action.clone().context("a client has an action")?;
                client.tries += 1;
                Operation::Perform(perform(object, action, known, client.id, choice))
            }
        };
        self.driven.requests += 1;
        self.under_way += 1;
        self.wire.ask(place as u64, operation);
        Ok(())
    }

    fn saw(&mut self, key: usize, version: u64) {
        let seen = self.seen.entry(key).or_insert((version, Instant::now()));
        *seen = (seen.0.max(version), Instant::now());
    }

    fn answered(&mut self, answer: Answer) -> anyhow::Result<()> {
        let place = answer.id as usize;
        self.under_way -= 1;
        let now = Instant::now();
        let (key, begun, tries) = {
            let client = &self.clients[place];
            (client.key, client.begun, client.tries)
        };
        match answer.outcome {
            Ok(Reply::Version(stored)) => {
                self.saw(key, stored.version.get());
                self.act(place)
            }
            Ok(Reply::Committed(committed)) => {
                self.saw(key, committed.version.get());
                self.driven.committed += 1;
                self.driven.tally.committed(begun, now);
                if self.window.counts(now) {
                    self.clients[place].counted += 1;
                }
                self.begin(place)
            }
            Err(error) if error.code == Code::Conflict && self.mode == Mode::CasLoop => {
                let winner = error.winner.context("a conflict names the winner")?;
                self.saw(key, winner.version.get());
                let wait = back_off(&mut self.random, tries);
                self.later.push(Reverse((now + wait, place)));
                Ok(())
            }
            Err(error) if error.code == Code::Overloaded => {
                let wait = error.retry_after_ms.unwrap_or(RETRY_AFTER_MS);
                self.later.push(Reverse((now + Duration::from_millis(wait.into()), place)));
                Ok(())
            }
            Err(error) => Err(error).context("an action was refused"),
            Ok(other) => bail!("answer {} to an action", other.number()),
        }
    }
}
