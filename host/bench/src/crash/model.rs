//! What the objects should hold: effects, and the state that a chain of them makes. No I/O.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// What a live object holds, but for the text that fills it, which follows from `by` and `len`.
pub(crate) type State = Map<String, Value>;

/// What an action does to the object that it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It holds this and no more.
    Put { by: String, len: usize },
    /// It holds this too.
    Merge { by: String },
    /// Its sum grows.
    Add { more: i64 },
    /// It is gone.
    Delete,
}

/// What stands in place of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Stands {
    pub(crate) version: u64,
    /// `None`: no live object.
    pub(crate) state: Option<State>,
}

/// What was not as it should be with one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Two actions were told the same version, or nobody was told it.
    Duplicated(String),
    /// What stands there is not what the acknowledged actions make.
    Changed(String),
}

/// The text that fills a payload; a piece of one betrays itself anywhere.
pub(crate) fn fill(by: &str, len: usize) -> String {
    let mut text = String::with_capacity(len + 48);
    let mut line = 0;
    while text.len() < len {
        text.push_str(&format!("{by}.{line:06};"));
        line += 1;
    }
    text.truncate(len);
    text
}

/// The payload of a put.
pub(crate) fn payload(by: &str, len: usize) -> Value {
    json!({ "by": by, "len": len, "n": 0, "fill": fill(by, len) })
}

/// The state that a payload holds; `None` for one that nobody wrote whole.
pub(crate) fn state(payload: Value) -> Option<State> {
    let Value::Object(mut all) = payload else { return None };
    let filled = all.remove("fill");
    let by = all.get("by").and_then(Value::as_str);
    let whole = match (by, all.get("len").and_then(Value::as_u64), filled) {
        (Some(by), Some(len), Some(Value::String(text))) => text == fill(by, len as usize),
        // Made by a merge, where there was no object.
        (None, None, None) => true,
        _ => false,
    };
    whole.then_some(all)
}

impl Effect {
    /// What it makes of what it meets; `None` where it could not have been done.
    fn apply(&self, met: Option<State>) -> Option<Option<State>> {
        match self {
            Self::Put { by, len } => {
                let made = [("by", json!(by)), ("len", json!(len)), ("n", json!(0))];
                Some(Some(made.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()))
            }
            Self::Merge { by } => {
                let mut state = met.unwrap_or_default();
                state.insert("merged".into(), json!(by));
                Some(Some(state))
            }
            Self::Add { more } => {
                let mut state = met?;
                let sum = state.get("n")?.as_i64()? + more;
                state.insert("n".into(), json!(sum));
                Some(Some(state))
            }
            Self::Delete => met.map(|_| None),
        }
    }
}

/// Holds what stands against the effects that were told to have made the versions above `base`.
pub(crate) fn hold(base: &Stands, told: &[(u64, Effect)], stands: &Stands) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut chain: BTreeMap<u64, &Effect> = BTreeMap::new();
    for (version, effect) in told {
        if chain.insert(*version, effect).is_some() || *version <= base.version {
            wrong.push(Wrong::Duplicated(format!("version {version} was told to two actions")));
        }
    }
    let unmade = (base.version + 1..=stands.version).filter(|version| !chain.contains_key(version));
    wrong.extend(unmade.map(|version| Wrong::Duplicated(format!("version {version} was told to nobody"))));
    if let Some((highest, _)) = chain.last_key_value().filter(|(highest, _)| **highest > stands.version) {
        wrong.push(Wrong::Changed(format!("version {highest} was told, {} stands", stands.version)));
    }
    if wrong.is_empty() {
        let made = chain.values().try_fold(base.state.clone(), |met, effect| effect.apply(met));
        if made.as_ref() != Some(&stands.state) {
            let (stands, version) = (&stands.state, stands.version);
            wrong.push(Wrong::Changed(format!("version {version} is {stands:?} and should be {made:?}")));
        }
    }
    wrong
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn put(by: &str) -> Effect {
        Effect::Put { by: by.into(), len: 100 }
    }

    fn stands(version: u64, by: &str, sum: i64) -> Stands {
        let mut state = state(payload(by, 100)).unwrap();
        state.insert("n".into(), json!(sum));
        Stands { version, state: Some(state) }
    }

    #[test]
    fn a_payload_that_nobody_wrote_whole_is_taken_for_one_that_somebody_did() {
        for len in [0, 7, 500] {
            assert!(state(payload("a", len)).is_some());
        }
        let mut torn = payload("a", 500);
        torn["fill"] = json!(fill("a", 250) + &fill("b", 250));
        assert_eq!(state(torn), None);
        let mut short = payload("a", 500);
        short["fill"] = json!(fill("a", 499));
        assert_eq!(state(short), None);
    }

    #[test]
    fn something_wrong_is_not_seen_or_something_right_is() {
        let add = Effect::Add { more: 2 };
        let base = stands(3, "x", 0);
        let wrong = |told: &[(u64, Effect)], found: &Stands| hold(&base, told, found);
        assert_eq!(wrong(&[], &base), []);
        assert_eq!(wrong(&[(5, add.clone()), (4, put("a"))], &stands(5, "a", 2)), []);
        assert_eq!(wrong(&[(4, Effect::Delete)], &Stands { version: 4, state: None }), []);
        let is_duplicated = |all: Vec<Wrong>| matches!(all[..], [Wrong::Duplicated(_)]);
        let is_changed = |all: Vec<Wrong>| matches!(all[..], [Wrong::Changed(_)]);
        assert!(is_duplicated(wrong(&[(4, add.clone()), (4, put("a"))], &stands(4, "a", 0))));
        assert!(is_duplicated(wrong(&[], &stands(4, "x", 2))), "a second effect");
        assert!(is_changed(wrong(&[(4, put("a")), (5, add.clone())], &stands(4, "a", 0))), "a lost one");
        assert!(is_changed(wrong(&[(4, put("a"))], &stands(4, "b", 0))), "another payload");
        assert!(is_changed(wrong(&[(4, add)], &stands(4, "x", 4))), "an addition that was made twice");
    }
}
