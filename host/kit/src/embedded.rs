//! What the build put into the library: the SDK, the contract, the templates, and the workspace's requirements.

include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The value of a key in one of the tables.
pub(crate) fn value(table: &[(&str, &'static str)], key: &str) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
}
