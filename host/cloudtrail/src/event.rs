//! One CloudTrail record, checked: what the mapping reads of it, with the types the mapping expects.
//!
//! Always holds: `eventTime`, `eventSource` and `eventName` are there and not empty, the time fits an action id, and every
//! text field is within its bound. `null` and the empty text stand for "absent" everywhere else.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::bounds::{ACTION_TIME_BITS, FIELD_BYTES_MAX};

/// Why a record is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The record is not a JSON object.
    #[error("it is not an object")]
    NotAnObject,
    /// A field that every record has is absent, null or empty.
    #[error("it has no {0}")]
    Missing(&'static str),
    /// A field is of another JSON type.
    #[error("{field} is not {expected}")]
    WrongType {
        /// The field's path in the record.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A text field is above [`FIELD_BYTES_MAX`].
    #[error("{0} is longer than {FIELD_BYTES_MAX} bytes")]
    TooLong(&'static str),
    /// `eventTime` is no RFC 3339 time between 1970 and the last one that an action id can hold.
    #[error("eventTime {0:?} is not an RFC 3339 time since 1970")]
    Time(String),
}

/// Who made the call, as far as the record says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// `userIdentity.accountId`.
    pub account_id: Option<String>,
    /// `userIdentity.sessionContext.sessionIssuer.arn`: the role behind an assumed role's session.
    pub issuer_arn: Option<String>,
    /// `userIdentity.arn`.
    pub arn: Option<String>,
    /// `userIdentity.invokedBy`: the service that made the call.
    pub invoked_by: Option<String>,
    /// `userIdentity.principalId`.
    pub principal_id: Option<String>,
}

/// One record of a CloudTrail file.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub(crate) time_ns: i128,
    /// `eventTime` as written.
    pub time: String,
    /// `eventSource`, such as `ec2.amazonaws.com`.
    pub source: String,
    /// `eventName`, such as `CreateVolume`.
    pub name: String,
    /// `eventID`; of a record without one, a digest of the record.
    pub id: String,
    /// `readOnly`.
    pub read_only: Option<bool>,
    /// `errorCode`: the call failed.
    pub error_code: Option<String>,
    /// `recipientAccountId`.
    pub recipient_account_id: Option<String>,
    /// `userIdentity`.
    pub identity: Identity,
    /// `resources[].ARN`, in order.
    pub resource_arns: Vec<String>,
    /// `requestParameters`.
    pub request: Value,
    /// `responseElements`.
    pub response: Value,
}

impl Event {
    /// Checks one element of `Records`.
    pub fn from_record(record: Value) -> Result<Self, RecordError> {
        let digest_id = |record: &Value| format!("sha256:{:x}", Sha256::digest(record.to_string()));
        let Value::Object(fields) = &record else {
            return Err(RecordError::NotAnObject);
        };
        let required = |field| text(fields, field, field)?.ok_or(RecordError::Missing(field));
        let (time, source, name) = (required("eventTime")?, required("eventSource")?, required("eventName")?);
        let id = text(fields, "eventID", "eventID")?.unwrap_or_else(|| digest_id(&record));
        let mut event = Self {
            time_ns: time_ns(&time)?,
            time,
            source,
            name,
            id,
            read_only: flag(fields, "readOnly")?,
            error_code: text(fields, "errorCode", "errorCode")?,
            recipient_account_id: text(fields, "recipientAccountId", "recipientAccountId")?,
            identity: identity(fields)?,
            resource_arns: resource_arns(fields)?,
            request: Value::Null,
            response: Value::Null,
        };
        if let Value::Object(mut fields) = record {
            let mut take = |field| fields.get_mut(field).map_or(Value::Null, Value::take);
            event.request = take("requestParameters");
            event.response = take("responseElements");
        }
        Ok(event)
    }

    /// `eventTime` in whole milliseconds since 1970; below 2^48.
    pub fn unix_ms(&self) -> u64 {
        u64::try_from(self.time_ns / 1_000_000).expect("checked when the record was read")
    }
}

fn time_ns(time: &str) -> Result<i128, RecordError> {
    let refused = || RecordError::Time(time.to_owned());
    let parsed = OffsetDateTime::parse(time, &Rfc3339).map_err(|_| refused())?;
    let ns = parsed.unix_timestamp_nanos();
    let ms_max = 1i128 << ACTION_TIME_BITS;
    if ns < 0 || ns / 1_000_000 >= ms_max {
        return Err(refused());
    }
    Ok(ns)
}

fn identity(record: &Map<String, Value>) -> Result<Identity, RecordError> {
    let Some(user) = object(record, "userIdentity", "userIdentity")? else {
        return Ok(Identity::default());
    };
    let context = object(user, "sessionContext", "userIdentity.sessionContext")?;
    let issuer = match context {
        Some(context) => object(context, "sessionIssuer", "userIdentity.sessionContext.sessionIssuer")?,
        None => None,
    };
    Ok(Identity {
        account_id: text(user, "accountId", "userIdentity.accountId")?,
        issuer_arn: match issuer {
            Some(issuer) => text(issuer, "arn", "userIdentity.sessionContext.sessionIssuer.arn")?,
            None => None,
        },
        arn: text(user, "arn", "userIdentity.arn")?,
        invoked_by: text(user, "invokedBy", "userIdentity.invokedBy")?,
        principal_id: text(user, "principalId", "userIdentity.principalId")?,
    })
}

fn resource_arns(record: &Map<String, Value>) -> Result<Vec<String>, RecordError> {
    let wrong = |field, expected| Err(RecordError::WrongType { field, expected });
    let resources = match record.get("resources") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(resources)) => resources,
        Some(_) => return wrong("resources", "an array"),
    };
    let mut arns = Vec::new();
    for resource in resources {
        let Value::Object(resource) = resource else {
            return wrong("resources[]", "an object");
        };
        arns.extend(text(resource, "ARN", "resources[].ARN")?);
    }
    Ok(arns)
}

fn object<'a>(
    map: &'a Map<String, Value>,
    key: &str,
    field: &'static str,
) -> Result<Option<&'a Map<String, Value>>, RecordError> {
    let expected = "an object";
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(RecordError::WrongType { field, expected }),
    }
}

fn text(map: &Map<String, Value>, key: &str, field: &'static str) -> Result<Option<String>, RecordError> {
    let expected = "a text";
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.len() > FIELD_BYTES_MAX => Err(RecordError::TooLong(field)),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        Some(_) => Err(RecordError::WrongType { field, expected }),
    }
}

fn flag(map: &Map<String, Value>, field: &'static str) -> Result<Option<bool>, RecordError> {
    let expected = "true or false";
    match map.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(flag)) => Ok(Some(*flag)),
        Some(_) => Err(RecordError::WrongType { field, expected }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(change: impl FnOnce(&mut Value)) -> String {
        let mut record =
            json!({"eventTime": "2023-07-10T11:42:36Z", "eventSource": "s3.amazonaws.com", "eventName": "ListBuckets"});
        change(&mut record);
        Event::from_record(record).unwrap_err().to_string()
    }

    #[test]
    fn a_record_without_a_needed_field_is_refused_by_its_name() {
        assert_eq!(refused(|r| r["eventTime"] = Value::Null), "it has no eventTime");
        assert_eq!(refused(|r| r["eventSource"] = json!("")), "it has no eventSource");
        assert_eq!(refused(|r| drop(r.as_object_mut().unwrap().remove("eventName"))), "it has no eventName");
        assert_eq!(Event::from_record(json!([])).unwrap_err(), RecordError::NotAnObject);
    }

    #[test]
    fn a_field_of_another_type_is_refused_by_its_name() {
        assert_eq!(refused(|r| r["eventTime"] = json!(7)), "eventTime is not a text");
        assert_eq!(refused(|r| r["readOnly"] = json!("true")), "readOnly is not true or false");
        assert_eq!(refused(|r| r["userIdentity"] = json!("me")), "userIdentity is not an object");
        assert_eq!(refused(|r| r["userIdentity"] = json!({"arn": 1})), "userIdentity.arn is not a text");
        assert_eq!(refused(|r| r["resources"] = json!({})), "resources is not an array");
        assert_eq!(refused(|r| r["resources"] = json!([{"ARN": 1}])), "resources[].ARN is not a text");
        assert!(refused(|r| r["eventName"] = json!("x".repeat(5000))).starts_with("eventName is longer"));
    }

    #[test]
    fn a_time_that_is_none_or_out_of_range_is_refused() {
        for time in ["yesterday", "2023-07-10", "1969-12-31T23:59:59Z", "2023-07-10T11:42:36"] {
            assert!(refused(|r| r["eventTime"] = json!(time)).contains("RFC 3339"), "{time}");
        }
    }

    #[test]
    fn a_record_without_an_id_gets_one_that_is_its_own() {
        let record = |name| json!({"eventTime": "2023-07-10T11:42:36Z", "eventSource": "s", "eventName": name});
        let id = |name| Event::from_record(record(name)).unwrap().id;
        assert_eq!(id("A"), id("A"));
        assert_ne!(id("A"), id("B"));
    }
}
