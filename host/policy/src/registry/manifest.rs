//! What stands on disk of slots and generations.
//!
//! Generations are numbered by kind, from 1 on, and no number is used twice. A slot names the generation that decides, those
//! that decided before it (the latest last), and the one that is tried.

mod files;

use std::collections::BTreeMap;

use ostrakon_wire::{Generation, PolicyKind, Slot, Stage};
use serde::{Deserialize, Serialize};

pub use files::ManifestError;
pub(crate) use files::ManifestFiles;

use crate::bounds::GENERATIONS_KEPT;
use crate::load::Loaded;
use crate::watch::slow_us_default;

const FORMAT: u32 = 2;

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
