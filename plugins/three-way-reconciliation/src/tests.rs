//! Verdicts on the cases that the contract names, and the laws that make them safe.
#![allow(clippy::unwrap_used)]

use ostrakon_policy_sdk::reconciliation::{Change, Kind};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::patch::{Relation, difference, relate, shows};
use crate::tree::Tree;

/// JSON as CBOR, of the few kinds that the tests need.
fn cbor(value: &Value) -> Vec<u8> {
    let head = |major: u8, count: usize| match u8::try_from(count).unwrap() {
        short @ 0..=23 => vec![major << 5 | short],
        long => vec![major << 5 | 24, long],
    };
    match value {
        Value::Null => vec![0xf6],
        Value::Bool(value) => vec![0xf4 + u8::from(*value)],
        Value::Number(number) => head(0, number.as_u64().unwrap() as usize),
        Value::String(text) => [head(3, text.len()), text.clone().into_bytes()].concat(),
        Value::Array(items) => std::iter::once(head(4, items.len())).chain(items.iter().map(cbor)).flatten().collect(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| [cbor(&json!(key)), cbor(value)].concat();
            std::iter::once(head(5, members.len())).chain(members.iter().map(member)).flatten().collect()
        }
    }
}

/// RFC 7396, section 2, word for word.
fn apply(target: &Value, patch: &Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch.clone();
    };
    let mut result = target.as_object().cloned().unwrap_or_else(Map::new);
    for (key, change) in changes {
        if change.is_null() {
            result.remove(key);
        } else {
            let changed = apply(result.get(key).unwrap_or(&Value::Null), change);
            result.insert(key.clone(), changed);
        }
    }
    Value::Object(result)
}

fn brief(kind: Kind) -> Brief {
    Brief {
        client: "c".into(),
        data_type: "t".into(),
        name: "n".into(),
        kind,
        custom_kind: String::new(),
        known: 3,
        base_kept: true,
        latest: 5,
        exists: true,
        attempt: 0,
        now_ms: 1,
        shard_key: 1,
        latest_bytes: 10,
    }
}

fn judged(settings: &str, brief: Brief, ours: Value, theirs: Option<Value>) -> Verdict {
    let policy = ThreeWayReconciliation::configure(settings, &[]).unwrap();
    policy.judge(&brief, &cbor(&ours), theirs.as_ref().map(cbor).as_deref())
}

fn reconciled(settings: &str, brief: Brief, body: Value, base: Option<Value>, latest: Option<Value>) -> Verdict {
    let policy = ThreeWayReconciliation::configure(settings, &[]).unwrap();
    let [base, latest] = [base, latest].map(|value| value.as_ref().map(cbor));
    policy.reconcile(&brief, &cbor(&body), base.as_deref(), latest.as_deref())
}

fn rejected(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Reject(_))
}

fn done() -> Verdict {
    Verdict::AlreadyApplied(Vec::new())
}

fn change(body: Value) -> Change {
    Change { body: cbor(&body), reply: Vec::new() }
}

#[test]
fn merges_of_other_fields_run_again() {
    let ours = json!({"a": {"x": 1}});
    assert_eq!(judged("{}", brief(Kind::Merge), ours.clone(), Some(json!({"a": {"y": 1}, "b": 2}))), Verdict::Rerun);
    assert_eq!(judged("{}", brief(Kind::Merge), ours.clone(), Some(json!({"a": {"x": 1}, "b": 2}))), done());
    assert!(rejected(judged("{}", brief(Kind::Merge), ours.clone(), Some(json!({"a": null})))));
    assert!(rejected(judged("{}", brief(Kind::Merge), ours.clone(), Some(json!({"a": {"x": 2}})))));
    assert_eq!(judged("{}", brief(Kind::Merge), ours, None), Verdict::NeedPayloads);
}

#[test]
fn a_field_emptied_by_others_is_an_overlap() {
    assert!(rejected(judged("{}", brief(Kind::Merge), json!({"a": 5}), Some(json!({"a": {}})))));
}

#[test]
fn the_setting_decides_an_overlap() {
    let at = |settings| judged(settings, brief(Kind::Merge), json!({"a": 1}), Some(json!({"a": 2})));
    assert_eq!(at(r#"{"on-overlap":"ours"}"#), Verdict::Rerun);
    assert!(matches!(at(r#"{"on-overlap":"escalate"}"#), Verdict::Escalate(_)));
    assert!(rejected(at(r#"{"on-overlap":"reject"}"#)));
}

#[test]
fn a_stale_put_writes_only_what_it_changed() {
    let base = json!({"a": 1, "b": 1, "c": 1});
    let put = |body: Value, latest: Value| reconciled("{}", brief(Kind::Put), body, Some(base.clone()), Some(latest));
    assert_eq!(
        put(json!({"a": 2, "b": 1}), json!({"a": 1, "b": 9, "c": 1})),
        Verdict::Patch(change(json!({"a": 2, "c": null})))
    );
    assert!(rejected(put(json!({"a": 2, "b": 1, "c": 1}), json!({"a": 3, "b": 1, "c": 1}))));
    assert_eq!(put(json!({"a": 2}), json!({"a": 2})), done());
    assert_eq!(put(json!({"a": null}), base.clone()), Verdict::Replace(change(json!({"a": null}))));
    let patches = judged("{}", brief(Kind::Put), json!({"a": 2}), Some(json!({"b": 9})));
    assert_eq!(patches, Verdict::Patch(change(json!({"a": 2}))));
}

#[test]
fn a_creation_that_lost_is_rejected() {
    let new = |kind| Brief { known: 0, ..brief(kind) };
    assert_eq!(judged("{}", new(Kind::Put), json!({"a": 1}), None), Verdict::NeedPayloads);
    assert!(rejected(reconciled("{}", new(Kind::Put), json!({"a": 1}), None, Some(json!({"a": 2})))));
    assert_eq!(reconciled("{}", new(Kind::Put), json!({"a": 1}), None, Some(json!({"a": 1}))), done());
    assert!(rejected(judged("{}", new(Kind::Delete), json!(null), None)));
    assert_eq!(judged("{}", Brief { exists: false, ..new(Kind::Put) }, json!({}), None), Verdict::Rerun);
}

#[test]
fn a_base_that_is_not_kept_leaves_the_setting() {
    let gone = || Brief { base_kept: false, ..brief(Kind::Merge) };
    assert_eq!(judged("{}", gone(), json!({"a": 1}), None), Verdict::NeedPayloads);
    assert_eq!(reconciled("{}", gone(), json!({"a": 1}), None, Some(json!({"a": 1, "b": 1}))), done());
    assert!(rejected(reconciled("{}", gone(), json!({"a": 1}), None, Some(json!({"b": 1})))));
}

#[test]
fn additions_commute() {
    assert_eq!(judged("{}", brief(Kind::Add), json!({"/a": 1}), Some(json!({"a": 2}))), Verdict::Rerun);
}

#[test]
fn a_deleted_object_takes_no_changes() {
    for kind in [Kind::Put, Kind::Merge, Kind::Add] {
        let verdict = judged("{}", Brief { exists: false, ..brief(kind) }, json!({"a": 1}), None);
        assert_eq!(verdict, Verdict::Reject("the object was deleted".into()));
        assert!(rejected(reconciled("{}", brief(kind), json!({"a": 1}), Some(json!({})), None)) || kind == Kind::Add);
    }
    assert_eq!(judged("{}", Brief { exists: false, ..brief(Kind::Delete) }, json!(null), None), done());
}

#[test]
fn deleting_what_was_changed_is_rejected() {
    assert!(rejected(judged("{}", brief(Kind::Delete), json!(null), Some(json!({"a": 1})))));
    let ours = judged(r#"{"on-overlap":"ours"}"#, brief(Kind::Delete), json!(null), Some(json!({"a": 1})));
    assert_eq!(ours, Verdict::Remove(Vec::new()));
}

#[test]
fn custom_kinds_are_rejected_by_name() {
    let brief = Brief { custom_kind: "drain".into(), ..brief(Kind::Custom) };
    assert_eq!(judged("{}", brief, json!({}), None), Verdict::Reject("unknown custom kind \"drain\"".into()));
}

#[test]
fn attempts_are_bounded() {
    let at = |attempt| judged("{}", Brief { attempt, ..brief(Kind::Add) }, json!({}), None);
    assert_eq!(at(4), Verdict::Rerun);
    assert!(matches!(at(5), Verdict::Escalate(_)));
}

#[test]
fn what_cannot_be_read_is_escalated() {
    let policy = ThreeWayReconciliation::configure("{}", &[]).unwrap();
    let deep = |levels: usize| [b"\xa1\x61a".repeat(levels), vec![0xa0]].concat();
    let check = |ours: &[u8], readable: bool| {
        let verdict = policy.judge(&brief(Kind::Merge), ours, Some(&[0xa0]));
        assert_eq!(!matches!(verdict, Verdict::Escalate(_)), readable, "{ours:x?} {verdict:?}");
    };
    check(&deep(63), true);
    check(&deep(64), false);
    check(&b"\x81".repeat(100_000), false);
    check(b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff", false);
    check(b"\xa1\x01\x01", false);
    check(b"\xa2\x61a\x01\x61a\x02", false);
    check(b"\xa0\xa0", false);
    check(b"", false);
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![(0..3u8).prop_map(|n| json!(n)), any::<bool>().prop_map(|b| json!(b)), Just(json!([1]))];
    let node = leaf
        .prop_recursive(3, 16, 3, |inner| prop::collection::btree_map("[abc]", inner, 0..3).prop_map(|map| json!(map)));
    prop::collection::btree_map("[abc]", node, 0..3).prop_map(|map| json!(map))
}

proptest! {
    #[test]
    fn a_difference_applied_gives_the_other_document(from in document(), to in document()) {
        let [from_cbor, to_cbor] = [&from, &to].map(cbor);
        let (from_tree, to_tree) = (Tree::parse(&from_cbor).unwrap(), Tree::parse(&to_cbor).unwrap());
        prop_assert_eq!(to_tree.to_bytes(), to_cbor.clone());
        let patch = difference(&from_tree, &to_tree).unwrap();
        prop_assert!(shows(&to_tree, &patch));
        prop_assert_eq!(from == to, shows(&from_tree, &patch));
        prop_assert_eq!(relate(&patch, &patch), Relation::Contained);
        prop_assert_eq!(apply(&from, &json_of(&patch.to_bytes())), to);
    }

    #[test]
    fn what_does_not_overlap_commutes(base in document(), left in document(), right in document()) {
        let documents = [&base, &left, &right].map(cbor);
        let [base_tree, left, right] = [0, 1, 2].map(|i| Tree::parse(&documents[i]).unwrap());
        let (ours, theirs) = (difference(&base_tree, &left).unwrap(), difference(&base_tree, &right).unwrap());
        let relation = relate(&ours, &theirs);
        let [ours, theirs] = [ours, theirs].map(|patch| json_of(&patch.to_bytes()));
        if relation != Relation::Overlapping {
            let both = apply(&apply(&base, &ours), &theirs);
            prop_assert_eq!(&both, &apply(&apply(&base, &theirs), &ours));
            prop_assert!(relation != Relation::Contained || both == apply(&base, &theirs));
        }
    }

    #[test]
    fn no_input_traps(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tree::parse(&bytes);
    }
}

/// The inverse of [`cbor`].
fn json_of(bytes: &[u8]) -> Value {
    fn value(rest: &mut &[u8]) -> Value {
        let (first, after) = rest.split_first().unwrap();
        let count = usize::from(first & 31);
        *rest = after;
        match first >> 5 {
            0 => json!(count),
            3 => {
                let (text, after) = rest.split_at(count);
                *rest = after;
                json!(std::str::from_utf8(text).unwrap())
            }
            4 => (0..count).map(|_| value(rest)).collect(),
            5 => (0..count)
                .map(|_| (value(rest).as_str().unwrap().to_owned(), value(rest)))
                .collect::<Map<_, _>>()
                .into(),
            _ => [json!(false), json!(true), Value::Null][count - 20].clone(),
        }
    }
    let mut rest = bytes;
    value(&mut rest)
}
