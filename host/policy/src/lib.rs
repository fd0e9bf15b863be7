//! Policies as WebAssembly components: load, check, limit, call, swap.
//!
//! A [`PolicyEngine`] turns bytes into a [`Loaded`] policy or says what is wrong with them; a slot ([`ShardKeySlot`],
//! [`PredictionSlot`], [`ReconciliationSlot`]) holds the generation that decides now, answers through the traits of
//! `ostrakon_core::policy`, and is given the next generation in one step.
//!
//! What always holds: a policy has no imports, so it sees nothing but its arguments, settings and state; every call into
//! it has a deadline and a memory bound ([`Limits`]); whatever it does is an error of that call, never of the host.
//!
//! A policy runs on the stack of the thread that calls it, up to 512 KiB deep: give such threads at least 1 MiB.

mod abi;
mod bounds;
mod check;
mod contract;
mod engine;
mod error;
mod generation;
mod instance;
mod lanes;
mod load;
mod meter;
mod patience;
mod prediction;
mod prepared;
mod reconciliation;
mod shard_key;
mod shipped;
mod signature;
mod slot;
mod tally;
mod ticker;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use bounds::Limits;
pub use engine::PolicyEngine;
pub use error::{EngineError, LoadError, Stage, WrongKind};
pub use load::Loaded;
pub use shipped::{Shipped, shipped};
pub use slot::{PredictionSlot, ReconciliationSlot, ShardKeySlot, SlotInfo};
pub use tally::FaultCounts;
