//! The fields of a request's body as they came, and the rules that hold of each.

use bytes::Bytes;

use super::Target;
use crate::cbor::{CborError, FieldReader, Reader};
use crate::error::{Code, WireError};
use crate::field;
use crate::ids::{ActionId, ObjectId};
use crate::numbers::{Generation, MapEpoch, Revision, ShardId, ShardKey, Version};
use crate::payload::{Payload, PayloadFormat};
use crate::position::{POSITION_BYTES, Position};

/// The fields that say which object, and its key.
pub(super) const TARGET: [u64; 4] = [field::CLIENT, field::DATA_TYPE, field::NAME, field::SHARD_KEY];

/// Every field that some body has, as it came.
#[derive(Default)]
pub(super) struct Body<'a> {
    present: u128,
    /// The first key without a meaning. Whether that matters is judged once it is clear that the request exists.
    unknown: Option<u64>,
    pub(super) client: &'a str,
    pub(super) data_type: Option<&'a str>,
    pub(super) name: &'a str,
    pub(super) shard_key: Option<ShardKey>,
    pub(super) new_version: Option<Version>,
    pub(super) known: Option<Version>,
    pub(super) payload: Option<(PayloadFormat, Bytes)>,
    pub(super) action_id: Option<ActionId>,
    pub(super) kind: Option<u64>,
    pub(super) custom_kind: Option<&'a str>,
    pub(super) on_conflict: Option<u64>,
    pub(super) prefix: Option<&'a str>,
    pub(super) limit: Option<u64>,
    pub(super) token: Option<Bytes>,
    pub(super) with_payloads: bool,
    pub(super) escalation: Option<Revision>,
    pub(super) wait_ms: Option<u32>,
    pub(super) how: Option<u64>,
    pub(super) by: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) version: Option<Version>,
    pub(super) position: Option<Position>,
    pub(super) conditions: Option<&'a [u8]>,
    pub(super) actions: Option<&'a [u8]>,
    pub(super) versions: Option<u32>,
    pub(super) age_ms: Option<u64>,
    pub(super) with_previous: bool,
    pub(super) bookmark_ms: Option<u32>,
    pub(super) digest: Option<[u8; 32]>,
    pub(super) size: Option<u64>,
    pub(super) offset: Option<u64>,
    pub(super) part: Option<Bytes>,
    pub(super) policy_kind: Option<u64>,
    pub(super) change: Option<u64>,
    pub(super) settings: Option<&'a str>,
    pub(super) share_ppm: Option<u32>,
    pub(super) slow_us: Option<u32>,
    pub(super) generation: Option<Generation>,
    pub(super) aspect: Option<u64>,
    pub(super) shard: Option<ShardId>,
    pub(super) owner: Option<u32>,
    pub(super) epoch: Option<MapEpoch>,
    pub(super) migration: Option<u64>,
}

impl<'a> Body<'a> {
    pub(super) fn read(reader: &mut Reader<'a>, frame: &Bytes) -> Result<Self, WireError> {
        let mut body = Self::default();
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::CLIENT => body.client = value.text()?,
                field::DATA_TYPE => body.data_type = Some(value.text()?),
                field::NAME => body.name = value.text()?,
                field::SHARD_KEY => body.shard_key = Some(ShardKey::new(value.uint()?)),
                field::NEW_VERSION => body.new_version = Some(Version::new(value.uint()?)),
                field::KNOWN_VERSION => body.known = Some(Version::new(value.uint()?)),
                field::PAYLOAD => body.payload = Some(read_payload(value, frame)?),
                field::ACTION_ID => {
                    let bits = u128::from_be_bytes(value.fixed("a byte string of 16")?);
                    body.action_id = Some(ActionId::from_bits(bits));
                }
                field::KIND => body.kind = Some(value.uint()?),
                field::CUSTOM_KIND => body.custom_kind = Some(value.text()?),
                field::ON_CONFLICT => body.on_conflict = Some(value.uint()?),
                field::PREFIX => body.prefix = Some(value.text()?),
                field::LIMIT => body.limit = Some(value.uint()?),
                field::TOKEN => body.token = Some(frame.slice_ref(value.bytes()?)),
                field::WITH_PAYLOADS => body.with_payloads = value.bool()?,
                field::ESCALATION => body.escalation = Some(Revision::new(value.uint()?)),
                field::WAIT_MS => body.wait_ms = Some(value.uint32()?),
                field::HOW => body.how = Some(value.uint()?),
                field::BY => body.by = Some(value.text()?),
                field::REASON => body.reason = Some(value.text()?),
                field::VERSION => body.version = Some(Version::new(value.uint()?)),
                field::POSITION => {
                    let bytes = value.fixed::<POSITION_BYTES>("a byte string of 20")?;
                    body.position = Some(Position::from_bytes(bytes));
                }
                field::CONDITIONS => body.conditions = Some(value.skip()?),
                field::ACTIONS => body.actions = Some(value.skip()?),
                field::VERSIONS => body.versions = Some(value.uint32()?),
                field::AGE_MS => body.age_ms = Some(value.uint()?),
                field::WITH_PREVIOUS => body.with_previous = value.bool()?,
                field::BOOKMARK_MS => body.bookmark_ms = Some(value.uint32()?),
                field::DIGEST => body.digest = Some(value.fixed("a byte string of 32")?),
                field::SIZE => body.size = Some(value.uint()?),
                field::OFFSET => body.offset = Some(value.uint()?),
                field::PART => body.part = Some(frame.slice_ref(value.bytes()?)),
                field::POLICY_KIND => body.policy_kind = Some(value.uint()?),
                field::CHANGE => body.change = Some(value.uint()?),
                field::SETTINGS => body.settings = Some(value.text()?),
                field::SHARE_PPM => body.share_ppm = Some(value.uint32()?),
                field::SLOW_US => body.slow_us = Some(value.uint32()?),
                field::GENERATION => body.generation = Some(Generation::new(value.uint()?)),
                field::ASPECT => body.aspect = Some(value.uint()?),
                field::SHARD => body.shard = Some(ShardId::new(value.uint32()?)),
                field::OWNER => body.owner = Some(value.uint32()?),
                field::EPOCH => body.epoch = Some(MapEpoch::new(value.uint()?)),
                field::MIGRATION => body.migration = Some(value.uint()?),
                unknown => {
                    value.skip()?;
                    body.unknown.get_or_insert(unknown);
                    continue;
                }
            }
            body.present |= 1 << key;
        }
        Ok(body)
    }

    /// Holds that no field is there beyond the ones that the request has.
    pub(super) fn only(&self, keys: &[u64]) -> Result<(), WireError> {
        let allowed = keys.iter().fold(0_u128, |bits, key| bits | 1 << key);
        let extra = match self.present & !allowed {
            0 => self.unknown,
            extra => Some(extra.trailing_zeros().into()),
        };
        extra.map_or(Ok(()), |key| Err(CborError::UnknownKey(key).into()))
    }

    pub(super) fn has(&self, key: u64) -> bool {
        self.present & 1 << key != 0
    }

    pub(super) fn target(&self) -> Result<Target, WireError> {
        let required = [field::CLIENT, field::DATA_TYPE, field::NAME];
        if let Some(missing) = required.into_iter().find(|key| !self.has(*key)) {
            return Err(CborError::MissingKey(missing).into());
        }
        let object = ObjectId::new(self.client, self.data_type.unwrap_or_default(), self.name)?;
        Ok(Target { object, shard_key: self.shard_key })
    }

    pub(super) fn payload(&mut self) -> Result<Payload, WireError> {
        let (format, bytes) = self.payload.take().ok_or(CborError::MissingKey(field::PAYLOAD))?;
        Ok(Payload::new(format, bytes)?)
    }

    /// A patch or a map of additions: always structured.
    pub(super) fn structured(&mut self) -> Result<Payload, WireError> {
        let payload = self.payload()?;
        match payload.format() {
            PayloadFormat::Structured => Ok(payload),
            PayloadFormat::Bytes => Err(WireError::new(
                Code::InvalidPayload,
                "a merge patch and a map of additions are structured payloads",
            )),
        }
    }
}

/// Reads a payload's two halves; the bytes share `frame`'s memory. They are not checked yet.
pub(crate) fn read_payload(reader: &mut Reader<'_>, frame: &Bytes) -> Result<(PayloadFormat, Bytes), WireError> {
    if reader.array()? != 2 {
        return Err(malformed("a payload is an array of two: its format and its bytes"));
    }
    let number = reader.uint()?;
    let format = PayloadFormat::from_number(number).ok_or_else(|| malformed(format!("no payload format {number}")))?;
    Ok((format, frame.slice_ref(reader.bytes()?)))
}

pub(super) fn malformed(message: impl Into<String>) -> WireError {
    WireError::new(Code::Malformed, message)
}

pub(super) fn missing(key: u64) -> WireError {
    CborError::MissingKey(key).into()
}
