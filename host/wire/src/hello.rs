//! The first frame of a connection, either way.

use crate::bounds::TEXT_BYTES_MAX;
use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::numbers::LogId;

/// ALPN name of the protocol.
pub const ALPN: &[u8] = b"ostrakon/1";
/// The one protocol version that this code speaks.
pub const PROTOCOL: u64 = 1;

/// What a client says first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientHello {
    /// The protocol version it speaks.
    pub protocol: u64,
    /// What it is, for logs.
    pub agent: String,
}

/// What the host answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The protocol version it speaks.
    pub protocol: u64,
    /// What it is, for logs.
    pub agent: String,
    /// The log that its positions belong to.
    pub log: LogId,
    /// The longest frame it accepts, in bytes.
    pub frame_bytes_max: u64,
    /// Requests of one stream that it works on at a time.
    pub in_flight_max: u64,
}

impl ClientHello {
    /// The hello of this code.
    pub fn new(agent: impl Into<String>) -> Self {
        Self { protocol: PROTOCOL, agent: agent.into() }
    }

    /// Appends the frame's content.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::PROTOCOL), self.protocol);
        cbor::text(fields.field(field::AGENT), &self.agent);
    }

    /// Reads a frame's content. Any version is read; whether it is spoken is the host's to say.
    pub fn read(frame: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        let (mut protocol, mut agent) = (None, String::new());
        let mut fields = FieldReader::new(&mut reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::PROTOCOL => protocol = Some(value.uint()?),
                field::AGENT => agent = bounded_text(value)?,
                _ => drop(value.skip()?),
            }
        }
        reader.end()?;
        Ok(Self { protocol: protocol.ok_or(CborError::MissingKey(field::PROTOCOL))?, agent })
    }
}

impl ServerHello {
    /// Appends the frame's content.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        cbor::uint(fields.field(field::LOG), self.log.get());
        cbor::uint(fields.field(field::PROTOCOL), self.protocol);
        cbor::text(fields.field(field::AGENT), &self.agent);
        cbor::uint(fields.field(field::FRAME_BYTES), self.frame_bytes_max);
        cbor::uint(fields.field(field::IN_FLIGHT), self.in_flight_max);
    }

    /// Reads a frame's content.
    pub fn read(frame: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(frame);
        let mut protocol = None;
        let mut hello =
            Self { protocol: 0, agent: String::new(), log: LogId::default(), frame_bytes_max: 0, in_flight_max: 0 };
        let mut fields = FieldReader::new(&mut reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::LOG => hello.log = LogId::new(value.uint()?),
                field::PROTOCOL => protocol = Some(value.uint()?),
                field::AGENT => hello.agent = bounded_text(value)?,
                field::FRAME_BYTES => hello.frame_bytes_max = value.uint()?,
                field::IN_FLIGHT => hello.in_flight_max = value.uint()?,
                _ => drop(value.skip()?),
            }
        }
        reader.end()?;
        hello.protocol = protocol.ok_or(CborError::MissingKey(field::PROTOCOL))?;
        Ok(hello)
    }
}

fn bounded_text(reader: &mut Reader<'_>) -> Result<String, WireError> {
    let text = reader.text()?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(WireError::new(Code::Malformed, format!("an agent's name is longer than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}
