//! How a transaction is written: JSON, every mistake in which is told with its place.

use std::collections::HashSet;

use ostrakon_client::value::Value as Structured;
use ostrakon_client::{
    Action, Code, Condition, Must, ObjectId, Payload, Step, Target, Version, WireError, json as structured,
};
use ostrakon_wire::InvalidPayload;
use ostrakon_wire::bounds::{TRANSACTION_ACTIONS_MAX, TRANSACTION_CONDITIONS_MAX};
use serde_json::{Map, Value, json};

use crate::failure::Failure;

type Members = Map<String, Value>;

/// What must hold, and what is done then.
pub(super) fn parse(text: &[u8]) -> Result<(Vec<Condition>, Vec<Step>), Failure> {
    let file: Value = serde_json::from_slice(text)
        .map_err(|error| Failure::usage(format!("the transaction is not JSON: {error}")))?;
    let members = members("the transaction", &file, &["conditions", "actions"])?;
    let conditions = each(members, "conditions", TRANSACTION_CONDITIONS_MAX, condition)?;
    let actions = each(members, "actions", TRANSACTION_ACTIONS_MAX, step)?;
    if actions.is_empty() {
        return Err(wrong("actions", "a transaction has at least one action"));
    }
    let mut objects = HashSet::new();
    match actions.iter().position(|step| !objects.insert(&step.target.object)) {
        Some(at) => Err(wrong(
            &format!("actions[{at}]"),
            &format!("a transaction acts once on an object, and twice on {}", actions[at].target.object),
        )),
        None => Ok((conditions, actions)),
    }
}

fn wrong(place: &str, what: &str) -> Failure {
    Failure::usage(format!("{place}: {what}"))
}

/// The members of a JSON object, none but these.
fn members<'a>(place: &str, value: &'a Value, known: &[&str]) -> Result<&'a Members, Failure> {
    let members = value.as_object().ok_or_else(|| wrong(place, "expected a JSON object"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(wrong(place, &format!("no member {name:?} is known here; there are {}", known.join(", ")))),
        None => Ok(members),
    }
}

/// Every item of an array that may be left out.
fn each<T>(
    members: &Members,
    name: &str,
    most: usize,
    one: impl Fn(&str, &Value) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let Some(items) = members.get(name) else { return Ok(Vec::new()) };
    let items = items.as_array().ok_or_else(|| wrong(name, "expected an array"))?;
    if items.len() > most {
        return Err(wrong(name, &format!("a transaction has at most {most}, not {}", items.len())));
    }
    items.iter().enumerate().map(|(at, item)| one(&format!("{name}[{at}]"), item)).collect()
}

fn object(place: &str, members: &Members) -> Result<ObjectId, Failure> {
    let place = format!("{place}.object");
    let expected = || wrong(&place, "expected [CLIENT, TYPE, NAME]");
    let [client, data_type, name] = members.get("object").and_then(Value::as_array).ok_or_else(expected)?.as_slice()
    else {
        return Err(expected());
    };
    let text = |part: &Value| part.as_str().map(str::to_owned).ok_or_else(expected);
    ObjectId::new(&text(client)?, &text(data_type)?, &text(name)?)
        .map_err(|error| WireError::new(Code::InvalidId, format!("{place}: {error}")).into())
}

fn condition(place: &str, value: &Value) -> Result<Condition, Failure> {
    let members = members(place, value, &["object", "version", "absent", "at", "equals"])?;
    let object = object(place, members)?;
    let [version, absent, at, equals] = ["version", "absent", "at", "equals"].map(|name| members.get(name));
    let must = match (version, absent, at, equals) {
        (Some(version), None, None, None) => match version.as_u64() {
            Some(version) => Must::BeAt(Version::new(version)),
            None => return Err(wrong(&format!("{place}.version"), "expected a version, a number from 0")),
        },
        (None, Some(Value::Bool(true)), None, None) => Must::BeAt(Version::ABSENT),
        (None, Some(_), None, None) => return Err(wrong(&format!("{place}.absent"), "expected true")),
        (None, None, Some(at), Some(equals)) => match at.as_str() {
            Some(pointer) => {
                Must::Hold { pointer: pointer.to_owned(), value: structured_value(&format!("{place}.equals"), equals)? }
            }
            None => return Err(wrong(&format!("{place}.at"), "expected a JSON pointer, a text")),
        },
        (None, None, None, None) => {
            return Err(wrong(place, "nothing must hold; give version, absent, or at and equals"));
        }
        (None, None, ..) => return Err(wrong(place, "at and equals go together")),
        _ => return Err(wrong(place, "more than one thing must hold; give each a condition of its own")),
    };
    Ok(Condition { object, must })
}

fn step(place: &str, value: &Value) -> Result<Step, Failure> {
    const ACTIONS: [&str; 5] = ["put", "put_bytes", "merge", "add", "delete"];
    let members = members(place, value, &["object", "put", "put_bytes", "merge", "add", "delete"])?;
    let object = object(place, members)?;
    let mut given = ACTIONS.into_iter().filter_map(|name| Some((name, members.get(name)?)));
    let (Some((name, body)), None) = (given.next(), given.next()) else {
        return Err(wrong(place, &format!("expected one of {}", ACTIONS.join(", "))));
    };
    let at = format!("{place}.{name}");
    let action = match name {
        "put" => Action::Put(map_payload(&at, body)?),
        "put_bytes" => Action::Put(bytes_payload(&at, body)?),
        "merge" => Action::Merge(map_payload(&at, body)?),
        "add" => Action::Add(map_payload(&at, body)?),
        _ if *body == Value::Bool(true) => Action::Delete,
        _ => return Err(wrong(&at, "expected true")),
    };
    Ok(Step { target: Target { object, shard_key: None }, action })
}

fn structured_value(place: &str, value: &Value) -> Result<Structured, Failure> {
    structured::from_json(value).map_err(|error| wrong(place, &error.to_string()))
}

fn map_payload(place: &str, value: &Value) -> Result<Payload, Failure> {
    match structured_value(place, value)? {
        map @ Structured::Map(_) => checked(place, Payload::from_value(&map)),
        _ => Err(wrong(place, "expected a JSON object")),
    }
}

fn bytes_payload(place: &str, value: &Value) -> Result<Payload, Failure> {
    match structured::from_json(&json!({ "$base64": value })) {
        Ok(Structured::Bytes(bytes)) => checked(place, Payload::bytes(bytes)),
        _ => Err(wrong(place, "expected base64, a text")),
    }
}

/// What is only too large is told as the host would.
fn checked(place: &str, payload: Result<Payload, InvalidPayload>) -> Result<Payload, Failure> {
    payload.map_err(|error| match error {
        InvalidPayload::TooLarge { .. } => WireError::new(Code::PayloadTooLarge, format!("{place}: {error}")).into(),
        InvalidPayload::Malformed(_) => wrong(place, &error.to_string()),
    })
}
