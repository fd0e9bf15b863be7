//! The actions that clients ask for, and what became of each.

use ostrakon_core::action;
use ostrakon_core::policy::Verdict;
use ostrakon_store::Outcome;
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{
    Action, ActionId, ActionKind, ConditionalWrite, ObjectId, OnConflict, Operation, Payload, Perform, Target, Version,
};

/// The custom action that the simulated policy knows.
pub(crate) const ATTACH: &str = "attach";

/// What an action asks of the stored version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    None,
    Known(u64),
    Makes(u64),
}

impl Condition {
    /// Whether it holds where this version stands, live or not.
    pub(crate) fn holds(self, stored: u64, live: bool) -> bool {
        match self {
            Self::None => true,
            Self::Known(0) => !live,
            Self::Known(known) => live && known == stored,
            Self::Makes(version) => version == stored + 1,
        }
    }
}

/// One action, and what became of it.
pub(crate) struct Sent {
    /// Counted from 1; stands in what the action writes.
    pub(crate) number: u64,
    /// Index of its object.
    pub(crate) object: usize,
    pub(crate) action: Action,
    pub(crate) condition: Condition,
    pub(crate) choice: OnConflict,
    pub(crate) id: Option<ActionId>,
    /// Requests for it, all told.
    pub(crate) sends: u32,
    /// Requests that may still have their effect.
    pub(crate) loose: u32,
    /// What it came to: the revision, and how.
    pub(crate) came_to: Option<(u64, Outcome)>,
    /// The escalation that it is written in the place of.
    pub(crate) in_place_of: Option<u64>,
    /// Its ticket stands on disk, or stood there.
    pub(crate) ticket_seen: bool,
    /// A client was told that it has a ticket.
    pub(crate) ticket_told: bool,
    /// Verdicts, with the version that each was for.
    pub(crate) verdicts: Vec<(u64, Option<Verdict>)>,
    /// It is asked for together with others.
    pub(crate) of_transaction: bool,
}

impl Sent {
    /// One that is asked for once and has come to nothing yet.
    pub(crate) fn new(
        number: u64,
        object: usize,
        action: Action,
        condition: Condition,
        choice: OnConflict,
        id: Option<ActionId>,
    ) -> Self {
        Self {
            number,
            object,
            action,
            condition,
            choice,
            id,
            sends: 1,
            loose: 1,
            came_to: None,
            in_place_of: None,
            ticket_seen: false,
            ticket_told: false,
            verdicts: Vec::new(),
            of_transaction: false,
        }
    }

    pub(crate) fn kind(&self) -> ActionKind {
        self.action.kind()
    }

    /// The request for it.
    pub(crate) fn operation(&self, object: &ObjectId, by_hand: bool) -> Operation {
        let target = Target { object: object.clone(), shard_key: None };
        if let (Condition::Makes(version), Action::Put(payload)) = (self.condition, &self.action) {
            let (new_version, payload) = (Version::new(version), payload.clone());
            return Operation::ConditionalWrite(ConditionalWrite { target, new_version, payload, action_id: self.id });
        }
        let known = match self.condition {
            Condition::Known(known) => Some(Version::new(known)),
            _ => None,
        };
        let perform =
            Perform { target, action: self.action.clone(), known, action_id: self.id, on_conflict: self.choice };
        if by_hand { Operation::Reconcile(perform) } else { Operation::Perform(perform) }
    }

    /// What the built-in action makes of what stands there; `None`: it cannot be done to that.
    pub(crate) fn applied(&self, stands: Option<&Payload>) -> Option<Option<Payload>> {
        match &self.action {
            Action::Put(payload) => Some(Some(payload.clone())),
            Action::Merge(patch) => action::merge(stands, patch).ok().map(Some),
            Action::Add(additions) => action::add(stands?, additions).ok().map(Some),
            Action::Delete => stands.map(|_| None),
            Action::Custom { .. } => None,
        }
    }

    /// What a verdict makes of what stands there.
    pub(crate) fn by_verdict(&self, verdict: &Verdict, stands: Option<&Payload>) -> Option<Option<Payload>> {
        match verdict {
            Verdict::Rerun if self.kind() == ActionKind::Put && self.condition != Condition::None => None,
            Verdict::Rerun => self.applied(stands),
            Verdict::Patch(change) => {
                let patch = Payload::structured(change.body.clone()).ok()?;
                action::merge(stands, &patch).ok().map(Some)
            }
            Verdict::Replace(change) => Payload::structured(change.body.clone()).ok().map(Some),
            Verdict::Remove(_) => stands.map(|_| None),
            _ => None,
        }
    }

    /// Whether the last verdict for a version is such a one. Of deletes it cannot be told whose verdict it was, where several
    /// wait; and for a transaction whose client is gone a judgement may still be made that nobody waits for, after that of its
    /// repeat. Of those any will do.
    pub(crate) fn judged(&self, version: u64, such: impl Fn(&Verdict) -> bool) -> bool {
        let mut all = self.verdicts.iter().rev().filter(|(of, _)| *of == version);
        let such = |(_, verdict): &(u64, Option<Verdict>)| verdict.as_ref().is_some_and(&such);
        if self.kind() == ActionKind::Delete || self.of_transaction {
            all.any(such)
        } else {
            all.next().is_some_and(such)
        }
    }

    /// Whether there was a verdict for a version, or the policy failed at it.
    pub(crate) fn was_judged(&self, version: u64) -> bool {
        self.verdicts.iter().any(|(of, _)| *of == version)
    }
}

fn number(number: u64) -> Value {
    Value::Integer(number as i64)
}

/// A structured payload.
pub(crate) fn payload(fields: impl IntoIterator<Item = (String, Value)>) -> Payload {
    Payload::from_value(&Value::Map(fields.into_iter().collect::<Map>())).expect("a small map is a payload")
}

/// An action of a kind that carries its number, and writes one field of four.
pub(crate) fn make(kind: ActionKind, own: u64, field: u64) -> Action {
    let tag = ("tag".to_owned(), number(own));
    let field = (format!("f{field}"), number(own));
    match kind {
        ActionKind::Put => Action::Put(payload([tag, field, ("n".to_owned(), number(0))])),
        ActionKind::Merge => Action::Merge(payload([tag, field])),
        ActionKind::Add => Action::Add(payload([("/n".to_owned(), number(own))])),
        ActionKind::Delete => Action::Delete,
        ActionKind::Custom => Action::Custom { kind: ATTACH.to_owned(), body: payload([tag]) },
    }
}

/// The number of the action that a payload, patch or body belongs to.
pub(crate) fn tag_of(body: &[u8]) -> Option<u64> {
    let Ok(Value::Map(map)) = Value::from_cbor(body) else { return None };
    match map.get("tag").or_else(|| map.get("/n")) {
        Some(Value::Integer(tag)) => u64::try_from(*tag).ok(),
        _ => None,
    }
}
