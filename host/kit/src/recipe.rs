//! How a policy is compiled: the target, the profile and the flags, the same for the shipped policies and for everybody's.
//!
//! Always holds: everything here goes into the input digest of a shipped component, so a change asks for a rebuild.

/// The target: a module that imports nothing.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Speed over size: policies are called for every request. Given on cargo's command line, so that no project's own release
/// profile has a say.
pub const PROFILE: [&str; 8] = [
    "profile.release.opt-level=3",
    "profile.release.lto='fat'",
    "profile.release.codegen-units=1",
    "profile.release.panic='abort'",
    "profile.release.strip='symbols'",
    "profile.release.debug=false",
    "profile.release.overflow-checks=false",
    "profile.release.incremental=false",
];

/// An eighth of the usual stack: an instance's memory is what the host resets between calls, and nesting is bounded.
pub const RUSTFLAGS: [&str; 2] = ["-C", "link-arg=-zstack-size=131072"];
