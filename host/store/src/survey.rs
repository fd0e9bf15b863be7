//! What is looked at before the engine opens a data folder, and mended or set aside where that is right.
//!
//! The engine trusts its files: it deletes folders that it finds no reference to, cuts a journal at the first byte that it
//! cannot read, and names nothing when it refuses. So everything is held against its checksums first. A shard whose files
//! are damaged is moved aside and the others serve; a last write that was cut off is cut away; whatever else is damaged
//! refuses the start by name.

mod journal;
mod roster;
mod tables;

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ostrakon_wire::Revision;
use ostrakon_wire::bounds::KEYSPACES_MAX;

use crate::Verify;
use crate::error::OpenError;
use crate::files::sync;
use crate::keyspaces::{LOG, is_nobodys, is_shard_name};
use journal::Rest;
pub(crate) use roster::Roster;
use tables::{Damage, Fault};

const KEYSPACES: &str = "keyspaces";
/// The engine's own keyspace: names and settings of the others.
const ENGINE_KEYSPACE: u64 = 0;
/// Where damaged shards and cut-off writes are kept, in the data folder.
const SET_ASIDE: &str = "set-aside";
/// How the names of those begin that hold a cut-off write,
const CUT_OFF: &str = "cut-off-";
/// and how many of them are kept.
const CUTS_KEPT: usize = 16;

/// A data folder before it is opened.
pub(crate) struct Survey<'a> {
    data: &'a Path,
    store: PathBuf,
    shards: DamagedShards,
}

/// A journal whose last write was cut off.
struct Torn<'a> {
    path: &'a Path,
    what: &'static str,
    /// Where the write begins.
    at: usize,
    /// All of the journal.
    bytes: Vec<u8>,
}

/// What becomes of shards whose files are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DamagedShards {
    /// They are moved aside, so that the others can be served.
    SetAside,
    /// They are an error like any other damage.
    Refuse,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(data: &'a Path, store: PathBuf, shards: DamagedShards) -> Self {
        Self { data, store, shards }
    }

    fn io(&self, source: std::io::Error) -> OpenError {
        OpenError::Io { path: self.data.into(), source }
    }

    fn damaged(&self, file: impl Into<PathBuf>, what: impl Into<String>) -> OpenError {
        OpenError::DamagedFile { path: self.data.into(), file: file.into(), what: what.into() }
    }

    /// Looks at everything. `acknowledged`: what the log must reach at least.
    pub(crate) fn run(&self, verify: Verify, acknowledged: Option<Revision>) -> Result<(), OpenError> {
        let roster = match Roster::read(self.data).map_err(|error| self.io(error))? {
            Some(Ok(roster)) => roster,
            Some(Err(what)) => return Err(self.damaged(roster::FILE, what)),
            None => return self.unfinished(acknowledged),
        };
        for file in ["version", "lock", KEYSPACES] {
            if !self.store.join(file).exists() {
                return Err(self.damaged(self.store.join(file), "it is missing"));
            }
        }
        let damaged = self.check_keyspaces(&roster, verify)?;
        let journals = self.journals()?;
        self.check_journals(&journals, &roster, acknowledged)?;
        for (number, damage) in damaged {
            self.set_aside(number, &roster.0[&number], &damage, &journals)?;
        }
        Ok(())
    }

    /// A folder that is new, or whose making was cut off before anything could be stored in it: the roster stands before
    /// the first batch. What the engine could not finish is put aside and made anew.
    fn unfinished(&self, acknowledged: Option<Revision>) -> Result<(), OpenError> {
        let stored = acknowledged.is_some_and(|acknowledged| acknowledged > Revision::default());
        if stored || self.store.exists() && self.holds_anything()? {
            return Err(self.damaged(roster::FILE, "it is missing"));
        }
        if self.store.exists() {
            let kept = self.aside("unfinished")?;
            tracing::warn!(kept = %kept.display(), "the making of the store was cut off; it is made anew");
            std::fs::rename(&self.store, kept.join("store")).map_err(|error| self.io(error))?;
        }
        Ok(())
    }

    /// Whether there is a batch in any journal, or a table in any keyspace but the engine's own.
    fn holds_anything(&self) -> Result<bool, OpenError> {
        for journal in self.journals()?.values() {
            let bytes = std::fs::read(journal).map_err(|error| self.io(error))?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(true);
            }
        }
        let Ok(keyspaces) = std::fs::read_dir(self.store.join(KEYSPACES)) else { return Ok(false) };
        let own = std::ffi::OsString::from(ENGINE_KEYSPACE.to_string());
        let others = keyspaces.filter_map(Result::ok).filter(|entry| entry.file_name() != own);
        let tables = |entry: std::fs::DirEntry| std::fs::read_dir(entry.path().join("tables"));
        Ok(others.filter_map(|entry| tables(entry).ok()).any(|mut tables| tables.next().is_some()))
    }

    /// Answers the shards that are damaged or gone; damage elsewhere is an error.
    fn check_keyspaces(&self, roster: &Roster, verify: Verify) -> Result<BTreeMap<u64, Damage>, OpenError> {
        let folder = self.store.join(KEYSPACES);
        for entry in std::fs::read_dir(&folder).map_err(|error| self.io(error))? {
            let entry = entry.map_err(|error| self.io(error))?;
            if entry.file_name().to_str().is_none_or(|name| name.parse::<u64>().is_err()) {
                return Err(self.damaged(entry.path(), "it does not belong to the store"));
            }
        }
        if roster.0.len() >= KEYSPACES_MAX {
            return Err(self.damaged(
                roster::FILE,
                format!("it names more keyspaces than the {KEYSPACES_MAX} that can be opened"),
            ));
        }
        let mut damaged = BTreeMap::new();
        let own = [(&ENGINE_KEYSPACE, "of the engine")];
        let named = roster.0.iter().map(|(number, name)| (number, name.as_str()));
        for (number, name) in own.into_iter().chain(named) {
            let keyspace = folder.join(number.to_string());
            let is_shard = is_shard_name(name) || is_nobodys(name);
            match tables::check(&keyspace, verify) {
                Ok(()) => {}
                Err(Fault::Io(error)) => return Err(self.io(error)),
                Err(Fault::Damage(_)) if is_nobodys(name) && !keyspace.exists() => {}
                Err(Fault::Damage(_)) if is_shard && !keyspace.exists() => {
                    tracing::error!(
                        shard = name,
                        "the shard's files are gone, or were set aside before: it is not served"
                    );
                }
                Err(Fault::Damage(damage)) if is_shard && self.shards == DamagedShards::SetAside => {
                    damaged.insert(*number, damage);
                }
                Err(Fault::Damage(damage)) => {
                    return Err(self.damaged(keyspace.join(damage.file), format!("{} (keyspace {name})", damage.what)));
                }
            }
        }
        let shards = roster.0.values().filter(|name| is_shard_name(name)).count();
        let damaged_shards = damaged.keys().filter(|number| is_shard_name(&roster.0[number])).count();
        match damaged.first_key_value() {
            Some((number, damage)) if damaged_shards == shards => {
                Err(self.damaged(folder.join(number.to_string()).join(&damage.file), damage.what.as_str()))
            }
            _ => Ok(damaged),
        }
    }

    /// The journals, by number.
    fn journals(&self) -> Result<BTreeMap<u64, PathBuf>, OpenError> {
        let mut journals = BTreeMap::new();
        for entry in std::fs::read_dir(&self.store).map_err(|error| self.io(error))? {
            let path = entry.map_err(|error| self.io(error))?.path();
            if path.extension().is_none_or(|extension| extension != "jnl") {
                continue;
            }
            let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
            match number {
                Some(number) if path.is_file() => drop(journals.insert(number, path)),
                _ => return Err(self.damaged(path, "it does not belong to the store")),
            }
        }
        Ok(journals)
    }

    fn check_journals(
        &self,
        journals: &BTreeMap<u64, PathBuf>,
        roster: &Roster,
        acknowledged: Option<Revision>,
    ) -> Result<(), OpenError> {
        let log = roster.number(LOG).ok_or_else(|| self.damaged(roster::FILE, "it names no log"))?;
        if journals.is_empty() {
            return Err(self.damaged(&self.store, "it has no journal"));
        }
        let (mut seqno, mut revision, mut before) = (None, None, None::<u64>);
        // The last write, where it was cut off: behind it there may be a journal that nothing was written to.
        let mut torn: Option<Torn<'_>> = None;
        let refused = |path: &Path, what: &str, at: usize| Err(self.damaged(path, format!("{what}, at byte {at}")));
        for (number, path) in journals {
            if let Some(gap) = before.map(|before| before + 1).filter(|next| next < number) {
                return Err(self.damaged(self.store.join(format!("{gap}.jnl")), "it is missing"));
            }
            before = Some(*number);
            let bytes = std::fs::read(path).map_err(|error| self.io(error))?;
            let walk = journal::walk(&bytes, log, seqno);
            (seqno, revision) = (walk.seqno, walk.revision.or(revision));
            if let Some(torn) = torn.as_ref().filter(|_| walk.end > 0 || walk.rest != Rest::Nothing) {
                return refused(torn.path, torn.what, torn.at);
            }
            match walk.rest {
                Rest::Nothing => {}
                Rest::Torn(what) => torn = Some(Torn { path, what, at: walk.end, bytes }),
                Rest::Damaged(what) => return refused(path, what, walk.end),
            }
        }
        if let Some(torn) = &torn {
            // With no record left in any journal the log itself tells, once it is open.
            if revision.zip(acknowledged).is_some_and(|(found, acknowledged)| found < acknowledged) {
                return refused(torn.path, torn.what, torn.at);
            }
            self.cut(torn)?;
        }
        match (revision, acknowledged) {
            (Some(found), Some(acknowledged)) if found < acknowledged => {
                Err(OpenError::LostEnd { path: self.data.into(), acknowledged, found })
            }
            _ => Ok(()),
        }
    }

    /// Cuts a write that was never acknowledged off a journal, and keeps what it cuts.
    fn cut(&self, torn: &Torn<'_>) -> Result<(), OpenError> {
        let Torn { path, at, bytes, .. } = torn;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let kept = self.aside(&format!("{CUT_OFF}{name}-{at}"))?;
        let cut = || {
            let data_end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            std::fs::write(kept.join("cut-off"), &bytes[*at..data_end])?;
            sync(&kept.join("cut-off"))?;
            let file = std::fs::OpenOptions::new().write(true).open(path)?;
            file.set_len(*at as u64)?;
            file.sync_all()?;
            self.forget_cuts()
        };
        cut().map_err(|error| self.io(error))?;
        tracing::warn!(journal = %path.display(), at, kept = %kept.display(),
            "the last write was cut off before it was acknowledged; it is left out");
        Ok(())
    }

    /// Of what was cut off the latest is kept: a host that is killed again and again does not fill the disk.
    fn forget_cuts(&self) -> std::io::Result<()> {
        let mut cuts = Vec::new();
        for entry in std::fs::read_dir(self.data.join(SET_ASIDE))? {
            let entry = entry?;
            if entry.file_name().to_str().is_some_and(|name| name.starts_with(CUT_OFF)) {
                cuts.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        cuts.sort_unstable();
        let old = cuts.len().saturating_sub(CUTS_KEPT);
        cuts.drain(..old).try_for_each(|(_, path)| std::fs::remove_dir_all(path))
    }

    /// Moves a shard's folder out of the engine's sight, with copies of the journals that may hold rows of it; one that no shard
    /// has, without.
    fn set_aside(
        &self,
        number: u64,
        name: &str,
        damage: &Damage,
        journals: &BTreeMap<u64, PathBuf>,
    ) -> Result<(), OpenError> {
        let folder = self.store.join(KEYSPACES).join(number.to_string());
        let kept = self.aside(name)?;
        let journals = if is_nobodys(name) { None } else { Some(journals.values()) };
        let keep = || {
            for path in journals.into_iter().flatten() {
                let copy = kept.join(path.file_name().unwrap_or_default());
                std::fs::copy(path, &copy)?;
                sync(&copy)?;
            }
            sync(&kept)?;
            sync(&self.data.join(SET_ASIDE))?;
            sync(self.data)?;
            std::fs::rename(&folder, kept.join("keyspace"))?;
            sync(&kept)?;
            sync(&self.store.join(KEYSPACES))
        };
        keep().map_err(|error| self.io(error))?;
        if is_nobodys(name) {
            tracing::warn!(keyspace = name, file = damage.file, what = damage.what, kept = %kept.display(),
                "a keyspace that no shard has is damaged: it is moved aside, and nothing is lost");
            return Ok(());
        }
        tracing::error!(shard = name, file = damage.file, what = damage.what, kept = %kept.display(),
            "the shard is damaged: it is set aside and not served");
        Ok(())
    }

    /// A new folder under the data folder to keep something in.
    fn aside(&self, name: &str) -> Result<PathBuf, OpenError> {
        let parent = self.data.join(SET_ASIDE);
        std::fs::create_dir_all(&parent).map_err(|error| self.io(error))?;
        for attempt in 0_u32.. {
            let folder = parent.join(if attempt == 0 { name.to_owned() } else { format!("{name}-{attempt}") });
            match std::fs::create_dir(&folder) {
                Ok(()) => return Ok(folder),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(self.io(error)),
            }
        }
        unreachable!("a free name is found or the folder cannot be written")
    }
}

/// What is read before anything is trusted, for whoever feeds it nonsense.
#[cfg(any(test, feature = "fuzzing"))]
#[cfg_attr(not(feature = "fuzzing"), allow(unreachable_pub))]
pub mod fuzzed {
    use super::*;
    use crate::acknowledged;

    /// Any bytes as a journal.
    pub fn journal(bytes: &[u8]) {
        let walk = journal::walk(bytes, 2, None);
        let whole = journal::walk(&bytes[..walk.end], 2, None);
        assert_eq!((whole.end, whole.seqno, whole.rest), (walk.end, walk.seqno, Rest::Nothing));
    }

    /// Any bytes as a roster.
    pub fn roster(bytes: &[u8]) {
        let _ = Roster::parse(bytes);
    }

    /// Any bytes as what lists the tables of a keyspace.
    pub fn tables(bytes: &[u8]) {
        tables::parse_any(bytes);
    }

    /// Any bytes as the mark of what was acknowledged.
    pub fn mark(bytes: &[u8]) {
        if let Some(revision) = acknowledged::decode(bytes) {
            assert_eq!(acknowledged::encode(revision), bytes);
        }
    }
}
