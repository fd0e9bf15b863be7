//! Stretches of a shard's rows: copied ahead of a migration's cursor, beside the journal, and held against each other.
//!
//! What a shard gives away it keeps as well, until somebody sweeps it up: only the map says who holds an object. So a copy is
//! made by comparing both shards, object by object; it does not matter what a crash or an abort has left in either. What makes
//! the taker's objects what the giver's are goes into tables of their own. On the way back, or where that is too little for a
//! table, the object is named, and the committing thread mends it as the cursor goes past, like those that change meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use fjall::Slice;
use ostrakon_core::{Moving, Spot, behind};
use ostrakon_wire::{ShardId, ShardKey};
use xxhash_rust::xxh3::xxh3_64;

use crate::disk::{Beside, Disk, Pairs, Snapshot, Table};
use crate::error::ReadError;
use crate::planted::{self, Fault};
use crate::record::locator::{ObjectNumber, Place};
use crate::record::migration::{Migration, Moved};
use crate::record::row;
use crate::view::ReadView;

/// How long rows are read and copied when nobody else wants to run, before they are copied in any case.
const COPY_PATIENCE: Duration = Duration::from_secs(2);

/// A row as it stands on disk: its key and its value.
pub(crate) type Pair = (Slice, Slice);

/// A row as it is to stand there: its key and its value, if it is to stand there at all.
pub(crate) type Mended = (Slice, Option<Slice>);

/// How much is copied at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StretchBounds {
    /// Objects.
    pub objects_max: usize,
    /// Objects of a piece, between whose ends the cursor goes at once.
    pub piece_objects: usize,
    /// Bytes after which it ends; one object at least.
    pub bytes_max: usize,
    /// Fewer rows than this are no table of their own,
    pub table_rows_min: usize,
    /// if they have fewer bytes than this.
    pub table_bytes_min: u64,
}

/// What the cursor can go past next.
#[derive(Debug)]
pub struct Stretch {
    back: bool,
    pieces: VecDeque<Piece>,
    /// So long the taker's changes waited for it.
    waited: Duration,
}

/// A part of a stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// It begins here.
    pub(crate) first: Spot,
    /// It ends before here.
    pub(crate) end: Spot,
    /// What the giver had in it when it was copied.
    pub(crate) moved: Moved,
    /// Where the taker has not the same.
    pub(crate) differs: Vec<Spot>,
}

impl Stretch {
    /// Whether it goes the way that its migration goes now.
    pub fn fits(&self, migration: &Migration) -> bool {
        let starts = |piece: &Piece| if self.back { piece.end } else { piece.first };
        let cursor = migration.moving().map(|moving| moving.cursor);
        self.back == migration.back && self.pieces.front().map(starts) == cursor
    }

    /// The next pieces, of about so many objects.
    pub fn next(&self, objects_max: usize) -> Vec<Piece> {
        let mut objects = 0;
        let enough = |piece: &&Piece| {
            objects += piece.moved.objects as usize;
            objects <= objects_max
        };
        let some: Vec<Piece> = self.pieces.iter().take_while(enough).cloned().collect();
        if some.is_empty() { self.pieces.front().cloned().into_iter().collect() } else { some }
    }

    /// How long changes waited while it was copied; told once.
    pub fn waited(&mut self) -> Duration {
        std::mem::take(&mut self.waited)
    }

    /// The cursor has come so far.
    pub fn pass(&mut self, cursor: Spot) {
        let back = self.back;
        let is_passed = |piece: &mut Piece| if back { piece.first >= cursor } else { piece.end <= cursor };
        while self.pieces.pop_front_if(is_passed).is_some() {}
        // What is half passed counts once the rest of it is.
        if let Some(piece) = self.pieces.front_mut() {
            if back {
                piece.end = cursor
            } else {
                piece.first = cursor
            }
            piece.differs.retain(|spot| (*spot < cursor) == back);
        }
    }

    /// These objects are not alike, and have not been copied.
    fn leave_out(&mut self, spots: &[Spot]) {
        for piece in &mut self.pieces {
            piece.differs.extend(spots.iter().filter(|spot| piece.first <= **spot && **spot < piece.end));
        }
    }

    /// Whether all has been gone past.
    pub fn is_passed(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Copies the next stretch from who gives to who takes, as the view shows them, shorter where it is not to go on: reads, compares
/// and writes on a thread that gives way. What was written `put_in` puts into the taker's table; it answers how long changes
/// waited for that.
pub(crate) fn copy(
    disk: &Disk,
    view: &ReadView,
    (moving, back): (&Moving, bool),
    bounds: StretchBounds,
    go_on: &(impl Fn() -> bool + Sync),
    put_in: impl FnOnce(&Table, Beside) -> Result<Duration, ReadError>,
) -> Result<Stretch, ReadError> {
    let (from, to) = moving.gives_and_takes(back);
    let tables = (view.keyspaces.shard(from)?, view.keyspaces.shard(to)?);
    let copying = Copying::new(view, tables, moving, back, bounds);
    let (mut stretch, beside) = disk.idly(COPY_PATIENCE, || copying.copy(disk, tables.1, go_on))??;
    if let Some(beside) = beside {
        let waited = put_in(tables.1, beside)?;
        // Nobody waits for a shard that holds nothing yet.
        let is_new = view.map.index_of(to).is_none() && moving.cursor == (moving.start, 0);
        stretch.waited = if is_new { Duration::ZERO } else { waited };
    }
    Ok(stretch)
}

/// Two shards on the way through both, from the cursor on.
struct Copying {
    giver: Objects,
    taker: Objects,
    back: bool,
    bounds: StretchBounds,
    /// How far there is something to look at.
    end: Spot,
    /// All up to here has been looked at.
    reached: Spot,
    objects: usize,
    bytes: u64,
    pieces: VecDeque<Piece>,
    /// The piece that is being looked at begins here, and this is in it.
    begun: Spot,
    moved: Moved,
    differs: Vec<Spot>,
}

impl Copying {
    fn new(view: &ReadView, (from, to): (&Table, &Table), moving: &Moving, back: bool, bounds: StretchBounds) -> Self {
        let (start, last): (Spot, Spot) = ((moving.start, 0), behind(moving.last));
        let (first, end) = if back { (start, moving.cursor) } else { (moving.cursor, last) };
        let objects = |table| Objects { pairs: pairs(&view.snapshot, table, first, end), back, ahead: None };
        Self {
            giver: objects(from),
            taker: objects(to),
            back,
            bounds,
            end: if back { start } else { last },
            reached: moving.cursor,
            objects: 0,
            bytes: 0,
            pieces: VecDeque::new(),
            begun: moving.cursor,
            moved: Moved::default(),
            differs: Vec::new(),
        }
    }

    /// Goes through the stretch, and writes what the taker has to get or to lose beside the journal, if it is enough for a table.
    fn copy(
        mut self,
        disk: &Disk,
        taker: &Table,
        go_on: &impl Fn() -> bool,
    ) -> Result<(Stretch, Option<Beside>), ReadError> {
        let (mut first, mut bytes) = (Vec::<Mended>::new(), 0);
        while first.len() < self.bounds.table_rows_min && bytes < self.bounds.table_bytes_min {
            let Some(rows) = self.next_unlike(go_on)? else {
                let left_out = first.iter().map(|(key, _)| spot_of(key)).collect::<Result<Vec<_>, _>>()?;
                let mut stretch = self.stretch();
                stretch.leave_out(&left_out);
                return Ok((stretch, None));
            };
            bytes += rows.iter().map(|(key, value)| bytes_of(key, value) as u64).sum::<u64>();
            first.extend(rows);
        }
        let mut failed = None;
        let rest = std::iter::from_fn(|| {
            self.next_unlike(go_on).unwrap_or_else(|error| {
                failed = Some(error);
                None
            })
        });
        let beside = disk.write_beside(taker, first.into_iter().chain(rest.flatten()))?;
        failed.map_or(Ok(()), Err)?;
        Ok((self.stretch(), Some(beside)))
    }

    /// What makes the taker's next object that is not like the giver's like that; `None` at the end of the stretch. On the way
    /// back such an object is only noted: the taker has kept what it gave, but for what has changed since.
    fn next_unlike(&mut self, go_on: &impl Fn() -> bool) -> Result<Option<Vec<Mended>>, ReadError> {
        while self.objects < self.bounds.objects_max && self.bytes < self.bounds.bytes_max as u64 && go_on() {
            let (given, taken) = (self.giver.peek()?, self.taker.peek()?);
            let Some(spot) = self.nearest(given, taken) else {
                self.reached = self.end;
                return Ok(None);
            };
            let rows = if given == Some(spot) { self.giver.next()? } else { Vec::new() };
            let stood = if taken == Some(spot) { self.taker.next()? } else { Vec::new() };
            let same = rows.len() == stood.len() && rows.iter().zip(&stood).all(|(row, stood)| row.0 == stood.0);
            if !same && self.back {
                self.differs.push(spot);
            }
            self.count(spot, &rows);
            if !same && !self.back {
                let lost = usize::from(planted::is(Fault::MigrationLosesRow));
                return Ok(Some(unlike(rows, stood).into_iter().skip(lost).collect()));
            }
        }
        Ok(None)
    }

    fn nearest(&self, one: Option<Spot>, other: Option<Spot>) -> Option<Spot> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if self.back { one.max(other) } else { one.min(other) }),
            (one, other) => one.or(other),
        }
    }

    fn count(&mut self, spot: Spot, rows: &[Pair]) {
        let sum = sum_of(rows);
        self.objects += 1;
        self.bytes += sum.bytes;
        self.moved = self.moved.and(Moved { objects: u64::from(!rows.is_empty()), ..sum });
        self.reached = if self.back { spot } else { behind_object(spot) };
        if self.objects.is_multiple_of(self.bounds.piece_objects) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let (first, end) = if self.back { (self.reached, self.begun) } else { (self.begun, self.reached) };
        let (moved, differs) = (std::mem::take(&mut self.moved), std::mem::take(&mut self.differs));
        self.pieces.push_back(Piece { first, end, moved, differs });
        self.begun = self.reached;
    }

    /// All that was looked at.
    fn stretch(mut self) -> Stretch {
        if self.begun != self.reached {
            self.cut();
        }
        Stretch { back: self.back, pieces: self.pieces, waited: Duration::ZERO }
    }
}

/// The rows of a shard, an object at a time, there or back.
struct Objects {
    pairs: Pairs,
    back: bool,
    ahead: Option<(Spot, Pair)>,
}

impl Objects {
    /// Where the next object stands.
    fn peek(&mut self) -> Result<Option<Spot>, ReadError> {
        if self.ahead.is_none() {
            let pair = if self.back { self.pairs.next_back() } else { self.pairs.next() };
            let pair = pair.transpose()?;
            self.ahead = pair.map(|pair| Ok::<_, ReadError>((spot_of(&pair.0)?, pair))).transpose()?;
        }
        Ok(self.ahead.as_ref().map(|(spot, _)| *spot))
    }

    fn next(&mut self) -> Result<Vec<Pair>, ReadError> {
        let (mut rows, at) = (Vec::new(), self.peek()?);
        while at.is_some() && self.peek()? == at {
            rows.extend(self.ahead.take().map(|(_, pair)| pair));
        }
        Ok(rows)
    }
}

fn pairs(snapshot: &Snapshot, table: &Table, first: Spot, end: Spot) -> Pairs {
    snapshot.range(table, (Bound::Included(lower(first)), Bound::Excluded(lower(end))))
}

/// What the taker has to write so that an object stands there as it stands with who gives.
pub(crate) fn mend(snapshot: &Snapshot, (from, to): (&Table, &Table), spot: Spot) -> Result<Vec<Mended>, ReadError> {
    let all = |table| pairs(snapshot, table, spot, behind_object(spot)).collect::<fjall::Result<Vec<_>>>();
    Ok(unlike(all(from)?, all(to)?))
}

/// Of the rows of an object, in order of key: those that do not stand there, and that none is to be where one stands that should
/// not. What stands under a key is never another.
fn unlike(rows: Vec<Pair>, stood: Vec<Pair>) -> Vec<Mended> {
    let mut unlike: BTreeMap<Slice, Option<Slice>> = rows.into_iter().map(|(key, value)| (key, Some(value))).collect();
    for (key, _) in stood {
        if unlike.remove(&key).is_none() {
            unlike.insert(key, None);
        }
    }
    unlike.into_iter().collect()
}

/// What a row takes.
pub(crate) fn bytes_of(key: &Slice, value: &Option<Slice>) -> usize {
    key.len() + value.as_ref().map_or(0, |value| value.len())
}

/// The lowest key that a row may have which stands at a spot or behind it.
fn lower(spot: Spot) -> Vec<u8> {
    match ObjectNumber::new(spot.1) {
        Some(number) => row::prefix(Place { shard_key: spot.0, number }).to_vec(),
        // Beyond the last number there is: behind all of that key.
        None => [&spot.0.get().to_be_bytes()[..], &[u8::MAX; row::KEY_BYTES]].concat(),
    }
}

/// The spot behind an object.
pub(crate) fn behind_object(spot: Spot) -> Spot {
    (spot.0, spot.1 + 1)
}

pub(crate) fn spot_of(key: &[u8]) -> Result<Spot, ReadError> {
    Ok(row::parse_key(key)?.0.spot())
}

/// Bytes and checksum of rows; whose objects they are is not looked at.
fn sum_of<'a>(rows: impl IntoIterator<Item = &'a Pair>) -> Moved {
    let of = |(key, value): &Pair| Moved {
        objects: 0,
        rows: 1,
        bytes: (key.len() + value.len()) as u64,
        checksum: xxh3_64(key) ^ xxh3_64(value).rotate_left(17),
    };
    rows.into_iter().map(of).fold(Moved::default(), Moved::and)
}

/// What stands in a shard between two spots, for those who hold it against what was to stand there.
pub(crate) fn standing(view: &ReadView, table: &Table, first: Spot, end: Spot) -> Result<Moved, ReadError> {
    let mut moved = Moved::default();
    for pair in pairs(&view.snapshot, table, first, end) {
        moved = moved.and(sum_of([&pair?]));
    }
    Ok(moved)
}

/// Rows that a shard has given away and kept: some of them, in order.
#[derive(Debug, Clone)]
pub struct Left {
    pub(crate) shard: ShardId,
    pub(crate) keys: Vec<Slice>,
}

impl Left {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// The keys of rows that stand in a table and not in the range of its shard, from behind one of them on: the first so many.
pub(crate) fn left_behind(
    view: &ReadView,
    table: &Table,
    (start, last): (ShardKey, ShardKey),
    after: Option<&Slice>,
    rows_max: usize,
) -> Result<Vec<Slice>, ReadError> {
    let sides = [(Vec::new(), Some(lower((start, 0)))), (lower(behind(last)), None)];
    let mut keys = Vec::new();
    for (first, end) in sides {
        let first = match after {
            Some(after) if after[..] >= first[..] => Bound::Excluded(after.to_vec()),
            _ => Bound::Included(first),
        };
        let is_behind = |end: &Vec<u8>| after.is_some_and(|after| after[..] >= end[..]);
        if end.as_ref().is_some_and(is_behind) {
            continue;
        }
        let end = end.map_or(Bound::Unbounded, Bound::Excluded);
        for pair in view.snapshot.range(table, (first, end)).take(rows_max - keys.len()) {
            keys.push(pair?.0);
        }
    }
    Ok(keys)
}

/// The middle key of the objects between two keys; `None` where all stand under one key, or nothing does.
pub(crate) fn middle(
    view: &ReadView,
    table: &Table,
    (start, last): (ShardKey, ShardKey),
) -> Result<Option<ShardKey>, ReadError> {
    const KEYS_MAX: usize = 4_096;
    let (mut keys, mut every, mut objects): (Vec<ShardKey>, u64, u64) = (Vec::new(), 1, 0);
    let mut at = None;
    for pair in pairs(&view.snapshot, table, (start, 0), behind(last)) {
        let spot = spot_of(&pair?.0)?;
        if at == Some(spot) {
            continue;
        }
        at = Some(spot);
        if objects.is_multiple_of(every) {
            keys.push(spot.0);
        }
        objects += 1;
        if keys.len() == KEYS_MAX {
            let mut even = false;
            keys.retain(|_| {
                even = !even;
                even
            });
            every *= 2;
        }
    }
    let Some(first) = keys.first().copied() else { return Ok(None) };
    let behind_first = |key: &&ShardKey| **key != first;
    let middle = keys.get(keys.len() / 2).filter(behind_first).or_else(|| keys.iter().find(behind_first));
    Ok(middle.copied())
}
