//! How a manifest stands on disk.
//!
//! Two files take turns, `manifest-0` and `manifest-1`: a line with the format, a number that rises with every write, the
//! length and a checksum of number and content (format 1: of the content); then JSON. The higher number counts, and one that
//! was cut off in the middle of its write does not. The first one is written to both, before a host serves and before the
//! history has a line: where one of them is empty and there is no history, nothing was ever in force.
//! A file is written in place and synced once: making files anew would have the file system write its own journal, which
//! commits of objects would wait for.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{FORMAT, Manifest};
use crate::registry::history::FILE as HISTORY;

/// Why a manifest cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read or written.
    #[error("{file}: {source}")]
    Io {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is no manifest.
    #[error("{file} is damaged: {why}")]
    Damaged {
        /// The file.
        file: String,
        /// Where and why.
        why: String,
    },
    /// It was written by a later release.
    #[error("{file} has format {found}; this release reads {FORMAT}")]
    Newer {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
    },
}

/// The two files.
pub(crate) struct ManifestFiles {
    files: [(PathBuf, File); 2],
    /// The number of the last write.
    written: u64,
}

/// What a file begins with, before format, number, length and checksum.
const WORDS: &str = "ostrakon policies";
/// The first line, filled up with spaces.
const HEAD_BYTES: usize = 96;
/// Files grow in such steps, so that a write seldom changes their size.
const STEP_BYTES: usize = 64 << 10;

impl ManifestFiles {
    /// Opens the files of a folder, and reads the manifest; an empty one where there are none.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Manifest), ManifestError> {
        let open = |name: &str| {
            let path = folder.join(name);
            let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
            file.map(|file| (path.clone(), file)).map_err(|source| failed(&path, source))
        };
        let files = [open("manifest-0")?, open("manifest-1")?];
        let read = files.each_ref().map(|(path, file)| read(path, file));
        let was_in_force = std::fs::metadata(folder.join(HISTORY)).is_ok_and(|history| history.len() > 0);
        let mut latest: Option<(u64, Manifest)> = None;
        let mut wrong = None;
        let mut one_is_empty = false;
        for read in read {
            match read {
                Ok(Some((number, manifest))) if latest.as_ref().is_none_or(|(latest, _)| number > *latest) => {
                    latest = Some((number, manifest));
                }
                Ok(Some(_)) => {}
                Ok(None) => one_is_empty = true,
                Err(error @ ManifestError::Newer { .. }) => return Err(error),
                Err(error) => wrong = Some(error),
            }
        }
        match (latest, wrong) {
            (Some((written, manifest)), wrong) => {
                if let Some(error) = wrong {
                    tracing::warn!(%error, "a change of policies that was under way is not in force");
                }
                manifest.check().map_err(|why| ManifestError::Damaged { file: folder.display().to_string(), why })?;
                let mut files = Self { files, written };
                if one_is_empty {
                    files.sync_names()?;
                    files.write_next(&manifest)?;
                }
                Ok((files, manifest))
            }
            (None, Some(error)) if !one_is_empty || was_in_force => Err(error),
            (None, wrong) => {
                if let Some(error) = wrong {
                    tracing::warn!(%error, "the first start was cut off: no policies were in force yet");
                }
                Ok((Self { files, written: 0 }, Manifest::default()))
            }
        }
    }

    /// Writes a manifest durably, in place of the one before the last; the first one to both files.
    pub(crate) fn write(&mut self, manifest: &Manifest) -> Result<(), ManifestError> {
        if self.written == 0 {
            self.write_next(manifest)?;
            self.sync_names()?;
        }
        self.write_next(manifest)
    }

    /// Makes it durable that the files are there, and the folder that they are in.
    fn sync_names(&self) -> Result<(), ManifestError> {
        let (path, _) = &self.files[0];
        for folder in path.ancestors().skip(1).take(2) {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.map_err(|source| failed(folder, source))?;
        }
        Ok(())
    }

    fn write_next(&mut self, manifest: &Manifest) -> Result<(), ManifestError> {
        let number = self.written + 1;
        let (path, file) = &self.files[(number % 2) as usize];
        let json = serde_json::to_vec(manifest).expect("names and numbers can be written as JSON");
        let head = format!("{WORDS} {FORMAT} {number} {} {:016x}", json.len(), checksum(FORMAT, number, &json));
        let mut content = format!("{head:<width$}\n", width = HEAD_BYTES - 1).into_bytes();
        content.extend(json);
        // What is left of a longer one before is blank.
        content.resize(content.len().next_multiple_of(STEP_BYTES), b' ');
        let written = file.write_all_at(&content, 0).and_then(|()| file.sync_data());
        written.map_err(|source| failed(path, source))?;
        self.written = number;
        Ok(())
    }
}

fn checksum(format: u32, number: u64, json: &[u8]) -> u64 {
    xxh3_64_with_seed(json, if format == 1 { 0 } else { number })
}

fn failed(path: &Path, source: std::io::Error) -> ManifestError {
    ManifestError::Io { file: path.display().to_string(), source }
}

/// The manifest of one file and its number; nothing for a file that was never written.
fn read(path: &Path, file: &File) -> Result<Option<(u64, Manifest)>, ManifestError> {
    let mut content = vec![0; file.metadata().map_err(|source| failed(path, source))?.len() as usize];
    file.read_exact_at(&mut content, 0).map_err(|source| failed(path, source))?;
    if content.is_empty() {
        return Ok(None);
    }
    let damaged = |why: &str| ManifestError::Damaged { file: path.display().to_string(), why: why.to_owned() };
    let (head, rest) = content.split_at_checked(HEAD_BYTES).ok_or_else(|| damaged("it is cut off"))?;
    let head = std::str::from_utf8(head).ok().and_then(|head| head.strip_prefix(WORDS));
    let head = head.ok_or_else(|| damaged("it does not begin as one does"))?;
    let mut words = head.split_whitespace();
    let format = words.next().and_then(|word| word.parse().ok()).filter(|format| *format > 0);
    let format: u32 = format.ok_or_else(|| damaged("no format"))?;
    if format > FORMAT {
        return Err(ManifestError::Newer { file: path.display().to_string(), found: format });
    }
    let mut number = || words.next()?.parse::<u64>().ok();
    let (Some(written), Some(len)) = (number(), number()) else { return Err(damaged("no number, or no length")) };
    let json = rest.get(..len as usize).ok_or_else(|| damaged("it is cut off"))?;
    if words.next() != Some(format!("{:016x}", checksum(format, written, json)).as_str()) {
        return Err(damaged("its checksum is another one"));
    }
    let manifest: Manifest = serde_json::from_slice(json).map_err(|error| damaged(&error.to_string()))?;
    Ok(Some((written, Manifest { format: FORMAT, ..manifest })))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use ostrakon_wire::{PolicyKind, Slot, Stage};

    use super::super::{CandidateRecord, Event, GenerationRecord, Origin, SlotRecord, What};
    use super::*;

    fn numbered(number: u64) -> Manifest {
        Manifest { next: BTreeMap::from([("shard-key".to_owned(), number)]), ..Manifest::default() }
    }

    #[test]
    fn a_write_that_was_cut_off_takes_the_last_whole_one_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, empty) = ManifestFiles::open(folder.path()).unwrap();
        assert_eq!(empty, Manifest::default());
        for number in 1..=5 {
            files.write(&numbered(number)).unwrap();
            assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, numbered(number));
        }
        // The first stands in both files, the fifth in this one.
        let file = folder.path().join("manifest-0");
        let whole = std::fs::read(&file).unwrap();
        for cut in [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 10] {
            std::fs::write(&file, &whole[..cut]).unwrap();
            assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, numbered(4), "cut at {cut}");
        }
        let mut flipped = whole.clone();
        flipped[HEAD_BYTES + 10] ^= 1;
        std::fs::write(&file, flipped).unwrap();
        let (mut files, manifest) = ManifestFiles::open(folder.path()).unwrap();
        assert_eq!(manifest, numbered(4));
        files.write(&numbered(9)).unwrap();
        assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, numbered(9), "it goes on in the damaged one");
        for name in ["manifest-0", "manifest-1"] {
            std::fs::write(folder.path().join(name), b"{}").unwrap();
        }
        assert!(matches!(ManifestFiles::open(folder.path()), Err(ManifestError::Damaged { .. })));
        std::fs::write(&file, format!("{:<96}", "ostrakon policies 9 1 1 1")).unwrap();
        assert!(matches!(ManifestFiles::open(folder.path()), Err(ManifestError::Newer { found: 9, .. })));
    }

    #[test]
    fn a_manifest_of_the_format_before_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let json = serde_json::to_string(&Manifest { format: 1, ..numbered(3) }).unwrap();
        let head = format!("{WORDS} 1 7 {} {:016x}", json.len(), checksum(1, 7, json.as_bytes()));
        std::fs::write(folder.path().join("manifest-1"), format!("{head:<width$}\n{json}", width = HEAD_BYTES - 1))
            .unwrap();
        let (mut files, mut manifest) = ManifestFiles::open(folder.path()).unwrap();
        assert_eq!(manifest.take_number(PolicyKind::ShardKey), 3);
        files.write(&manifest).unwrap();
        assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, manifest);
    }

    #[test]
    fn a_first_start_that_was_cut_off_lets_the_host_start() {
        let folder = tempfile::tempdir().unwrap();
        ManifestFiles::open(folder.path()).unwrap().0.write(&numbered(1)).unwrap();
        let [first, second] = ["manifest-1", "manifest-0"].map(|name| folder.path().join(name));
        let whole = std::fs::read(&first).unwrap();
        // In the first write: its bytes, or its length alone.
        for cut in [0, 1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 10] {
            std::fs::write(&second, []).unwrap();
            for torn in [&whole[..cut], &vec![0; cut]] {
                std::fs::write(&first, torn).unwrap();
                assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, Manifest::default(), "cut at {cut}");
            }
            // In the second one.
            std::fs::write(&first, &whole).unwrap();
            std::fs::write(&second, &whole[..cut]).unwrap();
            let (mut files, manifest) = ManifestFiles::open(folder.path()).unwrap();
            assert_eq!(manifest, numbered(1), "cut at {cut}");
            files.write(&numbered(2)).unwrap();
            assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, numbered(2));
        }
        // What was in force is not forgotten: a folder of the format before may have one that was written.
        std::fs::write(&second, []).unwrap();
        std::fs::write(&first, &whole[..HEAD_BYTES]).unwrap();
        std::fs::write(folder.path().join(HISTORY), "{}\n").unwrap();
        assert!(matches!(ManifestFiles::open(folder.path()), Err(ManifestError::Damaged { .. })));
    }

    /// Everything that a manifest may hold.
    fn full() -> Manifest {
        let slot = Slot { client: Some("acme".into()), ..Slot::default_of(PolicyKind::ShardKey) };
        let event = Event {
            at_ms: 1,
            what: What::GivenUp,
            slot: slot.clone(),
            generation: Some(2),
            to: Some(1),
            digest: Some("00".into()),
            by: Some("me".into()),
            why: Some("bad calls".into()),
            bad: Some((64, 9_000)),
        };
        let generation = |number| GenerationRecord {
            slot: slot.clone(),
            number,
            digest: "00".into(),
            name: "one".into(),
            version: "1.0.0".into(),
            settings: "{}".into(),
            slow_us: 100,
            origin: Origin::Pushed,
            at_ms: 1,
            by: Some("me".into()),
        };
        let record = SlotRecord {
            slot: slot.clone(),
            active: 1,
            before: vec![1],
            proved: true,
            last_good: Some(1),
            candidate: Some(CandidateRecord { generation: 2, stage: Stage::Canary(50_000) }),
        };
        let (slots, generations) = (vec![record], vec![generation(1), generation(2)]);
        Manifest { slots, generations, last: Some(event), ..numbered(3) }
    }

    #[test]
    fn a_manifest_that_was_changed_is_taken_for_one() {
        let folder = tempfile::tempdir().unwrap();
        let (mut files, _) = ManifestFiles::open(folder.path()).unwrap();
        files.write(&full()).unwrap();
        assert_eq!(ManifestFiles::open(folder.path()).unwrap().1, full());
        let path = folder.path().join("manifest-0");
        let whole = std::fs::read(&path).unwrap();
        let filled = whole.iter().rposition(|byte| *byte != b' ').unwrap() + 1;
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path, &File::open(&path).unwrap())
        };
        for at in 0..filled {
            for bit in 0..8 {
                let mut changed = whole[..filled].to_vec();
                changed[at] ^= 1 << bit;
                match read(&changed) {
                    // A blank; a higher format is another release's.
                    Ok(Some((2, manifest))) => assert!(at < HEAD_BYTES && manifest == full(), "bit {bit} at {at}"),
                    Ok(Some((number, _))) => panic!("write {number}: bit {bit} at {at}"),
                    Ok(None) => panic!("nothing was written: bit {bit} at {at}"),
                    Err(ManifestError::Damaged { .. }) => {}
                    Err(ManifestError::Newer { .. }) => assert!(at < HEAD_BYTES, "bit {bit} at {at}"),
                    Err(error) => panic!("{error}"),
                }
            }
        }
        // What is no manifest's JSON, under a checksum that holds.
        let json = serde_json::to_vec(&full()).unwrap();
        for at in 0..json.len() {
            for byte in [b'"', b'{', b']', b',', b'-', b'9', b'x', 0xff] {
                let mut changed = json.clone();
                changed[at] = byte;
                let head = format!("{WORDS} {FORMAT} 9 {} {:016x}", changed.len(), checksum(FORMAT, 9, &changed));
                let content = [format!("{head:<width$}\n", width = HEAD_BYTES - 1).as_bytes(), &changed].concat();
                match read(&content) {
                    Ok(Some((9, manifest))) => drop(manifest.check()),
                    Ok(other) => panic!("{other:?}"),
                    Err(ManifestError::Damaged { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}
