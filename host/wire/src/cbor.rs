//! CBOR as both ends speak it: definite lengths only, bounded depth, maps whose keys are small integers in ascending order.
//!
//! A thin layer over cbor4ii: a writer into a `Vec`, a reader over a slice, and the two halves of a field map.

use std::convert::Infallible;

use cbor4ii::core::dec::{self, Decode};
use cbor4ii::core::enc::{self, Encode};
use cbor4ii::core::{major, marker, types};

use crate::bounds::FRAME_DEPTH_MAX;

/// Why bytes are not the CBOR that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end inside an item.
    #[error("the bytes end inside an item")]
    Truncated,
    /// Bytes follow the item.
    #[error("{0} bytes follow the item")]
    Trailing(usize),
    /// An item of another type, or a number out of range.
    #[error("expected {expected}")]
    Expected {
        /// What the reader asked for.
        expected: &'static str,
    },
    /// Nested too deeply.
    #[error("nested too deeply")]
    TooDeep,
    /// An item of indefinite length.
    #[error("an item of indefinite length")]
    Indefinite,
    /// Text that is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// A key that comes twice, or out of order.
    #[error("key {0} comes twice or out of order")]
    KeyOrder(u64),
    /// A key with no meaning here.
    #[error("unknown key {0}")]
    UnknownKey(u64),
    /// A key that must be there and is not.
    #[error("key {0} is missing")]
    MissingKey(u64),
}

struct Sink<'a>(&'a mut Vec<u8>);

impl enc::Write for Sink<'_> {
    type Error = Infallible;

    fn push(&mut self, input: &[u8]) -> Result<(), Self::Error> {
        self.0.extend_from_slice(input);
        Ok(())
    }
}

fn put(out: &mut Vec<u8>, item: impl Encode) {
    item.encode(&mut Sink(out)).expect("a Vec takes every write");
}

/// Writes an unsigned integer.
pub fn uint(out: &mut Vec<u8>, number: u64) {
    put(out, number);
}

/// Writes a signed integer.
pub fn int(out: &mut Vec<u8>, number: i64) {
    put(out, number);
}

/// Writes a 64-bit float.
pub fn float(out: &mut Vec<u8>, number: f64) {
    put(out, number);
}

/// Writes a truth value.
pub fn bool(out: &mut Vec<u8>, value: bool) {
    put(out, value);
}

/// Writes null.
pub fn null(out: &mut Vec<u8>) {
    put(out, types::Null);
}

/// Writes a text string.
pub fn text(out: &mut Vec<u8>, text: &str) {
    put(out, text);
}

/// Writes a byte string.
pub fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, types::Bytes(bytes));
}

/// Writes the head of an array of `len` items.
pub fn array(out: &mut Vec<u8>, len: usize) {
    types::Array::bounded(len, &mut Sink(out)).expect("a Vec takes every write");
}

/// Writes the head of a map of `len` pairs.
pub fn map(out: &mut Vec<u8>, len: usize) {
    types::Map::bounded(len, &mut Sink(out)).expect("a Vec takes every write");
}

/// Writes a map with ascending integer keys, counting the pairs as they come.
pub struct FieldWriter<'a> {
    out: &'a mut Vec<u8>,
    head_at: usize,
    count: u8,
}

impl<'a> FieldWriter<'a> {
    /// Begins a map at the end of `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        let head_at = out.len();
        out.push(MAP_HEAD);
        Self { out, head_at, count: 0 }
    }

    /// Writes a key and hands out the buffer for exactly one item.
    pub fn field(&mut self, key: u64) -> &mut Vec<u8> {
        self.count += 1;
        assert!(self.count < 24, "a one-byte map head counts up to 23 pairs");
        self.out[self.head_at] = MAP_HEAD + self.count;
        uint(self.out, key);
        self.out
    }
}

const MAP_HEAD: u8 = major::MAP << 5;

/// Reads items from a slice.
#[derive(Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    depth_left: usize,
}

impl<'a> dec::Read<'a> for Reader<'a> {
    type Error = Infallible;

    fn fill<'b>(&'b mut self, want: usize) -> Result<dec::Reference<'a, 'b>, Self::Error> {
        Ok(dec::Reference::Long(&self.rest[..want.min(self.rest.len())]))
    }

    fn advance(&mut self, n: usize) {
        self.rest = &self.rest[n.min(self.rest.len())..];
    }

    fn step_in(&mut self) -> bool {
        match self.depth_left.checked_sub(1) {
            Some(left) => {
                self.depth_left = left;
                true
            }
            None => false,
        }
    }

    fn step_out(&mut self) {
        self.depth_left += 1;
    }
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`, to the depth of a frame.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self::with_depth(bytes, FRAME_DEPTH_MAX)
    }

    /// Reads from the start of `bytes`, to a given depth.
    pub fn with_depth(bytes: &'a [u8], depth_max: usize) -> Self {
        Self { rest: bytes, depth_left: depth_max }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Holds that nothing follows.
    pub fn end(&self) -> Result<(), CborError> {
        if self.rest.is_empty() { Ok(()) } else { Err(CborError::Trailing(self.rest.len())) }
    }

    /// The first byte of the next item.
    pub fn peek(&self) -> Result<u8, CborError> {
        self.rest.first().copied().ok_or(CborError::Truncated)
    }

    fn decode<T: Decode<'a>>(&mut self, expected: &'static str) -> Result<T, CborError> {
        if self.peek()? & marker::START == marker::START && self.peek()? >> 5 <= major::MAP {
            return Err(CborError::Indefinite);
        }
        T::decode(self).map_err(|error| convert(error, expected))
    }

    /// An unsigned integer.
    pub fn uint(&mut self) -> Result<u64, CborError> {
        self.decode("an unsigned integer of 64 bits")
    }

    /// An unsigned integer of 32 bits, in however many bytes it comes.
    pub fn uint32(&mut self) -> Result<u32, CborError> {
        let expected = "an unsigned integer of 32 bits";
        let number: u64 = self.decode(expected)?;
        number.try_into().map_err(|_| CborError::Expected { expected })
    }

    /// A signed integer.
    pub fn int(&mut self) -> Result<i64, CborError> {
        self.decode("an integer of 64 bits")
    }

    /// A 64-bit float.
    pub fn float(&mut self) -> Result<f64, CborError> {
        self.decode("a float")
    }

    /// A 32-bit float.
    pub fn float32(&mut self) -> Result<f32, CborError> {
        self.decode("a 32-bit float")
    }

    /// A truth value.
    pub fn bool(&mut self) -> Result<bool, CborError> {
        self.decode("true or false")
    }

    /// A text string.
    pub fn text(&mut self) -> Result<&'a str, CborError> {
        self.decode("a text string")
    }

    /// A byte string.
    pub fn bytes(&mut self) -> Result<&'a [u8], CborError> {
        self.decode::<types::Bytes<&'a [u8]>>("a byte string").map(|bytes| bytes.0)
    }

    /// A byte string of a fixed length.
    pub fn fixed<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], CborError> {
        self.bytes()?.try_into().map_err(|_| CborError::Expected { expected })
    }

    /// The head of an array: how many items follow.
    pub fn array(&mut self) -> Result<usize, CborError> {
        let len = types::Array::len(self).map_err(|error| convert(error, "an array"))?;
        self.counted(len)
    }

    /// The head of a map: how many pairs follow.
    pub fn map(&mut self) -> Result<usize, CborError> {
        let len = types::Map::len(self).map_err(|error| convert(error, "a map"))?;
        self.counted(len)
    }

    /// A length that the bytes at hand can hold, so that nothing is allocated for a lie.
    fn counted(&self, len: Option<usize>) -> Result<usize, CborError> {
        let len = len.ok_or(CborError::Indefinite)?;
        if len > self.rest.len() { Err(CborError::Truncated) } else { Ok(len) }
    }

    /// Skips one item of any type, and hands out its bytes.
    pub fn skip(&mut self) -> Result<&'a [u8], CborError> {
        let start = self.rest;
        self.decode::<dec::IgnoredAny>("any item")?;
        Ok(&start[..start.len() - self.rest.len()])
    }
}

fn convert(error: dec::Error<Infallible>, expected: &'static str) -> CborError {
    match error {
        dec::Error::Eof { .. } => CborError::Truncated,
        dec::Error::DepthOverflow { .. } => CborError::TooDeep,
        dec::Error::RequireUtf8 { .. } => CborError::NotUtf8,
        dec::Error::RequireLength { .. } | dec::Error::LengthOverflow { .. } => CborError::Truncated,
        _ => CborError::Expected { expected },
    }
}

/// Reads a map with ascending integer keys.
pub struct FieldReader<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: usize,
    last: Option<u64>,
}

impl<'r, 'a> FieldReader<'r, 'a> {
    /// Reads the head of the map. It may promise more than there is: the fields that are there can be read all the same.
    pub fn new(reader: &'r mut Reader<'a>) -> Result<Self, CborError> {
        let left = types::Map::len(reader).map_err(|error| convert(error, "a map"))?;
        Ok(Self { reader, left: left.ok_or(CborError::Indefinite)?, last: None })
    }

    /// The next key, with the reader at its value; `None` at the end.
    pub fn next_field(&mut self) -> Result<Option<(u64, &mut Reader<'a>)>, CborError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let key = self.reader.uint()?;
        if self.last.is_some_and(|last| key <= last) {
            return Err(CborError::KeyOrder(key));
        }
        self.last = Some(key);
        Ok(Some((key, self.reader)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_field_map_counts_its_pairs() {
        let mut out = Vec::new();
        let mut fields = FieldWriter::new(&mut out);
        uint(fields.field(0), 7);
        text(fields.field(2), "x");
        assert_eq!(out, [0xa2, 0x00, 0x07, 0x02, 0x61, b'x']);
    }

    #[test]
    fn keys_that_repeat_or_descend_are_refused() {
        for bytes in [[0xa2, 1, 1, 1, 1], [0xa2, 2, 1, 1, 1]] {
            let mut reader = Reader::new(&bytes);
            let mut fields = FieldReader::new(&mut reader).unwrap();
            fields.next_field().unwrap().unwrap().1.uint().unwrap();
            assert_eq!(fields.next_field().err(), Some(CborError::KeyOrder(1)));
        }
    }

    #[test]
    fn a_length_beyond_the_bytes_allocates_nothing_and_is_truncated() {
        assert_eq!(
            Reader::new(&[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).array(),
            Err(CborError::Truncated)
        );
        assert_eq!(Reader::new(&[0x5a, 0xff, 0xff, 0xff, 0xff, 0]).bytes(), Err(CborError::Truncated));
        assert_eq!(Reader::new(&[0x9f, 0xff]).array(), Err(CborError::Indefinite));
    }

    #[test]
    fn the_fields_of_a_map_that_is_cut_off_are_read_as_far_as_they_go() {
        for bytes in [&[0xa3, 0, 7][..], &[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 7]] {
            let mut reader = Reader::new(bytes);
            let mut fields = FieldReader::new(&mut reader).unwrap();
            let (key, value) = fields.next_field().unwrap().unwrap();
            assert_eq!((key, value.uint()), (0, Ok(7)));
            assert_eq!(fields.next_field().err(), Some(CborError::Truncated));
        }
    }

    #[test]
    fn skipping_a_deep_item_ends_at_the_bound() {
        let deep = [0x81; 100];
        assert_eq!(Reader::new(&deep).skip(), Err(CborError::TooDeep));
    }
}
