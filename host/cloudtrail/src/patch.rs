//! What a merge carries: `{eventName, eventTime, by, params}`, an RFC 7396 patch that the host can take whatever the trace holds.
//!
//! - `params` is `requestParameters`, left out when the call had none, so those of an earlier call stay.
//! - Members that are `null` are left out at every depth: in CloudTrail `null` says "not given", in RFC 7396 "remove".
//!   Elements of arrays stay as they are.
//! - The host counts in i64: integers above `i64::MAX` become texts. (Beyond u64 the JSON parser has made them floats.)
//! - Parameters above [`PARAMS_BYTES_MAX`] are replaced by `{"omittedBytes": N}`.

use serde_json::{Map, Value, json};

use crate::{bounds::PARAMS_BYTES_MAX, event::Event};

/// The patch of one event by `principal`.
pub(crate) fn patch(event: &Event, principal: &str) -> Value {
    let mut patch = Map::new();
    patch.insert("eventName".to_owned(), json!(event.name));
    patch.insert("eventTime".to_owned(), json!(event.time));
    patch.insert("by".to_owned(), json!(principal));
    if !event.request.is_null() {
        let params = storable(&event.request);
        let bytes = params.to_string().len();
        let params = if bytes > PARAMS_BYTES_MAX { json!({ "omittedBytes": bytes }) } else { params };
        patch.insert("params".to_owned(), params);
    }
    Value::Object(patch)
}

fn storable(value: &Value) -> Value {
    match value {
        Value::Number(number) if number.as_i64().is_none() && number.is_u64() => Value::String(number.to_string()),
        Value::Array(values) => values.iter().map(storable).collect(),
        Value::Object(fields) => {
            let given = fields.iter().filter(|(_, value)| !value.is_null());
            given.map(|(key, value)| (key.clone(), storable(value))).collect()
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(request: Value) -> Option<Value> {
        let record = json!({
            "eventTime": "2023-07-10T11:42:36Z", "eventSource": "s", "eventName": "PutX", "requestParameters": request,
        });
        patch(&Event::from_record(record).unwrap(), "me").get("params").cloned()
    }

    #[test]
    fn nulls_never_remove_what_an_earlier_call_set() {
        assert_eq!(params(Value::Null), None);
        let given = json!({"a": null, "b": {"c": null, "d": 1}, "e": [null, {"f": null}]});
        assert_eq!(params(given), Some(json!({"b": {"d": 1}, "e": [null, {}]})));
    }

    #[test]
    fn integers_beyond_i64_become_texts() {
        let given = json!({"in": i64::MAX, "min": i64::MIN, "out": u64::MAX, "float": 0.5});
        let stored = json!({"in": i64::MAX, "min": i64::MIN, "out": "18446744073709551615", "float": 0.5});
        assert_eq!(params(given), Some(stored));
    }

    #[test]
    fn parameters_above_the_bound_are_noted_and_left_out() {
        let fits = json!({"a": "x".repeat(PARAMS_BYTES_MAX - 8)});
        assert_eq!(params(fits.clone()), Some(fits));
        let above = json!({"a": "x".repeat(PARAMS_BYTES_MAX - 7)});
        assert_eq!(params(above), Some(json!({"omittedBytes": PARAMS_BYTES_MAX + 1})));
    }
}
