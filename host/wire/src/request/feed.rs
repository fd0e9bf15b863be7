//! Requests for what was, and for what comes: history, retention, the feed.

use bytes::Bytes;

use super::Target;
use super::body::{Body, TARGET, malformed, missing};
use super::codec::{checked_page, write_page, write_target};
use crate::bounds::{
    BOOKMARK_MS_DEFAULT, BOOKMARK_MS_MAX, BOOKMARK_MS_MIN, HISTORY_VERSIONS_MAX, RETENTION_AGE_MS_MAX,
    RETENTION_AGE_MS_MIN,
};
use crate::cbor::{self, CborError, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::ids::{IdPart, ObjectId};
use crate::numbers::Version;
use crate::position::Position;

/// Which versions of an object to list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadHistory {
    /// The object.
    pub target: Target,
    /// Most versions on the page.
    pub limit: usize,
    /// Where the page before ended.
    pub token: Option<Bytes>,
    /// Whether payloads come along.
    pub with_payloads: bool,
}

/// Which state of an object to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPast {
    /// The object.
    pub target: Target,
    /// Which one.
    pub past: Past,
}

/// A state of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Past {
    /// This version.
    Version(Version),
    /// What stood there at this place.
    Position(Position),
}

/// How long the versions of a type are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetRetention {
    /// The type; `None`: all types without a rule of their own.
    pub data_type: Option<String>,
    /// The rule; `None`: the type has none of its own any more.
    pub rule: Option<Keep>,
}

/// What is kept of an object beside its newest version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// So many versions at most, the newest counted.
    pub versions: u32,
    /// None that was replaced longer ago than so many milliseconds.
    pub age_ms: u64,
}

impl Keep {
    /// Why it cannot be set, where it cannot.
    pub fn check(&self) -> Result<(), String> {
        let Self { versions, age_ms } = *self;
        if versions == 0 || versions > HISTORY_VERSIONS_MAX {
            return Err(format!("1 to {HISTORY_VERSIONS_MAX} versions are kept, not {versions}"));
        }
        if !(RETENTION_AGE_MS_MIN..=RETENTION_AGE_MS_MAX).contains(&age_ms) {
            return Err(format!("versions are kept {RETENTION_AGE_MS_MIN} to {RETENTION_AGE_MS_MAX} ms, not {age_ms}"));
        }
        Ok(())
    }
}

/// Which changes to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Of objects of this client.
    pub client: String,
    /// Of this type alone.
    pub data_type: Option<String>,
    /// With names that begin so; wants a type.
    pub prefix: Option<String>,
    /// Those behind this place; `None`: those behind now.
    pub from: Option<Position>,
    /// Whether payloads come along.
    pub with_payloads: bool,
    /// Whether the payloads that were replaced do.
    pub with_previous: bool,
    /// How often it is told where it stands while nothing happens, in milliseconds.
    pub bookmark_ms: u32,
}

impl Watch {
    /// Every change of a client's objects from now on, with payloads.
    pub fn of_client(client: impl Into<String>) -> Self {
        Self {
            client: client.into(),
            data_type: None,
            prefix: None,
            from: None,
            with_payloads: true,
            with_previous: false,
            bookmark_ms: BOOKMARK_MS_DEFAULT,
        }
    }
}

/// The fields that say which objects of a client.
pub(super) const WITHIN: [u64; 3] = [field::CLIENT, field::DATA_TYPE, field::PREFIX];

/// Which objects of a client.
pub(super) fn write_within(client: &str, data_type: Option<&str>, prefix: Option<&str>, fields: &mut FieldWriter<'_>) {
    cbor::text(fields.field(field::CLIENT), client);
    if let Some(data_type) = data_type {
        cbor::text(fields.field(field::DATA_TYPE), data_type);
    }
    if let Some(prefix) = prefix {
        cbor::text(fields.field(field::PREFIX), prefix);
    }
}

/// Holds the rules of a client, a type and a prefix.
pub(super) fn check_within(body: &Body<'_>) -> Result<(), WireError> {
    if !body.has(field::CLIENT) {
        return Err(missing(field::CLIENT));
    }
    IdPart::Client.check(body.client)?;
    body.data_type.map(|data_type| IdPart::DataType.check(data_type)).transpose()?;
    body.prefix.map(|prefix| IdPart::Name.check_prefix(prefix)).transpose()?;
    if body.prefix.is_some() && body.data_type.is_none() {
        return Err(malformed("a name prefix wants a data type"));
    }
    Ok(())
}

impl ReadHistory {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        write_target(&self.target, fields);
        write_page(self.limit, self.token.as_ref(), fields);
        if self.with_payloads {
            cbor::bool(fields.field(field::WITH_PAYLOADS), true);
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        body.only(&[&TARGET[..], &[field::LIMIT, field::TOKEN, field::WITH_PAYLOADS]].concat())?;
        let (limit, token) = checked_page(body)?;
        Ok(Self { target: body.target()?, limit, token, with_payloads: body.with_payloads })
    }
}

impl ReadPast {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        write_target(&self.target, fields);
        match self.past {
            Past::Version(version) => cbor::uint(fields.field(field::VERSION), version.get()),
            Past::Position(position) => cbor::bytes(fields.field(field::POSITION), &position.to_bytes()),
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        body.only(&[&TARGET[..], &[field::VERSION, field::POSITION]].concat())?;
        let past = match (body.version, body.position) {
            (Some(version), None) => Past::Version(version),
            (None, Some(position)) => Past::Position(position),
            (None, None) => return Err(missing(field::VERSION)),
            (Some(_), Some(_)) => return Err(CborError::UnknownKey(field::POSITION).into()),
        };
        Ok(Self { target: body.target()?, past })
    }
}

impl SetRetention {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        if let Some(data_type) = &self.data_type {
            cbor::text(fields.field(field::DATA_TYPE), data_type);
        }
        if let Some(Keep { versions, age_ms }) = self.rule {
            cbor::uint(fields.field(field::VERSIONS), versions.into());
            cbor::uint(fields.field(field::AGE_MS), age_ms);
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        body.only(&[field::DATA_TYPE, field::VERSIONS, field::AGE_MS])?;
        body.data_type.map(|data_type| IdPart::DataType.check(data_type)).transpose()?;
        let rule = match (body.versions, body.age_ms) {
            (Some(versions), Some(age_ms)) => {
                let rule = Keep { versions, age_ms };
                rule.check().map_err(malformed)?;
                Some(rule)
            }
            (None, None) if body.data_type.is_some() => None,
            (None, _) => return Err(missing(field::VERSIONS)),
            (_, None) => return Err(missing(field::AGE_MS)),
        };
        Ok(Self { data_type: body.data_type.map(str::to_owned), rule })
    }
}

impl Watch {
    /// What the texts of the objects begin with.
    pub fn text_prefix(&self) -> String {
        ObjectId::text_prefix(&self.client, self.data_type.as_deref(), self.prefix.as_deref())
    }

    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        write_within(&self.client, self.data_type.as_deref(), self.prefix.as_deref(), fields);
        if self.with_payloads {
            cbor::bool(fields.field(field::WITH_PAYLOADS), true);
        }
        if let Some(from) = self.from {
            cbor::bytes(fields.field(field::POSITION), &from.to_bytes());
        }
        if self.with_previous {
            cbor::bool(fields.field(field::WITH_PREVIOUS), true);
        }
        if self.bookmark_ms != BOOKMARK_MS_DEFAULT {
            cbor::uint(fields.field(field::BOOKMARK_MS), self.bookmark_ms.into());
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        let own = [field::WITH_PAYLOADS, field::POSITION, field::WITH_PREVIOUS, field::BOOKMARK_MS];
        body.only(&[&WITHIN[..], &own].concat())?;
        check_within(body)?;
        let bookmark_ms = body.bookmark_ms.unwrap_or(BOOKMARK_MS_DEFAULT);
        if !(BOOKMARK_MS_MIN..=BOOKMARK_MS_MAX).contains(&bookmark_ms) {
            return Err(malformed(format!(
                "bookmarks come every {BOOKMARK_MS_MIN} to {BOOKMARK_MS_MAX} ms, not {bookmark_ms}"
            )));
        }
        Ok(Self {
            client: body.client.to_owned(),
            data_type: body.data_type.map(str::to_owned),
            prefix: body.prefix.map(str::to_owned),
            from: body.position,
            with_payloads: body.with_payloads,
            with_previous: body.with_previous,
            bookmark_ms,
        })
    }
}
