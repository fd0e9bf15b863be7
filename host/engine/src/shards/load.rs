//! What is told of the load: who uses the host, and each shard of it.

use std::collections::HashMap;

use ostrakon_core::ShardMap;
use ostrakon_core::heat::{Affinity, Rates, ShardRates};
use ostrakon_wire::ShardId;
use ostrakon_wire::value::{Map, Value};

use super::{number, text};
use crate::heated::Heated;

/// Hottest clients, types, objects and pairs that are told of.
const HOTTEST: usize = 10;
/// Other shards that are told for one, whose objects are used together with its own.
const TOGETHER: usize = 3;

fn ppm(share: f64) -> Value {
    number((share.clamp(0.0, 1.0) * 1e6).round() as i64)
}

fn millihz(per_s: f64) -> Value {
    number((per_s * 1_000.0).round() as i64)
}

fn rates_of(rates: &Rates) -> [(String, Value); 6] {
    [
        ("read-millihz".into(), millihz(rates.reads)),
        ("write-millihz".into(), millihz(rates.writes)),
        ("conflict-millihz".into(), millihz(rates.conflicts)),
        ("reconcile-millihz".into(), millihz(rates.reconciles)),
        ("bytes-per-s".into(), number(rates.bytes.round() as i64)),
        ("work-ppm".into(), number(rates.work.round() as i64)),
    ]
}

fn named(name: String, share: f64) -> Map {
    Map::from([("name".into(), text(name)), ("share-ppm".into(), ppm(share))])
}

/// Who uses the host most.
pub(super) fn hottest(heated: &Heated) -> Map {
    let (heat, now_ms) = heated.taken();
    let list = |items: Vec<Map>| Value::Array(items.into_iter().map(Value::Map).collect());
    let clients = heat.hot_clients(now_ms, HOTTEST).into_iter().map(|hot| {
        let mut facts = named(hot.client.into_string(), hot.share);
        facts.extend(rates_of(&hot.rates));
        facts.insert("callers".into(), number(hot.callers));
        facts
    });
    let types = heat.hot_types(now_ms, HOTTEST).into_iter().map(|hot| {
        let mut facts = named(format!("{}/{}", hot.client, hot.data_type), hot.share);
        facts.extend(rates_of(&hot.rates));
        facts
    });
    let objects = heat.hot_objects(now_ms, HOTTEST).into_iter().filter_map(|hot| {
        let mut facts = named(hot.name.as_ref()?.readable(), hot.share);
        facts.extend(rates_of(&hot.rates));
        facts.insert("callers".into(), number(hot.callers));
        Some(facts)
    });
    let pairs = heat.hot_pairs(now_ms, HOTTEST).into_iter().filter_map(|hot| {
        let [Some(one), Some(other)] = &hot.names else { return None };
        let name = format!("{} + {}", one.readable(), other.readable());
        Some(Map::from([("name".into(), text(name)), ("together-millihz".into(), millihz(hot.per_s))]))
    });
    let mut facts = Map::from([
        ("clients".into(), list(clients.collect())),
        ("types".into(), list(types.collect())),
        ("objects".into(), list(objects.collect())),
        ("together".into(), list(pairs.collect())),
    ]);
    facts.extend(rates_of(&heat.rates(now_ms)));
    facts
}

/// What is known of the load of each shard.
pub(super) fn by_shard(heated: &Heated, map: &ShardMap) -> HashMap<ShardId, Map> {
    let (heat, now_ms) = heated.taken();
    let mut loads: HashMap<ShardId, Map> =
        heat.shard_rates(now_ms, map).into_iter().map(|rates| (rates.shard, load(rates))).collect();
    let mut together: HashMap<ShardId, Vec<Affinity>> = HashMap::new();
    for affinity in heat.affinity(now_ms, map).into_iter().filter(|affinity| affinity.shard != affinity.with) {
        together.entry(affinity.shard).or_default().push(affinity);
    }
    for (shard, mut with) in together {
        with.sort_by(|one, other| other.share.total_cmp(&one.share));
        let with = with.into_iter().take(TOGETHER);
        let with =
            with.map(|it| Map::from([("shard".into(), number(it.with.get())), ("share-ppm".into(), ppm(it.share))]));
        let with = Value::Array(with.map(Value::Map).collect());
        loads.entry(shard).or_default().insert("used-with".into(), with);
    }
    loads
}

fn load(of: ShardRates) -> Map {
    let clients = of.clients.into_iter().filter_map(|part| Some(named(part.name?.into_string(), part.share)));
    let objects = of.objects.into_iter().filter_map(|part| Some(named(part.name?.readable(), part.share)));
    let mut facts = Map::from([
        ("callers".to_owned(), number(of.callers)),
        ("clients".to_owned(), Value::Array(clients.map(Value::Map).collect())),
        ("objects".to_owned(), Value::Array(objects.map(Value::Map).collect())),
    ]);
    facts.extend(rates_of(&of.rates));
    facts
}
