//! What an object holds.

use bytes::Bytes;

use crate::bounds::PAYLOAD_BYTES_MAX;
use crate::value::{self, InvalidValue, Value};

/// Why bytes are no payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPayload {
    /// Larger than the bound.
    #[error("a payload of {bytes} bytes is over the bound of {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Said to be structured, and is not.
    #[error("the structured payload is malformed: {0}")]
    Malformed(#[from] InvalidValue),
}

/// How a payload is to be read. The numbers are the wire's and the disk's; they are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PayloadFormat {
    /// Bytes that the host does not look into.
    Bytes = 0,
    /// A CBOR map with text keys (see [`crate::value`]).
    Structured = 1,
}

/// What an object holds: its format, and checked bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    format: PayloadFormat,
    bytes: Bytes,
}

impl PayloadFormat {
    /// The format of that number.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Bytes, Self::Structured].into_iter().find(|format| *format as u64 == number)
    }
}

impl Payload {
    /// Bytes that the host does not look into.
    pub fn bytes(bytes: impl Into<Bytes>) -> Result<Self, InvalidPayload> {
        Self::new(PayloadFormat::Bytes, bytes.into())
    }

    /// A structured payload from its CBOR.
    pub fn structured(cbor: impl Into<Bytes>) -> Result<Self, InvalidPayload> {
        Self::new(PayloadFormat::Structured, cbor.into())
    }

    /// A structured payload from a value.
    pub fn from_value(value: &Value) -> Result<Self, InvalidPayload> {
        Self::structured(value.to_cbor())
    }

    /// Checks bytes against their format.
    pub fn new(format: PayloadFormat, bytes: Bytes) -> Result<Self, InvalidPayload> {
        if bytes.len() > PAYLOAD_BYTES_MAX {
            return Err(InvalidPayload::TooLarge { bytes: bytes.len() });
        }
        if format == PayloadFormat::Structured {
            value::check(&bytes)?;
        }
        Ok(Self { format, bytes })
    }

    /// Takes bytes that were checked before they were stored.
    pub fn from_checked(format: PayloadFormat, bytes: Bytes) -> Self {
        Self { format, bytes }
    }

    /// How to read it.
    pub fn format(&self) -> PayloadFormat {
        self.format
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The value of a structured payload; `None` for bytes.
    pub fn value(&self) -> Option<Value> {
        match self.format {
            PayloadFormat::Bytes => None,
            PayloadFormat::Structured => {
                Some(Value::from_cbor(&self.bytes).expect("a payload was checked when it was made"))
            }
        }
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({:?}, {} bytes)", self.format, self.bytes.len())
    }
}
