//! A deterministic simulation: front end, owner, reconciliation agent and committing thread, as they are, on one thread,
//! over a simulated disk and simulated clocks. From one seed follow the clients, what they do, the order of all steps, what
//! policies answer, and every fault; so a run can be had again, byte for byte.
//!
//! What the host does is held against what it may do, step by step: see `oracle.rs`, `together.rs`, `answers.rs` and `watchers.rs`. A fault
//! can be planted into the host at run time; a simulation that does not find it proves nothing.
//!
//! [`planner`] is another one: the planner of core, at ten thousand shards and a thousand owners.

mod actions;
mod answers;
mod client;
mod mover;
mod oracle;
pub mod planner;
mod policies;
mod run;
mod together;
mod trace;
mod watchers;
mod world;

pub use ostrakon_store::planted::Fault;
pub use run::{Settings, Summary, Violation, run};
