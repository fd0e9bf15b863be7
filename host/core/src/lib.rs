//! Decisions without I/O: policy traits, built-in actions, shard map, keys, heat.
//!
//! No clock, no randomness, no I/O: time and a seed are arguments.

pub mod action;
pub mod heat;
pub mod keys;
pub mod load;
pub mod planner;
pub mod policy;
pub mod reconcile;
mod shard_map;

pub use shard_map::{InvalidMap, Moving, ShardMap, ShardRange, Spot, behind};
