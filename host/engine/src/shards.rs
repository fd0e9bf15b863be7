//! Requests about shards: changes of the map and of migrations, and what is told of them.

mod load;

use std::collections::HashMap;
use std::sync::Arc;

use ostrakon_core::load::Health;
use ostrakon_store::{Course, Ended, Migration, ReadError, ReadView, Steer};
use ostrakon_wire::answer::{ShardMap, ShardRange, ShardReport};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    AskMap, ChangeShards, Decided, Generations, ObjectId, ReadShards, ShardChange, ShardId, TimestampMs, WireError,
};

use crate::info::number;
use crate::rebalance::{NotMoved, Wanted};
use crate::{Context, Engine};

fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// Keys have all 64 bits, which integers in answers have not: they are told as text.
fn key(key: ostrakon_wire::ShardKey) -> Value {
    text(key.to_string())
}

impl Engine {
    /// The map in force, or one of a later epoch than the one that is named, if there is one in time.
    pub(crate) async fn shard_map(&self, ask: &AskMap) -> ShardMap {
        if let Some(beyond) = ask.beyond.filter(|_| ask.wait_ms > 0)
            && let Ok(_place) = self.map_waiters.try_acquire()
        {
            let mut epochs = self.rebalancer.shared().epochs();
            tokio::select! {
                _ = epochs.wait_for(|epoch| *epoch > beyond) => {}
                () = self.rest(ask.wait_ms.into()) => {}
            }
        }
        let map = self.owner.map();
        let ranges = map.ranges().iter().enumerate();
        let shards = ranges.map(|(index, range)| ShardRange {
            shard: range.shard,
            start: range.start,
            end: map.end_of(index),
            owner: range.owner,
        });
        let decided = Decided {
            shard: None,
            epoch: map.epoch(),
            position: self.views.position(),
            generations: Generations::default(),
        };
        ShardMap { shards: shards.collect(), decided }
    }

    fn shard_report(&self, facts: Map) -> ShardReport {
        ShardReport { facts, decided: self.decided(None, self.views.position(), Generations::default()) }
    }

    pub(crate) async fn change_shards(
        &self,
        change: &ChangeShards,
        context: Context,
    ) -> Result<ShardReport, WireError> {
        let by = context.by.as_deref().unwrap_or("unknown").to_owned();
        let why = change.reason.as_deref().unwrap_or("asked for").to_owned();
        let facts = self.changed_shards(&change.change, &why, &by).await.map_err(NotMoved::into_wire)?;
        Ok(self.shard_report(facts))
    }

    async fn changed_shards(&self, change: &ShardChange, why: &str, by: &str) -> Result<Map, NotMoved> {
        let moves = self.rebalancer.shared();
        let wanted = match change {
            ShardChange::Split { shard, at } => Wanted::Split { shard: *shard, at: *at, owner: None },
            ShardChange::Merge(left) => Wanted::Merge { left: *left, right: None },
            ShardChange::Move { shard, owner } => Wanted::Move { shard: *shard, owner: *owner },
            ShardChange::Rekey { client, data_type } => {
                Wanted::Rekey(ObjectId::text_prefix(client, data_type.as_deref(), None))
            }
            ShardChange::RekeyObject { object, shard_key } => {
                let (now, moved) = moves
                    .rekey_object(object, *shard_key)
                    .await?
                    .ok_or_else(|| NotMoved::Unknown("no such live object".into()))?;
                return Ok(Map::from([("shard-key".into(), key(now)), ("moved".into(), Value::Bool(moved))]));
            }
            ShardChange::Pause(None) | ShardChange::Resume(None) => {
                moves.halt(matches!(change, ShardChange::Pause(_))).await?;
                return Ok(Map::from([("paused".into(), Value::Bool(moves.is_halted()))]));
            }
            ShardChange::Pause(Some(running)) => return self.steered(*running, Steer::Pause).await,
            ShardChange::Resume(Some(running)) => return self.steered(*running, Steer::Resume).await,
            ShardChange::Abort(running) => return self.steered(*running, Steer::Back).await,
            ShardChange::Pin(shard) | ShardChange::Unpin(shard) => {
                let pinned = matches!(change, ShardChange::Pin(_));
                moves.pin(*shard, pinned).await?;
                return Ok(Map::from([("shard".into(), number(shard.get())), ("pinned".into(), Value::Bool(pinned))]));
            }
            ShardChange::SetLimits(text) => return moves.set_limits(text).await,
        };
        let begun = moves.begin(&wanted, why, by).await?;
        Ok(facts_of(&begun, self.owner.clock().now()))
    }

    async fn steered(&self, running: u64, how: Steer) -> Result<Map, NotMoved> {
        let steered = self.rebalancer.shared().steer(running, how).await?;
        Ok(facts_of(&steered, self.owner.clock().now()))
    }

    pub(crate) async fn read_shards(&self, read: &ReadShards) -> Result<ShardReport, WireError> {
        let facts = match read {
            ReadShards::Shards => self.shards().await?,
            ReadShards::Migrations { limit } => self.migrations(*limit).await?,
            ReadShards::Decisions { limit } => self.rebalancer.shared().decisions(*limit),
            ReadShards::Limits => self.rebalancer.shared().limits(),
            ReadShards::Plan => {
                let moves = Arc::clone(self.rebalancer.shared());
                let plan = self.owner.on_reader(move || Ok(moves.plan_dry())).await;
                plan.map_err(|error| self.unreadable(&error))?
            }
            ReadShards::Heat => {
                let heated = Arc::clone(&self.heated);
                let heat = self.owner.on_reader(move || Ok(load::hottest(&heated))).await;
                heat.map_err(|error| self.unreadable(&error))?
            }
        };
        Ok(self.shard_report(facts))
    }

    async fn shards(&self) -> Result<Map, WireError> {
        let (view, heated) = (self.views.latest(), Arc::clone(&self.heated));
        let moves = Arc::clone(self.rebalancer.shared());
        let read = move || {
            let map = view.map();
            let mut loads = load::by_shard(&heated, map);
            let splits = last_splits(&view)?;
            let of = |(index, range): (usize, &ostrakon_core::ShardRange)| -> Result<Value, ReadError> {
                let (shard, health) = (range.shard, moves.health(&view, range.shard));
                let mut facts = loads.remove(&shard).unwrap_or_default();
                facts.extend([
                    ("shard".into(), number(shard.get())),
                    ("start".into(), key(range.start)),
                    ("end".into(), key(map.end_of(index))),
                    ("owner".into(), number(range.owner)),
                    ("health".into(), text(health.name())),
                    ("pinned".into(), Value::Bool(moves.is_pinned(shard))),
                ]);
                if health != Health::Unavailable {
                    facts.insert("rows".into(), number(view.rows_about(shard)?));
                    facts.insert("bytes".into(), number(view.bytes(shard)?));
                }
                if let Some(why) = splits.get(&shard) {
                    facts.insert("last-split-why".into(), text(why));
                }
                let busy = view.migrations().values().find(|it| it.shards().any(|other| other == shard));
                if let Some(migration) = busy {
                    facts.insert("migration".into(), number(migration.number));
                }
                Ok(Value::Map(facts))
            };
            let shards = map.ranges().iter().enumerate().map(of).collect::<Result<Vec<_>, _>>()?;
            Ok(Map::from([("epoch".into(), number(map.epoch().get())), ("shards".into(), Value::Array(shards))]))
        };
        self.owner.on_reader(read).await.map_err(|error| self.unreadable(&error))
    }

    async fn migrations(&self, limit: usize) -> Result<Map, WireError> {
        let view = self.views.latest();
        let (halted, now) = (self.rebalancer.shared().is_halted(), self.owner.clock().now());
        let read = move || {
            let mut all: Vec<Value> =
                view.migrations().values().rev().map(|it| Value::Map(facts_of(it, now))).collect();
            for migration in view.migrated().take(limit) {
                all.push(Value::Map(facts_of(&migration?, now)));
            }
            Ok(Map::from([("paused".into(), Value::Bool(halted)), ("migrations".into(), Value::Array(all))]))
        };
        self.owner.on_reader(read).await.map_err(|error| self.unreadable(&error))
    }
}

/// Why shards were split last, of those splits that are remembered.
fn last_splits(view: &ReadView) -> Result<HashMap<ShardId, String>, ReadError> {
    let mut splits = HashMap::new();
    let running = view.migrations().values().rev().cloned().map(Ok);
    for migration in running.chain(view.migrated()) {
        let migration = migration?;
        if matches!(migration.course, Course::Split { .. }) {
            for shard in migration.shards() {
                splits.entry(shard).or_insert_with(|| migration.why.clone());
            }
        }
    }
    Ok(splits)
}

/// A migration as it is told.
fn facts_of(migration: &Migration, now: TimestampMs) -> Map {
    let Migration { course, moved, .. } = migration;
    let state = match (migration.ended, migration.paused, migration.back) {
        (Some(Ended::Done), ..) => "done",
        (Some(Ended::Undone), ..) => "undone",
        (None, true, _) if !migration.trouble.is_empty() => "stopped",
        (None, true, _) => "paused",
        (None, false, true) => "going back",
        (None, false, false) => "running",
    };
    let mut facts = Map::from([
        ("migration".into(), number(migration.number)),
        ("state".into(), text(state)),
        ("begun-ms".into(), number(migration.begun_at.get())),
        ("steps".into(), number(migration.steps)),
        ("step-us-max".into(), number(migration.step_us_max)),
        ("objects".into(), number(moved.objects)),
        ("rows".into(), number(moved.rows)),
        ("bytes".into(), number(moved.bytes)),
        ("why".into(), text(&migration.why)),
        ("by".into(), text(&migration.by)),
    ]);
    if !migration.trouble.is_empty() {
        facts.insert("trouble".into(), text(&migration.trouble));
    }
    if migration.ended.is_some() {
        facts.insert("ended-ms".into(), number(migration.ended_at.get()));
    }
    let shard = |shard: ShardId| number(shard.get());
    let more: Vec<(&str, Value)> = match course {
        Course::Split { moving, .. } | Course::Merge(moving) => {
            let kind = if matches!(course, Course::Split { .. }) { "split" } else { "merge" };
            // How far the cursor is through its range of keys; an estimate of what is done where keys are spread evenly.
            let (start, last) = (moving.start.get() as f64, moving.last.get() as f64);
            let done = (moving.cursor.0.get() as f64 - start) / (last - start).max(1.0);
            let mut facts = vec![
                ("kind", text(kind)),
                ("from", shard(moving.from)),
                ("to", shard(moving.to)),
                ("start", key(moving.start)),
                ("end", key(moving.last)),
                ("cursor", key(moving.cursor.0)),
                ("done-ppm", number((done.clamp(0.0, 1.0) * 1e6) as i64)),
            ];
            let passed_ms = now.get().saturating_sub(migration.begun_at.get()) as f64;
            if migration.ended.is_none() && !migration.back && done > 0.0 {
                facts.push(("left-ms", number((passed_ms / done * (1.0 - done)) as i64)));
            }
            facts
        }
        Course::Move { shard: moved, from, to } => vec![
            ("kind", text("move")),
            ("shard", shard(*moved)),
            ("from-owner", number(*from)),
            ("to-owner", number(*to)),
        ],
        Course::Rekey { prefix, after } => {
            let mut parts = prefix.split('\0').filter(|part| !part.is_empty());
            let mut facts = vec![("kind", text("re-key"))];
            facts.extend(parts.next().map(|client| ("client", text(client))));
            facts.extend(parts.next().map(|data_type| ("type", text(data_type))));
            if !after.is_empty() {
                facts.push(("after", text(after.replace('\0', "/"))));
            }
            facts
        }
    };
    facts.extend(more.into_iter().map(|(name, value)| (name.to_owned(), value)));
    facts
}
