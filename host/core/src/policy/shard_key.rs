//! Where should this object live? See interface `shard-key` in `wit/policy.wit`.

use super::Decision;

/// The most high bits a policy may mean: the host keeps at least 12 to spread objects by name.
pub const PLACEMENT_BITS_MAX: u8 = 52;

/// The observed access pattern of the object's client, type and time window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Heat {
    /// Share of all recent requests that are this client's, in millionths.
    pub client_ppm: u32,
    /// Share that are for this data type of the client, in millionths.
    pub type_ppm: u32,
    /// Share that fall in this time window of the type, in millionths.
    pub window_ppm: u32,
    /// Share of writes among the client's requests, in millionths.
    pub write_ppm: u32,
    /// Distinct connections that recently used the client's objects.
    pub callers: u32,
    /// Since the client was last seen, in milliseconds; `u64::MAX` for never.
    pub idle_ms: u64,
    /// Shards that the client's objects lie in.
    pub shards: u32,
}

/// One question to a shard-key policy; its texts are borrowed (`&str`) or kept (`Box<str>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placing<T> {
    /// The client id.
    pub client: T,
    /// The data type.
    pub data_type: T,
    /// The object's name.
    pub name: T,
    /// Milliseconds since 1970, as the client or else the host told it.
    pub timestamp_ms: u64,
    /// The key recorded for the object, 0 for a new one.
    pub current: u64,
    /// What is known of the access pattern.
    pub heat: Heat,
}

impl<T: AsRef<str>> Placing<T> {
    /// The same question, its texts borrowed.
    pub fn borrowed(&self) -> Placing<&str> {
        let Self { timestamp_ms, current, heat, .. } = *self;
        let [client, data_type, name] = [&self.client, &self.data_type, &self.name].map(AsRef::as_ref);
        Placing { client, data_type, name, timestamp_ms, current, heat }
    }

    /// The same question, to be kept.
    pub fn kept(&self) -> Placing<Box<str>> {
        let Placing { client, data_type, name, timestamp_ms, current, heat } = self.borrowed();
        let [client, data_type, name] = [client, data_type, name].map(Box::from);
        Placing { client, data_type, name, timestamp_ms, current, heat }
    }
}

/// A shard key, and how many of its high bits the policy means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The key; only its high `bits` bits count.
    pub key: u64,
    /// At most [`PLACEMENT_BITS_MAX`].
    pub bits: u8,
}

/// Answers where an object should live.
pub trait ShardKeyPolicy: Send + Sync {
    /// Decides the placement of one object. An answer with too many bits is a fault, never handed on.
    fn place(&self, placing: &Placing<&str>) -> Decision<Placement>;

    /// Whether somebody compares policies on how objects are used: then [`Self::used`] is to be told.
    fn compares(&self) -> bool {
        false
    }

    /// An object that exists was read or written. Decides nothing, and never waits.
    fn used(&self, _placing: &Placing<&str>) {}
}
