//! What stands on disk: one file a record kind, with the key's layout, encoding and decoding.
//!
//! Every value begins with a tag that names its kind's format. Tags are never reused.

pub mod case;
pub mod locator;
pub mod log;
pub mod meta;
pub mod migration;
pub mod row;

/// Bytes that are no record of their kind: damage, or a later format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a {kind} record is damaged: {what}")]
pub struct DamagedRecord {
    /// The kind of record.
    pub kind: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl DamagedRecord {
    const fn new(kind: &'static str, what: &'static str) -> Self {
        Self { kind, what }
    }
}

/// Takes fixed-size pieces off the front of a record.
struct Cut<'a> {
    kind: &'static str,
    rest: &'a [u8],
}

impl<'a> Cut<'a> {
    fn new(kind: &'static str, bytes: &'a [u8], tag: u8) -> Result<Self, DamagedRecord> {
        let mut cut = Self { kind, rest: bytes };
        match cut.u8()? {
            found if found == tag => Ok(cut),
            _ => Err(cut.damaged("its tag is of another format")),
        }
    }

    fn damaged(&self, what: &'static str) -> DamagedRecord {
        DamagedRecord::new(self.kind, what)
    }

    fn bytes(&mut self, len: usize) -> Result<&'a [u8], DamagedRecord> {
        let (piece, rest) = self.rest.split_at_checked(len).ok_or(self.damaged("it ends too early"))?;
        self.rest = rest;
        Ok(piece)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DamagedRecord> {
        let (piece, rest) = self.rest.split_first_chunk::<N>().ok_or(self.damaged("it ends too early"))?;
        self.rest = rest;
        Ok(*piece)
    }

    fn u8(&mut self) -> Result<u8, DamagedRecord> {
        Ok(self.fixed::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, DamagedRecord> {
        self.fixed().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, DamagedRecord> {
        self.fixed().map(u32::from_be_bytes)
    }

    fn u48(&mut self) -> Result<u64, DamagedRecord> {
        let [a, b, c, d, e, f] = self.fixed()?;
        Ok(u64::from_be_bytes([0, 0, a, b, c, d, e, f]))
    }

    fn u64(&mut self) -> Result<u64, DamagedRecord> {
        self.fixed().map(u64::from_be_bytes)
    }

    fn u128(&mut self) -> Result<u128, DamagedRecord> {
        self.fixed().map(u128::from_be_bytes)
    }

    fn text(&mut self, len: usize) -> Result<&'a str, DamagedRecord> {
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.damaged("a text is not UTF-8"))
    }

    fn end(&self) -> Result<(), DamagedRecord> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.damaged("bytes follow its end")) }
    }
}
