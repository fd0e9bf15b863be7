//! Whether the files of one keyspace are what the engine wrote.
//!
//! The engine writes checksums of whole files (of a version file into `current`, of every table into the version file) and
//! never looks at them again; it deletes what it finds no reference to. So they are held before it opens anything.
//!
//! `current`: number of the version (8, little-endian), xxh3-128 of the file `v<number>` (16), 0.
//! `v<number>`: an archive; its section `tables` holds the number of levels (1), for each the number of runs (1), for each
//! the number of tables (4), for each its number (8), 0, xxh3-128 of the file `tables/<number>` (16), a seqno (8).

use std::io::{ErrorKind, Read};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use crate::Verify;

const READ_BYTES: usize = 256 << 10;

/// What is wrong with a keyspace: a file, as its folder knows it, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Damage {
    pub(crate) file: String,
    pub(crate) what: String,
}

/// Why a keyspace was not found to be sound.
#[derive(Debug)]
pub(crate) enum Fault {
    Damage(Damage),
    /// Its files cannot be looked at, which says nothing of what is in them.
    Io(std::io::Error),
}

fn damage(file: impl Into<String>, what: impl ToString) -> Fault {
    Fault::Damage(Damage { file: file.into(), what: what.to_string() })
}

fn unreadable(file: impl Into<String>, error: std::io::Error) -> Fault {
    const EIO: i32 = 5;
    let of_the_file = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof | ErrorKind::InvalidData);
    if of_the_file || error.raw_os_error() == Some(EIO) { damage(file, error) } else { Fault::Io(error) }
}

/// Holds the files of the keyspace in `folder`.
pub(crate) fn check(folder: &Path, verify: Verify) -> Result<(), Fault> {
    let current = std::fs::read(folder.join("current")).map_err(|error| unreadable("current", error))?;
    let (number, checksum) = parse_current(&current).ok_or_else(|| damage("current", "it is cut off"))?;
    let version = format!("v{number}");
    let path = folder.join(&version);
    if checksum_of(&path).map_err(|error| unreadable(&version, error))? != checksum {
        return Err(damage(version, "it does not match its checksum"));
    }
    let archive = sfa::Reader::new(&path).map_err(|error| damage(&version, error))?;
    let section = archive.toc().section(b"tables").ok_or_else(|| damage(&version, "it lists no tables"))?;
    let mut bytes = Vec::new();
    let mut reader = section.buf_reader(&path).map_err(|error| damage(&version, error))?;
    reader.read_to_end(&mut bytes).map_err(|error| damage(&version, error))?;
    let levels = parse_tables(&bytes).ok_or_else(|| damage(&version, "its list of tables is cut off"))?;
    for table in levels.iter().flatten().flatten() {
        table.check(folder, verify)?;
    }
    Ok(())
}

struct Table {
    number: u64,
    checksum: u128,
}

impl Table {
    fn check(&self, folder: &Path, verify: Verify) -> Result<(), Fault> {
        let file = format!("tables/{}", self.number);
        let path = folder.join(&file);
        match verify {
            Verify::Quick => {
                std::fs::metadata(&path).map_err(|error| unreadable(&file, error))?;
                sfa::Reader::new(&path).map_err(|error| damage(&file, error))?;
            }
            Verify::Full => {
                if checksum_of(&path).map_err(|error| unreadable(&file, error))? != self.checksum {
                    return Err(damage(file, "it does not match its checksum"));
                }
            }
        }
        Ok(())
    }
}

fn checksum_of(path: &Path) -> std::io::Result<u128> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Xxh3::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.digest128()),
            read => hasher.update(&buffer[..read]),
        }
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (piece, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*piece)
}

fn parse_current(mut bytes: &[u8]) -> Option<(u64, u128)> {
    let number = u64::from_le_bytes(take(&mut bytes)?);
    let checksum = u128::from_le_bytes(take(&mut bytes)?);
    (bytes == [0]).then_some((number, checksum))
}

/// The tables, by level and run.
fn parse_tables(mut bytes: &[u8]) -> Option<Vec<Vec<Vec<Table>>>> {
    let rest = &mut bytes;
    let mut levels = Vec::new();
    for _ in 0..u8::from_le_bytes(take(rest)?) {
        let mut runs = Vec::new();
        for _ in 0..u8::from_le_bytes(take(rest)?) {
            let mut run = Vec::new();
            for _ in 0..u32::from_le_bytes(take(rest)?) {
                let number = u64::from_le_bytes(take(rest)?);
                let _kind: [u8; 1] = take(rest)?;
                let checksum = u128::from_le_bytes(take(rest)?);
                let _seqno: [u8; 8] = take(rest)?;
                run.push(Table { number, checksum });
            }
            runs.push(run);
        }
        levels.push(runs);
    }
    rest.is_empty().then_some(levels)
}

#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn parse_any(bytes: &[u8]) {
    let _ = (parse_current(bytes), parse_tables(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_make_it_panic_or_allocate_without_bound() {
        assert!(parse_tables(&[255, 255, 255, 255, 255, 255]).is_none());
        assert!(parse_tables(&[1, 1, 1, 0, 0, 0]).is_none());
        assert_eq!(parse_tables(&[2, 0, 0]).map(|levels| levels.len()), Some(2));
        assert!(parse_current(&[0; 24]).is_none() && parse_current(&[0; 26]).is_none());
        assert_eq!(parse_current(&[0; 25]), Some((0, 0)));
    }
}
