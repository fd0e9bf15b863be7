//! One event to what is asked of the host.
//!
//! - Who: the client is `recipientAccountId`, else `userIdentity.accountId`; with [`ClientBy::Principal`] the session issuer's
//!   ARN, else `arn`, else `invokedBy`, else `principalId`. None: skipped. The acting principal, which has a connection of
//!   its own and is the `by` of a merge, is found by the second rule in either case; where that finds none, the account
//!   stands in for it.
//! - Read or write: a write has `readOnly` false and no `errorCode`; a failed call is a read. Without `readOnly` the verbs Get,
//!   List, Describe, Head and Lookup are reads and all others writes.
//! - A read of no object is a list of the client's objects of the event's noun; a write of no object is skipped.
//! - A delete has the verb Delete, Terminate, Release or Deregister, and its noun is the object's kind, so `DeleteRolePolicy`
//!   merges into the role. Every other write is a merge.
//! - An id that the host would refuse (empty, too long, control characters) is skipped.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    bounds::{ACTION_TIME_BITS, CLIENT_BYTES_MAX, NAME_BYTES_MAX, TYPE_BYTES_MAX},
    event::{Event, Identity},
    object, patch, words,
};

const READ_VERBS: [&str; 5] = ["Get", "List", "Describe", "Head", "Lookup"];
const DELETE_VERBS: [&str; 4] = ["Delete", "Terminate", "Release", "Deregister"];

/// Choices of whoever plays a trace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Where the client id comes from.
    pub client_by: ClientBy,
}

/// Where the client id comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ClientBy {
    /// The account that the event is recorded for.
    #[default]
    Account,
    /// The acting principal.
    Principal,
}

/// The host's name of an object; within the host's bounds.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// Client id.
    pub client: String,
    /// Data type, `service/kind`.
    pub data_type: String,
    /// Name.
    pub name: String,
}

/// What is asked of the host for one event.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Read the object.
    Read(ObjectRef),
    /// List the client's objects of a type.
    List {
        /// Client id.
        client: String,
        /// Data type, `service/kind`.
        data_type: String,
    },
    /// Merge an RFC 7396 patch into the object.
    Merge {
        /// The object.
        object: ObjectRef,
        /// `{eventName, eventTime, by, params}`.
        patch: Value,
    },
    /// Delete the object.
    Delete(ObjectRef),
    /// Nothing: the event cannot be played.
    Skip(SkipReason),
}

/// Why an event is not played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SkipReason {
    /// Nothing says whose objects these are.
    NoClient,
    /// A write that names no object.
    NoResource,
    /// An id that the host would refuse.
    InvalidId,
}

impl SkipReason {
    /// The reason as a summary shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoClient => "no-client",
            Self::NoResource => "no-resource",
            Self::InvalidId => "invalid-id",
        }
    }
}

/// One event, ready to be played.
#[derive(Debug, Clone, PartialEq)]
pub struct Play {
    /// `eventTime` in whole seconds since 1970: one second's plays run concurrently.
    pub second: u64,
    /// `eventTime` in milliseconds since 1970.
    pub unix_ms: u64,
    /// The acting principal: one connection each.
    pub principal: String,
    /// `eventID`.
    pub event_id: String,
    /// `eventName`.
    pub event_name: String,
    /// Shaped as UUIDv7: 48 bits of `eventTime` in milliseconds, then bits of the SHA-256 of `eventID`. The same event has
    /// the same id in every import.
    pub action_id: u128,
    /// What is asked of the host.
    pub what: What,
}

impl Play {
    /// The object that the event names, if it names one and is played.
    pub fn object(&self) -> Option<&ObjectRef> {
        match &self.what {
            What::Read(object) | What::Merge { object, .. } | What::Delete(object) => Some(object),
            What::List { .. } | What::Skip(_) => None,
        }
    }

    /// Whether the play changes an object: conditional on the version that its connection last saw.
    pub fn is_write(&self) -> bool {
        matches!(self.what, What::Merge { .. } | What::Delete(_))
    }
}

/// What `event` asks of the host.
pub fn map(event: &Event, options: &Options) -> Play {
    let account = event.recipient_account_id.as_deref().or(event.identity.account_id.as_deref());
    let principal = principal(&event.identity);
    let client = match options.client_by {
        ClientBy::Account => account,
        ClientBy::Principal => principal,
    };
    let by = principal.or(account).unwrap_or_default();
    let what = client.map_or(Err(SkipReason::NoClient), |client| what(event, client, by));
    Play {
        second: event.unix_ms() / 1000,
        unix_ms: event.unix_ms(),
        principal: by.to_owned(),
        event_id: event.id.clone(),
        event_name: event.name.clone(),
        action_id: action_id(event),
        what: what.unwrap_or_else(What::Skip),
    }
}

/// The plays second by second; `plays` as [`crate::load`] ordered their events.
pub fn seconds(plays: &[Play]) -> impl Iterator<Item = &[Play]> {
    plays.chunk_by(|a, b| a.second == b.second)
}

fn what(event: &Event, client: &str, by: &str) -> Result<What, SkipReason> {
    let write = is_write(event);
    let Some(target) = object::target(event) else {
        if write {
            return Err(SkipReason::NoResource);
        }
        let (client, data_type) = scope(client, object::service(event), &object::noun_kind(event))?;
        return Ok(What::List { client, data_type });
    };
    let (client, data_type) = scope(client, &target.service, &target.kind)?;
    let name = checked(target.name, NAME_BYTES_MAX)?;
    let object = ObjectRef { client, data_type, name };
    Ok(if !write {
        What::Read(object)
    } else if deletes(event, &target.kind) {
        What::Delete(object)
    } else {
        let patch = patch::patch(event, by);
        What::Merge { object, patch }
    })
}

fn principal(identity: &Identity) -> Option<&str> {
    let named = [&identity.issuer_arn, &identity.arn, &identity.invoked_by, &identity.principal_id];
    named.into_iter().find_map(|name| name.as_deref())
}

fn is_write(event: &Event) -> bool {
    let (verb, _) = words::verb_and_noun(&event.name);
    let reads = event.read_only.unwrap_or_else(|| is_one_of(verb, &READ_VERBS));
    !reads && event.error_code.is_none()
}

fn deletes(event: &Event, kind: &str) -> bool {
    let (verb, noun) = words::verb_and_noun(&event.name);
    is_one_of(verb, &DELETE_VERBS) && words::kind(noun) == kind
}

fn is_one_of(verb: &str, verbs: &[&str]) -> bool {
    verbs.iter().any(|known| known.eq_ignore_ascii_case(verb))
}

fn scope(client: &str, service: &str, kind: &str) -> Result<(String, String), SkipReason> {
    if service.is_empty() || kind.is_empty() {
        return Err(SkipReason::InvalidId);
    }
    let client = checked(client.to_owned(), CLIENT_BYTES_MAX)?;
    let data_type = checked(format!("{service}/{kind}"), TYPE_BYTES_MAX)?;
    Ok((client, data_type))
}

fn checked(id: String, bytes_max: usize) -> Result<String, SkipReason> {
    let control = id.bytes().any(|byte| byte < 0x20 || byte == 0x7f);
    if id.is_empty() || id.len() > bytes_max || control {
        return Err(SkipReason::InvalidId);
    }
    Ok(id)
}

fn action_id(event: &Event) -> u128 {
    const RANDOM_A: u128 = ((1 << 12) - 1) << 64;
    const RANDOM_B: u128 = (1 << 62) - 1;
    const VERSION_7: u128 = 7 << 76;
    const VARIANT: u128 = 0b10 << 62;
    let digest = Sha256::digest(event.id.as_bytes());
    let hash = digest.iter().take(16).fold(0u128, |hash, byte| hash << 8 | u128::from(*byte));
    let time = u128::from(event.unix_ms()) << (128 - ACTION_TIME_BITS);
    time | VERSION_7 | VARIANT | hash & (RANDOM_A | RANDOM_B)
}
