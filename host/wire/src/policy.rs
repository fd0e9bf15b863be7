//! Which policies decide where: slots, and what can be done to them.

use bytes::Bytes;

use crate::kinds::PolicyKind;
use crate::numbers::Generation;

/// A place for one policy of a kind: the default, or an override for a client, for a data type, or for both. Of those that
/// fit a request the most specific decides: client and type, then client, then type, then the default.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot {
    /// The kind of policy.
    pub kind: PolicyKind,
    /// Decides for this client alone.
    pub client: Option<String>,
    /// Decides for this data type alone.
    pub data_type: Option<String>,
}

impl Slot {
    /// The one that decides where no other does.
    pub fn default_of(kind: PolicyKind) -> Self {
        Self { kind, client: None, data_type: None }
    }

    /// Whether it is the default of its kind.
    pub fn is_default(&self) -> bool {
        self.client.is_none() && self.data_type.is_none()
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(client) = &self.client {
            write!(f, " client={client}")?;
        }
        if let Some(data_type) = &self.data_type {
            write!(f, " type={data_type}")?;
        }
        Ok(())
    }
}

/// SHA-256 of a component.
pub type ComponentDigest = [u8; 32];

/// A part of a component on its way to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadComponent {
    /// Of the whole component.
    pub digest: ComponentDigest,
    /// Its size, in bytes.
    pub size: u64,
    /// Where the part begins.
    pub offset: u64,
    /// The part; empty asks how much the host has.
    pub part: Bytes,
}

/// Something done to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangePolicy {
    /// The slot.
    pub slot: Slot,
    /// What.
    pub change: PolicyChange,
}

/// What is done to a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyChange {
    /// A new generation.
    Push {
        /// The component; `None`: the one that decides now, with other settings.
        digest: Option<ComponentDigest>,
        /// The text of a JSON object; `None`: those in force where the component stays, else none.
        settings: Option<String>,
        /// How it begins.
        stage: Stage,
        /// The calls that take longer than so many microseconds are slow ones; `None`: what is usual for the kind.
        slow_us: Option<u32>,
    },
    /// Lets a generation that the slot has had, or tries, decide.
    Activate(Generation),
    /// Ends what is being tried; where nothing is, lets the generation before decide again.
    RollBack,
    /// Ends an override.
    Remove,
}

/// How a new generation begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It decides.
    Serve,
    /// It is asked beside the one that decides, for a share of the decisions, in millionths.
    Shadow(u32),
    /// It decides for a share of the clients, in millionths.
    Canary(u32),
}

impl Stage {
    /// The share that it is asked or decides for, in millionths.
    pub fn share_ppm(self) -> u32 {
        match self {
            Self::Serve => 1_000_000,
            Self::Shadow(ppm) | Self::Canary(ppm) => ppm,
        }
    }
}

/// What to tell of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadPolicies {
    /// What decides in every slot.
    List,
    /// Everything of one slot.
    Show(Slot),
    /// What was done and refused, by whom and why, newest first.
    History {
        /// To one slot alone.
        slot: Option<Slot>,
        /// Most events.
        limit: usize,
    },
    /// What a candidate answers otherwise than the generation that decides.
    Diff(Slot),
}
