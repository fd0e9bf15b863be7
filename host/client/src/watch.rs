//! Watching: a stream of changes that is taken up again by itself where it was cut off.

use std::collections::VecDeque;

use ostrakon_wire::answer::{Event, Events, PageItem};
use ostrakon_wire::bounds::PAGE_ITEMS_MAX;
use ostrakon_wire::{Code, List, Operation, Position, Reply, Watch};
use tokio::time::sleep;

use crate::connection::Following;
use crate::error::Error;
use crate::link::{Client, jitter};
use crate::retry;

/// What who watches is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A commit unit: one change, or all changes of a transaction that are watched.
    Changes {
        /// The changes, in order.
        changes: Vec<Event>,
        /// The place behind them: a watch from there goes on with what follows.
        position: Position,
    },
    /// Nothing more has happened up to this place; a watch from there misses nothing. The first one tells where the watch
    /// has begun.
    Bookmark(Position),
}

impl Told {
    /// The place behind it.
    pub fn position(&self) -> Position {
        match self {
            Self::Changes { position, .. } | Self::Bookmark(position) => *position,
        }
    }
}

/// A watch. It ends when it is dropped, or by an error that going on cannot help.
pub struct Watcher {
    client: Client,
    watch: Watch,
    feed: Option<Following>,
    /// Behind what was handed out.
    told: Option<Position>,
    /// Whole units that have come.
    ready: VecDeque<Told>,
    /// The beginning of a unit whose rest has not come yet.
    begun: Vec<Event>,
    /// Tries to take it up again since it was last told something.
    attempts: u32,
}

impl Client {
    /// Watches changes: those behind `watch.from`, or from now on.
    ///
    /// ```no_run
    /// # async fn example(client: ostrakon_client::Client) -> Result<(), ostrakon_client::Error> {
    /// use ostrakon_client::{Told, Watch};
    ///
    /// let mut watcher = client.watch(Watch::of_client("acme"));
    /// loop {
    ///     match watcher.next().await? {
    ///         Told::Changes { changes, position } => println!("{} changes, up to {position}", changes.len()),
    ///         Told::Bookmark(position) => println!("nothing up to {position}"),
    ///     }
    /// }
    /// # }
    /// ```
    pub fn watch(&self, watch: Watch) -> Watcher {
        let (ready, begun, told) = (VecDeque::new(), Vec::new(), watch.from);
        Watcher { client: self.clone(), watch, feed: None, told, ready, begun, attempts: 0 }
    }

    /// All objects of a list, as they stood at one place, and that place: a watch from there misses nothing. Where history
    /// no longer holds all of that place by the time the last page is read, those pages are newer.
    pub async fn list_all(&self, list: List) -> Result<(Vec<PageItem>, Position), Error> {
        let mut list = List { limit: PAGE_ITEMS_MAX, token: None, ..list };
        let (mut items, asked_for) = (Vec::new(), list.at);
        let mut listed_at = asked_for;
        loop {
            let page = match self.list(list.clone()).await {
                // Too much has changed since the first page. From here on each page tells what stands there when it is
                // made; who watches from the first one's place is told the difference.
                Err(error) if error.code() == Some(Code::NotRetained) && list.at.is_some() && asked_for.is_none() => {
                    list.at = None;
                    continue;
                }
                page => page?,
            };
            if listed_at.is_none() {
                list.at = Some(page.decided.position);
            }
            let place = *listed_at.get_or_insert(page.decided.position);
            items.extend(page.items);
            match page.token {
                Some(token) => list.token = Some(token),
                None => return Ok((items, place)),
            }
        }
    }

    /// All objects that a watch is about, and the watch from there on, with no gap in between.
    pub async fn list_and_watch(&self, watch: Watch) -> Result<(Vec<PageItem>, Watcher), Error> {
        let list = List {
            client: watch.client.clone(),
            data_type: watch.data_type.clone(),
            prefix: watch.prefix.clone(),
            limit: PAGE_ITEMS_MAX,
            token: None,
            with_payloads: watch.with_payloads,
            at: None,
        };
        let (items, place) = self.list_all(list).await?;
        Ok((items, self.watch(Watch { from: Some(place), ..watch })))
    }
}

impl Watcher {
    /// What comes next, however long that takes: a lost connection or a restarted host is waited for. Safe to cancel.
    ///
    /// # Errors
    /// What waiting cannot help, as `position-expired`: then list, and watch from the place of the list.
    pub async fn next(&mut self) -> Result<Told, Error> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                self.told = Some(told.position());
                return Ok(told);
            }
            let error = match self.step().await {
                Ok(()) => continue,
                Err(error) => error,
            };
            self.feed = None;
            // A unit is told whole, or told again.
            self.begun.clear();
            if !goes_on(&error) {
                return Err(error);
            }
            self.attempts += 1;
            sleep(retry::wait(self.attempts, &error, jitter())).await;
        }
    }

    /// The place behind all that [`Self::next`] has told: a watch from there goes on with what follows.
    pub fn position(&self) -> Option<Position> {
        self.told
    }

    async fn step(&mut self) -> Result<(), Error> {
        let feed = match &mut self.feed {
            Some(feed) => feed,
            None => {
                let feed = self.client.follow(Operation::Watch(self.watch.clone())).await?;
                self.feed.insert(feed)
            }
        };
        match feed.next().await?.outcome? {
            Reply::Events(events) => {
                // The first frame only says where it begins.
                if !events.items.is_empty() {
                    self.attempts = 0;
                }
                self.take(events);
                Ok(())
            }
            other => Err(Error::Protocol(format!("an answer of number {} to a watch", other.number()))),
        }
    }

    fn take(&mut self, events: Events) {
        let Events { items, more, decided } = events;
        let end = decided.position;
        if items.is_empty() {
            // Where a watch is taken up again there is nothing new to tell.
            if self.watch.from != Some(end) {
                self.watch.from = Some(end);
                self.ready.push_back(Told::Bookmark(end));
            }
            return;
        }
        for event in items {
            if self.begun.last().is_some_and(|last| last.revision != event.revision) {
                let revision = self.begun[0].revision;
                self.unit_ends(Position::behind(end.log, revision));
            }
            self.begun.push(event);
        }
        if !more {
            self.unit_ends(end);
        }
    }

    fn unit_ends(&mut self, position: Position) {
        self.watch.from = Some(position);
        let changes = std::mem::take(&mut self.begun);
        self.ready.push_back(Told::Changes { changes, position });
    }
}

/// Whether a watch that has met this goes on by itself.
fn goes_on(error: &Error) -> bool {
    match error {
        Error::Refused(refused) => refused.code.retryable(),
        Error::Unreachable(_) | Error::Lost(_) | Error::Deadline => true,
        Error::Protocol(_) | Error::Config(_) => false,
    }
}
