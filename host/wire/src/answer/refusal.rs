//! Errors in answer frames.

use bytes::Bytes;

use super::Decided;
use crate::bounds::TEXT_BYTES_MAX;
use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::{Code, FailedCondition, Winner, WireError};
use crate::field;
use crate::numbers::{Revision, ShardKey, Version};
use crate::payload::Payload;
use crate::request::{read_payload, write_payload};

pub(super) fn write(error: &WireError, out: &mut Vec<u8>) {
    let mut fields = FieldWriter::new(out);
    if let Some(shard_key) = error.shard_key {
        cbor::uint(fields.field(field::SHARD_KEY), shard_key.get());
    }
    if let Some(stored) = error.stored {
        cbor::uint(fields.field(field::VERSION), stored.get());
    }
    if let Some(decided) = &error.decided {
        decided.write(fields.field(field::DECIDED));
    }
    cbor::uint(fields.field(field::CODE), error.code.number().into());
    cbor::text(fields.field(field::CODE_NAME), error.code.name());
    cbor::text(fields.field(field::MESSAGE), clipped(&error.message));
    cbor::bool(fields.field(field::RETRYABLE), error.code.retryable());
    if let Some(retry_after_ms) = error.retry_after_ms {
        cbor::uint(fields.field(field::RETRY_AFTER_MS), retry_after_ms.into());
    }
    if let Some(winner) = &error.winner {
        let mut inner = FieldWriter::new(fields.field(field::WINNER));
        cbor::uint(inner.field(field::VERSION), winner.version.get());
        if let Some(payload) = &winner.payload {
            write_payload(payload, inner.field(field::PAYLOAD));
        }
    }
    if let Some(escalation) = error.escalation {
        cbor::uint(fields.field(field::ESCALATION), escalation.get());
    }
    if !error.failed.is_empty() {
        let out = fields.field(field::FAILED);
        cbor::array(out, error.failed.len());
        error.failed.iter().for_each(|failed| write_failed(failed, out));
    }
    if let Some(step) = error.step {
        cbor::uint(fields.field(field::INDEX), step.into());
    }
}

fn write_failed(failed: &FailedCondition, out: &mut Vec<u8>) {
    let mut fields = FieldWriter::new(out);
    cbor::uint(fields.field(field::VERSION), failed.version.get());
    if let Some(payload) = &failed.payload {
        write_payload(payload, fields.field(field::PAYLOAD));
    }
    if failed.omitted {
        cbor::bool(fields.field(field::OMITTED), true);
    }
    cbor::uint(fields.field(field::INDEX), failed.index.into());
}

/// The longest start of a message that fits the bound.
fn clipped(message: &str) -> &str {
    &message[..message.floor_char_boundary(TEXT_BYTES_MAX)]
}

pub(super) fn read(reader: &mut Reader<'_>, frame: &Bytes) -> Result<WireError, WireError> {
    let mut code = None;
    let mut error = WireError::new(Code::Malformed, "");
    let mut fields = FieldReader::new(reader)?;
    while let Some((key, value)) = fields.next_field()? {
        match key {
            field::SHARD_KEY => error.shard_key = Some(ShardKey::new(value.uint()?)),
            field::VERSION => error.stored = Some(Version::new(value.uint()?)),
            field::DECIDED => error.decided = Some(Decided::read(value)?),
            field::CODE => {
                code = Some(Code::from_number(value.uint()?).unwrap_or(Code::Unrecognized));
            }
            field::MESSAGE => error.message = value.text()?.to_owned(),
            field::RETRY_AFTER_MS => error.retry_after_ms = Some(value.uint32()?),
            field::ESCALATION => error.escalation = Some(Revision::new(value.uint()?)),
            field::WINNER => error.winner = Some(read_winner(value, frame)?),
            field::FAILED => {
                let len = value.array()?;
                for _ in 0..len {
                    error.failed.push(read_failed(value, frame)?);
                }
            }
            field::INDEX => error.step = Some(value.uint32()?),
            _ => drop(value.skip()?),
        }
    }
    error.code = code.ok_or(CborError::MissingKey(field::CODE))?;
    Ok(error)
}

fn read_winner(reader: &mut Reader<'_>, frame: &Bytes) -> Result<Winner, WireError> {
    let mut winner = Winner { version: Version::ABSENT, payload: None };
    let mut fields = FieldReader::new(reader)?;
    while let Some((key, value)) = fields.next_field()? {
        match key {
            field::VERSION => winner.version = Version::new(value.uint()?),
            field::PAYLOAD => {
                let (format, bytes) = read_payload(value, frame)?;
                winner.payload = Some(Payload::new(format, bytes)?);
            }
            _ => drop(value.skip()?),
        }
    }
    Ok(winner)
}

fn read_failed(reader: &mut Reader<'_>, frame: &Bytes) -> Result<FailedCondition, WireError> {
    let mut failed = FailedCondition { index: 0, version: Version::ABSENT, payload: None, omitted: false };
    let mut fields = FieldReader::new(reader)?;
    while let Some((key, value)) = fields.next_field()? {
        match key {
            field::VERSION => failed.version = Version::new(value.uint()?),
            field::PAYLOAD => {
                let (format, bytes) = read_payload(value, frame)?;
                failed.payload = Some(Payload::new(format, bytes)?);
            }
            field::OMITTED => failed.omitted = value.bool()?,
            field::INDEX => failed.index = value.uint32()?,
            _ => drop(value.skip()?),
        }
    }
    Ok(failed)
}
