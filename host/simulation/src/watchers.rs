//! Those who watch, and what they must be told: every change that they watch, once, in order, whole, from where they have
//! begun; and what stood there before.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ostrakon_engine::{Engine, Watching};
use ostrakon_store::Outcome;
use ostrakon_wire::answer::{Event, Events};
use ostrakon_wire::{ActionId, ActionKind, Code, Position, Watch, WireError};

use crate::client::{client_name, place};
use crate::oracle::{Oracle, Wrong};
use crate::world::{HISTORY_KEPT, IDS_KEPT, LOG_KEPT, Woken, World};

/// Those who watch at a time.
const WATCHERS: usize = 4;

/// One change of a commit unit, as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) object: usize,
    pub(crate) version: u64,
    pub(crate) outcome: Outcome,
    pub(crate) kind: ActionKind,
    /// That of the whole unit.
    pub(crate) id: Option<ActionId>,
}

type Frames = Rc<RefCell<VecDeque<Result<Events, WireError>>>>;

/// One who watches.
pub(crate) struct Watcher {
    watch: Watch,
    /// Behind what it was told.
    stands: Option<Position>,
    frames: Frames,
    /// It wants to know where it stands.
    asks: Rc<Cell<bool>>,
    work: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

/// Takes frames as they come, and a bookmark where one is wanted.
async fn follow(mut watching: Watching, frames: Frames, asks: Rc<Cell<bool>>) {
    frames.borrow_mut().push_back(Ok(watching.begins()));
    loop {
        let told = {
            let mut next = pin!(watching.next());
            std::future::poll_fn(|context| match next.as_mut().poll(context) {
                Poll::Ready(told) => Poll::Ready(Some(told)),
                Poll::Pending if asks.take() => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        };
        match told {
            Some(told) => {
                let ends = told.is_err();
                frames.borrow_mut().push_back(told);
                if ends {
                    return;
                }
            }
            None => frames.borrow_mut().extend(watching.bookmark().map(Ok)),
        }
    }
}

impl Watcher {
    /// The host is gone.
    pub(crate) fn let_go(&mut self) {
        self.work = Box::pin(std::future::pending());
    }

    fn begin(engine: &Arc<Engine>, watch: Watch) -> Self {
        let (frames, asks): (Frames, Rc<Cell<bool>>) = (Rc::default(), Rc::default());
        let stands = watch.from;
        let work: Pin<Box<dyn Future<Output = ()>>> = match engine.watch(&watch) {
            Ok(watching) => Box::pin(follow(watching, Rc::clone(&frames), Rc::clone(&asks))),
            Err(error) => {
                frames.borrow_mut().push_back(Err(error));
                Box::pin(std::future::pending())
            }
        };
        let woken = Arc::<Woken>::default();
        woken.wake_now();
        Self { watch, stands, frames, asks, work, woken }
    }
}

impl World {
    /// One step of somebody who watches, or of one that begins to. `false`: there is none to take.
    pub(crate) fn watch_step(&self) -> bool {
        let count = self.watchers.borrow().len();
        if count < WATCHERS && self.begins() {
            self.begin_watch();
            return true;
        }
        if count > 0 && self.begins() && self.one_in(60) {
            self.watch_again();
            return true;
        }
        if count > 0 && self.one_in(4) {
            let at = self.draw(count as u32) as usize;
            let watchers = self.watchers.borrow();
            watchers[at].asks.set(true);
            watchers[at].woken.wake_now();
        }
        self.poll_watcher()
    }

    fn begin_watch(&self) {
        let client = client_name(self.draw(crate::client::CLIENTS as u32) as usize);
        let with_type = self.one_in(2);
        // Sometimes from a place that is long ago, or not: as one who has listed then.
        let newest = self.oracle.borrow().revision();
        let back = u64::from(self.draw(if self.one_in(4) { 400 } else { 30 }));
        let from = self.one_in(2).then(|| newest.saturating_sub(back));
        let from = from.map(place);
        let watch = Watch {
            data_type: with_type.then(|| "volume".to_owned()),
            prefix: (with_type && self.one_in(3)).then(|| format!("o{}", self.draw(6))),
            from,
            with_payloads: !self.one_in(4),
            with_previous: self.one_in(2),
            ..Watch::of_client(client)
        };
        self.tell(format_args!("watch {watch:?}"));
        let watcher = Watcher::begin(&self.engine(), watch);
        self.watchers.borrow_mut().push(watcher);
    }

    /// One who watches is gone, and comes again where it stood.
    fn watch_again(&self) {
        let mut watchers = self.watchers.borrow_mut();
        let at = self.draw(watchers.len() as u32) as usize;
        let gone = watchers.swap_remove(at);
        drop(watchers);
        if self.one_in(3) {
            return self.tell(format_args!("gone: who has watched {}", gone.watch.client));
        }
        self.tell(format_args!("watch {} again from {:?}", gone.watch.client, gone.stands));
        let watcher = Watcher::begin(&self.engine(), Watch { from: gone.stands, ..gone.watch });
        self.watchers.borrow_mut().push(watcher);
    }

    /// The host is another one: all come again where they stood.
    pub(crate) fn watch_all_again(&self) {
        let gone = self.watchers.take();
        let engine = self.engine();
        let again = gone.into_iter().map(|gone| Watcher::begin(&engine, Watch { from: gone.stands, ..gone.watch }));
        self.watchers.replace(again.collect());
    }

    /// Lets one go on that can.
    fn poll_watcher(&self) -> bool {
        let mut watcher = {
            let mut watchers = self.watchers.borrow_mut();
            let woken: Vec<usize> = (0..watchers.len()).filter(|at| watchers[*at].woken.is_set()).collect();
            let Some(at) = (!woken.is_empty()).then(|| woken[self.draw(woken.len() as u32) as usize]) else {
                return false;
            };
            watchers.swap_remove(at)
        };
        watcher.woken.clear();
        let waker = Waker::from(Arc::clone(&watcher.woken));
        let ended = watcher.work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        let frames = std::mem::take(&mut *watcher.frames.borrow_mut());
        for frame in frames {
            if !self.take_frame(&mut watcher, frame) {
                return true;
            }
        }
        if !ended {
            self.watchers.borrow_mut().push(watcher);
        }
        true
    }

    /// One frame. `false`: the watch has ended.
    fn take_frame(&self, watcher: &mut Watcher, frame: Result<Events, WireError>) -> bool {
        let mut oracle = self.oracle.borrow_mut();
        match frame {
            Ok(events) => {
                let place = events.decided.position;
                self.tell(format_args!("told {} changes up to {place}", events.items.len()));
                let held = match watcher.stands {
                    Some(stands) => oracle.watched(&watcher.watch, stands, &events),
                    // From now on: from where it says that it begins.
                    None => oracle.hold_place(place),
                };
                watcher.stands = Some(place);
                if let Err(what) = held {
                    oracle.wrong(format!("watch of {}: {what}", watcher.watch.client));
                }
                true
            }
            Err(error) => {
                self.tell(format_args!("watch ends: {}", error.code.name()));
                let from = watcher.stands.map(|stands| stands.revision.get() + 1);
                let gone = from.is_some_and(|from| !oracle.holds_revision(from));
                let failed = oracle.store_failed && error.code == Code::StoreFailed;
                if !(error.code == Code::PositionExpired && gone || error.code == Code::Overloaded || failed) {
                    oracle.wrong(format!("watch of {} ended: {error}", watcher.watch.client));
                }
                false
            }
        }
    }

    /// Whether everybody who watches was told everything.
    pub(crate) fn all_told(&self) -> Result<(), String> {
        let newest = self.oracle.borrow().revision();
        for _ in 0..10_000 {
            let mut behind = false;
            for watcher in self.watchers.borrow().iter() {
                let stands = watcher.stands.map_or(0, |stands| stands.revision.get());
                if stands < newest {
                    behind = true;
                    watcher.asks.set(true);
                    watcher.woken.wake_now();
                }
            }
            if !behind {
                return Ok(());
            }
            self.hand_out();
            self.read_once();
            self.poll_watcher();
        }
        Err(format!("who watches is not told all up to {newest}"))
    }
}

impl Oracle {
    fn hold_place(&self, place: Position) -> Wrong {
        match place.revision.get() <= self.revision() {
            true => Ok(()),
            false => Err(format!("told of the place {place}, and {} is durable", self.revision())),
        }
    }

    /// Whether the log must still hold a revision: it keeps so many changes at least.
    fn holds_revision(&self, revision: u64) -> bool {
        self.changes_from(revision) <= LOG_KEPT
    }

    /// Whether ids must still be remembered of a revision.
    pub(crate) fn remembers_revision(&self, revision: u64) -> bool {
        self.changes_from(revision) <= IDS_KEPT
    }

    fn changes_from(&self, revision: u64) -> usize {
        let from = self.seen.get(revision.saturating_sub(1) as usize..);
        from.into_iter().flatten().map(Vec::len).sum()
    }

    /// What is told next to one who stands there, and the place behind it.
    fn watched(&self, watch: &Watch, stands: Position, events: &Events) -> Wrong {
        let place = events.decided.position;
        let prefix = watch.text_prefix();
        let mut expected = self.behind(stands, &prefix);
        for (at, event) in events.items.iter().enumerate() {
            let Some((revision, index, seen)) = expected.next() else {
                return Err(format!(
                    "told of {} version {} that it was told before, or never was",
                    event.object, event.version
                ));
            };
            self.hold_event(watch, revision, &seen, event)?;
            if at + 1 == events.items.len() {
                // Behind the last one: inside the unit where more of it is for this watcher.
                let goes_on = expected.next().is_some_and(|(next, _, _)| next == revision);
                let right = match goes_on {
                    true => (revision - 1, index + 1),
                    false => (revision, 0),
                };
                if (place.revision.get(), place.index) != right || events.more != goes_on {
                    return Err(format!("told of the place {place} (more: {}) behind {right:?}", events.more));
                }
            }
        }
        if events.items.is_empty()
            && let Some((revision, ..)) =
                self.behind(stands, &prefix).next().filter(|next| next.0 <= place.revision.get())
        {
            return Err(format!("told that there is nothing up to {place}, and there is revision {revision}"));
        }
        match place.revision >= stands.revision {
            true => self.hold_place(place),
            false => Err(format!("told of the place {place} behind {stands}")),
        }
    }

    /// The changes behind a place that are watched: revision, index in its unit.
    fn behind<'a>(&'a self, stands: Position, prefix: &'a str) -> impl Iterator<Item = (u64, u32, Seen)> + 'a {
        let from = stands.revision.get();
        let units = self.seen.iter().enumerate().skip(from as usize);
        units.flat_map(move |(at, unit)| {
            let revision = at as u64 + 1;
            let skip = if revision == from + 1 { stands.index } else { 0 };
            let changes = (0..).zip(unit).filter(move |(index, seen)| {
                let tells = matches!(seen.outcome, Outcome::Made | Outcome::Escalated);
                *index >= skip && tells && self.objects[seen.object].id.as_text().starts_with(prefix)
            });
            changes.map(move |(index, seen)| (revision, index, seen.clone()))
        })
    }

    fn hold_event(&self, watch: &Watch, revision: u64, seen: &Seen, event: &Event) -> Wrong {
        let object = &self.objects[seen.object];
        let told = (&event.object, event.version.get(), event.revision.get(), event.kind, event.escalated);
        let right = (&object.id, seen.version, revision, seen.kind, seen.outcome == Outcome::Escalated);
        if told != right {
            return Err(format!("told {told:?} where {right:?} comes next"));
        }
        if event.action_id != seen.id {
            return Err(format!("told another action than the one that made version {}", seen.version));
        }
        if event.escalated {
            return Ok(());
        }
        let gone = |version: u64| version + u64::from(HISTORY_KEPT) <= object.version();
        let (payload, previous) = (object.at(seen.version), object.at(seen.version - 1));
        if event.deleted != payload.is_none() {
            return Err(format!("told another end of version {} than its own", seen.version));
        }
        let may_omit = watch.with_payloads && gone(seen.version) || watch.with_previous && gone(seen.version - 1);
        if event.omitted && !may_omit {
            return Err(format!("something of version {} is left out that history holds", seen.version));
        }
        let hold = |told: Option<&_>, right: Option<&_>, wanted: bool, what: &str| {
            let fits = told == right.filter(|_| wanted) || told.is_none() && event.omitted;
            if fits { Ok(()) } else { Err(format!("told another {what} of version {}", seen.version)) }
        };
        hold(event.payload.as_ref(), payload, watch.with_payloads, "value")?;
        hold(event.previous.as_ref(), previous, watch.with_previous, "value before")
    }
}
