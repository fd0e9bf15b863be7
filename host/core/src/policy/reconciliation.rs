//! What becomes of an action whose object has moved on? See interface `reconciliation` in `wit/policy.wit`.

use ostrakon_wire::ActionKind;

use super::Decision;

/// The case to be judged.
#[derive(Debug, Clone, Copy)]
pub struct Brief<'a> {
    /// The client id.
    pub client: &'a str,
    /// The data type.
    pub data_type: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// What the action does.
    pub kind: ActionKind,
    /// The custom action's own kind; empty for the built-in ones.
    pub custom_kind: &'a str,
    /// The version the action was made for.
    pub known: u64,
    /// Whether history still holds that version.
    pub base_kept: bool,
    /// The version that stands there now.
    pub latest: u64,
    /// Whether that is a live object.
    pub exists: bool,
    /// How often this action was judged before.
    pub attempt: u32,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// The object's shard key.
    pub shard_key: u64,
    /// Size of the latest payload.
    pub latest_bytes: u32,
}

/// What to write, and what to tell the caller; both CBOR, an empty reply is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The patch or the payload.
    pub body: Vec<u8>,
    /// The reply.
    pub reply: Vec<u8>,
}

/// What a reconciliation policy decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The host applies the built-in action to the latest object.
    Rerun,
    /// Judge again, on whole payloads.
    NeedPayloads,
    /// Merge this (RFC 7396) into the latest object.
    Patch(Change),
    /// Write this instead of the latest object.
    Replace(Change),
    /// Delete the object; the bytes are the reply.
    Remove(Vec<u8>),
    /// The latest object shows the action's effect; the bytes are the reply.
    AlreadyApplied(Vec<u8>),
    /// The precondition no longer holds.
    Reject(String),
    /// Judge again after so many milliseconds.
    RetryAfterMs(u32),
    /// Give up to a person.
    Escalate(String),
}

/// Judges actions that lost a race.
pub trait ReconciliationPolicy: Send + Sync {
    /// Judges on small patches: what the action changes (`ours`), what was changed since its base (`theirs`).
    fn judge(&self, brief: &Brief<'_>, ours: &[u8], theirs: Option<&[u8]>) -> Decision<Verdict>;

    /// Judges on whole payloads: the action's body, the object at the known version, the latest object.
    fn reconcile(
        &self,
        brief: &Brief<'_>,
        body: &[u8],
        base: Option<&[u8]>,
        latest: Option<&[u8]>,
    ) -> Decision<Verdict>;
}
