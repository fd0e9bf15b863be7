//! A disk and clocks that a simulation drives: they do nothing by themselves and everything again from the same seed.
//!
//! The disk is what a machine promises of one, and no more: what was synced survives a crash, what was not does not; a
//! sync that fails may have taken place all the same.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::Slice;
use ostrakon_wire::TimestampMs;
use parking_lot::Mutex;

use crate::disk::Table;
use crate::stretch::{Mended, Pair};

type Map = BTreeMap<Slice, Slice>;

/// All tables at one moment.
#[derive(Clone, Default)]
pub(crate) struct Tables(Vec<Arc<Map>>);

/// What keeps the tables. Clones are the same disk.
#[derive(Clone, Default)]
pub struct SimulatedDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// What is read.
    now: Tables,
    /// What a crash leaves.
    synced: Tables,
    fault: Option<PersistFault>,
}

/// How the next sync fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersistFault {
    /// Nothing of it is on the disk.
    Lost,
    /// All of it is, and nobody is told so.
    Made,
}

impl SimulatedDisk {
    /// The next sync fails.
    pub fn fail_next(&self, fault: PersistFault) {
        self.0.lock().fault = Some(fault);
    }

    /// What was not synced is gone.
    pub fn crash(&self) {
        let mut state = self.0.lock();
        state.now = state.synced.clone();
        state.fault = None;
    }

    pub(crate) fn tables(&self) -> Tables {
        self.0.lock().now.clone()
    }

    /// Puts rows in that are durable at once, whatever else is.
    pub(crate) fn put_beside(&self, table: &Table, rows: impl Iterator<Item = Mended>) {
        let mut state = self.0.lock();
        let State { now, synced, .. } = &mut *state;
        for (key, value) in rows {
            for tables in [&mut *now, &mut *synced] {
                let table = tables.table_mut(number(table));
                match &value {
                    Some(value) => drop(table.insert(key.clone(), value.clone())),
                    None => drop(table.remove(&key)),
                }
            }
        }
    }
}

impl Tables {
    fn table(&self, table: &Table) -> Arc<Map> {
        self.0.get(number(table)).cloned().unwrap_or_default()
    }

    fn table_mut(&mut self, table: usize) -> &mut Map {
        if self.0.len() <= table {
            self.0.resize_with(table + 1, Arc::default);
        }
        Arc::make_mut(&mut self.0[table])
    }

    pub(crate) fn get(&self, table: &Table, key: &[u8]) -> Option<Slice> {
        self.0.get(number(table))?.get(key).cloned()
    }

    pub(crate) fn range(&self, table: &Table, from: Bound<Vec<u8>>, to: Bound<Vec<u8>>) -> Pairs {
        Pairs { map: self.table(table), from, to }
    }

    pub(crate) fn prefix(&self, table: &Table, prefix: &[u8]) -> Pairs {
        let mut behind = prefix.to_vec();
        while behind.pop_if(|last| *last == u8::MAX).is_some() {}
        let to = match behind.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(behind)
            }
            None => Bound::Unbounded,
        };
        self.range(table, Bound::Included(prefix.to_vec()), to)
    }
}

fn number(table: &Table) -> usize {
    match table {
        Table::Simulated(number) => *number,
        Table::Fjall(_) => unreachable!("a simulated disk has simulated tables"),
    }
}

/// Pairs of key and value, in order of key.
pub(crate) struct Pairs {
    map: Arc<Map>,
    from: Bound<Vec<u8>>,
    to: Bound<Vec<u8>>,
}

impl Pairs {
    fn one(&self, take: impl FnOnce(&mut dyn DoubleEndedIterator<Item = Pair>) -> Option<Pair>) -> Option<Pair> {
        let slice = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Included(key) => Bound::Included(Slice::from(&key[..])),
            Bound::Excluded(key) => Bound::Excluded(Slice::from(&key[..])),
            Bound::Unbounded => Bound::Unbounded,
        };
        let (from, to) = (slice(&self.from), slice(&self.to));
        let empty = match (&from, &to) {
            (Bound::Included(from) | Bound::Excluded(from), Bound::Excluded(to)) => from >= to,
            (Bound::Excluded(from), Bound::Included(to)) => from >= to,
            (Bound::Included(from), Bound::Included(to)) => from > to,
            _ => false,
        };
        if empty {
            return None;
        }
        take(&mut self.map.range((from, to)).map(|(key, value)| (key.clone(), value.clone())))
    }
}

impl Iterator for Pairs {
    type Item = Pair;

    fn next(&mut self) -> Option<Pair> {
        let pair = self.one(|pairs| pairs.next())?;
        self.from = Bound::Excluded(pair.0.to_vec());
        Some(pair)
    }
}

impl DoubleEndedIterator for Pairs {
    fn next_back(&mut self) -> Option<Pair> {
        let pair = self.one(|pairs| pairs.next_back())?;
        self.to = Bound::Excluded(pair.0.to_vec());
        Some(pair)
    }
}

/// Writes that are made together or not at all.
pub(crate) struct Batch {
    disk: SimulatedDisk,
    sync: bool,
    writes: Vec<(usize, Slice, Option<Slice>)>,
}

impl Batch {
    pub(crate) fn new(disk: &SimulatedDisk, sync: bool) -> Self {
        Self { disk: disk.clone(), sync, writes: Vec::new() }
    }

    pub(crate) fn write(&mut self, table: &Table, key: Slice, value: Option<Slice>) {
        self.writes.push((number(table), key, value));
    }

    pub(crate) fn len(&self) -> usize {
        self.writes.len()
    }

    pub(crate) fn commit(self) -> fjall::Result<()> {
        let mut state = self.disk.0.lock();
        let State { now, synced, fault } = &mut *state;
        let mut made = now.clone();
        for (table, key, value) in self.writes {
            let table = made.table_mut(table);
            match value {
                Some(value) => drop(table.insert(key, value)),
                None => drop(table.remove(&key)),
            }
        }
        let failed = || fjall::Error::Io(std::io::Error::other("a simulated fault"));
        match fault.take_if(|_| self.sync) {
            Some(PersistFault::Lost) => return Err(failed()),
            Some(PersistFault::Made) => {
                *synced = made;
                return Err(failed());
            }
            None => {}
        }
        if self.sync {
            *synced = made.clone();
        }
        *now = made;
        Ok(())
    }
}

/// Clocks that stand still until they are moved.
#[derive(Debug)]
pub struct SimulatedClock {
    start: Instant,
    passed_us: AtomicU64,
    now_ms: AtomicU64,
}

impl SimulatedClock {
    /// Clocks that show this time of day.
    pub fn new(now: TimestampMs) -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), passed_us: AtomicU64::new(0), now_ms: AtomicU64::new(now.get()) })
    }

    /// So much time passes, on both clocks.
    pub fn pass_us(&self, us: u64) {
        let before = self.passed_us.fetch_add(us, Ordering::Relaxed);
        self.now_ms.fetch_add((before + us) / 1_000 - before / 1_000, Ordering::Relaxed);
    }

    /// The time of day jumps; nothing waits shorter or longer for it.
    pub fn jump_to(&self, now: TimestampMs) {
        self.now_ms.store(now.get(), Ordering::Relaxed);
    }

    /// The time of day.
    pub fn now(&self) -> TimestampMs {
        TimestampMs::new(self.now_ms.load(Ordering::Relaxed))
    }

    /// Microseconds since the beginning.
    pub fn passed(&self) -> u64 {
        self.passed_us.load(Ordering::Relaxed)
    }

    pub(crate) fn instant(&self) -> Instant {
        self.start + Duration::from_micros(self.passed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(disk: &SimulatedDisk, key: &[u8], sync: bool) -> bool {
        let mut batch = Batch::new(disk, sync);
        batch.write(&Table::Simulated(1), Slice::from(key), Some(Slice::from(&b"v"[..])));
        batch.commit().is_ok()
    }

    fn keys(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
        disk.tables().prefix(&Table::Simulated(1), b"").map(|(key, _)| key.to_vec()).collect()
    }

    #[test]
    fn a_crash_leaves_what_was_synced() {
        let disk = SimulatedDisk::default();
        assert!(put(&disk, b"a", true) && put(&disk, b"b", false));
        assert_eq!(keys(&disk), [b"a", b"b"]);
        disk.crash();
        assert_eq!(keys(&disk), [b"a"]);
        disk.fail_next(PersistFault::Lost);
        assert!(!put(&disk, b"c", true));
        disk.fail_next(PersistFault::Made);
        assert!(!put(&disk, b"d", true));
        assert_eq!(keys(&disk), [b"a"], "nothing is read that was not acknowledged");
        disk.crash();
        assert_eq!(keys(&disk), [b"a", b"d"]);
    }

    #[test]
    fn ranges_end_where_they_should() {
        let disk = SimulatedDisk::default();
        for key in [&b"a"[..], b"b\xff", b"b\xff1", b"c"] {
            put(&disk, key, true);
        }
        let table = &Table::Simulated(1);
        let of = |pairs: Pairs| pairs.map(|(key, _)| key.to_vec()).collect::<Vec<_>>();
        assert_eq!(of(disk.tables().prefix(table, b"b\xff")), [&b"b\xff"[..], b"b\xff1"]);
        let up_to_b = disk.tables().range(table, Bound::Unbounded, Bound::Included(b"b".to_vec()));
        assert_eq!(up_to_b.rev().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), [b"a"]);
        assert!(
            disk.tables().range(table, Bound::Excluded(b"c".to_vec()), Bound::Excluded(b"c".to_vec())).next().is_none()
        );
    }
}
