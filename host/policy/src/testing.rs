//! Policies made from text, well-formed and hostile, for tests without a WebAssembly toolchain.
//!
//! Everything here panics on its own mistakes: it is test code that other crates may use too.

mod hostile;
mod recipe;

pub use hostile::{Hostile, When, hostile};
pub use recipe::{Recipe, snippets};
