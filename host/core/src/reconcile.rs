//! What becomes of an action whose object has moved on: the decisions of the reconciliation agent.
//!
//! A case is an action that waits for its turn. At its turn it meets the version that the case before it made. [`first`]
//! says whether it can be done as it is or has to be judged; [`next`] makes the next step of a verdict. Bounded: a case is
//! judged so many times, then a person has it.

use ostrakon_wire::bounds::REPLY_BYTES_MAX;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{Action, ActionKind, Payload, PayloadFormat, cbor};

use crate::policy::{Change, PolicyFault, Verdict};

/// What is done with a case when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The built-in action is applied to what stands there: its condition holds.
    Apply,
    /// The policy judges on small patches.
    Judge,
    /// The policy judges on whole payloads.
    Reconcile,
}

/// The next step after a verdict.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// The built-in action is applied to what stands there, whatever its condition.
    Rerun,
    /// The policy judges again, on whole payloads.
    Reconcile,
    /// This is written.
    Write(Make, Option<Payload>),
    /// Nothing is: what stands there shows the action's effect.
    Applied(Option<Payload>),
    /// Nothing is, and the caller is told why.
    Reject(String),
    /// The case goes behind the others of its object, and comes again after so many milliseconds.
    Again(u64),
    /// A person has it.
    Escalate(String),
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub enum Make {
    /// This, merged into what stands there.
    Patch(Payload),
    /// This, in place of it.
    Replace(Payload),
    /// Nothing stands there any more.
    Remove,
}

/// A case after a verdict.
#[derive(Debug, Clone, Copy)]
pub struct Judged {
    /// What the action does.
    pub kind: ActionKind,
    /// Whether it was made for a certain version.
    pub conditional: bool,
    /// How often the policy was asked, this time included.
    pub tries: u32,
    /// How often it may be.
    pub tries_max: u32,
    /// Spreads the waits of cases that come again.
    pub seed: u64,
}

/// The first wait after a fault, in milliseconds; each further one is twice as long.
const BACK_OFF_MS: u64 = 10;
/// The longest.
const BACK_OFF_MS_MAX: u64 = 1_000;

/// Longest words that are kept of a fault or a policy, in bytes.
const WORDS_BYTES_MAX: usize = 4 << 10;

/// What to do with a case at its turn.
pub fn first(kind: ActionKind, condition_holds: bool, patches: bool) -> First {
    match (kind, condition_holds) {
        (ActionKind::Custom, _) => First::Reconcile,
        (_, true) => First::Apply,
        (_, false) if patches => First::Judge,
        (_, false) => First::Reconcile,
    }
}

/// The next step of a case.
pub fn next(judged: &Judged, verdict: Result<Verdict, PolicyFault>) -> Next {
    let step = match verdict {
        Ok(verdict) => step(judged, verdict),
        Err(fault) => Err(fault.to_string()),
    };
    let last = judged.tries >= judged.tries_max;
    match step.map_err(clipped) {
        Ok(Next::Again(_)) if last => Next::Escalate(format!("still to be tried later after {} tries", judged.tries)),
        Ok(Next::Again(ms)) => Next::Again(jittered(ms, judged.seed)),
        Ok(step) => step,
        Err(fault) if last => Next::Escalate(format!("gave up after {} tries: {fault}", judged.tries)),
        Err(_) => {
            let doubled = BACK_OFF_MS.saturating_mul(1 << judged.tries.min(16));
            Next::Again(jittered(doubled.min(BACK_OFF_MS_MAX), judged.seed))
        }
    }
}

fn clipped(mut words: String) -> String {
    words.truncate(words.floor_char_boundary(WORDS_BYTES_MAX));
    words
}

/// The wait, or up to half as much more.
fn jittered(ms: u64, seed: u64) -> u64 {
    ms + seed % (ms / 2 + 1)
}

fn step(judged: &Judged, verdict: Verdict) -> Result<Next, String> {
    Ok(match verdict {
        // What a client wrote over one version is never written over another.
        Verdict::Rerun if judged.kind == ActionKind::Put && judged.conditional => {
            return Err("the policy wants to rerun a put that was made for another version".to_owned());
        }
        Verdict::Rerun if judged.kind == ActionKind::Custom => {
            return Err("the policy wants to rerun a custom action, which the host cannot carry out".to_owned());
        }
        Verdict::Rerun => Next::Rerun,
        Verdict::NeedPayloads => Next::Reconcile,
        Verdict::Patch(Change { body, reply }) => {
            Next::Write(Make::Patch(structured(body, "a patch")?), self::reply(reply)?)
        }
        Verdict::Replace(Change { body, reply }) => Next::Write(Make::Replace(from_policy(body)?), self::reply(reply)?),
        Verdict::Remove(reply) => Next::Write(Make::Remove, self::reply(reply)?),
        Verdict::AlreadyApplied(reply) => Next::Applied(self::reply(reply)?),
        Verdict::Reject(words) => Next::Reject(clipped(words)),
        Verdict::RetryAfterMs(ms) => Next::Again(ms.into()),
        Verdict::Escalate(words) => Next::Escalate(clipped(words)),
    })
}

fn structured(bytes: Vec<u8>, what: &str) -> Result<Payload, String> {
    Payload::structured(bytes).map_err(|error| format!("the policy answered {what} that is none: {error}"))
}

fn reply(bytes: Vec<u8>) -> Result<Option<Payload>, String> {
    match bytes.len() {
        0 => Ok(None),
        1..=REPLY_BYTES_MAX => structured(bytes, "a reply").map(Some),
        long => Err(format!("the policy answered a reply of {long} bytes; at most {REPLY_BYTES_MAX} are allowed")),
    }
}

/// A payload as a policy gets it: CBOR; bytes that nobody looks into are a byte string.
pub fn to_policy(payload: &Payload) -> Vec<u8> {
    match payload.format() {
        PayloadFormat::Structured => payload.as_bytes().to_vec(),
        PayloadFormat::Bytes => {
            let mut out = Vec::with_capacity(payload.as_bytes().len() + 9);
            cbor::bytes(&mut out, payload.as_bytes());
            out
        }
    }
}

fn from_policy(bytes: Vec<u8>) -> Result<Payload, String> {
    let invalid = |error: &dyn std::fmt::Display| format!("the policy answered a payload that is none: {error}");
    let mut reader = cbor::Reader::new(&bytes);
    match reader.bytes() {
        Ok(content) => {
            let content = content.to_vec();
            reader.end().map_err(|error| invalid(&error))?;
            Payload::bytes(content).map_err(|error| invalid(&error))
        }
        Err(_) => Payload::structured(bytes).map_err(|error| invalid(&error)),
    }
}

/// The patch (RFC 7396) that makes `to` of `from`. A member of `to` that is null cannot be told by a patch; it is left out.
pub fn difference(from: &Map, to: &Map) -> Map {
    let mut patch = Map::new();
    for key in from.keys().filter(|key| !to.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in to {
        match (from.get(key), value) {
            (Some(before), _) if before == value => {}
            (Some(Value::Map(before)), Value::Map(after)) => {
                patch.insert(key.clone(), Value::Map(difference(before, after)));
            }
            (_, Value::Null) => {}
            _ => drop(patch.insert(key.clone(), value.clone())),
        }
    }
    patch
}

fn has_null(map: &Map) -> bool {
    map.values().any(|value| match value {
        Value::Null => true,
        Value::Map(inner) => has_null(inner),
        _ => false,
    })
}

/// What an action changes and what was changed meanwhile, as patches; `None` where patches cannot tell: bytes, a base that
/// is not there, an object that is not, null in any of them.
pub fn patches(action: &Action, base: Option<&Payload>, latest: Option<&Payload>) -> Option<(Vec<u8>, Vec<u8>)> {
    let map = |payload: &Payload| match payload.value() {
        Some(Value::Map(map)) => Some(map),
        _ => None,
    };
    let (base, latest) = (map(base?)?, map(latest?)?);
    if has_null(&base) || has_null(&latest) {
        return None;
    }
    let ours = match action {
        Action::Put(payload) => {
            let to = map(payload).filter(|to| !has_null(to))?;
            Value::Map(difference(&base, &to)).to_cbor()
        }
        Action::Merge(patch) | Action::Add(patch) => patch.as_bytes().to_vec(),
        Action::Delete | Action::Custom { .. } => return None,
    };
    Some((ours, Value::Map(difference(&base, &latest)).to_cbor()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ostrakon_wire::json::from_json;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::action;

    fn judged(kind: ActionKind, tries: u32) -> Judged {
        Judged { kind, conditional: true, tries, tries_max: 5, seed: 3 }
    }

    fn payload(json: serde_json::Value) -> Payload {
        Payload::from_value(&from_json(&json).unwrap()).unwrap()
    }

    fn fault() -> Result<Verdict, PolicyFault> {
        Err(PolicyFault::Trapped("unreachable".into()))
    }

    #[test]
    fn a_put_for_another_version_is_rerun() {
        let of =
            |kind, conditional| next(&Judged { conditional, ..judged(kind, 1) }, Ok(Verdict::Rerun)) == Next::Rerun;
        assert!(!of(ActionKind::Put, true) && !of(ActionKind::Custom, false));
        assert!(of(ActionKind::Put, false) && of(ActionKind::Merge, true) && of(ActionKind::Add, true));
    }

    #[test]
    fn a_case_is_tried_without_an_end() {
        let mut waits = Vec::new();
        for tries in 1..5 {
            let Next::Again(ms) = next(&judged(ActionKind::Add, tries), fault()) else { panic!("{tries} are not 5") };
            waits.push(ms);
            assert!(matches!(next(&judged(ActionKind::Add, tries), Ok(Verdict::RetryAfterMs(8))), Next::Again(8..=12)));
        }
        assert!(waits.is_sorted() && waits[3] <= BACK_OFF_MS_MAX * 3 / 2, "{waits:?}");
        assert!(matches!(next(&judged(ActionKind::Add, 5), fault()), Next::Escalate(_)));
        assert!(matches!(next(&judged(ActionKind::Add, 5), Ok(Verdict::RetryAfterMs(8))), Next::Escalate(_)));
    }

    #[test]
    fn what_a_policy_answers_is_written_unlooked_at() {
        let write = |verdict| next(&judged(ActionKind::Merge, 1), Ok(verdict));
        let change = |body: &[u8], reply: &[u8]| Change { body: body.to_vec(), reply: reply.to_vec() };
        assert!(matches!(write(Verdict::Patch(change(&[1], &[]))), Next::Again(_)), "a patch is a map");
        assert!(matches!(write(Verdict::Replace(change(&[0xff], &[]))), Next::Again(_)));
        assert!(matches!(write(Verdict::Remove(vec![1])), Next::Again(_)), "a reply is a map");
        let long = payload(json!({ "x": "y".repeat(REPLY_BYTES_MAX) })).as_bytes().to_vec();
        assert!(matches!(write(Verdict::AlreadyApplied(long)), Next::Again(_)));
        let bytes = Payload::bytes(vec![7; 300]).unwrap();
        let replaced = write(Verdict::Replace(change(&to_policy(&bytes), &[0xa0])));
        assert_eq!(replaced, Next::Write(Make::Replace(bytes), Some(payload(json!({})))));
        let map = payload(json!({"a": 1}));
        let replaced = write(Verdict::Replace(change(&to_policy(&map), &[])));
        assert_eq!(replaced, Next::Write(Make::Replace(map), None));
    }

    #[test]
    fn patches_tell_both_sides_where_there_is_a_base() {
        let (base, latest) = (payload(json!({"a": 1, "b": {"c": 2}})), payload(json!({"a": 1, "b": {"c": 3}, "d": 4})));
        let read = |cbor: &[u8]| ostrakon_wire::json::to_json(&Value::from_cbor(cbor).unwrap());
        let put = Action::Put(payload(json!({"b": {"c": 2}})));
        let (ours, theirs) = patches(&put, Some(&base), Some(&latest)).unwrap();
        assert_eq!((read(&ours), read(&theirs)), (json!({"a": null}), json!({"b": {"c": 3}, "d": 4})));
        assert_eq!(patches(&put, None, Some(&latest)), None);
        assert_eq!(patches(&put, Some(&base), None), None);
        assert_eq!(patches(&put, Some(&Payload::bytes("x").unwrap()), Some(&latest)), None);
        let null = Action::Put(payload(json!({"a": null, "b": {"c": 2}})));
        assert_eq!(patches(&null, Some(&base), Some(&latest)), None, "a patch cannot set null");
        assert_eq!(patches(&Action::Delete, Some(&base), Some(&latest)), None);
    }

    /// Maps without null, which a patch cannot set.
    fn map() -> impl Strategy<Value = Map> {
        let leaf = prop_oneof![any::<i64>().prop_map(Value::Integer), "[a-c]{0,2}".prop_map(Value::Text)];
        let value = leaf.prop_recursive(3, 16, 4, |inner| {
            proptest::collection::btree_map("[a-c]", inner, 0..4).prop_map(Value::Map)
        });
        proptest::collection::btree_map("[a-d]", value, 0..5)
    }

    proptest! {
        #[test]
        fn a_difference_merged_into_the_one_makes_the_other(from in map(), to in map()) {
            let of = |map: &Map| Payload::from_value(&Value::Map(map.clone())).unwrap();
            let patch = of(&difference(&from, &to));
            prop_assert_eq!(action::merge(Some(&of(&from)), &patch).unwrap(), of(&to));
        }
    }
}
