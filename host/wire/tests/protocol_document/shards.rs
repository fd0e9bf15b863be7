//! What requests about shards put into frames.

use ostrakon_wire::answer::ShardReport;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    AskMap, ChangeShards, Code, Generations, MapEpoch, ObjectId, Operation, ReadShards, Reply, ShardChange, ShardId,
    ShardKey, WireError,
};

use crate::{Frame, answer, decided, error, request};

pub(crate) fn requests() -> Vec<(&'static str, Frame)> {
    let change = |change, reason: Option<&str>| {
        Operation::ChangeShards(ChangeShards { change, reason: reason.map(str::to_owned) })
    };
    let split = ShardChange::Split { shard: ShardId::new(3), at: Some(ShardKey::new(1 << 62)) };
    let moved = ShardChange::Move { shard: ShardId::new(3), owner: 1 };
    let rekey = ShardChange::RekeyObject {
        object: ObjectId::new("acme", "volume", "vol-1").unwrap(),
        shard_key: Some(ShardKey::new(7)),
    };
    let later = AskMap { beyond: Some(MapEpoch::new(4)), wait_ms: 30_000 };
    vec![
        ("request/shard-map-beyond", request(35, Operation::ShardMap(later))),
        ("request/change-shards-split", request(36, change(split, Some("hot")))),
        ("request/change-shards-move", request(37, change(moved, None))),
        ("request/change-shards-rekey", request(38, change(rekey, None))),
        ("request/change-shards-abort", request(39, change(ShardChange::Abort(7), None))),
        ("request/read-shards-shards", request(40, Operation::ReadShards(ReadShards::Shards))),
        ("request/read-shards-migrations", request(41, Operation::ReadShards(ReadShards::Migrations { limit: 20 }))),
    ]
}

pub(crate) fn answers() -> Vec<(&'static str, Frame)> {
    let facts = Map::from([
        ("migration".to_owned(), Value::Integer(7)),
        ("kind".to_owned(), Value::Text("split".into())),
        ("state".to_owned(), Value::Text("running".into())),
    ]);
    let report = ShardReport { facts, decided: decided(None, 18, Generations::default()) };
    vec![("answer/shards", answer(36, Reply::Shards(report)))]
}

pub(crate) fn errors() -> Vec<(&'static str, Frame)> {
    let refused = WireError::new(Code::ShardRefused, "owner 1 has shard 3 already");
    let unknown = WireError::new(Code::UnknownShard, "no migration 7 is running");
    vec![("error/shard-refused", error(37, refused)), ("error/unknown-shard", error(39, unknown))]
}
