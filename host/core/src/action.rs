//! The built-in actions: what each makes of the object that it meets.

use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{InvalidPayload, Payload};

/// Why an action cannot be applied to the object that it met.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActionError {
    /// The object holds bytes.
    #[error("the object holds bytes; merge and add want a structured payload")]
    NotStructured,
    /// A pointer that does not begin with `/`, or with a `~` that is neither `~0` nor `~1`.
    #[error("{0:?} is no JSON pointer (RFC 6901)")]
    MalformedPointer(String),
    /// A pointer at which nothing stands.
    #[error("nothing stands at {0:?}")]
    PointsToNothing(String),
    /// A pointer at something that is no number.
    #[error("what stands at {0:?} is no number")]
    PointsToNoNumber(String),
    /// An addend that is no number.
    #[error("what is to be added at {0:?} is no number")]
    AddendNoNumber(String),
    /// A sum that does not fit 64 bits with a sign, or is not finite.
    #[error("the sum at {0:?} does not fit")]
    Overflow(String),
    /// The result is no payload: too large or too deep.
    #[error(transparent)]
    Result(#[from] InvalidPayload),
}

/// Merges a patch into what is stored (RFC 7396); an absent object counts as an empty map.
pub fn merge(stored: Option<&Payload>, patch: &Payload) -> Result<Payload, ActionError> {
    let mut target = match stored {
        Some(payload) => payload.value().ok_or(ActionError::NotStructured)?,
        None => Value::Map(Map::new()),
    };
    merge_value(&mut target, patch.value().ok_or(ActionError::NotStructured)?);
    Ok(Payload::from_value(&target)?)
}

fn merge_value(target: &mut Value, patch: Value) {
    let Value::Map(patch) = patch else {
        *target = patch;
        return;
    };
    if !matches!(target, Value::Map(_)) {
        *target = Value::Map(Map::new());
    }
    let Value::Map(target) = target else { return };
    for (key, change) in patch {
        if change == Value::Null {
            target.remove(&key);
        } else {
            merge_value(target.entry(key).or_insert(Value::Null), change);
        }
    }
}

/// Adds numbers to those that stand at JSON pointers (RFC 6901). Every pointer must lead to a number. An integer and
/// an integer make an integer; with a float they make a float.
pub fn add(stored: &Payload, additions: &Payload) -> Result<Payload, ActionError> {
    let mut target = stored.value().ok_or(ActionError::NotStructured)?;
    let Some(Value::Map(additions)) = additions.value() else {
        return Err(ActionError::NotStructured);
    };
    for (pointer, addend) in additions {
        let number = value_at(&mut target, &pointer)?;
        *number = match (&*number, addend) {
            (Value::Integer(a), Value::Integer(b)) => a.checked_add(b).map(Value::Integer),
            (Value::Integer(a), Value::Float(b)) => finite(*a as f64 + b),
            (Value::Float(a), Value::Integer(b)) => finite(a + b as f64),
            (Value::Float(a), Value::Float(b)) => finite(a + b),
            (Value::Integer(_) | Value::Float(_), _) => return Err(ActionError::AddendNoNumber(pointer)),
            _ => return Err(ActionError::PointsToNoNumber(pointer)),
        }
        .ok_or(ActionError::Overflow(pointer))?;
    }
    Ok(Payload::from_value(&target)?)
}

/// Whether a structured payload holds this value where a JSON pointer (RFC 6901) leads; the empty pointer leads to the
/// whole. An integer equals no float.
pub fn holds(stored: &Payload, pointer: &str, expected: &Value) -> bool {
    let Some(mut root) = stored.value() else { return false };
    if pointer.is_empty() {
        return root == *expected;
    }
    value_at(&mut root, pointer).is_ok_and(|found| found == expected)
}

fn finite(sum: f64) -> Option<Value> {
    sum.is_finite().then_some(Value::Float(sum))
}

fn value_at<'a>(root: &'a mut Value, pointer: &str) -> Result<&'a mut Value, ActionError> {
    let nothing = || ActionError::PointsToNothing(pointer.to_owned());
    let steps = pointer.strip_prefix('/').ok_or_else(|| ActionError::MalformedPointer(pointer.to_owned()))?;
    let mut at = root;
    for step in steps.split('/') {
        at = match at {
            Value::Map(map) => map.get_mut(&unescape(step, pointer)?).ok_or_else(nothing)?,
            Value::Array(items) => {
                let canonical = step == "0" || !step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit());
                let index = step.parse::<usize>().ok().filter(|_| canonical).ok_or_else(nothing)?;
                items.get_mut(index).ok_or_else(nothing)?
            }
            _ => return Err(nothing()),
        };
    }
    Ok(at)
}

fn unescape(step: &str, pointer: &str) -> Result<String, ActionError> {
    let mut parts = step.split('~');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (escaped, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', &part[1..]),
            Some(b'1') => ('/', &part[1..]),
            _ => return Err(ActionError::MalformedPointer(pointer.to_owned())),
        };
        name.push(escaped);
        name.push_str(rest);
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use ostrakon_wire::json::{from_json, to_json};
    use serde_json::json;

    fn payload(json: serde_json::Value) -> Payload {
        Payload::from_value(&from_json(&json).unwrap()).unwrap()
    }

    fn check_merge(stored: serde_json::Value, patch: serde_json::Value, expected: serde_json::Value) {
        let merged = merge(Some(&payload(stored)), &payload(patch)).unwrap();
        assert_eq!(to_json(&merged.value().unwrap()), expected);
    }

    fn check_add(stored: serde_json::Value, additions: serde_json::Value) -> Result<serde_json::Value, ActionError> {
        add(&payload(stored), &payload(additions)).map(|sum| to_json(&sum.value().unwrap()))
    }

    #[test]
    fn a_merge_follows_the_examples_of_its_rfc() {
        check_merge(json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"}));
        check_merge(json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"}));
        check_merge(json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"}));
        check_merge(json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"}));
        check_merge(json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}}));
        check_merge(json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]}));
        check_merge(json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1}));
        check_merge(json!({"a": "foo"}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}}));
        assert_eq!(merge(None, &payload(json!({"a": {"b": null}}))), Ok(payload(json!({"a": {}}))));
    }

    #[test]
    fn a_value_is_found_where_it_is_not_or_equals_another() {
        let stored = payload(json!({"a": {"b/c": [1, 2.0, null]}}));
        let holds = |pointer: &str, value: serde_json::Value| holds(&stored, pointer, &from_json(&value).unwrap());
        assert!(holds("/a/b~1c/0", json!(1)) && holds("/a/b~1c/1", json!(2.0)) && holds("/a/b~1c/2", json!(null)));
        assert!(holds("", json!({"a": {"b/c": [1, 2.0, null]}})) && holds("/a", json!({"b/c": [1, 2.0, null]})));
        assert!(!holds("/a/b~1c/0", json!(1.0)), "an integer is no float");
        assert!(!holds("/a/b~1c/3", json!(null)), "what is not there is not null");
        assert!(!holds("a", json!(1)) && !holds("/~2", json!(1)), "a malformed pointer leads to nothing");
        assert!(!super::holds(&Payload::bytes(vec![0]).unwrap(), "", &Value::Integer(0)), "bytes hold no value");
    }

    #[test]
    fn a_merge_on_bytes_is_refused() {
        let bytes = Payload::bytes(vec![1]).unwrap();
        assert_eq!(merge(Some(&bytes), &payload(json!({}))), Err(ActionError::NotStructured));
        assert_eq!(add(&bytes, &payload(json!({}))), Err(ActionError::NotStructured));
    }

    #[test]
    fn additions_reach_every_pointer() {
        let stored = json!({"a": 1, "b": {"c/d": 2.5}, "list": [0, {"~": 7}]});
        let additions = json!({"/a": -3, "/b/c~1d": 1, "/list/0": 4, "/list/1/~0": 0.5});
        let expected = json!({"a": -2, "b": {"c/d": 3.5}, "list": [4, {"~": 7.5}]});
        assert_eq!(check_add(stored, additions), Ok(expected));
    }

    #[test]
    fn an_addition_that_cannot_be_made_changes_nothing_and_says_why() {
        let stored = json!({"a": i64::MAX, "s": "x", "list": [1], "f": f64::MAX});
        let refused = |additions| check_add(stored.clone(), additions).unwrap_err();
        assert_eq!(refused(json!({"/a": 1})), ActionError::Overflow("/a".into()));
        assert_eq!(refused(json!({"/f": f64::MAX})), ActionError::Overflow("/f".into()));
        assert_eq!(refused(json!({"/b": 1})), ActionError::PointsToNothing("/b".into()));
        assert_eq!(refused(json!({"/list/1": 1})), ActionError::PointsToNothing("/list/1".into()));
        assert_eq!(refused(json!({"/list/00": 1})), ActionError::PointsToNothing("/list/00".into()));
        assert_eq!(refused(json!({"/s": 1})), ActionError::PointsToNoNumber("/s".into()));
        assert_eq!(refused(json!({"/s/t": 1})), ActionError::PointsToNothing("/s/t".into()));
        assert_eq!(refused(json!({"/a": "1"})), ActionError::AddendNoNumber("/a".into()));
        assert_eq!(refused(json!({"a": 1})), ActionError::MalformedPointer("a".into()));
        assert_eq!(refused(json!({"/~2": 1})), ActionError::MalformedPointer("/~2".into()));
    }
}
