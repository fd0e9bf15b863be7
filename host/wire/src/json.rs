//! Structured values as JSON, for the command line and for people.
//!
//! Bytes, which JSON does not have, read and write as `{"$base64": "..."}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::bounds::PAYLOAD_DEPTH_MAX;
use crate::value::{Map, Value};

/// The one key of a JSON object that stands for bytes.
const BYTES_KEY: &str = "$base64";

/// Why JSON is no structured value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// An integer that does not fit 64 bits with a sign.
    #[error("the integer {0} does not fit 64 bits with a sign")]
    IntegerRange(String),
    /// Nested too deeply.
    #[error("nested more than {PAYLOAD_DEPTH_MAX} levels deep")]
    TooDeep,
    /// `{"$base64": ...}` with something else than base64 text.
    #[error("{{\"{BYTES_KEY}\": ...}} does not hold base64")]
    NotBase64,
}

/// The structured value of some JSON.
pub fn from_json(json: &serde_json::Value) -> Result<Value, InvalidJson> {
    read(json, PAYLOAD_DEPTH_MAX)
}

fn read(json: &serde_json::Value, depth_left: usize) -> Result<Value, InvalidJson> {
    let deeper = depth_left.checked_sub(1).ok_or(InvalidJson::TooDeep);
    Ok(match json {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(value) => Value::Bool(*value),
        serde_json::Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer),
            (None, Some(float)) if number.is_f64() => Value::Float(float),
            _ => return Err(InvalidJson::IntegerRange(number.to_string())),
        },
        serde_json::Value::String(text) => Value::Text(text.clone()),
        serde_json::Value::Array(items) => {
            let deeper = deeper?;
            Value::Array(items.iter().map(|item| read(item, deeper)).collect::<Result<_, _>>()?)
        }
        serde_json::Value::Object(object) => match object.get(BYTES_KEY) {
            Some(encoded) if object.len() == 1 => {
                let decoded = encoded.as_str().and_then(|text| STANDARD.decode(text).ok());
                Value::Bytes(decoded.ok_or(InvalidJson::NotBase64)?)
            }
            _ => {
                let deeper = deeper?;
                let pairs = object.iter().map(|(key, value)| Ok((key.clone(), read(value, deeper)?)));
                Value::Map(pairs.collect::<Result<Map, _>>()?)
            }
        },
    })
}

/// The JSON of a structured value.
pub fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Text(text) => text.as_str().into(),
        Value::Bytes(bytes) => bytes_to_json(bytes),
        Value::Array(items) => items.iter().map(to_json).collect(),
        Value::Map(map) => {
            serde_json::Value::Object(map.iter().map(|(key, value)| (key.clone(), to_json(value))).collect())
        }
    }
}

/// The JSON that stands for bytes.
pub fn bytes_to_json(bytes: &[u8]) -> serde_json::Value {
    serde_json::json!({ BYTES_KEY: STANDARD.encode(bytes) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn json_comes_back_as_it_went() {
        let json = serde_json::json!({"a": [1, -2, 1.5, null, true], "b": {"$base64": "AQI="}, "c": {"d": "e"}});
        assert_eq!(to_json(&from_json(&json).unwrap()), json);
    }

    #[test]
    fn json_that_has_no_value_is_refused_by_name() {
        let big: serde_json::Value = serde_json::from_str("18446744073709551615").unwrap();
        assert_eq!(from_json(&big), Err(InvalidJson::IntegerRange("18446744073709551615".into())));
        assert_eq!(from_json(&serde_json::json!({"$base64": "*"})), Err(InvalidJson::NotBase64));
        let deep = (0..65).fold(serde_json::json!({}), |inner, _| serde_json::json!({ "a": inner }));
        assert_eq!(from_json(&deep), Err(InvalidJson::TooDeep));
    }
}
