//! Tests of the whole crate, on components made from text.
#![allow(clippy::unwrap_used)]

pub(crate) mod calls;
mod learning;
mod load;
mod registry;
mod shipped;
mod swap;
