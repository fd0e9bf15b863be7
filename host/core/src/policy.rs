//! What the host asks of a policy, as Rust traits and plain types.
//!
//! The engine knows policies only through this module; the components behind it are somebody else's business. The shapes
//! follow `wit/policy.wit`, which says what every field means and in which unit.
//!
//! One call is one decision of one generation: an implementation that swaps generations picks one at the start of the
//! call and names it in the answer.

mod board;
mod prediction;
mod question;
mod reconciliation;
mod shard_key;

use ostrakon_wire::Generation;

pub use board::Board;
pub use prediction::{Forecast, Met, Outcome, Outlook, PredictionPolicy, Route};
pub use question::{Answer, Question};
pub use reconciliation::{Brief, Case, Change, Judgement, Look, Payloads, ReconciliationPolicy, Verdict};
pub use shard_key::{Heat, PLACEMENT_BITS_MAX, Placement, Placing, ShardKeyPolicy};

/// What a policy answered, and which generation of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<T> {
    /// The generation that decided.
    pub generation: Generation,
    /// The answer, or why there is none.
    pub result: Result<T, PolicyFault>,
}

/// Why one call of a policy has no usable answer. The host is well; the next call may be too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// The component trapped: unreachable code, out-of-bounds access, stack overflow, failed allocation.
    #[error("the policy trapped: {0}")]
    Trapped(String),
    /// The call took longer than its deadline.
    #[error("the policy ran longer than its {deadline_ms} ms")]
    Overran {
        /// The deadline it had.
        deadline_ms: u64,
    },
    /// The call wanted more memory than its bound.
    #[error("the policy wanted more than its {bytes_max} bytes of memory")]
    OutOfMemory {
        /// The bound it had.
        bytes_max: usize,
    },
    /// The answer is outside what the contract allows.
    #[error("the policy gave an impossible answer: {0}")]
    Impossible(String),
    /// A repeat of the call on a fresh instance answered something else.
    #[error("the policy is not pure: the same call on a fresh instance answered differently")]
    Impure,
}

impl PolicyFault {
    /// Its kind, in kebab case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Trapped(_) => "trapped",
            Self::Overran { .. } => "overran",
            Self::OutOfMemory { .. } => "out-of-memory",
            Self::Impossible(_) => "impossible",
            Self::Impure => "impure",
        }
    }
}
