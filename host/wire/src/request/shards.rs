//! Requests about shards.

use super::body::{Body, TARGET, malformed, missing};
use super::codec::write_object;
use super::feed::{check_within, write_within};
use crate::bounds::{MAP_WAIT_MS_MAX, SHARD_EVENTS_DEFAULT, SHARD_EVENTS_MAX, SHARD_LIMITS_BYTES_MAX, TEXT_BYTES_MAX};
use crate::cbor::{self, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::numbers::ShardId;
use crate::shards::{AskMap, ChangeShards, ReadShards, ShardChange};

/// The numbers of what is done to shards.
mod change {
    pub(super) const SPLIT: u64 = 1;
    pub(super) const MERGE: u64 = 2;
    pub(super) const MOVE: u64 = 3;
    pub(super) const PIN: u64 = 4;
    pub(super) const UNPIN: u64 = 5;
    pub(super) const REKEY: u64 = 6;
    pub(super) const PAUSE: u64 = 7;
    pub(super) const RESUME: u64 = 8;
    pub(super) const ABORT: u64 = 9;
    pub(super) const LIMITS: u64 = 10;
}

/// The numbers of what is told.
mod aspect {
    pub(super) const SHARDS: u64 = 1;
    pub(super) const MIGRATIONS: u64 = 2;
    pub(super) const DECISIONS: u64 = 3;
    pub(super) const PLAN: u64 = 4;
    pub(super) const LIMITS: u64 = 5;
    pub(super) const HEAT: u64 = 6;
}

impl AskMap {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        if let Some(epoch) = self.beyond {
            cbor::uint(fields.field(field::EPOCH), epoch.get());
        }
        if self.wait_ms > 0 {
            cbor::uint(fields.field(field::WAIT_MS), self.wait_ms.into());
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        body.only(&[field::EPOCH, field::WAIT_MS])?;
        let wait_ms = body.wait_ms.unwrap_or_default();
        if wait_ms > MAP_WAIT_MS_MAX {
            return Err(malformed(format!("an answer waits for at most {MAP_WAIT_MS_MAX} ms, not {wait_ms}")));
        }
        Ok(Self { beyond: body.epoch, wait_ms })
    }
}

impl ChangeShards {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        use ShardChange as Change;
        // In key order: ids, shard key, shard, owner, reason, change, settings, migration.
        match &self.change {
            Change::RekeyObject { object, shard_key } => write_object(object, *shard_key, fields),
            Change::Rekey { client, data_type } => write_within(client, data_type.as_deref(), None, fields),
            Change::Split { at: Some(at), .. } => cbor::uint(fields.field(field::SHARD_KEY), at.get()),
            _ => {}
        }
        let (number, shard) = match &self.change {
            Change::Split { shard, .. } => (change::SPLIT, Some(shard)),
            Change::Merge(shard) => (change::MERGE, Some(shard)),
            Change::Move { shard, .. } => (change::MOVE, Some(shard)),
            Change::Pin(shard) => (change::PIN, Some(shard)),
            Change::Unpin(shard) => (change::UNPIN, Some(shard)),
            Change::RekeyObject { .. } | Change::Rekey { .. } => (change::REKEY, None),
            Change::Pause(_) => (change::PAUSE, None),
            Change::Resume(_) => (change::RESUME, None),
            Change::Abort(_) => (change::ABORT, None),
            Change::SetLimits(_) => (change::LIMITS, None),
        };
        if let Some(shard) = shard {
            cbor::uint(fields.field(field::SHARD), shard.get().into());
        }
        if let Change::Move { owner, .. } = &self.change {
            cbor::uint(fields.field(field::OWNER), (*owner).into());
        }
        if let Some(reason) = &self.reason {
            cbor::text(fields.field(field::REASON), reason);
        }
        cbor::uint(fields.field(field::CHANGE), number);
        match &self.change {
            Change::SetLimits(limits) => cbor::text(fields.field(field::SETTINGS), limits),
            Change::Pause(Some(migration)) | Change::Resume(Some(migration)) | Change::Abort(migration) => {
                cbor::uint(fields.field(field::MIGRATION), *migration);
            }
            _ => {}
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        let number = body.change.ok_or_else(|| missing(field::CHANGE))?;
        let own = |own: &[u64]| body.only(&[&[field::CHANGE, field::REASON], own].concat());
        let shard = || body.shard.ok_or_else(|| missing(field::SHARD));
        let of_shard = |change: fn(ShardId) -> ShardChange| {
            own(&[field::SHARD])?;
            shard().map(change)
        };
        let change = match number {
            change::SPLIT => {
                own(&[field::SHARD, field::SHARD_KEY])?;
                ShardChange::Split { shard: shard()?, at: body.shard_key }
            }
            change::MERGE => of_shard(ShardChange::Merge)?,
            change::MOVE => {
                own(&[field::SHARD, field::OWNER])?;
                ShardChange::Move { shard: shard()?, owner: body.owner.ok_or_else(|| missing(field::OWNER))? }
            }
            change::PIN => of_shard(ShardChange::Pin)?,
            change::UNPIN => of_shard(ShardChange::Unpin)?,
            change::REKEY => {
                own(&TARGET)?;
                read_rekey(body)?
            }
            change::PAUSE => {
                own(&[field::MIGRATION])?;
                ShardChange::Pause(body.migration)
            }
            change::RESUME => {
                own(&[field::MIGRATION])?;
                ShardChange::Resume(body.migration)
            }
            change::ABORT => {
                own(&[field::MIGRATION])?;
                ShardChange::Abort(body.migration.ok_or_else(|| missing(field::MIGRATION))?)
            }
            change::LIMITS => {
                own(&[field::SETTINGS])?;
                let limits = body.settings.ok_or_else(|| missing(field::SETTINGS))?;
                if limits.len() > SHARD_LIMITS_BYTES_MAX {
                    return Err(malformed(format!("limits have at most {SHARD_LIMITS_BYTES_MAX} bytes")));
                }
                ShardChange::SetLimits(limits.to_owned())
            }
            unknown => return Err(malformed(format!("no change of shards has the number {unknown}"))),
        };
        if body.reason.is_some_and(|reason| reason.len() > TEXT_BYTES_MAX) {
            return Err(malformed(format!("a reason has at most {TEXT_BYTES_MAX} bytes")));
        }
        Ok(Self { change, reason: body.reason.map(str::to_owned) })
    }
}

/// With a name it is one object, without the objects of a client.
fn read_rekey(body: &Body<'_>) -> Result<ShardChange, WireError> {
    if body.has(field::NAME) {
        let target = body.target()?;
        return Ok(ShardChange::RekeyObject { object: target.object, shard_key: target.shard_key });
    }
    if body.has(field::CLIENT) && body.has(field::SHARD_KEY) {
        return Err(malformed("one key is for one object: name it"));
    }
    check_within(body)?;
    Ok(ShardChange::Rekey { client: body.client.to_owned(), data_type: body.data_type.map(str::to_owned) })
}

impl ReadShards {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        let (number, limit) = match self {
            Self::Shards => (aspect::SHARDS, None),
            Self::Migrations { limit } => (aspect::MIGRATIONS, Some(*limit)),
            Self::Decisions { limit } => (aspect::DECISIONS, Some(*limit)),
            Self::Plan => (aspect::PLAN, None),
            Self::Limits => (aspect::LIMITS, None),
            Self::Heat => (aspect::HEAT, None),
        };
        if let Some(limit) = limit {
            cbor::uint(fields.field(field::LIMIT), limit as u64);
        }
        cbor::uint(fields.field(field::ASPECT), number);
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        let own = |own: &[u64]| body.only(&[own, &[field::ASPECT]].concat());
        let limit = || {
            own(&[field::LIMIT])?;
            match body.limit.unwrap_or(SHARD_EVENTS_DEFAULT as u64) {
                limit if limit == 0 || limit > SHARD_EVENTS_MAX as u64 => {
                    Err(malformed(format!("1 to {SHARD_EVENTS_MAX} are told, not {limit}")))
                }
                limit => Ok(limit as usize),
            }
        };
        let plain = |read: Self| own(&[]).map(|()| read);
        match body.aspect.ok_or_else(|| missing(field::ASPECT))? {
            aspect::SHARDS => plain(Self::Shards),
            aspect::MIGRATIONS => Ok(Self::Migrations { limit: limit()? }),
            aspect::DECISIONS => Ok(Self::Decisions { limit: limit()? }),
            aspect::PLAN => plain(Self::Plan),
            aspect::LIMITS => plain(Self::Limits),
            aspect::HEAT => plain(Self::Heat),
            unknown => Err(malformed(format!("nothing is told under the number {unknown}"))),
        }
    }
}
