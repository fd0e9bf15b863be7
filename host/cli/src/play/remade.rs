//! Deletes that found nothing when their trace was first played, and would find something the second time.
//!
//! A delete that finds nothing leaves no record under its action id. Where the trace makes the object afterwards, that
//! delete would now meet it, and a second import would destroy what the first one left. So a delete of such an object looks
//! first: what an event of its own or a later second made, before this import began, shows that this delete has had its
//! turn. (Within a second any order is as good as another.)

use std::collections::HashMap;

use ostrakon_cloudtrail::{ObjectRef, Play, What};

/// The merges of each object that is merged into in or after a second in which it is deleted: action id and second.
#[derive(Debug, Default)]
pub(super) struct Remade(HashMap<ObjectRef, HashMap<u128, u64>>);

impl Remade {
    pub(super) fn of(plays: &[Play]) -> Self {
        let mut first_delete: HashMap<&ObjectRef, u64> = HashMap::new();
        for play in plays {
            if let What::Delete(object) = &play.what {
                let first = first_delete.entry(object).or_insert(play.second);
                *first = play.second.min(*first);
            }
        }
        let mut remade = Self::default();
        for play in plays {
            if let What::Merge { object, .. } = &play.what
                && first_delete.get(object).is_some_and(|first| play.second >= *first)
            {
                let merges = remade.0.entry(object.clone()).or_default();
                merges.insert(play.action_id, play.second);
            }
        }
        remade
    }

    /// Whether a delete in this second could meet what a later event made.
    pub(super) fn possible(&self, object: &ObjectRef, second: u64) -> bool {
        let merges = self.0.get(object);
        merges.is_some_and(|merges| merges.values().any(|merged| *merged >= second))
    }

    /// Whether an action is an event that made this object in this second or later.
    pub(super) fn by(&self, object: &ObjectRef, second: u64, action_id: u128) -> bool {
        let merged = self.0.get(object).and_then(|merges| merges.get(&action_id));
        merged.is_some_and(|merged| *merged >= second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> ObjectRef {
        ObjectRef { client: "c".into(), data_type: "t".into(), name: "n".into() }
    }

    fn play(second: u64, action_id: u128, what: What) -> Play {
        Play {
            second,
            unix_ms: second * 1000,
            principal: String::new(),
            event_id: String::new(),
            event_name: String::new(),
            action_id,
            what,
        }
    }

    fn merge(second: u64, action_id: u128) -> Play {
        let patch = serde_json::json!({});
        play(second, action_id, What::Merge { object: object(), patch })
    }

    #[test]
    fn only_what_was_made_in_the_same_second_or_later_shows_that_a_delete_was_played() {
        let delete = |second| play(second, 0, What::Delete(object()));
        let remade = Remade::of(&[merge(1, 10), delete(2), merge(2, 20), merge(3, 30), delete(4)]);
        assert!(remade.possible(&object(), 2));
        assert!(!remade.possible(&object(), 4));
        assert!(!remade.by(&object(), 2, 10));
        assert!(remade.by(&object(), 2, 20));
        assert!(remade.by(&object(), 2, 30));
        assert!(!remade.by(&object(), 2, 40), "somebody else made that");
    }

    #[test]
    fn an_object_that_is_only_made_or_only_deleted_needs_no_look() {
        assert!(!Remade::of(&[merge(1, 10)]).possible(&object(), 0));
        let delete = play(1, 10, What::Delete(object()));
        assert!(!Remade::of(&[delete]).possible(&object(), 0));
    }
}
