//! Transactions: conditions and actions over several objects, all or nothing.

use std::collections::HashSet;

use bytes::Bytes;

use super::body::{Body, malformed, missing};
use super::codec::{action_of, write_action_id, write_kind, write_payload, write_target};
use super::{Action, Target};
use crate::bounds::{POINTER_BYTES_MAX, TRANSACTION_ACTIONS_MAX, TRANSACTION_CONDITIONS_MAX};
use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::ids::{ActionId, ObjectId};
use crate::kinds::OnConflict;
use crate::numbers::Version;
use crate::value::Value;

/// Several changes that are made together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Transact {
    /// All of them must hold.
    pub conditions: Vec<Condition>,
    /// What is done then, each to an object of its own.
    pub actions: Vec<Step>,
    /// Makes a repeat of the same transaction answer what the first one did. Belongs to the client of the first action's
    /// object.
    pub action_id: Option<ActionId>,
    /// What to do if a condition fails: `Reject`, or `Reconcile`, which judges the whole again.
    pub on_conflict: OnConflict,
}

/// What must hold of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The object.
    pub object: ObjectId,
    /// What must hold.
    pub must: Must,
}

/// What must hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Must {
    /// A live object of this version stands there; 0: none does.
    BeAt(Version),
    /// A live structured object stands there, and what the JSON pointer leads to equals this.
    Hold {
        /// RFC 6901; empty for the whole.
        pointer: String,
        /// What it must be. An integer equals no float.
        value: Value,
    },
}

/// One action of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The object and its key.
    pub target: Target,
    /// What to do; not a custom action.
    pub action: Action,
}

impl Transact {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        write_action_id(self.action_id, fields);
        if self.on_conflict != OnConflict::Reject {
            cbor::uint(fields.field(field::ON_CONFLICT), self.on_conflict as u64);
        }
        if !self.conditions.is_empty() {
            let out = fields.field(field::CONDITIONS);
            cbor::array(out, self.conditions.len());
            self.conditions.iter().for_each(|condition| condition.write(out));
        }
        let out = fields.field(field::ACTIONS);
        cbor::array(out, self.actions.len());
        self.actions.iter().for_each(|step| step.write(out));
    }

    pub(super) fn read(body: &Body<'_>, frame: &Bytes) -> Result<Self, WireError> {
        body.only(&[field::ACTION_ID, field::ON_CONFLICT, field::CONDITIONS, field::ACTIONS])?;
        let number = body.on_conflict.unwrap_or(OnConflict::Reject as u64);
        let on_conflict = OnConflict::from_number(number).filter(|choice| *choice != OnConflict::Detach);
        let on_conflict =
            on_conflict.ok_or_else(|| malformed(format!("a transaction has no choice on conflict {number}")))?;
        let conditions = match body.conditions {
            Some(items) => read_items(items, TRANSACTION_CONDITIONS_MAX, "conditions", Condition::read)?,
            None => Vec::new(),
        };
        let items = body.actions.ok_or_else(|| missing(field::ACTIONS))?;
        let actions = read_items(items, TRANSACTION_ACTIONS_MAX, "actions", |reader| Step::read(reader, frame))?;
        if actions.is_empty() {
            return Err(malformed("a transaction has at least one action"));
        }
        let mut objects = HashSet::new();
        if let Some(twice) = actions.iter().find(|step| !objects.insert(&step.target.object)) {
            return Err(malformed(format!(
                "a transaction acts once on an object, and twice on {}",
                twice.target.object
            )));
        }
        Ok(Self { conditions, actions, action_id: body.action_id, on_conflict })
    }
}

fn read_items<'a, T>(
    items: &'a [u8],
    most: usize,
    what: &str,
    mut one: impl FnMut(&mut Reader<'a>) -> Result<T, WireError>,
) -> Result<Vec<T>, WireError> {
    let mut reader = Reader::new(items);
    let len = reader.array()?;
    if len > most {
        return Err(malformed(format!("a transaction has at most {most} {what}, not {len}")));
    }
    (0..len).map(|_| one(&mut reader)).collect()
}

impl Condition {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        let target = Target { object: self.object.clone(), shard_key: None };
        write_target(&target, &mut fields);
        match &self.must {
            Must::BeAt(version) => cbor::uint(fields.field(field::KNOWN_VERSION), version.get()),
            Must::Hold { pointer, value } => {
                cbor::text(fields.field(field::POINTER), pointer);
                cbor::bytes(fields.field(field::VALUE), &value.to_cbor());
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (mut client, mut data_type, mut name) = (None, None, None);
        let (mut known, mut pointer, mut value) = (None, None, None);
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, reader)) = fields.next_field()? {
            match key {
                field::CLIENT => client = Some(reader.text()?),
                field::DATA_TYPE => data_type = Some(reader.text()?),
                field::NAME => name = Some(reader.text()?),
                field::KNOWN_VERSION => known = Some(Version::new(reader.uint()?)),
                field::POINTER => pointer = Some(reader.text()?),
                field::VALUE => value = Some(reader.bytes()?),
                unknown => return Err(CborError::UnknownKey(unknown).into()),
            }
        }
        let need = |part: Option<_>, key| part.ok_or_else(|| missing(key));
        let object =
            ObjectId::new(need(client, field::CLIENT)?, need(data_type, field::DATA_TYPE)?, need(name, field::NAME)?)?;
        let must = match (known, pointer, value) {
            (Some(version), None, None) => Must::BeAt(version),
            (None, Some(pointer), Some(value)) => {
                if pointer.len() > POINTER_BYTES_MAX || !pointer.is_empty() && !pointer.starts_with('/') {
                    let message = format!(
                        "a condition's pointer is empty or begins with /, and has at most {POINTER_BYTES_MAX} bytes"
                    );
                    return Err(WireError::new(Code::InvalidPointer, message));
                }
                let value = Value::from_cbor(value);
                let value = value.map_err(|error| WireError::new(Code::InvalidPayload, error.to_string()))?;
                Must::Hold { pointer: pointer.to_owned(), value }
            }
            (None, None, None) => return Err(missing(field::KNOWN_VERSION)),
            (None, None, Some(_)) => return Err(missing(field::POINTER)),
            (None, Some(_), None) => return Err(missing(field::VALUE)),
            (Some(_), _, _) => return Err(malformed("a condition asks for a version or for a value, not for both")),
        };
        Ok(Self { object, must })
    }
}

impl Step {
    fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        write_target(&self.target, &mut fields);
        if let Some(payload) = self.action.payload() {
            write_payload(payload, fields.field(field::PAYLOAD));
        }
        write_kind(&self.action, &mut fields);
    }

    fn read(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Self, WireError> {
        let mut body = Body::read(reader, frame)?;
        let (target, action) = action_of(&mut body, &[])?;
        if let Action::Custom { .. } = action {
            return Err(WireError::new(Code::Unsupported, "a custom action has no place in a transaction"));
        }
        Ok(Self { target, action })
    }
}
