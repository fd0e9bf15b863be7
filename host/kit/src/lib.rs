//! For people who write policies: a project from an installed binary, its component, its tests, its figures.
//!
//! Always holds: a component is judged as the host would judge it, by the same engine under the same bounds. What is
//! written, fetched or compiled stands in the project's own folder or the user's cache. It knows no host that runs.

pub mod bench;
mod case;
pub mod check;
mod chi_squared;
mod codec;
pub mod compile;
pub mod component;
mod draw;
mod embedded;
pub mod fixture;
mod input;
pub mod make;
pub mod packages;
pub mod process;
pub mod project;
pub mod recipe;
pub mod runner;
#[cfg(test)]
mod tests;
pub mod toolchain;

use sha2::{Digest as _, Sha256};

/// Told what takes its time: one line without an end.
pub type Progress<'a> = &'a dyn Fn(&str);

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
