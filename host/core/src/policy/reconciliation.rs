//! What becomes of an action whose object has moved on? See interface `reconciliation` in `wit/policy.wit`.

use ostrakon_wire::ActionKind;

use super::{Decision, PolicyFault};

/// What is said of a case beside patches and payloads; its texts are borrowed (`&str`) or kept (`Box<str>`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief<T> {
    /// The client id.
    pub client: T,
    /// The data type.
    pub data_type: T,
    /// The object's name.
    pub name: T,
    /// What the action does.
    pub kind: ActionKind,
    /// The custom action's own kind; empty for the built-in ones.
    pub custom_kind: T,
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

impl Verdict {
    /// The name of its case, as in the contract.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rerun => "rerun",
            Self::NeedPayloads => "need-payloads",
            Self::Patch(_) => "patch",
            Self::Replace(_) => "replace",
            Self::Remove(_) => "remove",
            Self::AlreadyApplied(_) => "already-applied",
            Self::Reject(_) => "reject",
            Self::RetryAfterMs(_) => "retry-after-ms",
            Self::Escalate(_) => "escalate",
        }
    }
}

impl<T: AsRef<str>> Brief<T> {
    /// The same, its texts borrowed.
    pub fn borrowed(&self) -> Brief<&str> {
        self.mapped(AsRef::as_ref)
    }

    /// The same, to be kept.
    pub fn kept(&self) -> Brief<Box<str>> {
        self.mapped(|text| Box::from(text.as_ref()))
    }

    fn mapped<'a, U>(&'a self, map: impl Fn(&'a T) -> U) -> Brief<U> {
        Brief {
            client: map(&self.client),
            data_type: map(&self.data_type),
            name: map(&self.name),
            kind: self.kind,
            custom_kind: map(&self.custom_kind),
            known: self.known,
            base_kept: self.base_kept,
            latest: self.latest,
            exists: self.exists,
            attempt: self.attempt,
            now_ms: self.now_ms,
            shard_key: self.shard_key,
            latest_bytes: self.latest_bytes,
        }
    }
}

/// What a case is judged on.
#[derive(Debug, Clone, Copy)]
pub enum Look<'a> {
    /// Small patches.
    Patches {
        /// What the action changes.
        ours: &'a [u8],
        /// What was changed since its base.
        theirs: Option<&'a [u8]>,
    },
    /// Whole payloads.
    Payloads {
        /// The action's body.
        body: &'a [u8],
        /// The object at the known version.
        base: Option<&'a [u8]>,
        /// The latest object.
        latest: Option<&'a [u8]>,
    },
}

/// Whole payloads, as policies see them.
#[derive(Debug, Clone)]
pub struct Payloads {
    /// The action's body.
    pub body: Vec<u8>,
    /// The object at the known version.
    pub base: Option<Vec<u8>>,
    /// The latest object.
    pub latest: Option<Vec<u8>>,
}

/// An action that lost a race, and what it met.
pub struct Case<'a> {
    /// What is said of it.
    pub brief: Brief<&'a str>,
    /// What it changes and what was changed since its base, where that can be told in patches.
    pub patches: Option<(&'a [u8], &'a [u8])>,
    /// Its payloads; made where they are needed.
    pub payloads: &'a dyn Fn() -> Payloads,
}

impl Case<'_> {
    /// Asks for the verdict: on patches first, where there are some; on whole payloads where there are none or the policy
    /// wants them. Answers how often it was asked.
    pub fn ask(
        &self,
        mut ask: impl FnMut(Look<'_>) -> Result<Verdict, PolicyFault>,
    ) -> (Result<Verdict, PolicyFault>, u32) {
        let mut asked = 0;
        if let Some((ours, theirs)) = self.patches {
            asked += 1;
            match ask(Look::Patches { ours, theirs: Some(theirs) }) {
                Ok(Verdict::NeedPayloads) => {}
                decided => return (decided, asked),
            }
        }
        let Payloads { body, base, latest } = (self.payloads)();
        let verdict = ask(Look::Payloads { body: &body, base: base.as_deref(), latest: latest.as_deref() });
        (verdict, asked + 1)
    }
}

/// A verdict, and how often the policy was asked for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// The verdict. All of it was decided by one generation.
    pub decision: Decision<Verdict>,
    /// Calls that it took.
    pub calls: u32,
}

/// Judges actions that lost a race.
pub trait ReconciliationPolicy: Send + Sync {
    /// Judges a case, as [`Case::ask`] says.
    fn judge(&self, case: &Case<'_>) -> Judgement;
}
