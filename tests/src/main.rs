//! Black-box tests: the real binary on port 0, spoken to over QUIC or by its own command line.
//!
//! A test is named after what would be wrong if it failed. Nothing sleeps for luck: what is waited for has a bound. The
//! binary is built once for all of them (see [`harness`]); every host listens on loopback, in a folder of its own.

#![allow(clippy::unwrap_used)]

mod harness;

mod command_line;
mod command_line_errors;
mod command_line_feed;
mod crash;
mod demo;
mod disk;
mod durability;
mod fire;
mod folders;
mod help;
mod import;
mod layers;
mod linear;
mod lists;
mod overload;
mod peers;
mod peers_many;
mod policies;
mod policy_kit;
mod policy_replay;
mod policy_slots;
mod policy_trials;
mod reconcile;
mod retention;
mod serve;
mod shards;
mod stop;
mod swap;
mod traces;
mod transactions;
mod watching;
mod wire_answers;
mod wire_certificates;
mod wire_faults;
mod wire_frames;
mod wire_hello;
