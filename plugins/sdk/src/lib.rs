//! For people who write policies: a trait and plain types for each world, and a macro that exports an implementation.
//!
//! ```
//! use ostrakon_policy_sdk::{About, Invalid, settings, shard_key};
//!
//! #[derive(serde::Deserialize, Default)]
//! #[serde(default, deny_unknown_fields)]
//! struct Settings {
//!     rotate: u32,
//! }
//!
//! struct ByClientLength(u32);
//!
//! impl shard_key::Policy for ByClientLength {
//!     fn about() -> About {
//!         About::new("by-client-length", "0.1.0")
//!     }
//!     fn configure(text: &str, _state: &[u8]) -> Result<Self, Invalid> {
//!         let Settings { rotate } = settings::parse(text)?;
//!         settings::within("/rotate", rotate, 0..=63)?;
//!         Ok(Self(rotate))
//!     }
//!     fn place(&self, ask: &shard_key::Request<'_>) -> shard_key::Placement {
//!         shard_key::Placement { key: (ask.client.len() as u64).rotate_left(self.0), bits: 52 }
//!     }
//! }
//!
//! ostrakon_policy_sdk::export_shard_key!(ByClientLength);
//! # fn main() {}
//! ```
//!
//! Always holds: a policy is configured once and then only asked, so its methods take `&self`; what it answers follows
//! from arguments, settings and state. The same code runs natively, in tests and in measurements; the exports exist only
//! where the target is wasm32. This crate knows nothing of the host.

extern crate self as ostrakon_policy_sdk;

#[doc(hidden)]
pub mod bindings;
mod export;
pub mod learning;
pub mod prediction;
pub mod reconciliation;
#[cfg(not(target_arch = "wasm32"))]
pub mod recorded;
pub mod settings;
pub mod shard_key;

#[doc(hidden)]
pub use export::Configured;
#[doc(hidden)]
pub use wit_bindgen::rt as wit_bindgen_rt;

/// Who a policy is, as it shows in answers, logs and the operator's lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What the policy is called.
    pub name: String,
    /// Which edition of it this is.
    pub version: String,
    /// Whether the policy wants the state that the host keeps for it.
    pub needs_state: bool,
}

impl About {
    /// A policy without state.
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.to_owned(), version: version.to_owned(), needs_state: false }
    }
}

/// Why settings or state were refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// A JSON pointer into the settings, "" for the whole of them, "state" for the state.
    pub path: String,
    /// Words for a person.
    pub message: String,
}

impl Invalid {
    /// What is wrong (`message`) and where (`path`).
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "at {:?}: {}", self.path, self.message)
    }
}

impl std::error::Error for Invalid {}
