//! Questions and answers as fixtures have them, so that what is shown can be put into a file.

use ostrakon_core::policy::{
    Answer, Brief, Change, Forecast, Heat, Outlook, Placement, Placing, Question, Route, Verdict,
};
use ostrakon_wire::{ActionKind, OnConflict};
use serde_json::{Value, json};

const KINDS: [ActionKind; 5] =
    [ActionKind::Put, ActionKind::Merge, ActionKind::Add, ActionKind::Delete, ActionKind::Custom];
const CHOICES: [OnConflict; 3] = [OnConflict::Reject, OnConflict::Reconcile, OnConflict::Detach];

fn kind_name(kind: ActionKind) -> &'static str {
    match kind {
        ActionKind::Put => "put",
        ActionKind::Merge => "merge",
        ActionKind::Add => "add",
        ActionKind::Delete => "delete",
        ActionKind::Custom => "custom",
    }
}

fn choice_name(choice: OnConflict) -> &'static str {
    match choice {
        OnConflict::Reject => "reject",
        OnConflict::Reconcile => "reconcile",
        OnConflict::Detach => "detach",
    }
}

/// The arguments of a question, in the contract's order.
pub(crate) fn arguments(question: &Question) -> Vec<Value> {
    match question {
        Question::Place(Placing { client, data_type, name, timestamp_ms, current, heat }) => {
            let heat = json!({
                "client-ppm": heat.client_ppm, "type-ppm": heat.type_ppm, "window-ppm": heat.window_ppm,
                "write-ppm": heat.write_ppm, "callers": heat.callers, "idle-ms": heat.idle_ms, "shards": heat.shards,
            });
            vec![json!(client), json!(data_type), json!(name), json!(timestamp_ms), json!(current), heat]
        }
        Question::Predict(ask) => vec![
            json!(ask.known),
            json!(ask.observed),
            json!(ask.observed_age_us),
            json!(ask.read_age_us),
            json!(ask.queued),
            json!(ask.in_group),
            json!(ask.write_millihz),
            json!(ask.conflict_ppm),
            json!(ask.commit_us),
            json!(kind_name(ask.kind)),
            json!(choice_name(ask.choice)),
            json!(ask.attempt),
            json!(ask.payload_bytes),
            json!(ask.scope),
        ],
        Question::Judge { brief, ours, theirs } => vec![told(brief), hex(ours), optional(theirs)],
        Question::Reconcile { brief, body, base, latest } => {
            vec![told(brief), hex(body), optional(base), optional(latest)]
        }
    }
}

fn told(brief: &Brief<Box<str>>) -> Value {
    json!({
        "client": brief.client, "data-type": brief.data_type, "name": brief.name, "kind": kind_name(brief.kind),
        "custom-kind": brief.custom_kind, "known": brief.known, "base-kept": brief.base_kept, "latest": brief.latest,
        "exists": brief.exists, "attempt": brief.attempt, "now-ms": brief.now_ms, "shard-key": brief.shard_key,
        "latest-bytes": brief.latest_bytes,
    })
}

fn optional(bytes: &Option<Vec<u8>>) -> Value {
    bytes.as_deref().map_or(Value::Null, hex)
}

fn hex(bytes: &[u8]) -> Value {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |digits, byte| format!("{digits}{byte:02x}")).into()
}

/// An answer.
pub(crate) fn answer(answer: &Answer) -> Value {
    let change = |change: &Change| json!({ "body": hex(&change.body), "reply": hex(&change.reply) });
    match answer {
        Answer::Placement(Placement { key, bits }) => json!({ "key": key, "bits": bits }),
        Answer::Forecast(Forecast { version, confidence_ppm, route }) => {
            let route = match route {
                Route::Write => "write",
                Route::Reconcile => "reconcile",
            };
            json!({ "version": version, "confidence-ppm": confidence_ppm, "route": route })
        }
        Answer::Verdict(verdict) => match verdict {
            Verdict::Rerun => json!({ "rerun": null }),
            Verdict::NeedPayloads => json!({ "need-payloads": null }),
            Verdict::Patch(patch) => json!({ "patch": change(patch) }),
            Verdict::Replace(whole) => json!({ "replace": change(whole) }),
            Verdict::Remove(reply) => json!({ "remove": hex(reply) }),
            Verdict::AlreadyApplied(reply) => json!({ "already-applied": hex(reply) }),
            Verdict::Reject(words) => json!({ "reject": words }),
            Verdict::RetryAfterMs(ms) => json!({ "retry-after-ms": ms }),
            Verdict::Escalate(words) => json!({ "escalate": words }),
        },
    }
}

/// The question of a fixture's call; `None` for other functions and for arguments that do not fit.
pub(crate) fn question(function: &str, arguments: &[Value]) -> Option<Question> {
    match (function, arguments) {
        ("get-shard-key", [client, data_type, name, timestamp_ms, current, heat]) => Some(Question::Place(Placing {
            client: text(client)?,
            data_type: text(data_type)?,
            name: text(name)?,
            timestamp_ms: timestamp_ms.as_u64()?,
            current: current.as_u64()?,
            heat: Heat {
                client_ppm: small(&heat["client-ppm"])?,
                type_ppm: small(&heat["type-ppm"])?,
                window_ppm: small(&heat["window-ppm"])?,
                write_ppm: small(&heat["write-ppm"])?,
                callers: small(&heat["callers"])?,
                idle_ms: heat["idle-ms"].as_u64()?,
                shards: small(&heat["shards"])?,
            },
        })),
        ("predict", arguments) if arguments.len() == 14 => outlook(arguments).map(Question::Predict),
        ("judge", [brief, ours, theirs]) => {
            Some(Question::Judge { brief: read_brief(brief)?, ours: bytes(ours)?, theirs: maybe(theirs)? })
        }
        ("reconcile", [brief, body, base, latest]) => Some(Question::Reconcile {
            brief: read_brief(brief)?,
            body: bytes(body)?,
            base: maybe(base)?,
            latest: maybe(latest)?,
        }),
        _ => None,
    }
}

fn outlook(arguments: &[Value]) -> Option<Outlook> {
    let number = |at: usize| arguments[at].as_u64();
    let small = |at: usize| small(&arguments[at]);
    Some(Outlook {
        known: number(0)?,
        observed: number(1)?,
        observed_age_us: number(2)?,
        read_age_us: number(3)?,
        queued: small(4)?,
        in_group: small(5)?,
        write_millihz: number(6)?,
        conflict_ppm: small(7)?,
        commit_us: small(8)?,
        kind: read_kind(&arguments[9])?,
        choice: CHOICES.into_iter().find(|choice| arguments[10] == choice_name(*choice))?,
        attempt: small(11)?,
        payload_bytes: small(12)?,
        scope: number(13)?,
    })
}

fn read_brief(brief: &Value) -> Option<Brief<Box<str>>> {
    Some(Brief {
        client: text(&brief["client"])?,
        data_type: text(&brief["data-type"])?,
        name: text(&brief["name"])?,
        kind: read_kind(&brief["kind"])?,
        custom_kind: text(&brief["custom-kind"])?,
        known: brief["known"].as_u64()?,
        base_kept: brief["base-kept"].as_bool()?,
        latest: brief["latest"].as_u64()?,
        exists: brief["exists"].as_bool()?,
        attempt: small(&brief["attempt"])?,
        now_ms: brief["now-ms"].as_u64()?,
        shard_key: brief["shard-key"].as_u64()?,
        latest_bytes: small(&brief["latest-bytes"])?,
    })
}

fn read_kind(value: &Value) -> Option<ActionKind> {
    KINDS.into_iter().find(|kind| *value == kind_name(*kind))
}

fn text(value: &Value) -> Option<Box<str>> {
    value.as_str().map(Box::from)
}

fn small(value: &Value) -> Option<u32> {
    value.as_u64()?.try_into().ok()
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    let digits = value.as_str().filter(|digits| digits.len().is_multiple_of(2))?;
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

fn maybe(value: &Value) -> Option<Option<Vec<u8>>> {
    if value.is_null() { Some(None) } else { bytes(value).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draws;
    use crate::input::questions;
    use ostrakon_wire::PolicyKind;

    #[test]
    fn a_question_reads_otherwise_than_it_was_written() {
        for kind in PolicyKind::ALL {
            for asked in questions(kind, &mut Draws::new(1), 200) {
                assert_eq!(question(asked.function(), &arguments(&asked)), Some(asked));
            }
        }
        assert_eq!(question("judge", &[]), None);
        assert_eq!(question("predict", &vec![Value::Null; 14]), None);
    }
}
