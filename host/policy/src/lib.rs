//! Policies as WebAssembly components: load, check, limit, call, swap.
//!
//! A [`PolicyEngine`] turns bytes into a [`Loaded`] policy or says what is wrong with them; a slot ([`ShardKeySlots`],
//! [`PredictionSlots`], [`ReconciliationSlots`]) holds the generation that decides now, answers through the traits of
//! `ostrakon_core::policy`, and is given the next generation in one step.
//!
//! What always holds: a policy has no imports, so it sees nothing but its arguments, settings and state; every call into
//! it has a deadline and a memory bound ([`Limits`]); whatever it does is an error of that call, never of the host.
//!
//! A policy runs on the stack of the thread that calls it, up to 512 KiB deep: give such threads at least 1 MiB.

mod abi;
mod bounds;
mod cache;
mod check;
mod compare;
mod contract;
mod decisions;
mod engine;
mod error;
mod facts;
mod generation;
mod gently;
mod hex;
mod instance;
mod lanes;
mod latency;
mod load;
mod meter;
mod patience;
mod prediction;
mod prepared;
mod reconciliation;
mod registry;
mod replay;
mod shadow;
mod shard_key;
mod shipped;
mod sight;
mod signature;
mod slots;
mod solo;
mod tally;
mod ticker;
mod watch;

#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use bounds::Limits;
pub use compare::ShardOf;
pub use decisions::{DecisionsError, Recorded, Recording, read_decisions};
pub use engine::PolicyEngine;
pub use error::{EngineError, LoadError, Stage, WrongKind};
pub use latency::LatencySummary;
pub use load::Loaded;
pub use registry::{ChangeError, Given, ManifestError, OpenError, Registry, RegistryConfig, UploadError};
pub use replay::{Replayed, answer_all, replay};
pub use shipped::{Shipped, shipped};
pub use slots::{GenerationInfo, SeatInfo};
pub use solo::Solo;
pub use tally::FaultCounts;
