//! Requests about shards, any of them, and what is refused of them.

use ostrakon_wire::{AskMap, ChangeShards, Code, MapEpoch, ReadShards, ShardChange, ShardId, ShardKey, bounds};
use proptest::option::of;
use proptest::prelude::*;

use crate::refusals::{Draft, refused, taken, text, uint};
use crate::strategies::{id_text, number, object_id};

pub(crate) fn ask_map() -> impl Strategy<Value = AskMap> {
    (of(number()), 0..=bounds::MAP_WAIT_MS_MAX)
        .prop_map(|(epoch, wait_ms)| AskMap { beyond: epoch.map(MapEpoch::new), wait_ms })
}

pub(crate) fn change() -> impl Strategy<Value = ChangeShards> {
    let shard = || any::<u32>().prop_map(ShardId::new);
    let key = || of(number().prop_map(ShardKey::new));
    let change = prop_oneof![
        (shard(), key()).prop_map(|(shard, at)| ShardChange::Split { shard, at }),
        shard().prop_map(ShardChange::Merge),
        (shard(), any::<u32>()).prop_map(|(shard, owner)| ShardChange::Move { shard, owner }),
        shard().prop_map(ShardChange::Pin),
        shard().prop_map(ShardChange::Unpin),
        (object_id(), key()).prop_map(|(object, shard_key)| ShardChange::RekeyObject { object, shard_key }),
        (id_text(bounds::CLIENT_BYTES_MAX), of(id_text(bounds::TYPE_BYTES_MAX)))
            .prop_map(|(client, data_type)| ShardChange::Rekey { client, data_type }),
        of(number()).prop_map(ShardChange::Pause),
        of(number()).prop_map(ShardChange::Resume),
        number().prop_map(ShardChange::Abort),
        ".{0,40}".prop_map(ShardChange::SetLimits),
    ];
    (change, of(".{0,20}")).prop_map(|(change, reason)| ChangeShards { change, reason })
}

pub(crate) fn read() -> impl Strategy<Value = ReadShards> {
    let limit = || 1..=bounds::SHARD_EVENTS_MAX;
    prop_oneof![
        Just(ReadShards::Shards),
        limit().prop_map(|limit| ReadShards::Migrations { limit }),
        limit().prop_map(|limit| ReadShards::Decisions { limit }),
        Just(ReadShards::Plan),
        Just(ReadShards::Limits),
        Just(ReadShards::Heat),
    ]
}

#[test]
fn what_is_asked_of_shards_is_held_to_its_fields() {
    let change = |number, fields: &[(u64, Vec<u8>)]| Draft::with_body(23, fields).set(78, uint(number));
    let shard = (27, uint(3));
    refused("no change", Draft::with_body(23, &[]).bytes(), Code::Malformed);
    refused("no such change", change(99, &[]).bytes(), Code::Malformed);
    taken("a split in the middle", change(1, std::slice::from_ref(&shard)).bytes());
    taken("a split at a key", change(1, &[(9, uint(7)), shard.clone()]).bytes());
    refused("a split of nothing", change(1, &[]).bytes(), Code::Malformed);
    refused("a merge with an owner", change(2, &[shard.clone(), (32, uint(1))]).bytes(), Code::Malformed);
    refused("a move to nobody", change(3, std::slice::from_ref(&shard)).bytes(), Code::Malformed);
    refused("a shard beyond the numbers", change(4, &[(27, uint(1 << 32))]).bytes(), Code::Malformed);
    refused("a re-key of nobody", change(6, &[]).bytes(), Code::Malformed);
    refused("one key for many", change(6, &[(6, text("acme")), (9, uint(7))]).bytes(), Code::Malformed);
    refused("an ill-formed client", change(6, &[(6, text(""))]).bytes(), Code::InvalidId);
    taken("a pause of all", change(7, &[]).bytes());
    refused("an end of nothing", change(9, &[]).bytes(), Code::Malformed);
    refused("limits that are not told", change(10, &[]).bytes(), Code::Malformed);
    let long = "x".repeat(bounds::SHARD_LIMITS_BYTES_MAX + 1);
    refused("limits without end", change(10, &[]).set(79, text(&long)).bytes(), Code::Malformed);
    let reason = "x".repeat(bounds::TEXT_BYTES_MAX + 1);
    refused("a reason without end", change(7, &[]).set(57, text(&reason)).bytes(), Code::Malformed);
    let look = |aspect, fields: &[(u64, Vec<u8>)]| Draft::with_body(24, fields).set(83, uint(aspect));
    for aspect in 1..=6 {
        taken("a look", look(aspect, &[]).bytes());
        refused("a look at a client", look(aspect, &[(6, text("acme"))]).bytes(), Code::Malformed);
    }
    refused("a look at nothing", Draft::with_body(24, &[]).bytes(), Code::Malformed);
    refused("a look at what is not", look(7, &[]).bytes(), Code::Malformed);
    refused("no migrations at all", look(2, &[(19, uint(0))]).bytes(), Code::Malformed);
    refused("too many", look(3, &[(19, uint(bounds::SHARD_EVENTS_MAX as u64 + 1))]).bytes(), Code::Malformed);
    refused("a plan with a limit", look(4, &[(19, uint(1))]).bytes(), Code::Malformed);
    let map = |fields: &[(u64, Vec<u8>)]| Draft::with_body(8, fields).bytes();
    taken("a later map", map(&[(28, uint(3)), (49, uint(60_000))]));
    refused("a wait without end", map(&[(49, uint(60_001))]), Code::Malformed);
}
