//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use attach_volume::AttachVolume;
use ostrakon_policy_sdk::reconciliation::{Brief, Kind, Policy};
use ostrakon_policy_sdk::recorded::{self, Draws, Recording, hexadecimal};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

fn brief(draws: &mut Draws) -> Brief {
    let kind = draws.one_of([Kind::Custom, Kind::Custom, Kind::Custom, Kind::Add, Kind::Merge]);
    Brief {
        client: "client".into(),
        data_type: "volume".into(),
        name: "name".into(),
        kind,
        custom_kind: draws.one_of(["attach-volume", "attach-volume", "detach-volume", "burn-volume"]).into(),
        known: 3,
        base_kept: false,
        latest: 5,
        exists: true,
        attempt: 0,
        now_ms: 1_700_000_000_000,
        shard_key: draws.bits(),
        latest_bytes: 9,
    }
}

fn cbor(value: &Value) -> Vec<u8> {
    cbor4ii::serde::to_vec(Vec::new(), value).unwrap()
}

#[test]
fn verdicts_are_as_recorded() {
    let policy = AttachVolume::configure("{}", &[]).unwrap();
    let mut draws = Draws::new(8);
    let mut recording = Recording::new(json!({}));
    for _ in 0..150 {
        let brief = brief(&mut draws);
        let told = recorded::brief(&brief);
        let body = cbor(&json!({ "instance": draws.one_of(["i-1", "i-2"]) }));
        let volume = match draws.below(4) {
            0 => Some(json!({ "size": 10 })),
            1 => Some(json!({ "attached-to": "i-1", "size": 10 })),
            2 => Some(json!({ "attached-to": 7 })),
            _ => None,
        };
        let verdict = policy.judge(&brief, &body, None);
        recording.call("judge", &[told.clone(), hexadecimal(&body), Value::Null], recorded::verdict(verdict));
        let latest = volume.as_ref().map(cbor);
        let verdict = policy.reconcile(&brief, &body, None, latest.as_deref());
        let latest = latest.as_deref().map_or(Value::Null, hexadecimal);
        recording.call("reconcile", &[told, hexadecimal(&body), Value::Null, latest], recorded::verdict(verdict));
    }
    recording.check(format!("{FOLDER}/defaults.json")).unwrap();
}
