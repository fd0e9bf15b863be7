//! Asking the planner every second, carrying out what it decides, and remembering what it decided and refused.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ostrakon_core::load::{Health, ShardLoad};
use ostrakon_core::planner::{Decision, Limits, Memory, OwnerState, What, plan};
use ostrakon_store::{Course, Ended, Migration, ReadView};
use ostrakon_wire::ShardId;
use ostrakon_wire::bounds::SHARD_EVENTS_MAX;
use ostrakon_wire::value::{Map, Value};

use super::{NotMoved, Shared, Wanted, limits};

/// Who asks for what the planner decides.
pub(super) const PLANNER: &str = "planner";
/// What is decided while the planner is paused stands so long, and is then decided anew.
const STANDS_MS: u64 = 30_000;

/// What the planner knows and has decided.
pub(super) struct Planning {
    limits: Limits,
    memory: Memory,
    /// What it has begun, by the shard that the planner knows it by.
    begun: BTreeMap<u64, ShardId>,
    /// The shards of what it had begun and is done.
    done: Vec<ShardId>,
    /// What it has decided and may not do yet, and since when.
    standing: Vec<(u64, Decision)>,
    told: VecDeque<Map>,
}

impl Planning {
    pub(super) fn new(owners: u32) -> Self {
        Self {
            limits: limits::usual(owners),
            memory: Memory::default(),
            begun: BTreeMap::new(),
            done: Vec::new(),
            standing: Vec::new(),
            told: VecDeque::new(),
        }
    }

    fn tell(&mut self, facts: Map) {
        self.told.push_front(facts);
        self.told.truncate(SHARD_EVENTS_MAX);
    }
}

impl Shared {
    /// One look of the planner, and what follows from it.
    pub(crate) async fn plan_once(&self) {
        if self.owner.has_failed() {
            return;
        }
        let view = self.owner.views().latest();
        let now_ms = self.heated.now_ms();
        let loads = self.loads(&view);
        let decided = {
            let mut planning = self.planning.lock();
            planning.take_up_own(&view);
            planning.learn_what_ended(&view, now_ms);
            let limits = planning.limits_now(&view);
            let Planning { memory, done, .. } = &mut *planning;
            let decided = plan(view.map(), &loads, &self.owner_states(), &limits, memory, now_ms);
            // What was done and does not show in the map was changed by somebody since.
            for shard in std::mem::take(done) {
                let decided_now = decided.iter().any(|decision| decision.what.shard() == shard);
                if !decided_now && memory.under_way().any(|what| what.shard() == shard) {
                    memory.failed(shard, now_ms);
                }
            }
            decided
        };
        for decision in decided {
            match decision.what {
                What::Refuse { .. } => self.tell(facts_of(&decision, None)),
                _ => self.planning.lock().standing.push((now_ms, decision)),
            }
        }
        if self.is_halted() {
            self.planning.lock().drop_old(now_ms);
        } else {
            self.carry_out(now_ms).await;
        }
    }

    /// Begins what stands decided.
    async fn carry_out(&self, now_ms: u64) {
        let standing = std::mem::take(&mut self.planning.lock().standing);
        for (_, decision) in standing {
            let (shard, wanted) = (decision.what.shard(), wanted(&decision.what));
            let Some(wanted) = wanted else { continue };
            let begun = self.begin(&wanted, &decision.reason.to_string(), PLANNER).await;
            let mut planning = self.planning.lock();
            let became = match begun {
                Ok(Migration { number, .. }) => {
                    planning.begun.insert(number, shard);
                    format!("migration {number}")
                }
                Err(reason) => {
                    planning.memory.failed(shard, now_ms);
                    format!("not done: {}", reason.words().unwrap_or("the store does not take it"))
                }
            };
            drop(planning);
            self.tell(facts_of(&decision, Some(&became)));
        }
    }

    /// Remembers something that was decided, as it is told.
    pub(super) fn tell(&self, mut facts: Map) {
        facts.insert("at-ms".to_owned(), Value::Integer(self.owner.clock().now().get() as i64));
        self.planning.lock().tell(facts);
    }

    /// The load of every shard.
    pub(super) fn loads(&self, view: &ReadView) -> Vec<ShardLoad> {
        let (heat, now_ms) = self.heated.taken();
        let mut loads = heat.loads(now_ms, view.map());
        for load in &mut loads {
            load.objects = view.rows_about(load.shard).unwrap_or_default();
            load.bytes = view.bytes(load.shard).unwrap_or_default();
            load.health = self.health(view, load.shard);
        }
        loads
    }

    /// How a shard is.
    pub(crate) fn health(&self, view: &ReadView, shard: ShardId) -> Health {
        let stopped = || {
            let mut migrations = view.migrations().values();
            migrations.any(|it| !it.trouble.is_empty() && it.shards().any(|other| other == shard))
        };
        match view.rows_about(shard) {
            Err(_) => Health::Unavailable,
            Ok(_) if self.owner.is_held(shard) || self.owner.is_slow() || stopped() => Health::Degraded,
            Ok(_) => Health::Healthy,
        }
    }

    fn owner_states(&self) -> Vec<OwnerState> {
        (0..self.owners).map(OwnerState::up).collect()
    }

    /// What the planner would do now; while it is paused, what it will do when it goes on.
    pub(crate) fn plan_dry(&self) -> Map {
        let view = self.owner.views().latest();
        let (loads, now_ms) = (self.loads(&view), self.heated.now_ms());
        let planning = self.planning.lock();
        let mut would: Vec<Decision> = planning.standing.iter().map(|(_, decision)| decision.clone()).collect();
        let limits = planning.limits_now(&view);
        let mut memory = planning.memory.clone();
        drop(planning);
        would.extend(plan(view.map(), &loads, &self.owner_states(), &limits, &mut memory, now_ms));
        let told = would.iter().map(|decision| Value::Map(facts_of(decision, None))).collect();
        self.with_state(Map::from([("decisions".into(), Value::Array(told))]))
    }

    /// What was decided and refused, newest first.
    pub(crate) fn decisions(&self, limit: usize) -> Map {
        let planning = self.planning.lock();
        let told = planning.told.iter().take(limit).cloned().map(Value::Map).collect();
        drop(planning);
        self.with_state(Map::from([("decisions".into(), Value::Array(told))]))
    }

    fn with_state(&self, mut facts: Map) -> Map {
        facts.insert("paused".into(), Value::Bool(self.is_halted()));
        facts
    }

    /// What the planner goes by.
    pub(crate) fn limits(&self) -> Map {
        limits::told(&self.planning.lock().limits)
    }

    pub(crate) fn is_pinned(&self, shard: ShardId) -> bool {
        self.planning.lock().limits.pinned.contains(&shard)
    }

    /// Keeps the planner from a shard, or no longer.
    pub(crate) async fn pin(&self, shard: ShardId, pinned: bool) -> Result<(), NotMoved> {
        if self.owner.map().index_of(shard).is_none() {
            return Err(NotMoved::no_shard(shard));
        }
        let change = |mut limits: Limits| {
            if pinned {
                limits.pinned.insert(shard)
            } else {
                limits.pinned.remove(&shard)
            };
            Ok(limits)
        };
        self.keep(change, None).await
    }

    /// Sets some of what the planner goes by: the text of a JSON object.
    pub(crate) async fn set_limits(&self, text: &str) -> Result<Map, NotMoved> {
        let changes = serde_json::from_str(text).map_err(|error| NotMoved::Refused(format!("limits: {error}")))?;
        let Ok(Value::Map(changes)) = ostrakon_wire::json::from_json(&changes) else {
            return Err(NotMoved::Refused("limits are a JSON object of numbers".into()));
        };
        self.keep(|limits| limits::set(&limits, &changes), None).await?;
        Ok(self.limits())
    }

    /// Lets the planner and all migrations rest, or go on.
    pub(crate) async fn halt(&self, halted: bool) -> Result<(), NotMoved> {
        self.keep(Ok, Some(halted)).await
    }

    /// Changes what the planner goes by: first on disk.
    async fn keep(
        &self,
        change: impl FnOnce(Limits) -> Result<Limits, String>,
        halted: Option<bool>,
    ) -> Result<(), NotMoved> {
        let _alone = self.keeping.lock().await;
        let before = self.planning.lock().limits.clone();
        let wanted = change(before).map_err(NotMoved::Refused)?;
        let halted = halted.unwrap_or_else(|| self.is_halted());
        let pinned = wanted.pinned.iter().map(|shard| Value::Integer(shard.get().into())).collect();
        let facts = Map::from([
            ("limits".into(), Value::Map(limits::told(&wanted))),
            ("pinned".into(), Value::Array(pinned)),
            ("paused".into(), Value::Bool(halted)),
        ]);
        let mut bytes = Vec::new();
        Value::Map(facts).write(&mut bytes);
        self.keep_planning(bytes).await?;
        self.planning.lock().limits = wanted;
        self.set_halted(halted);
        Ok(())
    }

    /// Takes up what was kept; what cannot be read is said and left.
    pub(super) fn take_up(&self, kept: &[u8]) {
        let Ok(Value::Map(facts)) = Value::from_cbor(kept) else {
            tracing::error!("what the planner went by cannot be read: it goes by what is usual");
            return;
        };
        let mut planning = self.planning.lock();
        if let Some(Value::Map(kept)) = facts.get("limits") {
            match limits::set(&planning.limits, kept) {
                Ok(limits) => planning.limits = limits,
                Err(error) => tracing::error!(%error, "the planner goes by what is usual"),
            }
        }
        if let Some(Value::Array(pinned)) = facts.get("pinned") {
            let number = |value: &Value| match value {
                Value::Integer(number) => u32::try_from(*number).ok().map(ShardId::new),
                _ => None,
            };
            planning.limits.pinned = pinned.iter().filter_map(number).collect();
        }
        drop(planning);
        self.set_halted(facts.get("paused") == Some(&Value::Bool(true)));
    }
}

impl Planning {
    /// What the planner had begun before the host was started again is its own.
    fn take_up_own(&mut self, view: &ReadView) {
        let own = view.migrations().values().filter(|it| it.by == PLANNER && !self.begun.contains_key(&it.number));
        let own: Vec<_> = own.filter_map(|it| Some((it.number, what_of(&it.course)?))).collect();
        for (number, what) in own {
            self.memory.began(view.map(), what);
            self.begun.insert(number, what.shard());
        }
    }

    /// What the planner has begun and somebody has called off is as it was.
    fn learn_what_ended(&mut self, view: &ReadView, now_ms: u64) {
        let ended: Vec<u64> =
            self.begun.keys().filter(|number| !view.migrations().contains_key(number)).copied().collect();
        for number in ended {
            let Some(shard) = self.begun.remove(&number) else { continue };
            let undone = view.migrated_as(number).ok().flatten().is_some_and(|it| it.ended == Some(Ended::Undone));
            match undone {
                true => self.memory.failed(shard, now_ms),
                false => self.done.push(shard),
            }
        }
    }

    /// The limits, with the shards pinned that somebody else moves.
    fn limits_now(&self, view: &ReadView) -> Limits {
        let mine = |number: &u64| self.begun.contains_key(number);
        let others = view.migrations().iter().filter(|(number, _)| !mine(number));
        let busy: BTreeSet<ShardId> = others.flat_map(|(_, migration)| migration.shards()).collect();
        let mut limits = self.limits.clone();
        limits.pinned.extend(busy);
        limits
    }

    /// What has stood for too long is decided anew.
    fn drop_old(&mut self, now_ms: u64) {
        let (standing, memory) = (&mut self.standing, &mut self.memory);
        standing.retain(|(at_ms, decision)| {
            let stands = now_ms < at_ms + STANDS_MS;
            if !stands {
                memory.failed(decision.what.shard(), now_ms);
            }
            stands
        });
    }
}

/// What the planner has decided that is being done.
fn what_of(course: &Course) -> Option<What> {
    match course {
        Course::Split { moving, owner } => Some(What::Split { shard: moving.from, at: moving.start, owner: *owner }),
        Course::Merge(moving) => Some(What::Merge { left: moving.to, right: moving.from }),
        Course::Move { .. } | Course::Rekey { .. } => None,
    }
}

fn wanted(what: &What) -> Option<Wanted> {
    match *what {
        What::Split { shard, at, owner } => Some(Wanted::Split { shard, at: Some(at), owner: Some(owner) }),
        What::Merge { left, right } => Some(Wanted::Merge { left, right: Some(right) }),
        What::Move { shard, to } => Some(Wanted::Move { shard, owner: to }),
        What::Refuse { .. } => None,
    }
}

fn facts_of(decision: &Decision, became: Option<&str>) -> Map {
    let text = |words: String| Value::Text(words);
    let other =
        |other: &ostrakon_core::planner::Alternative| text(format!("{} (score {:.3})", other.what, other.score));
    let mut facts = Map::from([
        ("decision".to_owned(), text(decision.what.name().to_owned())),
        ("what".to_owned(), text(decision.what.to_string())),
        ("why".to_owned(), text(decision.reason.to_string())),
        ("score".to_owned(), Value::Float(decision.score)),
        ("alternatives".to_owned(), Value::Array(decision.alternatives.iter().map(other).collect())),
    ]);
    if let What::Refuse { why, .. } = &decision.what {
        facts.insert("refused".to_owned(), text(why.name().to_owned()));
    }
    facts.extend(became.map(|became| ("became".to_owned(), text(became.to_owned()))));
    facts
}
