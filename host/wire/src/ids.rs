//! Who and what: client id, data type, name, and the object they make; action ids; trace parents.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::bounds::{CLIENT_BYTES_MAX, NAME_BYTES_MAX, TYPE_BYTES_MAX};
use crate::numbers::TimestampMs;

/// Which part of an object's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdPart {
    /// The client id.
    Client,
    /// The data type.
    DataType,
    /// The name.
    Name,
}

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing in it.
    #[error("{0} is empty")]
    Empty(IdPart),
    /// Longer than the bound.
    #[error("{0} is longer than {1} bytes")]
    TooLong(IdPart, usize),
    /// A control character in it.
    #[error("{0} holds a control character")]
    Control(IdPart),
}

impl fmt::Display for IdPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "the client id",
            Self::DataType => "the data type",
            Self::Name => "the name",
        })
    }
}

impl IdPart {
    /// The most bytes that this part may have.
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Client => CLIENT_BYTES_MAX,
            Self::DataType => TYPE_BYTES_MAX,
            Self::Name => NAME_BYTES_MAX,
        }
    }

    /// Checks a part on its own.
    pub fn check(self, text: &str) -> Result<(), InvalidId> {
        if text.is_empty() {
            return Err(InvalidId::Empty(self));
        }
        self.check_prefix(text)
    }

    /// Checks a text that such a part may begin with; it may be empty.
    pub fn check_prefix(self, text: &str) -> Result<(), InvalidId> {
        if text.len() > self.bytes_max() {
            Err(InvalidId::TooLong(self, self.bytes_max()))
        } else if text.bytes().any(|byte| byte < 0x20 || byte == 0x7f) {
            Err(InvalidId::Control(self))
        } else {
            Ok(())
        }
    }
}

/// One control-plane record, named by client id, data type and name.
///
/// Held as one text, the parts divided by U+0000, which no part may hold. So objects order by client, then type, then
/// name, and the text is also the object's key on disk. Cloning is cheap.
#[derive(Clone)]
pub struct ObjectId {
    digest: u64,
    client_end: u16,
    type_end: u16,
    text: Arc<str>,
}

impl PartialEq for ObjectId {
    /// Clones of one id are told to be equal without a look at their text.
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for ObjectId {}

impl ObjectId {
    /// Checks the parts and joins them.
    pub fn new(client: &str, data_type: &str, name: &str) -> Result<Self, InvalidId> {
        IdPart::Client.check(client)?;
        IdPart::DataType.check(data_type)?;
        IdPart::Name.check(name)?;
        let mut text = String::with_capacity(client.len() + data_type.len() + name.len() + 2);
        text.push_str(client);
        text.push('\0');
        text.push_str(data_type);
        text.push('\0');
        text.push_str(name);
        let client_end = client.len() as u16;
        let type_end = client_end + 1 + data_type.len() as u16;
        Ok(Self { digest: xxh3_64(text.as_bytes()), client_end, type_end, text: text.into() })
    }

    /// Reads the text that [`ObjectId::as_text`] gave out.
    pub fn from_text(text: &str) -> Result<Self, InvalidId> {
        let mut parts = text.splitn(3, '\0');
        let mut part = || parts.next().unwrap_or_default();
        let (client, data_type, name) = (part(), part(), part());
        Self::new(client, data_type, name)
    }

    /// What the texts of the objects of a client begin with, or of those of a type, whose names begin so.
    pub fn text_prefix(client: &str, data_type: Option<&str>, prefix: Option<&str>) -> String {
        match data_type {
            Some(data_type) => format!("{client}\0{data_type}\0{}", prefix.unwrap_or_default()),
            None => format!("{client}\0"),
        }
    }

    /// The whole as one text: client, type and name, divided by U+0000.
    pub fn as_text(&self) -> &str {
        &self.text
    }

    /// The same for people to read: divided by slashes, which its parts may contain as well.
    pub fn readable(&self) -> String {
        self.text.replace('\0', "/")
    }

    /// The client id.
    pub fn client(&self) -> &str {
        &self.text[..self.client_end as usize]
    }

    /// The data type.
    pub fn data_type(&self) -> &str {
        &self.text[self.client_end as usize + 1..self.type_end as usize]
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.text[self.type_end as usize + 1..]
    }

    /// A stable number for the object; two objects may share one.
    pub fn digest(&self) -> u64 {
        self.digest
    }
}

impl PartialOrd for ObjectId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ObjectId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for ObjectId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.client(), self.data_type(), self.name())
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectId({self})")
    }
}

/// Names one action of one client: 128 bits, the first 48 of them milliseconds since 1970 (UUID version 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId(u128);

impl ActionId {
    /// Wraps the bits; any will do, those of a UUID version 7 are meant.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// When the id was made, as its maker says.
    pub const fn timestamp(self) -> TimestampMs {
        TimestampMs::new((self.0 >> 80) as u64)
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            bits >> 96,
            (bits >> 80) & 0xffff,
            (bits >> 64) & 0xffff,
            (bits >> 48) & 0xffff,
            bits & 0xffff_ffff_ffff
        )
    }
}

/// The text is not 32 hexadecimal digits, with or without dashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an action id is 32 hexadecimal digits, with or without dashes")]
pub struct InvalidActionId;

impl std::str::FromStr for ActionId {
    type Err = InvalidActionId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidActionId);
        }
        u128::from_str_radix(&digits, 16).map(Self).map_err(|_| InvalidActionId)
    }
}

/// A W3C trace parent (Trace Context, level 1, version 00): which trace a request belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: u128,
    /// The caller's span.
    pub span: u64,
    /// Flags; the lowest bit says "sampled".
    pub flags: u8,
}

/// The text is not a trace parent of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent reads 00-<32 hexadecimal digits>-<16>-<2>, neither id all zeros")]
pub struct InvalidTraceParent;

impl std::str::FromStr for TraceParent {
    type Err = InvalidTraceParent;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let part = |range: std::ops::Range<usize>| -> Option<&str> {
            text.get(range).filter(|part| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
        };
        let dashes = [2, 35, 52].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        if text.len() != 55 || !dashes || part(0..2) != Some("00") {
            return Err(InvalidTraceParent);
        }
        let trace = part(3..35).and_then(|hex| u128::from_str_radix(hex, 16).ok()).filter(|trace| *trace != 0);
        let span = part(36..52).and_then(|hex| u64::from_str_radix(hex, 16).ok()).filter(|span| *span != 0);
        let flags = part(53..55).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (trace, span, flags) {
            (Some(trace), Some(span), Some(flags)) => Ok(Self { trace, span, flags }),
            _ => Err(InvalidTraceParent),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, self.flags)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_object_comes_apart_as_it_was_joined() {
        let object = ObjectId::new("acme", "ec2/volume", "vol-1").unwrap();
        assert_eq!((object.client(), object.data_type(), object.name()), ("acme", "ec2/volume", "vol-1"));
        assert_eq!(ObjectId::from_text(object.as_text()), Ok(object));
    }

    #[test]
    fn ids_out_of_bounds_are_refused_by_part() {
        let long = |n| "x".repeat(n);
        assert_eq!(ObjectId::new("", "t", "n"), Err(InvalidId::Empty(IdPart::Client)));
        assert_eq!(ObjectId::new("c", &long(129), "n"), Err(InvalidId::TooLong(IdPart::DataType, 128)));
        assert_eq!(ObjectId::new("c", "t", &long(1025)), Err(InvalidId::TooLong(IdPart::Name, 1024)));
        assert_eq!(ObjectId::new("c", "t", "a\0b"), Err(InvalidId::Control(IdPart::Name)));
        assert!(ObjectId::new(&long(256), &long(128), &long(1024)).is_ok());
    }

    #[test]
    fn texts_order_as_their_parts_do() {
        let mut objects = [("a", "b", "c"), ("a", "b ", "a"), ("a b", "a", "a"), ("a", "a", "z")]
            .map(|(c, t, n)| ObjectId::new(c, t, n).unwrap());
        objects.sort();
        let names: Vec<_> = objects.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a a z", "a b c", "a b  a", "a b a a"]);
    }

    #[test]
    fn action_ids_and_trace_parents_print_as_they_parse() {
        let id: ActionId = "0189f7a2-31f0-7abc-8def-0123456789ab".parse().unwrap();
        assert_eq!(id.to_string(), "0189f7a2-31f0-7abc-8def-0123456789ab");
        assert_eq!(id.timestamp().get(), 0x0189_f7a2_31f0);
        let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(parent.parse::<TraceParent>().unwrap().to_string(), parent);
        for bad in ["", "00-0-0-0", "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent));
        }
    }
}
