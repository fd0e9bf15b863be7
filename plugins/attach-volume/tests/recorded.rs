//! The recorded answers are those of the native code; the component is held to the same file.
#![allow(clippy::unwrap_used)]

use attach_volume::AttachVolume;
use ostrakon_policy_sdk::reconciliation::{Brief, Change, Kind, Policy, Verdict};
use ostrakon_policy_sdk::recorded::{Draws, Recording, hexadecimal};
use serde_json::{Value, json};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/recorded");

fn brief(draws: &mut Draws) -> (Brief, Value) {
    let (kind, kind_name) = draws.one_of([
        (Kind::Custom, "custom"),
        (Kind::Custom, "custom"),
        (Kind::Custom, "custom"),
        (Kind::Add, "add"),
        (Kind::Merge, "merge"),
    ]);
    let brief = Brief {
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
    };
    let recorded = json!({
        "client": brief.client, "data-type": brief.data_type, "name": brief.name, "kind": kind_name,
        "custom-kind": brief.custom_kind, "known": brief.known, "base-kept": brief.base_kept, "latest": brief.latest,
        "exists": brief.exists, "attempt": brief.attempt, "now-ms": brief.now_ms, "shard-key": brief.shard_key,
        "latest-bytes": brief.latest_bytes,
    });
    (brief, recorded)
}

fn answer(verdict: Verdict) -> Value {
    let change = |change: Change| json!({ "body": hexadecimal(&change.body), "reply": hexadecimal(&change.reply) });
    match verdict {
        Verdict::Rerun => json!({ "rerun": null }),
        Verdict::Patch(patch) => json!({ "patch": change(patch) }),
        Verdict::AlreadyApplied(reply) => json!({ "already-applied": hexadecimal(&reply) }),
        Verdict::Reject(words) => json!({ "reject": words }),
        other => panic!("this policy never answers {other:?}"),
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
        let (brief, recorded) = brief(&mut draws);
        let body = cbor(&json!({ "instance": draws.one_of(["i-1", "i-2"]) }));
        let volume = match draws.below(4) {
            0 => Some(json!({ "size": 10 })),
            1 => Some(json!({ "attached-to": "i-1", "size": 10 })),
            2 => Some(json!({ "attached-to": 7 })),
            _ => None,
        };
        let verdict = policy.judge(&brief, &body, None);
        recording.call("judge", &[recorded.clone(), hexadecimal(&body), Value::Null], answer(verdict));
        let latest = volume.as_ref().map(cbor);
        let verdict = policy.reconcile(&brief, &body, None, latest.as_deref());
        let latest = latest.as_deref().map_or(Value::Null, hexadecimal);
        recording.call("reconcile", &[recorded, hexadecimal(&body), Value::Null, latest], answer(verdict));
    }
    recording.check(format!("{FOLDER}/defaults.json")).unwrap();
}
