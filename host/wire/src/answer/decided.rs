//! What every answer names: where it was decided, on which state, and by which policies.

use crate::cbor::{self, CborError, FieldReader, FieldWriter, Reader};
use crate::error::WireError;
use crate::field;
use crate::kinds::PolicyKind;
use crate::numbers::{Generation, MapEpoch, ShardId};
use crate::position::{POSITION_BYTES, Position};

/// Where an answer was decided, on which state, and by which policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Decided {
    /// The shard; `None` where the answer is about more than one object.
    pub shard: Option<ShardId>,
    /// The shard map that was in force.
    pub epoch: MapEpoch,
    /// The place of the commit, or of the read view that was read.
    pub position: Position,
    /// The policy generations that had a say.
    pub generations: Generations,
}

/// The generation of each policy kind that had a say in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generations {
    /// Of the shard-key policy.
    pub shard_key: Option<Generation>,
    /// Of the prediction policy.
    pub prediction: Option<Generation>,
    /// Of the reconciliation policy.
    pub reconciliation: Option<Generation>,
}

impl Generations {
    /// Kind by kind.
    pub fn iter(&self) -> impl Iterator<Item = (PolicyKind, Generation)> {
        PolicyKind::ALL.into_iter().filter_map(|kind| Some((kind, (*self.of(kind))?)))
    }

    fn of(&self, kind: PolicyKind) -> &Option<Generation> {
        match kind {
            PolicyKind::ShardKey => &self.shard_key,
            PolicyKind::Prediction => &self.prediction,
            PolicyKind::Reconciliation => &self.reconciliation,
        }
    }

    fn set(&mut self, kind: PolicyKind, generation: Generation) {
        match kind {
            PolicyKind::ShardKey => self.shard_key = Some(generation),
            PolicyKind::Prediction => self.prediction = Some(generation),
            PolicyKind::Reconciliation => self.reconciliation = Some(generation),
        }
    }
}

impl Decided {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut fields = FieldWriter::new(out);
        if let Some(shard) = self.shard {
            cbor::uint(fields.field(field::SHARD), shard.get().into());
        }
        cbor::uint(fields.field(field::EPOCH), self.epoch.get());
        cbor::bytes(fields.field(field::POSITION), &self.position.to_bytes());
        if self.generations != Generations::default() {
            let mut generations = FieldWriter::new(fields.field(field::GENERATIONS));
            for (kind, generation) in self.generations.iter() {
                cbor::uint(generations.field(kind as u64), generation.get());
            }
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut decided = Self::default();
        let mut fields = FieldReader::new(reader)?;
        while let Some((key, value)) = fields.next_field()? {
            match key {
                field::SHARD => decided.shard = Some(ShardId::new(value.uint32()?)),
                field::EPOCH => decided.epoch = MapEpoch::new(value.uint()?),
                field::POSITION => {
                    let bytes = value.fixed::<POSITION_BYTES>("a byte string of 20")?;
                    decided.position = Position::from_bytes(bytes);
                }
                field::GENERATIONS => {
                    let mut pairs = FieldReader::new(value)?;
                    while let Some((number, value)) = pairs.next_field()? {
                        let generation = Generation::new(value.uint()?);
                        if let Some(kind) = PolicyKind::from_number(number) {
                            decided.generations.set(kind, generation);
                        }
                    }
                }
                _ => drop(value.skip()?),
            }
        }
        if decided.epoch == MapEpoch::default() {
            return Err(CborError::MissingKey(field::EPOCH).into());
        }
        Ok(decided)
    }
}
