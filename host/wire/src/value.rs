//! Structured values: what a structured payload, a patch and an `info` answer are made of.
//!
//! On the wire they are CBOR with these rules: definite lengths; map keys are text, none twice; integers fit 64 bits with a
//! sign; floats are finite; no tags, no `undefined`; at most [`PAYLOAD_DEPTH_MAX`] levels and [`PAYLOAD_VALUES_MAX`]
//! values. [`check`] holds bytes to the rules without building anything.

use std::collections::BTreeMap;

use cbor4ii::core::{major, marker};

use crate::bounds::{PAYLOAD_DEPTH_MAX, PAYLOAD_VALUES_MAX};
use crate::cbor::{self, CborError, Reader};

/// One structured value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing; in a merge patch: "remove this".
    Null,
    /// True or false.
    Bool(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A finite float.
    Float(f64),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list.
    Array(Vec<Value>),
    /// A map.
    Map(Map),
}

/// A map of structured values, in order of their keys.
pub type Map = BTreeMap<String, Value>;

/// Why bytes are no structured value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// Not the CBOR it should be.
    #[error(transparent)]
    Cbor(#[from] CborError),
    /// The outermost value is not a map.
    #[error("a structured payload is a map")]
    NotAMap,
    /// A map key that is not text.
    #[error("a map key is not text")]
    KeyNotText,
    /// A key that comes twice.
    #[error("the key {0:?} comes twice")]
    KeyTwice(String),
    /// An integer that does not fit 64 bits with a sign.
    #[error("an integer does not fit 64 bits with a sign")]
    IntegerRange,
    /// An infinite float, or not a number.
    #[error("a float is not finite")]
    NotFinite,
    /// More values than the bound, nested ones counted.
    #[error("more than {PAYLOAD_VALUES_MAX} values, nested ones counted")]
    TooMany,
    /// A tag, `undefined`, a half float or a simple value.
    #[error("a tag, half float or simple value has no place here")]
    NotAllowed,
}

/// Holds bytes to the rules of a structured payload: one map, and nothing behind it.
pub fn check(bytes: &[u8]) -> Result<(), InvalidValue> {
    let mut reader = Reader::with_depth(bytes, PAYLOAD_DEPTH_MAX);
    if reader.peek()? >> 5 != major::MAP {
        return Err(InvalidValue::NotAMap);
    }
    check_item(&mut reader, PAYLOAD_DEPTH_MAX, &mut PAYLOAD_VALUES_MAX.clone())?;
    Ok(reader.end()?)
}

/// Counts one value.
fn count(values_left: &mut usize) -> Result<(), InvalidValue> {
    *values_left = values_left.checked_sub(1).ok_or(InvalidValue::TooMany)?;
    Ok(())
}

fn check_item(reader: &mut Reader<'_>, depth_left: usize, values_left: &mut usize) -> Result<(), InvalidValue> {
    count(values_left)?;
    let deeper = depth_left.checked_sub(1).ok_or(CborError::TooDeep);
    match item(reader)? {
        Item::Leaf(_) => {}
        Item::Array(len) => {
            let deeper = deeper?;
            for _ in 0..len {
                check_item(reader, deeper, values_left)?;
            }
        }
        Item::Map(len) => {
            let deeper = deeper?;
            let mut keys = Vec::with_capacity(len.min(16));
            for _ in 0..len {
                keys.push(key(reader)?);
                check_item(reader, deeper, values_left)?;
            }
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(InvalidValue::KeyTwice(twice[0].to_owned()));
            }
        }
    }
    Ok(())
}

fn key<'a>(reader: &mut Reader<'a>) -> Result<&'a str, InvalidValue> {
    if reader.peek()? >> 5 != major::STRING {
        return Err(InvalidValue::KeyNotText);
    }
    Ok(reader.text()?)
}

enum Item<'a> {
    Leaf(Leaf<'a>),
    Array(usize),
    Map(usize),
}

enum Leaf<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

/// Reads one item's head, and the item itself where it is a leaf.
fn item<'a>(reader: &mut Reader<'a>) -> Result<Item<'a>, InvalidValue> {
    let first = reader.peek()?;
    let leaf = match first >> 5 {
        major::UNSIGNED | major::NEGATIVE => Leaf::Integer(integer(reader)?),
        major::BYTES => Leaf::Bytes(reader.bytes()?),
        major::STRING => Leaf::Text(reader.text()?),
        major::ARRAY => return Ok(Item::Array(reader.array()?)),
        major::MAP => return Ok(Item::Map(reader.map()?)),
        _ => match first {
            marker::FALSE | marker::TRUE => Leaf::Bool(reader.bool()?),
            marker::NULL => {
                reader.skip()?;
                Leaf::Null
            }
            marker::F32 | marker::F64 => {
                let number = if first == marker::F32 { f64::from(reader.float32()?) } else { reader.float()? };
                if !number.is_finite() {
                    return Err(InvalidValue::NotFinite);
                }
                Leaf::Float(number)
            }
            _ => return Err(InvalidValue::NotAllowed),
        },
    };
    Ok(Item::Leaf(leaf))
}

fn integer(reader: &mut Reader<'_>) -> Result<i64, InvalidValue> {
    reader.int().map_err(|error| match error {
        CborError::Expected { .. } => InvalidValue::IntegerRange,
        other => InvalidValue::Cbor(other),
    })
}

impl Value {
    /// Reads one value and holds that nothing follows. The value need not be a map.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, InvalidValue> {
        let mut reader = Reader::with_depth(bytes, PAYLOAD_DEPTH_MAX);
        let value = Self::read(&mut reader, PAYLOAD_DEPTH_MAX, &mut PAYLOAD_VALUES_MAX.clone())?;
        reader.end()?;
        Ok(value)
    }

    fn read(reader: &mut Reader<'_>, depth_left: usize, values_left: &mut usize) -> Result<Self, InvalidValue> {
        count(values_left)?;
        let deeper = depth_left.checked_sub(1).ok_or(CborError::TooDeep);
        Ok(match item(reader)? {
            Item::Leaf(Leaf::Null) => Self::Null,
            Item::Leaf(Leaf::Bool(value)) => Self::Bool(value),
            Item::Leaf(Leaf::Integer(number)) => Self::Integer(number),
            Item::Leaf(Leaf::Float(number)) => Self::Float(number),
            Item::Leaf(Leaf::Text(text)) => Self::Text(text.to_owned()),
            Item::Leaf(Leaf::Bytes(bytes)) => Self::Bytes(bytes.to_owned()),
            Item::Array(len) => {
                let deeper = deeper?;
                let mut items = Vec::with_capacity(len.min(64));
                for _ in 0..len {
                    items.push(Self::read(reader, deeper, values_left)?);
                }
                Self::Array(items)
            }
            Item::Map(len) => {
                let deeper = deeper?;
                let mut map = Map::new();
                for _ in 0..len {
                    let key = key(reader)?;
                    if map.insert(key.to_owned(), Self::read(reader, deeper, values_left)?).is_some() {
                        return Err(InvalidValue::KeyTwice(key.to_owned()));
                    }
                }
                Self::Map(map)
            }
        })
    }

    /// Appends the value's CBOR.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => cbor::null(out),
            Self::Bool(value) => cbor::bool(out, *value),
            Self::Integer(number) => cbor::int(out, *number),
            Self::Float(number) => cbor::float(out, *number),
            Self::Text(text) => cbor::text(out, text),
            Self::Bytes(bytes) => cbor::bytes(out, bytes),
            Self::Array(items) => {
                cbor::array(out, items.len());
                items.iter().for_each(|item| item.write(out));
            }
            Self::Map(map) => {
                cbor::map(out, map.len());
                for (key, value) in map {
                    cbor::text(out, key);
                    value.write(out);
                }
            }
        }
    }

    /// The value's CBOR.
    pub fn to_cbor(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out);
        out
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8], expected: InvalidValue) {
        assert_eq!(check(bytes), Err(expected.clone()), "{bytes:02x?}");
        if expected != InvalidValue::NotAMap {
            assert_eq!(Value::from_cbor(bytes), Err(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_refused_by_name() {
        refused(&[0x01], InvalidValue::NotAMap);
        refused(&[0xa1, 0x01, 0x01], InvalidValue::KeyNotText);
        refused(&[0xa2, 0x61, b'a', 1, 0x61, b'a', 2], InvalidValue::KeyTwice("a".into()));
        refused(&[0xa1, 0x61, b'a', 0x1b, 0x80, 0, 0, 0, 0, 0, 0, 0], InvalidValue::IntegerRange);
        refused(&[0xa1, 0x61, b'a', 0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0], InvalidValue::NotFinite);
        refused(&[0xa1, 0x61, b'a', 0xc0, 0x60], InvalidValue::NotAllowed);
        refused(&[0xa1, 0x61, b'a', 0xf7], InvalidValue::NotAllowed);
        refused(&[0xa1, 0x61, b'a', 0x61, 0xff], InvalidValue::Cbor(CborError::NotUtf8));
        refused(&[0xbf, 0xff], InvalidValue::Cbor(CborError::Indefinite));
        refused(&[0xa1, 0x61, b'a'], InvalidValue::Cbor(CborError::Truncated));
        refused(&[0xa0, 0x00], InvalidValue::Cbor(CborError::Trailing(1)));
    }

    #[test]
    fn depth_is_bounded_exactly() {
        let nested = |levels: usize| {
            let mut bytes = [0xa1, 0x61, b'a'].repeat(levels - 1);
            bytes.push(0xa0);
            bytes
        };
        assert_eq!(check(&nested(PAYLOAD_DEPTH_MAX)), Ok(()));
        assert!(Value::from_cbor(&nested(PAYLOAD_DEPTH_MAX)).is_ok());
        refused(&nested(PAYLOAD_DEPTH_MAX + 1), InvalidValue::Cbor(CborError::TooDeep));
        refused(&[0xa1, 0x61, b'a'].repeat(100_000), InvalidValue::Cbor(CborError::TooDeep));
    }

    #[test]
    fn the_number_of_values_is_bounded_exactly() {
        let holding = |values: usize| {
            let mut bytes = vec![0xa1, 0x61, b'a', 0x9a];
            bytes.extend_from_slice(&((values - 2) as u32).to_be_bytes());
            bytes.extend(std::iter::repeat_n(0, values - 2));
            bytes
        };
        assert_eq!(check(&holding(PAYLOAD_VALUES_MAX)), Ok(()));
        refused(&holding(PAYLOAD_VALUES_MAX + 1), InvalidValue::TooMany);
    }

    #[test]
    fn a_value_reads_back_as_it_was_written() {
        let value = Value::Map(Map::from([
            ("float".into(), Value::Float(1.5)),
            ("least".into(), Value::Integer(i64::MIN)),
            ("list".into(), Value::Array(vec![Value::Null, Value::Bool(true), Value::Bytes(vec![1, 2])])),
            ("text".into(), Value::Text("ü".into())),
        ]));
        assert_eq!(check(&value.to_cbor()), Ok(()));
        assert_eq!(Value::from_cbor(&value.to_cbor()), Ok(value));
    }
}
