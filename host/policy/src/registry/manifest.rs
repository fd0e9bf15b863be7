//! What stands on disk of slots and generations.
//!
//! Generations are numbered by kind, from 1 on, and no number is used twice. A slot names the generation that decides, those
//! that decided before it (the latest last), and the one that is tried.
//!
//! Two files take turns, `manifest-0` and `manifest-1`: a line with the format, a number that rises with every write, the
//! length and a checksum of number and content (format 1: of the content); then JSON. The higher number counts, and one that
//! was cut off in the middle of its write does not. The first one is written to both, before a host serves and before the
//! history has a line: where one of them is empty and there is no history, nothing was ever in force.
//! A file is written in place and synced once: making files anew would have the file system write its own journal, which
//! commits of objects would wait for.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ostrakon_wire::{Generation, PolicyKind, Slot, Stage};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::history::FILE as HISTORY;
use crate::bounds::GENERATIONS_KEPT;
use crate::load::Loaded;
use crate::watch::slow_us_default;

const FORMAT: u32 = 2;

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

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    format: u32,
    /// The next number of each kind.
    next: BTreeMap<String, u64>,
    pub(crate) slots: Vec<SlotRecord>,
    pub(crate) generations: Vec<GenerationRecord>,
    /// What the last write was about.
    pub(crate) last: Option<Event>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct SlotRecord {
    #[serde(with = "slot")]
    pub(crate) slot: Slot,
    pub(crate) active: u64,
    /// Those that decided before, the latest last.
    pub(crate) before: Vec<u64>,
    /// Whether the active one has been good for long enough to be trusted without the one before it.
    pub(crate) proved: bool,
    /// The one that answers where it fails, until then.
    pub(crate) last_good: Option<u64>,
    pub(crate) candidate: Option<CandidateRecord>,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct CandidateRecord {
    pub(crate) generation: u64,
    #[serde(with = "stage")]
    pub(crate) stage: Stage,
}

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerationRecord {
    #[serde(with = "slot")]
    pub(crate) slot: Slot,
    pub(crate) number: u64,
    pub(crate) digest: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) settings: String,
    pub(crate) slow_us: u32,
    pub(crate) origin: Origin,
    pub(crate) at_ms: u64,
    pub(crate) by: Option<String>,
}

impl GenerationRecord {
    /// A policy that was loaded, under its number; made by nobody in particular, and slow where its kind usually is.
    pub(crate) fn of(slot: &Slot, number: u64, policy: &Loaded, origin: Origin, at_ms: u64) -> Self {
        Self {
            slot: slot.clone(),
            number,
            digest: policy.digest().to_owned(),
            name: policy.name().to_owned(),
            version: policy.version().to_owned(),
            settings: policy.settings().to_owned(),
            slow_us: slow_us_default(slot.kind),
            origin,
            at_ms,
            by: None,
        }
    }
}

/// Where a generation came from.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Origin {
    /// The host brought it.
    Shipped,
    /// It was named when the host was started.
    Given,
    /// Somebody sent it.
    Pushed,
    /// It lay in the watched folder.
    Folder,
}

/// Something that was done, refused, or happened.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    pub(crate) at_ms: u64,
    pub(crate) what: What,
    #[serde(with = "slot")]
    pub(crate) slot: Slot,
    pub(crate) generation: Option<u64>,
    /// The one that decides from now on, where that is another.
    pub(crate) to: Option<u64>,
    pub(crate) digest: Option<String>,
    pub(crate) by: Option<String>,
    pub(crate) why: Option<String>,
    /// Bad calls of a generation that was given up, and the microseconds from the first of them to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bad: Option<(u32, u64)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum What {
    Served,
    Shadowed,
    Canaried,
    Activated,
    /// By a person.
    RolledBack,
    /// By the host, since it was bad.
    GivenUp,
    Ended,
    Removed,
    Refused,
    /// At a start, in favour of the last good one.
    NotLoaded,
}

impl What {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Served => "served",
            Self::Shadowed => "shadowed",
            Self::Canaried => "canaried",
            Self::Activated => "activated",
            Self::RolledBack => "rolled-back",
            Self::GivenUp => "given-up",
            Self::Ended => "ended",
            Self::Removed => "removed",
            Self::Refused => "refused",
            Self::NotLoaded => "not-loaded",
        }
    }
}

impl Default for Manifest {
    fn default() -> Self {
        Self { format: FORMAT, next: BTreeMap::new(), slots: Vec::new(), generations: Vec::new(), last: None }
    }
}

impl Manifest {
    /// What is named must be there.
    fn check(&self) -> Result<(), String> {
        for slot in &self.slots {
            let candidate = slot.candidate.iter().map(|it| it.generation);
            let named = std::iter::once(slot.active).chain(candidate).chain(slot.last_good);
            for number in named {
                if self.generation(slot.slot.kind, number).is_none() {
                    return Err(format!("slot {} names generation {number}, of which it knows nothing", slot.slot));
                }
            }
        }
        Ok(())
    }

    /// Takes the next number of a kind.
    pub(crate) fn take_number(&mut self, kind: PolicyKind) -> u64 {
        let next = self.next.entry(kind.name().to_owned()).or_insert(Generation::FIRST.get());
        *next += 1;
        *next - 1
    }

    pub(crate) fn generation(&self, kind: PolicyKind, number: u64) -> Option<&GenerationRecord> {
        self.generations.iter().find(|record| record.slot.kind == kind && record.number == number)
    }

    pub(crate) fn slot(&self, slot: &Slot) -> Option<&SlotRecord> {
        self.slots.iter().find(|record| record.slot == *slot)
    }

    pub(crate) fn slot_mut(&mut self, slot: &Slot) -> Option<&mut SlotRecord> {
        self.slots.iter_mut().find(|record| record.slot == *slot)
    }

    /// The slot that decides in place of one that there may not be: the most specific one.
    pub(crate) fn deciding(&self, slot: &Slot) -> Option<&SlotRecord> {
        let Slot { kind, client, data_type } = slot.clone();
        let fits = [
            slot.clone(),
            Slot { kind, client, data_type: None },
            Slot { kind, client: None, data_type },
            Slot::default_of(kind),
        ];
        fits.iter().find_map(|fit| self.slot(fit))
    }

    /// Forgets generations that no slot needs: the oldest of each slot beyond a bound. Answers whether there were some.
    pub(crate) fn forget(&mut self) -> bool {
        for slot in &mut self.slots {
            let too_many = slot.before.len().saturating_sub(GENERATIONS_KEPT);
            slot.before.drain(..too_many);
        }
        let slots = &self.slots;
        let needed = |record: &GenerationRecord| {
            slots.iter().filter(|slot| slot.slot.kind == record.slot.kind).any(|slot| {
                let candidate = slot.candidate.as_ref().map(|it| it.generation);
                let named = [Some(slot.active), candidate, slot.last_good];
                slot.before.contains(&record.number) || named.contains(&Some(record.number))
            })
        };
        let mut spare = BTreeMap::<Slot, usize>::new();
        let before = self.generations.len();
        // The newest first: of those that nobody needs a few are kept, so that they can be put in again.
        self.generations.reverse();
        self.generations.retain(|record| {
            // Of a slot that is gone nothing is.
            let has_slot = slots.iter().any(|slot| slot.slot == record.slot);
            needed(record)
                || has_slot && {
                    let spare = spare.entry(record.slot.clone()).or_default();
                    *spare += 1;
                    *spare <= GENERATIONS_KEPT
                }
        });
        self.generations.reverse();
        self.generations.len() < before
    }
}

/// The two files.
pub(super) struct ManifestFiles {
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
    pub(super) fn open(folder: &Path) -> Result<(Self, Manifest), ManifestError> {
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
    pub(super) fn write(&mut self, manifest: &Manifest) -> Result<(), ManifestError> {
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

mod slot {
    use ostrakon_wire::{PolicyKind, Slot};
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Named {
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        client: Option<String>,
        #[serde(rename = "type", skip_serializing_if = "Option::is_none", default)]
        data_type: Option<String>,
    }

    pub(super) fn serialize<S: Serializer>(slot: &Slot, serializer: S) -> Result<S::Ok, S::Error> {
        let Slot { kind, client, data_type } = slot.clone();
        Named { kind: kind.name().to_owned(), client, data_type }.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Slot, D::Error> {
        let Named { kind, client, data_type } = Named::deserialize(deserializer)?;
        let kind = PolicyKind::from_name(&kind).ok_or_else(|| de::Error::custom(format!("no kind {kind:?}")))?;
        Ok(Slot { kind, client, data_type })
    }
}

mod stage {
    use ostrakon_wire::Stage;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Named {
        Serve,
        ShadowPpm(u32),
        CanaryPpm(u32),
    }

    pub(super) fn serialize<S: Serializer>(stage: &Stage, serializer: S) -> Result<S::Ok, S::Error> {
        let named = match *stage {
            Stage::Serve => Named::Serve,
            Stage::Shadow(ppm) => Named::ShadowPpm(ppm),
            Stage::Canary(ppm) => Named::CanaryPpm(ppm),
        };
        named.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Stage, D::Error> {
        Ok(match Named::deserialize(deserializer)? {
            Named::Serve => Stage::Serve,
            Named::ShadowPpm(ppm) => Stage::Shadow(ppm),
            Named::CanaryPpm(ppm) => Stage::Canary(ppm),
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
