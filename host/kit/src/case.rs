//! Actions that lost a race, and what the host makes of the verdict on them.
//!
//! Always holds: a case is asked, and a verdict carried out, by the rules that the agent of a host follows
//! (`ostrakon_core::reconcile`).

use ostrakon_core::action;
use ostrakon_core::policy::{Answer, Brief, PolicyFault, Question, Verdict};
use ostrakon_core::reconcile::{Judged, Make, Next, next, patches, to_policy};
use ostrakon_wire::value::{Map, Value};
use ostrakon_wire::{Action, ActionKind, Payload, cbor};

use crate::draw::Draws;
use crate::input::{self, NOW_MS};

/// One case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    brief: Brief<Box<str>>,
    action: Action,
    base: Option<Payload>,
    latest: Option<Payload>,
}

/// What a verdict comes to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum After {
    /// Nothing is written.
    Nothing,
    /// This is, or the object is deleted.
    Written(Option<Payload>),
    /// The host does an addition of its own, which the action's id keeps from being done twice.
    Added,
}

impl Case {
    /// A case from a seed: a document, what others made of it, and an action on it.
    pub(crate) fn drawn(draws: &mut Draws) -> Self {
        let base = document(draws);
        let latest = edited(&base, draws);
        let known = draws.one_of([1, 3, 70]);
        let action = match draws.below(10) {
            0..3 => Action::Put(payload(&Value::Map(edited(&base, draws)))),
            3..6 => Action::Merge(payload(&Value::Map(patch(draws)))),
            6..8 => Action::Add(payload(&Value::Map(additions(draws)))),
            8 => Action::Delete,
            _ => Action::Custom {
                kind: draws.one_of(["resize", "attach-volume", "no-such-action"]).to_owned(),
                body: payload(&Value::Map(patch(draws))),
            },
        };
        let exists = !draws.once_in(8);
        let latest = if draws.once_in(20) {
            Payload::bytes(vec![draws.bits() as u8; 9]).ok()
        } else {
            Some(payload(&Value::Map(latest)))
        };
        let base_kept = !draws.once_in(4);
        let brief = Brief {
            client: input::client(draws),
            data_type: draws.one_of(["volume", "quota"]).into(),
            name: format!("{:x}", draws.bits()).into(),
            kind: action.kind(),
            custom_kind: "".into(),
            known,
            base_kept,
            latest: known + 1 + draws.below(3),
            exists,
            attempt: draws.one_of([0, 0, 0, 1, 2]),
            now_ms: NOW_MS,
            shard_key: draws.bits(),
            latest_bytes: 0,
        };
        let base = base_kept.then(|| payload(&Value::Map(base)));
        Self { brief, action, base, latest: None }.on(latest.filter(|_| exists), 0)
    }

    /// The case of a question on payloads; `None` where they are no payloads.
    pub(crate) fn of(question: &Question) -> Option<Self> {
        let Question::Reconcile { brief, body, base, latest } = question else { return None };
        let action = match brief.kind {
            ActionKind::Put => Action::Put(from_policy(body)?),
            ActionKind::Merge => Action::Merge(from_policy(body)?),
            ActionKind::Add => Action::Add(from_policy(body)?),
            ActionKind::Delete => Action::Delete,
            ActionKind::Custom => Action::Custom { kind: brief.custom_kind.to_string(), body: from_policy(body)? },
        };
        let read = |bytes: &Option<Vec<u8>>| match bytes {
            Some(bytes) => from_policy(bytes).map(Some),
            None => Some(None),
        };
        Some(Self { brief: brief.clone(), action, base: read(base)?, latest: read(latest)? })
    }

    /// The same case where something else stands there, so many judgements later.
    fn on(&self, latest: Option<Payload>, later: u32) -> Self {
        let mut case = self.clone();
        case.brief.custom_kind = match &case.action {
            Action::Custom { kind, .. } => kind.as_str().into(),
            _ => "".into(),
        };
        case.brief.latest += u64::from(later);
        case.brief.attempt += later;
        case.brief.exists = latest.is_some();
        case.brief.latest_bytes = latest.as_ref().map_or(0, |payload| payload.as_bytes().len() as u32);
        case.latest = latest;
        case
    }

    /// The case after its own change was made, as if nobody knew of that.
    pub(crate) fn again_on(&self, written: Option<Payload>) -> Self {
        self.on(written, 1)
    }

    /// The question on patches, where patches can tell.
    pub(crate) fn on_patches(&self) -> Option<Question> {
        if self.action.kind() == ActionKind::Custom {
            return None;
        }
        let (ours, theirs) = patches(&self.action, self.base.as_ref(), self.latest.as_ref())?;
        Some(Question::Judge { brief: self.brief.clone(), ours, theirs: Some(theirs) })
    }

    /// The question on payloads.
    pub(crate) fn on_payloads(&self) -> Question {
        let body = self.action.payload().map_or(Vec::new(), to_policy);
        let (base, latest) = (self.base.as_ref().map(to_policy), self.latest.as_ref().map(to_policy));
        Question::Reconcile { brief: self.brief.clone(), body, base, latest }
    }

    /// Asks as the host does, and says what it makes of the answer.
    pub(crate) fn judge(
        &self,
        mut ask: impl FnMut(&Question) -> Result<Answer, PolicyFault>,
    ) -> Result<After, PolicyFault> {
        let mut verdict = Verdict::NeedPayloads;
        for question in self.on_patches().into_iter().chain([self.on_payloads()]) {
            if verdict != Verdict::NeedPayloads {
                break;
            }
            match ask(&question)? {
                Answer::Verdict(answered) => verdict = answered,
                other => return Err(PolicyFault::Impossible(format!("{other:?}"))),
            }
        }
        let conditional = true;
        let judged = Judged { kind: self.action.kind(), conditional, tries: 1, tries_max: u32::MAX, seed: 0 };
        Ok(self.after(next(&judged, Ok(verdict))))
    }

    /// What stands there once the host has done it.
    fn after(&self, next: Next) -> After {
        let merged = |patch: &Payload| action::merge(self.latest.as_ref(), patch).ok();
        let written = match (next, &self.action) {
            (Next::Rerun, Action::Add(_)) => return After::Added,
            (Next::Rerun, Action::Put(payload)) => Some(payload.clone()),
            (Next::Rerun, Action::Merge(patch)) => merged(patch),
            (Next::Write(Make::Patch(patch), _), _) => merged(&patch),
            (Next::Write(Make::Replace(payload), _), _) => Some(payload),
            (Next::Rerun, Action::Delete) | (Next::Write(Make::Remove, _), _) if self.latest.is_some() => {
                return After::Written(None);
            }
            _ => None,
        };
        // What cannot be merged is refused.
        written.map_or(After::Nothing, |payload| After::Written(Some(payload)))
    }
}

/// A payload as the contract has it: CBOR, a byte string where it is bytes.
fn from_policy(bytes: &[u8]) -> Option<Payload> {
    let mut reader = cbor::Reader::new(bytes);
    match reader.bytes() {
        Ok(content) => Payload::bytes(content.to_vec()).ok(),
        Err(_) => Payload::structured(bytes.to_vec()).ok(),
    }
}

fn payload(value: &Value) -> Payload {
    Payload::from_value(value).unwrap_or_else(|error| unreachable!("a small map is a payload: {error}"))
}

const FIELDS: [&str; 6] = ["size", "state", "owner", "labels", "count", "parts"];

/// What an object may hold.
fn document(draws: &mut Draws) -> Map {
    let mut map = Map::from([("count".to_owned(), Value::Integer(draws.below(100) as i64))]);
    for field in FIELDS {
        if !draws.once_in(3) {
            map.insert(field.to_owned(), value(field, draws));
        }
    }
    map
}

fn value(field: &str, draws: &mut Draws) -> Value {
    match field {
        "size" | "count" => Value::Integer(draws.below(100) as i64),
        "state" | "owner" => Value::Text(draws.one_of(["a", "b", "c"]).to_owned()),
        "labels" => Value::Map(Map::from([(
            draws.one_of(["x", "y"]).to_owned(),
            Value::Text(draws.one_of(["1", "2"]).to_owned()),
        )])),
        _ => Value::Array((0..draws.below(3)).map(|part| Value::Integer(part as i64)).collect()),
    }
}

/// A document after one to three changes.
fn edited(map: &Map, draws: &mut Draws) -> Map {
    let mut edited = map.clone();
    for _ in 0..1 + draws.below(3) {
        let field = draws.one_of(FIELDS);
        if draws.once_in(5) {
            edited.remove(field);
        } else {
            edited.insert(field.to_owned(), value(field, draws));
        }
    }
    edited
}

fn patch(draws: &mut Draws) -> Map {
    let mut patch = Map::new();
    for _ in 0..1 + draws.below(2) {
        let field = draws.one_of(FIELDS);
        let value = if draws.once_in(6) { Value::Null } else { value(field, draws) };
        patch.insert(field.to_owned(), value);
    }
    patch
}

fn additions(draws: &mut Draws) -> Map {
    let pointer = draws.one_of(["/count", "/count", "/size"]);
    Map::from([(pointer.to_owned(), Value::Integer(draws.below(9) as i64 - 4))])
}
