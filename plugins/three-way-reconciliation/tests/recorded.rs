//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use ostrakon_policy_sdk::reconciliation::{Brief, Kind, Policy};
use ostrakon_policy_sdk::recorded::{self, Draws, Recording, hexadecimal};
use serde_json::{Value, json};
use three_way_reconciliation::ThreeWayReconciliation;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

/// A CBOR map of at most four members, nested at most `depth` deep; now and then something that is none.
fn document(draws: &mut Draws, depth: u64) -> Vec<u8> {
    if depth > 0 && draws.below(40) == 0 {
        return draws.one_of([&b"\xff"[..], b"\x81\x01", b"\x43abc", b""]).to_vec();
    }
    let mut members = Vec::new();
    for key in [b"a", b"b", b"c", b"d"] {
        let value = match draws.below(6) {
            0 | 1 => continue,
            2 if depth > 0 => document(draws, depth - 1),
            3 => vec![0xf6],
            _ => vec![draws.below(3) as u8],
        };
        members.push([b"\x61", key.as_slice(), &value].concat());
    }
    [vec![0xa0 | members.len() as u8], members.concat()].concat()
}

fn brief(draws: &mut Draws) -> Brief {
    let kind = draws.one_of([Kind::Put, Kind::Merge, Kind::Merge, Kind::Add, Kind::Delete, Kind::Custom]);
    let known = draws.one_of([3, 3, 3, 0]);
    Brief {
        client: "client".into(),
        data_type: "type".into(),
        name: "name".into(),
        kind,
        custom_kind: if kind == Kind::Custom { "drain".into() } else { String::new() },
        known,
        base_kept: draws.below(4) > 0,
        latest: known + 2,
        exists: draws.below(8) > 0,
        attempt: draws.one_of([0, 0, 1, 4, 5]),
        now_ms: 1_700_000_000_000,
        shard_key: draws.bits(),
        latest_bytes: draws.below(1 << 20) as u32,
    }
}

fn check(file: &str, seed: u64, settings: Value) {
    let policy = ThreeWayReconciliation::configure(&settings.to_string(), &[]).unwrap();
    let mut draws = Draws::new(seed);
    let mut recording = Recording::new(settings);
    let optional = |document: &Option<Vec<u8>>| document.as_deref().map_or(Value::Null, hexadecimal);
    for _ in 0..150 {
        let brief = brief(&mut draws);
        let told = recorded::brief(&brief);
        let [ours, base, latest] = [(); 3].map(|()| document(&mut draws, 2));
        let base = brief.base_kept.then_some(base);
        let verdict = policy.judge(&brief, &ours, base.as_deref());
        recording.call("judge", &[told.clone(), hexadecimal(&ours), optional(&base)], recorded::verdict(verdict));
        let latest = brief.exists.then_some(latest);
        let verdict = policy.reconcile(&brief, &ours, base.as_deref(), latest.as_deref());
        let arguments = [told, hexadecimal(&ours), optional(&base), optional(&latest)];
        recording.call("reconcile", &arguments, recorded::verdict(verdict));
    }
    recording.check(format!("{FOLDER}/{file}")).unwrap();
}

#[test]
fn verdicts_by_default_are_as_recorded() {
    check("defaults.json", 5, json!({}));
}

#[test]
fn verdicts_where_ours_wins_are_as_recorded() {
    check("ours.json", 6, json!({ "on-overlap": "ours", "max-attempts": 1000 }));
}

#[test]
fn verdicts_that_escalate_are_as_recorded() {
    check("escalate.json", 7, json!({ "on-overlap": "escalate", "max-attempts": 1 }));
}
