//! The world: who is under way, what is on the disk, what time it is, and whose step is next.

mod mishaps;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use ostrakon_core::policy::{Brief, Verdict};
use ostrakon_engine::simulated::Machinery;
use ostrakon_engine::{Context as Came, Engine};
use ostrakon_store::{SimulatedClock, SimulatedDisk, Store, StoreConfig, Views};
use ostrakon_wire::{ActionKind, LogId, Reply, TimestampMs, WireError};

use crate::answers::{Call, What};
use crate::client;
use crate::mover::Mover;
use crate::oracle::Oracle;
use crate::policies::policies;
use crate::trace::Trace;
use crate::watchers::Watcher;

/// Requests that are under way at most.
const UNDER_WAY_MAX: usize = 40;
/// Changes that the commit queue takes: few, so that it is full now and then.
const QUEUED_MAX: usize = 12;
/// Changes of a group at most.
const GROUP_MAX: u32 = 16;
/// Changes whose ids are remembered: few, so that they are forgotten while somebody may still use them.
pub(crate) const IDS_KEPT: usize = 256;
/// Changes that the log keeps: few, so that who watches finds it gone now and then.
pub(crate) const LOG_KEPT: usize = 400;
/// Versions that history keeps: more than a group makes, fewer than clients are behind now and then.
pub(crate) const HISTORY_KEPT: u32 = 24;
/// How often a policy is asked before a person has it.
pub(crate) const TRIES_MAX: u32 = 3;
/// How many policies think at a time, one while another one does.
const DEPTH_MAX: u32 = 3;
/// The time of day when it begins, in milliseconds since 1970.
const BEGINS_MS: u64 = 1_800_000_000_000;

thread_local! {
    static CURRENT: RefCell<Option<Rc<World>>> = const { RefCell::new(None) };
}

/// One life of the host.
struct Host {
    engine: Arc<Engine>,
    machinery: Machinery,
    views: Views,
}

/// A request that is under way.
struct Task {
    call: Call,
    future: Pin<Box<dyn Future<Output = Result<Reply, WireError>>>>,
    woken: Arc<Woken>,
}

#[derive(Default)]
pub(crate) struct Woken(AtomicBool);

impl Woken {
    pub(crate) fn wake_now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_now();
    }
}

/// What happened so far, counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) requests: u64,
    pub(crate) crashes: u64,
    pub(crate) failed_persists: u64,
    pub(crate) vanished: u64,
    pub(crate) jumps: u64,
    pub(crate) conflicts: u64,
    pub(crate) overloaded: u64,
}

pub(crate) struct World {
    rng: RefCell<fastrand::Rng>,
    pub(crate) clock: Arc<SimulatedClock>,
    disk: SimulatedDisk,
    host: RefCell<Option<Rc<Host>>>,
    tasks: RefCell<Vec<Task>>,
    pub(crate) mover: RefCell<Option<Mover>>,
    pub(crate) watchers: RefCell<Vec<Watcher>>,
    pub(crate) oracle: RefCell<Oracle>,
    pub(crate) trace: RefCell<Trace>,
    pub(crate) counts: Cell<Counts>,
    depth: Cell<u32>,
    /// Steps for which the disk is slow: nothing is committed.
    slow_disk: Cell<u32>,
    /// Whether new requests begin.
    begins: Cell<bool>,
    /// Steps until a host whose persist has failed is restarted.
    restart_in: Cell<Option<u32>>,
}

impl World {
    /// A world, and a host in it, for this thread.
    pub(crate) fn begin(seed: u64, keep_trace: bool) -> Rc<Self> {
        let oracle = Oracle { objects: client::objects(), ..Oracle::default() };
        let world = Rc::new(Self {
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            clock: SimulatedClock::new(TimestampMs::new(BEGINS_MS)),
            disk: SimulatedDisk::default(),
            host: RefCell::new(None),
            tasks: RefCell::new(Vec::new()),
            mover: RefCell::new(None),
            watchers: RefCell::new(Vec::new()),
            oracle: RefCell::new(oracle),
            trace: RefCell::new(Trace::new(keep_trace)),
            counts: Cell::default(),
            depth: Cell::new(0),
            slow_disk: Cell::new(0),
            begins: Cell::new(true),
            restart_in: Cell::new(None),
        });
        CURRENT.set(Some(Rc::clone(&world)));
        world.start_host();
        world
    }

    /// The world of this thread.
    pub(crate) fn current() -> Rc<Self> {
        CURRENT.with_borrow(|current| current.clone()).expect("a policy is asked in a world")
    }

    /// The host is gone, and the world with it.
    pub(crate) fn end(&self) {
        self.tasks.take();
        self.mover.take();
        self.watchers.take();
        self.host.take();
        CURRENT.set(None);
    }

    /// The time of day by clocks that do not jump: those of the clients.
    pub(crate) fn right_time(&self) -> u64 {
        BEGINS_MS + self.clock.passed() / 1_000
    }

    pub(crate) fn draw(&self, below: u32) -> u32 {
        self.rng.borrow_mut().u32(..below)
    }

    pub(crate) fn one_in(&self, many: u32) -> bool {
        self.draw(many) == 0
    }

    pub(crate) fn tell(&self, words: fmt::Arguments<'_>) {
        self.trace.borrow_mut().line(words);
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        count(&mut counts);
        self.counts.set(counts);
    }

    fn host(&self) -> Rc<Host> {
        Rc::clone(self.host.borrow().as_ref().expect("a host is there between crashes"))
    }

    fn start_host(&self) {
        let config = StoreConfig {
            shards: 4,
            owners: 3,
            history_versions: Some(HISTORY_KEPT),
            action_ids: IDS_KEPT,
            log_changes: LOG_KEPT,
            ..StoreConfig::new("simulated", LogId::new(1))
        };
        let opened = Store::simulated(config, &self.disk, &self.clock);
        let opened = opened.unwrap_or_else(|error| panic!("the store does not open: {error}"));
        let views = opened.0.views();
        let engine = Engine::simulated(opened, policies(), TRIES_MAX, QUEUED_MAX, Duration::ZERO);
        let (engine, machinery) = engine.unwrap_or_else(|error| panic!("the host does not start: {error}"));
        let host = Host { engine: Arc::new(engine), machinery, views };
        let mut oracle = self.oracle.borrow_mut();
        oracle.observe(&host.views.latest());
        oracle.restarted(&host.views.latest());
        drop(oracle);
        self.host.replace(Some(Rc::new(host)));
    }

    /// A verdict was given.
    pub(crate) fn judged(&self, brief: &Brief<&str>, tag: Option<u64>, verdict: Option<&Verdict>) {
        // Nothing comes of it any more, and of what was judged before something may have.
        if self.host().machinery.has_failed() {
            return;
        }
        let mut oracle = self.oracle.borrow_mut();
        let (mut from, mut to) = (0, oracle.actions.len());
        if let Some(tag) = tag {
            (from, to) = (tag as usize - 1, tag as usize);
        }
        let Oracle { objects, actions, .. } = &mut *oracle;
        for sent in &mut actions[from..to] {
            let is_it = sent.kind() == brief.kind && objects[sent.object].id.name() == brief.name;
            // A delete's body says nothing: whichever it is.
            let same = brief.kind != ActionKind::Delete
                || sent.condition == crate::actions::Condition::Known(brief.known) && sent.came_to.is_none();
            if is_it && same {
                sent.verdicts.push((brief.latest, verdict.cloned()));
            }
        }
    }

    /// While somebody thinks, the world goes on, now and then for long.
    pub(crate) fn meanwhile(&self) {
        if self.depth.get() >= DEPTH_MAX || !self.one_in(3) {
            return;
        }
        self.depth.set(self.depth.get() + 1);
        for _ in 0..self.draw(6) {
            self.step(self.begins.get());
        }
        if self.one_in(10) {
            self.pass(u64::from(self.draw(8_000)));
        }
        self.depth.set(self.depth.get() - 1);
    }

    /// One step of whoever is next. `false`: there is nothing to do for anybody. `more`: new requests may begin.
    pub(crate) fn step(&self, more: bool) -> bool {
        let order = match self.draw(100) {
            0..=27 => [0, 1, 2, 3, 4, 5, 6, 7, 8],
            28..=40 => [1, 2, 3, 4, 5, 6, 7, 8, 0],
            41..=53 => [2, 3, 4, 5, 6, 7, 8, 0, 1],
            54..=66 => [3, 4, 5, 6, 7, 8, 0, 1, 2],
            67..=72 => [5, 6, 7, 0, 1, 2, 3, 4, 8],
            73..=77 => [6, 7, 0, 1, 2, 3, 4, 5, 8],
            78..=81 => [7, 0, 1, 2, 3, 4, 5, 6, 8],
            82..=85 => [8, 0, 1, 2, 3, 4, 5, 6, 7],
            86..=97 => [4, 0, 1, 2, 3, 5, 6, 7, 8],
            _ => {
                self.pass(u64::from(self.draw(2_000)));
                return true;
            }
        };
        order.into_iter().any(|step| match step {
            0 => self.poll(),
            1 => self.commit(),
            2 => self.read(),
            3 => self.reconcile(),
            4 => more && self.begin_request(),
            5 => self.judge(),
            6 => self.hand_out(),
            7 => self.watch_step(),
            _ => self.move_step(more),
        })
    }

    fn pass(&self, us: u64) {
        self.tell(format_args!("time {us}"));
        self.clock.pass_us(us);
    }

    /// Lets time pass until somebody has something to do. `false`: nobody will.
    pub(crate) fn pass_until_next(&self) -> bool {
        let next = self.host().engine.next_turn_us();
        if let Some(us) = next {
            self.pass(us.max(1));
        }
        next.is_some()
    }

    fn begin_request(&self) -> bool {
        if self.tasks.borrow().len() >= UNDER_WAY_MAX {
            return false;
        }
        let (what, operation) = self.next_request();
        let number = self.counts.get().requests + 1;
        self.count(|counts| counts.requests = number);
        let began = self.oracle.borrow().revision();
        if let What::Act(at) = what {
            let oracle = self.oracle.borrow();
            let sent = &oracle.actions[at];
            let (kind, object, condition, choice) = (sent.kind(), sent.object, sent.condition, sent.choice);
            self.tell(format_args!("request {number} #{} {kind:?} o{object} {condition:?} {choice:?}", at + 1));
        } else {
            self.tell(format_args!("request {number} {what:?}"));
        }
        let engine = Arc::clone(&self.host().engine);
        let future = Box::pin(async move { engine.handle(&operation, Came::default()).await });
        let task = Task { call: Call { number, what, began }, future, woken: Arc::default() };
        task.woken.wake_now();
        self.tasks.borrow_mut().push(task);
        true
    }

    /// Lets one request go on that can.
    fn poll(&self) -> bool {
        let mut task = {
            let mut tasks = self.tasks.borrow_mut();
            let woken: Vec<usize> = (0..tasks.len()).filter(|at| tasks[*at].woken.is_set()).collect();
            let Some(at) = (!woken.is_empty()).then(|| woken[self.draw(woken.len() as u32) as usize]) else {
                return false;
            };
            tasks.swap_remove(at)
        };
        task.woken.clear();
        let waker = Waker::from(Arc::clone(&task.woken));
        match task.future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => self.tasks.borrow_mut().push(task),
            Poll::Ready(outcome) => self.answer(&task.call, &outcome),
        }
        true
    }

    fn answer(&self, call: &Call, outcome: &Result<Reply, WireError>) {
        match outcome {
            Ok(Reply::Committed(told)) => {
                self.tell(format_args!("answer {} version {} at {}", call.number, told.version, told.revision));
            }
            Ok(reply) => self.tell(format_args!("answer {} reply {}", call.number, reply.number())),
            Err(error) => self.tell(format_args!("answer {} {}", call.number, error.code.name())),
        }
        self.count(|counts| match outcome.as_ref().map_err(|error| error.code) {
            Err(ostrakon_wire::Code::Conflict) => counts.conflicts += 1,
            Err(ostrakon_wire::Code::Overloaded) => counts.overloaded += 1,
            _ => {}
        });
        let failed = self.host().machinery.has_failed();
        self.oracle.borrow_mut().answered(call, outcome.as_ref(), failed);
    }

    fn commit(&self) -> bool {
        if let Some(left) = self.slow_disk.get().checked_sub(1) {
            self.slow_disk.set(left);
            return false;
        }
        let host = self.host();
        if !host.machinery.commit_once(self.draw(GROUP_MAX) as usize + 1) {
            return false;
        }
        let view = host.views.latest();
        self.tell(format_args!("commit up to {}", view.position().revision));
        self.oracle.borrow_mut().observe(&view);
        true
    }

    /// Whether anything new begins.
    pub(crate) fn begins(&self) -> bool {
        self.begins.get()
    }

    /// Whether the host writes nothing until it is started again.
    pub(crate) fn has_failed(&self) -> bool {
        self.host().machinery.has_failed()
    }

    pub(crate) fn views(&self) -> Views {
        self.host().views.clone()
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        Arc::clone(&self.host().engine)
    }

    /// A policy is asked about an action of a transaction.
    fn judge(&self) -> bool {
        let judged = self.host().engine.judge_once(self.draw(1 << 16) as usize);
        if judged {
            self.tell(format_args!("judged"));
        }
        judged
    }

    /// Those who watch are handed what is durable.
    pub(crate) fn hand_out(&self) -> bool {
        let handed_out = self.host().engine.hand_out_once();
        if handed_out {
            self.tell(format_args!("hand out"));
        }
        handed_out
    }

    pub(crate) fn read_once(&self) -> bool {
        self.read()
    }

    fn read(&self) -> bool {
        let (host, choice) = (self.host(), self.draw(1 << 16) as usize);
        let read = host.machinery.read_once(choice) || host.engine.read_feed_once(choice);
        if read {
            self.tell(format_args!("read"));
        }
        read
    }

    fn reconcile(&self) -> bool {
        let host = self.host();
        let worked = host.engine.reconcile_once();
        if worked {
            self.tell(format_args!("turn"));
        }
        worked
    }

    /// Nobody asks for anything more, and nothing holds the disk up.
    pub(crate) fn calm_down(&self) {
        self.begins.set(false);
        self.slow_disk.set(0);
    }

    /// Whether a request is under way.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.borrow().is_empty()
    }

    /// What the host counts: cases, tickets, open escalations.
    pub(crate) fn counted(&self) -> (usize, usize, usize) {
        self.host().engine.counted()
    }

    /// Holds once more all that the store says against what was seen.
    pub(crate) fn hold_again(&self) -> Result<(), String> {
        let view = self.host().views.latest();
        if view.tickets().next().is_some() {
            return Err("a ticket is left where nothing waits".into());
        }
        self.oracle.borrow().hold_again(&view)
    }
}
