//! What the host is and has done.

use std::sync::atomic::Ordering;

use ostrakon_wire::answer::Info;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{Generations, PROTOCOL};

use crate::Engine;

/// A count as it is told.
pub(crate) fn number(number: impl TryInto<i64>) -> Value {
    Value::Integer(number.try_into().unwrap_or(i64::MAX))
}

impl Engine {
    pub(crate) fn info(&self) -> Info {
        let map = self.owner.map();
        let facts = Map::from([
            ("release".into(), Value::Text(env!("CARGO_PKG_VERSION").into())),
            ("protocol".into(), number(PROTOCOL)),
            ("log".into(), Value::Text(format!("{:016x}", self.log.get()))),
            ("revision".into(), number(self.views.position().revision.get())),
            ("map-epoch".into(), number(map.epoch().get())),
            ("shards".into(), number(map.ranges().len())),
            ("shards-set-aside".into(), number(self.set_aside())),
            ("uptime-ms".into(), number(self.owner.clock().instant().duration_since(self.started).as_millis())),
            ("writable".into(), Value::Bool(!self.owner.commit_stats().failed.load(Ordering::Relaxed))),
            ("commits".into(), Value::Map(self.commits())),
            ("changes".into(), Value::Map(self.counters.changes())),
            ("requests".into(), Value::Map(self.counters.requests())),
            ("refusals".into(), Value::Map(self.counters.refusals())),
            ("predictions".into(), Value::Map(self.counters.predictions())),
            ("scoreboard".into(), Value::Map(self.scoreboard.facts())),
            ("reconciliation".into(), Value::Map(self.reconciliation())),
            ("shard-key-faults".into(), self.counters.shard_key_faults()),
            ("action-ids".into(), number(self.ids.len())),
            ("watchers".into(), number(self.feed.watchers())),
            ("policies".into(), Value::Map(self.policies.keeper.facts())),
        ]);
        Info { facts, decided: self.decided(None, self.views.position(), Generations::default()) }
    }

    /// Shards that are not served, since their files were damaged or gone at the start.
    fn set_aside(&self) -> usize {
        self.views.unserved().len()
    }

    fn reconciliation(&self) -> Map {
        let mut facts = self.counters.reconciliation();
        facts.extend([
            ("waiting".into(), number(self.agent.waiting())),
            ("tickets".into(), number(self.agent.tickets())),
            ("escalations-open".into(), number(self.agent.escalations_open())),
        ]);
        facts
    }

    fn commits(&self) -> Map {
        let stats = self.owner.commit_stats();
        Map::from([
            ("groups".into(), number(stats.groups.load(Ordering::Relaxed))),
            ("changes".into(), number(stats.changes.load(Ordering::Relaxed))),
            ("commit-us".into(), number(stats.commit_us.load(Ordering::Relaxed))),
            ("waiting".into(), number(self.owner.waiting())),
        ])
    }
}
