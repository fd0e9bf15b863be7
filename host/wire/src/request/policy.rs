//! Requests about policies: components on their way, changes of slots, what is told of them.

use super::body::{Body, malformed, missing};
use crate::bounds::{
    COMPONENT_PART_BYTES_MAX, POLICY_EVENTS_DEFAULT, POLICY_EVENTS_MAX, POLICY_SETTINGS_BYTES_MAX, SHARE_PPM_MAX,
};
use crate::cbor::{self, FieldWriter};
use crate::error::WireError;
use crate::field;
use crate::ids::IdPart;
use crate::kinds::PolicyKind;
use crate::policy::{ChangePolicy, PolicyChange, ReadPolicies, Slot, Stage, UploadComponent};

/// The fields that name a slot.
const SLOT: [u64; 3] = [field::CLIENT, field::DATA_TYPE, field::POLICY_KIND];

/// The numbers of what is done to a slot.
mod change {
    pub(super) const SERVE: u64 = 1;
    pub(super) const SHADOW: u64 = 2;
    pub(super) const CANARY: u64 = 3;
    pub(super) const ACTIVATE: u64 = 4;
    pub(super) const ROLL_BACK: u64 = 5;
    pub(super) const REMOVE: u64 = 6;
}

/// The numbers of what is told.
mod aspect {
    pub(super) const LIST: u64 = 1;
    pub(super) const SHOW: u64 = 2;
    pub(super) const HISTORY: u64 = 3;
    pub(super) const DIFF: u64 = 4;
}

/// The names of a slot come first in key order, its kind last.
fn write_names(slot: &Slot, fields: &mut FieldWriter<'_>) {
    if let Some(client) = &slot.client {
        cbor::text(fields.field(field::CLIENT), client);
    }
    if let Some(data_type) = &slot.data_type {
        cbor::text(fields.field(field::DATA_TYPE), data_type);
    }
}

fn read_slot(body: &Body<'_>) -> Result<Slot, WireError> {
    let number = body.policy_kind.ok_or_else(|| missing(field::POLICY_KIND))?;
    let kind = PolicyKind::from_number(number)
        .ok_or_else(|| malformed(format!("no kind of policy has the number {number}")))?;
    let client = body.has(field::CLIENT).then_some(body.client);
    client.map(|client| IdPart::Client.check(client)).transpose()?;
    body.data_type.map(|data_type| IdPart::DataType.check(data_type)).transpose()?;
    Ok(Slot { kind, client: client.map(str::to_owned), data_type: body.data_type.map(str::to_owned) })
}

impl UploadComponent {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        cbor::bytes(fields.field(field::DIGEST), &self.digest);
        cbor::uint(fields.field(field::SIZE), self.size);
        cbor::uint(fields.field(field::OFFSET), self.offset);
        cbor::bytes(fields.field(field::PART), &self.part);
    }

    pub(super) fn read(body: &mut Body<'_>) -> Result<Self, WireError> {
        body.only(&[field::DIGEST, field::SIZE, field::OFFSET, field::PART])?;
        let part = body.part.take().ok_or_else(|| missing(field::PART))?;
        if part.len() > COMPONENT_PART_BYTES_MAX {
            return Err(malformed(format!("a part has at most {COMPONENT_PART_BYTES_MAX} bytes, not {}", part.len())));
        }
        Ok(Self {
            digest: body.digest.ok_or_else(|| missing(field::DIGEST))?,
            size: body.size.ok_or_else(|| missing(field::SIZE))?,
            offset: body.offset.ok_or_else(|| missing(field::OFFSET))?,
            part,
        })
    }
}

impl ChangePolicy {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        write_names(&self.slot, fields);
        let (number, generation) = match &self.change {
            PolicyChange::Push { stage: Stage::Serve, .. } => (change::SERVE, None),
            PolicyChange::Push { stage: Stage::Shadow(_), .. } => (change::SHADOW, None),
            PolicyChange::Push { stage: Stage::Canary(_), .. } => (change::CANARY, None),
            PolicyChange::Activate(generation) => (change::ACTIVATE, Some(generation)),
            PolicyChange::RollBack => (change::ROLL_BACK, None),
            PolicyChange::Remove => (change::REMOVE, None),
        };
        if let PolicyChange::Push { digest: Some(digest), .. } = &self.change {
            cbor::bytes(fields.field(field::DIGEST), digest);
        }
        cbor::uint(fields.field(field::POLICY_KIND), self.slot.kind as u64);
        cbor::uint(fields.field(field::CHANGE), number);
        if let PolicyChange::Push { settings, stage, slow_us, .. } = &self.change {
            if let Some(settings) = settings {
                cbor::text(fields.field(field::SETTINGS), settings);
            }
            if *stage != Stage::Serve {
                cbor::uint(fields.field(field::SHARE_PPM), stage.share_ppm().into());
            }
            if let Some(slow_us) = slow_us {
                cbor::uint(fields.field(field::SLOW_US), (*slow_us).into());
            }
        }
        if let Some(generation) = generation {
            cbor::uint(fields.field(field::GENERATION), generation.get());
        }
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        let number = body.change.ok_or_else(|| missing(field::CHANGE))?;
        let own = |own: &[u64]| body.only(&[&SLOT[..], &[field::CHANGE], own].concat());
        let pushed = [field::DIGEST, field::SETTINGS, field::SLOW_US];
        let change = match number {
            change::SERVE => {
                own(&pushed)?;
                push(body, Stage::Serve)?
            }
            change::SHADOW | change::CANARY => {
                own(&[&pushed[..], &[field::SHARE_PPM]].concat())?;
                let share_ppm = body.share_ppm.ok_or_else(|| missing(field::SHARE_PPM))?;
                if share_ppm == 0 || share_ppm > SHARE_PPM_MAX {
                    return Err(malformed(format!("a share is 1 to {SHARE_PPM_MAX} millionths, not {share_ppm}")));
                }
                push(body, if number == change::SHADOW { Stage::Shadow(share_ppm) } else { Stage::Canary(share_ppm) })?
            }
            change::ACTIVATE => {
                own(&[field::GENERATION])?;
                PolicyChange::Activate(body.generation.ok_or_else(|| missing(field::GENERATION))?)
            }
            change::ROLL_BACK | change::REMOVE => {
                own(&[])?;
                if number == change::ROLL_BACK { PolicyChange::RollBack } else { PolicyChange::Remove }
            }
            unknown => return Err(malformed(format!("no change of a slot has the number {unknown}"))),
        };
        Ok(Self { slot: read_slot(body)?, change })
    }
}

fn push(body: &Body<'_>, stage: Stage) -> Result<PolicyChange, WireError> {
    if body.settings.is_some_and(|settings| settings.len() > POLICY_SETTINGS_BYTES_MAX) {
        return Err(malformed(format!("settings have at most {POLICY_SETTINGS_BYTES_MAX} bytes")));
    }
    let settings = body.settings.map(str::to_owned);
    Ok(PolicyChange::Push { digest: body.digest, settings, stage, slow_us: body.slow_us })
}

impl ReadPolicies {
    pub(super) fn write(&self, fields: &mut FieldWriter<'_>) {
        let (number, slot, limit) = match self {
            Self::List => (aspect::LIST, None, None),
            Self::Show(slot) => (aspect::SHOW, Some(slot), None),
            Self::History { slot, limit } => (aspect::HISTORY, slot.as_ref(), Some(*limit)),
            Self::Diff(slot) => (aspect::DIFF, Some(slot), None),
        };
        if let Some(slot) = slot {
            write_names(slot, fields);
        }
        if let Some(limit) = limit {
            cbor::uint(fields.field(field::LIMIT), limit as u64);
        }
        if let Some(slot) = slot {
            cbor::uint(fields.field(field::POLICY_KIND), slot.kind as u64);
        }
        cbor::uint(fields.field(field::ASPECT), number);
    }

    pub(super) fn read(body: &Body<'_>) -> Result<Self, WireError> {
        let own = |own: &[u64]| body.only(&[own, &[field::ASPECT]].concat());
        match body.aspect.ok_or_else(|| missing(field::ASPECT))? {
            aspect::LIST => own(&[]).map(|()| Self::List),
            aspect::SHOW => {
                own(&SLOT)?;
                read_slot(body).map(Self::Show)
            }
            aspect::HISTORY => {
                own(&[&SLOT[..], &[field::LIMIT]].concat())?;
                let limit = body.limit.unwrap_or(POLICY_EVENTS_DEFAULT as u64);
                if limit == 0 || limit > POLICY_EVENTS_MAX as u64 {
                    return Err(malformed(format!("1 to {POLICY_EVENTS_MAX} events are told, not {limit}")));
                }
                let named = SLOT.iter().any(|key| body.has(*key));
                let slot = named.then(|| read_slot(body)).transpose()?;
                Ok(Self::History { slot, limit: limit as usize })
            }
            aspect::DIFF => {
                own(&SLOT)?;
                read_slot(body).map(Self::Diff)
            }
            unknown => Err(malformed(format!("nothing is told under the number {unknown}"))),
        }
    }
}
