//! What requests about policies put into frames.

use bytes::Bytes;
use ostrakon_wire::answer::{PolicyReport, Uploaded};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    ChangePolicy, Code, ComponentDigest, Decided, Generation, Generations, Operation, PolicyChange, PolicyKind,
    ReadPolicies, Reply, Slot, Stage, UploadComponent, WireError,
};

use crate::{Frame, MADE, answer, decided, error, request};

/// The smallest component: one with nothing in it.
const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";
/// Its SHA-256.
const DIGEST: ComponentDigest = [
    0x24, 0xea, 0xf3, 0x43, 0x9a, 0x60, 0xc9, 0x67, 0x64, 0xc4, 0xf2, 0xc9, 0x2a, 0x0a, 0x81, 0xb5, 0x2b, 0xd4, 0xfe,
    0x5d, 0x5b, 0x91, 0xf0, 0x90, 0x18, 0x4a, 0x0f, 0x64, 0x86, 0xb1, 0xbf, 0x29,
];

fn slot() -> Slot {
    Slot { client: Some("acme".into()), data_type: Some("volume".into()), ..Slot::default_of(PolicyKind::ShardKey) }
}

pub(crate) fn requests() -> Vec<(&'static str, Frame)> {
    let second_half = UploadComponent {
        digest: DIGEST,
        size: COMPONENT.len() as u64,
        offset: 4,
        part: Bytes::copy_from_slice(&COMPONENT[4..]),
    };
    let settings = || Some(r#"{"window-ms":60000}"#.to_owned());
    let shadow = PolicyChange::Push {
        digest: Some(DIGEST),
        settings: settings(),
        stage: Stage::Shadow(100_000),
        slow_us: Some(500),
    };
    let other_settings = PolicyChange::Push { digest: None, settings: settings(), stage: Stage::Serve, slow_us: None };
    let change = |slot, change| Operation::ChangePolicy(ChangePolicy { slot, change });
    let default = Slot::default_of;
    let read = Operation::ReadPolicies;
    let history = ReadPolicies::History { slot: Some(default(PolicyKind::Prediction)), limit: 20 };
    vec![
        ("request/upload-component", request(27, Operation::UploadComponent(second_half))),
        ("request/change-policy-shadow", request(28, change(slot(), shadow))),
        ("request/change-policy-settings", request(29, change(default(PolicyKind::ShardKey), other_settings))),
        (
            "request/change-policy-activate",
            request(30, change(default(PolicyKind::Prediction), PolicyChange::Activate(Generation::new(7)))),
        ),
        (
            "request/change-policy-roll-back",
            request(31, change(default(PolicyKind::Reconciliation), PolicyChange::RollBack)),
        ),
        ("request/read-policies-list", request(32, read(ReadPolicies::List))),
        ("request/read-policies-history", request(33, read(history))),
        ("request/read-policies-diff", request(34, read(ReadPolicies::Diff(slot())))),
    ]
}

fn here() -> Decided {
    decided(None, 18, Generations::default())
}

fn map<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn told(key: &str, items: Vec<Value>) -> Reply {
    Reply::Policies(PolicyReport { facts: Map::from([(key.to_owned(), Value::Array(items))]), decided: here() })
}

pub(crate) fn answers() -> Vec<(&'static str, Frame)> {
    let uploaded = Uploaded { received: COMPONENT.len() as u64, decided: here() };
    let slot = map([
        ("kind", text("prediction")),
        ("name", text("frequency-prediction")),
        ("version", text("0.1.0")),
        ("digest", text(&crate::hex(&DIGEST))),
        ("generation", Value::Integer(7)),
        ("calls", Value::Integer(1_000)),
        ("faults", Value::Integer(0)),
        ("purity-checks", Value::Integer(9)),
    ]);
    let event = map([
        ("kind", text("prediction")),
        ("event", text("rolled-back")),
        ("at-ms", Value::Integer(MADE.get() as i64)),
        ("generation", Value::Integer(8)),
        ("to", Value::Integer(7)),
        ("by", text("ann")),
    ]);
    vec![
        ("answer/uploaded", answer(27, Reply::Uploaded(uploaded))),
        ("answer/policies-list", answer(32, told("slots", vec![slot]))),
        ("answer/policies-history", answer(33, told("events", vec![event]))),
    ]
}

pub(crate) fn errors() -> Vec<(&'static str, Frame)> {
    let refused = WireError::new(Code::PolicyRefused, "this is not WebAssembly: it does not begin with \\0asm");
    let unknown = WireError::new(Code::UnknownPolicy, "there is no slot shard-key client=acme");
    vec![("error/policy-refused", error(28, refused)), ("error/unknown-policy", error(34, unknown))]
}

#[test]
fn what_is_told_of_policies_fits_into_the_levels_of_a_frame() {
    // What nests most, of all that is told: the steps of a scoreboard in a diff, the buckets of a candidate's latency.
    let step = map([("aborts", Value::Integer(4)), ("right-ppm", Value::Null)]);
    let scoreboard = map([("calibration", map([("90-100", step)]))]);
    let bucket = Value::Array(vec![Value::Integer(511), Value::Integer(4)]);
    let latency = map([("buckets", Value::Array(vec![bucket]))]);
    for facts in [map([("scoreboards", map([("active", scoreboard)]))]), map([("latency", map([("active", latency)]))])]
    {
        let Value::Map(facts) = facts else { unreachable!("it is a map") };
        let told = answer(34, Reply::Policies(PolicyReport { facts, decided: here() }));
        assert_eq!(told.decode_like(&told.encode()), told);
    }
}
